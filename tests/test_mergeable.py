"""Values of one key that two requests changed at once: both changes count, and nothing is made up."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session import JSONValue, SessionTypeError
from session.mergeable import Absent, Merge, check_mergeable, merge_json_list, merge_values
from session.values import from_time, to_time

ABSENT = Absent.ABSENT
Side: TypeAlias = JSONValue | Absent
INT64 = range(-(2**63), 2**63)

encode = msgspec.json.Encoder(order="deterministic").encode


def first_given(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
    return next((side for side in (base, ours, theirs) if side is not None), None)


ALL: tuple[Merge, ...] = ("merge", "add", "latest", first_given)

# Few of each, so that two sides often hold the same.
leaves = st.sampled_from((None, True, 1, 1.0, 0, -0.0, "", "a", "b"))
names = st.sampled_from(("a", "b", "c"))


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3)


json_values: st.SearchStrategy[JSONValue] = st.recursive(leaves, containers, max_leaves=12)
sides: st.SearchStrategy[Side] = st.just(ABSENT) | json_values
elements: st.SearchStrategy[JSONValue] = leaves | st.lists(leaves, max_size=2)
lists: st.SearchStrategy[list[JSONValue]] = st.lists(elements, max_size=5)
ints = st.integers(-(2**62), 2**62) | st.integers(-3, 3)
numbers = ints | st.floats(allow_nan=False, allow_infinity=False)


def merge(base: Side, ours: Side, theirs: Side) -> Side:
    return merge_values("key", "merge", base, ours, theirs)


def add(base: Side, ours: Side, theirs: Side) -> Side:
    return merge_values("key", "add", base, ours, theirs)


def latest(base: Side, ours: Side, theirs: Side) -> Side:
    return merge_values("key", "latest", base, ours, theirs)


def encoded(side: Side) -> bytes | None:
    return None if side is ABSENT else encode(side)


def counted(value: Side) -> Counter[bytes]:
    """The elements of a list as a multiset. An absent list has none."""
    if value is ABSENT:
        return Counter()
    assert isinstance(value, list)
    return Counter(map(encode, value))


def leaves_of(value: Side) -> Iterator[bytes]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves_of(inner)
    elif value is not ABSENT:
        yield encode(value)


@pytest.mark.parametrize("how", ALL)
@given(sides, sides)
def test_a_value_that_one_side_changed_is_that_side(how: Merge, base: Side, changed: Side) -> None:
    assert encoded(merge_values("key", how, base, changed, copy.deepcopy(base))) == encoded(changed)
    assert encoded(merge_values("key", how, base, copy.deepcopy(base), changed)) == encoded(changed)
    assert encoded(merge_values("key", how, base, base, base)) == encoded(base)


@given(sides, sides, sides)
def test_merging_changes_no_argument(base: Side, ours: Side, theirs: Side) -> None:
    before = [*map(encoded, (base, ours, theirs))]
    merge(base, ours, theirs)
    assert [*map(encoded, (base, ours, theirs))] == before


@given(sides, sides, sides)
def test_no_leaf_is_invented(base: Side, ours: Side, theirs: Side) -> None:
    assert {*leaves_of(merge(base, ours, theirs))} <= {*leaves_of(ours), *leaves_of(theirs)}


@given(lists, lists, lists)
def test_both_sides_appends_are_kept(base: list[JSONValue], ours: list[JSONValue], theirs: list[JSONValue]) -> None:
    merged = merge(base, [*base, *ours], [*base, *theirs])
    expected = [*base, *theirs, *ours]
    assert encoded(merged) == encode(expected)


@given(lists, lists, lists)
def test_each_change_of_a_list_counts_once(
    base: list[JSONValue], ours: list[JSONValue], theirs: list[JSONValue]
) -> None:
    merged, swapped = counted(merge(base, ours, theirs)), counted(merge(base, theirs, ours))
    before, mine, others = map(counted, (base, ours, theirs))
    for element in {*before, *mine, *others}:
        # A removal of something that the other side removed, too, has nothing left to remove.
        assert merged[element] == max(0, others[element] + mine[element] - before[element])
    assert merged == swapped


@given(st.data())
def test_changes_of_a_list_that_do_not_overlap_are_made_one_after_the_other(data: st.DataObject) -> None:
    base = [*range(data.draw(st.integers(0, 8)))]
    owners = [data.draw(st.sampled_from(("ours", "theirs", "nobody"))) for _ in base]
    ours_added = [100, 101, 102][data.draw(st.integers(0, 3)) :]
    theirs_added = [200, 201, 202][data.draw(st.integers(0, 3)) :]

    def left_by(*sides: str) -> list[int]:
        return [element for element, owner in zip(base, owners, strict=True) if owner not in sides]

    merged = merge([*base], [*left_by("ours"), *ours_added], [*left_by("theirs"), *theirs_added])
    assert merged == [*left_by("ours", "theirs"), *theirs_added, *ours_added]


Edit: TypeAlias = tuple[tuple[str, ...], str, JSONValue]


@st.composite
def edits(draw: st.DrawFn, under: str) -> list[Edit]:
    """Changes of a tree of dicts and lists, each below a key that only this side touches."""
    path = st.sampled_from([("shared", under), ("shared", under, "deep"), (under,), (under, "x"), (under, "y")])
    return draw(st.lists(st.tuples(path, st.sampled_from(("set", "remove", "append")), json_values), max_size=5))


def edited(before: dict[str, JSONValue], changes: list[Edit]) -> dict[str, JSONValue]:
    tree = copy.deepcopy(before)
    for (*path, name), verb, value in changes:
        at: JSONValue = tree
        for step in path:
            if not isinstance(at, dict):
                break
            at = at.setdefault(step, {})
        if not isinstance(at, dict):
            continue
        if verb == "set":
            at[name] = copy.deepcopy(value)
        elif verb == "remove":
            at.pop(name, None)
        else:
            listed = at.setdefault(name, [])
            if isinstance(listed, list):
                listed.append(copy.deepcopy(value))
    return tree


@given(edits("ours"), edits("theirs"), edits("ours"), edits("theirs"))
def test_changes_of_different_keys_are_made_one_after_the_other(
    a: list[Edit], b: list[Edit], ours: list[Edit], theirs: list[Edit]
) -> None:
    base = edited({"shared": {"list": [1]}}, [*a, *b])
    in_turn = edited(edited(base, theirs), ours)
    assert encoded(merge(base, edited(base, ours), edited(base, theirs))) == encode(in_turn)


CASES: tuple[tuple[Side, Side, Side, Side], ...] = (
    # base, ours, theirs, merged
    (["x"], [], [], []),
    (["x", "x"], ["x"], ["x"], []),
    (["x"], ["x", "a"], ["x", "a"], ["x", "a", "a"]),
    ([1], [1.0], [1, True], [True, 1.0]),
    (["a"], ["b", "a", "b", "a"], ["a", "c"], ["a", "c", "b", "b", "a"]),
    ([1, 2, 3], [2, 3, 4], [2, 3, 5], [2, 3, 5, 4]),
    ([["in"]], [["in"], ["ours"]], [["theirs"]], [["theirs"], ["ours"]]),
    # A list or dict that was removed counts as emptied.
    (ABSENT, ["a"], ["a"], ["a", "a"]),
    (["x"], ABSENT, ["x", "y"], ["y"]),
    (["x"], ["x", "y"], ABSENT, ["y"]),
    (["x", "y"], ABSENT, ["x"], ABSENT),
    (["x", "y"], ["x"], ABSENT, ABSENT),
    (["x"], ABSENT, ABSENT, ABSENT),
    (["x"], ABSENT, [], ABSENT),
    ({"a": 1}, ABSENT, {"a": 1, "b": 2}, {"b": 2}),
    ({"a": 1}, ABSENT, {"a": 2}, ABSENT),
    ({"a": 1, "b": 1}, {"a": 1}, ABSENT, ABSENT),
    ({"a": 1}, {}, {"a": 2}, {}),
    # Of a leaf that both changed the later counts, a removal, too.
    ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}),
    (1, ABSENT, 2, ABSENT),
    (1, 2, ABSENT, 2),
    (ABSENT, None, 1, None),
    (1, 2, 3, 2),
    # So it does where the types differ.
    ([1], {"a": 1}, [1, 2], {"a": 1}),
    ([1], "text", [1, 2], "text"),
    ([1], ABSENT, {"a": 1}, ABSENT),
    ({"a": 1}, [2], ABSENT, [2]),
    ("text", [1], [2], [1]),
    (None, [1], [2], [1]),
    ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, {"a": {"b": [1, 3], "c": 0}}, {"a": {"b": [1, 3, 2], "c": 0}}),
    ({"a": {"b": [1]}}, {}, {"a": {"b": [1, 3]}}, {"a": {"b": [3]}}),
    ({"a": {"b": [1]}}, {}, {"a": {"b": []}}, {}),
)


@pytest.mark.parametrize(("base", "ours", "theirs", "merged"), CASES)
def test_merge(base: Side, ours: Side, theirs: Side, merged: Side) -> None:
    assert encoded(merge(base, ours, theirs)) == encoded(merged)


def test_keys_keep_their_order() -> None:
    merged = merge({"z": 1}, {"z": 1, "b": 1, "a": 1}, {"y": 1, "z": 2})
    assert isinstance(merged, dict)
    assert [*merged] == ["y", "z", "b", "a"]


@given(ints, ints, ints)
def test_add_is_exact(base: int, ours: int, theirs: int) -> None:
    total = theirs + ours - base
    if total in INT64:
        assert add(base, ours, theirs) == total
    elif base not in (ours, theirs):
        with pytest.raises(ValueError, match="64 bits"):
            add(base, ours, theirs)


@given(numbers, numbers, numbers)
def test_add_of_floats_is_rounded_once(base: float, ours: float, theirs: float) -> None:
    if base in (ours, theirs) or all(isinstance(number, int) for number in (base, ours, theirs)):
        return
    total = Fraction(theirs) + Fraction(ours) - Fraction(base)
    if abs(total) > 2**1023:
        return
    merged = add(base, ours, theirs)
    assert isinstance(merged, float)
    assert merged == float(total)
    assert merged == add(base, theirs, ours)


ADDED: tuple[tuple[Side, Side, Side, Side], ...] = (
    (ABSENT, 1, 1, 2),
    (ABSENT, -1, 1, 0),
    (5, 6, 7, 8),
    (5, 6, 6, 7),
    (5, 6.5, 6, 7.5),
    (5.0, 6, 7, 8.0),
    (0.1, 0.2, 0.3, 0.4),
    (2**53, 2**53 + 1, 2**53 + 1, 2**53 + 2),
    # A side that removed the number took all of it away.
    (5, ABSENT, 7, 2),
    (5, 7, ABSENT, 2),
    (5, ABSENT, 5.5, 0.5),
    (5, ABSENT, 6 - 1.0, ABSENT),
    (5, 5.0, ABSENT, ABSENT),
    (5, ABSENT, ABSENT, ABSENT),
    (2**62, 2**63 - 1, 2**62 - 1, 2**63 - 2),
)


@pytest.mark.parametrize(("base", "ours", "theirs", "merged"), ADDED)
def test_add(base: Side, ours: Side, theirs: Side, merged: Side) -> None:
    assert encoded(add(base, ours, theirs)) == encoded(merged)


@pytest.mark.parametrize("wrong", [True, None, "1", [1], {}])
@pytest.mark.parametrize("place", range(3))
def test_add_takes_numbers_only(place: int, wrong: JSONValue) -> None:
    values: list[JSONValue] = [10, 11, 12]
    values[place] = wrong
    with pytest.raises(
        SessionTypeError, match=r"session key 'key': wanted a number .*, found (bool|null|str|list|dict)"
    ):
        add(*values)


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [(0, 2**63 - 1, 1), (ABSENT, -(2**63), -1), (-1.0, 1.7e308, 1.7e308), (0.0, math.inf, 1), (0, 1, math.nan)],
)
def test_add_stays_within_the_numbers(base: Side, ours: Side, theirs: Side) -> None:
    with pytest.raises(ValueError, match="session key 'key'"):
        add(base, ours, theirs)


def test_a_number_beyond_64_bits_that_go_wrote_cannot_be_added_to() -> None:
    with pytest.raises(SessionTypeError, match="beyond signed 64 bits"):
        add(10**20, 10**20 + 1, 3)


LATEST: tuple[tuple[Side, Side, Side, Side], ...] = (
    (1, 2, 3, 3),
    (1, 3, 2, 3),
    (9, 2, 3, 3),
    (1, 2.5, 2, 2.5),
    (0, 1, 1.0, 1),
    (0, 2**53 + 1, float(2**53), 2**53 + 1),
    (ABSENT, "10", "9", "9"),
    (ABSENT, "2030-01-01T12:00:00Z", "2030-01-01T12:30:00+01:00", "2030-01-01T12:00:00Z"),
    (ABSENT, "2030-01-01T12:30:00+01:00", "2030-01-01T12:00:00Z", "2030-01-01T12:00:00Z"),
    (ABSENT, "2030-01-01T12:00:00.5Z", "2030-01-01T12:00:00Z", "2030-01-01T12:00:00.5Z"),
    # Equal instants: ours, which is the later.
    (ABSENT, "2030-01-01T12:00:00Z", "2030-01-01T13:00:00+01:00", "2030-01-01T12:00:00Z"),
    # No RFC 3339 time: a string.
    (ABSENT, "2030-01-01 12:00", "2030-01-01T11:00:00Z", "2030-01-01T11:00:00Z"),
    # What cannot be compared: ours.
    (ABSENT, "1", 2, "1"),
    (ABSENT, True, 2, True),
    (ABSENT, 0, True, 0),
    (ABSENT, [1], [2], [1]),
    (1, None, 2, None),
    # A removal counts only if the other side changed nothing.
    (1, ABSENT, 0, 0),
    (1, 0, ABSENT, 0),
    (1, ABSENT, 1, ABSENT),
    (1, ABSENT, ABSENT, ABSENT),
    (1, 0, 1, 0),
)


@pytest.mark.parametrize(("base", "ours", "theirs", "merged"), LATEST)
def test_latest(base: Side, ours: Side, theirs: Side, merged: Side) -> None:
    assert encoded(latest(base, ours, theirs)) == encoded(merged)


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(2000, 1, 1), datetime(2000, 1, 3), timezones=offsets)  # noqa: DTZ001 (offsets are drawn)


@given(times, times)
def test_latest_of_times_is_the_later_instant(ours: datetime, theirs: datetime) -> None:
    merged = latest(ABSENT, from_time("key", ours), from_time("key", theirs))
    assert isinstance(merged, str)
    assert to_time("key", merged) == max(ours, theirs)


@given(sides, numbers | st.text(max_size=2), numbers | st.text(max_size=2))
def test_latest_takes_one_of_the_two(base: Side, ours: JSONValue, theirs: JSONValue) -> None:
    assert encoded(latest(base, ours, theirs)) in (encoded(ours), encoded(theirs))


def test_a_function_gets_none_for_a_key_that_is_not_there() -> None:
    seen: list[JSONValue] = []

    def function(*three: JSONValue) -> JSONValue:
        seen.extend(three)
        return [*three]

    assert merge_values("key", function, ABSENT, 1, 2) == [None, 1, 2]
    assert merge_values("key", function, 0, 1, ABSENT) == [0, 1, None]
    assert merge_values("key", function, None, ABSENT, 2) == [None, None, 2]
    assert seen == [None, 1, 2, 0, 1, None, None, None, 2]


def test_a_function_that_returns_none_removes_the_key() -> None:
    assert merge_values("key", lambda base, ours, theirs: None, 1, 2, 3) is ABSENT


def test_a_function_may_change_its_arguments_and_keep_its_result() -> None:
    kept: list[JSONValue] = []

    def function(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
        assert isinstance(ours, list)
        assert isinstance(theirs, list)
        ours.extend(theirs)
        kept.append(ours)
        return ours

    ours: list[JSONValue] = [[1]]
    merged = merge_values("key", function, [], ours, [[2]])
    assert ours == [[1]]
    assert merged == [[1], [2]]
    kept[0] = None
    assert merged == [[1], [2]]


@pytest.mark.parametrize(("result", "error"), [({1}, SessionTypeError), (2**63, ValueError), (math.nan, ValueError)])
def test_a_function_returns_what_a_session_can_hold(result: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="session key 'key'"):
        merge_values("key", lambda base, ours, theirs: result, 1, 2, 3)


def test_what_a_function_raises_comes_through() -> None:
    def function(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        merge_values("key", function, 1, 2, 3)


def messages(*texts: str) -> str:
    return json.dumps([["__json_message", 0, 20, text, ""] for text in texts])


def test_lists_of_json_in_a_string() -> None:
    merged = merge_json_list(messages("old"), messages("old", "ours", "ours"), messages("old", "theirs"))
    assert isinstance(merged, str)
    assert json.loads(merged) == json.loads(messages("old", "theirs", "ours", "ours"))


def test_a_message_that_both_added_is_there_twice() -> None:
    merged = merge_values("_messages", merge_json_list, ABSENT, messages("saved"), messages("saved"))
    assert merged == messages("saved", "saved").replace(", ", ",")


def test_messages_that_were_shown_do_not_come_back() -> None:
    # Ours showed them all, and so removed the key; theirs added one.
    assert merge_json_list(messages("old"), None, messages("old", "new")) == messages("new").replace(", ", ",")
    assert merge_values("_messages", merge_json_list, messages("old", "b"), ABSENT, messages("old")) is ABSENT


@pytest.mark.parametrize("side", [None, "", "[1", '{"a":1}', "1", 7, [1], "[" * 100_000, "[" + "1" * 5_000 + "]"])
def test_a_side_that_is_no_list_of_json_counts_as_empty(side: JSONValue) -> None:
    assert merge_json_list(side, '["ours"]', side) == '["ours"]'
    assert merge_json_list(side, side, '["theirs"]') == '["theirs"]'
    assert merge_json_list('["base"]', side, '["base"]') is None


odd = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(st.characters(), max_size=3),
    containers,
    max_leaves=5,
)


@given(st.lists(odd, max_size=3), st.lists(odd, max_size=3), st.lists(odd, max_size=3))
def test_strings_of_json_keep_both_sides_appends(base: list[Any], ours: list[Any], theirs: list[Any]) -> None:
    texts = (json.dumps(value) for value in (base, [*base, *ours], [*base, *theirs]))
    merged = merge_values("key", merge_json_list, *texts)
    if not ours or not theirs:
        assert isinstance(merged, str)
        assert json.loads(merged) == [*base, *theirs, *ours]
    else:
        assert merged == json.dumps([*base, *theirs, *ours], separators=(",", ":"))


def test_equal_objects_of_json_are_equal_in_any_order() -> None:
    assert merge_json_list('[{"a":1,"b":2}]', "[]", '[{"b":2,"a":1},1]') == "[1]"
    assert merge_json_list("[1]", "[]", "[1.0, true, 1]") == "[1.0,true]"


def test_a_lone_surrogate_and_a_nan_stay_as_they_were() -> None:
    assert merge_json_list(None, r'["\ud800"]', "[NaN]") == r'[NaN,"\ud800"]'


def test_mergeable_keys_are_copied() -> None:
    given_: dict[str, Merge] = {"cart": "merge", "n": "add", "t": "latest", "f": first_given, "m": merge_json_list}
    checked = check_mergeable(given_)
    assert dict(checked) == given_
    given_.clear()
    assert len(checked) == 5
    with pytest.raises(TypeError):
        checked["other"] = "add"  # type: ignore[index]  # it is read-only


async def coroutine_function(base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
    return ours


class Awaited:
    async def __call__(self, base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
        return ours


class Called:
    def __call__(self, base: JSONValue, ours: JSONValue, theirs: JSONValue) -> JSONValue:
        return ours


@pytest.mark.parametrize("how", [max, Called(), functools.partial(first_given), lambda *three: three[0]])
def test_anything_that_takes_three_is_a_function(how: Callable[..., Any]) -> None:
    check_mergeable({"key": how})


@pytest.mark.parametrize(
    ("mergeable", "error", "says"),
    [
        (["cart"], TypeError, "mergeable must be a mapping of keys, not list: name a kind for each key"),
        ("cart", TypeError, "not str"),
        (None, TypeError, "not NoneType"),
        ({1: "merge"}, TypeError, "a session key must be a str, not int"),
        ({"\ud800": "merge"}, ValueError, "lone surrogate"),
        (
            {"cart": "sum"},
            ValueError,
            r"mergeable\['cart'\] is 'sum'; choose \"merge\", \"add\", \"latest\" or a function",
        ),
        ({"cart": None}, TypeError, "mergeable.'cart'. is of type NoneType; choose"),
        ({"cart": ["merge"]}, TypeError, "is of type list"),
        ({"cart": coroutine_function}, TypeError, "must be a plain function, not a coroutine function"),
        ({"cart": functools.partial(coroutine_function)}, TypeError, "must be a plain function"),
        ({"cart": Awaited()}, TypeError, "must be a plain function"),
        ({"cart": lambda ours, theirs: ours}, TypeError, "must accept three positional arguments"),
        ({"cart": lambda: None}, TypeError, "must accept three positional arguments"),
        ({"good": "add", "cart": lambda a, b, c, d: a}, TypeError, r"mergeable\['cart'\] must accept three"),
    ],
)
def test_what_makes_no_sense_is_refused(mergeable: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check_mergeable(mergeable)
