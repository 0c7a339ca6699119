"""The apps of docs/getting-started.md, as a newcomer runs them: each counts the visits of one client, on a local DynamoDB."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from dynamostore import connect
from dynamostore.local import LocalDynamoDB

from .distribution import ROOT

PAGE = (ROOT / "docs/getting-started.md").read_text("utf-8")
APPS = dict(
    re.findall(r"^:::\{tab-item\} (\w+)\n(?:<!--.*-->\n\n)?```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)


@pytest.fixture(scope="module", autouse=True)
def served() -> Iterator[None]:
    """A local DynamoDB with the table, which the environment names: as after `dynamostore serve`."""
    with LocalDynamoDB() as dynamodb, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with connect("scs_session") as store:
            store.create_table()
        yield


def app(name: str) -> Any:
    namespace: dict[str, Any] = {"__name__": name.lower()}
    exec(compile(APPS[name], f"getting-started.md, {name}", "exec"), namespace)
    return namespace


def visits(client: httpx.Client) -> list[str]:
    return [client.get("/").text.strip('"') for _ in range(3)]


@pytest.mark.parametrize("name", ["Flask", "WSGI"])
def test_a_wsgi_app_counts_visits(name: str) -> None:
    with httpx.Client(transport=httpx.WSGITransport(app(name)["app"]), base_url="http://localhost") as client:
        assert visits(client) == ["visit 1", "visit 2", "visit 3"]


@pytest.mark.parametrize("name", ["FastAPI", "Starlette"])
def test_an_asgi_app_counts_visits(name: str) -> None:
    with TestClient(app(name)["app"], base_url="http://localhost") as client:
        assert visits(client) == ["visit 1", "visit 2", "visit 3"]


def test_a_lambda_function_counts_visits() -> None:
    handler: Callable[[dict[str, list[str]], None], dict[str, Any]] = app("Lambda")["handler"]
    first = handler({}, None)
    cookie = first["cookies"][0].partition(";")[0]
    assert [first["body"], handler({"cookies": [cookie]}, None)["body"]] == ["visit 1", "visit 2"]


def test_every_tab_but_djangos_is_run() -> None:
    tabs = re.findall(r"^:::\{tab-item\} (\w+)", PAGE, re.MULTILINE)
    assert set(tabs) - {"Django"} == set(APPS)
