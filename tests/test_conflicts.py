"""Two requests on one session at once: both keep their changes, and nothing comes back from the dead."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import Conflict, MemoryStore, Record, Store
from dynamostore.testing import FakeClock
from session import JSONValue, SessionConflict, SessionError, SessionManager, SessionTypeError, Status
from session.draft import Draft
from session.merging import merged

from .counting import CountingStore

HOUR = timedelta(hours=1)


@pytest.fixture
def manager(store: Store, clock: FakeClock) -> SessionManager:
    return SessionManager(store, clock=clock)


def begin(manager: SessionManager, **data: JSONValue) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def read(manager: SessionManager, token: str | None) -> dict[str, JSONValue]:
    with manager.session(token) as s:
        return dict(s)


def test_both_keep_their_changes(manager: SessionManager) -> None:
    token = begin(manager, name="Ada", visits=1, cart=["apple"], gone="soon")
    with manager.session(token) as slow:
        slow.put_string("slow", "was here")
        slow.increment("visits")
        slow.remove("gone")
        with manager.session(token) as fast:
            fast.put_string("fast", "was here")
            fast.increment("visits")
            cart = fast["cart"]
            assert isinstance(cart, list)
            cart.append("pear")
    assert slow.status is fast.status is Status.MODIFIED
    assert read(manager, token) == {
        "name": "Ada",
        "visits": 3,
        "cart": ["apple", "pear"],
        "slow": "was here",
        "fast": "was here",
    }


def test_the_last_writer_of_one_key_wins(manager: SessionManager) -> None:
    token = begin(manager, color="red")
    with manager.session(token) as slow:
        slow.put_string("color", "blue")
        with manager.session(token) as fast:
            fast.put_string("color", "green")
    assert read(manager, token) == {"color": "blue"}


def test_what_was_cleared_stays_cleared(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    with manager.session(token) as slow:
        slow.clear()
        slow.put_int("b", 2)
        with manager.session(token) as fast:
            fast.put_int("c", 3)
    assert read(manager, token) == {"b": 2}


def test_a_session_that_is_destroyed_cannot_be_renewed(manager: SessionManager) -> None:
    token = begin(manager, user=7)
    with manager.session(token) as s:
        s.destroy()
        s.renew_token()
    assert s.status is Status.DESTROYED
    assert s.token is None
    assert read(manager, token) == {}


@pytest.mark.parametrize("late", ["put", "renew", "look"])
def test_a_logged_out_session_stays_out(store: Store, clock: FakeClock, late: str) -> None:
    manager = SessionManager(store, idle_timeout=HOUR, clock=clock)
    token = begin(manager, user=7)
    clock.advance(HOUR / 2)
    with manager.session(token) as slow:
        assert slow.get_int("user") == 7
        if late == "put":
            slow.put_string("late", "change")
        if late == "renew":
            slow.renew_token()
        with manager.session(token) as fast:
            fast.destroy()
    assert slow.status is Status.DESTROYED
    assert slow.token is None
    assert dict(slow) == {}
    # To clear the cookie was the other's to do; by now the client may have logged in again.
    assert manager.set_cookie(slow) is None
    assert (manager.set_cookie(fast) or "").startswith("session=; ")
    assert read(manager, token) == {}


def test_a_renewed_session_is_not_brought_back_under_its_old_token(manager: SessionManager) -> None:
    token = begin(manager, user=7)
    with manager.session(token) as slow:
        slow.put_string("late", "change")
        with manager.session(token) as fast:
            fast.renew_token()
    assert slow.status is Status.DESTROYED
    assert read(manager, token) == {}
    assert read(manager, fast.token) == {"user": 7}


def test_a_renewal_takes_along_what_was_changed_meanwhile(manager: SessionManager) -> None:
    token = begin(manager, user=7)
    with manager.session(token) as login:
        login.renew_token()
        login.put_bool("in", True)
        with manager.session(token) as other:
            other.put_string("other", "change")
    assert login.token != token
    assert read(manager, token) == {}
    assert read(manager, login.token) == {"user": 7, "other": "change", "in": True}


def test_a_session_that_expires_during_a_request_is_gone(manager: SessionManager, clock: FakeClock) -> None:
    token = begin(manager, user=7)
    with manager.session(token) as slow:
        slow.put_string("late", "change")
        clock.advance(25 * HOUR)
    assert slow.status is Status.DESTROYED
    assert read(manager, token) == {}


def test_what_came_to_nothing_is_not_done_again_later(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    with manager.session(token) as s:
        s.clear()
    with manager.session(token) as slow:
        slow.clear()
        slow.save()
        with manager.session(token) as fast:
            fast.put_int("fast", 1)
        slow.put_int("slow", 1)
    assert read(manager, token) == {"fast": 1, "slow": 1}


def test_a_change_that_one_winner_had_made_is_made_on_the_next_winners_data(clock: FakeClock) -> None:
    others = [b'{"data":{"a":1},"deadline":%d}', b'{"data":{"a":1,"gone":"new"},"deadline":%d}']

    class TwoWinners(CountingStore):
        def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
            if others:
                super().replace(record, others.pop(0) % 2**62, expiry)
            return super().replace(record, data, expiry)

    manager = SessionManager(TwoWinners(MemoryStore(clock=clock)), clock=clock)
    token = begin(manager, a=1, gone="old")
    with manager.session(token) as s:
        s.remove("gone")
        s.put_int("ours", 2)
    assert read(manager, token) == {"a": 1, "ours": 2}


def test_raise_raises_with_both_sides(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="raise", clock=clock)
    token = begin(manager, a=1)

    def request() -> None:
        with manager.session(token) as slow:
            slow.put_int("a", 2)
            with manager.session(token) as fast:
                fast.put_int("a", 3)

    with pytest.raises(SessionConflict) as caught:
        request()
    assert caught.value.ours == {"a": 2}
    assert caught.value.theirs == {"a": 3}
    assert isinstance(caught.value.__cause__, Conflict)
    assert token not in str(caught.value)
    assert read(manager, token) == {"a": 3}


def test_overwrite_lets_the_last_writer_win_but_does_not_resurrect(store: Store, clock: FakeClock) -> None:
    manager = SessionManager(store, on_conflict="overwrite", clock=clock)
    token = begin(manager, a=1)
    with manager.session(token) as slow:
        slow.put_int("a", 2)
        with manager.session(token) as fast:
            fast.update({"a": 3, "b": 4})
    assert read(manager, token) == {"a": 2}
    with manager.session(token) as slow:
        slow.put_int("a", 5)
        with manager.session(token) as fast:
            fast.destroy()
    assert slow.status is Status.DESTROYED
    assert read(manager, token) == {}


def test_an_increment_of_what_is_no_number_any_more_is_a_conflict(manager: SessionManager) -> None:
    token = begin(manager, n=1)

    def request() -> None:
        with manager.session(token) as slow:
            slow.increment("n")
            with manager.session(token) as fast:
                fast.put_string("n", "many")

    with pytest.raises(SessionConflict, match="cannot be merged"):
        request()
    assert read(manager, token) == {"n": "many"}


def test_a_merge_costs_one_more_write(clock: FakeClock) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, clock=clock)
    token = begin(manager, a=1)
    counted.taken()
    with manager.session(token) as slow:
        slow.put_int("slow", 1)
        with manager.session(token) as fast:
            fast.put_int("fast", 1)
        assert counted.taken() == ["find", "find", "replace"]
    assert counted.taken() == ["replace", "replace"]


class Meddler(CountingStore):
    """A store in which somebody else is always faster."""

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        super().replace(record, b'{"data":{"theirs":1},"deadline":%d}' % (2**62), expiry)
        return super().replace(record, data, expiry)


def test_one_who_always_loses_gives_up(clock: FakeClock) -> None:
    counted = Meddler(MemoryStore(clock=clock))
    manager = SessionManager(counted, clock=clock)
    token = begin(manager, a=1)
    counted.taken()

    def request() -> None:
        with manager.session(token) as s:
            s.put_int("ours", 1)

    with pytest.raises(SessionConflict) as caught:
        request()
    assert caught.value.theirs == {"theirs": 1}
    # Each of our ten attempts, and the one that was faster; from the second on a look at what is there.
    assert Counter(counted.taken()) == {"find": 9, "replace": 20}


@pytest.mark.parametrize("on_conflict", ["raise", "merge"])
def test_a_conflict_that_was_caught_is_met_again(clock: FakeClock, on_conflict: Literal["raise", "merge"]) -> None:
    manager = SessionManager(MemoryStore(clock=clock), on_conflict=on_conflict, clock=clock)
    token = begin(manager, n=1)

    def request() -> None:
        with manager.session(token) as slow:
            slow.increment("n")
            with manager.session(token) as fast:
                fast.update({"n": "many", "fast": 1})
            with suppress(SessionConflict):
                slow.save()

    with pytest.raises(SessionConflict):
        request()
    assert read(manager, token) == {"n": "many", "fast": 1}


class Toucher(CountingStore):
    """A store in which somebody else always moves the expiry on just before a write."""

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        there = self._store.find(record.token)
        assert there is not None
        self._store.touch(there, there.expiry + HOUR)
        return super().replace(record, data, expiry)


def test_one_who_is_always_touched_first_is_told(clock: FakeClock) -> None:
    manager = SessionManager(Toucher(MemoryStore(clock=clock)), clock=clock)
    token = begin(manager, a=1)

    def request() -> None:
        with manager.session(token) as s:
            s.put_int("a", 2)

    with pytest.raises(SessionConflict, match="10 attempts"):
        request()
    assert read(manager, token) == {"a": 1}


def test_a_late_request_does_not_take_the_cookie_of_a_login(manager: SessionManager) -> None:
    token = begin(manager, user=7)
    with manager.session(token) as login:
        login.renew_token()
    with manager.session(token) as late:
        assert dict(late) == {}
    assert manager.set_cookie(late) is None
    assert manager.set_cookie(login) is not None


@pytest.mark.parametrize("bad", [math.nan, 2**70, "\ud800", object(), {1: 2}, {1, 2}], ids=type)
def test_a_renewal_does_not_store_what_json_cannot_say(manager: SessionManager, bad: object) -> None:
    token = begin(manager, cart=["apple"])

    def request() -> None:
        with manager.session(token) as s:
            cart = s["cart"]
            assert isinstance(cart, list)
            cart.append(bad)  # type: ignore[arg-type]  # that is the point
            s.renew_token()

    with pytest.raises((SessionTypeError, ValueError), match="cart"):
        request()
    assert read(manager, token) == {"cart": ["apple"]}


def test_what_is_done_to_a_list_after_the_block_does_not_disturb_the_cookie(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s["cart"] = ["apple"]
        cart = s["cart"]
        with pytest.raises(SessionError, match="not stored yet"):
            manager.set_cookie(s)
    assert isinstance(cart, list)
    cart.append(object())  # type: ignore[arg-type]  # that is the point
    assert (manager.set_cookie(s) or "").startswith(f"session={s.token}; ")


def test_what_setdefault_returns_is_the_sessions_own(manager: SessionManager) -> None:
    token = begin(manager, n=1)
    with manager.session(token) as s:
        cart = s.setdefault("cart", [])
        assert isinstance(cart, list)
        cart.append("pear")
    assert read(manager, token) == {"cart": ["pear"], "n": 1}


# The changes themselves: made on somebody else's data they are what they were.

keys = st.sampled_from("abn")
values = st.integers(0, 3) | st.lists(st.integers(0, 1), max_size=2)
data = st.dictionaries(keys, values)
doings = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, values),
        st.tuples(st.sampled_from(["remove", "increment", "append", "clear"]), keys, st.just(0)),
    ),
    max_size=5,
)


def do(draft: Draft, doings: list[tuple[str, str, JSONValue]]) -> None:
    for verb, key, value in doings:
        there = draft.data.get(key, 0)
        if verb == "put":
            draft.put(key, value)
        elif verb == "remove":
            draft.remove(key)
        elif verb == "clear":
            draft.clear()
        elif verb == "increment" and isinstance(there, int):
            draft.increment(key, 1)
        elif verb == "append" and isinstance(there, list):
            mine = draft.get(key)
            assert isinstance(mine, list)
            mine.append(9)


@given(data, doings)
def test_changes_made_again_on_the_same_data_give_the_same(
    base: dict[str, JSONValue], doings: list[tuple[str, str, JSONValue]]
) -> None:
    draft = Draft({key: value.copy() if isinstance(value, list) else value for key, value in base.items()})
    do(draft, doings)
    changes = draft.changes()
    assert (changes.apply(base) if changes else base) == draft.data
    assert (changes is None) == (draft.data == base)
    draft.settle(draft.held())
    assert draft.changes() is None


@given(data, data, doings)
def test_changes_made_on_other_data_keep_what_they_did_not_touch(
    base: dict[str, JSONValue], theirs: dict[str, JSONValue], doings: list[tuple[str, str, JSONValue]]
) -> None:
    draft = Draft({key: value.copy() if isinstance(value, list) else value for key, value in base.items()})
    do(draft, doings)
    touched = {key for verb, key, _ in doings if verb != "clear"}
    cleared = any(verb == "clear" for verb, _, _ in doings) and draft.changes() is not None
    changes = draft.changes()
    incremented = changes.incremented if changes else {}
    if any(not isinstance(theirs.get(key, 0), int) for key in incremented):
        with pytest.raises(TypeError):
            merged(changes, base, theirs, {})
        return
    draft.rebase(theirs, merged(changes, base, theirs, {}), Draft({}), draft.held())
    for key in "abn":
        if key in incremented:
            there = theirs.get(key, 0)
            assert isinstance(there, int)
            assert draft.data[key] == there + incremented[key]
        elif changes and key in changes.put:
            assert draft.data[key] == changes.put[key]
        elif changes and (key in changes.removed or cleared):
            assert key not in draft.data
        elif key not in touched:
            assert draft.data.get(key) == theirs.get(key)
    # Made twice, on the data of another one and then of the next, the changes are not doubled.
    again = dict(draft.data)
    draft.rebase(theirs, merged(draft.changes(), theirs, theirs, {}), Draft({}), draft.held())
    assert draft.data == again
