"""`FlaskSession`: a session with the attributes that Flask's have."""

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
"""The answer of an error handler."""

T = TypeVar("T")

# Flask-Login's note to itself, from `logout_user` to its `after_request` function: that takes its cookie away.
_REMEMBER: Final = "_remember"
_CLEAR: Final = "clear"

_log = logging.getLogger("session.web")


class FlaskSession(Session, SessionMixin):
    """A `session.session.Session` with the attributes that Flask's sessions have; ``flask.session`` is one.

    Read when its data, `new` or `permanent` are first accessed; stored before the response goes out.
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
        self._aside: Draft | None = None
        self._is_over = False

    def save(self) -> None:
        """Commit now, and go on, as `Session.save <session.session.Session.save>` does."""
        self._choose_policy()
        # It ends with this request, and is no value to begin a new session for.
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
        """Delete the session, as `Session.destroy <session.session.Session.destroy>` does.

        Flask-Login's ``logout_user`` may be called before it or after it: its "remember me" cookie goes in either case.
        """
        clears = self._clears_login_cookie()
        super().destroy()
        if clears:
            self._put(_REMEMBER, Hidden(_CLEAR))

    def renew_token(self, *, grace: bool = False, deadline: Deadline = "new") -> None:
        """Give the session a new token, as `Session.renew_token <session.session.Session.renew_token>` does."""
        self._open()
        super().renew_token(grace=grace, deadline=deadline)

    def set_deadline(self, deadline: datetime) -> None:
        """End the session at *deadline*, as `Session.set_deadline <session.session.Session.set_deadline>` does."""
        self._open()
        super().set_deadline(deadline)

    def set_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """Set its own idle timeout, as `Session.set_idle_timeout <session.session.Session.set_idle_timeout>` does."""
        self._open()
        super().set_idle_timeout(idle_timeout)

    def atomic(self, change: Callable[[SessionData], T]) -> T:
        """Run ``change(s)`` on what is stored now, and store it, as `Session.atomic <session.session.Session.atomic>` does."""
        self._choose_policy()
        try:
            return super().atomic(change)
        except SessionConflict:
            self._shown = True
            raise

    def _choose_policy(self) -> None:
        # To refuse a request for a message that it flashes makes sense only if it can be run again.
        if self._state.stored or not self._state.rerun:
            self._policy = self._unchecked

    @property
    def new(self) -> bool:  # type: ignore[override]  # a plain attribute in SessionMixin; nobody is to set it
        """True if no session is stored for this client. It loads the session, and does not count as a read."""
        self._reading()
        return self._state.record is None or self._state.destroying

    @property
    def modified(self) -> bool:
        """True if it was changed or destroyed in this request. Setting it does nothing.

        Changes are noticed by themselves, those within a list or dict, too; what was changed back is no change.
        """
        return self.status is not Status.UNMODIFIED

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """True if it was loaded, or used at all, which Flask notes from 3.1.3 on."""
        return self._accessed or self._state.looked

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._accessed = value

    @property
    def permanent(self) -> bool:
        """True if `remember` or this property was set to True in this session, now or in an earlier request.

        The manager's ``Cookie(persist=...)``, which holds for sessions that said nothing, does not count: extensions take it
        for the app's word, and Flask-Login protects a permanent session less.

        Setting it calls `remember`, if that makes a difference; alone it begins no session. It has no effect on how long the
        session lives: that is the manager's *lifetime*. To get it loads the session, and does not count as a read.
        """
        return self.remembered is True

    @permanent.setter
    def permanent(self, value: bool) -> None:
        value = bool(value)
        remembered = self.remembered
        is_so = not value and not self._persist if remembered is None else remembered is value
        # An app that says so before each request would otherwise write each time.
        if not is_so:
            self.remember(value)

    def __bool__(self) -> bool:
        """Return True if there are any keys."""
        draft = self._reading()
        # Flask-Login asks this before it looks at its own keys. If one of those is there, to see that is enough for the answer,
        # and a login that saw no more may lose to another one and still be a login.
        there = self._policy.login_keys & draft.data.keys()
        return draft.has(min(there)) if there else draft.any()

    def _clears_login_cookie(self) -> bool:
        # Never more than in this request: so there is nothing to be read for it.
        state = self._state
        return state.loaded and state.draft.data.get(_REMEMBER) == _CLEAR

    # When the store cannot be reached

    def _load(self) -> None:
        if self._unread is not None and self._unread is self._outage:
            # The store is not asked again for the answer: each time would cost the client's time-outs.
            raise self._unread
        try:
            super()._load()
        except StoreError as error:
            self._unread = error
            raise

    # When the request is over

    def _end(self) -> None:
        """Note that the request is over, and what follows is a look at what it left, in a test.

        What changes a session as it looks at it (flashed messages, Flask-Login's user) works then, on a copy.
        """
        self._is_over = self._state.closed

    def _reading(self) -> Draft:
        if not self._is_over:
            return super()._reading()
        if self._aside is None:
            self._aside = Draft(copy.deepcopy(super()._reading().data))
        return self._aside

    def _changing(self) -> Draft:
        if not self._is_over:
            return super()._changing()
        _log.debug("a session is changed when its request is over: the change is seen there, and not stored")
        return self._reading()
