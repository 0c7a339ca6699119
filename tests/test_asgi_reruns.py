"""ASGI: a stale request is run again from the request as it came, or refused; reads after the end; logouts that count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from fastapi.responses import HTMLResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from dynamostore import MemoryStore, UnavailableError
from dynamostore.testing import FakeClock
from session import AsyncSession, AsyncSessionManager, Cookie, SessionConflict, SessionManager
from session.web.asgi import ASGIApp, Message, Receive, Scope, Send, SessionMiddleware, get_session
from session.web.asgi import _session as _asgi_session

from .awaited import AwaitedStore
from .counting import CountingStore
from .test_asgi import Exchange, held, request, run

OK: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
variable: ContextVar[str] = ContextVar("variable")
only_once: ContextVar[str] = ContextVar("only_once")


@pytest.fixture(params=[True, False], ids=["greenlet", "without greenlet"])
def greenlets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    there: bool = request.param
    monkeypatch.setattr(_asgi_session, "GREENLETS", there)
    return there


@pytest.fixture
def amanager(counted: CountingStore, clock: FakeClock) -> AsyncSessionManager:
    return AsyncSessionManager(
        AwaitedStore(counted, lambda _: asyncio.sleep(0)), clock=clock, cookie=Cookie(secure=False)
    )


@pytest.fixture
def token(manager: SessionManager) -> str:
    with manager.session(None) as s:
        s.put_string("user", "ada")
    assert s.token is not None
    return s.token


async def no_pause(_: float) -> None: ...


Body = Callable[[Scope, Receive, Send], Awaitable[None]]


class Shop:
    """An app that greets the user, and is overtaken by a request of its own in its first *stale* runs."""

    def __init__(self, manager: Any, token: str, stale: int = 1, *, body: Body | None = None, **settings: Any) -> None:
        self.token = token
        self.stale = stale
        self.body = body
        self.seen: list[tuple[str, int]] = []
        settings.setdefault("sleep", no_pause)
        self.app: ASGIApp = SessionMiddleware(self.respond, manager, **settings)

    def ask(self, **scope: Any) -> Exchange:
        return run(request(self.app, self.token, **scope))

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        await session.load()
        if scope["path"] == "/switch":
            session.put_string("user", session.get_string("user") + "'")
            await send({**OK, "status": 204})
            await send({"type": "http.response.body"})
            return
        if self.body is not None:
            await self.body(scope, receive, send)
        body = await self.meet(session)
        await send(OK)
        await send({"type": "http.response.body", "body": body})

    async def meet(self, session: AsyncSession) -> bytes:
        user = session.get_string("user")
        self.seen.append((user, session.attempt))
        if len(self.seen) <= self.stale:
            assert (await request(self.app, self.token, path="/switch")).status == 204
        session.increment("greetings")
        return user.encode()


# Run again


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("synchronous", [False, True])
def test_a_stale_request_is_run_again(
    amanager: AsyncSessionManager,
    manager: SessionManager,
    token: str,
    greenlets: bool,
    method: str,
    synchronous: bool,
) -> None:
    shop = Shop(manager if synchronous else amanager, token)
    exchange = shop.ask(method=method)
    assert (exchange.status, exchange.body) == (200, "ada'")
    assert shop.seen == [("ada", 1), ("ada'", 2)]
    assert held(manager, token) == {"user": "ada'", "greetings": 1}
    assert exchange.header("set-cookie") == []


def test_each_run_begins_with_the_scope_as_it_came(amanager: AsyncSessionManager, token: str) -> None:
    scopes: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = []

    async def body(scope: Scope, _: Receive, __: Send) -> None:
        state: Any = scope["state"]
        scopes.append({key: value for key, value in scope.items() if "session" not in key and key != "state"})
        states.append(dict(state))
        scope["path"], scope["endpoint"] = "/elsewhere", "mine"
        del scope["query_string"]
        state["user"], state["pool"] = f"run {len(scopes)}", None

    shop = Shop(amanager, token, body=body)
    given: dict[str, Any] = {"pool": object()}
    whole: list[Scope] = []

    async def outside(scope: Scope, receive: Receive, send: Send) -> None:
        await shop.app(scope, receive, send)
        whole.append(scope)

    run(request(outside, token, state=given))
    assert scopes[0] == scopes[1]
    assert states == [{"pool": states[0]["pool"]}] * 2
    # It stays the object that it is, and what the last run did to it is seen outside.
    assert whole[0]["endpoint"] == "mine"
    assert whole[0]["state"] is given
    assert given == {"user": "run 2", "pool": None}


def test_each_run_has_a_context_of_its_own_and_the_last_is_seen_outside(
    amanager: AsyncSessionManager, token: str, greenlets: bool
) -> None:
    seen: list[tuple[str, str]] = []
    traced: list[str] = []

    async def body(scope: Scope, _: Receive, __: Send) -> None:
        seen.append((variable.get(), only_once.get("unset")))
        variable.set(f"run {len(seen)}")
        if len(seen) == 1:
            only_once.set("by a stale run")
        await asyncio.sleep(0)
        assert await asyncio.create_task(child()) == f"run {len(seen)}"

    async def child() -> str:
        return variable.get()

    async def traces(what: str) -> None:
        traced.append(f"{what}: {variable.get()}")

    shop = Shop(amanager, token, body=body)
    amanager.store._wait = traces  # type: ignore[attr-defined]  # an AwaitedStore

    async def main() -> None:
        variable.set("by the server")
        exchange = Exchange()
        await request(shop.app, token, exchange=exchange)
        assert exchange.status == 200
        assert (variable.get(), only_once.get("unset")) == ("run 2", "unset")

    run(main())
    assert seen == [("by the server", "unset")] * 2
    # A read belongs to the run that it is made for.
    assert traced[-1] == "replaced: run 2"


def test_a_read_that_is_waited_for_is_made_in_the_context_of_its_run(amanager: AsyncSessionManager, token: str) -> None:
    traced: list[str] = []

    async def traces(what: str) -> None:
        traced.append(f"{what}: {variable.get()}")
        await asyncio.sleep(0)

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        variable.set("by the app")
        get_session(scope).get_string("user")
        await send(OK)

    amanager.store._wait = traces  # type: ignore[attr-defined]  # an AwaitedStore
    run(request(SessionMiddleware(app, amanager), token))
    assert traced == ["find: by the app", "found: by the app"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_run_received_is_given_to_the_next(amanager: AsyncSessionManager, token: str, method: str) -> None:
    received: list[list[Message]] = []
    given: list[Message] = [
        {"type": "http.request", "body": b"a=", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def body(scope: Scope, receive: Receive, _: Send) -> None:
        received.append([])
        for _i in range(len(received) + 1):
            received[-1].append(await receive())
            received[-1][-1]["seen"] = True

    async def receive() -> Message:
        return given.pop(0)

    async def main() -> None:
        sent: list[Any] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"cookie", f"session={token}".encode()), (b"content-length", b"3")]
        scope: dict[str, Any] = {"type": "http", "method": method, "path": "/", "headers": headers}
        await shop.app(scope, receive, send)
        assert sent[0]["status"] == 200

    whole = list(given)
    shop = Shop(amanager, token, body=body, rerun=lambda _: True)
    run(main())
    assert [[message["type"] for message in messages] for messages in received] == [
        [message["type"] for message in whole[:2]],
        [message["type"] for message in whole],
    ]
    assert "seen" not in whole[0]


def test_a_request_is_run_four_times_at_most_after_pauses(amanager: AsyncSessionManager, token: str) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    shop = Shop(amanager, token, stale=99, sleep=sleep)
    assert shop.ask().status == 409
    assert [attempt for _, attempt in shop.seen] == [1, 2, 3, 4]
    assert len(set(pauses)) == 3


def test_no_run_begins_after_five_seconds(amanager: AsyncSessionManager, token: str) -> None:
    now = [0.0]

    async def sleep(_: float) -> None:
        now[0] += 2.5

    shop = Shop(amanager, token, stale=99, sleep=sleep, clock=lambda: now[0])
    assert shop.ask().status == 409
    assert len(shop.seen) == 3


@pytest.mark.parametrize("scope", [{"method": "POST"}, {"headers": [(b"content-length", b"3")]}])
def test_what_may_change_something_is_refused(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, scope: dict[str, Any]
) -> None:
    shop = Shop(amanager, token)
    if "headers" in scope:
        scope["headers"] = [*scope["headers"], (b"cookie", f"session={token}".encode())]
    assert shop.ask(**scope).status == 409
    assert len(shop.seen) == 1
    assert held(manager, token) == {"user": "ada'"}


async def forbid(s: AsyncSession) -> None:
    s.forbid_rerun()


async def save(s: AsyncSession) -> None:
    s.increment("saved")
    await s.save()


async def decide(s: AsyncSession) -> None:
    await s.atomic(lambda stored: stored.increment("saved"))


@pytest.mark.parametrize("act", [forbid, save, decide])
@pytest.mark.parametrize("synchronous", [False, True])
def test_a_handler_that_forbids_it_or_has_stored_something_is_not_run_again(
    amanager: AsyncSessionManager,
    manager: SessionManager,
    token: str,
    act: Callable[[AsyncSession], Awaitable[None]],
    synchronous: bool,
) -> None:
    async def body(scope: Scope, _: Receive, __: Send) -> None:
        await act(get_session(scope))

    shop = Shop(manager if synchronous else amanager, token, body=body)
    assert shop.ask().status == 409
    assert len(shop.seen) == 1
    assert "greetings" not in held(manager, token)


def test_the_setting_decides(amanager: AsyncSessionManager, token: str) -> None:
    assert Shop(amanager, token, rerun="never").ask().status == 409
    searches: Callable[[Scope], bool] = lambda scope: scope["path"] == "/search"  # noqa: E731
    assert Shop(amanager, token, rerun=searches).ask(path="/search", method="POST").status == 200
    assert Shop(amanager, token, rerun=searches).ask(path="/order").status == 409


def test_a_cancelled_request_is_not_run_again(amanager: AsyncSessionManager, token: str) -> None:
    async def main() -> None:
        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await Shop.respond(shop, scope, receive, send)
            except SessionConflict:
                if scope["path"] == "/":
                    raise asyncio.CancelledError from None
                raise

        shop.app = SessionMiddleware(respond, amanager)
        with pytest.raises(asyncio.CancelledError):
            await request(shop.app, token)

    shop = Shop(amanager, token)
    run(main())
    assert len(shop.seen) == 1


def test_a_conflict_that_the_app_swallows_without_an_answer_is_a_409(amanager: AsyncSessionManager, token: str) -> None:
    shop = Shop(amanager, token)

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await shop.respond(scope, receive, send)
        except SessionConflict:
            return

    shop.app = SessionMiddleware(respond, amanager, rerun="never")
    assert shop.ask().status == 409


def test_a_run_after_the_session_has_ended_is_a_guests_and_begins_none(
    amanager: AsyncSessionManager, manager: SessionManager, memory: MemoryStore, token: str
) -> None:
    new: list[str | None] = []
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        if scope["path"] == "/login":
            session.renew_token()
            session.put_string("user", "eve")
        else:
            seen.append(session.pop_string("user"))
            if not new:
                exchange = await request(whole, token, path="/login")
                new.append(exchange.header("set-cookie")[0].partition(";")[0].partition("=")[2])
            session.put_string("last", "here")
        await send(OK)
        await send({"type": "http.response.body"})

    whole: ASGIApp = SessionMiddleware(app, amanager, sleep=no_pause)
    exchange = run(request(whole, token))
    assert seen == ["ada", ""]
    # A cookie of its own would replace the new login's.
    assert (exchange.status, exchange.header("set-cookie")) == (200, [])
    assert held(manager, new[0]) == {"user": "eve"}
    assert sum(bool(record.data) for record in memory._records.values()) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_that_ends_after_a_stale_run_is_not_begun_anew(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, method: str
) -> None:
    """By the next run, or by the app that answers the conflict."""
    new: list[str] = []

    def log_in() -> None:
        with manager.session(token) as s:
            s.renew_token()
            s.put_string("user", "eve")
        assert s.token is not None
        new.append(s.token)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        if "session.conflict" in scope:
            log_in()
        await session.load()
        user = session.get_string("user")
        if session.attempt == 1:
            with manager.session(token) as s:
                s.put_string("user", "bob")
        session.put_string("last", user)
        await send(OK)
        await send({"type": "http.response.body"})

    async def pause(_: float) -> None:
        log_in()

    exchange = run(request(SessionMiddleware(app, amanager, conflict=app, sleep=pause), token, method=method))
    assert (exchange.status, exchange.header("set-cookie")) == (200, [])
    assert held(manager, new[0]) == {"user": "eve"}


# The answer


def test_the_409_says_nothing_of_the_session_and_leaves_the_cookie(
    amanager: AsyncSessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Shop(amanager, token).ask(method="POST", path=f"/reset/{token}/confirm", query_string=b"secret=1")
    assert exchange.status == 409
    assert exchange.header("cache-control") == ["no-store"]
    assert exchange.header("vary") == ["Accept, Cookie"]
    assert exchange.header("set-cookie") == []
    assert exchange.header("content-length") == [str(len(exchange.body))]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("session.web", logging.WARNING)
    assert record.getMessage().startswith("POST /reset/*/confirm answered with 409: session ")
    for secret in (token, "secret", "ada"):
        assert secret not in caplog.text
        assert secret not in exchange.body


def test_a_browser_gets_html_and_a_head_no_body(amanager: AsyncSessionManager, token: str) -> None:
    headers = [(b"cookie", f"session={token}".encode()), (b"accept", b"text/html,*/*;q=0.8")]
    exchange = Shop(amanager, token).ask(method="POST", headers=headers)
    assert exchange.header("content-type") == ["text/html; charset=utf-8"]
    assert "<h1>" in exchange.body
    exchange = Shop(amanager, token, rerun="never").ask(method="HEAD")
    assert (exchange.status, exchange.body) == (409, "")


def test_an_app_may_answer_conflicts_with_a_session_to_flash_in(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    async def conflict(scope: Scope, receive: Receive, send: Send) -> None:
        error = scope["session.conflict"]
        assert isinstance(error, SessionConflict)
        assert error.keys == ("user",)
        session = get_session(scope)
        assert "greetings" not in session
        session.put_string("flash", f"{session.get_string('user')}, please try again")
        response: Any = RedirectResponse(str(scope["path"]), 303)
        await response(scope, receive, send)

    exchange = Shop(amanager, token, conflict=conflict).ask(method="POST", path="/order")
    assert (exchange.status, exchange.header("location")) == (303, ["/order"])
    assert held(manager, token) == {"user": "ada'", "flash": "ada', please try again"}


def test_a_response_of_starlettes_is_an_app_for_conflicts(amanager: AsyncSessionManager, token: str) -> None:
    exchange = Shop(amanager, token, conflict=PlainTextResponse("sorry", 409)).ask(method="POST")
    assert (exchange.status, exchange.body) == (409, "sorry")


def test_a_conflict_of_the_app_for_conflicts_is_a_409(amanager: AsyncSessionManager, token: str) -> None:
    shop = Shop(amanager, token, stale=99)
    shop.app = SessionMiddleware(shop.respond, amanager, conflict=shop.respond, rerun="never")
    exchange = shop.ask()
    assert exchange.status == 409
    assert "Please try again" in exchange.body
    assert len(shop.seen) == 2


# In Starlette and FastAPI


class Starlettes(Shop):
    """The shop in Starlette, whose handlers get requests."""

    def __init__(
        self,
        manager: Any,
        token: str,
        *,
        outside: bool = False,
        respond: Callable[[Request], Awaitable[Response]] | None = None,
        handlers: Any = None,
        middleware: Any = (),
        **settings: Any,
    ) -> None:
        super().__init__(manager, token)
        settings["sleep"] = no_pause
        routes = [
            Route("/hello/{name}", respond or self.hello, methods=["GET", "POST"]),
            Route("/switch", self.switch),
        ]
        inner = [] if outside else [Middleware(SessionMiddleware, manager=manager, **settings)]
        self.app = Starlette(routes=routes, middleware=[*middleware, *inner], exception_handlers=handlers)
        if outside:
            self.app = SessionMiddleware(self.app, manager, **settings)

    async def hello(self, request: Request) -> Response:
        return PlainTextResponse(await self.meet(get_session(request.scope)))

    async def switch(self, request: Request) -> Response:
        session = get_session(request.scope)
        session.put_string("user", session.get_string("user") + "'")
        return Response(status_code=204)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("saves", [False, True])
def test_starlette_does_not_make_a_500_of_it(
    amanager: AsyncSessionManager,
    token: str,
    outside: bool,
    method: str,
    saves: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def respond(request: Request) -> Response:
        body = await shop.meet(get_session(request.scope))
        if saves:
            await get_session(request.scope).save()
        return PlainTextResponse(body)

    shop = Starlettes(amanager, token, outside=outside, respond=respond)
    exchange = shop.ask(path="/hello/ada", method=method)
    assert exchange.status == (200 if method == "GET" else 409)
    assert len([message for message in exchange.sent if message["type"] == "http.response.start"]) == 1
    if method == "POST":
        # A later Starlette gives the route.
        assert any(f"POST {path} answered with 409" in caplog.text for path in ("/hello/*", "/hello/{name}"))


def test_fastapi_gives_the_route_to_the_log(
    amanager: AsyncSessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    shop = Shop(amanager, token)

    @app.get("/switch", status_code=204, response_model=None)
    async def switch(request: FastAPIRequest) -> None:
        request.session["user"] += "'"

    @app.post("/hello/{name}")
    async def hello(request: FastAPIRequest, name: str) -> str:
        return (await shop.meet(get_session(request.scope))).decode()

    shop.app = app
    app.add_middleware(SessionMiddleware, manager=amanager)
    assert shop.ask(path="/hello/ada", method="POST").status == 409
    assert "POST /hello/{name} answered with 409" in caplog.text


@pytest.mark.parametrize("saves", [False, True])
def test_an_exception_handler_of_the_app_answers_what_save_raises(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, saves: bool
) -> None:
    async def respond(request: Request) -> Response:
        body = await shop.meet(get_session(request.scope))
        if saves:
            await get_session(request.scope).save()
        return PlainTextResponse(body)

    async def conflict(request: Request, error: Exception) -> Response:
        return PlainTextResponse("the app's", 409)

    shop = Starlettes(amanager, token, respond=respond, handlers={SessionConflict: conflict})
    exchange = shop.ask(path="/hello/ada", method="POST")
    # Once a response has begun, Starlette calls no handler.
    assert exchange.status == 409
    assert (exchange.body == "the app's") == saves
    assert held(manager, token) == {"user": "ada'"}


@pytest.mark.parametrize("stale", [0, 1, 99])
def test_background_tasks_and_generators_run_once(amanager: AsyncSessionManager, token: str, stale: int) -> None:
    done: list[str] = []

    async def generate(what: str) -> Any:
        done.append(f"generated {what}")
        yield what

    async def respond(request: Request) -> Response:
        body = (await shop.meet(get_session(request.scope))).decode()
        return StreamingResponse(generate(body), background=BackgroundTask(done.append, f"after {body}"))

    shop = Starlettes(amanager, token, respond=respond)
    shop.stale = stale
    exchange = shop.ask(path="/hello/ada")
    if stale == 99:
        assert (exchange.status, done) == (409, [])
    else:
        user = "ada" + "'" * stale
        assert (exchange.body, done) == (user, [f"generated {user}", f"after {user}"])


def test_a_middleware_of_the_function_kind_inside_and_outside(amanager: AsyncSessionManager, token: str) -> None:
    logged: list[object] = []

    class Log(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            response = await call_next(request)
            logged.append(request.session.get("user"))
            return response

    shop = Starlettes(amanager, token, middleware=[Middleware(Log)])
    assert shop.ask(path="/hello/ada").status == 200
    assert logged == ["ada'", "ada'"] or logged[-1] == "ada'"


# Several sessions


@pytest.mark.parametrize("stale", ["session", "admin"])
def test_with_two_sessions_the_request_is_run_again_as_a_whole(stale: str) -> None:
    managers = {name: SessionManager(MemoryStore(), cookie=Cookie(name=name)) for name in ("session", "admin")}
    tokens = {}
    for name, manager in managers.items():
        with manager.session(None) as s:
            s.put_int("read", 1)
        tokens[name] = s.token
    runs: list[int] = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        sessions = {name: get_session(scope, name) for name in managers}
        runs.append(sum(sessions[name].get_int("read") for name in managers))
        if len(runs) == 1:
            with managers[stale].session(tokens[stale]) as other:
                other.increment("read")
        for name in managers:
            sessions[name].increment("n")
        await send(OK)
        await send({"type": "http.response.body"})

    inner = SessionMiddleware(app, managers["session"], sleep=no_pause)
    both = SessionMiddleware(inner, managers["admin"], key="admin", sleep=no_pause)
    jar = [(b"cookie", "; ".join(f"{name}={token}" for name, token in tokens.items()).encode())]
    exchange = run(request(both, headers=jar))
    if stale == "session":
        assert (exchange.status, len(runs)) == (200, 2)
        assert [held_in(managers[name], tokens[name])["n"] for name in managers] == [1, 1]
    else:
        # The inner one is stored already, so another run would count twice.
        assert (exchange.status, len(runs)) == (409, 1)
        assert "n" not in held_in(managers["admin"], tokens["admin"])


def test_an_error_page_that_was_held_back_is_not_sent_before_the_outer_middleware_answers() -> None:
    managers = {name: SessionManager(MemoryStore(), cookie=Cookie(name=name)) for name in ("session", "admin")}
    with managers["session"].session(None) as s:
        s.put_int("read", 1)

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        session = get_session(scope)
        session.get_int("read")
        get_session(scope, "admin").increment("n")
        with managers["session"].session(s.token) as other:
            other.increment("read")
        session.increment("n")
        try:
            await session.save()
        except SessionConflict:
            # As Starlette does it.
            await send({**OK, "status": 500})
            await send({"type": "http.response.body"})
            raise

    inner = SessionMiddleware(app, managers["session"], sleep=no_pause)
    both = SessionMiddleware(inner, managers["admin"], key="admin", sleep=no_pause)
    exchange = run(request(both, s.token))
    assert [message.get("status") for message in exchange.sent] == [409, None]


def held_in(manager: SessionManager, token: str | None) -> dict[str, object]:
    with manager.session(token) as s:
        return dict(s)


# After the end


@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize("path", ["/read", "/boom", "/oops", "/ignore", "/ignore and boom"])
def test_reading_after_the_end_is_harmless(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, synchronous: bool, path: str
) -> None:
    logged: list[object] = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        if "ignore" not in path:
            get_session(scope)["page"] = path
        if "boom" in path:
            raise LookupError
        await send({**OK, "status": 500 if path == "/oops" else 200})
        await send({"type": "http.response.body"})

    inner = SessionMiddleware(app, manager if synchronous else amanager)

    async def log(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner(scope, receive, send)
        except LookupError:
            await send({**OK, "status": 500})
        session = get_session(scope)
        if "ignore" in path and not synchronous:
            # Where nothing can be waited for.
            await session.load()
        logged.append((session.get("user"), session.get("page")))

    assert run(request(log, token)).status == (200 if path in ("/read", "/ignore") else 500)
    assert logged == [("ada", path if path == "/read" else None)]


@pytest.mark.parametrize("looks", [True, False])
def test_fastapis_page_for_errors_may_read_it(manager: SessionManager, token: str, looks: bool) -> None:
    app = FastAPI()

    @app.exception_handler(Exception)
    async def sorry(request: FastAPIRequest, _: Exception) -> HTMLResponse:
        return HTMLResponse(f"Sorry, {request.session.get('user')}", 500)

    @app.get("/boom")
    async def boom(request: FastAPIRequest) -> None:
        if looks:
            request.session["user"] = "eve"
        raise LookupError

    app.add_middleware(SessionMiddleware, manager=manager)
    exchange = Exchange()
    with pytest.raises(LookupError):
        run(request(app, token, exchange=exchange, path="/boom"))
    assert (exchange.status, exchange.body) == (500, "Sorry, ada")


def test_a_scope_that_is_dispatched_twice_begins_anew(amanager: AsyncSessionManager, manager: SessionManager) -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        get_session(scope).increment("n")
        await send(OK)
        await send({"type": "http.response.body", "body": b"%d" % get_session(scope).get_int("n")})

    async def cascade(scope: Scope, receive: Receive, send: Send) -> None:
        for manager_ in (amanager, amanager, manager):
            await SessionMiddleware(app, manager_)(scope, receive, send)

    exchange = run(request(cascade))
    assert exchange.body == "111"


# Logouts


@pytest.mark.parametrize("mode", ["raise", "500", "cancelled"])
def test_a_logout_counts_also_if_the_request_fails(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, mode: str
) -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        get_session(scope).destroy()
        if mode == "500":
            await send({**OK, "status": 500})
            await send({"type": "http.response.body"})
            return
        raise LookupError if mode == "raise" else asyncio.CancelledError

    async def main() -> None:
        if mode == "500":
            exchange = await request(SessionMiddleware(app, amanager), token)
            assert exchange.status == 500
            assert exchange.header("set-cookie")[0].startswith("session=; ")
        else:
            with pytest.raises(LookupError if mode == "raise" else asyncio.CancelledError):
                await request(SessionMiddleware(app, amanager), token)

    run(main())
    assert held(manager, token) == {}


@pytest.mark.parametrize("outside", [False, True])
def test_a_logout_that_fails_after_a_500_is_a_503(
    amanager: AsyncSessionManager, manager: SessionManager, counted: CountingStore, token: str, outside: bool
) -> None:
    async def respond(request: Request) -> Response:
        get_session(request.scope).destroy()
        counted.failure = UnavailableError("no answer")
        return Response(status_code=500)

    exchange = Starlettes(amanager, token, respond=respond, outside=outside).ask(path="/hello/ada")
    assert (exchange.status, exchange.header("set-cookie")) == (503, [])
    counted.failure = None
    assert held(manager, token) == {"user": "ada"}


def test_a_logout_that_fails_after_the_app_has_raised_is_logged(
    amanager: AsyncSessionManager, counted: CountingStore, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        get_session(scope).destroy()
        counted.failure = UnavailableError("no answer")
        raise LookupError

    with pytest.raises(LookupError) as caught:
        run(request(SessionMiddleware(app, amanager), token))
    assert caught.value.__notes__ == ["the session could not be destroyed: no answer"]
    assert "the session could not be destroyed" in caplog.text


# WebSockets


def socket_app(
    act: Callable[[AsyncSession], Awaitable[None]], *, accepts_first: bool, manager: Any, token: str
) -> tuple[ASGIApp, Callable[..., Exchange]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        await session.load()
        if accepts_first:
            await send({"type": "websocket.accept"})
        await act(session)
        if not accepts_first:
            await send({"type": "websocket.accept"})

    whole = SessionMiddleware(app, manager)

    def ask(**scope: Any) -> Exchange:
        return run(request(whole, token, type="websocket", **scope))

    return whole, ask


def test_a_websocket_that_is_stale_before_it_is_accepted_is_refused(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(s: AsyncSession) -> None:
        s.get_string("user")
        with manager.session(token) as other:
            other.put_string("user", other.get_string("user") + "'")
        s.increment("n")

    _, ask = socket_app(act, accepts_first=False, manager=amanager, token=token)
    exchange = ask(extensions={"websocket.http.response": {}}, path="/chat")
    assert exchange.sent[0]["type"] == "websocket.http.response.start"
    assert exchange.status == 409
    assert ask(path="/chat").sent == [
        {"type": "websocket.close", "code": 1013, "reason": "the session was changed by another request"}
    ]
    assert "/chat answered with 409" in caplog.text
    assert "n" not in held(manager, token)


@pytest.mark.parametrize("saves", [False, True])
def test_a_websocket_that_is_stale_in_the_end_is_closed_with_1013(
    amanager: AsyncSessionManager,
    manager: SessionManager,
    token: str,
    saves: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(s: AsyncSession) -> None:
        s.get_string("user")
        with manager.session(token) as other:
            other.put_string("user", "eve")
        s.increment("n")
        if saves:
            await s.save()

    _, ask = socket_app(act, accepts_first=True, manager=amanager, token=token)
    assert ask(path="/chat").sent[1:] == [
        {"type": "websocket.close", "code": 1013, "reason": "the session was changed by another request"}
    ]
    assert "/chat closed with 1013: session " in caplog.text
    assert held(manager, token) == {"user": "eve"}


@pytest.mark.parametrize("by", ["app", "client"])
def test_a_websocket_that_is_closed_already_is_only_logged(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        session.get_string("user")
        await send({"type": "websocket.accept"})
        session.get_string("user")
        with manager.session(token) as other:
            other.put_string("user", "eve")
        session.increment("n")
        if by == "app":
            await send({"type": "websocket.close", "code": 1000})
        else:
            assert (await receive())["type"] == "websocket.disconnect"

    async def receive() -> Message:
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/chat",
        "headers": [(b"cookie", f"session={token}".encode())],
    }
    run(drive(SessionMiddleware(app, amanager), scope, receive, send))
    assert [message["type"] for message in sent[1:]] == (["websocket.close"] if by == "app" else [])
    assert "WEBSOCKET /chat not stored: session " in caplog.text


async def drive(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def test_each_save_of_a_websocket_begins_its_reads_anew(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    async def act(s: AsyncSession) -> None:
        s.get_string("user")
        for i in range(3):
            s.increment("n")
            await s.save()
            with manager.session(token) as other:
                other.put_string("user", f"user {i}")
        s.increment("n")

    _, ask = socket_app(act, accepts_first=True, manager=amanager, token=token)
    assert len(ask().sent) == 1
    assert held(manager, token) == {"user": "user 2", "n": 4}


def test_an_atomic_step_begins_no_session_that_a_websocket_could_not_hand_out(
    amanager: AsyncSessionManager, memory: MemoryStore
) -> None:
    refused: list[str] = []

    async def act(s: AsyncSession) -> None:
        try:
            await s.atomic(lambda stored: stored.put_int("n", 1))
        except Exception as error:  # noqa: BLE001
            refused.append(str(error))

    _, ask = socket_app(act, accepts_first=True, manager=amanager, token="")
    ask()
    assert refused[0].startswith("the WebSocket is accepted, so its client can get no new token")
    assert memory._records == {}


@pytest.mark.parametrize("synchronous", [False, True])
def test_an_atomic_step_is_awaited_with_either_manager(
    amanager: AsyncSessionManager, manager: SessionManager, token: str, synchronous: bool
) -> None:
    async def body(scope: Scope, _: Receive, __: Send) -> None:
        spent.append(await get_session(scope).atomic(lambda s: s.pop_string("user")))

    spent: list[str] = []
    shop = Shop(manager if synchronous else amanager, token, stale=0, body=body)
    assert [shop.ask().status for _ in range(2)] == [200, 200]
    assert spent == ["ada", ""]


def test_settings_that_make_no_sense_are_refused(amanager: AsyncSessionManager) -> None:
    app: Any = lambda *_: None  # noqa: E731
    with pytest.raises(ValueError, match='rerun must be "safe", "never" or a function'):
        SessionMiddleware(app, amanager, rerun="always")  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(TypeError, match="conflict must be an ASGI app, not str"):
        SessionMiddleware(app, amanager, conflict="sorry")  # type: ignore[arg-type]  # that is the mistake
