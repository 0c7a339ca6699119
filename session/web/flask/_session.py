"""`FlaskSession`: a session with the attributes that Flask's have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask.sessions import SessionMixin

from session._policy import Policy
from session._state import State, Status
from session.data import SessionData
from session.errors import SessionConflict
from session.manager import SessionManager
from session.session import Session

from ._runs import Runs

__all__ = ["FlaskSession"]

T = TypeVar("T")


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

    def save(self) -> None:
        """Commit now, and go on, as `Session.save <session.session.Session.save>` does."""
        self._choose_policy()
        try:
            super().save()
        except SessionConflict:
            self._shown = True
            raise

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
        """True if the cookie outlives the browser: the last argument of `remember`, or the manager's ``Cookie(persist=...)``.

        Setting it calls `remember`, if that makes a difference. It has no effect on how long the session lives: that
        is the manager's *lifetime*. To get it loads the session, and does not count as a read.
        """
        remembered = self.remembered
        return self._persist if remembered is None else remembered

    @permanent.setter
    def permanent(self, value: bool) -> None:
        # An app that says so before each request would otherwise store a session for each visitor.
        if self.permanent != bool(value):
            self.remember(bool(value))
