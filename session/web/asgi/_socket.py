"""Serve one WebSocket in ASGI. Its session is committed at accept, at `save`, and when the app returns."""

from __future__ import annotations

from collections.abc import MutableMapping

from dynamostore.hidden import Hidden
from session import _state
from session.errors import SessionConflict
from session.web._conflicts import find_conflict
from session.web._exchange import cookies, is_outage, report

from ._exchange import Exchange, Message, Receive, Scope, Send, Settings, call, status_of
from ._session import WebSession

__all__ = ["serve_socket"]

TRY_AGAIN_LATER = 1013
"""The close code of a WebSocket: https://www.iana.org/assignments/websocket/websocket.xhtml"""
REASON = "the session was changed by another request"


async def serve_socket(settings: Settings, scope: Hidden[Scope], receive: Receive, send: Send) -> None:
    """Run the app for a WebSocket, and answer conflicts and outages."""
    state = _state.begin(Hidden(settings.manager.token(cookies(scope.reveal()))), settings.manager._policy)
    session = settings.begin(state, scope)
    exchange = _WebSocket(settings, session, scope, receive, send)
    try:
        if settings.autoload:
            await session.autoload()
        await call(settings.app, scope, exchange.receive, exchange.send, loaded=state.loaded, context=None)
        await exchange.done()
    except BaseException as error:
        await exchange.forget(error)
        failure = exchange.failure or error
        conflict = find_conflict(failure)
        if isinstance(error, Exception) and conflict is not None:
            await exchange.refuse_conflict(conflict)
        elif isinstance(error, Exception) and not exchange.begun and is_outage(failure):
            report(failure)
            await exchange.refuse_outage()
        elif exchange.failure is not None and error.__cause__ is exchange.failure:
            # A framework raised its own error from the one in `send`.
            raise exchange.failure from None
        else:
            raise


class _WebSocket(Exchange):
    def __init__(
        self, settings: Settings, session: WebSession, scope: Hidden[Scope], receive: Receive, send: Send
    ) -> None:
        super().__init__(settings, session, scope, send)
        self._receive = receive
        self._over = False

    async def receive(self) -> Message:
        """Return the next message, and notice a disconnect: the ``receive`` that the app gets."""
        message = Hidden(await self._receive())
        self._over |= message.reveal()["type"] == "websocket.disconnect"
        return message.reveal()

    async def send(self, message: Message) -> None:
        hidden, kind = Hidden(message), message["type"]
        del message
        if kind == "websocket.accept" and not self.begun:
            await self._commit_or_discard(101, close=False)
            await self._start(hidden)
            self.session._late = True
        elif kind == "websocket.http.response.start" and not self.begun:
            await self._commit_or_discard(status_of(hidden.reveal()))
            await self._start(hidden)
        else:
            if kind == "websocket.close":
                self.begun = self._over = True
            await self._send(hidden.reveal())

    async def done(self) -> None:
        await self._apply_replacement()
        if not self.session._late and self.session._state.token_is_new:
            # The app refused the WebSocket, and no response can carry the new token.
            await self.session.abandon()
        else:
            await self._commit_or_discard(101)

    async def refuse_outage(self) -> None:
        """Refuse a WebSocket that is not accepted yet, because of an outage."""
        if self._can_deny:
            await self._refuse_outage("websocket.http.response")
        else:
            await self._send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    async def refuse_conflict(self, conflict: SessionConflict) -> None:
        """Refuse the WebSocket because of a conflict, or close it if it is accepted and still open."""
        if self.session._late or self._over:
            self.report(conflict, "not stored" if self._over else f"closed with {TRY_AGAIN_LATER}")
            if not self._over:
                await self._send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": REASON})
        elif not self.begun:
            self.report(conflict)
            if self._can_deny:
                await self._refuse_conflict("websocket.http.response")
            else:
                await self._send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": REASON})
        else:
            self.report(conflict, "not stored")

    @property
    def _can_deny(self) -> bool:
        extensions = self._scope.get("extensions")
        return isinstance(extensions, MutableMapping) and "websocket.http.response" in extensions
