"""`WebSession`: the session of a request or WebSocket in ASGI. Its first access reads it, without an await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from dynamostore.steps import Plan, run_to_completion
from dynamostore.workers import in_worker
from session._policy import Policy
from session._state import State
from session.data import SessionData
from session.draft import Draft
from session.errors import SessionConflict, SessionError, SessionNotLoadedError
from session.manager import SessionManager
from session.plans import lifecycle
from session.session import AsyncDrive, AsyncSession
from session.session import Drive as SyncDrive
from session.web._exchange import is_outage

try:
    from ._waiting import wait, waiting
except ModuleNotFoundError as missing:
    if missing.name != "greenlet":
        raise
    GREENLETS = False
else:
    GREENLETS = True

__all__ = ["GREENLETS", "Drive", "DriveHere", "WebSession", "drive_in_threads", "waiting"]

Drive: TypeAlias = AsyncDrive
DriveHere: TypeAlias = SyncDrive

T = TypeVar("T")

_TOO_LATE = "the WebSocket is accepted, so its client can get no new token; begin or renew the session before accept"
_NEEDS_ASYNCIO = (
    "session.web.asgi and the async store need asyncio, but this is another event loop, such as trio; serve the app on asyncio "
    '(hypercorn --worker-class asyncio; TestClient(app, backend="asyncio"))'
)


class WebSession(AsyncSession):
    """An async session whose first access reads it, wherever the code can wait for the read.

    *drive* runs plans on the event loop. *drive_here* runs them in the current thread; None if the store is async. *socket*:
    the session belongs to a WebSocket, so each `save` forgets the reads before it.
    """

    __slots__ = ("_awaited", "_conflict", "_drive_here", "_failure", "_late", "_loop", "_outage", "_socket", "_task")

    def __init__(
        self, state: State, policy: Policy, drive: Drive, drive_here: DriveHere | None, *, socket: bool = False
    ) -> None:
        super().__init__(state, policy, drive)
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(_NEEDS_ASYNCIO) from None
        self._task = asyncio.current_task()
        # True once a read was waited for, or could have been.
        self._awaited = False
        self._drive_here = drive_here
        self._failure: Exception | None = None
        # The last conflict that was raised to the app.
        self._conflict: SessionConflict | None = None
        self._outage = False
        # True once the client of a WebSocket can get no new token.
        self._socket, self._late = socket, False

    async def load(self) -> None:
        with self._watched():
            await super().load()
        self._awaited = True

    async def save(self) -> None:
        await super().save()
        if self._socket:
            self._state.draft.forget_reads()
            self._state.read_deadline = False

    async def atomic(self, change: Callable[[SessionData], T]) -> T:
        if self._late:
            await self.load()
            if self._state.record is None and not self._state.ended:
                raise SessionError(_TOO_LATE)
        with self._watched():
            result = await super().atomic(change)
        self._awaited = True
        return result

    async def merge_session(self, token: str | None) -> bool:
        with self._watched():
            return await super().merge_session(token)

    async def autoload(self) -> None:
        """Load the session. Keep an outage for the first access: the app may never access the session, or may handle it."""
        try:
            await self.load()
        except Exception as error:
            if not is_outage(error):
                raise
            self._failure = error

    async def abandon(self) -> None:
        """Close the session without a commit, but carry out a `destroy`. Do nothing if it is closed."""
        if not self._state.closed:
            self._state.closed = True
            with self._watched():
                await self._drive(lifecycle.abandon(self._state, self._policy))

    async def _store(self) -> None:
        if self._late and self._state.token_is_new:
            raise SessionError(_TOO_LATE)
        with self._watched():
            await super()._store()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._outage = is_outage(error)
            if isinstance(error, SessionConflict):
                self._conflict = error
            raise

    def _reading(self) -> Draft:
        state = self._state
        if state.loaded and state.record is None and not (self._awaited or state.closed):
            # Without a cookie there is nothing to read. Raise the error all the same: otherwise it would first appear in the
            # client's next request, which has a cookie. After `destroy`, the next request has no cookie either.
            if not (state.destroying or state.destroyed or self._can_wait()):
                raise SessionNotLoadedError(_not_loaded())
            self._awaited = True
        return super()._reading()

    def _can_wait(self) -> bool:
        """Return True if the current code can wait for a read."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True
        return GREENLETS and asyncio.current_task() is self._task

    def _load(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # A worker thread of the framework, which may block.
            if self._drive_here is None:
                asyncio.run_coroutine_threadsafe(self.load(), self._loop).result()
                return
            # Use this thread: if a pool's threads all waited for another thread of the same pool, they would deadlock.
            with self._watched():
                self._drive_here(lifecycle.load(self._state, self._policy))
            self._awaited = True
            return
        if GREENLETS and wait(self.load):
            return
        if self._state.closed and self._drive_here is not None:
            # The request is over and never read the session. An access log that reads it now must not fail.
            self._drive_here(lifecycle.load(self._state, self._policy))
        else:
            raise SessionNotLoadedError(_not_loaded())


def _not_loaded() -> str:
    return (
        "the session is not loaded, and this code cannot wait for the read; call await session.load() first, or make "
        "SessionMiddleware the innermost middleware, or pass autoload=True to it"
        + ("" if GREENLETS else ", or install dynamostore[asgi]")
    )


def drive_in_threads(manager: SessionManager) -> Drive:
    """Return a function that runs plans on the store of a synchronous *manager*, in worker threads."""

    async def drive(plan: Plan[T], /) -> T:
        # The thread uses the session until it is done, so wait for it even when cancelled.
        return await run_to_completion(in_worker(partial(manager._drive, plan)))

    return drive
