"""Items that SCS for Go wrote, without a version, on every server: found, guarded, and never overwritten unseen."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamostore import Conflict, Record
from dynamostore.client import Item
from dynamostore.items import ttl
from dynamostore.testing import FakeClock

from .backends import TABLE, Backend
from .go_reader import found_by_scs

HOUR = timedelta(hours=1)
ITEMS = Path(__file__).parent / "interop/scs_go_items.json"
WRITTEN: dict[str, dict[str, Any]] = {entry["name"]: entry["item"] for entry in json.loads(ITEMS.read_text())}


@dataclass
class Go:
    """A Go service on the same table: it puts whole items, on no condition, and none has a version."""

    server: Backend

    def put(self, token: str, data: bytes, expiry_ns: int) -> None:
        item: dict[str, Any] = {
            "token": {"S": token},
            "data": {"B": data},
            "expiry": {"N": str(expiry_ns)},
            "ttl": {"N": str(ttl(expiry_ns))},
        }
        self.server.client.put_item(TableName=TABLE.name, Item=item)

    def raw(self, token: str) -> Item | None:
        reply = self.server.client.get_item(TableName=TABLE.name, Key={"token": {"S": token}}, ConsistentRead=True)
        return reply.get("Item")


@pytest.fixture
def go(server: Backend) -> Go:
    return Go(server)


@pytest.fixture
def token() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture
def read(go: Go, token: str, clock: FakeClock) -> Record:
    """A record that Go wrote, as it was read; its expiry has nanoseconds that a datetime cannot say."""
    go.put(token, b"from Go", clock.now_ns + 10**9 * 3600 + 123)
    found = go.server.store(clock).find(token)
    assert found is not None
    assert (found.version, found.expiry_ns % 1000) == (0, 123)
    return found


@pytest.mark.parametrize("name", WRITTEN)
def test_an_item_that_scs_wrote_is_found_as_it_is(server: Backend, clock: FakeClock, token: str, name: str) -> None:
    item = WRITTEN[name]
    data, expiry_ns = base64.b64decode(item["data"]["B"]), int(item["expiry"]["N"])
    Go(server).put(token, data, expiry_ns)
    assert Go(server).raw(token) == {**item, "token": {"S": token}, "data": {"B": data}}
    assert server.store(clock).find(token) == Record.at(token, data, expiry_ns, 0)


def test_it_is_replaced_and_has_a_version_from_then_on(go: Go, clock: FakeClock, read: Record) -> None:
    store = go.server.store(clock)
    for expiry in (read.expiry + HOUR, read.expiry, read.expiry - HOUR / 2):
        go.put(read.token, read.data, read.expiry_ns)
        new = store.replace(read, b"from Python", expiry)
        assert new.version > 0
        assert store.find(read.token) == new


@pytest.mark.parametrize("by", [HOUR, timedelta(microseconds=1), -HOUR / 2], ids=["longer", "a bit", "shorter"])
def test_it_is_touched_and_stays_without_a_version(go: Go, clock: FakeClock, read: Record, by: timedelta) -> None:
    store = go.server.store(clock)
    touched = store.touch(read, read.expiry + by)
    assert (touched.version, touched.expiry) == (0, read.expiry + by)
    assert store.find(read.token) == touched
    assert store.replace(touched, b"from Python", touched.expiry).data == b"from Python"


def test_it_is_renamed(go: Go, clock: FakeClock, read: Record) -> None:
    store = go.server.store(clock)
    renamed = store.rename(read, read.token + "2", b"from Python", read.expiry + HOUR)
    assert renamed.version > 0
    assert store.find(renamed.token) == renamed
    left = go.raw(read.token)
    assert left is not None
    assert "data" not in left
    assert found_by_scs(left, clock.now_ns) is None


def test_it_is_removed_unless_it_was_written_since(go: Go, clock: FakeClock, read: Record) -> None:
    store = go.server.store(clock)
    store.save(read.token, b"from Python", read.expiry)
    with pytest.raises(Conflict):
        store.remove(read)
    go.put(read.token, read.data, read.expiry_ns)
    store.remove(read)
    assert go.raw(read.token) is None


def test_it_is_taken_for_create(go: Go, clock: FakeClock, read: Record) -> None:
    with pytest.raises(Conflict) as caught:
        go.server.store(clock).create(read.token, b"from Python", read.expiry)
    assert caught.value.current == read


WRITES: dict[str, Callable[[Backend, FakeClock, Record], object]] = {
    "replace": lambda server, clock, record: server.store(clock).replace(record, b"late", record.expiry + HOUR),
    "rename": lambda server, clock, record: server.store(clock).rename(
        record, record.token + "2", b"late", record.expiry + HOUR
    ),
}

writes = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
EXPIRIES = {"the same expiry": 0, "a later expiry": 10**9, "an earlier expiry": -(10**9)}


@writes
@pytest.mark.parametrize("by", EXPIRIES.values(), ids=EXPIRIES)
def test_a_save_by_go_since_it_was_read_is_a_conflict(
    go: Go, clock: FakeClock, read: Record, write: Callable[[Backend, FakeClock, Record], object], by: int
) -> None:
    go.put(read.token, b"meanwhile", read.expiry_ns + by)
    before = go.raw(read.token)
    with pytest.raises(Conflict) as caught:
        write(go.server, clock, read)
    assert caught.value.current == Record.at(read.token, b"meanwhile", read.expiry_ns + by, 0)
    assert go.raw(read.token) == before
    assert go.raw(read.token + "2") is None


@writes
@pytest.mark.parametrize("by", EXPIRIES.values(), ids=EXPIRIES)
def test_a_save_by_go_over_a_record_of_ours_is_a_conflict(
    go: Go,
    clock: FakeClock,
    token: str,
    write: Callable[[Backend, FakeClock, Record], object],
    by: int,
) -> None:
    ours = go.server.store(clock).create(token, b"from Python", clock.now + HOUR)
    go.put(token, b"from Python", ours.expiry_ns + by)
    with pytest.raises(Conflict) as caught:
        write(go.server, clock, ours)
    assert caught.value.current == Record.at(token, b"from Python", ours.expiry_ns + by, 0)
    assert go.raw(token + "2") is None


@writes
def test_a_write_of_ours_since_a_record_of_gos_was_read_is_a_conflict(
    go: Go, clock: FakeClock, read: Record, write: Callable[[Backend, FakeClock, Record], object]
) -> None:
    # To the microsecond, as we write it: were the missing version not asked for, all the rest would be the same.
    go.put(read.token, read.data, read.expiry_ns // 1000 * 1000)
    store = go.server.store(clock)
    exact = store.find(read.token)
    assert exact is not None
    saved = store.save(exact.token, exact.data, exact.expiry)
    assert (saved.data, saved.expiry_ns) == (exact.data, exact.expiry_ns)
    with pytest.raises(Conflict) as caught:
        write(go.server, clock, exact)
    assert caught.value.current == saved


def test_a_touch_cannot_take_back_the_later_expiry_of_gos_save(go: Go, clock: FakeClock, read: Record) -> None:
    later = read.expiry_ns + 2 * 3600 * 10**9
    go.put(read.token, b"meanwhile", later)
    before = go.raw(read.token)
    assert go.server.store(clock).touch(read, read.expiry + HOUR).expiry_ns == later
    assert go.raw(read.token) == before


def test_a_save_by_go_of_the_same_data_until_another_time_is_a_conflict(go: Go, clock: FakeClock, read: Record) -> None:
    go.put(read.token, read.data, read.expiry_ns - 10**9)
    with pytest.raises(Conflict) as caught:
        go.server.store(clock).replace(read, b"late", read.expiry + HOUR)
    assert caught.value.current == Record.at(read.token, read.data, read.expiry_ns - 10**9, 0)


def test_a_record_that_go_deleted_is_not_brought_back(go: Go, clock: FakeClock, read: Record) -> None:
    go.server.client.delete_item(TableName=TABLE.name, Key={"token": {"S": read.token}})
    store = go.server.store(clock)
    writes: tuple[Callable[[], Record], ...] = (
        lambda: store.replace(read, b"late", read.expiry),
        lambda: store.touch(read, read.expiry + HOUR),
        lambda: store.rename(read, read.token + "2", b"late", read.expiry),
    )
    for write in writes:
        with pytest.raises(Conflict) as caught:
            write()
        assert caught.value.current is None
    assert go.raw(read.token) is None
    assert go.raw(read.token + "2") is None
