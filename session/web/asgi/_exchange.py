"""Shared by requests and WebSockets: commit the session before the first message goes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextvars import Context
from dataclasses import dataclass
from typing import TypeAlias

from dynamostore import StoreError
from dynamostore.hidden import Hidden, clearing
from session._headers import Headers
from session._state import State
from session.aio import AsyncSessionManager
from session.errors import SessionConflict
from session.manager import SessionManager, note_failed_destroy
from session.web._conflicts import conflict_body, conflict_headers, masked_path, report_conflict
from session.web._exchange import OUTAGE, cookie_session, outage_headers, should_commit
from session.web._reruns import Rerun
from session.web._slots import begin_slot, forbid_reruns, replace_data

from . import _session
from ._contexts import in_context
from ._session import Drive, DriveHere, WebSession

__all__ = ["ASGIApp", "Exchange", "Message", "Receive", "Scope", "Send", "Settings", "call", "status_of"]

Scope: TypeAlias = MutableMapping[str, object]
"""The description of a connection, as the server passes it to an ASGI app."""
Message: TypeAlias = MutableMapping[str, object]
"""An ASGI message: an event to or from the app."""
Receive: TypeAlias = Callable[[], Awaitable[Message]]
"""Waits for the next message to the app."""
Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""Sends a message of the app."""
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI app, or a middleware around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a `SessionMiddleware`."""

    app: ASGIApp
    manager: AsyncSessionManager | SessionManager
    drive: Drive
    drive_here: DriveHere | None
    key: str
    autoload: bool
    commit_errors: bool
    rerun: Rerun[Scope]
    conflict: ASGIApp | None
    unavailable: ASGIApp | None
    sleep: Callable[[float], Awaitable[object]]
    clock: Callable[[], float]

    def begin(self, state: State, scope: Hidden[Scope]) -> WebSession:
        """Return the session of a request or WebSocket, with *state*."""
        policy = self.manager._policy
        if policy.on_conflict == "report":
            state.route = lambda: " ".join(route_of(scope.reveal()))
        return WebSession(state, policy, self.drive, self.drive_here, socket=scope.reveal()["type"] == "websocket")


class Exchange:
    """The messages from one run of the app to the server, and the session that is committed before the first."""

    earlier: WebSession | None = None
    """The session of the failed run that another app answers, if that run stored something."""

    def __init__(self, settings: Settings, session: WebSession, scope: Hidden[Scope], send: Send) -> None:
        self.settings = settings
        self.session = session
        self.begun = False
        self.failure: BaseException | None = None
        """The error that the commit raised in the app's ``send``. Frameworks may raise another error from it."""
        self._scope = scope.reveal()
        self._send = send
        self._slot = begin_slot(self._scope, session, (settings.key,))

    async def send(self, message: Message) -> None:
        """Pass a message of the app to the server, after a commit if needed: the ``send`` that the app gets."""
        raise NotImplementedError

    async def done(self) -> None:
        """Finish the exchange after the app has returned."""
        raise NotImplementedError

    async def forget(self, error: BaseException) -> None:
        """Discard the session of a failed run, without replacing *error*, which is propagating."""
        try:
            await self._abandon()
        except StoreError as failure:
            note_failed_destroy(error, failure)
        self._forbid_reruns_if_stored()

    def report(self, conflict: SessionConflict, outcome: str = "answered with 409") -> None:
        """Log a conflict."""
        method, route = route_of(self._scope)
        report_conflict(conflict, method, route, outcome=outcome)

    async def _commit_or_discard(self, status: int, *, close: bool = True) -> None:
        """Commit or discard the session, depending on the *status* of the response."""
        session = self.session
        if session._state.closed:
            return
        shown = session._conflict
        try:
            if not should_commit(status, commit_errors=self.settings.commit_errors):
                self._slot.take(self._scope)
                await session.abandon()
            else:
                await self._apply_replacement()
                await (session._commit() if close else session.save())
        except SessionConflict as error:
            if shown is None:
                self.failure = error
                await self.forget(error)
                raise
            # The app saw a conflict before, and this response is its answer to it.
            self.report(error, f"answered with {status} by the app, and nothing was stored")
            await self.forget(error)
        except StoreError as error:
            self.failure = error
            self.settings.manager._drop(session)
            raise
        except BaseException as error:
            self.failure = error
            await self.forget(error)
            raise
        self._forbid_reruns_if_stored()

    async def _apply_replacement(self) -> None:
        """If the app put a mapping in the session's place, make it the session's data."""
        data = Hidden(self._slot.take(self._scope))
        if data.reveal() is not None:
            await self.session.load()
            replace_data(self.session, Hidden(data.reveal() or {}))

    async def _abandon(self) -> None:
        """Discard the session. Do nothing if it is closed."""
        if not self.session._state.closed:
            self._slot.forget(self._scope)
            await self.session.abandon()

    def _forbid_reruns_if_stored(self) -> None:
        if self.session._state.stored:
            forbid_reruns(self._scope)

    async def _start(self, message: Hidden[Message]) -> None:
        """Send the start of a response, with the session's headers added."""
        start = Hidden(_with_headers(message.reveal(), self.settings.manager, self._cookie_session))
        self.begun = True
        await self._send(start.reveal())

    @property
    def _cookie_session(self) -> WebSession:
        return cookie_session(self.session, self.earlier)

    async def _refuse_outage(self, prefix: str) -> None:
        await self._refuse(prefix, 503, outage_headers(), OUTAGE)

    async def _refuse_conflict(self, prefix: str) -> None:
        accept = _header(self._scope, b"accept")
        await self._refuse(prefix, 409, conflict_headers(accept), conflict_body(accept))

    async def _refuse(self, prefix: str, status: int, headers: Headers, body: bytes) -> None:
        self.begun = True
        if self.session._state.stored or self.earlier is not None:
            # The session was saved before the error, so the client may need its new token.
            added = self.settings.manager.headers(self._cookie_session, headers)
        else:
            added = headers
        start = Hidden({"type": f"{prefix}.start", "status": status, "headers": _encoded(added)})
        del added
        await self._send(start.reveal())
        await self._send({"type": f"{prefix}.body", "body": b"" if self._scope.get("method") == "HEAD" else body})


async def call(
    app: ASGIApp, scope: Hidden[Scope], receive: Receive, send: Send, *, loaded: bool, context: Context | None
) -> None:
    """Call *app*, in *context* if given. Unless the session is *loaded*, let synchronous code in it wait for the read."""
    if _session.GREENLETS and not loaded:
        await _session.waiting(_call(app, scope, receive, send), context)
    elif context is not None:
        await in_context(context, _call(app, scope, receive, send))
    else:
        await app(scope.reveal(), receive, send)


async def _call(app: ASGIApp, scope: Hidden[Scope], receive: Receive, send: Send) -> None:
    await app(scope.reveal(), receive, send)


@clearing
def _with_headers(
    message: Message, manager: AsyncSessionManager | SessionManager, session: WebSession
) -> dict[str, object]:
    headers = message.get("headers") or ()
    assert isinstance(headers, Iterable)
    return {**message, "headers": _encoded(manager.headers(session, _decoded(headers)))}


def status_of(message: Message) -> int:
    """Return the status in a message that starts a response."""
    status = message.get("status")
    return status if isinstance(status, int) else 200


def route_of(scope: Scope) -> tuple[str, str]:
    """Return a request's method and path for a log. The path is the route's template, or has its ids masked."""
    method = scope.get("method", "WEBSOCKET" if scope.get("type") == "websocket" else "GET")
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        return str(method), template
    # Older versions of Starlette give no route, only the parameters in the path.
    parameters = scope.get("path_params")
    values = parameters.values() if isinstance(parameters, Mapping) else ()
    hidden = {part for value in values for part in str(value).split("/")}
    path = "/".join("*" if part and part in hidden else part for part in str(scope.get("path", "")).split("/"))
    return str(method), masked_path(path)


def _header(scope: Scope, name: bytes) -> str | None:
    headers = scope.get("headers") or ()
    assert isinstance(headers, Iterable)
    found = [value.decode("latin-1") for other, value in headers if other == name]
    return ", ".join(found) if found else None


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1").lower(), value.encode("latin-1")) for name, value in headers]
