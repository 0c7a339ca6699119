"""`Session`: what one request sees of a session, and what it changes. No I/O of its own.

`BaseSession` is all of it but reading and storing, which `Session` and `AsyncSession` ask their drivers for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import datetime

from dynamostore._instants import from_ns, to_ns
from dynamostore._steps import Plan

from . import _lifecycle, values
from ._lifecycle import Policy, State, Status
from .errors import SessionClosedError, SessionError, SessionNotLoadedError
from .typed import MISSING, Missing, TypedAccess
from .values import JSONValue

__all__ = ["AsyncSession", "BaseSession", "Session"]


class BaseSession(TypedAccess, MutableMapping[str, JSONValue]):
    """A session's data, what was changed in it, and what is to become of it.

    It is a ``MutableMapping`` of JSON-native values, in the order of its keys, and has typed getters beside
    (`TypedAccess`). What is put is copied; a list or dict that is handed out is the session's own, and a
    change within it counts. For one request and one thread.
    """

    __slots__ = ("_policy", "_state")

    def __init__(self, state: State, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    # What is known about it

    @property
    def token(self) -> str | None:
        """What to hand the client: the token of what is stored, or None if nothing is.

        A new session gets one when it is stored, a renewed one its new one. Reads nothing: before the session
        is looked at, it is the token the client sent, if that could be one.
        """
        return None if self._state.destroying else self._state.token

    @property
    def deadline(self) -> datetime:
        """When the session ends, however active it is: its absolute lifetime, as an aware UTC datetime."""
        self._look()
        return from_ns(self._state.deadline_ns)

    @property
    def expiry(self) -> datetime | None:
        """When what is stored expires, by idling or at the deadline; None if nothing is stored."""
        self._look()
        record = None if self._state.destroying else self._state.record
        return record.expiry if record else None

    @property
    def remembered(self) -> bool | None:
        """What `remember` was told; None if nothing: then the manager's ``Cookie(persist=...)`` holds."""
        self._look()
        return _lifecycle.remembered(self._state.draft.data)

    @property
    def status(self) -> Status:
        """Whether it was changed or destroyed in this request; reads nothing."""
        return self._state.status

    # The mapping

    def __getitem__(self, key: str) -> JSONValue:
        """The value of *key*; KeyError if there is none. A list or dict may be changed in place."""
        self._look()
        return self._state.draft.get(key)

    def __setitem__(self, key: str, value: JSONValue) -> None:
        """Set *key* to a copy of a JSON-native value (a tuple becomes a list).

        Raises `SessionTypeError` for what JSON has no word for, `ValueError` for a NaN, an infinity, an int
        beyond signed 64 bits, a lone surrogate, or nesting deeper than 100; the session then stays as it was.
        """
        self._put(key, values.native(key, value))

    def __delitem__(self, key: str) -> None:
        """Remove *key*; KeyError if it is not there (`remove` does not mind)."""
        self._change()
        if key not in self._state.draft.data:
            raise KeyError(key)
        self._state.draft.remove(key)

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted."""
        self._look()
        return iter(sorted(self._state.draft.data))

    def __len__(self) -> int:
        self._look()
        return len(self._state.draft.data)

    def __contains__(self, key: object) -> bool:
        self._look()
        return key in self._state.draft.data

    # typeshed gives None only to mappings whose values may be None, which here they may.
    def setdefault(self, key: str, default: JSONValue = None) -> JSONValue:  # type: ignore[override]
        """The value of *key*, set to a copy of *default* first if there is none; the session's own, to change."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Remove all data; token and deadline stay."""
        self._change()
        self._state.draft.clear()

    def remove(self, key: str) -> None:
        """Remove *key*; nothing happens if it is not there."""
        self._change()
        self._state.draft.remove(key)

    def increment(self, key: str, by: int = 1) -> int:
        """Add *by* to the int under *key* (0 if there is none) and return the sum.

        Two requests that increment at once both count. Raises `SessionTypeError` if something else is there,
        `ValueError` beyond signed 64 bits.
        """
        by = values.from_int(key, by)
        self._change()
        return self._state.draft.increment(values.checked_key(key), by)

    # Its life

    def renew_token(self) -> None:
        """Give the session a new token and a whole new lifetime; its data stays. Call it at login.

        It happens when the session is stored, in one transaction: from then on only the new token works.
        https://owasp.org/www-community/attacks/Session_fixation
        """
        self._change()
        _lifecycle.renew(self._state, self._policy)

    def remember(self, remember: bool = True) -> None:
        """Have the client keep the cookie until the session expires (True), or until the browser is closed (False).

        For a "remember me" at login; it stands before the manager's ``Cookie(persist=...)``, and is kept in the session
        (under ``__rememberMe``, as in SCS v2), so `clear` forgets it.
        """
        self.put_bool(_lifecycle.REMEMBER, remember)

    def set_deadline(self, deadline: datetime) -> None:
        """Have the session end at *deadline*, an aware datetime, however active it is; a renewal begins a new lifetime.

        Earlier or later than the manager's lifetime would have it; one that is over ends the session when it is stored.
        Raises `TypeError` or `ValueError` for what is no aware datetime from 1677 to 2262.
        """
        deadline_ns = to_ns(deadline)
        self._change()
        _lifecycle.reschedule(self._state, deadline_ns)

    def destroy(self) -> None:
        """Delete the session, data and token; it happens when the block is left (or at ``save``). Call it at logout.

        What is put afterwards makes a new session with a new token.
        """
        self._open()
        _lifecycle.destroy(self._state, self._policy)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.status.value if self._state.loaded else 'not read'}>"

    __hash__ = None  # type: ignore[assignment]  # as every mutable mapping; slots and bases would lose it

    # The primitives of TypedAccess

    def _peek(self, key: str) -> JSONValue | Missing:
        self._look()
        return self._state.draft.data.get(key, MISSING)

    def _put(self, key: str, value: JSONValue) -> None:
        self._change()
        self._state.draft.put(values.checked_key(key), value)

    def _drop(self, key: str) -> None:
        self._change()
        self._state.draft.remove(key)

    def _change(self) -> None:
        self._open()
        self._look()

    def _open(self) -> None:
        if self._state.closed:
            raise SessionClosedError("the session's block is over: what is changed now would be lost")
        if self._state.saving:
            raise SessionError("another task is just storing the session: what is changed now would be lost")

    def _look(self) -> None:
        """Have the data read, if it has not been."""
        self._state.looked = True
        if not self._state.loaded:
            if self._state.closed:
                raise SessionClosedError("the session's block is over: it was not read in it, and cannot be any more")
            self._load()

    def _load(self) -> None:
        raise NotImplementedError


class Session(BaseSession):
    """The session of one request, read when it is first looked at. Made by `SessionManager.session`.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> manager = SessionManager(MemoryStore())
    >>> with manager.session(None) as s:
    ...     s.put_string("message", "Hello world!")
    ...     s["cart"] = ["apple"]
    >>> with manager.session(s.token) as s:
    ...     s["cart"].append("pear")
    ...     s.increment("visits")
    1
    >>> with manager.session(s.token) as s:
    ...     dict(s)
    {'cart': ['apple', 'pear'], 'message': 'Hello world!', 'visits': 1}
    """

    __slots__ = ("_drive",)

    def __init__(self, state: State, policy: Policy, drive: Callable[[Plan[None]], None]) -> None:
        super().__init__(state, policy)
        self._drive = drive

    def save(self) -> None:
        """Commit now, and go on: what was changed is stored, `token` is what to hand the client.

        Not needed at the end of the block, which commits by itself. Raises what leaving the block would; the
        changes are then still to be made, and leaving the block tries again. After an `UnavailableError` that may
        count an increment twice: leave the block by raising. A list or dict that was taken out of the session before
        is the session's own no longer if others changed it meanwhile: take it anew.
        """
        self._open()
        if not _lifecycle.is_untouched(self._state):
            self._drive(_lifecycle.commit(self._state, self._policy))

    def _load(self) -> None:
        self._drive(_lifecycle.load(self._state, self._policy))


class AsyncSession(BaseSession):
    """The session of one request in an async program. Made by `AsyncSessionManager.session`, which reads it.

    Getters and all that changes it are `Session`'s, and not awaited: they only touch what was read. One that was begun
    with ``lazy=True`` is read by `load`; to look at it before that is a `SessionNotLoadedError`.

    >>> import asyncio
    >>> from dynamostore.local import LocalDynamoDB
    >>> from session import AsyncSessionManager
    >>> async def main(dynamodb: LocalDynamoDB) -> None:
    ...     async with dynamodb.connect_async("sessions") as store:
    ...         await store.create_table()
    ...         manager = AsyncSessionManager(store)
    ...         async with manager.session(None) as s:
    ...             s.put_string("message", "Hello world!")
    ...         async with manager.session(s.token) as s:
    ...             print(s.get_string("message"))
    >>> with LocalDynamoDB() as dynamodb:
    ...     asyncio.run(main(dynamodb))
    Hello world!
    """

    __slots__ = ("_drive",)

    def __init__(self, state: State, policy: Policy, drive: Callable[[Plan[None]], Awaitable[None]]) -> None:
        super().__init__(state, policy)
        self._drive = drive

    async def load(self) -> None:
        """Read it, if it has not been; raises what the store raises, and `CorruptSessionError`."""
        if not self._state.loaded:
            self._open()
            await self._drive(_lifecycle.load(self._state, self._policy))

    async def save(self) -> None:
        """Commit now, and go on, as `Session.save` does.

        Until it is done, other tasks may look at the session; to change it, or to save it, is a `SessionError` there.
        """
        self._open()
        self._state.saving = True
        try:
            await self._store()
        finally:
            self._state.saving = False

    async def _commit(self) -> None:
        """Store what was changed, and close; it is closed from now on, and not from when it is stored."""
        self._open()
        self._state.closed = True
        try:
            await self._store()
        except BaseException:
            self._state.closed = False
            raise

    async def _store(self) -> None:
        if not _lifecycle.is_untouched(self._state):
            await self._drive(_lifecycle.commit(self._state, self._policy))

    def _load(self) -> None:
        raise SessionNotLoadedError(
            "the session was not read yet: await its load() first, or begin it without lazy=True"
        )
