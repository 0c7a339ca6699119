"""`Session` and `AsyncSession`: one request's view of a session.

`BaseSession` holds everything except reading and storing, which the subclasses delegate to a driver. No I/O here.
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
    """A session's data (`SessionData <session.data.SessionData>`), token and lifetime. For one request and one thread."""

    __slots__ = ("_policy", "_state")

    def __init__(self, state: State, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    @property
    def token(self) -> str | None:
        """The token to send to the client, or None if nothing is stored.

        A new session gets its token, and a renewed session its new token, when it is stored. Before the first access, this is
        the token that the client sent, if it is well-formed. Does not read the session, but adds ``Vary: Cookie`` to the
        response.
        """
        self._state.token_read = True
        return None if self._state.destroying else self._state.token

    @property
    def deadline(self) -> datetime:
        """The end of the session's absolute lifetime, an aware UTC datetime. Counts as a read of the deadline."""
        self._reading()
        self._state.read_deadline |= not self._state.rescheduled
        return from_ns(self._state.deadline_ns)

    @property
    def expiry(self) -> datetime | None:
        """The expiry of the stored session, an aware UTC datetime; None if nothing is stored.

        It is the end of the idle timeout or the deadline, whichever is earlier. Counts as a read of the deadline.
        """
        self._reading()
        self._state.read_deadline |= not self._state.rescheduled
        record = None if self._state.destroying else self._state.record
        return record.expiry if record else None

    @property
    def remembered(self) -> bool | None:
        """The last argument of `remember`; None if the manager's ``Cookie(persist=...)`` applies. Does not count as a read."""
        self._reading()
        return _settings.remembered(self._state.own_settings)

    @property
    def idle_timeout(self) -> timedelta | None:
        """The session's idle timeout: the last argument of `set_idle_timeout`, or the manager's. Does not count as a read."""
        self._reading()
        idle_ns = self._policy.effective_idle_ns(self._state.own_settings)
        return None if idle_ns is None else timedelta(microseconds=idle_ns // 1000)

    @property
    def status(self) -> Status:
        """The session's `Status` so far in this request: unmodified, modified or destroyed. Does not read the session."""
        return self._state.status

    @property
    def attempt(self) -> int:
        """The number of the current run of the request: 1, or more if an adapter re-runs a stale request."""
        return self._state.attempt

    def forbid_rerun(self) -> None:
        """Refuse this request if it is stale, instead of running it again.

        Call it before the handler does something outside the session that must not happen twice. Examples: an OAuth callback,
        or a link that works once.
        """
        self._state.rerun = False

    def renew_token(self, *, grace: bool = False, deadline: Deadline = "new") -> None:
        """Give the session a new token at the next commit, and keep its data. Call it at login.

        The renewal is one transaction; afterwards only the new token works. It protects against
        `session fixation <https://owasp.org/www-community/attacks/Session_fixation>`_.

        - *deadline*: "new" starts a new absolute lifetime, unless the same request calls `set_deadline`, before or after.
          "keep" keeps the deadline.
        - *grace*: for the manager's ``renewal_grace``, requests with the old token still read and change the session. Do not
          use it at login: an attacker who planted the old token could read the logged-in session.

        If another request renewed the session first, this request starts its own session with the values that it put. That
        is possible only if all keys that it read are mergeable keys or login keys; otherwise the commit raises
        `SessionConflict`. A request that arrives with the old token of a renewed session cannot renew it.
        """
        if deadline not in ("new", "keep"):
            raise ValueError(f'deadline must be "new" or "keep", not {deadline!r}')
        self._changing()
        lifecycle.renew(self._state, self._policy, grace=grace, deadline=deadline)

    def remember(self, remember: bool = True) -> None:
        """Keep the client's cookie until the session expires (True), or until the browser closes (False).

        Use it for "remember me" at login. It overrides the manager's ``Cookie(persist=...)``. It does not change how long the
        session lives; call `set_deadline` or `set_idle_timeout` for that. The setting is stored with the session but is not
        part of its data: `clear` keeps it, and it does not create a session by itself.
        """
        told = values.from_bool(_settings.REMEMBER, remember)
        self._changing()
        lifecycle.tell(self._state, _settings.REMEMBER, told)

    def set_deadline(self, deadline: datetime) -> None:
        """End the session at *deadline*, an aware datetime, even if it is in use.

        The deadline may be earlier or later than the manager's lifetime; a deadline in the past ends the session when it is
        stored. An idle timeout may end the session earlier: see `set_idle_timeout`. `renew_token` keeps this deadline if it is
        called in the same request, before or after; in a later request it starts a new lifetime.
        Raises `TypeError` for a value that is not a datetime, and `ValueError` if it is naive or outside 1677 to 2262.
        """
        deadline_ns = to_ns(deadline)
        self._changing()
        lifecycle.reschedule(self._state, deadline_ns)

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """End the session when no request has accessed it for this long. None: it ends only at its deadline.

        It overrides the manager's ``idle_timeout``. The setting is stored with the session but is not part of its data:
        `clear` and renewals keep it, and it does not create a session by itself. Raises `TypeError` for a value that is not a
        timedelta or None, and `ValueError` for a timedelta of zero or less.

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
                raise TypeError(
                    f"idle_timeout must be a timedelta or None, not {kind}; for example timedelta(minutes=20)"
                )
            if idle_timeout <= timedelta(0):
                raise ValueError("idle_timeout must be more than zero; pass None for a session without an idle timeout")
            idle_ns = min(duration_ns(idle_timeout), INT64_MAX)
        self._changing()
        lifecycle.tell(self._state, _settings.IDLE_TIMEOUT, idle_ns)

    def destroy(self) -> None:
        """Delete the session and its token at the end of the block, or at ``save``. Call it at logout.

        It never conflicts, and takes effect even if the block raises. Values that you put afterwards create a new session with
        a new token, unless another request changed a key that this request had read before. If the client sent several
        session cookies, all of their sessions are deleted, so that the next request does not open another one.
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
            raise SessionClosedError("the session is closed, so a change would be lost; change it inside its block")
        if self._state.saving:
            raise SessionError("another task is saving the session, so a change would be lost; change it after save()")

    def _not_deciding(self) -> None:
        if self._state.deciding:
            raise SessionStateError(
                "inside atomic, use the session that is passed to the function, not the request's own"
            )

    def _show(self) -> None:
        """Load the data into the draft."""
        self._not_deciding()
        if self._state.record is not None:
            # The session was discarded, but its record is known, so no read is needed.
            _state.show_stored(self._state, self._policy)
        else:
            self._load()

    def _load(self) -> None:
        raise NotImplementedError


class Session(BaseSession):
    """The session of one request: a mapping with typed getters, read at its first access.

    Open it with `SessionManager.session`. The first access may raise a `StoreError <dynamostore.StoreError>` or
    `CorruptSessionError`. After the end of the block, methods that change the session raise `SessionClosedError`.

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
        """Commit now and keep the session open. Afterwards, `token` is the token to send to the client.

        The end of the block commits by itself, so you rarely need this. As the last line inside a database transaction, it
        lets a conflict roll the transaction back.

        Raises the same errors as the end of the block. The changes then stay pending, and the end of the block tries again.
        Earlier reads still count, with the values that are stored now. If another request changed a list or dict that you got
        from the session before, get it again.
        """
        self._open()
        if not _state.is_untouched(self._state):
            self._drive(lifecycle.commit(self._state, self._policy))

    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on the stored data, store the result immediately, and return the result of *change*.

        Use it for a decision that must be exact, such as spending a nonce or counting up to a limit. It makes one conditional
        write, which also checks everything that this request has read so far. If another request changes the session first,
        *change* runs again on the new data. So it must be a plain function that is safe to run again. It does not see this
        request's pending changes. The keys that it reads or changes count as read by this request.

        Raises `SessionConflict`, with nothing stored, if a key that this request read has changed or the session has ended.
        Raises `SessionStateError` if *change* touches a key with a pending change or uses the request's own session, and
        after `destroy` or `renew_token`. May raise a `StoreError <dynamostore.StoreError>`.

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
        """Copy the data of another session, that of *token*, into this one. Return False if there is no such session.

        Use it when the client comes back without its cookie, for example from an OAuth redirect. If both sessions have a key,
        the other session's value wins, unless the key is mergeable. The deadline becomes the later of the two. The other
        session is deleted after this one is stored. A change that a request makes to the other session meanwhile may be lost.

        Pass only a *token* that your app issued for this purpose and got back over a channel that only this client can use.
        May raise a `StoreError <dynamostore.StoreError>`, `CorruptSessionError`, and the errors of merging a mergeable key.

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
    """The session of one request in an async program. Open it with `AsyncSessionManager.session`, which also reads it.

    Getters and setters are those of `Session` and are not awaited, as the data is in memory. A session opened with
    ``lazy=True`` is read by ``await s.load()``; accessing it before that raises `SessionNotLoadedError`.

    >>> import asyncio
    >>> from dynamostore import AsyncMemoryStore
    >>> from session import AsyncSessionManager
    >>> async def main() -> None:
    ...     manager = AsyncSessionManager(AsyncMemoryStore())
    ...     async with manager.session(None) as s:
    ...         s.put_string("message", "Hello world!")
    ...     async with manager.session(s.token) as s:
    ...         print(s.get_string("message"))
    >>> asyncio.run(main())
    Hello world!
    """

    __slots__ = ("_drive",)

    def __init__(self, state: State, policy: Policy, drive: AsyncDrive) -> None:
        super().__init__(state, policy)
        self._drive = drive

    async def load(self) -> None:
        """Read the session if it is not loaded yet. May raise a `StoreError <dynamostore.StoreError>` or `CorruptSessionError`.

        It also works after the end of the block, for example for a log.
        """
        if not self._state.loaded:
            self._not_deciding()
            await self._drive(lifecycle.load(self._state, self._policy))

    async def save(self) -> None:
        """Commit now and keep the session open, as `Session.save` does.

        Until it returns, other tasks may read the session, but get a `SessionError` if they change or save it.
        """
        with self._saving():
            await self._store()

    async def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on the stored data, store the result immediately, and return the result, as `Session.atomic` does.

        *change* is a plain function, not a coroutine function.
        """
        with self._saving():
            self._state.looked = True
            return await self._drive(atomic.atomic(self._state, self._policy, change))

    async def merge_session(self, token: str | None) -> bool:
        """Copy the data of another session, that of *token*, into this one, as `Session.merge_session` does."""
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
        """Store the changes and close the session. It counts as closed from the start of the write."""
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
            "the session is not loaded; call await session.load() first, or open it without lazy=True"
        )
