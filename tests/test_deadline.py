"""A session's own deadline, and whether its cookie outlives the browser: ``set_deadline`` and ``remember``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import AsyncSessionManager, Cookie, Session, SessionConflict, SessionManager, Status

from .awaited import AwaitedStore, finish
from .counting import CountingStore
from .fakes import StoredSession

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


def now(clock: FakeClock) -> datetime:
    return datetime.fromtimestamp(clock() / 1e9, UTC)


def lives(manager: SessionManager, token: str | None) -> bool:
    with manager.session(token) as s:
        return bool(s)


# The deadline


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
)
def test_a_session_lives_until_its_deadline_and_no_longer(length: timedelta, idle: timedelta | None) -> None:
    clock = FakeClock()
    manager = SessionManager(MemoryStore(clock=clock), idle_timeout=idle, clock=clock)
    with manager.session(None) as s:
        s.put_int("n", 1)
        s.set_deadline(now(clock) + length)
    assert s.deadline == now(clock) + length
    assert s.expiry == now(clock) + min(length, idle or length)
    assert lives(manager, s.token)
    clock.advance(min(length, idle or length) + timedelta(seconds=1))
    assert not lives(manager, s.token)


def test_a_deadline_that_is_moved_is_one_write_and_the_cookie_moves_with_it(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) + 2 * DAY)
        assert s.status is Status.MODIFIED
    assert counted.taken() == ["find", "replace"]
    assert "; Max-Age=172800; " in (manager.set_cookie(s) or "")
    with manager.session(stored.token) as s:
        assert s.deadline == now(clock) + 2 * DAY
        s.set_deadline(now(clock) + 2 * DAY)
        assert s.status is Status.UNMODIFIED
    assert counted.taken() == ["find"]


def test_a_deadline_that_is_over_ends_the_session(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) - HOUR)
    assert not lives(manager, stored.token)


def test_a_deadline_alone_stores_no_new_session(
    manager: SessionManager, counted: CountingStore, clock: FakeClock
) -> None:
    with manager.session(None) as s:
        s.set_deadline(now(clock) + HOUR)
    assert (s.token, counted.taken()) == (None, [])


RENEW: dict[str, Callable[[Session], object]] = {
    "a new lifetime": lambda s: s.renew_token(),
    "with grace": lambda s: s.renew_token(grace=True),
    "the deadline kept": lambda s: s.renew_token(deadline="keep"),
    "twice": lambda s: [s.renew_token() for _ in range(2)],  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("renew", RENEW.values(), ids=RENEW)
@pytest.mark.parametrize("saved", [False, True], ids=["at once", "with a save between"])
@pytest.mark.parametrize("first", ["deadline", "renewal"])
@pytest.mark.parametrize("new", [False, True], ids=["stored", "new"])
def test_a_deadline_that_is_set_stands_before_and_after_a_renewal_in_the_same_request(
    manager: SessionManager,
    stored: StoredSession,
    clock: FakeClock,
    renew: Callable[[Session], object],
    saved: bool,
    first: str,
    new: bool,
) -> None:
    steps: list[Callable[[Session], object]] = [lambda s: s.set_deadline(now(clock) + 30 * DAY), renew]
    with manager.session(None if new else stored.token) as s:
        s.put_int("user_id", 7)
        for step in steps if first == "deadline" else reversed(steps):
            step(s)
            if saved:
                s.save()
        assert s.deadline == now(clock) + 30 * DAY
    assert s.deadline == s.expiry == now(clock) + 30 * DAY
    assert "; Max-Age=2592000; " in (manager.set_cookie(s) or "")
    with manager.session(s.token) as s:
        assert s.deadline == now(clock) + 30 * DAY


def test_a_deadline_that_is_set_before_a_renewal_stands_in_async_code(clock: FakeClock) -> None:
    async def main() -> None:
        manager = AsyncSessionManager(AwaitedStore(MemoryStore(clock=clock)), clock=clock)
        async with manager.session(None) as s:
            s.put_int("user_id", 7)
            s.set_deadline(now(clock) + 30 * DAY)
            s.renew_token()
        assert s.expiry == now(clock) + 30 * DAY

    finish(main())


def test_a_renewal_in_a_later_request_begins_a_new_lifetime_or_keeps_the_deadline(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) + 30 * DAY)
    with manager.session(s.token) as s:
        s.renew_token(deadline="keep")
    assert s.deadline == now(clock) + 30 * DAY
    with manager.session(s.token) as s:
        s.renew_token()
    assert s.deadline == now(clock) + DAY


def test_a_deadline_and_a_renewal_go_onto_what_another_request_stored(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) + 30 * DAY)
        s.renew_token()
        with manager.session(stored.token) as other:
            other.set_deadline(now(clock) + HOUR)
            other.put_int("n", 7)
    with manager.session(s.token) as s:
        assert (s.deadline, s.get_int("n")) == (now(clock) + 30 * DAY, 7)


def test_a_login_that_loses_to_another_renewal_keeps_its_deadline(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.put_int("user_id", 7)
        s.set_deadline(now(clock) + 30 * DAY)
        s.remember(False)
        s.set_idle_timeout(2 * HOUR)
        s.renew_token()
        with manager.session(stored.token) as other:
            other.renew_token()
    with manager.session(s.token) as s:
        assert (dict(s), s.deadline) == ({"user_id": 7}, now(clock) + 30 * DAY)
        assert (s.remembered, s.idle_timeout) == (False, 2 * HOUR)


def test_a_deadline_that_was_discarded_or_destroyed_does_not_stand(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) + 30 * DAY)
        s.destroy()
        s.put_int("user_id", 7)
        s.renew_token()
    assert s.deadline == now(clock) + DAY


@pytest.mark.parametrize("first", ["deadline", "data"])
def test_a_deadline_and_a_change_at_once_are_both_kept(
    manager: SessionManager, stored: StoredSession, clock: FakeClock, first: str
) -> None:
    def deadline(s: Session) -> None:
        s.set_deadline(now(clock) + 2 * DAY)

    def data(s: Session) -> None:
        s.put_string("k", "after")

    slow, fast = (data, deadline) if first == "deadline" else (deadline, data)
    with manager.session(stored.token) as s:
        slow(s)
        with manager.session(stored.token) as other:
            fast(other)
    with manager.session(stored.token) as s:
        assert s.deadline == now(clock) + 2 * DAY
        assert s.get_string("k") == "after"


def test_a_deadline_counts_as_a_change_where_conflicts_are_raised(
    memory: MemoryStore, stored: StoredSession, clock: FakeClock
) -> None:
    manager = SessionManager(memory, on_conflict="raise", clock=clock)
    with pytest.raises(SessionConflict), manager.session(stored.token) as s:
        s.set_deadline(now(clock) + HOUR)
        with manager.session(stored.token) as other:
            other.put_int("n", 7)


def test_a_deadline_is_forgotten_with_what_is_discarded_or_destroyed(
    manager: SessionManager, stored: StoredSession, clock: FakeClock
) -> None:
    s = manager.load(stored.token)
    s.set_deadline(now(clock) + HOUR)
    manager.discard(s)
    assert s.status is Status.UNMODIFIED
    assert stored.now() == stored.record
    with manager.session(stored.token) as s:
        s.set_deadline(now(clock) + HOUR)
        s.destroy()
        s.put_string("farewell", "bye")
    assert s.deadline == now(clock) + DAY


@pytest.mark.parametrize("deadline", [datetime(2030, 1, 1), datetime(9999, 1, 1, tzinfo=UTC), 7, None])  # noqa: DTZ001
def test_what_is_no_deadline_is_refused_and_the_session_stays(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, deadline: Any
) -> None:
    with manager.session(stored.token) as s, pytest.raises((TypeError, ValueError)):
        s.set_deadline(deadline)
    assert counted.taken() == []


# Whether it is remembered


@given(st.booleans(), st.none() | st.booleans(), st.lists(st.booleans(), max_size=3), st.booleans())
def test_what_the_session_was_told_stands_before_the_cookies_settings(
    persist: bool, first: bool | None, then: list[bool], renew: bool
) -> None:
    manager = SessionManager(MemoryStore(), cookie=Cookie(persist=persist))
    with manager.session(None) as s:
        s.put_int("n", 1)
        if first is not None:
            s.remember(first)
    before = persist if first is None else first
    assert ("Max-Age" in (manager.set_cookie(s) or "")) == before
    with manager.session(s.token) as s:
        assert s.remembered is first
        for told in then:
            s.remember(told)
        if renew:
            s.renew_token()
    after = then[-1] if then else before
    header = manager.set_cookie(s)
    assert (header is not None) == (renew or after != before)
    if header is not None:
        assert ("Max-Age" in header) == after


def test_what_another_program_stored_that_is_no_bool_says_nothing_and_stays(
    manager: SessionManager, stored: StoredSession
) -> None:
    stored.put(b'{"data":{"__rememberMe":"yes","n":1},"deadline":8102534735004839040}')
    with manager.session(stored.token) as s:
        assert s.remembered is None
        s.renew_token()
    assert "Max-Age" in (manager.set_cookie(s) or "")
    assert s._state.record is not None
    assert b'"__rememberMe":"yes"' in s._state.record.data


def test_remembering_with_what_is_no_bool_is_refused(manager: SessionManager) -> None:
    told: Any = "yes"
    with manager.session(None) as s, pytest.raises(TypeError, match="wanted bool"):
        s.remember(told)
