"""`AsyncSessionManager`: open and commit sessions, one ``async with`` block per request."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar

from dynamostore import AsyncStore, Record, StoreError
from dynamostore.hidden import Hidden
from dynamostore.steps import Plan, arun, asleep

from . import _state
from ._policy import Policy
from .errors import SessionError
from .listing import arecords_of
from .manager import BaseSessionManager, note_failed_destroy
from .plans import lifecycle
from .session import AsyncSession

__all__ = ["AsyncSessionManager"]

T = TypeVar("T")


class AsyncSessionManager(BaseSessionManager[AsyncStore]):
    """Open and commit the sessions of an async application, stored in any `dynamostore.AsyncStore`.

    Takes the same settings and gives the same guarantees as `SessionManager`. Tasks may share it.

    >>> import asyncio
    >>> from dynamostore import AsyncMemoryStore
    >>> async def main() -> None:
    ...     manager = AsyncSessionManager(AsyncMemoryStore())
    ...     async with manager.session(None) as s:
    ...         s.put_int("user_id", 7)
    ...     async with manager.session(s.token) as s:
    ...         print(s.get_int("user_id"))
    >>> asyncio.run(main())
    7
    """

    _awaited = True

    def session(self, token: str | None, *, lazy: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        """Open the session of *token* for one ``async with`` block, and commit it when the block ends.

        Pass the client's token unchecked, or None if the client sent no token. The session is read at the start of the block,
        which counts as activity. With *lazy*, it is read when you await its ``load``. It is stored at the end of the block
        if it changed. If the block raises or is cancelled, the changes are discarded, except for a
        `destroy <session.AsyncSession.destroy>`. An unknown, expired or malformed token gives an empty session; it gets a new
        token when something is stored.

        The start and the end of the block may raise a `StoreError <dynamostore.StoreError>` or `CorruptSessionError`. The
        end may also raise `SessionConflict`, if the request is stale.
        """
        return _Block(self, token, self._policy, lazy=lazy)

    async def load(self, token: str | None) -> AsyncSession:
        """Read and return the session of a client's *token*, for callers that cannot use an ``async with`` block.

        Call `commit` or `discard` afterwards.
        """
        held = Hidden(token)
        del token
        session = self._begin(held, self._policy)
        await self._load(session)
        return session

    async def commit(self, session: AsyncSession) -> None:
        """Store the changes in *session*, if any, and close it. Raises the same errors as the end of a block."""
        await session._commit()

    async def discard(self, session: AsyncSession) -> None:
        """Discard the unsaved changes in *session* and close it, as `SessionManager.discard` does."""
        if session._state.closed:
            return
        session._state.closed = True
        await self._drive(lifecycle.abandon(session._state, session._policy))

    async def update(
        self,
        token: str | None,
        change: Callable[[AsyncSession], Awaitable[object] | object],
        *,
        attempts: int = 10,
    ) -> AsyncSession:
        """Run ``change(session)`` and commit; run it again on a conflict, as `SessionManager.update` does.

        *change* may be a function or a coroutine function.
        """
        hidden = Hidden(token)
        del token
        plan: Plan[AsyncSession] = lifecycle.update(hidden, self._rerunning(attempts), attempts)
        return await arun(plan, _Updater(self, change), sleep=asleep)

    async def iterate(
        self,
        change: Callable[[AsyncSession], Awaitable[object] | object],
        *,
        records: AsyncIterable[Record] | None = None,
        attempts: int = 10,
    ) -> int:
        """Run ``change(session)`` on every stored session and commit each one, one at a time, as `SessionManager.iterate` does.

        *change* may be a function or a coroutine function. *records*: for example
        ``AsyncBatch(store, rate=50).scan(segments=4)``.
        """
        policy = self._visiting(attempts)
        visited = 0
        async for record in arecords_of(self.store) if records is None else records:
            visited += await arun(lifecycle.visit(record, policy, attempts), _Visitor(self, change), sleep=asleep)
        return visited

    async def _load(self, session: AsyncSession) -> None:
        try:
            await session.load()
        except BaseException:
            # __aexit__ does not run when __aenter__ raises, so close it here.
            self._drop(session)
            raise

    def _begin(self, token: Hidden[str | None], policy: Policy) -> AsyncSession:
        return AsyncSession(_state.begin(token, policy), policy, self._drive)

    async def _drive(self, plan: Plan[T], /) -> T:
        return await arun(plan, self.store, sleep=asleep)


class _Block:
    """A session for one block: read at its start, committed at its end, discarded if the block raises."""

    __slots__ = ("_last", "_lazy", "_manager", "_policy", "_record", "_session", "_token")

    def __init__(
        self,
        manager: AsyncSessionManager,
        token: str | None,
        policy: Policy,
        record: Record | None = None,
        *,
        lazy: bool = False,
        last: _state.State | None = None,
    ) -> None:
        self._record = record
        self._manager = manager
        self._token = token
        self._policy = policy
        self._lazy = lazy
        self._last = last

    async def __aenter__(self) -> AsyncSession:
        if self._record is not None:
            state = _state.begin_at(self._record, self._policy)
            self._session = AsyncSession(state, self._policy, self._manager._drive)
            return self._session
        self._session = self._manager._begin(Hidden(self._token), self._policy)
        if self._last is not None:
            _state.keep_to(self._session._state, self._last)
        if not self._lazy:
            await self._manager._load(self._session)
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            try:
                await self._manager.commit(self._session)
            except (SessionError, TypeError, ValueError) as failure:
                await self._discard(failure)
                raise
            except BaseException as failure:
                # Write nothing more, except to carry out a pending destroy: a logout must take effect even if it is cancelled.
                import asyncio

                if isinstance(failure, asyncio.CancelledError):
                    await self._discard(failure)
                self._manager._drop(self._session)
                raise
        else:
            await self._discard(error)

    async def _discard(self, error: BaseException) -> None:
        """Discard the session without replacing *error*, which is propagating."""
        try:
            await self._manager.discard(self._session)
        except StoreError as failure:
            note_failed_destroy(error, failure)


class _Updater:
    """Performs the calls of the `lifecycle.update` plan: run the change in a block."""

    def __init__(
        self, manager: AsyncSessionManager, change: Callable[[AsyncSession], Awaitable[object] | object]
    ) -> None:
        self._manager = manager
        self._change = change
        self._last: _state.State | None = None

    async def attempt(self, token: Hidden[str | None], policy: Policy) -> AsyncSession:
        async with _Block(self._manager, token.reveal(), policy, last=self._last) as s:
            self._last = s._state
            made = self._change(s)
            if isinstance(made, Awaitable):
                await made
        return s


class _Visitor:
    """Performs the calls of the `lifecycle.visit` plan: run the change in a block, and ``find`` records in the store."""

    def __init__(
        self, manager: AsyncSessionManager, change: Callable[[AsyncSession], Awaitable[object] | object]
    ) -> None:
        self._manager = manager
        self._change = change
        self.find = manager.store.find

    async def attempt(self, record: Record, policy: Policy) -> None:
        async with _Block(self._manager, None, policy, record) as s:
            made = self._change(s)
            if isinstance(made, Awaitable):
                await made
