"""`Batch` and `AsyncBatch`, from one text: many records, scans, rates, counts, purges and copies, on real servers."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamostore import AsyncDynamoStore, DynamoStore, MemoryStore, Record, Table, items
from dynamostore.batch import AsyncBatch, Batch, Counts, Outcome, Progress
from dynamostore.batch._budget import page_units
from dynamostore.client import Item
from dynamostore.errors import ItemTooLargeError, TableNotFoundError
from dynamostore.testing import FakeClock

from .backends import Backends
from .batch.driving import AnyBatch, AwaitedBatch, Drive, FakeTime
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Meddler
from .batch.mixed import mixed, stored_items
from .fakes import assert_discreet

__all__ = ["drive"]

HOUR = timedelta(hours=1)
QUARTER = HOUR / 4
SECOND = timedelta(seconds=1)
LATER = datetime(2031, 1, 1, tzinfo=UTC)
PAST = datetime(2029, 1, 1, tzinfo=UTC)
NAIVE = datetime(2031, 1, 1)  # noqa: DTZ001 (that is the point)
ROOT = Path(__file__).parent.parent


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


on_one_server = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)
on_two_servers = pytest.mark.parametrize("drive", [DRIVES[0], DRIVES[4]], ids="-".join, indirect=True)
on_paging_servers = pytest.mark.parametrize("drive", DRIVES[3:], ids="-".join, indirect=True)


def named(numbers: range, expiry: datetime = LATER) -> Iterator[tuple[str, bytes, datetime]]:
    return ((f"token-{n}", f"data {n}".encode(), expiry) for n in numbers)


def segments_running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dynamostore-segment")]


# Many records


def test_many_are_saved_found_and_deleted_in_as_few_calls_as_can_be(drive: Drive, clock: FakeClock) -> None:
    table, meddler = drive.table(), Meddler()
    batch = drive.batch(table, meddler, clock=clock)
    saved = batch.save_many(named(range(260)))
    assert (saved.done, saved.skipped, saved.failed) == (260, 0, {})
    assert meddler.calls == {"batch_write_item": 11}
    assert meddler.sizes == [25] * 10 + [10]

    meddler.sizes.clear()
    tokens = [f"token-{n}" for n in range(270)]
    outcomes = list(batch.find_many(tokens))
    assert [outcome.token for outcome in outcomes] == tokens
    assert [outcome.record.data if outcome.record else None for outcome in outcomes] == [
        f"data {n}".encode() if n < 260 else None for n in range(270)
    ]
    assert all(outcome.error is None for outcome in outcomes)
    assert meddler.sizes == [100, 100, 70]

    meddler.sizes.clear()
    deleted = batch.delete_many(tokens[:100])
    assert (deleted.done, deleted.skipped, deleted.failed) == (100, 0, {})
    assert meddler.sizes == [25] * 4
    assert set(drive.items(table)) == set(tokens[100:260])


@on_one_server
def test_what_is_there_twice_is_read_once_written_in_order_and_deleted_once(drive: Drive, clock: FakeClock) -> None:
    table, meddler = drive.table(), Meddler()
    batch = drive.batch(table, meddler, clock=clock)
    saved = batch.save_many([("a", b"1", LATER), ("b", b"1", LATER), ("a", b"2", LATER), ("b", b"2", LATER)])
    assert (saved.done, saved.failed, meddler.sizes) == (4, {}, [2, 2])
    meddler.sizes.clear()
    found = list(batch.find_many(["a", "b", "a", "none"] * 30))
    assert [outcome.record.data if outcome.record else None for outcome in found] == [b"2", b"2", b"2", None] * 30
    assert meddler.sizes == [3]
    meddler.sizes.clear()
    deleted = batch.delete_many(["a", "b", "a"])
    assert (deleted.done, deleted.skipped, meddler.sizes) == (2, 1, [2])
    # Nor does it grow without bound where there is but one.
    assert sum(1 for _ in islice(batch.find_many("a" for _ in range(10**9)), 5)) == 5


@on_one_server
def test_a_bad_one_in_the_midst_is_accounted_for_and_keeps_nothing_back(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    batch = drive.batch(table, clock=clock)
    good = list(named(range(60)))
    bad: list[tuple[Any, Any, Any]] = [
        ("large", bytes(400 * 1024), LATER),
        ("", b"", LATER),
        ("x" * 2049, b"", LATER),
        ("\ud800", b"", LATER),
        ("naive", b"", NAIVE),
        ("text", "text", LATER),
        ("when", b"", "tomorrow"),
        (None, b"", LATER),
    ]
    tally = batch.save_many([*good[:30], *bad, *good[30:]])
    assert (tally.done, tally.skipped) == (60, 0)
    assert {token: type(error) for token, error in tally.failed.items()} == {
        "large": ItemTooLargeError,
        "": ValueError,
        "x" * 2049: ValueError,
        "\ud800": ValueError,
        "naive": ValueError,
        "text": TypeError,
        "when": TypeError,
        None: TypeError,
    }
    assert len(drive.items(table)) == 60
    assert "large" not in repr(tally)
    for error in tally.failed.values():
        assert_discreet(error, "x" * 2049, "large")
    odd: list[Any] = ["token-1", "", "x" * 2049, "\ud800", None, "token-2"]
    assert [outcome.record is not None for outcome in batch.find_many(odd)] == [True, False, False, False, False, True]
    deleted = batch.delete_many(odd)
    assert (deleted.done, deleted.skipped, deleted.failed) == (2, 4, {})


@on_one_server
def test_a_record_that_only_the_server_refuses_is_named_and_the_others_of_its_call_are_written(
    drive: Drive, clock: FakeClock
) -> None:
    source, target = drive.table(Table(data="d")), drive.table(Table(data="d" * 255))
    size = 400 * 1024 - 200
    drive.batch(source, clock=clock).save_many([("large", bytes(size), LATER), *named(range(30))])
    tally = drive.copy(drive.batch(source, clock=clock), drive.batch(target, clock=clock))
    assert tally.done == 30
    assert {token: type(error) for token, error in tally.failed.items()} == {"large": ItemTooLargeError}
    assert len(drive.items(target)) == 30


@on_two_servers
def test_what_is_found_is_what_the_store_finds(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    batch = drive.batch(table, clock=clock)
    store = DynamoStore(drive.raw, table, clock=clock, evict_expired=False)
    live = store.save("live", b"data", LATER)
    store.save("expired", b"data", PAST)
    drive.put(table, [{"token": {"S": "corrupt"}, "expiry": {"N": str(clock.now_ns + 1)}}])
    moved = store.rename(store.save("old", b"data", LATER), "new", b"data", LATER, grace=HOUR)
    outcomes = {outcome.token: outcome for outcome in batch.find_many(["live", "expired", "corrupt", "old", "none"])}
    assert outcomes["live"].record == live
    assert outcomes["expired"] == Outcome("expired")
    assert outcomes["none"] == Outcome("none")
    assert outcomes["old"] == Outcome("old", moved, renamed=True)
    store.rename(moved, "newer", b"data", LATER)
    (new,) = batch.find_many(["new"])
    assert new == Outcome("new", renamed=True)
    clock.advance(QUARTER + 2 * SECOND)
    (new,) = batch.find_many(["new"])
    assert new == Outcome("new")
    assert "CorruptRecordError" in repr(type(outcomes["corrupt"].error))
    assert all(token not in repr(outcome) for token, outcome in outcomes.items())
    # A batch looks, and evicts nothing.
    assert "expired" in drive.items(table)


@on_one_server
def test_results_are_streamed(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    batch = drive.batch(table, clock=clock)
    drive.batch(table, clock=clock).save_many(named(range(300)))
    taken = 0

    def tokens() -> Iterator[str]:
        nonlocal taken
        for n in range(300):
            taken += 1
            yield f"token-{n}"

    outcomes = batch.find_many(tokens())
    assert next(outcomes).record is not None
    assert taken <= 101
    outcomes.close()

    def records() -> Iterator[tuple[str, bytes, datetime]]:
        for number, record in enumerate(named(range(300, 400))):
            # All that came before but the chunk that is being filled.
            assert number % 20 or len(drive.items(table)) >= 300 + number - 25
            yield record

    assert batch.save_many(records()).done == 100


@pytest.mark.parametrize("drive", DRIVES[1:2], ids="-".join, indirect=True)
def test_an_async_batch_takes_async_iterables(drive: Drive, clock: FakeClock) -> None:
    batch = drive.batch(drive.table(), clock=clock)
    assert isinstance(batch, AwaitedBatch)
    awaited = batch.batch

    async def main() -> None:
        async def records() -> Any:
            for record in named(range(30)):
                yield record

        async def tokens() -> Any:
            for n in range(31):
                yield f"token-{n}"

        assert (await awaited.save_many(records())).done == 30
        assert sum([outcome.record is not None async for outcome in awaited.find_many(tokens())]) == 30
        assert (await awaited.delete_many(tokens())).done == 31

    drive.loop.run(main())


@on_one_server
def test_what_nothing_can_succeed_at_is_raised(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    there, nowhere = drive.batch(drive.table()), drive.batch(Table(name="nowhere"))
    there.save_many(named(range(3)))
    jobs: list[Callable[[], object]] = [
        lambda: nowhere.save_many(named(range(3))),
        lambda: nowhere.delete_many(["a"]),
        lambda: list(nowhere.find_many(["a"])),
        lambda: list(nowhere.scan(segments=3)),
        nowhere.count,
        nowhere.purge_expired,
        lambda: drive.copy(there, nowhere, segments=2),
        lambda: nowhere.export(tmp_path / "x.jsonl"),
    ]
    for job in jobs:
        with pytest.raises(TableNotFoundError):
            job()
    assert not segments_running()


# Scans


def test_a_scan_yields_each_live_record_once(drive: Drive, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    table = drive.table()
    stored = {item["token"]["S"]: item for item in mixed(table, 400, clock.now_ns, 1)}
    drive.put(table, stored.values())
    live = {token for token in stored if token[0] == "u" and not token.startswith(("u-lead", "u-corrupt"))}
    corrupt = sum(token.startswith("u-corrupt") for token in stored)
    for segments in (1, 3):
        meddler = Meddler(page=30)
        caplog.clear()
        records = list(drive.batch(table, meddler, clock=clock).scan(segments=segments, consistent=segments == 3))
        assert sorted(record.token for record in records) == sorted(live)
        assert all(items.encode(table, record) == stored[record.token] for record in records)
        assert meddler.segments == set(range(segments))
        # A corrupt one is logged, by its digest.
        assert len(caplog.records) == corrupt
        assert "u-corrupt" not in caplog.text
    found = {item["token"]["S"]: item for item in drive.batch(table, Meddler(page=30)).scan_items(segments=4)}
    assert found == stored


@on_one_server
def test_a_scan_of_items_reads_the_attributes_that_are_asked_for(drive: Drive) -> None:
    table = drive.table(Table(token="id", expiry="until"))
    batch = drive.batch(table)
    batch.save_many(named(range(3)))
    found: list[Any] = sorted(batch.scan_items(projection=("token", "expiry")), key=str)
    assert found == [{"id": {"S": f"token-{n}"}, "until": {"N": str(int(LATER.timestamp()) * 10**9)}} for n in range(3)]
    with pytest.raises(ValueError, match="projection: 'until' is not one of"):
        batch.scan_items(projection=("until",))


@on_two_servers
def test_a_limit_ends_a_scan_and_reads_no_more_than_that(drive: Drive, clock: FakeClock) -> None:
    table, meddler = drive.table(), Meddler()
    batch = drive.batch(table, meddler, clock=clock)
    batch.save_many(named(range(100)))
    before = batch.consumed
    meddler.calls.clear()
    for limit, segments in ((7, 1), (100, 1), (1000, 1), (7, 3)):
        tokens = [record.token for record in batch.scan(limit=limit, segments=segments)]
        assert len(set(tokens)) == len(tokens) == min(limit, 100)
        if (limit, segments) == (7, 1):
            assert meddler.calls == {"scan": 1}
            assert batch.consumed - before <= 4
    assert not segments_running()


@on_two_servers
@pytest.mark.parametrize("segments", [1, 4])
def test_a_scan_is_never_more_than_a_few_pages_ahead(drive: Drive, clock: FakeClock, segments: int) -> None:
    table = drive.table()
    meddler = Meddler(page=5)
    drive.batch(table).save_many(named(range(600)))
    records = drive.batch(table, meddler, clock=clock).scan(segments=segments)
    for number, _ in enumerate(records, 1):
        if number == 1:
            # Time enough to run away.
            time.sleep(0.15)
        # One under way in each segment, one that waits for each, one that is being taken.
        assert meddler.calls["scan"] <= number / 1 + 3 * segments
        if number == 20:
            break
    if segments > 1 and drive.kind != "async":
        assert segments_running()
    records.close()
    calls = meddler.calls["scan"]
    assert calls <= 4 + 1 + 3 * segments
    assert not segments_running()
    drive.batch(table, clock=clock).count()
    assert meddler.calls["scan"] == calls, "something goes on reading after the iterator is closed"


def test_closing_a_scan_does_not_wait_for_its_rate(backends: Backends) -> None:
    """Real time, a low rate: the pause would be some minutes."""
    url = backends.server("ministack").url
    code = f"""
import sys, time
from dynamostore import DynamoStore, Table
from dynamostore.batch import Batch
from dynamostore.wire import Credentials, WireClient
from tests.batch.meddling import Meddler, Through
client = WireClient("us-east-1", {url!r}, credentials=Credentials("key", "secret"))
store = DynamoStore(Through(client, Meddler(page=1)), Table())
store.create_table()
Batch(store).save_many((f"t{{n}}", b"", __import__("datetime").datetime(2200, 1, 1, tzinfo=__import__("datetime").UTC)) for n in range(50))
records = Batch(store, rate=0.01).scan(segments=4)
next(records)
if sys.argv[1] == "close":
    records.close()
print("bye")
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, how],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for how in ("close", "abandon")
    ]
    try:
        assert [process.communicate(timeout=60)[0] for process in processes] == ["bye\n"] * 2
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@on_two_servers
def test_a_scan_goes_on_where_it_was(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    table = drive.table()
    drive.batch(table).save_many(named(range(300)))
    place = tmp_path / "scan.resume"

    def watch(progress: Progress) -> None:
        assert progress.resume is not None
        place.write_text(progress.resume)

    for segments in (1, 3):
        first = drive.batch(table, Meddler(page=20), clock=clock, watch=watch).scan(segments=segments)
        begun = [record.token for record in islice(first, 130)]
        first.close()
        rest = [r.token for r in drive.batch(table, Meddler(page=20), clock=clock).scan(resume=place.read_text())]
        assert len(set(rest)) == len(rest)
        assert set(begun) | set(rest) == {f"token-{n}" for n in range(300)}
        # The page that was begun, and those that were ahead, are read again.
        assert len(begun) + len(rest) <= 300 + 20 * segments
    other = drive.batch(drive.table())
    for call in (
        lambda: other.scan(resume=place.read_text()),
        lambda: drive.batch(table).purge_expired(resume=place.read_text()),
        lambda: drive.batch(table).scan(resume="{}"),
        lambda: drive.batch(table).scan(resume="nonsense"),
        lambda: drive.batch(table).scan(resume=place.read_text().replace('"token-', '"' + "x" * 2048)),
    ):
        with pytest.raises(ValueError, match="resume token"):
            call()


@on_two_servers
def test_settings_that_make_no_sense_are_refused(drive: Drive) -> None:
    batch = drive.batch(drive.table())
    for call in (
        lambda: batch.scan(limit=0),
        lambda: batch.scan(segments=0),
        lambda: batch.scan_items(segments=1_000_001),
        lambda: batch.purge_expired(segments=0),
        lambda: drive.batch(batch.store.table, rate=0),
        lambda: drive.batch(batch.store.table, rate=float("nan")),
        lambda: drive.batch(batch.store.table, attempts=0),
        lambda: drive.copy(batch, batch),
    ):
        with pytest.raises(ValueError):
            call()
    lean = MagicMock(spec=["get_item", "put_item"])
    with pytest.raises(TypeError, match="has no scan, batch_get_item, batch_write_item"):
        Batch(DynamoStore(lean))
    store = DynamoStore(lean) if isinstance(batch.store, DynamoStore) else AsyncDynamoStore(lean)
    with pytest.raises(TypeError, match="has no scan"):
        drive.copy(batch, _Bare(store))  # type: ignore[arg-type] # all that is asked of it


class _Bare:
    def __init__(self, store: DynamoStore | AsyncDynamoStore) -> None:
        self.store = store


# The rate


@on_two_servers
@pytest.mark.parametrize("rate", [5.0, 80.0])
def test_a_rate_is_kept_as_measured_by_what_was_consumed(drive: Drive, clock: FakeClock, rate: float) -> None:
    table, fake = drive.table(), FakeTime()
    batch = drive.batch(table, Meddler(page=10), clock=clock, fake=fake, rate=rate)
    for job in (
        lambda: batch.save_many((f"token-{n}", bytes(3000), LATER if n % 2 else PAST) for n in range(110)),
        lambda: list(batch.scan()),
        lambda: list(batch.scan(segments=3)),
        lambda: list(batch.find_many(f"token-{n}" for n in range(110))),
        batch.count,
        batch.purge_expired,
        lambda: drive.copy(batch, drive.batch(drive.table(), fake=fake)),
    ):
        began, before = fake.now, batch.consumed
        job()
        # The next job waits for what the last call of this one has consumed.
        list(batch.find_many(["none"]))
        consumed = batch.consumed - before
        assert consumed > 0
        # Three segments that wait for the same price at once move the clock on three times.
        assert (consumed - 1) / rate <= fake.now - began <= (consumed + 3) / rate + 0.01
    unhurried = drive.batch(table, fake=fake)
    began = fake.now
    unhurried.save_many(named(range(50)))
    assert fake.now == began


class Reticent(Meddler):
    """A server that does not say what was consumed."""

    def hinder(self, operation: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
        def reticent(reply: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in reply.items() if name != "ConsumedCapacity"}

        return arguments, reticent


@on_one_server
def test_a_rate_is_kept_where_the_server_does_not_say_what_was_consumed(drive: Drive, clock: FakeClock) -> None:
    """As DynamoDB would count: also what a filter kept back was scanned."""
    table, fake = drive.table(), FakeTime()
    batch = drive.batch(table, Reticent(), clock=clock, fake=fake, rate=10)
    tokens = [f"token-{n}" for n in range(100)]
    expected: list[tuple[Callable[[], object], float, float]] = [
        # 3 kB and a little each.
        (lambda: batch.save_many((token, bytes(3000), LATER) for token in tokens), 300, 300),
        (lambda: list(batch.find_many([*tokens, "none"])), 101, 101),
        # All of it, 4 kB for half a unit.
        (lambda: list(batch.scan()), 37, 39),
        # 100 of which nothing is known but their number.
        (batch.count, 12, 13),
        (batch.purge_expired, 12, 13),
        (lambda: list(batch.scan_items(projection=("token",))), 12, 13),
        (lambda: list(batch.scan_items(projection=("token",), consistent=True)), 25, 25),
        (lambda: batch.delete_many(tokens), 100, 100),
        (batch.count, 0.5, 0.5),
    ]
    for job, least, most in expected:
        began, before = fake.now, batch.consumed
        job()
        consumed = batch.consumed - before
        assert least <= consumed <= most
        # The next job waits for what the last call of this one has consumed.
        list(batch.find_many(["none"]))
        assert fake.now - began >= consumed / 10


@on_one_server
@pytest.mark.parametrize(("meddler", "each"), [(None, 1), (Reticent(), 3)], ids=["said", "not said"])
def test_a_marker_that_is_followed_is_counted_and_waits_for_the_rate(
    drive: Drive, clock: FakeClock, meddler: Meddler | None, each: int
) -> None:
    table, fake = drive.table(), FakeTime()
    batch = drive.batch(table, meddler, clock=clock, fake=fake, rate=10)
    store = DynamoStore(drive.raw, table, clock=clock)
    for number in range(20):
        record = store.save(f"token-{number}", bytes(9000), LATER)
        store.rename(record, f"new-{number}", bytes(9000), LATER, grace=HOUR)
    began = fake.now
    found = list(batch.find_many(f"token-{number}" for number in range(20)))
    assert all(outcome.record is not None and outcome.renamed for outcome in found)
    # Each marker costs a unit, and each record of 9 kB three; ministack says one.
    assert batch.consumed == 20 * (1 + each)
    list(batch.find_many(["none"]))
    assert fake.now - began > batch.consumed / 10 - 0.2


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5000), max_size=20),
    hidden=st.integers(0, 2000),
    whole=st.booleans(),
    full=st.booleans(),
    consistent=st.booleans(),
)
def test_the_price_of_a_page_is_never_nothing_and_never_more_than_that_of_a_megabyte(
    sizes: list[int], hidden: int, whole: bool, full: bool, consistent: bool
) -> None:
    read: list[Item] = [{"token": {"S": "x" * size}} for size in sizes]
    price = page_units(read, len(read) + hidden, whole=whole, full=full, consistent=consistent)
    assert 0.5 <= price <= 256
    assert price == page_units(read, len(read) + hidden, whole=whole, full=full, consistent=True) / (
        1 if consistent else 2
    )
    assert price <= page_units(read, len(read) + hidden + 100, whole=whole, full=full, consistent=consistent)
    if whole and not full and not hidden:
        assert price * (4096 if consistent else 8192) >= sum(sizes)


@on_one_server
def test_what_is_not_used_of_a_rate_is_not_saved_up(drive: Drive, clock: FakeClock) -> None:
    fake = FakeTime()
    batch = drive.batch(drive.table(), clock=clock, fake=fake, rate=10)
    batch.save_many(named(range(25)))
    fake.sleep(1000)
    began = fake.now
    batch.save_many(named(range(75)))
    assert 5 <= fake.now - began <= 5.01


@on_paging_servers
def test_what_is_consumed_is_what_the_server_says(drive: Drive, clock: FakeClock) -> None:
    batch = drive.batch(drive.table(), clock=clock)
    batch.save_many((f"token-{n}", bytes(1500), LATER) for n in range(50))
    assert batch.consumed == 100
    list(batch.find_many(f"token-{n}" for n in range(50)))
    assert batch.consumed == 150


@on_paging_servers
def test_progress_tells_what_its_own_job_has_consumed(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    seen: list[Progress] = []

    def consumed(job: Callable[[], object]) -> float:
        seen.clear()
        before = batch.consumed
        job()
        assert [p.consumed for p in seen] == sorted(p.consumed for p in seen)
        assert seen[-1].consumed == batch.consumed - before
        return seen[-1].consumed

    batch = drive.batch(drive.table(), clock=clock, watch=seen.append)
    elsewhere = drive.batch(drive.table(), clock=clock)
    tokens = [f"token-{n}" for n in range(50)]
    assert consumed(lambda: batch.save_many((token, bytes(1500), LATER) for token in tokens)) == 100
    assert consumed(lambda: list(batch.find_many(tokens))) == 50
    assert consumed(batch.count) > 0
    assert consumed(lambda: list(batch.scan(segments=3))) > 0
    assert consumed(lambda: drive.copy(batch, elsewhere)) > 100
    assert elsewhere.consumed == 0
    assert consumed(lambda: batch.export(tmp_path / "x.jsonl")) > 0
    assert consumed(lambda: batch.load(tmp_path / "x.jsonl")) == 100
    assert consumed(batch.purge_expired) > 0
    assert consumed(lambda: batch.delete_many(tokens)) == 100

    # Two at once.
    batch.save_many((token, bytes(1500), LATER) for token in tokens)
    seen.clear()
    for _ in zip(batch.find_many(tokens[:20]), batch.find_many(tokens[:20]), strict=True):
        pass
    assert [p.consumed for p in seen] == [20, 20]


# Counting, purging, copying


@on_two_servers
def test_counts(drive: Drive, clock: FakeClock) -> None:
    batch = drive.batch(drive.table(), Meddler(page=9), clock=clock)
    batch.save_many(named(range(30)))
    batch.save_many(named(range(30, 50), clock.now))
    batch.save_many(named(range(50, 57), PAST))
    assert batch.count() == batch.count(segments=4) == Counts(live=50, expired=7)
    clock.now_ns += 1
    assert batch.count(segments=2) == Counts(live=30, expired=27)


@on_two_servers
def test_markers_are_counted_apart_until_they_end(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    store = DynamoStore(drive.raw, table, clock=clock)
    record = store.create("0", b"data", LATER)
    for n in range(1, 6):
        record = store.rename(record, str(n), b"data", LATER, grace=HOUR * (n % 2))
    drive.put(table, [{"token": {"S": "corrupt"}}])
    batch = drive.batch(table, Meddler(page=2), clock=clock)
    assert batch.count(segments=2) == Counts(live=1, expired=1, markers=5)
    assert [found.token for found in batch.scan()] == ["5"]
    clock.advance(QUARTER + 2 * SECOND)
    assert batch.count(segments=2) == Counts(live=1, expired=3, markers=3)
    clock.advance(HOUR)
    assert batch.count(segments=2) == Counts(live=1, expired=6, markers=0)


@on_two_servers
def test_a_purge_leaves_a_marker_until_it_has_ended(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    store = DynamoStore(drive.raw, table, clock=clock)
    plain = store.rename(store.create("plain", b"data", LATER), "plain 2", b"data", LATER)
    graced = store.rename(store.create("graced", b"data", LATER), "graced 2", b"data", LATER, grace=HOUR)
    batch = drive.batch(table, clock=clock)
    clock.advance(QUARTER)
    assert batch.purge_expired(dry_run=True).skipped == batch.purge_expired().done == 0
    clock.advance(2 * SECOND)
    assert batch.purge_expired(dry_run=True).skipped == batch.purge_expired().done == 1
    assert set(drive.items(table)) == {plain.token, "graced", graced.token}
    clock.advance(HOUR)
    assert batch.purge_expired().done == 1
    assert set(drive.items(table)) == {plain.token, graced.token}


@on_two_servers
def test_a_purge_never_deletes_a_marker_that_was_made_meanwhile(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    store = DynamoStore(drive.raw, table, clock=clock)
    store.save("token", b"data", PAST)

    class Renaming(Meddler):
        """A process whose clock is behind renames the record between its page and its deletion; to the same expiry."""

        def hinder(self, operation: str, arguments: dict[str, Any]) -> Any:
            if operation == "delete_item":
                marker = {"token": {"S": "token"}, "moved": {"S": "new"}, "ttl": {"N": str(clock.now_ns // 10**9)}}
                drive.put(table, [marker | {"expiry": arguments["ExpressionAttributeValues"][":read"]}])
            return super().hinder(operation, arguments)

    tally = drive.batch(table, Renaming(), clock=clock).purge_expired()
    assert (tally.done, tally.skipped) == (0, 1)
    assert "moved" in drive.items(table)["token"]


def test_a_purge_deletes_what_has_expired_and_nothing_else(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    stored = {item["token"]["S"]: item for item in mixed(table, 300, clock.now_ns, 2)}
    drive.put(table, stored.values())
    batch = drive.batch(table, Meddler(page=40), clock=clock)
    expired = {token for token in stored if token[0] == "x"}
    dry = batch.purge_expired(dry_run=True)
    assert (dry.done, dry.skipped) == (0, len(expired))
    assert drive.items(table) == stored
    tally = batch.purge_expired(segments=3)
    assert (tally.done, tally.skipped, tally.failed) == (len(expired), 0, {})
    assert drive.items(table) == {token: item for token, item in stored.items() if token not in expired}
    odd: Item = {"token": {"S": "odd"}, "expiry": {"N": "-1.5"}}
    drive.put(table, [odd])
    tally = batch.purge_expired()
    assert (tally.done, list(tally.failed)) == (0, ["odd"])


@on_two_servers
def test_a_purge_never_deletes_what_was_renewed_meanwhile(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    store = DynamoStore(drive.raw, table, clock=clock)
    drive.batch(table).save_many(named(range(60), PAST))
    renewed: set[str] = set()

    class Renewing(Meddler):
        """A record is renewed between its page and its deletion."""

        def hinder(self, operation: str, arguments: dict[str, Any]) -> Any:
            if operation == "delete_item" and self.calls[operation] % 3 == 0:
                token = arguments["Key"]["token"]["S"]
                store.save(token, b"renewed", LATER)
                renewed.add(token)
            return super().hinder(operation, arguments)

    tally = drive.batch(table, Renewing(page=7), clock=clock).purge_expired(segments=2)
    assert (tally.done, tally.skipped) == (40, 20)
    assert set(drive.items(table)) == renewed


@on_two_servers
def test_a_purge_goes_on_after_its_own_deletions(drive: Drive, clock: FakeClock) -> None:
    """The key that a page ended with is not there any more when the next one starts after it."""
    table, places = drive.table(), []
    drive.batch(table).save_many(named(range(100), PAST))

    class EnoughError(Exception):
        pass

    def watch(progress: Progress) -> None:
        places.append(progress.resume)
        if len(places) == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        drive.batch(table, Meddler(page=7), clock=clock, watch=watch).purge_expired(segments=2)
    assert not segments_running()
    drive.batch(table, Meddler(page=7), clock=clock).purge_expired(resume=places[-1])
    assert drive.items(table) == {}


def test_a_copy_is_exact(drive: Drive, clock: FakeClock) -> None:
    source, target = drive.table(), drive.table()
    stored = {item["token"]["S"]: item for item in mixed(source, 300, clock.now_ns, 3)}
    drive.put(source, stored.values())
    batch, to = drive.batch(source, Meddler(page=60), clock=clock), drive.batch(target)
    tally = drive.copy(batch, to, segments=3)
    live = {token: item for token, item in stored.items() if token[0] == "u"}
    assert (tally.done, tally.skipped, tally.failed) == (len(live), len(stored) - len(live), {})
    assert drive.items(target) == live
    drive.batch(target).save_many([("theirs", b"", LATER), (next(iter(live)), b"overwritten", LATER)])
    theirs = drive.items(target)["theirs"]
    tally = drive.copy(batch, to, expired=True)
    assert (tally.done, tally.skipped) == (len(stored), 0)
    assert drive.items(target) == stored | {"theirs": theirs}


@on_one_server
def test_a_copy_has_the_other_tables_names_and_loses_no_attribute_for_it(drive: Drive, clock: FakeClock) -> None:
    ours, theirs = Table(), Table(token="id", data="payload", expiry="until", moved="to", version="data")
    source, target = drive.table(ours), drive.table(theirs)
    stored = list(mixed(source, 100, clock.now_ns, 4))
    clash: Item = {**stored[0], "token": {"S": "clash"}, "payload": {"S": "somebody else's"}}
    drive.put(source, [*stored, clash])
    tally = drive.copy(drive.batch(source, clock=clock), drive.batch(target), expired=True)
    assert (tally.done, list(tally.failed)) == (100, ["clash"])
    found = drive.items(target)
    for item in stored:
        assert found[item["token"]["S"]] == {
            {"token": "id", "data": "payload", "expiry": "until", "moved": "to", "version": "data"}.get(
                name, name
            ): value
            for name, value in item.items()
        }


# A model


class Model:
    """What a table should hold: token → (data, expiry)."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, datetime]] = {}

    def live(self, now: datetime) -> dict[str, tuple[bytes, datetime]]:
        return {token: record for token, record in self.records.items() if record[1] >= now}


_tokens = st.sampled_from([f"token {n}" for n in range(40)])
_entries = st.lists(
    st.tuples(_tokens, st.binary(max_size=5), st.sampled_from([PAST, LATER, LATER + HOUR])), max_size=60
)
_operations = st.lists(
    st.tuples(st.just("save"), _entries)
    | st.tuples(st.just("delete"), st.lists(_tokens, max_size=60))
    | st.tuples(st.just("find"), st.lists(_tokens, max_size=130))
    | st.tuples(st.sampled_from(["scan", "count", "purge", "copy"]), st.integers(1, 3)),
    max_size=8,
)


@on_two_servers
@examples(12)
@given(operations=_operations, page=st.integers(1, 40))
def test_a_batch_does_as_a_dict_would(drive: Drive, operations: list[tuple[str, Any]], page: int) -> None:
    clock, model = FakeClock(), Model()
    table, other = drive.table(), drive.table()
    batch = drive.batch(table, Meddler(page=page), clock=clock)
    for what, argument in operations:
        live = model.live(clock.now)
        match what:
            case "save":
                assert batch.save_many(argument).done == len(argument)
                model.records |= {token: (data, expiry) for token, data, expiry in argument}
            case "delete":
                tally = batch.delete_many(argument)
                assert tally.done + tally.skipped == len(argument)
                for token in argument:
                    model.records.pop(token, None)
            case "find":
                outcomes = list(batch.find_many(argument))
                assert [outcome.token for outcome in outcomes] == argument
                for outcome in outcomes:
                    assert outcome.error is None
                    assert _said(outcome.record) == live.get(outcome.token)
            case "scan":
                records = list(batch.scan(segments=argument))
                assert len(records) == len(live)
                assert {record.token: _said(record) for record in records} == live
            case "count":
                assert batch.count(segments=argument) == Counts(len(live), len(model.records) - len(live))
            case "purge":
                assert batch.purge_expired(segments=argument).done == len(model.records) - len(live)
                model.records = live
            case "copy":
                tally = drive.copy(batch, drive.batch(other), segments=argument)
                assert (tally.done, tally.skipped) == (len(live), len(model.records) - len(live))
                assert drive.items(other).items() >= {t: drive.items(table)[t] for t in live}.items()
    assert {token: _said(items.decode(table, item)) for token, item in drive.items(table).items()} == model.records


def _said(record: Record | None) -> tuple[bytes, datetime] | None:
    return None if record is None else (record.data, record.expiry)


@examples(10)
@given(stored=st.lists(stored_items(Table()), max_size=8))
def test_any_items_are_copied_as_they_are(drive: Drive, stored: list[dict[str, Any]]) -> None:
    source, target = drive.table(), drive.table()
    there = put_what_is_taken(drive, source, stored)
    tally = drive.copy(drive.batch(source), drive.batch(target), expired=True, segments=2)
    assert (tally.done, tally.failed) == (len(there), {})
    assert drive.items(target) == there


def put_what_is_taken(drive: Drive, table: Table, stored: list[dict[str, Any]]) -> dict[str, Any]:
    """Put those items that the server takes (dynalite knows no empty strings); what it has then."""
    for item in stored:
        try:
            drive.raw.put_item(TableName=table.name, Item=item)
        except Exception as error:  # noqa: BLE001 (it says by its code what it is)
            assert "ValidationException" in str(error)
    return drive.items(table)


# Memory


@pytest.mark.parametrize("drive", DRIVES[3:4], ids="-".join, indirect=True)
def test_memory_does_not_grow_with_the_table(drive: Drive, tmp_path: Path) -> None:
    small, large = drive.table(), drive.table()
    for table, number in ((small, 1000), (large, 5000)):
        drive.batch(table).save_many((f"token-{n}", b"x" * 100, LATER) for n in range(number))

    def peak(table: Table, job: Callable[[AnyBatch], object]) -> int:
        # What it costs to do anything at all for the first time is not the table's.
        job(drive.batch(small, Meddler(page=100)))
        tracemalloc.start()
        job(drive.batch(table, Meddler(page=100)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    jobs: list[Callable[[AnyBatch], object]] = [
        lambda batch: sum(1 for _ in batch.scan()),
        lambda batch: batch.export(tmp_path / f"{secrets.token_hex(4)}.jsonl.gz"),
        lambda batch: drive.copy(batch, drive.batch(drive.table())),
    ]
    for job in jobs:
        assert peak(large, job) < 1.2 * peak(small, job) + 50_000


def test_a_store_in_memory_has_no_batches() -> None:
    memory: Any = MemoryStore()
    for kind in (Batch, AsyncBatch):
        with pytest.raises(TypeError, match="not MemoryStore"):
            kind(memory)
