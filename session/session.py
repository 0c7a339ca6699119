"""`Session` and `AsyncSession`: one request's view of a session, and its life. No I/O of their own.

`BaseSession` is all of it but reading and storing, which `Session` and `AsyncSession` ask their drivers for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from dynamostore.hidden import Hidden
from dynamostore.instants import INT64_MAX, duration_ns, from_ns, to_ns
from dynamostore.steps import Plan

from . import _settings, _state, values
from ._policy import Policy
from ._state import Deadline, State, Status
from .data import SessionData
from .draft import Draft
from .errors import SessionClosedError, SessionError, SessionNotLoadedError, SessionStateError
from .plans import atomic, lifecycle

__all__ = ["AsyncDrive", "AsyncSession", "BaseSession", "Drive", "Session"]

T = TypeVar("T")


class Drive(Protocol):
    """Runs a plan on a store."""

    def __call__(self, plan: Plan[T], /) -> T: ...


class AsyncDrive(Protocol):
    """Runs a plan on an async store."""

    def __call__(self, plan: Plan[T], /) -> Awaitable[T]: ...


class BaseSession(SessionData):
    """A session's data (`SessionData <session.data.SessionData>`), its token and its life. For one request and one thread."""

    __slots__ = ("_policy", "_state")

    def __init__(self, state: State, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    @property
    def token(self) -> str | None:
        """The token to send to the client, or None if nothing is stored.

        A new session gets one when it is stored, a renewed one its new one. Reads nothing: before the session
        is accessed, it is the token that the client sent, if that is well-formed. The response then has ``Vary: Cookie``.
        """
        self._state.token_read = True
        return None if self._state.destroying else self._state.token

    @property
    def deadline(self) -> datetime:
        """The end of the session however active it is, its absolute lifetime: an aware UTC datetime. Reads the deadline."""
        self._reading()
        self._state.read_deadline |= not self._state.rescheduled
        return from_ns(self._state.deadline_ns)

    @property
    def expiry(self) -> datetime | None:
        """The expiry of what is stored, by idling or at the deadline; None if nothing is stored. Reads the deadline."""
        self._reading()
        self._state.read_deadline |= not self._state.rescheduled
        record = None if self._state.destroying else self._state.record
        return record.expiry if record else None

    @property
    def remembered(self) -> bool | None:
        """The last argument of `remember`, or None: then the manager's ``Cookie(persist=...)`` holds. Does not count as a read."""
        self._reading()
        return _settings.remembered(self._state.own_settings)

    @property
    def idle_timeout(self) -> timedelta | None:
        """The idle timeout of this session: the last argument of `set_idle_timeout`, or the manager's. Does not count as a read."""
        self._reading()
        idle_ns = self._policy.effective_idle_ns(self._state.own_settings)
        return None if idle_ns is None else timedelta(microseconds=idle_ns // 1000)

    @property
    def status(self) -> Status:
        """The fate of the session in this request so far; reads nothing."""
        return self._state.status

    @property
    def attempt(self) -> int:
        """The number of this run of the request: 1, or more if an adapter runs a stale request again."""
        return self._state.attempt

    def forbid_rerun(self) -> None:
        """Have a stale request refused, and not run again: for a handler that does something elsewhere that must not happen twice.

        Call it before that: in an OAuth callback, or for a link that can be used once.
        """
        self._state.rerun = False

    def renew_token(self, *, grace: bool = False, deadline: Deadline = "new") -> None:
        """Give the session a new token at the next commit; its data stays. Call it at login.

        It happens in one transaction: from then on only the new token works. *deadline*: "new" begins a new absolute
        lifetime, unless `set_deadline` is called in the same request, before or after this; "keep" keeps the deadline. *grace*: for the manager's ``renewal_grace``, requests with the old token still
        read and change the session; not for logins, since whoever planted the old token would read the logged-in session.

        If another request renewed the session first, this one begins a session of its own with what it put, provided that it
        read nothing but mergeable keys and login keys; otherwise it is a `SessionConflict`. A request that came with the old
        token of a renewed session can renew nothing.
        https://owasp.org/www-community/attacks/Session_fixation
        """
        if deadline not in ("new", "keep"):
            raise ValueError(f'deadline must be "new" or "keep", not {deadline!r}')
        self._changing()
        lifecycle.renew(self._state, self._policy, grace=grace, deadline=deadline)

    def remember(self, remember: bool = True) -> None:
        """Have the client keep the cookie until the session expires (True), or until the browser is closed (False).

        For a "remember me" at login. It takes precedence over the manager's ``Cookie(persist=...)``, and does not change how
        long the session lives: `set_deadline` and `set_idle_timeout` do. It is stored with the session, but is not part of its
        data: `clear` keeps it, and alone it begins no session.
        """
        told = values.from_bool(_settings.REMEMBER, remember)
        self._changing()
        lifecycle.tell(self._state, _settings.REMEMBER, told)

    def set_deadline(self, deadline: datetime) -> None:
        """End the session at *deadline*, an aware datetime, however active it is.

        It may be earlier or later than the manager's lifetime; one in the past ends the session when it is stored. An idle
        timeout still ends the session earlier: see `set_idle_timeout`. `renew_token` in the same request keeps this deadline,
        whichever is called first; in a later request it begins a new lifetime.
        Raises `TypeError` or `ValueError` for anything but an aware datetime from 1677 to 2262.
        """
        deadline_ns = to_ns(deadline)
        self._changing()
        lifecycle.reschedule(self._state, deadline_ns)

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """End the session when no request has accessed it for this long; None: only at its deadline.

        It takes precedence over the manager's ``idle_timeout``. It is stored with the session, but is not part of its data:
        `clear` and renewals keep it, and alone it begins no session. Raises `TypeError` for anything but a timedelta or None,
        `ValueError` for one that is not more than zero.

        >>> from datetime import UTC
        >>> from dynamostore import MemoryStore
        >>> from session import SessionManager
        >>> manager = SessionManager(MemoryStore(), idle_timeout=timedelta(hours=1))
        >>> with manager.session(None) as s:
        ...     s.put_int("user_id", 7)
        ...     s.remember()
        ...     s.set_deadline(datetime.now(UTC) + timedelta(days=30))
        ...     s.set_idle_timeout(None)
        >>> s.expiry == s.deadline
        True
        """
        idle_ns = 0
        if idle_timeout is not None:
            if not isinstance(idle_timeout, timedelta):
                kind = type(idle_timeout).__name__
                raise TypeError(f"idle_timeout must be a timedelta or None, not {kind}: timedelta(minutes=20), say")
            if idle_timeout <= timedelta(0):
                raise ValueError("idle_timeout must be more than zero; None for a session that does not idle out")
            idle_ns = min(duration_ns(idle_timeout), INT64_MAX)
        self._changing()
        lifecycle.tell(self._state, _settings.IDLE_TIMEOUT, idle_ns)

    def destroy(self) -> None:
        """Delete the session, data and token, when the block is left (or at ``save``). Call it at logout.

        It is never refused, and happens also if the block is left by an exception. Values put afterwards make a new session
        with a new token, if what was read before still held when the session was deleted. If the client sent several cookies of
        the name, the sessions of all of them are deleted: the next request must not be that of another one.
        """
        self._open()
        lifecycle.destroy(self._state, self._policy)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.status.value if self._state.loaded else 'not read'}>"

    def _reading(self) -> Draft:
        state = self._state
        state.looked = True
        if not state.loaded:
            self._show()
        return state.draft

    def _changing(self) -> Draft:
        self._open()
        return self._reading()

    def _open(self) -> None:
        self._not_deciding()
        if self._state.closed:
            raise SessionClosedError("the session is closed: a change now would be lost")
        if self._state.saving:
            raise SessionError("another task is storing the session: a change now would be lost")

    def _not_deciding(self) -> None:
        if self._state.deciding:
            raise SessionStateError("within atomic, use the session that the function is given, not the request's own")

    def _show(self) -> None:
        """Have the data there to be read."""
        self._not_deciding()
        if self._state.record is not None:
            # Discarded: what is stored is known.
            _state.show_stored(self._state, self._policy)
        else:
            self._load()

    def _load(self) -> None:
        raise NotImplementedError


class Session(BaseSession):
    """The session of one request, read when it is first accessed. Made by `SessionManager.session`.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> manager = SessionManager(MemoryStore())
    >>> with manager.session(None) as s:
    ...     s.put_string("message", "Hello world!")
    ...     s["cart"] = ["apple"]
    >>> with manager.session(s.token) as s:
    ...     s["cart"].append("pear")
    ...     s.increment("visits")
    >>> with manager.session(s.token) as s:
    ...     dict(s)
    {'cart': ['apple', 'pear'], 'message': 'Hello world!', 'visits': 1}
    """

    __slots__ = ("_drive",)

    def __init__(self, state: State, policy: Policy, drive: Drive) -> None:
        super().__init__(state, policy)
        self._drive = drive

    def save(self) -> None:
        """Commit now, and go on: the changes are stored, `token` is the one to send to the client.

        Not needed at the end of the block, which commits by itself; as the last line inside a database transaction, it lets a
        conflict roll that back. Raises what leaving the block would; the changes are then still to be made, and leaving the
        block tries again. What was read before still counts as read, with the values as they are stored now. A list or dict
        that was taken out of the session before is the session's own no longer if others changed it meanwhile: take it anew.
        """
        self._open()
        if not _state.is_untouched(self._state):
            self._drive(lifecycle.commit(self._state, self._policy))

    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on what is stored now, store it at once, and return what it returned.

        For a decision that must be exact: spending a nonce, counting up to a limit. It is one conditional write, which also
        checks all that this request has read so far. Where another request is faster, *change* runs again, on what that one
        stored; so it must be safe to run again, and is a plain function. It does not see this request's pending changes.

        Raises `SessionConflict`, with nothing stored, if a key that this request read has changed, or the session has ended;
        `SessionStateError` if *change* touches a key with a pending change or uses the request's own session, and after
        `destroy` or `renew_token`; what the store raises. Keys that *change* read or changed count as read by this request.

        >>> from dynamostore import MemoryStore
        >>> from session import SessionManager
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as s:
        ...     s.put_string("nonce", "abc")
        >>> with manager.session(s.token) as s:
        ...     s.atomic(lambda stored: stored.pop_string("nonce"))
        'abc'
        """
        self._open()
        self._state.looked = True
        return self._drive(atomic.atomic(self._state, self._policy, change))

    def merge_session(self, token: str | None) -> bool:
        """Put the data of the session of another *token* into this one. Return True if there is such a session.

        For a flow in which the client comes back without its cookie: an OAuth redirect, say. Of two values of a key the other
        session's wins, unless the key is mergeable; the deadline is the later of the two. The other session is deleted once this
        one is stored, and stays if this one is not. A change that a request makes to the other session meanwhile may be lost with it.

        The *token* must be one that your app gave out for this purpose, and got back in a way that nobody else can use.
        Raises what the store raises, `CorruptSessionError`, and what merging the values of a mergeable key raises.

        >>> from dynamostore import MemoryStore
        >>> from session import SessionManager
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as before:
        ...     before.put_string("next", "/checkout")
        >>> with manager.session(None) as s:
        ...     s.merge_session(before.token), s.get_string("next")
        (True, '/checkout')
        """
        plan = lifecycle.merge_session(self._state, self._policy, Hidden(token))
        del token
        self._open()
        self._state.looked = True
        return self._drive(plan)

    def _load(self) -> None:
        self._drive(lifecycle.load(self._state, self._policy))


class AsyncSession(BaseSession):
    """The session of one request in an async program. Made by `AsyncSessionManager.session`, which reads it.

    Getters and changes are `Session`'s, and not awaited: they only touch what was read. A session that was begun
    with ``lazy=True`` is read by `load`; to access it before that is a `SessionNotLoadedError`.

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

    def __init__(self, state: State, policy: Policy, drive: AsyncDrive) -> None:
        super().__init__(state, policy)
        self._drive = drive

    async def load(self) -> None:
        """Read it, if it has not been read; raise what the store raises, and `CorruptSessionError`.

        After the block this reads a session that was never read, for a log, say.
        """
        if not self._state.loaded:
            self._not_deciding()
            await self._drive(lifecycle.load(self._state, self._policy))

    async def save(self) -> None:
        """Commit now, and go on, as `Session.save` does.

        Until it is done, other tasks may read the session; to change it, or to save it, is a `SessionError` there.
        """
        with self._saving():
            await self._store()

    async def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on what is stored now, store it at once, and return what it returned, as `Session.atomic` does.

        *change* is a plain function, not a coroutine function.
        """
        with self._saving():
            self._state.looked = True
            return await self._drive(atomic.atomic(self._state, self._policy, change))

    async def merge_session(self, token: str | None) -> bool:
        """Put the data of the session of another *token* into this one, as `Session.merge_session` does."""
        plan = lifecycle.merge_session(self._state, self._policy, Hidden(token))
        del token
        with self._saving():
            self._state.looked = True
            return await self._drive(plan)

    @contextmanager
    def _saving(self) -> Iterator[None]:
        self._open()
        self._state.saving = True
        try:
            yield
        finally:
            self._state.saving = False

    async def _commit(self) -> None:
        """Store the changes, and close; it is closed from now on, and not from when it is stored."""
        self._open()
        self._state.closed = True
        try:
            await self._store()
        except BaseException:
            self._state.closed = False
            raise

    async def _store(self) -> None:
        if not _state.is_untouched(self._state):
            await self._drive(lifecycle.commit(self._state, self._policy))

    def _load(self) -> None:
        raise SessionNotLoadedError(
            "the session was not read yet: await its load() first, or begin it without lazy=True"
        )
