"""A session beside a plain dict: the same calls leave the same data, aliases of lists and dicts included."""

from __future__ import annotations

import asyncio
import copy
import enum
import json
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from markupsafe import Markup

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import (
    AsyncSessionManager,
    JSONInput,
    JSONValue,
    Session,
    SessionConflict,
    SessionManager,
    SessionStateError,
    SessionTypeError,
    Status,
)

from .counting import CountingStore


def begin(manager: SessionManager, **data: JSONInput) -> str:
    with manager.session(None) as s:
        s.update(data)
    assert s.token is not None
    return s.token


def stored(manager: SessionManager, token: str | None) -> str:
    """What is stored, as text: in it, two dicts in different orders differ, and so do 1, 1.0 and True."""
    with manager.session(token) as s:
        return text(dict(s))


def text(data: Mapping[str, object]) -> str:
    return json.dumps({key: data[key] for key in sorted(data)}, default=plain)


def plain(value: object) -> object:
    """What json does not know."""
    return dict(value) if isinstance(value, Mapping) else list(value)  # type: ignore[call-overload]


@pytest.fixture
def manager(clock: FakeClock) -> SessionManager:
    return SessionManager(MemoryStore(clock=clock), clock=clock)


# Calls of a dict


def test_a_session_is_joined_with_another_mapping_as_a_dict_is(manager: SessionManager) -> None:
    with manager.session(begin(manager, a=1, b=[2])) as s:
        joined = s | {"b": 3, "c": 4}
        assert (type(joined), joined) == (dict, {"a": 1, "b": 3, "c": 4})
        joined = {"b": 3, "c": 4} | s
        assert (type(joined), joined) == (dict, {"a": 1, "b": [2], "c": 4})
        assert s | s == dict(s)
        assert s.status is Status.UNMODIFIED
        same = s
        s |= {"b": 3}
        s |= [("c", 4)]
        assert s is same
        assert dict(s) == {"a": 1, "b": 3, "c": 4}
        for other in (None, 7, ["c"]):
            with pytest.raises(TypeError):
                s | other  # type: ignore[operator]
            with pytest.raises(TypeError):
                other | s  # type: ignore[operator]


def test_a_copy_is_a_dict_whose_lists_are_the_sessions_own(manager: SessionManager) -> None:
    token = begin(manager, a=1, cart=["apple"])
    with manager.session(token) as s:
        copied = s.copy()
        assert type(copied) is dict
        copied["b"] = 2
        copied["cart"].append("pear")  # type: ignore[union-attr]
        assert "b" not in s
    assert stored(manager, token) == '{"a": 1, "cart": ["apple", "pear"]}'


def test_the_keys_backwards(manager: SessionManager) -> None:
    with manager.session(begin(manager, b=1, a=2, c=3)) as s:
        assert list(reversed(s)) == ["c", "b", "a"] == list(s)[::-1]


def test_popitem_takes_the_last_of_the_keys(manager: SessionManager) -> None:
    token = begin(manager, b=1, c=[2], a=3)
    with manager.session(token) as s:
        assert s.popitem() == ("c", [2])
        assert s.popitem() == ("b", 1)
    assert stored(manager, token) == '{"a": 3}'
    with manager.session(token) as s:
        assert s.popitem() == ("a", 3)
        with pytest.raises(KeyError, match="empty"):
            s.popitem()


@pytest.mark.parametrize(
    "call", [lambda s, more: s.update(more), lambda s, more: s.__ior__(more), lambda s, more: s.update(**more)]
)
def test_an_update_sets_all_or_nothing(manager: SessionManager, call: Callable[[Session, Any], object]) -> None:
    with manager.session(begin(manager, a=1)) as s:
        with pytest.raises(SessionTypeError, match="'z'"):
            call(s, {"a": 2, "b": 3, "z": {1}})
        assert s.status is Status.UNMODIFIED
        assert dict(s) == {"a": 1}


# What they read: each is made stale, or not, by another request that changes what it was shown.

READS: Final[dict[str, tuple[Callable[[Session], object], bool, bool]]] = {
    # Is it stale if another puts another value? If another adds a key?
    "s | {}": (lambda s: s | {}, True, True),
    "{} | s": (lambda s: {} | s, True, True),
    "copy": (lambda s: s.copy(), True, True),
    "reversed": (lambda s: list(reversed(s)), False, True),
    "popitem of another key": (lambda s: s.popitem(), False, True),
    "|=": (lambda s: s.__ior__({"mine": 1}), False, False),
    "update": (lambda s: s.update(mine=1), False, False),
}


@pytest.mark.parametrize(("call", "values", "keys"), READS.values(), ids=READS)
def test_what_a_call_reads(
    manager: SessionManager, call: Callable[[Session], object], values: bool, keys: bool
) -> None:
    for other, stale in (({"a": 2}, values), ({"new": 1}, keys)):
        token = begin(manager, a=1, z=1)
        try:
            with manager.session(token) as slow:
                call(slow)
                slow.put_int("mine", 1)
                with manager.session(token) as fast:
                    fast.update(other)
        except SessionConflict:
            assert stale
        else:
            assert not stale


def test_popitem_takes_its_value_for_itself(manager: SessionManager) -> None:
    token = begin(manager, a=1, z=1)
    with pytest.raises(SessionConflict) as caught, manager.session(token) as slow:
        assert slow.popitem() == ("z", 1)
        with manager.session(token) as fast:
            fast.popitem()
    assert caught.value.keys == ("z",)


# The order within a dict, and types that are equal


EQUAL: list[tuple[JSONValue, JSONValue]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"d": {"a": 1, "b": 2}}, {"d": {"b": 2, "a": 1}}),
    ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
    (1, True),
    (True, 1),
    (0, False),
    (1, 1.0),
    (1.0, True),
    (0.0, -0.0),
    (-0.0, 0),
    ([1], [True]),
    ({"n": [0.0]}, {"n": [-0.0]}),
]


@pytest.mark.parametrize(("before", "after"), EQUAL)
def test_what_is_equal_and_not_the_same_is_a_change(
    manager: SessionManager, before: JSONValue, after: JSONValue
) -> None:
    token = begin(manager, v=before, n=0)
    with manager.session(token) as s:
        s["v"] = after
        assert s.status is Status.MODIFIED
    assert stored(manager, token) == text({"n": 0, "v": after})
    with manager.session(token) as s:
        s["v"] = before
        s["v"] = after
        assert s.status is Status.UNMODIFIED


@pytest.mark.parametrize(("before", "after"), EQUAL)
@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
def test_what_is_equal_and_not_the_same_makes_a_reader_stale(
    clock: FakeClock, before: JSONValue, after: JSONValue, on_conflict: Any
) -> None:
    manager = SessionManager(MemoryStore(clock=clock), on_conflict=on_conflict, clock=clock)
    token = begin(manager, v=before)
    with pytest.raises(SessionConflict) as caught, manager.session(token) as slow:
        slow["mine"] = slow["v"]
        with manager.session(token) as fast:
            fast["v"] = after
    assert caught.value.keys == ("v",)
    # Changed, and changed back.
    with manager.session(token) as slow:
        slow["mine"] = slow["v"]
        for value in (before, after):
            with manager.session(token) as fast:
                fast["v"] = value
    assert stored(manager, token) == text({"mine": after, "v": after})


def test_a_dict_is_stored_in_its_new_order(manager: SessionManager) -> None:
    token = begin(manager, seen={"a": 1, "b": 2, "deep": {"x": 1, "y": 2}})
    with manager.session(token) as s:
        seen: Any = s["seen"]
        seen["a"] = seen.pop("a")
        seen["deep"]["x"] = seen["deep"].pop("x")
    assert stored(manager, token) == '{"seen": {"b": 2, "deep": {"y": 2, "x": 1}, "a": 1}}'
    with manager.session(token) as s:
        seen = s["seen"]
        seen["a"] = seen.pop("a")  # it is the last already
        assert s.status is Status.UNMODIFIED


def test_an_order_survives_a_conflict(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), mergeable={"seen": "merge", "rows": "merge"}, clock=clock)
    both = {"a": 1, "b": 2}
    for theirs in (None, {"a": 1, "b": 2, "c": 3}):
        token = begin(manager, seen=both, rows=[both])
        with manager.session(token) as slow:
            seen: Any = slow["seen"]
            seen["a"] = seen.pop("a")
            rows: Any = slow["rows"]
            rows[0]["a"] = rows[0].pop("a")
            with manager.session(token) as fast:
                fast["other"] = 1
                if theirs:
                    fast["seen"] = theirs
                    fast["rows"] = [both, "new"]
        with manager.session(token) as s:
            assert json.dumps(s["seen"]) == '{"b": 2, "a": 1%s}' % (', "c": 3' if theirs else "")
            rows = s["rows"]
            assert json.dumps([row for row in rows if row != "new"]) == '[{"b": 2, "a": 1}]'


def test_an_element_that_was_removed_is_found_in_another_order(clock: FakeClock) -> None:
    # SCS for Go sorts the keys of a dict whenever it stores the session.
    manager = SessionManager(MemoryStore(clock=clock), mergeable={"rows": "merge"}, clock=clock)
    token = begin(manager, rows=[{"b": 1, "a": 2}, 1])
    with manager.session(token) as slow:
        rows: Any = slow["rows"]
        del rows[0]
        with manager.session(token) as fast:
            fast["rows"] = [{"a": 2, "b": 1}, 1, 3]
    assert stored(manager, token) == '{"rows": [1, 3]}'


# What the app still holds


def aliases() -> dict[str, tuple[Any, Callable[[Any], object], object]]:
    """Objects to put, what is done to each afterwards, and what is to be stored."""

    def add(cart: Any) -> None:
        cart["pear"] = 1

    def append(rows: Any) -> None:
        rows.append("pear")

    return {
        "a dict": ({}, add, {"pear": 1}),
        "a list": (["apple"], append, ["apple", "pear"]),
        "a dict within": ({"deep": [{}]}, lambda cart: add(cart["deep"][0]), {"deep": [{"pear": 1}]}),
        "a defaultdict": (defaultdict(int), lambda counts: counts.__setitem__("x", counts["x"] + 1), {"x": 1}),
        "an OrderedDict": (OrderedDict(a=1, b=2), lambda od: od.move_to_end("a"), {"b": 2, "a": 1}),
        "a list of tuples": ([("a", 1)], append, [["a", 1], "pear"]),
        "a list in a tuple": ((["apple"], 1), lambda pair: append(pair[0]), [["apple", "pear"], 1]),
        "a dict with an int of a class": ({"n": type("N", (int,), {})(7)}, add, {"n": 7, "pear": 1}),
        "a UserDict": (UserDict(a=1), add, {"a": 1, "pear": 1}),
        "a UserList": (UserList(["apple"]), append, ["apple", "pear"]),
        "a deque": (deque(["apple"]), append, ["apple", "pear"]),
        "a view": (MappingProxyType({"a": []}), lambda view: append(view["a"]), {"a": ["pear"]}),
        "a ChainMap": (ChainMap({}, {"a": 1}), add, {"a": 1, "pear": 1}),
    }


def put_over_another(s: Session, value: Any) -> None:
    s["v"] = 1
    s["v"] = value


def put_after_clear(s: Session, value: Any) -> None:
    s.clear()
    s["v"] = value


ALIASES = list(aliases())
PUTS: dict[str, Callable[[Session, Any], object]] = {
    "[]": lambda s, value: s.__setitem__("v", value),
    "update": lambda s, value: s.update(v=value),
    "update by pairs": lambda s, value: s.update([("v", value)]),
    "|=": lambda s, value: s.__ior__({"v": value}),
    "setdefault": lambda s, value: s.setdefault("v", value),
    "[] over another": put_over_another,
    "[] after clear": put_after_clear,
}


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("new", [True, False])
def test_the_final_state_of_what_was_put_is_stored(
    manager: SessionManager, name: str, put: Callable[[Session, Any], object], new: bool
) -> None:
    value, change, after = aliases()[name]
    with manager.session(None if new else begin(manager, a=1)) as s:
        put(s, value)
        change(value)
    with manager.session(s.token) as s:
        assert json.dumps(s["v"]) == json.dumps(after)


@pytest.mark.parametrize("name", ALIASES)
def test_what_was_put_is_shown_as_it_is_now(manager: SessionManager, name: str) -> None:
    value, change, after = aliases()[name]
    with manager.session(None) as s:
        s["v"] = value
        change(value)
        assert json.dumps(s.peek("v")) == json.dumps(after)
        assert json.dumps(s.get_object("v", object), default=plain) == json.dumps(after)
        assert json.dumps(s["v"], default=plain) == json.dumps(after)


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("faster", [False, True])
def test_what_was_put_is_followed_after_a_save(manager: SessionManager, name: str, faster: bool) -> None:
    value, change, after = aliases()[name]
    with manager.session(begin(manager, a=1)) as s:
        s["v"] = value
        if faster:
            with manager.session(s.token) as other:
                other["b"] = 1
        s.save()
        change(value)
    with manager.session(s.token) as s:
        assert json.dumps(s["v"]) == json.dumps(after)


@pytest.mark.parametrize("value", [{}, [], {"a": [1, {"b": None}]}])
def test_a_list_or_dict_is_kept_itself(manager: SessionManager, value: JSONInput) -> None:
    with manager.session(None) as s:
        s["v"] = value
        assert s["v"] is value
        assert s.setdefault("v", []) is value
        assert s.setdefault("w", value) is value
        s["v"] = s["w"] = value
        assert s["v"] is s["w"] is value
        assert s.peek("v") is not value
        assert s.pop("v") is value


def test_one_list_under_two_keys_is_stored_twice(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s["a"] = cart = ["apple"]
        s["b"] = s["a"]
        cart.append("pear")
        cast: Any = s["b"]
        cast.append("plum")
    assert stored(manager, s.token) == '{"a": ["apple", "pear", "plum"], "b": ["apple", "pear", "plum"]}'


@pytest.mark.parametrize("take_out", [lambda s: s.pop("v"), lambda s: s.__setitem__("v", 1), lambda s: s.clear()])
@pytest.mark.parametrize("value", [["apple"], deque(["apple"])])
def test_what_was_taken_out_is_the_sessions_no_longer(
    manager: SessionManager, take_out: Callable[[Session], object], value: Any
) -> None:
    token = begin(manager, v=[])
    with manager.session(token) as s:
        mine = copy.copy(value)
        s["v"] = mine
        take_out(s)
        mine.append(object())
    assert stored(manager, token) in ('{"v": 1}', "{}")


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("new", [True, False])
def test_what_cannot_be_stored_any_more_is_refused_and_nothing_is_stored(
    clock: FakeClock, name: str, new: bool
) -> None:
    counted = CountingStore(MemoryStore(clock=clock))
    manager = SessionManager(counted, clock=clock)
    token = None if new else begin(manager, a=1)
    before = stored(manager, token)
    counted.taken()
    value, change, _ = aliases()[name]
    with pytest.raises(SessionTypeError, match="'v'") as caught, manager.session(token) as s:
        s["v"] = value
        s["b"] = 2
        change(value)
        spoil(value)
        assert s.status is Status.MODIFIED
        with pytest.raises(SessionTypeError, match="'v'"):
            s.save()
    assert caught.value.key == "v"
    assert caught.value.found == "set"
    assert set(counted.taken()) <= {"find"}
    assert stored(manager, token) == before


def spoil(value: Any) -> None:
    """Put something into *value* that JSON cannot express."""
    if isinstance(value, MappingProxyType):
        spoil(value["a"])
    elif isinstance(value, Mapping):
        value["z"] = {1}  # type: ignore[index]
    elif isinstance(value, tuple):
        spoil(value[0])
    else:
        value.append({1})


def test_after_the_block_a_change_is_not_stored(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s["v"] = cart = ["apple"]
    cart.append("pear")
    assert stored(manager, s.token) == '{"v": ["apple"]}'


def test_a_block_that_fails_stores_nothing_of_it(manager: SessionManager) -> None:
    token = begin(manager, v=["apple"])
    with pytest.raises(RuntimeError), manager.session(token) as s:
        s["v"] = cart = ["pear"]
        cart.append("plum")
        raise RuntimeError
    assert stored(manager, token) == '{"v": ["apple"]}'


def test_what_was_converted_and_its_original_may_not_both_change(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    with pytest.raises(SessionStateError, match="'v'"), manager.session(token) as s:
        s["v"] = counts = defaultdict[str, int](int)
        own: Any = s["v"]
        own["x"] = 1
        counts["y"] += 1
        assert s["v"] == {"x": 1}
        assert s.status is Status.MODIFIED
    assert stored(manager, token) == '{"a": 1}'
    # The copy that was handed out, and that was made anew since.
    with pytest.raises(SessionStateError, match="'v'"), manager.session(token) as s:
        s["v"] = counts
        own = s["v"]
        counts["y"] += 1
        assert s["v"] == {"y": 2}
        own["x"] = 1
        counts["y"] += 1
    # Both in the same way.
    with manager.session(token) as s:
        s["v"] = counts
        own = s["v"]
        counts["y"] += 1
        own["y"] += 1
    assert stored(manager, token) == '{"a": 1, "v": {"y": 4}}'


def test_a_list_that_a_merge_replaced_is_not_changed_in_vain(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), mergeable={"cart": "merge"}, clock=clock)
    token = begin(manager, cart=["apple"])
    with manager.session(token) as s:
        cart: Any = s["cart"]
        cart.append("pear")
        with manager.session(token) as other:
            theirs: Any = other["cart"]
            theirs.append("plum")
        s.save()
        merged: Any = s["cart"]
        assert merged == ["apple", "plum", "pear"]
        merged.append("fig")
    assert stored(manager, token) == '{"cart": ["apple", "plum", "pear", "fig"]}'
    with pytest.raises(SessionStateError, match="'cart'"), manager.session(token) as s:
        cart = s["cart"]
        cart.append("kiwi")
        with manager.session(token) as other:
            theirs = other["cart"]
            theirs.append("lime")
        s.save()
        cart.append("date")
    assert stored(manager, token) == '{"cart": ["apple", "plum", "pear", "fig", "lime", "kiwi"]}'


def test_a_session_of_its_own_is_still_the_apps(clock: FakeClock) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    token = begin(manager, a=1)
    with manager.session(token) as s:
        s["cart"] = cart = ["apple"]
        s["counts"] = counts = defaultdict[str, int](int)
        s.renew_token()
        with manager.session(token) as faster:
            faster.renew_token()
        s.save()
        cart.append("pear")
        counts["x"] += 1
    assert s.token not in (token, faster.token)
    assert stored(manager, s.token) == '{"cart": ["apple", "pear"], "counts": {"x": 1}}'


@pytest.mark.parametrize("mergeable", [True, False])
@pytest.mark.parametrize("put", [True, False])
def test_a_pending_change_within_a_list_survives_an_atomic_step(clock: FakeClock, mergeable: bool, put: bool) -> None:
    settings: dict[str, Any] = {"mergeable": {"cart": "merge"}} if mergeable else {"on_conflict": "merge_unchecked"}
    manager = SessionManager(MemoryStore(clock=clock), clock=clock, **settings)
    token = begin(manager, cart=["apple"])
    with manager.session(token) as s:
        cart: Any = ["apple"] if put else s["cart"]
        if put:
            s["cart"] = cart
        cart.append("pear")
        with manager.session(token) as other:
            theirs: Any = other["cart"]
            theirs.append("plum")
        s.atomic(lambda step: step.put_int("n", 1))
        merged = ["apple", "plum", "pear"] if mergeable else ["apple", "pear"]
        assert s.peek("cart") == merged
    assert stored(manager, token) == text({"cart": merged, "n": 1})


def test_what_atomic_puts_is_stored_as_it_is_then_and_at_the_end(manager: SessionManager) -> None:
    token = begin(manager, a=1)
    cart: list[str] = []
    counts = defaultdict[str, int](int)
    with manager.session(token) as s:
        s["mine"] = mine = ["x"]

        def put(step: Any) -> None:
            step["cart"] = cart
            step["counts"] = counts
            cart.append("apple")
            counts["x"] += 1

        s.atomic(put)
        assert stored(manager, token) == '{"a": 1, "cart": ["apple"], "counts": {"x": 1}}'
        cart.append("plum")
        counts["x"] += 1
        mine.append("y")
        taken: Any = s["cart"]
        taken.append("pear")
    expected = '{"a": 1, "cart": ["apple", "plum", "pear"], "counts": {"x": 2}, "mine": ["x", "y"]}'
    assert stored(manager, token) == expected


def test_another_task_may_change_a_list_while_it_is_being_stored(clock: FakeClock) -> None:
    memory = MemoryStore(clock=clock)
    manager = SessionManager(memory, clock=clock)
    cart: list[Any] = ["apple"]
    kept: Any = None

    class Async:
        """Awaits at every call, and changes the lists before the write arrives."""

        def __getattr__(self, verb: str) -> Callable[..., Any]:
            async def call(*arguments: Any, **named: Any) -> Any:
                await asyncio.sleep(0)
                if verb in ("create", "replace", "touch"):
                    cart.append(verb)
                    if kept is not None:
                        kept.append(verb)
                return getattr(memory, verb)(*arguments, **named)

            return call

    async def main() -> str | None:
        nonlocal kept
        amanager = AsyncSessionManager(Async(), clock=clock)
        async with amanager.session(None) as s:
            s["cart"] = cart
            await s.save()
            kept = s.setdefault("kept", [])
            s["n"] = 1
            await s.save()
            assert stored(manager, s.token) == '{"cart": ["apple", "create"], "kept": [], "n": 1}'
        return s.token

    token = asyncio.run(main())
    assert stored(manager, token) == '{"cart": ["apple", "create", "replace"], "kept": ["replace"], "n": 1}'


def test_what_another_task_spoils_while_it_is_stored_again_is_told_at_the_next_commit(clock: FakeClock) -> None:
    memory = MemoryStore(clock=clock)
    manager = SessionManager(memory, clock=clock)
    token = begin(manager, a=1)
    cart: list[Any] = ["apple"]

    class Async:
        """Has another request be faster once, while which the app spoils its list."""

        def __getattr__(self, verb: str) -> Callable[..., Any]:
            async def call(*arguments: Any, **named: Any) -> Any:
                if verb == "replace" and len(cart) == 1:
                    cart.append({1})
                    with manager.session(token) as faster:
                        faster["b"] = 2
                return getattr(memory, verb)(*arguments, **named)

            return call

    async def main() -> None:
        async with AsyncSessionManager(Async(), clock=clock).session(token) as s:
            s["cart"] = cart
            await s.save()
            assert s["cart"] is cart

    with pytest.raises(SessionTypeError, match="'cart'"):
        asyncio.run(main())
    assert stored(manager, token) == '{"a": 1, "b": 2, "cart": ["apple"]}'


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("faster", [False, True])
def test_what_comes_into_a_list_is_made_json(manager: SessionManager, faster: bool) -> None:
    token = begin(manager, cart=["apple"])
    with manager.session(token) as s:
        cart: Any = s["cart"]
        cart += [("a", 1), Colour.RED, Markup("<b>"), OrderedDict(n=HTTPStatus.OK), deque([True])]
        if faster:
            with manager.session(token) as other:
                other["b"] = 1
    more = {"b": 1} if faster else {}
    assert stored(manager, token) == text({**more, "cart": ["apple", ["a", 1], "red", "<b>", {"n": 200}, [True]]})


# All of it at random

scalars = st.sampled_from([None, True, False, 1, 0, 1.0, 0.0, -0.0, "", "x"])
keys = st.sampled_from(["a", "b", "c"])
names = st.sampled_from(["x", "y", "z"])
json_values: st.SearchStrategy[Any] = st.deferred(
    lambda: scalars | st.lists(json_values, max_size=2) | st.dictionaries(names, json_values, max_size=3)
)
foreign: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(names, scalars, max_size=2).map(lambda value: defaultdict(int, value)),
    st.dictionaries(names, scalars, max_size=2).map(OrderedDict),
    st.lists(scalars, max_size=2).map(lambda value: [tuple(value), *value]),
    st.lists(scalars, max_size=2).map(deque),
)


class Likeness(RuleBasedStateMachine):
    """Each object is there twice: once for the session, once for the dict. What is done to one is done to the other."""

    held: Bundle[tuple[Any, Any]] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.manager = SessionManager(MemoryStore())
        self.model: dict[str, Any] = {}
        self.foreign: set[int] = set()
        self.token: str | None = None
        self.keep: list[object] = []

    @initialize(data=st.dictionaries(keys, json_values))
    def begins(self, data: dict[str, Any]) -> None:
        with self.manager.session(None) as s:
            s.update(copy.deepcopy(data))
        self.token, self.model = s.token, data
        self._enter()

    def _enter(self) -> None:
        self.block = ExitStack()
        self.s = self.block.enter_context(self.manager.session(self.token))

    @rule(target=held, value=json_values | foreign)
    def an_object(self, value: Any) -> tuple[Any, Any]:
        pair = (value, copy.deepcopy(value))
        self.keep.append(pair)
        if type(value) not in (list, dict) or any(type(part) is tuple for part in value):
            self.foreign.add(id(pair[1]))
        return pair

    @rule(key=keys, pair=held, how=st.sampled_from(["[]", "update", "|=", "setdefault"]))
    def put(self, key: str, pair: tuple[Any, Any], how: str) -> None:
        mine, other = pair
        match how:
            case "[]":
                self.s[key], self.model[key] = mine, other
            case "update":
                self.s.update({key: mine})
                self.model.update({key: other})
            case "|=":
                self.s |= {key: mine}
                self.model |= {key: other}
            case "setdefault":
                self.s.setdefault(key, mine)
                self.model.setdefault(key, other)

    @rule(target=held, key=keys, how=st.sampled_from(["[]", "get", "pop", "popitem", "copy", "items"]))
    def take(self, key: str, how: str) -> tuple[Any, Any]:
        if not self.model or key not in self.model:
            return None, None
        match how:
            case "popitem":
                key = max(self.model)
                taken, mine = self.s.popitem()
                assert taken == key
                other = self.model.pop(key)
            case "pop":
                mine, other = self.s.pop(key), self.model.pop(key)
            case "copy":
                mine, other = self.s.copy()[key], self.model[key]
            case "items":
                mine, other = dict(self.s.items())[key], self.model[key]
            case "get":
                mine, other = self.s.get(key), self.model[key]
            case _:
                mine, other = self.s[key], self.model[key]
        # The session's copy of what it had to convert is another object than the app's: only one of the two may change.
        if id(other) in self.foreign:
            return None, None
        return mine, other

    @rule(pair=held, name=names, value=scalars, how=st.sampled_from(["set", "move", "remove", "nest", "within", "all"]))
    def change(self, pair: tuple[Any, Any], name: str, value: Any, how: str) -> None:
        for one in pair:
            self._change(one, name, value, how)

    def _change(self, one: Any, name: str, value: Any, how: str) -> None:
        if isinstance(one, dict):
            match how:
                case "set":
                    one[name] = value
                case "move" if name in one:
                    one[name] = one.pop(name)
                case "remove":
                    one.pop(name, None)
                case "nest":
                    one[name] = {"x": [value]}
                case "within":
                    for part in list(one.values()):
                        self._change(part, name, value, "set")
                case "all":
                    one.clear()
        elif isinstance(one, list | deque):
            match how:
                case "set" | "nest":
                    one.append([value] if how == "nest" else value)
                case "move":
                    one.reverse()
                case "remove" if one:
                    one.pop()
                case "within":
                    for part in list(one):
                        self._change(part, name, value, "set")
                case "all":
                    one.clear()

    @rule(key=keys)
    def remove(self, key: str) -> None:
        self.s.remove(key)
        self.model.pop(key, None)

    @rule()
    def clear(self) -> None:
        self.s.clear()
        self.model.clear()

    @rule()
    def save(self) -> None:
        self.s.save()
        self._is_stored()

    @rule(other=st.booleans())
    def next_request(self, other: bool) -> None:
        self.block.close()
        self._is_stored()
        # What the app still holds is the session's no longer; the dict goes on with what was stored.
        self.model = json.loads(text(self.model))
        self._enter()

    @invariant()
    def they_show_the_same(self) -> None:
        if self.token is not None or self.model:
            # By peek, which hands out nothing that would have to be watched.
            assert text({key: self.s.peek(key) for key in self.s}) == text(self.model)

    def _is_stored(self) -> None:
        self.token = self.s.token
        assert stored(self.manager, self.token) == text(self.model)

    def teardown(self) -> None:
        if hasattr(self, "block"):
            self.block.close()
            self._is_stored()


TestLikeness = Likeness.TestCase
TestLikeness.settings = settings(max_examples=200, stateful_step_count=25)
