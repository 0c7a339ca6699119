"""A browser on two sites, with this session engine and with Django's database back end: it sees no difference, at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import SessionConflict, SessionManager
from session.web.django import SessionStore

KEYS = st.sampled_from(["a", "b", "cart"])
VALUES = st.one_of(st.integers(0, 2), st.sampled_from(["", "x"]), st.lists(st.integers(0, 1), max_size=2), st.none())
BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
AGE = 60
EXPIRIES = st.sampled_from([None, 0, 10, 100, timedelta(seconds=30), BEGINNING + timedelta(seconds=90)])


class SameAsTheDatabaseBackEnd(RuleBasedStateMachine):
    """A browser whose requests go to two sites, with this engine and with Django's: it sees no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Sequence[SessionBase] = ()
        self.clock = FakeClock(BEGINNING)
        store = MemoryStore(clock=self.clock)
        self.settings: list[AbstractContextManager[object]] = [
            override_settings(SESSION_MANAGER=SessionManager(store, clock=self.clock), SESSION_COOKIE_AGE=AGE),
            patch("django.utils.timezone.now", lambda: self.clock.now),
        ]
        for setting in self.settings:
            setting.__enter__()

    @initialize(save_every_request=st.booleans())
    def begin(self, save_every_request: bool) -> None:
        self.save_every_request = save_every_request
        self.keys: list[str | None] = [None, None]
        self.next_request()

    def next_request(self) -> None:
        self.logged_out = self.cycled = False
        self.pair = [SessionStore(self.keys[0]), db.SessionStore(self.keys[1])]

    # What cycle_key did is stored already with Django's, and here it is not.
    @precondition(lambda self: not self.cycled)
    @rule(seconds=st.integers(1, 61))
    def wait(self, seconds: int) -> None:
        # Not to the moment at which a session ends: here it lives in that one still, with Django's it does not.
        self.clock.advance(timedelta(seconds=seconds, microseconds=1))
        self.abandon_what_has_expired()

    @rule()
    def wait_between_requests(self) -> None:
        self.end_request()
        self.wait(AGE - 1)

    def abandon_what_has_expired(self) -> None:
        """Begin another request if the session has expired in this one: Django's would bring it back."""
        ours, theirs = (s._session_key is not None and not lives(s) for s in self.pair)
        assert ours == theirs
        if ours:
            self.next_request()

    def both(self, do: Callable[[Any], object]) -> object:
        results = []
        for session in self.pair:
            try:
                results.append(do(session))
            except KeyError:
                results.append(KeyError)
        assert results[0] == results[1]
        return results[0]

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.both(lambda s: (s.get(key), key in s, s.has_key(key), s.get(key, "default")))

    @rule(key=KEYS)
    def item(self, key: str) -> None:
        self.both(lambda s: s[key])

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: object) -> None:
        self.both(lambda s: s.__setitem__(key, value))

    @rule(key=KEYS)
    def delete_item(self, key: str) -> None:
        self.both(lambda s: s.__delitem__(key))

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        self.both(lambda s: s.pop(key))

    @rule(key=KEYS)
    def pop_or(self, key: str) -> None:
        self.both(lambda s: s.pop(key, "default"))

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: str, value: object) -> None:
        self.both(lambda s: s.setdefault(key, value))

    @rule(values=st.dictionaries(KEYS, VALUES))
    def update(self, values: dict[str, object]) -> None:
        self.both(lambda s: s.update(values))

    @rule(key=KEYS)
    def append(self, key: str) -> None:
        def append(session: Any) -> None:
            if isinstance(session.get(key), list):
                session[key].append(7)
                if isinstance(session, db.SessionStore):
                    session.modified = True

        self.both(append)

    # Django's does not look whether it is still there, so the rule does.
    @precondition(lambda self: not self.logged_out)
    @rule()
    def clear(self) -> None:
        self.both(lambda s: (s.get("a"), s.clear()))

    @rule()
    def use_the_test_cookie(self) -> None:
        self.both(lambda s: s.set_test_cookie())
        self.both(lambda s: s.test_cookie_worked())

    @precondition(lambda self: not self.cycled)
    @rule()
    def dismiss(self) -> None:
        for session in self.pair:
            session.modified = False

    @rule()
    def force_a_save(self) -> None:
        for session in self.pair:
            session.modified = True

    @precondition(lambda self: not self.logged_out)
    @rule()
    def save(self) -> None:
        saved = self.both(save)
        self.cycled = False
        # After that neither stores anything.
        self.next_request() if saved == "gone" else self.abandon_what_has_expired()

    @rule()
    def flush(self) -> None:
        self.both(lambda s: s.flush())
        self.logged_out = self.cycled = False

    # Django's brings back what was logged out elsewhere.
    @precondition(lambda self: not self.logged_out)
    @rule()
    def cycle_key(self) -> None:
        self.cycled = True
        before = [session._session_key for session in self.pair]
        self.both(lambda s: s.cycle_key())
        for session, key in zip(self.pair, before, strict=True):
            assert session._session_key not in (None, key)
        # Here the old key is another's until the save, but for this request it is none.
        assert not self.pair[0].exists(before[0])  # type: ignore[arg-type]  # Django's own takes None
        assert not lives(db.SessionStore(before[1]))

    @precondition(lambda self: not self.logged_out)
    @rule()
    def create(self) -> None:
        self.both(lambda s: s.create())
        self.abandon_what_has_expired()

    @rule(expiry=EXPIRIES)
    def set_expiry(self, expiry: Any) -> None:
        self.both(lambda s: s.set_expiry(expiry))

    @rule()
    def expiry(self) -> None:
        self.both(lambda s: s.get_expire_at_browser_close())
        ages = [session.get_expiry_age() for session in self.pair]
        assert abs(ages[0] - ages[1]) <= 1

    # Here a login that is under way is lost with it; Django's has stored it already.
    @precondition(lambda self: self.keys[0] is not None and not self.cycled)
    @rule()
    def log_out_elsewhere(self) -> None:
        for session, key in zip(self.pair, self.keys, strict=True):
            type(session)(key).flush()
        self.logged_out = True

    @rule()
    def end_request(self) -> None:
        """What Django's middleware does."""
        for i, session in enumerate(self.pair):
            if self.keys[i] is not None and session.is_empty():
                self.keys[i] = None
            elif (session.modified or self.save_every_request) and not session.is_empty():
                try:
                    session.save()
                except (UpdateError, SessionConflict):
                    # Nothing is stored, the cookie stays.
                    continue
                self.keys[i] = session._session_key
        self.next_request()

    @rule()
    def look(self) -> None:
        ours, theirs = (dict(s.items()) for s in self.pair)
        assert without_expiry(ours) == without_expiry(theirs)
        assert ("_session_expiry" in self.pair[0]) == ("_session_expiry" in self.pair[1])

    @invariant()
    def both_say_the_same_of_themselves(self) -> None:
        if self.pair:
            ours, theirs = ((s.accessed, s.modified, s.is_empty(), s._session_key is None) for s in self.pair)
            assert ours == theirs

    @invariant()
    def both_are_there_or_neither_is(self) -> None:
        if self.pair and not self.cycled:
            ours, theirs = (type(s)(s._session_key) for s in self.pair)
            assert without_expiry(ours.load()) == without_expiry(theirs.load())
            assert (ours._session_key is None) == (theirs._session_key is None)

    def teardown(self) -> None:
        try:
            if self.pair:
                self.end_request()
                self.look()
        finally:
            for setting in reversed(self.settings):
                setting.__exit__(None, None, None)


def lives(session: SessionBase) -> bool:
    """Return True if another request would find the session."""
    found = type(session)(session._session_key)
    found.load()
    # The key of a session that has expired is dropped.
    return found._session_key is not None


def without_expiry(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "_session_expiry"}


def save(session: SessionBase) -> str:
    try:
        session.save()
    except UpdateError:
        return "gone"
    return "saved"


def test_a_browser_sees_no_difference_to_djangos_database_back_end() -> None:
    call_command("migrate", verbosity=0)
    try:
        run_state_machine_as_test(SameAsTheDatabaseBackEnd, settings=settings(stateful_step_count=30))
    finally:
        connections.close_all()
