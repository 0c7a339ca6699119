"""`SessionMiddleware` for ASGI: the session of each request and WebSocket in its scope, committed before the headers go out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TypeVar

from dynamostore.hidden import Hidden
from session.aio import AsyncSessionManager
from session.manager import SessionManager
from session.session import AsyncSession
from session.web._exchange import TAKEN
from session.web._reruns import Rerun, check_rerun
from session.web._slots import SLOTS, find_slot

from ._exchange import ASGIApp, Message, Receive, Scope, Send, Settings
from ._http import Request
from ._session import Drive, DriveHere, off_the_loop
from ._socket import serve_socket

__all__ = ["ASGIApp", "Message", "Receive", "Scope", "Send", "SessionMiddleware", "get_session"]

T = TypeVar("T")

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
        *("app", "router", "route", "endpoint", "path_params", "user", "auth"),
    )
)
"""What ASGI and Starlette have in a scope."""


class SessionMiddleware:
    """An ASGI app whose requests and WebSockets have their session in ``scope["session"]``: ``request.session`` in Starlette
    and FastAPI.

    It is read when it is first accessed, and committed before the response starts; after that a change raises
    `SessionClosedError <session.SessionClosedError>`. Nothing but a `destroy <session.AsyncSession.destroy>` is committed if
    the app raises, or answers with 500 and over (unless *commit_errors*). A synchronous handler that runs in a thread waits for
    the read there; an async one waits with the help of greenlet (``dynamostore[asgi]``), as long as it runs in the task that
    called this app. Elsewhere, say ``await request.session.load()`` first, or have it read for each request that has a cookie:
    *autoload*.

    *manager*: an `AsyncSessionManager`, or a `SessionManager`, whose store is then called in threads. *key* is the session's
    in the scope: two managers, with cookies of two names, need two keys. A mapping that the app puts there replaces the
    session's data, None (or Litestar's ``Empty``) destroys the session; anything else is a `SessionTypeError
    <session.SessionTypeError>`, and nothing is stored.

    A stale request (`SessionConflict <session.SessionConflict>`) is run again if that is safe: up to three times, within 5
    seconds, and only if no byte of its response is out and it has stored nothing. *rerun*: "safe" for GET, HEAD and OPTIONS
    without a body; "never"; or a function of the scope. Otherwise the answer is a 409, or what *conflict* answers: an ASGI app,
    such as a Starlette response, which finds a new session in the scope, and the error under ``scope["session.conflict"]``.

    A WebSocket's session is committed when it is accepted, which is when it can be sent a cookie, and again when its app
    returns. Each ``save()`` begins its reads anew. A stale WebSocket is refused with 409, or closed with the code 1013.

    If the store fails, the app sees the `StoreError <dynamostore.StoreError>` where it reads or saves, or when it starts its
    response. If the app does not catch it, the client gets a 503 with ``Retry-After``, and keeps its cookie.

    *sleep* and *clock* are for tests: how to wait between two runs, and seconds that only grow.

    >>> import asyncio
    >>> from dynamostore import MemoryStore
    >>> async def app(scope, receive, send):
    ...     session = get_session(scope)
    ...     session.increment("visits")
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"visits: %d" % session.get_int("visits")})
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
        rerun: Rerun[Scope] = "safe",
        conflict: ASGIApp | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(manager, AsyncSessionManager | SessionManager):
            raise TypeError(f"manager must be an AsyncSessionManager or a SessionManager, not {type(manager).__name__}")
        if key in SCOPE or key == SLOTS:
            raise ValueError(f"key {key!r} is reserved by ASGI; choose another key")
        check_rerun(rerun)
        if conflict is not None and not callable(conflict):
            raise TypeError(f"conflict must be an ASGI app, not {type(conflict).__name__}")
        self._app = app
        drive: Drive
        drive_here: DriveHere | None = None
        if isinstance(manager, AsyncSessionManager):
            drive = manager._drive
        else:
            drive, drive_here = off_the_loop(manager), manager._drive
        self._settings = Settings(
            app=app,
            manager=manager,
            drive=drive,
            drive_here=drive_here,
            key=key,
            autoload=autoload,
            commit_errors=commit_errors,
            rerun=rerun,
            conflict=conflict,
            sleep=sleep,
            clock=clock,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or serve a WebSocket, as ASGI has it; anything else (a lifespan) goes to the app untouched."""
        # The app runs within this frame, and a cookie is in it.
        request = Hidden(scope)
        del scope
        kind = request.reveal()["type"]
        if kind not in ("http", "websocket"):
            await self._app(request.reveal(), receive, send)
            return
        settings = self._settings
        there = find_slot(request.reveal(), (settings.key,))
        if there is not None:
            if there.session._policy.manager is not settings.manager._policy.manager:
                raise RuntimeError(TAKEN.format(settings.key))
            # This middleware is around the app twice.
            await self._app(request.reveal(), receive, send)
        elif kind == "http":
            await Request(settings, request, receive, send).run()
        else:
            await serve_socket(settings, request, receive, send)


def get_session(scope: MutableMapping[str, T], key: str = "session") -> AsyncSession:
    """Return the session of a request or WebSocket; raise `RuntimeError` if there is no `SessionMiddleware` with that *key*.

    In Starlette and FastAPI: ``get_session(request.scope)`` is ``request.session``, which they type as a dict.
    """
    session = scope.get(key)
    if not isinstance(session, AsyncSession):
        kind = type(session).__name__ if key in scope else None
        del scope, session
        raise RuntimeError(  # noqa: TRY004 (it is the app's set-up that is wrong)
            f"there is no session in scope[{key!r}]"
            + (
                f", but a {kind}: get the session before you replace it"
                if kind is not None
                else ": is the app in a session.web.asgi.SessionMiddleware?"
            )
        )
    return session
