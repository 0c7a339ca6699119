"""Litestar over the ASGI middleware: ``request.session``, ``set_session`` and ``clear_session``, run under uvicorn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.middleware import DefineMiddleware

from dynamostore import MemoryStore
from session import Cookie, SessionManager
from session.web.asgi import SessionMiddleware

from .counting import CountingStore
from .serving import on_uvicorn

AnyRequest = Request[Any, Any, Any]


@get("/put")
async def put(request: AnyRequest) -> str:
    request.session["user"] = "ada"
    return "put"


@get("/set")
async def set_session(request: AnyRequest) -> str:
    request.set_session({"user": "eve"})
    return "set"


@get("/set-in-a-thread", sync_to_thread=True)
def set_in_a_thread(request: AnyRequest) -> str:
    request.set_session({"user": "bob"})
    return "set"


@get("/set-a-number")
async def set_a_number(request: AnyRequest) -> str:
    request.set_session(7)  # type: ignore[arg-type]  # a mistake
    return "set"


@get("/clear")
async def clear(request: AnyRequest) -> str:
    request.clear_session()
    return "cleared"


@get("/me")
async def me(request: AnyRequest) -> str:
    return str(request.session.get("user"))


HANDLERS: list[Any] = [put, set_session, set_in_a_thread, set_a_number, clear, me]


@pytest.fixture
def counted() -> CountingStore:
    # The browser has a clock of its own.
    return CountingStore(MemoryStore())


@pytest.fixture(params=["within", "around"])
def client(request: pytest.FixtureRequest, counted: CountingStore) -> Iterator[httpx.Client]:
    """A browser of an app with the middleware within it, or around it."""
    # The other tests' loggers are left as they are; and Litestar has types of its own for what ASGI has.
    manager = SessionManager(counted, cookie=Cookie(secure=False))
    if request.param == "within":
        middleware: Any = SessionMiddleware
        app: Any = Litestar(HANDLERS, logging_config=None, middleware=[DefineMiddleware(middleware, manager=manager)])
    else:
        inner: Any = Litestar(HANDLERS, logging_config=None)
        app = SessionMiddleware(inner, manager)
    with on_uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def test_a_session_is_read_put_set_and_cleared_as_litestar_has_it(client: httpx.Client, counted: CountingStore) -> None:
    client.get("/put")
    assert client.get("/me").text == "ada"
    for path, user in (("/set", "eve"), ("/set-in-a-thread", "bob")):
        assert client.get(path).status_code == 200
        assert client.get("/me").text == user
    counted.taken()
    response = client.get("/clear")
    assert counted.taken() == ["delete"]
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert client.get("/me").text == "None"
    assert "session" not in client.cookies


def test_what_is_no_session_is_a_500_and_nothing_is_stored(client: httpx.Client) -> None:
    client.get("/put")
    assert client.get("/set-a-number").status_code == 500
    assert client.get("/me").text == "ada"
