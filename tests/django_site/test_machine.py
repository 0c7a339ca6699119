"""A browser on two sites, with this session engine and with Django's cache back end: it sees no difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.backends import cache
from django.contrib.sessions.backends.base import SessionBase, UpdateError
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
from session import SessionConflict, SessionManager
from session.web.django import SessionStore

KEYS = st.sampled_from(["a", "b", "cart"])
VALUES = st.one_of(st.integers(0, 2), st.sampled_from(["", "x"]), st.lists(st.integers(0, 1), max_size=2), st.none())
EXPIRIES = st.sampled_from([None, 0, 3600, timedelta(hours=1), datetime(2100, 1, 1, tzinfo=UTC)])


class SameAsTheCacheBackEnd(RuleBasedStateMachine):
    """A browser whose requests go to two sites, with this engine and with Django's: it sees no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.pair: Sequence[SessionBase] = ()

    @initialize()
    def begin(self) -> None:
        self.keys: list[str | None] = [None, None]
        self.next_request()

    def next_request(self) -> None:
        self.logged_out = self.cycled = False
        self.pair = [SessionStore(self.keys[0]), cache.SessionStore(self.keys[1])]

    def both(self, do: Callable[[Any], object]) -> None:
        results = []
        for session in self.pair:
            try:
                results.append(do(session))
            except KeyError:
                results.append(KeyError)
        assert results[0] == results[1]

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
                if isinstance(session, cache.SessionStore):
                    session.modified = True

        self.both(append)

    # Django's does not look whether it is still there.
    @precondition(lambda self: not self.logged_out)
    @rule()
    def clear(self) -> None:
        self.both(lambda s: s.clear())

    @rule()
    def flush(self) -> None:
        self.both(lambda s: s.flush())
        self.logged_out = self.cycled = False

    # Django's brings back what was logged out elsewhere.
    @precondition(lambda self: not self.logged_out)
    @rule()
    def cycle_key(self) -> None:
        self.cycled = True
        before = [session.session_key for session in self.pair]
        self.both(lambda s: s.cycle_key())
        for session, key in zip(self.pair, before, strict=True):
            assert session.session_key not in (None, key)
            assert not session.exists(key)  # type: ignore[arg-type]  # Django's own takes None

    @precondition(lambda self: not self.logged_out)
    @rule()
    def create(self) -> None:
        self.both(lambda s: s.create())

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
            elif session.modified and not session.is_empty():
                try:
                    session.save()
                except (UpdateError, SessionConflict):
                    # Nothing is stored, the cookie stays.
                    continue
                self.keys[i] = session.session_key
        self.next_request()

    @rule()
    def look(self) -> None:
        ours, theirs = ({k: v for k, v in s.items() if k != "_session_expiry"} for s in self.pair)
        assert ours == theirs
        assert ("_session_expiry" in self.pair[0]) == ("_session_expiry" in self.pair[1])

    @invariant()
    def what_is_modified_here_is_there(self) -> None:
        if self.pair and self.pair[0].modified:
            assert self.pair[1].modified

    def teardown(self) -> None:
        if self.pair:
            self.end_request()
            self.look()


def test_a_browser_sees_no_difference_to_djangos_cache_back_end() -> None:
    with override_settings(SESSION_MANAGER=SessionManager(MemoryStore())):
        run_state_machine_as_test(SameAsTheCacheBackEnd, settings=settings(stateful_step_count=30))
