"""`SessionManager`: the sessions of an application, one `with` block a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from dynamostore import Store
from dynamostore._instants import Clock, duration_ns
from dynamostore._steps import Plan, run

from . import _lifecycle
from ._lifecycle import OnConflict, Policy
from .codec import Codec, JSONCodec
from .cookies import Cookie
from .session import BaseSession, Session

__all__ = ["SessionManager"]

DAY = timedelta(hours=24)


def make_policy(
    *,
    lifetime: timedelta,
    idle_timeout: timedelta | None,
    touch_after: timedelta | None,
    hash_tokens: bool,
    on_conflict: OnConflict,
    codec: Codec,
    clock: Clock,
) -> Policy:
    """The policy of a manager's arguments; `TypeError` or `ValueError` for those that make no sense."""
    lengths = {"lifetime": lifetime, "idle_timeout": idle_timeout, "touch_after": touch_after}
    for name, length in lengths.items():
        if length is None:
            continue
        if not isinstance(length, timedelta):
            raise TypeError(f"{name} must be a timedelta, not {type(length).__name__}: timedelta(minutes=20), say")
        if length < timedelta(0) or (length == timedelta(0) and name != "touch_after"):
            raise ValueError(f"{name} must be more than zero")
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
    )


class SessionManager:
    """The sessions of an application, in any `dynamostore.Store`.

    *lifetime*: a session ends that long after it was begun or renewed, however active. *idle_timeout*: it
    ends earlier if no request has looked at it for that long (None: it does not); *touch_after*: a request
    that only looks moves the expiry on if at least that much of the idle timeout is used (default: a tenth),
    so a session may end by that much early. *hash_tokens*: the table's key is the token's SHA-256, so who
    reads the table cannot take over a session; False for a table shared with SCS for Go v0 and v1.
    *on_conflict*, when another request changed the session meanwhile: "merge" makes this one's changes on the
    other's data, "raise" raises `SessionConflict`, "overwrite" lets the last writer win. *codec*: how data
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

    def __init__(
        self,
        store: Store,
        *,
        lifetime: timedelta = DAY,
        idle_timeout: timedelta | None = None,
        touch_after: timedelta | None = None,
        hash_tokens: bool = True,
        on_conflict: OnConflict = "merge",
        codec: Codec | None = None,
        cookie: Cookie | None = None,
        clock: Clock = time.time_ns,
    ) -> None:
        self.store = store
        self.cookie = Cookie() if cookie is None else cookie
        self._policy = make_policy(
            lifetime=lifetime,
            idle_timeout=idle_timeout,
            touch_after=touch_after,
            hash_tokens=hash_tokens,
            on_conflict=on_conflict,
            codec=JSONCodec() if codec is None else codec,
            clock=clock,
        )

    @contextmanager
    def session(self, token: str | None) -> Iterator[Session]:
        """The session of a client's *token*, straight from the client (None: it sent none), for one block.

        Read when it is first looked at; stored when the block is left, if it was changed; discarded when the
        block is left by an exception. An unknown, expired or malformed token gives an empty session, which
        gets a token of its own if something is stored. Raises, at the point of use or on leaving, what the
        store raises, `CorruptSessionError`, and `SessionConflict` if merging is off or impossible.
        """
        s = Session(_lifecycle.begin(token, self._policy), self._policy, self._drive)
        try:
            yield s
            s.save()
        except BaseException:
            _lifecycle.discard(s._state)
            raise
        finally:
            s._state.closed = True

    def set_cookie(self, session: BaseSession) -> str | None:
        """The ``Set-Cookie`` header for the client after its block, or None if it needs none.

        It needs one if its session was created, renewed, destroyed or, with a persistent cookie, prolonged.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore(), cookie=Cookie(persist=False))
        >>> with manager.session(None) as s:
        ...     s.put_int("user_id", 7)
        >>> manager.set_cookie(s).replace(s.token, "<token>")
        'session=<token>; Path=/; Secure; HttpOnly; SameSite=Lax'
        """
        state = session._state
        if state.token is None or state.record is None:
            ended = state.gone or (state.loaded and state.presented is not None)
            return self.cookie.clear() if ended and state.token is None else None
        if state.token == state.presented and not (self.cookie.persist and state.prolonged):
            return None
        return self.cookie.set(state.token, state.record.expiry, self._policy.clock())

    def _drive(self, plan: Plan[None]) -> None:
        run(plan, self.store, sleep=time.sleep)
