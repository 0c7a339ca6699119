"""Starlette's sessions, behaviour by behaviour, with this middleware in the place of Starlette's own; docs/guides/web.md lists them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from dynamostore.testing import FakeClock
from session import AsyncSessionManager, Cookie
from session.web.asgi import SessionMiddleware

from .awaited import AwaitedStore
from .counting import CountingStore
from .serving import on_uvicorn

DOCUMENT = Path(__file__).parent.parent / "docs" / "guides" / "web.md"
BEHAVIOURS: dict[str, str] = {}


def behaviour(said: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of what Starlette's sessions do, as the document says it."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        BEHAVIOURS[said] = test.__name__
        return test

    return mark


async def view(request: Request) -> Response:
    return JSONResponse({"session": dict(request.session)})


async def update(request: Request) -> Response:
    request.session.update(await request.json())
    return JSONResponse({"session": dict(request.session)})


async def clear(request: Request) -> Response:
    request.session.clear()
    return JSONResponse({"session": dict(request.session)})


async def nested(request: Request) -> Response:
    request.session["nested"]["list"].append(1)
    return Response()


async def nothing(_: Request) -> Response:
    return Response()


ROUTES = [
    Route("/view", view),
    Route("/update", update, methods=["POST"]),
    Route("/clear", clear, methods=["POST"]),
    Route("/nested", nested),
    Route("/nothing", nothing),
]

Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve(counted: CountingStore, clock: FakeClock) -> Iterator[Serve]:
    """Serve Starlette's usual app; what it returns is a client that keeps cookies."""
    with ExitStack() as stack:

        def serve(routes: list[Any] = ROUTES, cookie: Cookie | None = None, **settings: Any) -> httpx.Client:
            store = AwaitedStore(counted, lambda _: asyncio.sleep(0))
            manager = AsyncSessionManager(store, clock=clock, cookie=cookie or Cookie(secure=False), **settings)
            app = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, manager=manager)])
            return stack.enter_context(httpx.Client(base_url=stack.enter_context(on_uvicorn(app)), trust_env=False))

        yield serve


def seen(response: httpx.Response) -> object:
    return response.json()["session"]


@behaviour("`request.session` is empty at first; it can be updated and cleared, and is kept for the next request")
def test_a_session_is_kept(serve: Serve) -> None:
    client = serve()
    assert seen(client.get("/view")) == {}
    assert seen(client.post("/update", json={"some": "data"})) == {"some": "data"}
    assert seen(client.get("/view")) == {"some": "data"}
    assert seen(client.post("/clear")) == {}
    assert seen(client.get("/view")) == {}


@behaviour("JSON values come back unchanged: str, int, float, bool, None, list, dict")
def test_values_come_back(serve: Serve) -> None:
    client = serve()
    data = {"s": "é\n", "i": -7, "f": 0.5, "b": True, "n": None, "l": [1, [2]], "d": {"a": {"b": []}}}
    assert seen(client.post("/update", json=data)) == data
    assert seen(client.get("/view")) == data


@behaviour("the session ends after its age (`max_age`; here `lifetime`, which the server checks, too)")
def test_a_session_expires(serve: Serve, clock: FakeClock) -> None:
    client = serve(lifetime=timedelta(hours=1))
    response = client.post("/update", json={"some": "data"})
    assert "; Max-Age=3600" in response.headers["set-cookie"]
    token = response.headers["set-cookie"].partition(";")[0]
    clock.advance(timedelta(hours=1, seconds=1))
    # A client that keeps what it should not.
    assert seen(client.get("/view", headers={"Cookie": token})) == {}


@behaviour("a secure cookie (`https_only`) is not sent over plain HTTP")
def test_a_secure_cookie_stays_on_https(serve: Serve) -> None:
    client = serve(cookie=Cookie())
    assert "; Secure; " in client.post("/update", json={"some": "data"}).headers["set-cookie"]
    assert seen(client.get("/view")) == {}


@behaviour("the cookie has a path if one is set (`path`)")
def test_a_cookie_has_its_path(serve: Serve) -> None:
    client = serve([Mount("/second", routes=ROUTES), *ROUTES], Cookie(secure=False, path="/second"))
    response = client.post("/second/update", json={"some": "data"})
    assert "; Path=/second; " in response.headers["set-cookie"]
    assert seen(client.get("/second/view")) == {"some": "data"}
    assert seen(client.get("/view")) == {}


@behaviour("the cookie has a domain if one is set (`domain`)")
def test_a_cookie_has_its_domain(serve: Serve) -> None:
    client = serve(cookie=Cookie(secure=False, domain="example.org"))
    assert "; Domain=example.org; " in client.post("/update", json={"some": "data"}).headers["set-cookie"]


@behaviour("the cookie has `SameSite`, `Partitioned` and `HttpOnly`")
def test_a_cookie_has_its_flags(serve: Serve) -> None:
    client = serve(cookie=Cookie(same_site="None", partitioned=True))
    header = client.post("/update", json={"some": "data"}).headers["set-cookie"]
    assert header.endswith("; Secure; HttpOnly; SameSite=None; Partitioned")


@behaviour("without an age (`max_age=None`; here `persist=False`) the cookie ends with the browser")
def test_a_cookie_may_end_with_the_browser(serve: Serve) -> None:
    client = serve(cookie=Cookie(secure=False, persist=False))
    header = client.post("/update", json={"some": "data"}).headers["set-cookie"]
    assert "Max-Age" not in header
    assert "Expires" not in header


@behaviour("an invalid cookie gives an empty session, which can be used")
def test_an_invalid_cookie_is_an_empty_session(serve: Serve) -> None:
    client = serve()
    jar = {"Cookie": "session=eyJub3QiOiAib3VycyJ9.bad.signature"}
    assert seen(client.get("/view", headers=jar)) == {}
    assert seen(client.post("/update", json={"some": "data"}, headers=jar)) == {"some": "data"}


@behaviour("a request that does not change the session sets no cookie")
def test_only_a_change_sets_a_cookie(serve: Serve) -> None:
    client = serve()
    assert "set-cookie" not in client.get("/view").headers
    client.post("/update", json={"some": "data"})
    assert "set-cookie" not in client.get("/view").headers
    assert "set-cookie" not in client.get("/nothing").headers


@behaviour("a response has `Vary: Cookie` only if the request accessed the session")
def test_looking_varies(serve: Serve) -> None:
    client = serve()
    assert client.get("/view").headers["vary"] == "Cookie"
    assert "vary" not in client.get("/nothing").headers


@behaviour("a WebSocket can read the session")
def test_a_websocket_sees_it(serve: Serve) -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(dict(websocket.session))
        await websocket.close()

    client = serve([*ROUTES, WebSocketRoute("/socket", socket)])
    client.post("/update", json={"some": "data"})
    url = str(client.base_url).replace("http", "ws")
    with connect(f"{url}/socket", additional_headers={"Cookie": f"session={client.cookies['session']}"}) as ws:
        assert ws.recv() == '{"some":"data"}'


@behaviour("differs: the cookie holds a token, never the data, and an old cookie does not bring old data back")
def test_an_old_cookie_brings_nothing_back(serve: Serve) -> None:
    client = serve()
    client.post("/update", json={"credit": 1})
    token = client.cookies["session"]
    client.post("/update", json={"credit": 0})
    assert "credit" not in token
    assert seen(client.get("/view", headers={"Cookie": f"session={token}"})) == {"credit": 0}


@behaviour("differs: a cleared session stays, empty, under its token; `destroy()` ends it and clears the cookie")
def test_a_cleared_session_is_an_empty_one(serve: Serve) -> None:
    async def logout(request: Request) -> Response:
        request.session.destroy()  # type: ignore[attr-defined]  # Starlette has it for a dict; get_session() is typed
        return PlainTextResponse("")

    client = serve([*ROUTES, Route("/logout", logout)])
    client.post("/update", json={"some": "data"})
    assert "set-cookie" not in client.post("/clear").headers
    assert client.get("/logout").headers["set-cookie"].startswith("session=; ")


@behaviour("differs: a change inside a list or dict is noticed and kept")
def test_a_change_deep_within_is_kept(serve: Serve) -> None:
    client = serve()
    client.post("/update", json={"nested": {"list": []}})
    client.get("/nested")
    assert seen(client.get("/view")) == {"nested": {"list": [1]}}


def test_the_document_lists_each_behaviour() -> None:
    listed = DOCUMENT.read_text("utf-8").partition("## Starlette's behaviours")[2].partition("\n## ")[0]
    assert [line[2:] for line in listed.replace("\n  ", " ").splitlines() if line.startswith("- ")] == list(BEHAVIOURS)
    tests = {name for name, value in globals().items() if name.startswith("test_") and inspect.isfunction(value)}
    assert set(BEHAVIOURS.values()) <= tests


# What else an app has


def test_static_files_cost_nothing(serve: Serve, counted: CountingStore, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("p {}")
    client = serve([*ROUTES, Mount("/static", StaticFiles(directory=tmp_path))])
    client.post("/update", json={"some": "data"})
    counted.taken()
    response = client.get("/static/style.css")
    assert response.text == "p {}"
    assert counted.taken() == []
    assert {"vary", "set-cookie"} & set(response.headers) == set()


def test_fastapi_with_a_prefix_and_both_kinds_of_handler(counted: CountingStore, clock: FakeClock) -> None:
    router = APIRouter(prefix="/api")

    @router.post("/count")
    async def count(request: FastAPIRequest) -> int:
        request.session["n"] = request.session.get("n", 0) + 1
        return int(request.session["n"])

    @router.get("/count")
    def read(request: FastAPIRequest) -> int:
        return int(request.session["n"])

    app = FastAPI()
    store = AwaitedStore(counted, lambda _: asyncio.sleep(0))
    manager = AsyncSessionManager(store, clock=clock, cookie=Cookie(secure=False))
    app.add_middleware(SessionMiddleware, manager=manager)
    app.include_router(router)
    with on_uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert [client.post("/api/count").json() for _ in range(3)] == [1, 2, 3]
        assert client.get("/api/count").json() == 3
        assert client.get("/openapi.json").status_code == 200
    assert counted.taken() == ["create", *["find", "replace"] * 2, "find"]
