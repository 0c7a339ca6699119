"""An app puts another object in the session's place: a mapping becomes its data, None ends it, and anything else is refused."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.types import Empty
from starlette.middleware.sessions import SessionMiddleware as StarlettesMiddleware

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import Cookie, SessionClosedError, SessionConflict, SessionError, SessionManager, SessionTypeError
from session.session import BaseSession
from session.web import asgi, wsgi
from session.web.flask import SessionInterface

from . import test_asgi, test_wsgi
from .counting import CountingStore

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Holder: TypeAlias = MutableMapping[str, Any]
"""An environ or a scope."""
Act: TypeAlias = Callable[[Holder], object]
PLAIN = Cookie(secure=False)


@dataclass
class Answer:
    status: int
    cookie: str | None


Serve: TypeAlias = Callable[..., Answer]


def over_wsgi(
    manager: SessionManager, act: Act, token: str | None, *, status: int = 200, method: str = "GET", **settings: Any
) -> Answer:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        act(environ)
        start_response(f"{status} Said So", [("Content-Type", "text/plain")])
        return [b"done"]

    def with_method(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["REQUEST_METHOD"] = method
        return wsgi.SessionMiddleware(app, manager, **settings)(environ, start_response)

    response = test_wsgi.call(with_method, None if token is None else f"session={token}")
    return Answer(response.status, next(iter(response.header("Set-Cookie")), None))


def over_asgi(
    manager: SessionManager, act: Act, token: str | None, *, status: int = 200, method: str = "GET", **settings: Any
) -> Answer:
    async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
        act(scope)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    exchange = asyncio.run(test_asgi.request(asgi.SessionMiddleware(app, manager, **settings), token, method=method))
    return Answer(exchange.status, next(iter(exchange.header("set-cookie")), None))


@pytest.fixture(params=[over_wsgi, over_asgi], ids=["WSGI", "ASGI"])
def serve(request: pytest.FixtureRequest) -> Serve:
    chosen: Serve = request.param
    return chosen


@pytest.fixture
def token(manager: SessionManager, counted: CountingStore) -> str:
    with manager.session(None) as s:
        s["user"] = "ada"
    assert s.token is not None
    counted.taken()
    return s.token


def put(value: object, key: str = "session") -> Act:
    return lambda request: request.__setitem__(key, value)


def held(manager: SessionManager, token: str | None) -> dict[str, object]:
    with manager.session(token) as s:
        return dict(s)


# A mapping


@pytest.mark.parametrize(
    "mapping",
    [{"a": 1}, MappingProxyType({"a": 1}), ChainMap({"a": 1})],
    ids=lambda mapping: type(mapping).__name__,
)
def test_a_mapping_becomes_the_sessions_data(
    serve: Serve, manager: SessionManager, counted: CountingStore, token: str, mapping: object
) -> None:
    assert serve(manager, put(mapping), token) == Answer(200, None)
    assert counted.taken() == ["find", "replace"]
    assert held(manager, token) == {"a": 1}


def test_an_empty_mapping_logs_out_and_the_session_stays(serve: Serve, manager: SessionManager, token: str) -> None:
    serve(manager, put({}), token)
    with manager.session(token) as s:
        assert (dict(s), s.token) == ({}, token)


def test_a_mapping_begins_a_session_and_an_empty_one_begins_none(
    serve: Serve, manager: SessionManager, counted: CountingStore
) -> None:
    assert serve(manager, put({}), None) == Answer(200, None)
    assert counted.taken() == []
    cookie = serve(manager, put({"a": 1}), None).cookie
    assert cookie is not None
    assert counted.taken() == ["create"]
    assert held(manager, cookie.partition(";")[0].partition("=")[2]) == {"a": 1}


def test_the_same_data_again_is_no_change(
    serve: Serve, manager: SessionManager, counted: CountingStore, token: str
) -> None:
    serve(manager, put({"user": "ada"}), token)
    assert counted.taken() == ["find"]


def test_a_view_of_the_session_is_copied_before_that_is_cleared(
    serve: Serve, manager: SessionManager, token: str
) -> None:
    serve(manager, lambda request: put(ChainMap({"a": 1}, request["session"]))(request), token)
    assert held(manager, token) == {"a": 1, "user": "ada"}


def test_the_session_itself_put_back_is_nothing_new(
    serve: Serve, manager: SessionManager, counted: CountingStore, token: str
) -> None:
    def act(request: Holder) -> None:
        session = request["session"]
        request["session"] = {}
        request["session"] = session
        session["a"] = 1

    serve(manager, act, token)
    assert held(manager, token) == {"a": 1, "user": "ada"}


def test_where_it_is_taken_out_nothing_happens(serve: Serve, manager: SessionManager, token: str) -> None:
    def act(request: Holder) -> None:
        request["session"]["a"] = 1
        del request["session"]

    serve(manager, act, token)
    assert held(manager, token) == {"a": 1, "user": "ada"}


@given(
    st.dictionaries(st.text("abc", max_size=2), st.booleans() | st.lists(st.booleans())),
    st.dictionaries(st.text("abc", max_size=2), st.booleans() | st.lists(st.booleans())),
    st.sampled_from([over_wsgi, over_asgi]),
)
def test_whatever_is_put_there_is_what_the_next_request_sees(
    before: dict[str, Any], after: dict[str, Any], serve: Serve
) -> None:
    manager = SessionManager(MemoryStore())
    with manager.session(None) as s:
        s["user"] = "ada"
        s.update(before)
    serve(manager, put(after), s.token)
    assert held(manager, s.token) == after


def test_a_change_of_another_request_is_merged_as_with_clear_and_update(
    serve: Serve, manager: SessionManager, token: str
) -> None:
    results = []
    for replaced in (True, False):
        with manager.session(token) as s:
            s.clear()
            s.update({"user": "ada", "n": 1})

        def act(request: Holder, replaced: bool = replaced) -> None:
            session = request["session"]
            session.peek("user")
            with manager.session(token) as other:
                other["theirs"], other["n"] = 1, 2
            if replaced:
                request["session"] = {"ours": 1}
            else:
                session.clear()
                session.update({"ours": 1})

        assert serve(manager, act, token).status == 200
        results.append(held(manager, token))
    assert results[0] == results[1]
    assert "ours" in results[0]


# An end


@pytest.mark.parametrize("end", [None, Empty], ids=["None", "Empty"])
@pytest.mark.parametrize("status", [200, 500])
def test_none_ends_the_session_in_one_call(
    serve: Serve, manager: SessionManager, counted: CountingStore, token: str, end: object, status: int
) -> None:
    answer = serve(manager, put(end), token, status=status)
    assert answer.status == status
    assert answer.cookie is not None
    assert "Max-Age=0" in answer.cookie
    assert counted.taken() == ["delete"]
    assert held(manager, token) == {}


def test_litestars_empty_is_known_in_each_of_its_versions(serve: Serve, manager: SessionManager, token: str) -> None:
    for module in ("litestar.types.empty", "starlite.types.empty"):
        with manager.session(None) as s:
            s["user"] = "ada"
        serve(manager, put(type("Empty", (), {"__module__": module})), s.token)
        assert held(manager, s.token) == {}


def test_none_ends_the_session_also_if_the_app_raises(serve: Serve, manager: SessionManager, token: str) -> None:
    def act(request: Holder) -> None:
        request["session"] = None
        raise LookupError

    with pytest.raises(LookupError):
        serve(manager, act, token)
    assert held(manager, token) == {}


def test_without_a_session_there_is_nothing_to_end(
    serve: Serve, manager: SessionManager, counted: CountingStore
) -> None:
    assert serve(manager, put(None), None) == Answer(200, None)
    assert counted.taken() == []


# What is not stored


@pytest.mark.parametrize("status", [500, None], ids=["500", "raises"])
def test_a_mapping_is_stored_as_any_change_is(
    serve: Serve, manager: SessionManager, token: str, status: int | None
) -> None:
    def act(request: Holder) -> None:
        request["session"] = {}
        if status is None:
            raise LookupError

    if status is None:
        with pytest.raises(LookupError):
            serve(manager, act, token)
    else:
        serve(manager, act, token, status=status)
    assert held(manager, token) == {"user": "ada"}


class Model:
    modified = True


REFUSED: list[object] = [7, "", [], object(), dict, Model(), False]


@pytest.mark.parametrize("value", REFUSED, ids=[type(value).__name__ for value in REFUSED])
@pytest.mark.parametrize("status", [200, 500])
def test_anything_else_is_refused_and_nothing_stored(
    serve: Serve, manager: SessionManager, token: str, value: object, status: int
) -> None:
    def act(request: Holder) -> None:
        request["session"]["a"] = 1
        request["session"] = value

    with pytest.raises(
        SessionTypeError, match=f"'session' was replaced by a {type(value).__name__}; replace it by a dict"
    ):
        serve(manager, act, token, status=status)
    assert held(manager, token) == {"user": "ada"}


def test_another_session_is_refused(serve: Serve, manager: SessionManager, token: str) -> None:
    other = manager.load(None)
    with pytest.raises(SessionTypeError, match="replaced by a Session"):
        serve(manager, put(other), token)


@pytest.mark.parametrize(
    "mapping",
    [{"a": object()}, {"b": 1, 7: 1}, {"a": float("nan")}, {"a": "\ud800"}],
    ids=["object", "int key", "nan", "surrogate"],
)
def test_what_a_session_cannot_hold_is_refused_and_nothing_stored(
    serve: Serve, manager: SessionManager, token: str, mapping: dict[Any, Any]
) -> None:
    with pytest.raises((SessionTypeError, ValueError)):
        serve(manager, put(mapping), token)
    assert held(manager, token) == {"user": "ada"}


def test_get_session_says_what_is_there(serve: Serve, manager: SessionManager, token: str) -> None:
    def act(request: Holder) -> None:
        get_session: Any = wsgi.get_session if serve is over_wsgi else asgi.get_session
        values: list[object] = [{}, None]
        for value in values:
            request["session"] = value
            with pytest.raises(
                RuntimeError,
                match=f"but an object of type {type(value).__name__}; get the session before you replace it",
            ):
                get_session(request)

    serve(manager, act, token)


# Runs


@pytest.fixture
def strict(counted: CountingStore, clock: FakeClock) -> SessionManager:
    """In "merge" nothing that was read is stale: `clear` overwrites every key."""
    return SessionManager(counted, clock=clock, on_conflict="serialize")


def test_each_run_begins_with_the_session_in_its_place(
    serve: Serve, manager: SessionManager, strict: SessionManager, token: str
) -> None:
    seen = []

    def act(request: Holder) -> None:
        session = request["session"]
        seen.append(isinstance(session, BaseSession) and session.get_string("user"))
        if len(seen) == 1:
            with manager.session(token) as other:
                other["user"] = "eve"
        # It rests on what was read.
        request["session"] = {"greeted": seen[-1]}

    assert serve(strict, act, token).status == 200
    assert seen == ["ada", "eve"]
    assert held(manager, token) == {"greeted": "eve"}


def test_a_stale_request_that_is_not_run_again_stores_nothing(
    serve: Serve, manager: SessionManager, strict: SessionManager, token: str
) -> None:
    def act(request: Holder) -> None:
        request["session"].get_string("user")
        with manager.session(token) as other:
            other["user"] = "eve"
        request["session"] = {"greeted": "ada"}

    assert serve(strict, act, token, method="POST").status == 409
    assert held(manager, token) == {"user": "eve"}


def test_what_a_stale_run_put_in_another_managers_place_is_forgotten(
    serve: Serve, manager: SessionManager, token: str
) -> None:
    admins = SessionManager(MemoryStore(), cookie=Cookie(name="admin"))
    with admins.session(None) as admin:
        admin["who"] = "root"

    def act(request: Holder) -> None:
        request["admin"] = {"who": "nobody"}
        raise SessionConflict

    module: Any = wsgi if serve is over_wsgi else asgi

    def with_admins(app: Any) -> Any:
        return module.SessionMiddleware(app, admins, key="admin")

    assert answer_to_two(serve, manager, with_admins, act, f"{token}; admin={admin.token}").status == 409
    with admins.session(admin.token) as after:
        assert dict(after) == {"who": "root"}


def test_what_a_stale_run_of_flask_put_in_another_managers_place_is_forgotten(
    manager: SessionManager, token: str
) -> None:
    admins = SessionManager(MemoryStore(), cookie=Cookie(name="admin"))
    with admins.session(None) as admin:
        admin["who"] = "root"
    app = flask.Flask("site")

    @app.post("/")
    def view() -> str:
        flask.request.environ["admin"] = {"who": "nobody"}
        raise SessionConflict

    SessionInterface(manager).init_app(app)
    app.wsgi_app = wsgi.SessionMiddleware(app.wsgi_app, admins, key="admin")  # type: ignore[method-assign]  # as Flask has it
    client = app.test_client(use_cookies=False)
    assert client.post("/", headers={"Cookie": f"session={token}; admin={admin.token}"}).status_code == 409
    with admins.session(admin.token) as after:
        assert dict(after) == {"who": "root"}


def answer_to_two(serve: Serve, manager: SessionManager, outer: Callable[[Any], Any], act: Act, cookie: str) -> Answer:
    """The answer of an app with two sessions, where the inner one's is stale."""
    if serve is over_wsgi:

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            act(environ)
            return []

        both = outer(wsgi.SessionMiddleware(app, manager, sleep=lambda _: None))
        response = test_wsgi.call(both, f"session={cookie}")
        return Answer(response.status, None)

    async def pause(_: float) -> None: ...

    async def aapp(scope: asgi.Scope, _: asgi.Receive, __: asgi.Send) -> None:
        act(scope)

    exchange = asyncio.run(test_asgi.request(outer(asgi.SessionMiddleware(aapp, manager, sleep=pause)), cookie))
    return Answer(exchange.status, None)


# After the end


def test_what_is_put_there_too_late_is_an_error_over_wsgi(manager: SessionManager, token: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        environ["session"] = {}

    with pytest.raises(SessionClosedError, match="'session' was replaced after the session was closed"):
        test_wsgi.call(wsgi.SessionMiddleware(app, manager), f"session={token}")
    assert held(manager, token) == {"user": "ada"}


def test_what_is_put_there_too_late_is_an_error_over_asgi(manager: SessionManager, token: str) -> None:
    async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        scope["session"] = {}

    with pytest.raises(SessionClosedError, match="'session' was replaced after the session was closed"):
        asyncio.run(test_asgi.request(asgi.SessionMiddleware(app, manager), token))
    assert held(manager, token) == {"user": "ada"}


# WebSockets


def talk(manager: SessionManager, token: str | None, *steps: dict[str, Any] | Act) -> list[Any]:
    """Serve a WebSocket that does these steps, each a message that it sends or what it does; returns what it sent."""

    async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
        for step in steps:
            if callable(step):
                step(scope)
            else:
                await send(step)

    exchange = test_asgi.Exchange()
    asyncio.run(test_asgi.request(asgi.SessionMiddleware(app, manager), token, exchange=exchange, type="websocket"))
    return exchange.sent


ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


def test_a_websocket_replaces_it_before_and_after_it_is_accepted(manager: SessionManager, token: str) -> None:
    seen = []

    def between(request: Holder) -> None:
        seen.append((isinstance(request["session"], BaseSession), held(manager, token)))
        request["session"] = {"b": 2}

    talk(manager, token, put({"a": 1}), ACCEPT, between)
    assert seen == [(True, {"a": 1})]
    assert held(manager, token) == {"b": 2}


def test_a_websocket_ends_it(manager: SessionManager, token: str) -> None:
    talk(manager, token, ACCEPT, put(None))
    assert held(manager, token) == {}


def test_a_websocket_begins_none_when_its_client_can_be_told_no_more(
    manager: SessionManager, counted: CountingStore
) -> None:
    with pytest.raises(SessionError, match="can get no new token"):
        talk(manager, None, ACCEPT, put({"a": 1}))
    talk(manager, None, put({"a": 1}), {"type": "websocket.close"})
    assert counted.taken() == []


# Other middleware


def test_a_session_of_starlettes_own_within_is_left_alone(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
        session: Any = scope["session"]
        session["theirs"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    mounted: Any = StarlettesMiddleware(app, "secret", session_cookie="theirs")
    exchange = asyncio.run(test_asgi.request(asgi.SessionMiddleware(mounted, manager), token))
    (cookie,) = exchange.header("set-cookie")
    assert cookie.startswith("theirs=")
    assert counted.taken() == []
    assert held(manager, token) == {"user": "ada"}


def test_the_same_middleware_within_is_the_same_session_also_when_it_was_replaced(
    serve: Serve, manager: SessionManager, token: str
) -> None:
    def replacing(app: Any) -> Any:
        def replace(request: Holder, *rest: Any) -> Any:
            request["session"] = {"a": 1}
            return app(request, *rest)

        return replace

    if serve is over_wsgi:
        twice = wsgi.SessionMiddleware(replacing(wsgi.SessionMiddleware(done, manager)), manager)
        test_wsgi.call(twice, f"session={token}")
    else:
        atwice = asgi.SessionMiddleware(replacing(asgi.SessionMiddleware(adone, manager)), manager)
        asyncio.run(test_asgi.request(atwice, token))
    assert held(manager, token) == {"a": 1}


def done(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


async def adone(_: asgi.Scope, __: asgi.Receive, send: asgi.Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
