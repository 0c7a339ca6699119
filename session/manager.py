"""`SessionManager`: the sessions of an application, one `with` block a request. `BaseSessionManager`: all but the I/O."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from inspect import isawaitable
from types import TracebackType
from typing import ClassVar, Generic, TypeVar

from dynamostore import Record, Store, StoreError
from dynamostore.hidden import Hidden, clears_frames
from dynamostore.instants import Clock
from dynamostore.misuse import check_store
from dynamostore.process_bound import ProcessBound
from dynamostore.steps import Plan, run

from . import _state
from ._headers import add_session
from ._policy import OnConflict, OnCorrupt, Policy, make_policy
from .codecs import Codec, JSONCodec
from .cookies import Cookie
from .errors import SessionError
from .listing import records_of
from .mergeable import Merge
from .plans import lifecycle
from .session import BaseSession, Session

__all__ = ["BaseSessionManager", "SessionManager"]

S = TypeVar("S")
T = TypeVar("T")

DAY = timedelta(hours=24)

_log = logging.getLogger("session")


@clears_frames("set_cookie", "headers", "token")
class BaseSessionManager(ProcessBound, Generic[S], instead="make one in each process, on a store of its own"):
    """The settings and the cookie: what sync and async managers have in common."""

    _awaited: ClassVar[bool] = False

    def __init__(
        self,
        store: S,
        *,
        lifetime: timedelta = DAY,
        idle_timeout: timedelta | None = None,
        touch_after: timedelta | None = None,
        hash_tokens: bool = True,
        on_conflict: OnConflict = "merge",
        mergeable: Mapping[str, Merge] | None = None,
        login_keys: Iterable[str] = (),
        renewal_grace: timedelta | None = None,
        on_corrupt: OnCorrupt = "raise",
        codec: Codec | None = None,
        cookie: Cookie | None = None,
        clock: Clock = time.time_ns,
    ) -> None:
        check_store(store, "AsyncSessionManager" if self._awaited else "SessionManager", awaited=self._awaited)
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
            mergeable=mergeable,
            login_keys=login_keys,
            renewal_grace=renewal_grace,
            on_corrupt=on_corrupt,
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
        session was looked at, or its token. ``Cache-Control: no-cache="Set-Cookie"`` beside a cookie, so that no cache hands it to others
        (RFC 9111, 5.2.2.4). What the app says of these itself stands.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as s:
        ...     s.get_int("visits")
        0
        >>> manager.headers(s, [("Vary", "Accept")])
        [('Vary', 'Accept, Cookie')]
        """
        looked = session._state.looked or session._state.token_read
        return add_session(headers, self.set_cookie(session), looked=looked)

    def token(self, cookies: str | None) -> str | None:
        """The client's token in its request's ``Cookie`` header; None if there is none.

        Of several cookies of one name, the first that could hold a token: browsers send the one with the longest path
        first, and another application's may be among them. The str that is returned remembers up to three others: the session
        is that of the first that leads to one, and `destroy <session.Session.destroy>` ends all of theirs. Reads nothing.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as s:
        ...     s.put_string("user", "ada")
        >>> unknown = "A" * 43
        >>> token = manager.token(f"theme=dark; session=7; session={unknown}; session={s.token}")
        >>> token == unknown
        True
        >>> with manager.session(token) as s:
        ...     s.get_string("user")
        'ada'
        """
        # One that is not ours tells that there is a cookie, to be cleared some day.
        return _state.choose_token(self.cookie.values(cookies))

    def _drop(self, session: BaseSession) -> None:
        """Forget what was not saved, and close *session*, without a call to the store."""
        session._state.closed = True
        _state.discard(session._state)

    def _visiting(self, attempts: int) -> Policy:
        """Return the policy of `iterate`."""
        return self._rerunning(attempts).visiting()

    def _rerunning(self, attempts: int) -> Policy:
        """Return the policy of `update`: every read counts, and a conflict is raised for the change to be run again."""
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        return self._policy.rerunning()


class SessionManager(BaseSessionManager[Store]):
    """The sessions of an application, in any `dynamostore.Store`.

    *lifetime*: a session ends that long after it was begun or renewed, however active. *idle_timeout*: it
    ends earlier if no request has looked at it for that long (None: it does not); *touch_after*: a request
    that only looks moves the expiry on if at least that much of the idle timeout is used (default: a tenth),
    so a session may end by that much early. *hash_tokens*: the table's key is the token's SHA-256, so who
    reads the table cannot take over a session; False for a table shared with SCS for Go v0 and v1.
    *on_conflict*, when another request changed the session meanwhile: "merge" makes this one's changes on the other's data,
    and raises `SessionConflict` if this one read a key that the other changed, and did not overwrite it; "serialize" raises if
    this one read any key that the other changed, so that committed requests are strictly serializable; "raise" raises in any
    case; "overwrite" lets the last writer win; "merge_unchecked" merges without looking at reads, so two requests that decide
    on each other's keys may together store a state that neither of them would have allowed; "report" does the same and logs a
    warning wherever "merge" would raise. *mergeable*: keys that two requests may both change, each with how their values become one: "merge",
    "add", "latest" or a function of base, ours and theirs. *login_keys*: keys that a login may have read and still begin a
    session of its own when it loses to another renewal. *renewal_grace*: for so long after a ``renew_token(grace=True)`` (a
    few seconds, say) a request that is under way with the old token reads and changes the renewed session, instead of finding
    none; None: at once only the new token works. *on_corrupt*: a session that cannot be read is a `CorruptSessionError` or the
    store's `CorruptRecordError <dynamostore.CorruptRecordError>` ("raise"), or counts as no session and is logged ("reset").
    *codec*: how data
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

        Read when it is first accessed; stored when the block is left, if it was changed; discarded when the
        block is left by an exception, but for a `destroy <session.Session.destroy>`. An unknown, expired or malformed token
        gives an empty session, which gets a token of its own if something is stored. Raises, at the point of use or on
        leaving, what the store raises, `CorruptSessionError`, and `SessionConflict` if the request is stale.
        """
        return _Block(self, token, self._policy)

    def load(self, token: str | None) -> Session:
        """Return the session of a client's *token*, for callers without a block: `commit` or `discard` it.

        Read when it is first accessed, as in `session`.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> s = manager.load(None)
        >>> s.put_int("user_id", 7)
        >>> manager.commit(s)
        """
        held = Hidden(token)
        del token
        return self._begin(held, self._policy)

    def commit(self, session: Session) -> None:
        """Store the changes in *session*, if any, and close it; raises what leaving a block would."""
        session.save()
        session._state.closed = True

    def discard(self, session: Session) -> None:
        """Forget what was changed in *session* and not saved, and close it; nothing happens if it is closed.

        A pending `destroy <session.Session.destroy>` is carried out, and may raise what the store raises.
        """
        if session._state.closed:
            return
        session._state.closed = True
        self._drive(lifecycle.abandon(session._state, session._policy))

    def update(self, token: str | None, change: Callable[[Session], object], *, attempts: int = 10) -> Session:
        """Run ``change(session)`` and commit; if it read what a faster request changed, run it again on what that one stored.

        For changes that depend on what they read: every read counts, as in "serialize". *change* must be safe to run
        again, up to *attempts* times; then `SessionConflict`. An exception from it discards and is raised.
        Returns the committed session: its ``token`` is for the client; ``status`` is DESTROYED if nothing was
        stored because the session ended meanwhile.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> def take_turns(s: Session) -> None:
        ...     s.put_string("player", "O" if s.get_string("player") == "X" else "X")
        >>> s = manager.update(None, take_turns)
        >>> manager.update(s.token, take_turns).get_string("player")
        'O'
        """
        hidden = Hidden(token)
        del token
        plan: Plan[Session] = lifecycle.update(hidden, self._rerunning(attempts), attempts)
        return run(plan, _Updater(self, change), sleep=time.sleep)

    def iterate(
        self, change: Callable[[Session], object], *, records: Iterable[Record] | None = None, attempts: int = 10
    ) -> int:
        """Run ``change(session)`` on each session there is, and commit it; return the number of sessions.

        In bounded memory, in no order; a session that is begun or ends meanwhile may be among them or not. Each is committed as
        by `update`: if another request was faster, *change* runs again, up to *attempts* times in all. To visit a session is no
        activity, so its expiry stays. ``session.token`` is the table's key: with hashed tokens nobody knows the client's.
        Corrupt sessions are logged, and left out. An exception from *change* ends it; the sessions before are stored.

        *records*: those to go over, for a rate or more segments: ``Batch(store, rate=50).scan(segments=4)``. Without, all
        records of a `DynamoStore <dynamostore.DynamoStore>` or of another store that has a method ``records()``; `TypeError`
        if it has none.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore())
        >>> with manager.session(None) as s:
        ...     s.put_int("user_id", 7)
        >>> def log_out(s: Session) -> None:
        ...     if s.get_int("user_id") == 7:
        ...         s.destroy()
        >>> manager.iterate(log_out)
        1
        """
        policy = self._visiting(attempts)
        visited = 0
        for record in records_of(self.store) if records is None else records:
            visited += run(lifecycle.visit(record, policy, attempts), _Visitor(self, change), sleep=time.sleep)
        return visited

    def _begin(self, token: Hidden[str | None], policy: Policy) -> Session:
        return Session(_state.begin(token, policy), policy, self._drive)

    def _drive(self, plan: Plan[T], /) -> T:
        return run(plan, self.store, sleep=time.sleep)


class _Block:
    """A session for one block: committed when it is left, discarded when it is left by an exception."""

    __slots__ = ("_last", "_manager", "_policy", "_record", "_session", "_token")

    def __init__(
        self,
        manager: SessionManager,
        token: str | None,
        policy: Policy,
        record: Record | None = None,
        *,
        last: _state.State | None = None,
    ) -> None:
        self._manager = manager
        self._token = token
        self._policy = policy
        self._record, self._last = record, last

    def __enter__(self) -> Session:
        if self._record is None:
            self._session = self._manager._begin(Hidden(self._token), self._policy)
        else:
            state = _state.begin_at(self._record, self._policy)
            self._session = Session(state, self._policy, self._manager._drive)
        if self._last is not None:
            _state.keep_to(self._session._state, self._last)
        return self._session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self._manager.commit(self._session)
            except (SessionError, TypeError, ValueError) as failure:
                self._discard(failure)
                raise
            except BaseException:
                self._manager._drop(self._session)
                raise
        else:
            self._discard(error)

    def _discard(self, error: BaseException) -> None:
        """Discard the session while *error* is on its way out, which must not be replaced by another one."""
        try:
            self._manager.discard(self._session)
        except StoreError as failure:
            note_failed_destroy(error, failure)


class _Updater:
    """What the plan of an update asks for: a block with the change in it."""

    def __init__(self, manager: SessionManager, change: Callable[[Session], object]) -> None:
        self._manager = manager
        self._change = change
        self._last: _state.State | None = None

    def attempt(self, token: Hidden[str | None], policy: Policy) -> Session:
        with _Block(self._manager, token.reveal(), policy, last=self._last) as s:
            self._last = s._state
            _call(self._change, s)
        return s


class _Visitor:
    """What the plan of a visit asks for: a block with the change in it, and the store's ``find``."""

    def __init__(self, manager: SessionManager, change: Callable[[Session], object]) -> None:
        self._manager = manager
        self._change = change
        self.find = manager.store.find

    def attempt(self, record: Record, policy: Policy) -> None:
        with _Block(self._manager, None, policy, record) as s:
            _call(self._change, s)


def _call(change: Callable[[Session], object], session: Session) -> None:
    if isawaitable(change(session)):
        raise TypeError("change must be a plain function; use AsyncSessionManager for coroutine functions")


def note_failed_destroy(error: BaseException, failure: StoreError) -> None:
    """Say that the session which a failed request had destroyed is still there."""
    _log.error("the session could not be destroyed, after the request had failed: %s", failure)
    error.add_note(f"the session could not be destroyed: {failure}")
