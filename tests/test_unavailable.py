"""WSGI and ASGI: the app for outages answers wherever the middleware would answer 503."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.testclient import TestClient

from dynamostore import MemoryStore, StoreError, UnavailableError
from session import AsyncSessionManager, Cookie, SessionConflict, SessionManager
from session.session import BaseSession
from session.web import asgi, wsgi
from session.web.asgi import _session as _asgi_session

from .awaited import AwaitedStore
from .counting import CountingStore
from .test_asgi import held, request, run
from .test_wsgi import call

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

OUTAGE = "The session store cannot be reached. Please try again soon.\n"
KEY = "session.unavailable"


@dataclass
class Reply:
    status: int
    body: str
    header: Callable[[str], list[str]]


def sorry(_: MutableMapping[str, Any], __: BaseSession) -> int:
    """Answer without a look at the session."""
    return 503


@dataclass
class Shop:
    """An app, and the app that answers for it in an outage. The request's action may first have a change saved."""

    adapter: str
    counted: CountingStore
    action: Callable[[BaseSession], int]
    saved: Callable[[BaseSession], object] | None = None
    answer: Callable[[MutableMapping[str, Any], BaseSession], int] = sorry
    settings: dict[str, Any] = field(default_factory=dict)
    errors: list[object] = field(default_factory=list)

    def ask(self, token: str | None, *, method: str = "GET") -> Reply:
        return (self._on_wsgi if self.adapter.startswith("WSGI") else self._on_asgi)(token, method)

    def _on_wsgi(self, token: str | None, method: str) -> Reply:
        lazily = self.adapter.endswith("streaming")

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            session = wsgi.get_session(environ)
            environ["app.mark"] = 1
            if self.saved:
                self.saved(session)
                session.save()
            start_response(f"{self.action(session)} Said So", [])
            return iter([b"shop"]) if lazily else [b"shop"]

        def unavailable(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            status = self._answer(environ, wsgi.get_session(environ))
            start_response(f"{status} Sorry", [("X-Sorry", "yes")])
            return iter([b"sorry"]) if lazily else [b"sorry"]

        def with_method(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            environ["REQUEST_METHOD"] = method
            return middleware(environ, start_response)

        manager = SessionManager(self.counted, cookie=Cookie(secure=False))
        middleware = wsgi.SessionMiddleware(app, manager, unavailable=unavailable, **self.settings)
        response = call(with_method, token and f"session={token}")
        return Reply(response.status, response.body.decode(), response.header)

    def _on_asgi(self, token: str | None, method: str) -> Reply:
        async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
            session = asgi.get_session(scope)
            scope["app.mark"] = 1
            if self.saved:
                self.saved(session)
                await session.save()
            await send({"type": "http.response.start", "status": self.action(session), "headers": []})
            await send({"type": "http.response.body", "body": b"shop"})

        async def unavailable(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
            status = self._answer(scope, asgi.get_session(scope))
            await send({"type": "http.response.start", "status": status, "headers": [(b"x-sorry", b"yes")]})
            await send({"type": "http.response.body", "body": b"sorry"})

        manager: Any
        if self.adapter.endswith("synchronous manager"):
            manager = SessionManager(self.counted, cookie=Cookie(secure=False))
        else:
            store = AwaitedStore(self.counted, lambda _: asyncio.sleep(0))
            manager = AsyncSessionManager(store, cookie=Cookie(secure=False))
        middleware = asgi.SessionMiddleware(app, manager, unavailable=unavailable, **self.settings)
        exchange = run(request(middleware, token, method=method))
        return Reply(exchange.status, exchange.body, lambda name: exchange.header(name.lower()))

    def _answer(self, given: MutableMapping[str, Any], session: BaseSession) -> int:
        assert "app.mark" not in given
        self.errors.append(given[KEY])
        return self.answer(given, session)


@pytest.fixture(params=["WSGI", "WSGI, streaming", "ASGI", "ASGI, synchronous manager"])
def adapter(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def counted() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture
def down() -> UnavailableError:
    return UnavailableError("no answer")


@pytest.fixture
def token(counted: CountingStore) -> str:
    with SessionManager(counted).session(None) as s:
        s.put_int("n", 1)
    counted.taken()
    assert s.token is not None
    return s.token


def failing(counted: CountingStore, down: StoreError, when: str) -> Callable[[BaseSession], int]:
    """What the app does in a request that meets an outage."""

    def action(s: BaseSession) -> int:
        if when == "reading":
            counted.failure = down
        if when == "destroying":
            s.destroy()
        else:
            s.increment("n")
        counted.failure = down
        return 500 if when == "destroying" else 200

    return action


@pytest.mark.parametrize("when", ["reading", "committing", "destroying"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_wherever_the_store_fails(
    adapter: str,
    counted: CountingStore,
    down: UnavailableError,
    token: str,
    when: str,
    method: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(adapter, counted, failing(counted, down, when))
    with caplog.at_level(logging.ERROR, "session.web"):
        reply = shop.ask(token, method=method)
    assert (reply.status, reply.body, reply.header("X-Sorry")) == (503, "sorry", ["yes"])
    # The headers are the app's own; the answer depends on the cookie.
    assert (reply.header("Set-Cookie"), reply.header("Retry-After"), reply.header("Vary")) == ([], [], ["Cookie"])
    assert shop.errors == [down]
    assert [record.getMessage() for record in caplog.records] == ["answered with 503: no answer"]
    assert token not in caplog.text
    # And no further call: the read or the write that failed was the last.
    assert counted.taken()[-1] == {"reading": "find", "committing": "replace", "destroying": "delete"}[when]
    counted.failure = None
    assert held(SessionManager(counted), token) == {"n": 1}


def test_it_answers_an_outage_in_a_group(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    def action(_: BaseSession) -> int:
        raise ExceptionGroup("in tasks", [down, UnavailableError("nor here")])

    shop = Shop(adapter, counted, action)
    assert shop.ask(token).body == "sorry"
    assert shop.errors == [down]


def test_it_is_not_asked_where_the_app_answers_or_has_an_error_of_its_own(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    def handling(s: BaseSession) -> int:
        counted.failure = down
        with pytest.raises(UnavailableError):
            s.increment("n")
        return 200

    def raising(s: BaseSession) -> int:
        s.destroy()
        counted.failure = down
        raise LookupError

    shop = Shop(adapter, counted, handling)
    assert shop.ask(token).body == "shop"
    shop.action = raising
    with pytest.raises(LookupError):
        shop.ask(token)
    assert shop.errors == []


def get(_: MutableMapping[str, Any], s: BaseSession) -> int:
    return s.get_int("n")


def put(_: MutableMapping[str, Any], s: BaseSession) -> int:
    s.put_int("n", 7)
    return 200


@pytest.mark.parametrize("answer", [get, put])
def test_its_session_raises_the_error_again_without_a_call_and_the_answer_is_then_the_plain_one(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str, answer: Any
) -> None:
    def recovered(given: MutableMapping[str, Any], s: BaseSession) -> int:
        counted.failure = None
        counted.taken()
        with pytest.raises(UnavailableError) as caught:
            answer(given, s)
        assert caught.value is down
        status: int = answer(given, s)
        return status

    shop = Shop(adapter, counted, failing(counted, down, "committing"), answer=recovered)
    reply = shop.ask(token)
    assert (reply.status, reply.body, reply.header("Retry-After")) == (503, OUTAGE, ["5"])
    assert (reply.header("Set-Cookie"), reply.header("X-Sorry")) == ([], [])
    assert len(shop.errors) == 1
    assert counted.taken() == []
    assert held(SessionManager(counted), token) == {"n": 1}


def test_an_error_of_its_own_reaches_the_server(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    def mistaken(_: MutableMapping[str, Any], __: BaseSession) -> int:
        raise LookupError

    with pytest.raises(LookupError):
        Shop(adapter, counted, failing(counted, down, "reading"), answer=mistaken).ask(token)


@pytest.mark.parametrize("status", [200, 503])
def test_a_client_without_a_session_gets_none(
    adapter: str, counted: CountingStore, down: UnavailableError, status: int
) -> None:
    shop = Shop(adapter, counted, failing(counted, down, "committing"), answer=lambda *_: status)
    reply = shop.ask(None)
    assert (reply.status, reply.body, reply.header("Set-Cookie")) == (status, "sorry", [])
    assert set(counted.taken()) == {"create"}


@pytest.mark.parametrize("answer", [sorry, get, lambda *_: 200])
def test_a_token_that_was_saved_before_the_outage_reaches_the_client(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str, answer: Any
) -> None:
    shop = Shop(adapter, counted, failing(counted, down, "committing"), saved=lambda s: s.renew_token(), answer=answer)
    (cookie,) = shop.ask(token).header("Set-Cookie")
    new = cookie.partition(";")[0].partition("=")[2]
    counted.failure = None
    assert new != token
    assert held(SessionManager(counted), new) == {"n": 1}


def test_a_logout_that_was_saved_before_the_outage_clears_the_cookie(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    shop = Shop(adapter, counted, failing(counted, down, "committing"), saved=lambda s: s.destroy())
    (cookie,) = shop.ask(token).header("Set-Cookie")
    assert cookie.startswith("session=; ")


def overtaken(counted: CountingStore) -> Callable[[BaseSession], int]:
    def action(s: BaseSession) -> int:
        seen = s.get_int("n")
        with SessionManager(counted).session(s.token) as other:
            other.put_int("n", other.get_int("n") + 1)
        s.put_int("seen", seen)
        return 200

    return action


def test_it_answers_for_the_app_for_conflicts_too(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    def in_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        counted.failure = down
        wsgi.get_session(environ).get_int("n")
        raise AssertionError

    async def in_asgi(scope: asgi.Scope, _: asgi.Receive, __: asgi.Send) -> None:
        counted.failure = down
        await asgi.get_session(scope).load()
        raise AssertionError

    conflict = in_wsgi if adapter.startswith("WSGI") else in_asgi
    shop = Shop(adapter, counted, overtaken(counted), settings={"conflict": conflict})
    assert shop.ask(token, method="POST").body == "sorry"
    assert shop.errors == [down]


def test_an_app_for_conflicts_that_ignores_the_session_leaves_the_saved_token_to_the_client(
    adapter: str, counted: CountingStore, token: str
) -> None:
    def in_wsgi(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("303 See Other", [])
        return []

    conflict: Any = in_wsgi if adapter.startswith("WSGI") else PlainTextResponse("", 303)
    shop = Shop(adapter, counted, overtaken(counted), saved=lambda s: s.renew_token(), settings={"conflict": conflict})
    reply = shop.ask(token, method="POST")
    (cookie,) = reply.header("Set-Cookie")
    assert reply.status == 303
    assert held(SessionManager(counted), cookie.partition(";")[0].partition("=")[2]) == {"n": 2}


def test_an_app_for_conflicts_that_ends_the_session_clears_the_cookie_in_spite_of_the_saved_token(
    adapter: str, counted: CountingStore, token: str
) -> None:
    def in_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        wsgi.get_session(environ).destroy()
        start_response("303 See Other", [])
        return []

    async def in_asgi(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        asgi.get_session(scope).destroy()
        response: Any = PlainTextResponse("", 303)
        await response(scope, receive, send)

    conflict = in_wsgi if adapter.startswith("WSGI") else in_asgi
    shop = Shop(adapter, counted, overtaken(counted), saved=lambda s: s.renew_token(), settings={"conflict": conflict})
    (cookie,) = shop.ask(token, method="POST").header("Set-Cookie")
    assert cookie.startswith("session=; ")


def test_a_conflict_that_it_raises_itself_is_a_plain_409(
    adapter: str, counted: CountingStore, down: UnavailableError, token: str
) -> None:
    def raising(_: MutableMapping[str, Any], __: BaseSession) -> int:
        raise SessionConflict("in a task")

    def never(*_: object) -> Any:
        raise AssertionError

    shop = Shop(adapter, counted, failing(counted, down, "reading"), answer=raising, settings={"conflict": never})
    reply = shop.ask(token)
    assert reply.status == 409
    assert "Please try again" in reply.body


def test_what_is_no_app_is_refused(counted: CountingStore) -> None:
    app: Any = lambda *_: []  # noqa: E731
    manager = SessionManager(counted)
    with pytest.raises(TypeError, match="unavailable must be a WSGI app, not str"):
        wsgi.SessionMiddleware(app, manager, unavailable="sorry")  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(TypeError, match="unavailable must be an ASGI app, not str"):
        asgi.SessionMiddleware(app, manager, unavailable="sorry")  # type: ignore[arg-type]  # that is the mistake


# In ASGI


@pytest.mark.parametrize("when", ["reading", "committing", "destroying"])
def test_a_response_of_starlettes_answers_in_fastapi(
    counted: CountingStore, down: UnavailableError, token: str, when: str
) -> None:
    app = FastAPI()
    manager = SessionManager(counted, cookie=Cookie(secure=False))
    unavailable = JSONResponse({"detail": "try again soon"}, 503, {"Retry-After": "9"})
    app.add_middleware(asgi.SessionMiddleware, manager=manager, unavailable=unavailable)
    act = failing(counted, down, when)

    @app.get("/")
    async def index(request: Request) -> JSONResponse:
        return JSONResponse({}, act(asgi.get_session(request.scope)))

    response = TestClient(app).get("/", headers={"Cookie": f"session={token}"})
    assert (response.status_code, response.json()) == (503, {"detail": "try again soon"})
    assert response.headers["retry-after"] == "9"
    assert "set-cookie" not in response.headers


def test_reading_raises_the_error_also_where_nothing_can_wait(
    counted: CountingStore, down: UnavailableError, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(given: MutableMapping[str, Any], s: BaseSession) -> int:
        with pytest.raises(UnavailableError):
            get(given, s)
        return 503

    async def app(scope: asgi.Scope, _: asgi.Receive, __: asgi.Send) -> None:
        await asgi.get_session(scope).load()

    async def unavailable(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        response: Any = PlainTextResponse("sorry", reading(scope, asgi.get_session(scope)))
        await response(scope, receive, send)

    monkeypatch.setattr(_asgi_session, "GREENLETS", False)
    counted.failure = down
    middleware = asgi.SessionMiddleware(app, SessionManager(counted), unavailable=unavailable)
    assert run(request(middleware, token)).body == "sorry"


def test_with_autoload_no_read_is_tried_again(counted: CountingStore, down: UnavailableError, token: str) -> None:
    shop = Shop("ASGI", counted, failing(counted, down, "reading"), settings={"autoload": True})
    counted.failure = down
    assert shop.ask(token).body == "sorry"
    assert counted.taken() == ["find"]


def test_a_websocket_does_not_ask_it(counted: CountingStore, down: UnavailableError, token: str) -> None:
    async def app(scope: asgi.Scope, _: asgi.Receive, __: asgi.Send) -> None:
        await asgi.get_session(scope).load()

    async def unavailable(*_: object) -> None:
        raise AssertionError

    counted.failure = down
    middleware = asgi.SessionMiddleware(app, SessionManager(counted), unavailable=unavailable)
    exchange = run(request(middleware, token, type="websocket"))
    assert exchange.sent == [{"type": "websocket.close", "code": 1013}]
