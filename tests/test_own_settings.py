"""A session's own settings, `remember` and `set_idle_timeout`: what they do, how they are stored, and that no key shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import (
    AsyncSessionManager,
    Cookie,
    JSONValue,
    OnConflict,
    Session,
    SessionConflict,
    SessionData,
    SessionManager,
    Status,
)

from .awaited import AwaitedStore, finish
from .counting import CountingStore
from .fakes import StoredSession

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
FOREVER = 8102534735004839040


def now(clock: FakeClock) -> datetime:
    return datetime.fromtimestamp(clock() / 1e9, UTC)


def idling(counted: CountingStore, clock: FakeClock, **settings: Any) -> SessionManager:
    """A manager whose sessions idle out after an hour."""
    chosen: dict[str, Any] = {"idle_timeout": HOUR, "lifetime": 30 * DAY, "clock": clock} | settings
    return SessionManager(counted, **chosen)


def begun(manager: SessionManager, *told: Callable[[Session], object]) -> str:
    """The token of a new session that was told things."""
    with manager.session(None) as s:
        s.put_int("n", 1)
        for tell in told:
            tell(s)
    assert s.token is not None
    return s.token


def lives(manager: SessionManager, token: str | None) -> bool:
    with manager.session(token) as s:
        return bool(s)


def stored_data(memory: MemoryStore) -> dict[str, object]:
    """The data of the only session in a store, as it is stored."""
    (record,) = [record for record in memory._records.values() if record.data]
    data: dict[str, object] = json.loads(record.data)["data"]
    return data


# The idle timeout


def remember_for_a_month(s: Session, clock: FakeClock) -> None:
    s.remember()
    s.set_deadline(now(clock) + 30 * DAY)
    s.set_idle_timeout(None)


def test_remember_me_for_a_month_lasts_a_month_however_idle(counted: CountingStore, clock: FakeClock) -> None:
    manager = idling(counted, clock, lifetime=DAY, cookie=Cookie(persist=False))
    with manager.session(None) as s:
        s.put_int("user_id", 7)
        remember_for_a_month(s, clock)
    assert s.expiry == s.deadline == now(clock) + 30 * DAY
    assert "; Max-Age=2592000; " in (manager.set_cookie(s) or "")
    token = s.token
    clock.advance(29 * DAY)
    counted.taken()
    assert lives(manager, token)
    # To read it is no reason to write it.
    assert counted.taken() == ["find"]
    clock.advance(DAY + HOUR)
    assert not lives(manager, token)


@given(
    st.none() | st.timedeltas(timedelta(seconds=1), 3 * DAY),
    st.none() | st.timedeltas(timedelta(seconds=1), 3 * DAY),
    st.timedeltas(timedelta(seconds=1), 3 * DAY),
)
def test_a_session_lives_by_its_own_idle_timeout_within_its_deadline(
    of_manager: timedelta | None, own: timedelta | None, lifetime: timedelta
) -> None:
    clock = FakeClock()
    manager = SessionManager(MemoryStore(clock=clock), lifetime=lifetime, idle_timeout=of_manager, clock=clock)
    with manager.session(None) as s:
        s.put_int("n", 1)
        assert s.idle_timeout == of_manager
        s.set_idle_timeout(own)
        assert s.idle_timeout == own
    assert s.idle_timeout == own
    length = min(lifetime, own or lifetime)
    assert s.expiry == now(clock) + length
    began = now(clock)
    for _ in range(5):
        if now(clock) + length * 0.6 > began + lifetime:
            break
        clock.advance(length * 0.6)
        with manager.session(s.token) as s:
            assert s.get_int("n") == 1
            assert s.idle_timeout == own
        assert s.expiry is not None
        # But for what may pass before a read is written down.
        assert timedelta(0) <= min(now(clock) + length, began + lifetime) - s.expiry < length / 10
    clock.advance(length + timedelta(seconds=1))
    assert not lives(manager, s.token)


@pytest.mark.parametrize("own", [2 * HOUR, HOUR / 2, None], ids=["longer", "shorter", "none"])
@pytest.mark.parametrize("change", [False, True], ids=["alone", "with a change"])
def test_a_stored_session_is_given_another_idle_timeout_in_one_write(
    counted: CountingStore, clock: FakeClock, own: timedelta | None, change: bool
) -> None:
    manager = idling(counted, clock)
    token = begun(manager)
    counted.taken()
    with manager.session(token) as s:
        s.set_idle_timeout(own)
        if change:
            s.put_int("n", 2)
        assert s.status is Status.MODIFIED
    assert counted.taken() == ["find", "replace"]
    assert s.expiry == now(clock) + (own or 30 * DAY)
    # A longer one prolongs the cookie.
    assert (manager.set_cookie(s) is not None) is (own is None or own > HOUR)
    with manager.session(token) as s:
        assert s.idle_timeout == own
        s.set_idle_timeout(own)
        assert s.status is Status.UNMODIFIED
    assert counted.taken() == ["find"]


def test_an_idle_timeout_outlives_changes_renewals_and_atomic_steps(counted: CountingStore, clock: FakeClock) -> None:
    manager = idling(counted, clock, renewal_grace=timedelta(minutes=1))
    token = begun(manager, lambda s: s.set_idle_timeout(6 * HOUR))
    steps: list[Callable[[Session], object]] = [
        lambda s: s.increment("n"),
        lambda s: s.clear(),
        lambda s: s.renew_token(),
        lambda s: s.renew_token(grace=True, deadline="keep"),
        lambda s: s.atomic(lambda stored: stored.put_int("n", 7)),
        lambda s: s.get_int("n"),
    ]
    for step in steps:
        clock.advance(5 * HOUR)
        with manager.session(token) as s:
            step(s)
        assert s.token is not None
        token = s.token
        assert (s.idle_timeout, s.expiry) == (6 * HOUR, now(clock) + 6 * HOUR)


@pytest.mark.parametrize(("of_manager", "touch_after"), [(HOUR, None), (HOUR, HOUR / 4), (None, None)])
def test_the_same_part_of_it_may_pass_before_a_read_is_written_down(
    counted: CountingStore, clock: FakeClock, of_manager: timedelta | None, touch_after: timedelta | None
) -> None:
    manager = idling(counted, clock, idle_timeout=of_manager, touch_after=touch_after)
    token = begun(manager, lambda s: s.set_idle_timeout(10 * HOUR))
    part = 10 * HOUR / (4 if touch_after else 10)
    for length, calls in ((part * 0.9, ["find"]), (part * 0.2, ["find", "touch"])):
        clock.advance(length)
        counted.taken()
        assert lives(manager, token)
        assert counted.taken() == calls


def test_a_destroyed_session_leaves_the_next_nothing_of_its_settings(counted: CountingStore, clock: FakeClock) -> None:
    manager = idling(counted, clock)
    token = begun(manager, lambda s: remember_for_a_month(s, clock))
    with manager.session(token) as s:
        s.set_idle_timeout(2 * HOUR)
        s.destroy()
        assert (s.remembered, s.idle_timeout) == (None, HOUR)
        s.remember(False)
        assert s.status is Status.DESTROYED
        s.put_string("farewell", "bye")
    with manager.session(s.token) as s:
        assert (s.remembered, s.idle_timeout) == (False, HOUR)


def test_settings_are_forgotten_with_what_is_discarded(counted: CountingStore, clock: FakeClock) -> None:
    manager = idling(counted, clock)
    s = manager.load(begun(manager, lambda s: s.remember()))
    s.remember(False)
    s.set_idle_timeout(None)
    manager.discard(s)
    assert (s.remembered, s.idle_timeout, s.status) == (True, HOUR, Status.UNMODIFIED)


def test_settings_alone_begin_no_session(manager: SessionManager, counted: CountingStore) -> None:
    with manager.session(None) as s:
        s.remember()
        s.set_idle_timeout(HOUR)
        assert s.status is Status.UNMODIFIED
    assert (s.token, counted.taken()) == (None, [])
    with manager.session(None) as s:
        s.remember()
        s.atomic(lambda stored: stored.put_int("n", 1))
    with manager.session(s.token) as s:
        assert (dict(s), s.remembered) == ({"n": 1}, True)


def test_an_idle_timeout_in_async_code(memory: MemoryStore, clock: FakeClock) -> None:
    async def main() -> None:
        manager = AsyncSessionManager(AwaitedStore(memory), idle_timeout=HOUR, clock=clock)
        async with manager.session(None) as s:
            s.put_int("n", 1)
            s.set_idle_timeout(None)
        clock.advance(2 * HOUR)
        async with manager.session(s.token) as s:
            assert s.get_int("n") == 1
            assert s.idle_timeout is None

    finish(main())


@pytest.mark.parametrize(
    ("told", "error"),
    [(3600, TypeError), (True, TypeError), ("1h", TypeError), (timedelta(0), ValueError), (-HOUR, ValueError)],
)
def test_what_is_no_idle_timeout_is_refused_and_the_session_stays(
    manager: SessionManager, stored: StoredSession, counted: CountingStore, told: Any, error: type[Exception]
) -> None:
    with manager.session(stored.token) as s, pytest.raises(error, match="idle_timeout must be"):
        s.set_idle_timeout(told)
    assert counted.taken() == []


@pytest.mark.parametrize("long", [timedelta.max, timedelta(days=200_000)])
def test_an_idle_timeout_beyond_all_time_is_one(manager: SessionManager, long: timedelta) -> None:
    token = begun(manager, lambda s: s.set_idle_timeout(long))
    with manager.session(token) as s:
        assert s.expiry == s.deadline


# Two requests at once

Told: TypeAlias = tuple[bool | None, timedelta | None]
tell_them = st.tuples(st.none() | st.booleans(), st.sampled_from([None, HOUR / 2, HOUR, 2 * HOUR]))


@given(
    st.lists(tell_them, max_size=3),
    st.lists(tell_them, max_size=3),
    st.sampled_from(["nothing", "data", "read", "clear", "renew", "renew first"]),
    st.sampled_from(["merge", "serialize", "merge_unchecked", "report", "overwrite"]),
)
def test_of_two_requests_that_set_them_the_later_wins_and_what_only_one_sets_stays(
    fast: list[Told], slow: list[Told], does: str, level: OnConflict
) -> None:
    clock = FakeClock()
    manager = SessionManager(MemoryStore(clock=clock), idle_timeout=3 * HOUR, on_conflict=level, clock=clock)
    token = begun(manager)

    def tell(s: Session, told: list[Told]) -> None:
        for remember, idle in told:
            if remember is not None:
                s.remember(remember)
            if idle is not None:
                s.set_idle_timeout(idle)

    with manager.session(token) as s:
        if does == "renew first":
            s.renew_token()
        tell(s, slow)
        match does:
            case "data":
                s.put_int("mine", 1)
            case "read":
                # They are no keys: nobody who reads the others is stale.
                assert (list(s), len(s), bool(s)) == (["n"], 1, True)
                s.put_int("n", s.get_int("n") + 1)
            case "clear":
                s.clear()
            case "renew":
                s.renew_token()
            case _:
                pass
        with manager.session(token) as other:
            tell(other, fast)
    stores = does != "nothing" or any(one is not None for told in slow for one in told)
    order = slow if level == "overwrite" and stores else fast + slow
    remembers = [remember for remember, _ in order if remember is not None]
    idles = [idle for _, idle in order if idle is not None]
    with manager.session(s.token) as s:
        assert s.remembered is (remembers[-1] if remembers else None)
        idle = idles[-1] if idles else 3 * HOUR
        assert (s.idle_timeout, s.expiry) == (idle, now(clock) + idle)


def test_they_count_as_changes_where_conflicts_are_raised(
    memory: MemoryStore, stored: StoredSession, clock: FakeClock
) -> None:
    manager = SessionManager(memory, on_conflict="raise", clock=clock)
    with pytest.raises(SessionConflict), manager.session(stored.token) as s:
        s.set_idle_timeout(HOUR)
        with manager.session(stored.token) as other:
            other.put_int("n", 7)


def test_they_are_stored_only_if_what_the_request_read_still_holds(
    manager: SessionManager, stored: StoredSession
) -> None:
    with pytest.raises(SessionConflict, match="'k'"), manager.session(stored.token) as s:
        if s.get_string("k") == "before":
            s.remember()
        with manager.session(stored.token) as other:
            other.put_string("k", "after")
    with manager.session(stored.token) as s:
        assert s.remembered is None


def test_settings_of_a_request_go_onto_what_an_atomic_step_found(
    manager: SessionManager, stored: StoredSession
) -> None:
    with manager.session(stored.token) as s:
        s.remember(False)
        with manager.session(stored.token) as other:
            other.set_idle_timeout(HOUR)
        s.atomic(lambda stored: stored.put_int("n", 7))
        assert (s.remembered, s.idle_timeout) == (False, HOUR)
    with manager.session(stored.token) as s:
        assert (s.remembered, s.idle_timeout, s.get_int("n")) == (False, HOUR, 7)


# The reserved keys

RESERVED = ("__rememberMe", "__idleTimeout")
reserved = pytest.mark.parametrize("key", RESERVED)

TELL: dict[str, Callable[[Session], object]] = {
    "__rememberMe": lambda s: s.remember(),
    "__idleTimeout": lambda s: s.set_idle_timeout(HOUR),
}


@reserved
@pytest.mark.parametrize("told", [False, True])
def test_a_reserved_key_is_never_there(manager: SessionManager, memory: MemoryStore, key: str, told: bool) -> None:
    token = begun(manager, *([TELL[key]] if told else []))
    with manager.session(token) as s:
        assert key not in s
        assert (s.get(key), s.peek(key), s.pop(key, None), s.get_int(key)) == (None, None, None, 0)
        with pytest.raises(KeyError):
            s[key]
        with pytest.raises(KeyError):
            del s[key]
        s.remove(key)
        assert s.status is Status.UNMODIFIED
        s.put_int("n", 2)
    assert (key in stored_data(memory)) is told


PUT: dict[str, Callable[[SessionData, str], object]] = {
    "item": lambda s, key: s.__setitem__(key, True),
    "put_bool": lambda s, key: s.put_bool(key, True),
    "put_int": lambda s, key: s.put_int(key, 0),
    "put_object": lambda s, key: s.put_object(key, {}),
    "setdefault": lambda s, key: s.setdefault(key, 1),
    "increment": lambda s, key: s.increment(key),
    "update": lambda s, key: s.update({key: 1}),
}


@reserved
@pytest.mark.parametrize("put", PUT.values(), ids=PUT)
@pytest.mark.parametrize("in_step", [False, True], ids=["session", "atomic"])
def test_a_reserved_key_is_refused_and_told_what_to_call(
    manager: SessionManager, stored: StoredSession, key: str, put: Callable[[SessionData, str], object], in_step: bool
) -> None:
    call = {"__rememberMe": r"remember\(\)", "__idleTimeout": r"set_idle_timeout\(\)"}[key]
    with manager.session(stored.token) as s:
        with pytest.raises(ValueError, match=rf"'{key}' is reserved: call {call} instead"):
            put(s, key) if not in_step else s.atomic(lambda step: put(step, key))
        assert s.status is Status.UNMODIFIED
    assert stored.now() == stored.record


@reserved
def test_no_setting_of_the_manager_names_a_reserved_key(memory: MemoryStore, key: str) -> None:
    with pytest.raises(ValueError, match="is reserved"):
        SessionManager(memory, mergeable={key: "latest"})


def test_names_like_them_are_anybodys(manager: SessionManager) -> None:
    like: dict[str, JSONValue] = {"__rememberme": 1, "rememberMe": 2, "__x": {"__rememberMe": 3}}
    with manager.session(None) as s:
        s.update(like)
    with manager.session(s.token) as s:
        assert dict(s) == like


Step: TypeAlias = tuple[str, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "remove", "pop", "popitem", "clear", "save", "renew", "merge", "atomic", "destroy", "end", "get"]
        ),
        st.sampled_from(["a", "b", *RESERVED]),
    ),
    max_size=12,
)


@given(steps, tell_them, st.sampled_from(["merge", "serialize", "overwrite"]))
def test_whatever_is_done_they_never_show_and_never_get_lost(done: list[Step], told: Told, level: OnConflict) -> None:
    """Only `destroy` ends them, with the session."""
    clock = FakeClock()
    memory = MemoryStore(clock=clock)
    manager = SessionManager(memory, on_conflict=level, clock=clock)
    remember, idle = told

    def tell(s: Session) -> None:
        if remember is not None:
            s.remember(remember)
        s.set_idle_timeout(idle)

    s = manager.load(begun(manager, tell))
    data: dict[str, object] = {"n": 1}
    known: tuple[bool | None, timedelta | None] = told
    for number, (verb, key) in enumerate([*done, ("put", "a"), ("end", "")], 2):
        match verb:
            case "put" if key in RESERVED:
                with pytest.raises(ValueError, match="is reserved"):
                    s[key] = 1
            case "put":
                s[key] = data[key] = 1
            case "remove":
                s.remove(key)
                data.pop(key, None)
            case "pop":
                assert s.pop(key, None) == data.pop(key, None)
            case "popitem" if data:
                popped, _ = s.popitem()
                del data[popped]
            case "clear":
                s.clear()
                data.clear()
            case "save":
                s.save()
            case "renew":
                s.renew_token()
            case "merge" if s.token is not None:
                manager.commit(s)
                with manager.session(s.token) as slow:
                    slow.put_int("a", number)
                    with manager.session(s.token) as fast:
                        fast.put_int("b", number)
                s = manager.load(slow.token)
                data |= {"a": number} if level == "overwrite" else {"a": number, "b": number}
            case "atomic" if s.token is not None:
                manager.commit(s)
                s = manager.load(s.token)
                s.atomic(lambda stored: stored.put_int("b", 2))
                data["b"] = 2
            case "destroy":
                s.destroy()
                data.clear()
                known = (None, None)
            case "end":
                manager.commit(s)
                s = manager.load(s.token)
                if not data and s.token is None:
                    known = (None, None)
            case _:
                assert s.get(key) == data.get(key)
        assert (dict(s), list(s), len(s), bool(s)) == (data, sorted(data), len(data), bool(data))
        assert s == data
        assert list(s.items()) == sorted(data.items())
        assert not any(key in s for key in RESERVED)
        assert (s.remembered, s.idle_timeout) == known


# What is stored

# Items of each format that was ever written, with what they say: all later releases read them.
FORMATS: dict[str, tuple[str, bool | None, timedelta | None]] = {
    "no settings": ("", None, HOUR),
    "remembered": (',"__rememberMe":true', True, HOUR),
    "not remembered": (',"__rememberMe":false', False, HOUR),
    "an idle timeout": (',"__idleTimeout":7200000000000', None, 2 * HOUR),
    "no idle timeout": (',"__rememberMe":true,"__idleTimeout":0', True, None),
    # Other programs'.
    "no bool": (',"__rememberMe":"yes"', None, HOUR),
    "null": (',"__rememberMe":null,"__idleTimeout":null', None, HOUR),
    "no int": (',"__idleTimeout":"1h"', None, HOUR),
    "a bool": (',"__idleTimeout":true', None, HOUR),
    "negative": (',"__idleTimeout":-1', None, HOUR),
    "a float": (',"__idleTimeout":7.2e12', None, HOUR),
}


@pytest.mark.parametrize(("more", "remembered", "idle"), FORMATS.values(), ids=FORMATS)
def test_every_format_is_read_and_kept(
    counted: CountingStore,
    clock: FakeClock,
    memory: MemoryStore,
    more: str,
    remembered: bool | None,
    idle: timedelta | None,
) -> None:
    manager = idling(counted, clock)
    stored = StoredSession(manager, memory, f'{{"data":{{"n":1{more}}},"deadline":{FOREVER}}}'.encode())
    before = stored_data(memory)
    with manager.session(stored.token) as s:
        assert (dict(s), s.remembered, s.idle_timeout) == ({"n": 1}, remembered, idle)
        s.put_int("n", 2)
    assert stored_data(memory) == before | {"n": 2}


def test_it_is_written_as_documented(memory: MemoryStore, manager: SessionManager) -> None:
    token = begun(manager, lambda s: s.remember(), lambda s: s.set_idle_timeout(2 * HOUR))
    assert stored_data(memory) == {"n": 1, "__rememberMe": True, "__idleTimeout": 7_200_000_000_000}
    with manager.session(token) as s:
        s.remember(False)
        s.set_idle_timeout(None)
    assert stored_data(memory) == {"n": 1, "__rememberMe": False, "__idleTimeout": 0}
