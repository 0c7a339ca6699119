"""The session of a request or WebSocket in ASGI: an `AsyncSession` that is read when it is first accessed, without an await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from dynamostore.steps import Plan, to_its_end
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

__all__ = ["GREENLETS", "Drive", "DriveHere", "WebSession", "off_the_loop", "waiting"]

Drive: TypeAlias = AsyncDrive
DriveHere: TypeAlias = SyncDrive

T = TypeVar("T")

_TOO_LATE = "the WebSocket is accepted, so its client can get no new token: begin or renew before that"
_NEEDS_ASYNCIO = (
    "session.web.asgi and the async store need asyncio, and this runs on another event loop (trio, say): serve the app on asyncio "
    '(hypercorn --worker-class asyncio; TestClient(app, backend="asyncio"))'
)


class WebSession(AsyncSession):
    """An async session that is read when it is first accessed, wherever that can be waited for.

    *socket*: it is a WebSocket's, so each `save` begins the reads anew.
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
        # True once it was read or could have been.
        self._awaited = False
        self._drive_here = drive_here
        self._failure: Exception | None = None
        # What the app was shown last.
        self._conflict: SessionConflict | None = None
        self._outage = False
        # A WebSocket's is late once its client can get no new token.
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
        """Read it, or keep the outage for when the app looks: it may not, or know what to do."""
        try:
            await self.load()
        except Exception as error:
            if not is_outage(error):
                raise
            self._failure = error

    async def abandon(self) -> None:
        """Close it without committing, but for a `destroy`; nothing happens if it is closed."""
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
            # Without a cookie there is nothing to read. But the next request of this client has one, and must not be the first to
            # fail. After `destroy` there is nothing to read in either.
            if not (state.destroying or state.destroyed or self._can_wait()):
                raise SessionNotLoadedError(_not_loaded())
            self._awaited = True
        return super()._reading()

    def _can_wait(self) -> bool:
        """Return True where a read can be waited for."""
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
            # A thread of the framework's, which may wait.
            if self._drive_here is None:
                asyncio.run_coroutine_threadsafe(self.load(), self._loop).result()
                return
            # Here, and not in another thread of what may be the same pool, all of whose threads may be waiting, too.
            with self._watched():
                self._drive_here(lifecycle.load(self._state, self._policy))
            self._awaited = True
            return
        if GREENLETS and wait(self.load):
            return
        if self._state.closed and self._drive_here is not None:
            # The request is over and never read it: now a log does, and must not fail.
            self._drive_here(lifecycle.load(self._state, self._policy))
        else:
            raise SessionNotLoadedError(_not_loaded())


def _not_loaded() -> str:
    return (
        "the session was not read yet, and cannot be waited for here: await its load() first; or put SessionMiddleware "
        "within what runs the handler in a task of its own (as the innermost); or have all read beforehand: "
        "SessionMiddleware(..., autoload=True)"
        + ("" if GREENLETS else "; or install dynamostore[asgi], with which there is no need to")
    )


def off_the_loop(manager: SessionManager) -> Drive:
    """Drives plans on the store of a synchronous manager, in threads."""

    async def drive(plan: Plan[T], /) -> T:
        # The thread has the session until it is done.
        return await to_its_end(in_worker(partial(manager._drive, plan)))

    return drive
