"""Serve one HTTP request in ASGI: run the app, again if the request is stale, and pass on the last response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from dynamostore.steps import Plan
from session import _state
from session.errors import SessionConflict
from session.web._conflicts import find_conflict
from session.web._exchange import cookies, failing, find_outage, report
from session.web._reruns import RerunBudget, begin_answer, begin_run, may_rerun
from session.web._slots import open_slots

from ._contexts import keep
from ._exchange import Exchange, Message, Receive, Scope, Send, Settings, call, status_of
from ._session import Drive, DriveHere, WebSession

__all__ = ["Request"]

T = TypeVar("T")

Answer: TypeAlias = Callable[[], Awaitable[None]]


class Request:
    """One request, with all its runs."""

    def __init__(self, settings: Settings, scope: Hidden[Scope], receive: Receive, send: Send) -> None:
        self._settings = settings
        self._scope = scope.reveal()
        self._receive = receive
        self._send = send
        self._earlier: WebSession | None = None
        self._outage: StoreError | None = None
        self._rerun_follows = False
        self._state = _state.begin(Hidden(settings.manager.token(cookies(self._scope))), settings.manager._policy)
        # When the first run began, if the request may run again. The budget is made only after a conflict.
        self._begun: float | None = None
        self._budget: RerunBudget | None = None
        self._original: _Original | None = None
        # A session that begins with this request cannot be stale.
        if self._state.token is not None and may_rerun(
            settings.rerun,
            scope,
            str(self._scope.get("method", "GET")),
            _query(self._scope),
            has_body=_has_body(self._scope),
        ):
            self._begun = settings.clock()
        if self._begun is not None or settings.conflict is not None or settings.unavailable is not None:
            self._original = _Original(self._scope, receive, messages=self._begun is not None)

    async def run(self) -> None:
        """Run the app, again if the request is stale."""
        settings = self._settings
        session = settings.begin(self._state, Hidden(self._scope))
        exchange = _Run(settings, session, Hidden(self._scope), self._send)
        exchange.earlier = self._earlier
        # Run in a copy of the context, to drop the variables that a stale run sets.
        context = copy_context() if self._begun is not None else None
        receive = self._original.replay() if self._original is not None else self._receive
        try:
            # After an outage this makes no call: each access raises the error, even where code could not wait for a read.
            if settings.autoload or self._outage is not None:
                await session.autoload()
            loaded = self._state.loaded
            await call(settings.app, Hidden(self._scope), receive, exchange.send, loaded=loaded, context=context)
            await exchange.done()
        except BaseException as error:
            await exchange.forget(error)
            answer = self._answer_to(error, exchange)
            if context is not None and not self._rerun_follows:
                keep(context)
            if answer is None:
                await exchange.release()
                if exchange.failure is not None and error.__cause__ is exchange.failure:
                    # A framework raised its own error from the one in `send`.
                    raise exchange.failure from None
                raise
        else:
            if context is not None:
                keep(context)
            return
        await answer()

    def _answer_to(self, error: BaseException, exchange: _Run) -> Answer | None:
        """Return a function that answers *error*, or None if the error must reach the server.

        The app or the commit raised *error*.
        """
        if exchange.begun or not isinstance(error, Exception):
            return None
        failure = exchange.failure or error
        conflict = find_conflict(failure)
        if conflict is not None:
            return self._answer_to_conflict(conflict, exchange)
        outage = find_outage(failure)
        if outage is not None:
            report(failure)
            return self._answer_to_outage(outage, exchange)
        return None

    def _answer_to_conflict(self, conflict: SessionConflict, exchange: _Run) -> Answer | None:
        if self._budget is None and self._begun is not None:
            self._budget = RerunBudget.since(self._begun, self._settings.clock)
        self._rerun_follows = self._budget is not None and self._budget.allows_rerun(self._state)
        others = [slot.session._state for slot in open_slots(self._scope) if slot.is_touched(self._scope)]
        if others:
            # The session of an outer middleware has changes of this run. So that middleware must run the request again or
            # refuse it.
            for other in others:
                other.rerun &= self._rerun_follows
            self._rerun_follows = False
            exchange.drop()
            return None
        if self._rerun_follows:
            return self._run_again
        exchange.report(conflict)
        app = self._settings.conflict
        if app is None:
            return exchange.refuse_conflict
        settings = replace(self._settings, app=app, conflict=None)
        return partial(self._delegate, settings, exchange.session, "session.conflict", conflict)

    def _answer_to_outage(self, outage: StoreError, exchange: _Run) -> Answer:
        app = self._settings.unavailable
        if app is None:
            return exchange.refuse_outage
        self._outage = outage
        drive, drive_here = _failing(outage)
        settings = replace(self._settings, app=app, conflict=None, unavailable=None, drive=drive, drive_here=drive_here)
        return partial(self._delegate, settings, exchange.session, "session.unavailable", outage)

    async def _run_again(self) -> None:
        assert self._budget is not None
        await self._settings.sleep(self._budget.pause())
        self._restore()
        self._rerun_follows = False
        self._state = begin_run(self._state, self._settings.manager._policy, self._budget.attempt)
        await self.run()

    async def _delegate(self, settings: Settings, failed: WebSession, key: str, error: Exception) -> None:
        """Let the app in *settings* answer the *error* of the *failed* session. It finds the error under *key*."""
        self._restore()
        self._scope[key] = error
        if failed._state.stored:
            self._earlier = failed
        self._state = begin_answer(self._state, settings.manager._policy)
        self._settings, self._begun, self._budget = settings, None, None
        await self.run()

    def _restore(self) -> None:
        assert self._original is not None
        self._original.restore(self._scope)


class _Run(Exchange):
    """The messages of one run."""

    held: list[Hidden[Message]] | None = None
    """The messages of a 500, held back after an outage or conflict.

    Some frameworks send their 500 first and raise the error afterwards. This middleware then answers instead.
    """

    async def send(self, message: Message) -> None:
        hidden = Hidden(message)
        del message
        if self.held is not None:
            self.held.append(hidden)
        elif hidden.reveal()["type"] == "http.response.start" and not self.begun:
            status = status_of(hidden.reveal())
            if status == 500 and (self.session._outage or self.session._conflict is not None):
                self.held = [hidden]
            else:
                await self._commit_or_discard(status)
                await self._start(hidden)
        else:
            await self._send(hidden.reveal())

    async def done(self) -> None:
        await self.release()
        if self.failure is not None and not self.begun:
            # The app caught the error and sent no response.
            raise self.failure
        # Without a response, nothing is committed.
        await self._abandon()
        # A replacement after the commit cannot be stored: raise an error.
        self._slot.take(self._scope)

    async def release(self) -> None:
        """Send the messages that were held back. They are the response."""
        if self.held is None:
            return
        (start, *rest), self.held = self.held, None
        await self._commit_or_discard(500)
        await self._start(start)
        for message in rest:
            await self._send(message.reveal())

    def drop(self) -> None:
        """Drop the messages that were held back."""
        self.held = None

    async def refuse_outage(self) -> None:
        """Answer an outage."""
        await self._refuse_outage("http.response")

    async def refuse_conflict(self) -> None:
        """Answer a conflict."""
        await self._refuse_conflict("http.response")


class _Original:
    """The original request, for later runs: a copy of its scope, and every message received so far."""

    def __init__(self, scope: Scope, receive: Receive, *, messages: bool) -> None:
        self._scope = dict(scope)
        state = scope.get("state")
        self._state = dict(state) if isinstance(state, MutableMapping) else None
        self._receive = receive
        self._messages: list[Hidden[Message]] | None = [] if messages else None

    def restore(self, scope: Scope) -> None:
        """Restore the scope and the state in it, in place, because other code may hold the same dicts."""
        scope.clear()
        scope.update(self._scope)
        state = scope.get("state")
        if self._state is not None and isinstance(state, MutableMapping):
            state.clear()
            state.update(self._state)

    def replay(self) -> Receive:
        """Return a ``receive`` that first repeats the messages that earlier runs received."""
        messages = self._messages
        if messages is None:
            return self._receive
        place = 0

        async def receive() -> Message:
            nonlocal place
            if place == len(messages):
                messages.append(Hidden(await self._receive()))
            place += 1
            return dict(messages[place - 1].reveal())

        return receive


def _failing(outage: StoreError) -> tuple[Drive, DriveHere]:
    """Return the two drivers of a session whose calls all raise *outage*."""
    drive_here = failing(outage)

    async def drive(plan: Plan[T], /) -> T:
        return drive_here(plan)

    return drive, drive_here


def _query(scope: Scope) -> bytes:
    query = scope.get("query_string", b"")
    return query if isinstance(query, bytes) else b""


def _has_body(scope: Scope) -> bool:
    headers = scope.get("headers") or ()
    assert isinstance(headers, Iterable)
    return any((name == b"content-length" and value != b"0") or name == b"transfer-encoding" for name, value in headers)
