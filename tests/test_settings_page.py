"""docs/reference/settings.md names every setting, with its type's default."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest

from dynamostore import (
    AsyncDynamoStore,
    AsyncMemoryStore,
    DynamoStore,
    MemoryStore,
    Table,
    connect,
    connect_async,
)
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.local import LocalDynamoDB
from dynamostore.wire import AsyncWireClient, WireClient
from session import AsyncSessionManager, Cookie, OnConflict, SessionManager
from session.web import asgi, flask, wsgi
from session.web.flask import _config

from .distribution import ROOT

PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
SECTIONS: dict[str, list[Callable[..., Any]]] = {
    "SessionManager": [SessionManager, AsyncSessionManager],
    "Cookie": [Cookie],
    "connect": [connect],
    "connect_async": [connect_async],
    "DynamoStore": [DynamoStore, AsyncDynamoStore],
    "WireClient": [WireClient, AsyncWireClient],
    "Table": [Table],
    "MemoryStore": [MemoryStore, AsyncMemoryStore],
    "LocalDynamoDB": [LocalDynamoDB],
    "Batch": [Batch, AsyncBatch],
    "WSGI": [wsgi.SessionMiddleware],
    "ASGI": [asgi.SessionMiddleware],
    "Flask": [flask.SessionInterface],
}
NAMES = {"Table": Table, "asyncio": asyncio, "time": time, "timedelta": timedelta}


def value_of(parameter: inspect.Parameter) -> object:
    """The default of an argument; of a table that may be given by its name, the name."""
    default: object = parameter.default
    return default.name if isinstance(default, Table) and "str" in str(parameter.annotation) else default


def section(heading: str) -> str:
    found = re.search(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def defaults(heading: str) -> dict[str, list[object]]:
    """What the first table of a section says: the defaults of each name, more than one if they depend."""
    said: dict[str, list[object]] = {}
    for names, default in re.findall(r"^\| (`.+?) \| .+? \| (.+?) \| .+ \|$", section(heading), re.MULTILINE):
        each = re.findall(r"`(.+?)`", names)
        values: list[object] = [eval(code, NAMES) for code in re.findall(r"`(.+?)`", default)]
        if default == "required":
            values = [inspect.Parameter.empty]
        # "`sleep`, `clock`" have a default each, or one for both.
        paired = len(values) == len(each) > 1
        said |= {name: [values[number]] if paired else values for number, name in enumerate(each)}
    return said


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_argument_is_there_with_its_default(heading: str) -> None:
    said = defaults(heading)
    arguments = [
        (one, parameter) for one in SECTIONS[heading] for parameter in inspect.signature(one).parameters.values()
    ]
    assert said.keys() == {parameter.name for _, parameter in arguments}
    for one, parameter in arguments:
        assert value_of(parameter) in said[parameter.name], (one, parameter.name)
    for name, values in said.items():
        # No default that none of them has.
        assert all(
            any(value == value_of(parameter) for _, parameter in arguments if parameter.name == name)
            for value in values
        )


def test_the_values_of_on_conflict_are_there() -> None:
    assert re.findall(r"^\| `\"(\w+)\"`", section("on_conflict"), re.MULTILINE) == list(get_args(OnConflict))


def test_the_keys_of_flask_and_of_django_are_there() -> None:
    spoken = set(re.findall(r"`([A-Z_]+)`", section("Flask")))
    assert spoken >= {*_config._COOKIE, _config._ROOT, "PERMANENT_SESSION_LIFETIME", "SESSION_REFRESH_EACH_REQUEST"}
    engine = "".join(path.read_text("utf-8") for path in (ROOT / "session" / "web" / "django").glob("*.py"))
    assert set(re.findall(r"\bSESSION_[A-Z_]*[A-Z]\b", engine)) <= set(re.findall(r"`([A-Z_]+)`", section("Django")))


def test_the_environment_variables_are_there() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "dynamostore").rglob("*.py")]
    read = {
        name
        for source in sources
        for name in re.findall(r"\b(?:AWS_[A-Z0-9_]*[A-Z0-9]|SSLKEYLOGFILE|NO_PROXY)\b", source)
    }
    assert len(read) > 20
    assert read <= set(re.findall(r"`([A-Z0-9_]+)`", section("Environment variables")))
