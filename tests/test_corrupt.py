"""Items that are no records: an error that says which and why, wherever they are met, and nothing is lost."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dynamostore import Conflict, CorruptRecordError, DynamoStore, Record, Store, Table
from dynamostore.digests import digest
from dynamostore.testing import FakeClock

from .backends import Backend
from .fakes import Watched, assert_discreet, assert_names

HOUR = timedelta(hours=1)
SECRET = b"what nobody is to know"
SPOILT = "spoilt by hand"

# Whoever scans the table of the other tests need not meet what lies about here.
OWN = Table(name="corrupt-records")


def own_store(server: Backend, clock: FakeClock) -> DynamoStore:
    store = DynamoStore(server.client, OWN, clock=clock)
    store.create_table()
    return store


# What is put in place of the attributes of a good item (None: left out), and what is said of it.
CORRUPT: dict[str, tuple[dict[str, Any], str]] = {
    "no data": ({"data": None}, "data is missing"),
    "data as text": ({"data": {"S": SPOILT}}, "data is of type S, not binary"),
    "data as a number": ({"data": {"N": "31337"}}, "data is of type N, not binary"),
    "data as null": ({"data": {"NULL": True}}, "data is of type NULL, not binary"),
    "data as a list": ({"data": {"L": [{"B": SECRET}]}}, "data is of type L, not binary"),
    "data as a set": ({"data": {"BS": [SECRET]}}, "data is of type BS, not binary"),
    "no expiry": ({"expiry": None}, "expiry is missing"),
    "expiry as text": ({"expiry": {"S": "1893459600000000000"}}, "expiry is of type S, not a number"),
    "expiry as a bool": ({"expiry": {"BOOL": True}}, "expiry is of type BOOL, not a number"),
    "expiry with a fraction": ({"expiry": {"N": "1893459600000000000.5"}}, "expiry is not an integer"),
    "expiry beyond int64": ({"expiry": {"N": str(2**63)}}, "expiry is outside signed 64-bit"),
    "expiry of 38 digits": ({"expiry": {"N": "9" * 38}}, "expiry is outside signed 64-bit"),
    "expiry of 39 digits": ({"expiry": {"N": "9" * 39}}, "expiry is not an integer"),
    "version as text": ({"version": {"S": "7"}}, "version is of type S, not a number"),
    "version zero": ({"version": {"N": "0"}}, "version is not between 1 and"),
    "version negative": ({"version": {"N": "-7"}}, "version is not between 1 and"),
    "version of 64 bits": ({"version": {"N": str(2**63)}}, "version is not between 1 and"),
    "version with a fraction": ({"version": {"N": "1.5"}}, "version is not an integer"),
    "versions before as text": ({"recent": {"S": SPOILT}}, "recent is of type S, not versions"),
    "versions before cut off": ({"recent": {"B": SECRET[:7]}}, "recent is of type B, not versions"),
    "moved to a number": ({"moved": {"N": "31337"}}, "moved is of type N, not a token"),
    "moved to nothing": ({"moved": {"S": ""}}, "moved is of type S, not a token"),
    "moved to what cannot be a token": ({"moved": {"S": SPOILT * 200}}, "moved is of type S, not a token"),
}

corrupt = pytest.mark.parametrize(("changes", "reason"), CORRUPT.values(), ids=CORRUPT)


class Spoilt:
    """A record that was read when it was good, whose item somebody has spoilt since."""

    def __init__(self, server: Backend, clock: FakeClock, changes: dict[str, Any], expiry: timedelta = HOUR) -> None:
        self.server = server
        self.store = own_store(server, clock)
        self.token = secrets.token_urlsafe(32)
        self.read = self.store.create(self.token, SECRET, clock.now + 2 * HOUR)
        ns = clock.now_ns + expiry // timedelta(microseconds=1) * 1000
        item: dict[str, Any] = {
            "token": {"S": self.token},
            "data": {"B": SECRET},
            "expiry": {"N": str(ns)},
            "ttl": {"N": str(ns // 10**9 + 1)},
            "version": {"N": "31337"},
        } | changes
        self.item = {name: value for name, value in item.items() if value is not None}
        server.client.put_item(TableName=OWN.name, Item=self.item)

    def now(self, token: str = "") -> object:
        """What lies under the token now (or under another)."""
        key = {"token": {"S": token or self.token}}
        return self.server.client.get_item(TableName=OWN.name, Key=key, ConsistentRead=True).get("Item")


@pytest.fixture
def spoil(server: Backend, clock: FakeClock) -> Callable[..., Spoilt]:
    def spoil(changes: dict[str, Any], expiry: timedelta = HOUR) -> Spoilt:
        number = changes.get("expiry", {"N": ""}) or {}
        if server.is_strict and len(number.get("N", "")) > 38:
            pytest.skip(f"{server.name} takes no number of 39 digits")
        return Spoilt(server, clock, changes, expiry)

    return spoil


@corrupt
def test_a_corrupt_item_is_named_with_what_is_wrong_and_left_alone(
    spoil: Callable[..., Spoilt], caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    caplog.set_level(logging.DEBUG, "dynamostore")
    spoilt = spoil(changes)
    with pytest.raises(CorruptRecordError, match=reason) as caught:
        spoilt.store.find(spoilt.token)
    error = caught.value
    assert error.digest == digest(spoilt.token)
    assert error.reason in str(error)
    assert_names(str(error), spoilt.token)
    assert_discreet(error, spoilt.token, SECRET, SPOILT, log=caplog.text)
    assert spoilt.now() == spoilt.item


@corrupt
@pytest.mark.parametrize("name", ["create", "replace", "rename", "rename onto"])
def test_a_corrupt_item_in_the_way_is_told_and_nothing_is_written(
    spoil: Callable[..., Spoilt],
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    reason: str,
    name: str,
) -> None:
    caplog.set_level(logging.DEBUG, "dynamostore")
    spoilt = spoil(changes)
    if spoilt.server.name == "moto" and reason.startswith("expiry is of type"):
        pytest.skip("moto cannot compare a number with what is none")
    if name == "rename" and not spoilt.server.has_transactions:
        pytest.skip(f"{spoilt.server.name} has no transactions: the next test is about that")
    store, token, expiry = spoilt.store, spoilt.token, clock.now + 3 * HOUR
    other = store.create(token + "-other", SECRET, expiry)
    act: dict[str, Callable[[], Record]] = {
        "create": lambda: store.create(token, SECRET, expiry),
        "replace": lambda: store.replace(spoilt.read, SECRET, expiry),
        "rename": lambda: store.rename(spoilt.read, token + "-new", SECRET, expiry),
        "rename onto": lambda: store.rename(other, token, SECRET, expiry),
    }
    with pytest.raises(CorruptRecordError, match=reason) as caught:
        act[name]()
    assert caught.value.digest == digest(token)
    assert_discreet(caught.value, token, SECRET, SPOILT, log=caplog.text)
    assert spoilt.now() == spoilt.item
    assert spoilt.now(token + "-new") is None
    assert store.find(other.token) == other


def test_a_renaming_that_meets_a_corrupt_item_is_undone_without_transactions(
    spoil: Callable[..., Spoilt], clock: FakeClock
) -> None:
    spoilt = spoil({"data": None})
    if spoilt.server.has_transactions:
        pytest.skip(f"{spoilt.server.name} has transactions")
    with pytest.raises(CorruptRecordError, match="data is missing"):
        spoilt.store.rename(spoilt.read, spoilt.token + "-new", SECRET, clock.now + HOUR)
    assert spoilt.now() == spoilt.item
    assert spoilt.now(spoilt.token + "-new") is None


def test_a_touch_of_an_item_without_data_is_told_and_leaves_it(spoil: Callable[..., Spoilt]) -> None:
    spoilt = spoil({"data": None})
    with pytest.raises(CorruptRecordError, match="data is missing"):
        spoilt.store.touch(spoilt.read, spoilt.read.expiry + HOUR)
    assert spoilt.now() == spoilt.item


@corrupt
def test_a_corrupt_item_can_be_saved_over_or_deleted(
    spoil: Callable[..., Spoilt], clock: FakeClock, changes: dict[str, Any], reason: str
) -> None:
    spoilt = spoil(changes)
    saved = spoilt.store.save(spoilt.token, b"good", clock.now + HOUR)
    assert spoilt.store.find(spoilt.token) == saved
    spoilt = spoil(changes)
    spoilt.store.delete(spoilt.token)
    assert spoilt.now() is None


@pytest.mark.parametrize("name", [name for name, (changes, _) in CORRUPT.items() if "expiry" not in changes])
def test_a_corrupt_item_that_has_expired_is_simply_gone(
    spoil: Callable[..., Spoilt], clock: FakeClock, name: str
) -> None:
    changes, _ = CORRUPT[name]
    spoilt = spoil(changes, -HOUR)
    assert spoilt.store.find(spoilt.token) is None
    assert spoilt.now() is None

    spoilt = spoil(changes, -HOUR)
    with pytest.raises(Conflict) as caught:
        spoilt.store.replace(spoilt.read, b"new", clock.now + HOUR)
    assert caught.value.current is None

    created = spoilt.store.create(spoilt.token, b"new", clock.now + HOUR)
    assert spoilt.store.find(spoilt.token) == created


# Items that lead elsewhere, for the time of a grace


def lead(server: Backend, clock: FakeClock, token: str, there: str, expiry: timedelta = HOUR) -> None:
    """Have the item of a token lead to another token, as one does that was renamed."""
    ns = clock.now_ns + expiry // timedelta(microseconds=1) * 1000
    item: Any = {
        "token": {"S": token},
        "moved": {"S": there},
        "expiry": {"N": str(ns)},
        "ttl": {"N": str(ns // 10**9 + 1)},
        "version": {"N": "31337"},
    }
    own_store(server, clock).client.put_item(TableName=OWN.name, Item=item)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_items_that_lead_in_a_circle_are_no_record_and_can_be_deleted(
    server: Backend, clock: FakeClock, length: int
) -> None:
    circle = [secrets.token_urlsafe(32) for _ in range(length)]
    for token, there in zip(circle, circle[1:] + circle[:1], strict=True):
        lead(server, clock, token, there)
    watched = Watched(server.client)
    # However it is done, it has an end.
    watched.before = dict.fromkeys(
        ("get_item", "delete_item"), lambda: len(watched.calls) < 50 or pytest.fail("no end")
    )
    store = watched.store(OWN, clock)
    assert store.find(circle[0]) is None
    store.delete(circle[0])
    for token in circle:
        assert store.find(token) is None


def test_an_item_that_leads_nowhere_is_no_record(server: Backend, clock: FakeClock) -> None:
    store = own_store(server, clock)
    token = secrets.token_urlsafe(32)
    lead(server, clock, token, token + "-gone")
    assert store.find(token) is None
    store.delete(token)
    created = store.create(token, b"new", clock.now + HOUR)
    assert store.find(token) == created


def test_a_token_that_leads_nowhere_is_not_taken(store: Store, clock: FakeClock) -> None:
    token = secrets.token_urlsafe(32)
    renamed = store.rename(
        store.create(token, b"old", clock.now + HOUR), token + "2", b"new", clock.now + HOUR, grace=HOUR
    )
    store.delete(renamed.token)
    created = store.create(token, b"newer", clock.now + HOUR)
    assert store.find(token) == created


def test_a_grace_that_ends_beyond_all_time_is_one_or_refused(store: Store, clock: FakeClock) -> None:
    token = secrets.token_urlsafe(32)
    old = store.create(token, b"old", clock.now + HOUR)
    try:
        renamed = store.rename(old, token + "2", b"new", clock.now + HOUR, grace=timedelta.max)
    except ValueError:
        assert store.find(token) == old
        assert store.find(token + "2") is None
    else:
        assert store.find(token) == store.find(token + "2") == renamed


# What else an item bears


BESIDE: dict[str, Any] = {
    "owner": {"S": "ada"},
    "имя": {"S": "значение"},
    "a.b c": {"N": "-1.5"},
    "size": {"B": b"\x00\xff"},
    "a SS": {"SS": ["a", "b"]},
    "a NS": {"NS": ["1", "2.5"]},
    "a BS": {"BS": [b"a", b"b"]},
    "a L": {"L": [{"S": "x"}, {"L": []}, {"NULL": True}]},
    "a M": {"M": {"data": {"B": b"deep"}, "none": {"M": {}}}},
    "a NULL": {"NULL": True},
    "a BOOL": {"BOOL": False},
    "empty": {"S": ""},
}


class Beside:
    """A record with attributes of every type beside it, and its raw item."""

    def __init__(self, server: Backend, clock: FakeClock) -> None:
        self._client = server.client
        self.store = own_store(server, clock)
        token = secrets.token_urlsafe(32)
        saved = self.store.save(token, b"data", clock.now + HOUR)
        server.client.put_item(TableName=OWN.name, Item={**self.raw(token), **BESIDE})
        found = self.store.find(token)
        assert found == saved
        self.record = found

    def raw(self, token: str) -> dict[str, Any]:
        reply = self._client.get_item(TableName=OWN.name, Key={"token": {"S": token}}, ConsistentRead=True)
        return {name: _in_order(value) for name, value in reply["Item"].items()}


def _in_order(value: Any) -> dict[str, object]:
    # A set has no order.
    return {kind: sorted(content) if kind in ("SS", "NS", "BS") else content for kind, content in value.items()}


@pytest.fixture
def beside(server: Backend, clock: FakeClock) -> Beside:
    return Beside(server, clock)


def test_a_replaced_record_keeps_what_is_beside_it(beside: Beside) -> None:
    before = beside.raw(beside.record.token)
    new = beside.store.replace(beside.record, b"new", beside.record.expiry + HOUR)
    changed = {"data": {"B": b"new"}, "version": {"N": str(new.version)}, "recent": {"B": new.recent}, **_times(new)}
    assert beside.raw(new.token) == before | changed


def test_a_touched_record_keeps_all_but_its_expiry(beside: Beside) -> None:
    before = beside.raw(beside.record.token)
    touched = beside.store.touch(beside.record, beside.record.expiry + HOUR)
    assert beside.raw(touched.token) == before | _times(touched)


def test_a_renamed_record_carries_along_what_is_beside_it(beside: Beside) -> None:
    before = beside.raw(beside.record.token)
    new = beside.store.rename(beside.record, beside.record.token + "2", b"new", beside.record.expiry + HOUR)
    changed = {"token": {"S": new.token}, "data": {"B": b"new"}, "version": {"N": str(new.version)}, **_times(new)}
    assert beside.raw(new.token) == before | changed | {"recent": {"B": beside.record.version.to_bytes(8, "big")}}


def test_a_record_saved_or_created_anew_drops_what_was_beside_it(beside: Beside, clock: FakeClock) -> None:
    token = beside.record.token
    beside.store.save(token, b"new", clock.now + HOUR)
    assert beside.raw(token).keys() == {"token", "data", "expiry", "ttl", "version"}

    clock.advance(2 * HOUR)
    beside.store.create(token, b"newer", clock.now + HOUR)
    assert beside.raw(token).keys() == {"token", "data", "expiry", "ttl", "version"}


def _times(record: Record) -> dict[str, dict[str, str]]:
    return {"expiry": {"N": str(record.expiry_ns)}, "ttl": {"N": str(record.expiry_ns // 10**9 + 1)}}
