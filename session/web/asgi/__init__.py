"""`SessionMiddleware` for ASGI: puts the session of each request or WebSocket into the scope, and commits it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TypeVar

from dynamostore.hidden import Hidden
from session.aio import AsyncSessionManager
from session.manager import SessionManager
from session.session import AsyncSession
from session.web._exchange import TAKEN, check_app
from session.web._reruns import Rerun, check_rerun
from session.web._slots import SLOTS, find_slot

from ._exchange import ASGIApp, Message, Receive, Scope, Send, Settings
from ._http import Request
from ._session import Drive, DriveHere, drive_in_threads
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
"""The keys of a scope that ASGI and Starlette use."""


class SessionMiddleware:
    """Wrap an ASGI app so that each request and WebSocket has its session in ``scope["session"]``.

    In Starlette and FastAPI, this is ``request.session``. The first access reads the session. The session is committed before
    the response starts. A later change raises `SessionClosedError <session.SessionClosedError>`. If the app raises, or answers
    500 or above, only a `destroy <session.AsyncSession.destroy>` is carried out. Raises `TypeError` or `ValueError` for invalid
    settings:

    - *app*: the ASGI app.
    - *manager* (AsyncSessionManager or SessionManager): opens and commits the sessions. The store of a `SessionManager` is
      called in threads. Two managers need two cookie names and two keys.
    - *key* (str): the session's key in the scope. Default: "session".
    - *autoload* (bool): read the session of every request that has the session's cookie, before the app runs.
      Default: False.
    - *commit_errors* (bool): commit the changes of a request that the app answers with 500 or above, too. Default: False.
    - *rerun*: which stale requests run again. "safe" (default): GET, HEAD and OPTIONS without a body, except OAuth callbacks.
      "never": none. Or a function of the scope that returns a bool.
    - *conflict*: an ASGI app, such as a Starlette response, that answers stale requests. It finds a new session in the
      scope, and the error in ``scope["session.conflict"]``. Default: a 409.
    - *unavailable*: an ASGI app, such as a Starlette response, that answers HTTP requests in place of the 503 if the store
      fails. It finds the error in ``scope["session.unavailable"]``, and must not access the session. Default: a 503 with
      ``Retry-After``.
    - *sleep*, *clock*: for tests. *sleep* is async and pauses for a number of seconds between two runs; *clock* returns
      monotonic seconds.

    **Where the session can be read.** A synchronous handler runs in a thread and waits there for the read. An async handler
    waits with the help of greenlet (``dynamostore[asgi]``) if it runs in the task that called this middleware. In other tasks,
    or without greenlet, call ``await request.session.load()`` first, or pass ``autoload=True``. Otherwise the access raises
    `SessionNotLoadedError <session.SessionNotLoadedError>`.

    **Stale requests.** A stale request (`SessionConflict <session.SessionConflict>`) runs again at most three times, within
    5 seconds. It must have stored nothing, and no byte of its response may have been sent.

    **Outages.** If the store fails, the app sees the `StoreError <dynamostore.StoreError>` where it reads or saves, or when it
    starts its response. If the app does not catch it, the client gets a 503 and keeps its cookie.

    **WebSockets.** The session is committed when the app accepts the WebSocket, which is when a cookie can be set, and again
    when the app returns. Each ``save()`` forgets the reads before it. A stale WebSocket is refused with 409, or closed with
    code 1013.

    **Replacement.** The app may replace the session in the scope: a mapping replaces its data, and None (or Litestar's
    ``Empty``) destroys it. Any other object raises `SessionTypeError <session.SessionTypeError>`, and nothing is stored.

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
        unavailable: ASGIApp | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(manager, AsyncSessionManager | SessionManager):
            raise TypeError(f"manager must be an AsyncSessionManager or a SessionManager, not {type(manager).__name__}")
        if key in SCOPE or key == SLOTS:
            raise ValueError(f"key {key!r} is reserved by ASGI; choose another key")
        check_rerun(rerun)
        check_app("conflict", conflict, "an ASGI")
        check_app("unavailable", unavailable, "an ASGI")
        self._app = app
        drive: Drive
        drive_here: DriveHere | None = None
        if isinstance(manager, AsyncSessionManager):
            drive = manager._drive
        else:
            drive, drive_here = drive_in_threads(manager), manager._drive
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
            unavailable=unavailable,
            sleep=sleep,
            clock=clock,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or serve a WebSocket. Pass other scopes, such as a lifespan, to the app unchanged."""
        # Hide the scope: it contains the cookie, and this frame is in the traceback of each error of the app.
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
            # This middleware wraps the app twice, and the outer one has opened the session.
            await self._app(request.reveal(), receive, send)
        elif kind == "http":
            await Request(settings, request, receive, send).run()
        else:
            await serve_socket(settings, request, receive, send)


def get_session(scope: MutableMapping[str, T], key: str = "session") -> AsyncSession:
    """Return the session of a request or WebSocket, typed.

    In Starlette and FastAPI, ``get_session(request.scope)`` is ``request.session``, which they type as a dict. Raises
    `RuntimeError` if no `SessionMiddleware` with this *key* wraps the app, or if the app has put another object in the
    session's place.
    """
    session = scope.get(key)
    if not isinstance(session, AsyncSession):
        kind = type(session).__name__ if key in scope else None
        del scope, session
        raise RuntimeError(  # noqa: TRY004 (the app is set up wrongly)
            f"there is no session in scope[{key!r}]"
            + (
                f", but an object of type {kind}; get the session before you replace it"
                if kind is not None
                else "; wrap the app in session.web.asgi.SessionMiddleware"
            )
        )
    return session
