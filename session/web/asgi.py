"""`SessionMiddleware` for ASGI: the session of each request and WebSocket in its scope, committed before the headers go out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TypeAlias, TypeVar

from session import _state
from session._headers import Headers
from session.aio import AsyncSessionManager
from session.manager import SessionManager
from session.session import AsyncSession, BaseSession

from . import _asgi_session
from ._asgi_session import Drive, DriveHere, WebSession, off_the_loop
from ._exchange import OUTAGE, TAKEN, commits, is_outage, outage_headers, report

__all__ = ["SessionMiddleware", "get_session"]

T = TypeVar("T")

Scope: TypeAlias = MutableMapping[str, object]
Message: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE = frozenset(
    (
        *(
            "type",
            "asgi",
            "http_version",
            "method",
            "scheme",
            "path",
            "raw_path",
            "query_string",
            "root_path",
            "headers",
        ),
        *("client", "server", "subprotocols", "state", "extensions"),
        *("app", "router", "endpoint", "path_params", "user", "auth"),
    )
)
"""What ASGI and Starlette have in a scope."""

_TRY_AGAIN_LATER = 1013
"""The close code of a WebSocket: https://www.iana.org/assignments/websocket/websocket.xhtml"""


class SessionMiddleware:
    """An ASGI app whose requests and WebSockets have their session in ``scope["session"]``: ``request.session`` in Starlette
    and FastAPI.

    It is read when it is first looked at, and committed before the response starts; after that a change raises
    `SessionClosedError <session.SessionClosedError>`. Nothing is committed if the app raises, or answers with 500 and over
    (unless *commit_errors*). A synchronous handler that runs in a thread waits for the read there; an async one waits with
    the help of greenlet (``dynamostore[asgi]``), as long as it runs in the task that called this app. Elsewhere, say
    ``await request.session.load()`` first, or have it read for each request that has a cookie: *autoload*.

    *manager*: an `AsyncSessionManager`, or a `SessionManager`, whose store is then called in threads. *key* is the session's
    in the scope: two managers, with cookies of two names, need two keys.

    A WebSocket's session is committed when it is accepted, which is when it can be handed a cookie, and again when its app
    returns.

    Where the store fails, the app sees the `StoreError <dynamostore.StoreError>` at the point of use, or when it starts its
    response; if it lets it pass, the client gets a 503 with ``Retry-After``, and keeps its cookie.

    >>> import asyncio
    >>> from dynamostore import MemoryStore
    >>> async def app(scope, receive, send):
    ...     visits = get_session(scope).increment("visits")
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"visits: %d" % visits})
    >>> app = SessionMiddleware(app, SessionManager(MemoryStore()))
    >>> async def send(message):
    ...     print(message["type"], [name for name, _ in message.get("headers", [])], message.get("body"))
    >>> asyncio.run(app({"type": "http", "headers": []}, None, send))
    http.response.start [b'vary', b'cache-control', b'set-cookie'] None
    http.response.body [] b'visits: 1'
    """

    def __init__(
        self,
        app: ASGIApp,
        manager: AsyncSessionManager | SessionManager,
        *,
        key: str = "session",
        autoload: bool = False,
        commit_errors: bool = False,
    ) -> None:
        if not isinstance(manager, AsyncSessionManager | SessionManager):
            raise TypeError(f"manager must be an AsyncSessionManager or a SessionManager, not {type(manager).__name__}")
        self._app = app
        if key in SCOPE:
            raise ValueError(f"key {key!r} is ASGI's own: take another")
        self._manager = manager
        self._drive: Drive
        self._drive_here: DriveHere | None = None
        if isinstance(manager, AsyncSessionManager):
            self._drive = manager._drive
        else:
            self._drive, self._drive_here = off_the_loop(manager), manager._drive
        self._key = key
        self._autoload = autoload
        self._commit_errors = commit_errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or serve a WebSocket, as ASGI has it; what is neither (a lifespan) goes to the app untouched."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = self._manager.token(_cookies(scope))
        policy = self._manager._policy
        there = scope.get(self._key)
        if isinstance(there, BaseSession):
            if there._policy is not policy:
                raise RuntimeError(TAKEN.format(self._key))
            # This middleware is around the app twice.
            await self._app(scope, receive, send)
            return
        session = WebSession(_state.begin(token, policy), policy, self._drive, self._drive_here)
        scope[self._key] = session
        kind = _Request if scope["type"] == "http" else _WebSocket
        exchange = kind(self._manager, session, scope, send, commit_errors=self._commit_errors)
        try:
            if self._autoload:
                await session.autoload()
            await self._run(session, scope, receive, exchange.send)
            await exchange.done()
        except BaseException as error:
            await session.abandon()
            if exchange.begun or not is_outage(exchange.failure or error):
                await exchange.release()
                if exchange.failure is not None and error.__cause__ is exchange.failure:
                    # What a framework makes of an error in `send`.
                    raise exchange.failure from None
                raise
            report(exchange.failure or error)
            await exchange.refuse()

    async def _run(self, session: WebSession, scope: Scope, receive: Receive, send: Send) -> None:
        if not _asgi_session.GREENLETS or session._state.loaded:
            await self._app(scope, receive, send)
        else:
            await _asgi_session.waiting(_call(self._app, scope, receive, send))


def get_session(scope: MutableMapping[str, T], key: str = "session") -> AsyncSession:
    """The session of a request or WebSocket, typed; `RuntimeError` if there is no `SessionMiddleware` with that *key*.

    In Starlette and FastAPI: ``get_session(request.scope)`` is ``request.session``, which they type as a dict.
    """
    session = scope.get(key)
    if not isinstance(session, AsyncSession):
        raise RuntimeError(  # noqa: TRY004 (it is the app's set-up that is wrong)
            f"there is no session in scope[{key!r}]: is the app in a session.web.asgi.SessionMiddleware?"
        )
    return session


class _Exchange:
    """What the app sends, on its way to the server, and what the session has to do with it."""

    def __init__(
        self,
        manager: AsyncSessionManager | SessionManager,
        session: WebSession,
        scope: Scope,
        send: Send,
        *,
        commit_errors: bool,
    ) -> None:
        self._manager = manager
        self._session = session
        self._scope = scope
        self._send = send
        self._commit_errors = commit_errors
        self.begun = False
        self.failure: BaseException | None = None

    async def send(self, message: Message) -> None:
        """The app's ``send``."""
        raise NotImplementedError

    async def done(self) -> None:
        """The app has returned."""
        raise NotImplementedError

    async def release(self) -> None:
        """Send what was held back: it stays the response."""

    async def refuse(self) -> None:
        """Answer an outage."""
        raise NotImplementedError

    async def _settle(self, status: int, *, close: bool = True) -> None:
        """Commit or discard the session, as *status* has it."""
        if self._session._state.closed:
            return
        if not commits(status, commit_errors=self._commit_errors):
            await self._session.abandon()
            return
        try:
            await (self._session._commit() if close else self._session.save())
        except BaseException as error:
            await self._session.abandon()
            self.failure = error
            raise

    async def _start(self, message: Message) -> None:
        """Send the start of a response, with the session's headers."""
        headers = message.get("headers") or ()
        assert isinstance(headers, Iterable)
        added = self._manager.headers(self._session, _decoded(headers))
        self.begun = True
        await self._send({**message, "headers": _encoded(added)})

    async def _outage(self, prefix: str) -> None:
        self.begun = True
        await self._send({"type": f"{prefix}.start", "status": 503, "headers": _encoded(outage_headers())})
        body = b"" if self._scope.get("method") == "HEAD" else OUTAGE
        await self._send({"type": f"{prefix}.body", "body": body})


class _Request(_Exchange):
    held: list[Message] | None = None
    """An error page of the app's, while it may raise an outage: around the whole of a framework's app, that answers
    500 first, and raises then."""

    async def send(self, message: Message) -> None:
        if self.held is not None:
            self.held.append(message)
        elif message["type"] == "http.response.start" and not self.begun:
            status = _status(message)
            if status == 500 and self._session._outage:
                self.held = [message]
            else:
                await self._settle(status)
                await self._start(message)
        else:
            await self._send(message)

    async def done(self) -> None:
        await self.release()
        # Without a response there is nothing to commit for.
        await self._session.abandon()

    async def release(self) -> None:
        if self.held is None:
            return
        (start, *rest), self.held = self.held, None
        await self._settle(500)
        await self._start(start)
        for message in rest:
            await self._send(message)

    async def refuse(self) -> None:
        await self._outage("http.response")


class _WebSocket(_Exchange):
    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept" and not self.begun:
            await self._settle(101, close=False)
            await self._start(message)
            self._session._late = True
        elif message["type"] == "websocket.http.response.start" and not self.begun:
            await self._settle(_status(message))
            await self._start(message)
        else:
            self.begun |= message["type"] == "websocket.close"
            await self._send(message)

    async def done(self) -> None:
        if not self._session._late and self._session._state.token_is_new:
            # It was refused, without a response that could carry a cookie.
            await self._session.abandon()
        else:
            await self._settle(101)

    async def refuse(self) -> None:
        extensions = self._scope.get("extensions")
        if isinstance(extensions, MutableMapping) and "websocket.http.response" in extensions:
            await self._outage("websocket.http.response")
        else:
            await self._send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _status(message: Message) -> int:
    status = message.get("status")
    return status if isinstance(status, int) else 200


def _cookies(scope: Scope) -> str | None:
    headers = scope.get("headers") or ()
    assert isinstance(headers, Iterable)
    # HTTP/2 may send one for each cookie.
    found = [value for name, value in headers if name == b"cookie"]
    return b"; ".join(found).decode("latin-1") if found else None


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
