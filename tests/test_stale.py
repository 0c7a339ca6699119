"""Which reads make a request stale, and what is stored then: nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest

from dynamostore import MemoryStore, Store
from dynamostore.hidden import Hidden
from dynamostore.testing import FakeClock
from session import JSONValue, OnConflict, Session, SessionConflict, SessionManager, SessionTypeError, Status

from .counting import CountingStore

Act = Callable[[Session], object]

HOUR = timedelta(hours=1)
BEFORE: Final[dict[str, JSONValue]] = {"role": "user", "n": 1, "list": ["a"], "other": 0, "nonce": "x"}


def then(*acts: Act) -> Act:
    """One after the other."""

    def act(s: Session) -> None:
        for each in acts:
            each(s)

    return act


def begin(manager: SessionManager, data: dict[str, JSONValue]) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def read(manager: SessionManager, token: str | None) -> dict[str, JSONValue]:
    with manager.session(token) as s:
        return dict(s)


def meet(manager: SessionManager, token: str, slow: Act, fast: Act) -> bool:
    """Have *fast* commit while *slow* is under way; return True if the slow one is stale, and check that it stored nothing."""
    stored: dict[str, JSONValue] = {}
    try:
        with manager.session(token) as s:
            slow(s)
            with manager.session(token) as t:
                fast(t)
            stored = read(manager, token)
            s.put_int("written", 1)
    except SessionConflict as conflict:
        assert conflict.keys
        assert all(key in str(conflict) for key in conflict.keys)
        assert read(manager, token) == stored
        return True
    assert read(manager, token)["written"] == 1
    return False


def increment_what_is_no_number(s: Session) -> None:
    with pytest.raises(SessionTypeError, match="found str"):
        s.increment("role")


def change_all(s: Session) -> None:
    s.put_string("role", "admin")
    s.put_int("n", 7)
    s["list"] = ["z"]
    s.pop_string("nonce", "")
    s.put_int("new", 1)


# What the slow request does before another one changes role, n, list, nonce and new: is it stale in "merge", in "serialize"?
READS: Final[dict[str, tuple[Act, bool, bool]]] = {
    "nothing": (lambda s: None, False, False),
    "another key": (lambda s: s.get_int("other"), False, False),
    "a getter": (lambda s: s.get_string("role"), True, True),
    "get": (lambda s: s.get("role"), True, True),
    "get of a missing key": (lambda s: s.get("new"), True, True),
    "a getter with a default": (lambda s: s.get_int("new", default=None), True, True),
    "[]": (lambda s: s["role"], True, True),
    "a list that is handed out": (lambda s: s["list"], True, True),
    "get_object": (lambda s: s.get_object("list", list), True, True),
    "in": (lambda s: "new" in s, True, True),
    "in, of a key that stays there": (lambda s: "role" in s, False, False),
    "iteration": (list, True, True),
    "len": (len, True, True),
    "bool": (bool, False, False),
    "dict": (dict, True, True),
    "==": (lambda s: s == {}, True, True),
    "peek": (then(lambda s: s.peek("role"), lambda s: s.peek("list")), False, False),
    "pop": (lambda s: s.pop("nonce"), True, True),
    "pop_string": (lambda s: s.pop_string("nonce"), True, True),
    "pop of a missing key": (lambda s: s.pop_int("new"), True, True),
    "del": (lambda s: s.__delitem__("nonce"), True, True),
    "del of a key that gets another value": (lambda s: s.__delitem__("n"), True, True),
    "get and remove": (then(lambda s: s.get("nonce"), lambda s: s.remove("nonce")), True, True),
    "remove": (lambda s: s.remove("nonce"), False, False),
    "setdefault of a missing key": (lambda s: s.setdefault("new", 2), True, True),
    "setdefault of a key that is there": (lambda s: s.setdefault("role", "x"), True, True),
    "put": (lambda s: s.put_int("n", 2), False, False),
    "put, then a getter": (then(lambda s: s.put_int("n", 2), lambda s: s.get_int("n")), False, False),
    "remove, then a getter": (then(lambda s: s.remove("n"), lambda s: s.get_int("n")), False, False),
    "clear, then getters": (
        then(lambda s: s.clear(), lambda s: s.get_int("n"), list, lambda s: "n" in s),
        False,
        False,
    ),
    "put, then pop": (then(lambda s: s.put_int("n", 2), lambda s: s.pop_int("n")), False, False),
    "increment": (lambda s: s.increment("n"), False, False),
    "an increment that raises": (increment_what_is_no_number, True, True),
    "increment, then a getter": (then(lambda s: s.increment("n"), lambda s: s.get_int("n")), True, True),
    "read-modify-write": (lambda s: s.put_int("n", s.get_int("n") + 1), False, True),
    "in, then put": (then(lambda s: "new" in s, lambda s: s.put_int("new", 2)), False, True),
    "a change within a list": (lambda s: s.get("list").append("b"), False, True),  # type: ignore[union-attr]
    "a getter, then clear": (then(lambda s: s.get_string("role"), lambda s: s.clear()), False, True),
    "pop, then clear": (then(lambda s: s.pop("nonce"), lambda s: s.clear()), True, True),
    "iteration, then the keys overwritten": (then(list, change_all), True, True),
    "the deadline": (lambda s: s.deadline, False, False),
}


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return MemoryStore(clock=clock)


@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
@pytest.mark.parametrize("what", READS)
def test_a_request_that_decided_on_stale_data_stores_nothing(
    store: Store, clock: FakeClock, what: str, on_conflict: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=on_conflict, clock=clock)
    act, merge, serialize = READS[what]
    token = begin(manager, BEFORE)
    assert meet(manager, token, act, change_all) is (merge if on_conflict == "merge" else serialize)


@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
@pytest.mark.parametrize("what", READS)
def test_what_others_did_not_change_makes_no_request_stale(
    store: Store, clock: FakeClock, what: str, on_conflict: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=on_conflict, clock=clock)
    act = READS[what][0]
    token = begin(manager, BEFORE)

    def changes_and_changes_back(s: Session) -> None:
        change_all(s)
        s.save()
        s.pop("new")
        s.update(BEFORE)

    assert not meet(manager, token, act, changes_and_changes_back)
    assert not meet(manager, begin(manager, BEFORE), act, lambda s: s.get_string("role"))


def test_a_request_that_changes_nothing_is_never_stale(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="serialize", idle_timeout=HOUR, clock=clock)
    token = begin(manager, BEFORE)
    clock.advance(HOUR / 2)
    with manager.session(token) as slow:
        dict(slow)
        slow.put_string("role", "user")  # as it is
        with manager.session(token) as fast:
            change_all(fast)
    assert slow.status is Status.UNMODIFIED


def test_a_value_put_again_as_it_was_counts_if_another_request_was_faster(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)
    token = begin(manager, BEFORE)
    with manager.session(token) as slow:
        slow.put_string("role", "user")
        slow.put_int("mine", 1)
        slow.remove("new")
        with manager.session(token) as fast:
            change_all(fast)
    assert read(manager, token) == {"list": ["z"], "mine": 1, "n": 7, "other": 0, "role": "user"}


def test_emptiness_is_a_read_of_its_own(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)
    token = begin(manager, {"a": 1})
    with pytest.raises(SessionConflict, match="any key"), manager.session(token) as slow:
        if slow:
            slow.put_int("decided", 1)
        with manager.session(token) as fast:
            fast.clear()
    assert read(manager, token) == {}


@pytest.mark.parametrize("level", ["merge", "serialize"])
def test_emptiness_is_asked_without_what_the_request_removed_itself(
    store: Store, clock: FakeClock, level: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=level, clock=clock)
    token = begin(manager, {"a": 1})
    with pytest.raises(SessionConflict, match="any key"), manager.session(token) as slow:
        slow.remove("a")
        empty = not slow
        with manager.session(token) as fast:
            fast.put_int("b", 1)
        slow.put_bool("was_empty", empty)
    assert read(manager, token) == {"a": 1, "b": 1}


@pytest.mark.parametrize("level", ["merge", "serialize"])
def test_after_a_save_the_list_of_keys_is_compared_with_the_requests_own_in_it(
    store: Store, clock: FakeClock, level: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=level, clock=clock)
    token = begin(manager, {"a": 1})
    with pytest.raises(SessionConflict, match="'x'"), manager.session(token) as slow:
        slow.put_int("x", 1)
        list(slow)
        slow.save()
        keys: list[JSONValue] = [*slow]
        with manager.session(token) as fast:
            fast.remove("x")
        slow["keys"] = keys
    assert read(manager, token) == {"a": 1}


@pytest.mark.parametrize("level", ["merge", "serialize"])
def test_a_key_that_was_listed_is_taken_once(store: Store, clock: FakeClock, level: OnConflict) -> None:
    manager = SessionManager(store, on_conflict=level, clock=clock)
    token = begin(manager, {"coupon:5": 1})

    def spend(s: Session) -> None:
        for key in [key for key in s if key.startswith("coupon:")]:
            s.remove(key)
            s.increment("spent")

    with pytest.raises(SessionConflict, match="coupon:5"), manager.session(token) as slow:
        spend(slow)
        with manager.session(token) as fast:
            spend(fast)
    assert read(manager, token) == {"spent": 1}


def test_a_key_that_the_request_incremented_is_there_whatever_others_do(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="serialize", clock=clock)
    token = begin(manager, {"a": 1})
    with manager.session(token) as slow:
        slow.increment("visits")
        assert "visits" in slow
        with manager.session(token) as fast:
            fast.increment("visits")
    assert read(manager, token) == {"a": 1, "visits": 2}


def test_a_read_that_did_not_count_at_a_save_counts_later(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="serialize", mergeable={"cart": "merge"}, clock=clock)
    token = begin(manager, {"cart": ["a"]})
    with pytest.raises(SessionConflict, match="cart"), manager.session(token) as slow:
        cart = slow["cart"]
        assert isinstance(cart, list)
        size = len(cart)
        cart.append("b")
        with manager.session(token) as fast:
            found = fast["cart"]
            assert isinstance(found, list)
            found.append("c")
        slow.save()  # changes nothing but what is merged
        slow.put_int("total", size + 1)
    assert read(manager, token) == {"cart": ["a", "c", "b"]}


def test_the_deadline_counts_as_a_key(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)

    def reschedule(s: Session) -> None:
        s.set_deadline(clock.now + 2 * HOUR)

    token = begin(manager, BEFORE)
    assert meet(manager, token, lambda s: s.deadline, reschedule)
    token = begin(manager, BEFORE)
    assert not meet(manager, token, then(lambda s: s.deadline, lambda s: s.set_deadline(clock.now + HOUR)), reschedule)
    with manager.session(token) as s:
        assert s.deadline == clock.now + HOUR
    strict = SessionManager(store, on_conflict="serialize", clock=clock)
    token = begin(manager, BEFORE)
    assert meet(strict, token, then(lambda s: s.deadline, lambda s: s.set_deadline(clock.now + HOUR)), reschedule)
    token = begin(manager, BEFORE)
    assert not meet(strict, token, then(lambda s: s.set_deadline(clock.now + HOUR), lambda s: s.deadline), reschedule)


def test_reads_survive_a_save_with_the_values_as_saved(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)
    token = begin(manager, BEFORE)
    with pytest.raises(SessionConflict, match="role"), manager.session(token) as slow:
        slow.get_string("role")
        slow.put_int("mine", 1)
        slow.save()
        with manager.session(token) as fast:
            fast.put_string("role", "admin")
        slow.put_int("mine", 2)
    token = begin(manager, BEFORE)
    with manager.session(token) as slow:
        slow.put_string("role", slow.get_string("role") + "!")
        slow.save()
        with manager.session(token) as fast:
            fast.put_string("role", "admin")
            fast.save()
            fast.put_string("role", "user!")
        slow.put_int("mine", 2)
    assert read(manager, token)["mine"] == 2


def test_reads_survive_a_touch_that_meets_a_renewal(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, idle_timeout=HOUR, renewal_grace=HOUR / 10, clock=clock)
    token = begin(manager, BEFORE)
    clock.advance(HOUR / 2)
    with pytest.raises(SessionConflict, match="role"), manager.session(token) as slow:
        slow.get_string("role")
        with manager.session(token) as fast:
            fast.put_string("role", "admin")
            fast.renew_token(grace=True)
        slow.save()
        slow.put_int("decided", 1)
    assert read(manager, fast.token) == {**BEFORE, "role": "admin"}


def test_a_conflict_that_was_caught_is_met_again(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, clock=clock)
    token = begin(manager, BEFORE)

    def request() -> None:
        with manager.session(token) as slow:
            slow.put_string("decided", slow.get_string("role"))
            with manager.session(token) as fast:
                fast.put_string("role", "admin")
            for _ in range(2):
                with pytest.raises(SessionConflict):
                    slow.save()

    with pytest.raises(SessionConflict):
        request()
    assert read(manager, token) == {**BEFORE, "role": "admin"}


def test_a_refusal_costs_one_write(clock: FakeClock) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, clock=clock)
    token = begin(manager, BEFORE)
    with pytest.raises(SessionConflict), manager.session(token) as slow:
        slow.put_string("decided", slow.get_string("role"))
        with manager.session(token) as fast:
            fast.put_string("role", "admin")
        counted.taken()
    assert counted.taken() == ["replace"]


@pytest.mark.parametrize("on_conflict", ["merge_unchecked", "report"])
def test_unchecked_merging_stores_a_state_that_no_order_gives(
    store: Store, clock: FakeClock, on_conflict: OnConflict, caplog: pytest.LogCaptureFixture
) -> None:
    manager = SessionManager(store, on_conflict=on_conflict, clock=clock)
    token = begin(manager, {"reset_user": "attacker", "reset_ok": False})
    with caplog.at_level(logging.WARNING, "session"), manager.session(token) as slow:
        if slow.get_string("reset_user") == "attacker":
            slow.put_bool("reset_ok", True)
        with manager.session(token) as fast:
            fast.update(reset_user="victim", reset_ok=False)
    assert read(manager, token) == {"reset_user": "victim", "reset_ok": True}
    assert [
        record.getMessage() for record in caplog.records if "a stale request was stored" in record.getMessage()
    ] == (
        ["a stale request was stored: another request had changed 'reset_user', which it read"]
        if on_conflict == "report"
        else []
    )
    assert "victim" not in caplog.text


@pytest.mark.parametrize(("on_conflict", "kept"), [("raise", {"a": 2}), ("overwrite", {"a": 1, "b": 1})])
def test_raise_and_overwrite_are_as_they_were(
    store: Store, clock: FakeClock, on_conflict: OnConflict, kept: dict[str, JSONValue]
) -> None:
    manager = SessionManager(store, on_conflict=on_conflict, clock=clock)
    token = begin(manager, {"a": 1})
    try:
        with manager.session(token) as slow:
            slow.put_int("b", 1)
            with manager.session(token) as fast:
                fast.put_int("a", 2)
    except SessionConflict:
        assert on_conflict == "raise"
    assert read(manager, token) == kept


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("also", [True, False])
def test_a_key_of_a_frameworks_own_is_checked_where_the_request_can_be_run_again(
    store: Store, clock: FakeClock, checked: bool, also: bool
) -> None:
    manager = SessionManager(store, clock=clock)
    known = manager._policy.knowing({"messages": "merge"}, checked=checked)
    token = begin(manager, {"messages": ["old"], "role": "user"})
    slow = manager._begin(Hidden(token), known)
    messages = slow.get("messages")
    assert isinstance(messages, list)
    slow["messages"] = [*messages, "mine"]
    if also:
        slow.put_int("also", 1)
    with manager.session(token) as fast:
        fast["messages"] = []
    if checked:
        with pytest.raises(SessionConflict, match="messages"):
            slow.save()
        assert read(manager, token)["messages"] == []
    else:
        slow.save()
        assert read(manager, token)["messages"] == ["mine"]


# The session has ended meanwhile.

ENDS: Final[dict[str, Act]] = {
    "destroyed": Session.destroy,
    "renewed": Session.renew_token,
    "expired": lambda s: s.set_deadline(s.deadline - 1000 * HOUR),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("act", "merge", "serialize"),
    [
        (lambda s: s.put_int("n", 2), False, False),
        (lambda s: s.get_string("role"), False, True),
        (lambda s: s.pop_string("nonce"), True, True),
        (lambda s: s.setdefault("new", 1), False, True),
        (lambda s: s.remove("nonce"), False, False),
    ],
    ids=["put", "get", "pop", "setdefault", "remove"],
)
@pytest.mark.parametrize("on_conflict", ["merge", "serialize", "raise", "overwrite", "merge_unchecked", "report"])
def test_changes_of_a_session_that_has_ended_are_dropped(
    store: Store, clock: FakeClock, end: str, act: Act, merge: bool, serialize: bool, on_conflict: OnConflict
) -> None:
    manager = SessionManager(store, on_conflict=on_conflict, clock=clock)
    token = begin(manager, BEFORE)
    refused = {"merge": merge, "serialize": serialize}.get(on_conflict, False)
    with manager.session(token) as slow:
        act(slow)
        with manager.session(token) as fast:
            ENDS[end](fast)
        slow.put_int("late", 1)
        if refused:
            with pytest.raises(SessionConflict) as caught:
                slow.save()
            assert caught.value.ended
        else:
            slow.save()
        assert slow.status is Status.DESTROYED
        # It begins no session either: its cookie could replace that of a new login.
        slow.put_int("later", 1)
    assert slow.status is Status.DESTROYED
    assert slow.token is None
    assert manager.set_cookie(slow) is None
    assert read(manager, token) == {}
    assert read(manager, fast.token) == (BEFORE if end == "renewed" else {})


# destroy() is never refused.


@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize("meddled", [True, False])
def test_what_is_put_after_a_destroy_rests_on_what_was_read(
    clock: FakeClock, on_conflict: OnConflict, read_first: bool, meddled: bool
) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, on_conflict=on_conflict, clock=clock)
    token = begin(manager, BEFORE)
    with manager.session(token) as slow:
        if read_first:
            assert slow.get_string("role") == "user"
        slow.destroy()
        slow.put_string("farewell", "Bye")
        if meddled:
            with manager.session(token) as fast:
                fast.put_string("role", "admin")
        counted.taken()
    stale = read_first and meddled
    assert counted.taken() == (
        ["remove", "delete"] if stale else ["remove", "create"] if read_first else ["delete", "create"]
    )
    assert read(manager, token) == {}
    assert read(manager, slow.token) == ({} if stale else {"farewell": "Bye"})
    assert slow.status is (Status.DESTROYED if stale else Status.MODIFIED)
    assert (manager.set_cookie(slow) or "").startswith("session=; " if stale else "session=")


def test_a_bare_destroy_is_one_call_whatever_it_read(clock: FakeClock) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, on_conflict="serialize", clock=clock)
    token = begin(manager, BEFORE)
    with manager.session(token) as slow:
        dict(slow)
        slow.put_int("lost", 1)
        slow.destroy()
        with manager.session(token) as fast:
            change_all(fast)
        counted.taken()
    assert counted.taken() == ["delete"]
    assert read(manager, token) == {}


def test_a_read_of_what_was_overwritten_counts_for_nothing_after_a_destroy_in_merge(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    token = begin(manager, BEFORE)
    with manager.session(token) as slow:
        slow.put_int("n", slow.get_int("n") + 1)
        slow.destroy()
        slow.put_string("farewell", "Bye")
        with manager.session(token) as fast:
            fast.put_int("n", 7)
    assert read(manager, slow.token) == {"farewell": "Bye"}
