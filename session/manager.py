"""`SessionManager`: open and commit sessions, one ``with`` block per request. `BaseSessionManager`: the parts without I/O."""

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
    """The settings and the cookie handling that sync and async managers share."""

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
            raise TypeError(f"cookie must be a Cookie, not {type(cookie).__name__}; pass Cookie(name=...)")
        self.store: S = store
        self.cookie: Cookie = Cookie() if cookie is None else cookie
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
        """Return the ``Set-Cookie`` header to send after the session is stored, or None if the cookie stays as it is.

        The header sets the cookie if the session was created or renewed, if a persistent cookie's expiry moved, or if
        `remember <session.Session.remember>` changed. It deletes the cookie if this request destroyed the session. If
        another request destroyed it, that request's response deletes the cookie; this one could delete a new login's.
        Raises `SessionError` inside the block if the session has unsaved changes.

        >>> from dynamostore import MemoryStore
        >>> manager = SessionManager(MemoryStore(), cookie=Cookie(persist=False))
        >>> with manager.session(None) as s:
        ...     s.put_int("user_id", 7)
        >>> manager.set_cookie(s).replace(s.token, "<token>")
        'session=<token>; Path=/; Secure; HttpOnly; SameSite=Lax'
        """
        state = session._state
        if not state.closed and (state.destroying or state.changed):
            raise SessionError(
                "set_cookie: the session is not stored yet; call it after the block, or call save() first"
            )
        if state.token is None or state.record is None:
            return (
                self.cookie.clear() if state.destroyed and state.token is None and state.presented is not None else None
            )
        persist = self.cookie.persist if state.kept is None else state.kept
        if state.token == state.presented:
            # Within a renewal's grace, the request that renewed the session sends the new token.
            outdated = state.record.token != self._policy.key(state.token)
            persisted = self.cookie.persist if state.found is None else state.found
            if outdated or not ((persist and state.prolonged) or persist != persisted):
                return None
        return self.cookie.set(state.token, state.record.expiry, self._policy.clock(), persist=persist)

    def headers(self, session: BaseSession, headers: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """Return a response's *headers* with the session's headers added. Call it after the session is stored or discarded.

        - ``Set-Cookie``, if the cookie changes (see `set_cookie`).
        - ``Vary: Cookie``, if the response may depend on the cookie: the app accessed the session or its token.
        - ``Cache-Control: no-cache="Set-Cookie"`` beside a cookie, so that no cache sends it to other clients
          (RFC 9111, 5.2.2.4).

        The app's own values of these headers are kept.

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
        """Return the client's token from a request's ``Cookie`` header, or None if it has no session cookie.

        A client may send several cookies of this name, and some may belong to another application. This method returns the
        first value that is well-formed as a token; browsers send the cookie with the longest path first. The returned str
        remembers up to three further tokens: the manager opens the session of the first token that has one, and
        `destroy <session.Session.destroy>` deletes the sessions of all of them. Makes no call to the store.

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
        # A value that is not well-formed still shows that the client has a cookie, which `destroy` deletes.
        return _state.choose_token(self.cookie.values(cookies))

    def _drop(self, session: BaseSession) -> None:
        """Discard unsaved changes and close *session*, without a call to the store."""
        session._state.closed = True
        _state.discard(session._state)

    def _visiting(self, attempts: int) -> Policy:
        """Return the policy of `iterate`."""
        return self._rerunning(attempts).visiting()

    def _rerunning(self, attempts: int) -> Policy:
        """Return the policy of `update`: every read counts, and a conflict raises so that the change runs again."""
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        return self._policy.rerunning()


class SessionManager(BaseSessionManager[Store]):
    """Open and commit the sessions of an application, stored in any `dynamostore.Store`.

    Create one manager per process; threads may share it. Raises `TypeError` or `ValueError` for invalid settings:

    - *lifetime* (timedelta): a session ends this long after it was created or renewed, even if it is in use.
      Default: 24 hours.
    - *idle_timeout* (timedelta): a session ends earlier if no request accesses it for this long. None: no idle timeout.
    - *touch_after* (timedelta): a request that only reads extends the expiry once at least this much of the idle timeout
      is used. So a session may end early by up to this much. Default: a tenth of *idle_timeout*.
    - *hash_tokens* (bool): use the token's SHA-256 as the table key, so that read access to the table is not enough to take
      over a session. Set it to False for a table shared with SCS for Go v0 and v1.
    - *on_conflict* (str): the policy if another request changed the session first; see below.
    - *mergeable* (mapping): keys that two requests may both change, each with the way to merge their values: "merge",
      "add", "latest", or a function of base, ours and theirs.
    - *login_keys*: keys that a login request may read. If another request renews the session first, the login then starts
      its own session instead of raising `SessionConflict`.
    - *renewal_grace* (timedelta): for this long after ``renew_token(grace=True)``, requests with the old token still read
      and change the renewed session. A few seconds are enough. None: the old token stops working at once.
    - *on_corrupt*: "raise" raises `CorruptSessionError`, or the store's `CorruptRecordError
      <dynamostore.CorruptRecordError>`, for a session that cannot be decoded. "reset" logs it and treats it as missing.
    - *codec* (Codec): converts session data to bytes and back. Default: `JSONCodec`.
    - *cookie* (Cookie): the cookie's name and attributes. Default: ``Cookie()``.
    - *clock*: a function that returns Unix time in nanoseconds. The store has its own clock.

    If another request changed the session first, *on_conflict* decides what a commit does:

    - "merge": apply this request's changes to the stored data. Raise `SessionConflict` if this request read a key that
      the other changed, unless this request overwrote that key.
    - "serialize": raise if this request read any key that the other changed. Committed requests are strictly serializable.
    - "raise": raise in any case.
    - "overwrite": the last writer wins.
    - "merge_unchecked": merge without checking reads. If two requests decide on each other's keys, they can together
      store a state that neither would have allowed.
    - "report": as "merge_unchecked", and log a warning wherever "merge" would raise.

    >>> from dynamostore import MemoryStore
    >>> manager = SessionManager(MemoryStore(), lifetime=timedelta(days=14), idle_timeout=timedelta(hours=1))
    >>> with manager.session(None) as s:
    ...     s.put_int("user_id", 7)
    >>> with manager.session(s.token) as s:
    ...     s.get_int("user_id")
    7
    """

    def session(self, token: str | None) -> AbstractContextManager[Session]:
        """Open the session of *token* for one ``with`` block, and commit it when the block ends.

        Pass the client's token unchecked, or None if the client sent no token. The session is read at its first access and
        stored at the end of the block if it changed. If the block raises, the changes are discarded, except for a
        `destroy <session.Session.destroy>`. An unknown, expired or malformed token gives an empty session; it gets a new token
        when something is stored.

        The first access and the end of the block may raise a `StoreError <dynamostore.StoreError>` or
        `CorruptSessionError`. The end of the block may also raise `SessionConflict`, if the request is stale.
        """
        return _Block(self, token, self._policy)

    def load(self, token: str | None) -> Session:
        """Return the session of a client's *token*, for callers that cannot use a ``with`` block.

        Call `commit` or `discard` afterwards. The session is read at its first access, as with `session`.

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
        """Store the changes in *session*, if any, and close it. Raises the same errors as the end of a block."""
        session.save()
        session._state.closed = True

    def discard(self, session: Session) -> None:
        """Discard the unsaved changes in *session* and close it. Do nothing if it is closed.

        A pending `destroy <session.Session.destroy>` is still carried out, and may raise a `StoreError
        <dynamostore.StoreError>`.
        """
        if session._state.closed:
            return
        session._state.closed = True
        self._drive(lifecycle.abandon(session._state, session._policy))

    def update(self, token: str | None, change: Callable[[Session], object], *, attempts: int = 10) -> Session:
        """Run ``change(session)`` and commit. If another request changed a key that it read, run it again on the new data.

        Use it for changes that depend on values they read: every read counts, as in "serialize". *change* must be safe to
        run up to *attempts* times; after the last conflict, `SessionConflict` is raised. An exception from *change* discards
        the changes and propagates.

        Returns the committed session. Send its ``token`` to the client. Its ``status`` is DESTROYED if another request ended
        the session first, so nothing was stored.

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
        """Run ``change(session)`` on every stored session and commit each one. Return the number of sessions visited.

        Sessions are visited in no particular order and in bounded memory. A session that is created or ends meanwhile may
        or may not be visited. Each is committed as by `update`: on a conflict, *change* runs again, at most *attempts* times
        in total. A visit does not count as activity, so the expiry stays. ``session.token`` is the table key, which is not the
        client's token if tokens are hashed. Corrupt sessions are logged and skipped. An exception from *change* stops the
        iteration; the sessions visited before it stay stored.

        *records*: the records to visit, to limit the rate or scan in parallel: ``Batch(store, rate=50).scan(segments=4)``.
        Default: all records of a `DynamoStore <dynamostore.DynamoStore>`, or of any store with a ``records()`` method.
        Raises `TypeError` for a store without that method.

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
    """A session for one block: committed at its end, discarded if the block raises."""

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
        """Discard the session without replacing *error*, which is propagating."""
        try:
            self._manager.discard(self._session)
        except StoreError as failure:
            note_failed_destroy(error, failure)


class _Updater:
    """Performs the calls of the `lifecycle.update` plan: run the change in a block."""

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
    """Performs the calls of the `lifecycle.visit` plan: run the change in a block, and ``find`` records in the store."""

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
    """Report that a failed request called ``destroy``, but the session is still stored."""
    _log.error("the request failed, and the session could not be destroyed: %s", failure)
    error.add_note(f"the session could not be destroyed: {failure}")
