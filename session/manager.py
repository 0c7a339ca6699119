"""`SessionManager`: the sessions of an application, one `with` block a request. `BaseSessionManager`: all but the I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from inspect import isawaitable
from types import TracebackType
from typing import Generic, TypeVar

from dynamostore import Store
from dynamostore._instants import Clock, duration_ns
from dynamostore._steps import Plan, run

from . import _lifecycle
from ._headers import add_session
from ._lifecycle import OnConflict, Policy
from .codec import Codec, JSONCodec
from .cookies import Cookie
from .errors import SessionError
from .session import BaseSession, Session

__all__ = ["BaseSessionManager", "SessionManager"]

S = TypeVar("S")

DAY = timedelta(hours=24)


def make_policy(
    *,
    lifetime: timedelta,
    idle_timeout: timedelta | None,
    touch_after: timedelta | None,
    hash_tokens: bool,
    on_conflict: OnConflict,
    renewal_grace: timedelta | None,
    codec: Codec,
    clock: Clock,
) -> Policy:
    """The policy of a manager's arguments; `TypeError` or `ValueError` for those that make no sense."""
    lengths = {
        "lifetime": lifetime,
        "idle_timeout": idle_timeout,
        "touch_after": touch_after,
        "renewal_grace": renewal_grace,
    }
    for name, length in lengths.items():
        if length is None and name != "lifetime":
            continue
        if not isinstance(length, timedelta):
            raise TypeError(f"{name} must be a timedelta, not {type(length).__name__}: timedelta(minutes=20), say")
        if length < timedelta(0) or (length == timedelta(0) and name in ("lifetime", "idle_timeout")):
            at_least = "more than zero" if name in ("lifetime", "idle_timeout") else "zero or more"
            raise ValueError(f"{name} must be {at_least}")
    if on_conflict not in ("merge", "raise", "overwrite"):
        raise ValueError(f'on_conflict must be "merge", "raise" or "overwrite", not {on_conflict!r}')
    if touch_after is None:
        touch_after = (idle_timeout or timedelta(0)) / 10
    elif idle_timeout is None or touch_after >= idle_timeout:
        raise ValueError("touch_after goes with an idle_timeout, and must be less than that")
    return Policy(
        codec=codec,
        clock=clock,
        lifetime_ns=duration_ns(lifetime),
        idle_ns=None if idle_timeout is None else duration_ns(idle_timeout),
        # An expiry is stored to the microsecond: less is no difference.
        touch_after_ns=max(duration_ns(touch_after), 1000),
        hash_tokens=hash_tokens,
        on_conflict=on_conflict,
        renewal_grace=renewal_grace or timedelta(0),
    )


class BaseSessionManager(Generic[S]):
    """What managers have in common, whether their store is waited for or awaited: the settings, and the cookie."""

    def __init__(
        self,
        store: S,
        *,
        lifetime: timedelta = DAY,
        idle_timeout: timedelta | None = None,
        touch_after: timedelta | None = None,
        hash_tokens: bool = True,
        on_conflict: OnConflict = "merge",
        renewal_grace: timedelta | None = None,
        codec: Codec | None = None,
        cookie: Cookie | None = None,
        clock: Clock = time.time_ns,
    ) -> None:
        if cookie is not None and not isinstance(cookie, Cookie):
            raise TypeError(f"cookie must be a Cookie, not {type(cookie).__name__}: Cookie(name=...)")
        self.store = store
        self.cookie = Cookie() if cookie is None else cookie
        self._policy = make_policy(
            lifetime=lifetime,
            idle_timeout=idle_timeout,
            touch_after=touch_after,
            hash_tokens=hash_tokens,
            on_conflict=on_conflict,
            renewal_grace=renewal_grace,
            codec=JSONCodec() if codec is None else codec,
            clock=clock,
        )

    def set_cookie(self, session: BaseSession) -> str | None:
        """The ``Set-Cookie`` header for the client once its session is stored, or None if it needs none.

        It needs one if its session was created, renewed or, with a persistent cookie, prolonged; if `remember
        <session.Session.remember>` was told otherwise than before; and to forget its token if this request destroyed the
        session. (If another one did meanwhile, that one's answer says so; to say it again could take a new login's cookie
        away.) Raises `SessionError` within the block if something is still to be stored.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore(), cookie=Cookie(persist=False))
        >>> with manager.session(None) as s:
        ...     s.put_int("user_id", 7)
        >>> manager.set_cookie(s).replace(s.token, "<token>")
        'session=<token>; Path=/; Secure; HttpOnly; SameSite=Lax'
        """
        state = session._state
        if not state.closed and (state.destroying or state.changed):
            raise SessionError("set_cookie: the session is not stored yet: call it after the block, or save() first")
        if state.token is None or state.record is None:
            return (
                self.cookie.clear() if state.destroyed and state.token is None and state.presented is not None else None
            )
        persist = self.cookie.persist if state.kept is None else state.kept
        if state.token == state.presented:
            # Within a renewal's grace: the request that renewed the session hands out the new token.
            outdated = state.record.token != self._policy.key(state.token)
            persisted = self.cookie.persist if state.found is None else state.found
            if outdated or not ((persist and state.prolonged) or persist != persisted):
                return None
        return self.cookie.set(state.token, state.record.expiry, self._policy.clock(), persist=persist)

    def headers(self, session: BaseSession, headers: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """A response's *headers* with those of its session, once that is stored or discarded: what an adapter sends.

        ``Set-Cookie`` if the client needs one (`set_cookie`). ``Vary: Cookie`` if the response may depend on the cookie: the
        session was looked at. ``Cache-Control: no-cache="Set-Cookie"`` beside a cookie, so that no cache hands it to others
        (RFC 9111, 5.2.2.4). What the app says of these itself stands.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as s:
        ...     s.get_int("visits")
        0
        >>> manager.headers(s, [("Vary", "Accept")])
        [('Vary', 'Accept, Cookie')]
        """
        return add_session(headers, self.set_cookie(session), looked=session._state.looked)

    def token(self, cookies: str | None) -> str | None:
        """The client's token in its request's ``Cookie`` header; None if there is none.

        Of several cookies of one name, the first that could hold a token: browsers send the one with the longest path
        first, and another application's may be among them.

        >>> from dynamostore import MemoryStore
        >>> token = "A" * 43
        >>> SessionManager(MemoryStore()).token(f"theme=dark; session=7; session={token}") == token
        True
        """
        first = None
        for value in self.cookie.values(cookies):
            if _lifecycle.could_be_ours(value):
                return value
            first = first or value
        # Not one of ours; but it tells that there is a cookie, to be cleared some day.
        return first

    def discard(self, session: BaseSession) -> None:
        """Forget what was changed in *session* and not saved, and close it; nothing happens if it is closed."""
        if not session._state.closed:
            _lifecycle.discard(session._state)
            session._state.closed = True

    def _raising(self, attempts: int) -> Policy:
        """The policy of `update`: a conflict is raised, for the change to be run again."""
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        return replace(self._policy, on_conflict="raise")


class SessionManager(BaseSessionManager[Store]):
    """The sessions of an application, in any `dynamostore.Store`.

    *lifetime*: a session ends that long after it was begun or renewed, however active. *idle_timeout*: it
    ends earlier if no request has looked at it for that long (None: it does not); *touch_after*: a request
    that only looks moves the expiry on if at least that much of the idle timeout is used (default: a tenth),
    so a session may end by that much early. *hash_tokens*: the table's key is the token's SHA-256, so who
    reads the table cannot take over a session; False for a table shared with SCS for Go v0 and v1.
    *on_conflict*, when another request changed the session meanwhile: "merge" makes this one's changes on the
    other's data, "raise" raises `SessionConflict`, "overwrite" lets the last writer win. *renewal_grace*: for so
    long after a renewal (a few seconds, say) a request that is under way with the old token reads and changes the
    renewed session, instead of finding none; None: at once only the new token works. *codec*: how data
    becomes bytes. *cookie*: the cookie's settings. *clock* gives Unix nanoseconds; the store has its own.

    Raises `TypeError` or `ValueError` for settings that make no sense. May be shared between threads.

    >>> from dynamostore import MemoryStore
    >>> manager = SessionManager(MemoryStore(), lifetime=timedelta(days=14), idle_timeout=timedelta(hours=1))
    >>> with manager.session(None) as s:
    ...     s.put_int("user_id", 7)
    >>> with manager.session(s.token) as s:
    ...     s.get_int("user_id")
    7
    """

    def session(self, token: str | None) -> AbstractContextManager[Session]:
        """The session of a client's *token*, straight from the client (None: it sent none), for one block.

        Read when it is first looked at; stored when the block is left, if it was changed; discarded when the
        block is left by an exception. An unknown, expired or malformed token gives an empty session, which
        gets a token of its own if something is stored. Raises, at the point of use or on leaving, what the
        store raises, `CorruptSessionError`, and `SessionConflict` if merging is off or impossible.
        """
        return _Block(self, token, self._policy)

    def load(self, token: str | None) -> Session:
        """The session of a client's *token*, for those who have no block to live in: `commit` or `discard` it.

        Read when it is first looked at, as in `session`.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> s = manager.load(None)
        >>> s.put_int("user_id", 7)
        >>> manager.commit(s)
        """
        return self._begin(token, self._policy)

    def commit(self, session: Session) -> None:
        """Store what was changed in *session*, if anything, and close it; raises what leaving a block would."""
        session.save()
        session._state.closed = True

    def update(self, token: str | None, change: Callable[[Session], object], *, attempts: int = 10) -> Session:
        """Run ``change(session)`` and commit; if another request was faster, run it again on what that one stored.

        For changes that merging cannot make: those that depend on what they read. *change* must be safe to run
        again, up to *attempts* times; then `SessionConflict`. An exception from it discards and is raised.
        Returns the committed session: its ``token`` is what to hand the client; ``status`` is DESTROYED if nothing was
        stored because the session ended meanwhile.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> def take_turns(s: Session) -> None:
        ...     s.put_string("player", "O" if s.get_string("player") == "X" else "X")
        >>> s = manager.update(None, take_turns)
        >>> manager.update(s.token, take_turns).get_string("player")
        'O'
        """
        plan: Plan[Session] = _lifecycle.update(token, self._raising(attempts), attempts)
        return run(plan, _Updater(self, change), sleep=time.sleep)

    def _begin(self, token: str | None, policy: Policy) -> Session:
        return Session(_lifecycle.begin(token, policy), policy, self._drive)

    def _drive(self, plan: Plan[None]) -> None:
        run(plan, self.store, sleep=time.sleep)


class _Block:
    """A session for one block: committed when it is left, discarded when it is left by an exception."""

    __slots__ = ("_manager", "_policy", "_session", "_token")

    def __init__(self, manager: SessionManager, token: str | None, policy: Policy) -> None:
        self._manager = manager
        self._token = token
        self._policy = policy

    def __enter__(self) -> Session:
        self._session = self._manager._begin(self._token, self._policy)
        return self._session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._manager.discard(self._session)
            return
        try:
            self._manager.commit(self._session)
        except BaseException:
            self._manager.discard(self._session)
            raise


class _Updater:
    """What the plan of an update asks for: a block with the change in it."""

    def __init__(self, manager: SessionManager, change: Callable[[Session], object]) -> None:
        self._manager = manager
        self._change = change

    def attempt(self, token: str | None, policy: Policy) -> Session:
        with _Block(self._manager, token, policy) as s:
            if isawaitable(self._change(s)):
                raise TypeError("change must be a function, not a coroutine function: nobody would await it")
        return s
