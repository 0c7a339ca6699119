"""What a getter returns is the same before and after the codec, the item, and each server."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TypedDict

import attrs
import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dynamostore import MemoryStore, Store
from dynamostore.testing import FakeClock
from session import JSONCodec, JSONValue, Session, SessionManager


@dataclass
class Item:
    name: str
    price: float
    tags: tuple[str, ...]
    at: datetime | None


class Address(TypedDict):
    street: str
    number: int


@attrs.define
class Point:
    x: int
    y: int


class User(msgspec.Struct):
    name: str
    photo: bytes
    address: Address


text = st.text(st.characters(codec="utf-8"))
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
zones = st.timezones() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones)  # noqa: DTZ001 (bounds are naive)
instants = st.datetimes(timezones=st.just(UTC))
addresses = st.fixed_dictionaries({"street": text, "number": integers})
json_values: st.SearchStrategy[JSONValue] = st.recursive(
    st.none() | st.booleans() | integers | floats | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)

Put = Callable[[Session], None]
Get = Callable[[Session], object]


def access(key: str) -> st.SearchStrategy[tuple[Put, Get, object]]:
    """A value to put under *key*, and how it is put and got."""
    return st.one_of(
        text.map(lambda v: (lambda s: s.put_string(key, v), lambda s: s.get_string(key), v)),
        integers.map(lambda v: (lambda s: s.put_int(key, v), lambda s: s.get_int(key), v)),
        floats.map(lambda v: (lambda s: s.put_float(key, v), lambda s: s.get_float(key), v)),
        st.booleans().map(lambda v: (lambda s: s.put_bool(key, v), lambda s: s.get_bool(key), v)),
        st.binary().map(lambda v: (lambda s: s.put_bytes(key, v), lambda s: s.get_bytes(key), v)),
        times.map(lambda v: (lambda s: s.put_time(key, v), lambda s: s.get_time(key), v.astimezone(UTC))),
        json_values.map(lambda v: (lambda s: s.__setitem__(key, v), lambda s: s[key], v)),
        st.builds(Item, text, floats, st.lists(text).map(tuple), st.none() | instants).map(
            lambda v: (lambda s: s.put_object(key, v), lambda s: s.get_object(key, Item), v)
        ),
        st.builds(Point, integers, integers).map(
            lambda v: (lambda s: s.put_object(key, v), lambda s: s.get_object(key, Point), v)
        ),
        st.builds(User, text, st.binary(), addresses).map(
            lambda v: (lambda s: s.put_object(key, v), lambda s: s.get_object(key, User), v)
        ),
        addresses.map(lambda v: (lambda s: s.put_object(key, v), lambda s: s.get_object(key, Address), v)),
    )


accesses = st.lists(text, unique=True, max_size=8).flatmap(lambda keys: st.tuples(*map(access, keys)))


def same(a: object, b: object) -> bool:
    """Equal, and of one type and sign all the way down: 1 is not True, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@given(accesses)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_getter_returns_the_same_before_and_after_it_is_stored(
    store: Store, clock: FakeClock, accesses: tuple[tuple[Put, Get, object], ...]
) -> None:
    manager = SessionManager(store, clock=clock)
    with manager.session(None) as s:
        for put, get, value in accesses:
            put(s)
            got = get(s)
            assert same(got, value) or (isinstance(got, datetime) and got.astimezone(UTC) == value)
        before = [get(s) for _, get, _ in accesses]
    assert (s.token is not None) == bool(accesses)
    with manager.session(s.token) as s:
        after = [get(s) for _, get, _ in accesses]
    assert all(map(same, before, after))
    # The offset of a time is kept, too.
    assert [str(value) for value in before] == [str(value) for value in after]


@given(st.dictionaries(text, json_values), integers)
def test_the_codec_gives_back_what_it_was_given(data: dict[str, JSONValue], deadline_ns: int) -> None:
    codec = JSONCodec()
    decoded, deadline = codec.decode(codec.encode(data, deadline_ns))
    assert same(decoded, data)
    assert deadline == deadline_ns


@given(st.dictionaries(text, json_values))
@example({"a": -0.0, "b": "[-0]", "c": [0, -0.0]})
def test_data_that_is_not_touched_is_stored_as_it_was_read(data: dict[str, JSONValue]) -> None:
    store = MemoryStore()
    manager = SessionManager(store)
    with manager.session(None) as s:
        s.update(data)
        s.put_int("visits", 1)
    with manager.session(s.token) as s:
        s.increment("visits")
    with manager.session(s.token) as s:
        assert same(dict(s), dict(sorted({**data, "visits": 2}.items())))
