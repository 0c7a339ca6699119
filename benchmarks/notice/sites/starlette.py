"""The shop in Starlette, with `session.web.asgi`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import Context

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from benchmarks.notice.handlers import LOGIN_KEYS, MERGEABLE
from benchmarks.notice.handling import ahandle
from benchmarks.notice.slow import SlowAsyncStore
from benchmarks.notice.traces import Trace, current, enter
from session import AsyncSessionManager
from session._policy import OnConflict
from session.session import AsyncSession
from session.web.asgi import ASGIApp, Message, Receive, Scope, Send, SessionMiddleware, get_session

from . import Wire

__all__ = ["make"]


class _Visit:
    """A request; Starlette has no messages."""

    def __init__(self, session: AsyncSession, query: Mapping[str, str], trace: Trace) -> None:
        self.session = session
        self.query = query
        self.trace = trace

    def flash(self, message: str) -> None:
        """Do nothing."""

    def messages(self) -> list[str]:
        """Return nothing."""
        return []

    def renew(self) -> None:
        """Give the session a new token."""
        self.session.renew_token()

    def end(self) -> None:
        """End the session."""
        self.session.destroy()


def _hooked(app: ASGIApp) -> ASGIApp:
    """Return *app* with the hook before it, in a middleware."""

    async def hooked(scope: Scope, receive: Receive, send: Send) -> None:
        session, trace = get_session(scope), current()
        trace.begin(lambda: session._state)
        trace.hook(session, trace.now)
        await app(scope, receive, send)

    return hooked


async def _answer(request: Request) -> PlainTextResponse:
    session = get_session(request.scope)
    visit = _Visit(session, request.query_params, current())
    answer = await ahandle(request.path_params["name"], visit, save=session.save, atomic=session.atomic)
    return PlainTextResponse("", status_code=answer.status)


class _StarletteProcess:
    """A `Process` around the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def answer(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request, in virtual time; its task is its own."""
        enter(trace)
        return await self._serve(method, path, query, cookie)

    def replay(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request whose trace says that nothing takes time."""
        context = Context()
        context.run(enter, trace)
        serving = self._serve(method, path, query, cookie)
        try:
            context.run(serving.send, None)
        except StopIteration as end:
            wire: Wire = end.value
            return wire
        raise RuntimeError("a replay waits for something")

    async def _serve(self, method: str, path: str, query: str, cookie: str | None) -> Wire:
        headers = [(b"host", b"shop.test")]
        if method == "POST":
            headers.append((b"content-length", b"0"))
        if cookie is not None:
            headers.append((b"cookie", cookie.encode()))
        scope: MutableMapping[str, object] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("shop.test", 443),
        }
        started: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)

        await self._app(scope, receive, send)
        (start,) = started
        status, pairs = start["status"], start.get("headers", [])
        assert isinstance(status, int)
        assert isinstance(pairs, list)
        return Wire(status, [(name.decode(), value.decode()) for name, value in pairs])


def make(level: OnConflict, clock: Callable[[], int]) -> _StarletteProcess:
    """Return a process."""
    manager = AsyncSessionManager(
        SlowAsyncStore(), on_conflict=level, mergeable=MERGEABLE, login_keys=LOGIN_KEYS, clock=clock
    )
    app = Starlette(routes=[Route("/{name}", _answer, methods=["GET", "POST"])])
    return _StarletteProcess(SessionMiddleware(_hooked(app), manager, clock=lambda: clock() / 1e9))
