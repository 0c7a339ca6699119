"""`FlaskSession`: a session with the attributes of Flask's own sessions."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from flask.sessions import SessionMixin

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from session._policy import Policy
from session._state import Deadline, State, Status
from session.data import SessionData
from session.draft import Draft
from session.errors import SessionConflict
from session.manager import SessionManager
from session.session import Session

from ._runs import Runs

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from werkzeug.exceptions import HTTPException

__all__ = ["Answer", "FlaskSession"]

Answer: TypeAlias = "ResponseReturnValue | HTTPException"
"""The return value of an error handler."""

T = TypeVar("T")

# Flask-Login's `logout_user` sets this value. Its `after_request` function then removes the "remember me" cookie.
_REMEMBER: Final = "_remember"
_CLEAR: Final = "clear"

_log = logging.getLogger("session.web")


class FlaskSession(Session, SessionMixin):
    """The type of ``flask.session``: a `session.session.Session` with the attributes of Flask's own sessions.

    The first access to its data, `new` or `permanent` reads the session. It is stored before the response is sent.
    """

    def __init__(
        self, manager: SessionManager, state: State, policy: Policy, *, unchecked: Policy, runs: Runs | None = None
    ) -> None:
        super().__init__(state, policy, manager._drive)
        self._persist = manager.cookie.persist
        self._unchecked = unchecked
        self._runs = runs
        self._accessed = False
        self._failed = False
        self._shown = False
        self._answers = False
        self._unread: StoreError | None = None
        self._outage: Exception | None = None
        self._outage_answer: Answer | None = None
        self._scratch: Draft | None = None
        self._request_is_over = False

    def save(self) -> None:
        """Commit now and keep the session open. See `Session.save <session.session.Session.save>`."""
        self._choose_policy()
        # Flask-Login's value is only for this request, and must not create a new session.
        clears = self._state.destroying and self._clears_login_cookie()
        if clears:
            self._drop(_REMEMBER)
        try:
            super().save()
        except SessionConflict:
            self._shown = True
            raise
        finally:
            if clears:
                self._put(_REMEMBER, Hidden(_CLEAR))

    def destroy(self) -> None:
        """Delete the session. See `Session.destroy <session.session.Session.destroy>`.

        You may call Flask-Login's ``logout_user`` before or after it. The "remember me" cookie is removed in both cases.
        """
        clears = self._clears_login_cookie()
        super().destroy()
        if clears:
            self._put(_REMEMBER, Hidden(_CLEAR))

    def renew_token(self, *, grace: bool = False, deadline: Deadline = "new") -> None:
        """Give the session a new token. See `Session.renew_token <session.session.Session.renew_token>`."""
        self._open()
        super().renew_token(grace=grace, deadline=deadline)

    def set_deadline(self, deadline: datetime) -> None:
        """End the session at *deadline*. See `Session.set_deadline <session.session.Session.set_deadline>`."""
        self._open()
        super().set_deadline(deadline)

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """Set the session's own idle timeout. See `Session.set_idle_timeout <session.session.Session.set_idle_timeout>`."""
        self._open()
        super().set_idle_timeout(idle_timeout)

    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on the stored data and store the result. See `Session.atomic <session.session.Session.atomic>`."""
        self._choose_policy()
        try:
            return super().atomic(change)
        except SessionConflict:
            self._shown = True
            raise

    def _choose_policy(self) -> None:
        # Flashed messages may make a request stale only if it can run again.
        if self._state.stored or not self._state.rerun:
            self._policy = self._unchecked

    @property
    def new(self) -> bool:  # type: ignore[override]  # a plain attribute in SessionMixin; here it is read-only
        """True if no session is stored for this client. Loads the session, but does not count as a read."""
        self._reading()
        return self._state.record is None or self._state.destroying

    @property
    def modified(self) -> bool:
        """True if this request has changed or destroyed the session. Setting it does nothing.

        The session notices changes by itself, also within a list or dict. A value that was changed back is not a change.
        """
        return self.status is not Status.UNMODIFIED

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """True if the session was loaded. From Flask 3.1.3 on, also if it was used in any other way."""
        return self._accessed or self._state.looked

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._accessed = value

    @property
    def permanent(self) -> bool:
        """True if the app made this session permanent, by `remember` or this property, now or in an earlier request.

        The manager's ``Cookie(persist=...)`` does not count. Flask-Login protects a permanent session less, so only the app
        may make a session permanent.

        Setting it calls `remember` if that makes a difference. It does not create a session, and does not change how long
        the session lives, which is the manager's *lifetime*. Getting it loads the session, but does not count as a read.
        """
        return self.remembered is True

    @permanent.setter
    def permanent(self, value: bool) -> None:
        value = bool(value)
        remembered = self.remembered
        is_so = not value and not self._persist if remembered is None else remembered is value
        # An app may set it before each request. That must not write each time.
        if not is_so:
            self.remember(value)

    def __bool__(self) -> bool:
        """Return True if the session has any keys."""
        draft = self._reading()
        # Flask-Login calls this before it reads its own keys. If a login key is present, read only that key: a login that
        # reads nothing else can start its own session if another request renews this one first.
        there = self._policy.login_keys & draft.data.keys()
        return draft.has(min(there)) if there else draft.any()

    def _clears_login_cookie(self) -> bool:
        # The value is set and used within one request, so never load the session for it.
        state = self._state
        return state.loaded and state.draft.data.get(_REMEMBER) == _CLEAR

    def _load(self) -> None:
        if self._unread is not None and self._unread is self._outage:
            # Do not call the store again while the answer is made: each call could wait for the client's timeouts.
            raise self._unread
        try:
            super()._load()
        except StoreError as error:
            self._unread = error
            raise

    def _end_request(self) -> None:
        """Mark the request as over. A test may still look at the session.

        Some reads also change the session, such as those of flashed messages and of Flask-Login's user. They work on a copy.
        """
        self._request_is_over = self._state.closed

    def _reading(self) -> Draft:
        if not self._request_is_over:
            return super()._reading()
        if self._scratch is None:
            self._scratch = Draft(copy.deepcopy(super()._reading().data))
        return self._scratch

    def _changing(self) -> Draft:
        if not self._request_is_over:
            return super()._changing()
        _log.debug(
            "a session was changed after the end of its request; the change is visible to the test, but is not stored"
        )
        return self._reading()
