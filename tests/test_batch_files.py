"""Exports and loads: exact, checked, and to be gone on with, whatever is in the table and whatever becomes of the file."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import stat
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamostore import DynamoStore, Table
from dynamostore.batch import BatchIncompleteError, Progress, verify
from dynamostore.batch._files import ExportFile
from dynamostore.batch._lines import Line, RefusedLineError, decode_line, encode_line
from dynamostore.items import why_not_findable
from dynamostore.testing import FakeClock

from .batch.driving import AwaitedBatch, Drive, FakeTime
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Failing, Meddler
from .batch.mixed import findable, mixed, stored_items
from .test_batch import HOUR, LATER, QUARTER, SECOND, named, put_what_is_taken

__all__ = ["drive"]

on_one_server = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)
on_two_servers = pytest.mark.parametrize("drive", [DRIVES[0], DRIVES[4]], ids="-".join, indirect=True)
suffixes = pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class EnoughError(Exception):
    """The test has seen enough."""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a file, read as anybody would read it."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()[1:-1]]


def left_beside(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.iterdir() if other != path)


# Lines


@examples(120)
@given(item=stored_items(Table()))
def test_a_line_is_its_item_again(item: dict[str, Any]) -> None:
    line = encode_line(Table(), item)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["token"] == item["token"]["S"]
    if why_not_findable(Table(), item) is None:
        assert decode_line(Table(), line) == item
    else:
        # It is kept in the file, for whoever wants to look at it.
        assert msgspec.json.decode(line, type=Line).item == item
        with pytest.raises(RefusedLineError, match="its item is not a record") as caught:
            decode_line(Table(), line)
        assert caught.value.token == item["token"]["S"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"token":"a"}',
        b'{"token":"a","text":"b"}',
        b'{"token":"a","expiry":1}',
        b'{"token":"a","text":"b","base64":"YQ==","expiry":1}',
        b'{"token":"a","text":"b","expiry":1,"more":1}',
        b'{"token":"a","text":"b","expiry":1e40}',
        b'{"token":"a","text":"b","expiry":1000000000000000000000000000000}',
        b'{"token":"a","base64":"?","expiry":1}',
        b'{"token":"a","text":"\xff","expiry":1}',
        b'{"token":"a","item":{"token":{"S":"b"}}}',
        b'{"token":"a","item":{}}',
        b'{"token":"a","text":"b","expiry":1,"beside":{"data":{"S":"c"}}}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode_line(Table(), line)


# Files


def test_an_export_is_exact_and_loads_as_it_was(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    suffix = ".jsonl" if drive.kind == "sync" else ".jsonl.gz"
    source, target = drive.table(), drive.table()
    stored = {item["token"]["S"]: item for item in mixed(source, 250, clock.now_ns, 5)}
    drive.put(source, stored.values())
    path = tmp_path / f"all{suffix}"
    exported = drive.batch(source, Meddler(page=40), clock=clock).export(path, segments=3, expired=True)
    assert (exported.records, exported.table, exported) == (250, source.name, verify(path))
    assert left_beside(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(line["token"] for line in lines_of(path)) == sorted(stored)
    loading = drive.batch(target, Meddler(), clock=clock)
    tally = loading.load(path, expired=True)
    whole = findable(stored)
    assert (tally.done, tally.skipped, set(tally.failed)) == (len(whole), 0, set(stored) - set(whole))
    assert all(
        re.match(r"line \d+: its item is not a record: data is of type S", str(e)) for e in tally.failed.values()
    )
    assert 0 < len(tally.failed) < 30
    assert drive.items(target) == whole
    # Again, over what is there.
    drive.batch(target).save_many([(next(iter(whole)), b"overwritten", LATER)])
    assert loading.load(path, expired=True).done == len(whole)
    assert drive.items(target) == whole


@on_two_servers
def test_expired_records_are_left_out_by_both(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, target = drive.table(), drive.table()
    stored = {item["token"]["S"]: item for item in mixed(source, 100, clock.now_ns, 6)}
    live = {token: item for token, item in stored.items() if token[0] == "u"}
    drive.put(source, stored.values())
    batch = drive.batch(source, clock=clock)
    assert batch.export(tmp_path / "live.jsonl").records == len(live)
    assert {line["token"] for line in lines_of(tmp_path / "live.jsonl")} == set(live)
    batch.export(tmp_path / "all.jsonl.gz", expired=True)
    tally = drive.batch(target, clock=clock).load(tmp_path / "all.jsonl.gz")
    assert tally.done == len(findable(live))
    assert tally.done + tally.skipped + len(tally.failed) == len(stored)
    assert drive.items(target) == findable(live)


@on_one_server
def test_a_file_can_be_read_by_people_and_programs(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    batch = drive.batch(drive.table(), clock=clock)
    batch.save_many([("a", "é".encode(), LATER), ("b", b"\xff", LATER)])
    batch.export(tmp_path / "x.jsonl")
    a, b = sorted(lines_of(tmp_path / "x.jsonl"), key=lambda line: str(line["token"]))
    assert (a["token"], a["text"], a["expires"], a["expiry"]) == ("a", "é", "2031-01-01T00:00:00Z", 1924992000 * 10**9)
    assert (b["base64"], "text" in b) == ("/w==", False)


@examples(6)
@given(stored=st.lists(stored_items(Table()), max_size=8), suffix=st.sampled_from([".jsonl", ".jsonl.gz"]))
def test_any_items_are_as_they_were(
    drive: Drive, tmp_path_factory: pytest.TempPathFactory, stored: list[dict[str, Any]], suffix: str
) -> None:
    source, target = drive.table(), drive.table()
    there = put_what_is_taken(drive, source, stored)
    path = tmp_path_factory.mktemp("any") / f"all{suffix}"
    drive.batch(source, Meddler(page=3)).export(path, segments=2, expired=True)
    tally = drive.batch(target).load(path, expired=True)
    whole = findable(there)
    assert (tally.done, set(tally.failed)) == (len(whole), set(there) - set(whole))
    assert drive.items(target) == whole


@on_one_server
def test_a_file_loads_into_a_table_with_other_names(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, target = drive.table(), drive.table(Table(token="id", data="payload", expiry="until", moved="to"))
    stored = list(mixed(source, 100, clock.now_ns, 7))
    drive.put(source, stored)
    drive.batch(source, clock=clock).export(tmp_path / "x.jsonl", expired=True)
    drive.batch(target, clock=clock).load(tmp_path / "x.jsonl", expired=True)
    found = drive.items(target)
    for item in findable({item["token"]["S"]: item for item in stored}).values():
        assert found[item["token"]["S"]] == {
            {"token": "id", "data": "payload", "expiry": "until", "moved": "to"}.get(name, name): value
            for name, value in item.items()
        }


@on_two_servers
def test_markers_are_carried_along_as_they_are(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, loaded, copied = drive.table(), drive.table(), drive.table()
    store = DynamoStore(drive.raw, source, clock=clock)
    record = store.create("0", b"data", LATER)
    for n in range(1, 4):
        record = store.rename(store.replace(record, b"data", LATER), str(n), b"data", LATER, grace=HOUR * (n % 2))
    there = drive.items(source)
    assert len(there) == 4
    batch = drive.batch(source, clock=clock)
    assert batch.export(tmp_path / "x.jsonl").records == 4
    assert drive.batch(loaded, clock=clock).load(tmp_path / "x.jsonl").done == 4
    assert drive.copy(batch, drive.batch(copied, clock=clock)).done == 4
    assert drive.items(loaded) == drive.items(copied) == there
    # A logout with the oldest token ends the session in the new table, too.
    DynamoStore(drive.raw, copied, clock=clock).delete("0")
    assert drive.items(copied) == {}
    clock.advance(QUARTER + 2 * SECOND)
    assert batch.export(tmp_path / "y.jsonl").records == 3


# Damage


def damages(whole: bytes, dice: random.Random) -> dict[str, bytes]:
    """A file, damaged in many ways."""
    lines = whole.splitlines(keepends=True)
    found = {"nothing": b"", "a newline more": whole + b"\n", "twice": whole + whole}
    for at in {*range(1, 40), *(len(whole) - n for n in range(1, 120)), *dice.sample(range(len(whole)), 60)}:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << dice.randrange(8)
        found[f"byte {at} flipped"] = bytes(flipped)
        found[f"cut off at {at}"] = whole[:at]
    for at in range(len(lines)):
        other = (at + 1) % len(lines)
        found[f"line {at} removed"] = b"".join(lines[:at] + lines[at + 1 :])
        found[f"line {at} twice"] = b"".join(lines[:at] + lines[at : at + 1] + lines[at:])
        swapped = lines[:]
        swapped[at], swapped[other] = swapped[other], swapped[at]
        found[f"lines {at} and {other} swapped"] = b"".join(swapped)
    return found


@on_one_server
def test_a_damaged_file_is_refused_before_anything_is_written(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, target, meddler = drive.table(), drive.table(), Meddler()
    drive.put(source, mixed(source, 12, clock.now_ns, 8, most=60))
    path, damaged = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    drive.batch(source, clock=clock).export(path, expired=True)
    batch = drive.batch(target, meddler, clock=clock)
    for what, content in damages(path.read_bytes(), random.Random(1)).items():
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=r"y\.jsonl"):
            pytest.fail(f"{what}: {batch.load(damaged, expired=True)}")
    assert not meddler.calls
    with pytest.raises(FileNotFoundError):
        batch.load(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("drive", DRIVES[:1], ids="-".join, indirect=True)
def test_a_damaged_compressed_file_is_refused(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source = drive.table()
    drive.put(source, mixed(source, 30, clock.now_ns, 9, most=60))
    path, damaged = tmp_path / "x.jsonl.gz", tmp_path / "y.jsonl.gz"
    drive.batch(source, Meddler(page=9), clock=clock).export(path, expired=True)
    whole, text = path.read_bytes(), gzip.decompress(path.read_bytes())
    for at in {*range(60), *range(0, len(whole), 23), *range(len(whole) - 40, len(whole))}:
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]):
            damaged.write_bytes(content)
            try:
                verify(damaged)
            except ValueError as error:
                assert "y.jsonl.gz" in str(error)
            else:
                # What says when it was compressed, and on what system, is no part of what it holds.
                assert gzip.decompress(content) == text
    damaged.write_bytes(text)
    with pytest.raises(ValueError, match="is damaged"):
        verify(damaged)
    (tmp_path / "z.jsonl").write_bytes(whole)
    with pytest.raises(ValueError, match="is not a complete export"):
        verify(tmp_path / "z.jsonl")


# Going on


@on_two_servers
@suffixes
def test_an_export_that_failed_goes_on_and_has_nothing_twice(
    drive: Drive, clock: FakeClock, tmp_path: Path, suffix: str
) -> None:
    table, path = drive.table(), tmp_path / f"x{suffix}"
    drive.batch(table).save_many(named(range(300)))
    calls = 0

    def tired(operation: str, arguments: dict[str, Any]) -> bool:
        nonlocal calls
        calls += 1
        return calls > 6

    with pytest.raises(BatchIncompleteError, match="call export again") as caught:
        drive.batch(table, Failing(tired, page=20), clock=clock, attempts=2).export(path, segments=3)
    assert not path.exists()
    assert len(caught.value.errors) > 0
    assert 0 < caught.value.tally.done < 300
    assert left_beside(path) == [f"{path.name}.partial", f"{path.name}.resume"]
    # What a page that was not noted any more has left.
    with path.with_name(f"{path.name}.partial").open("ab") as file:
        file.write(b"half a li")
    meddler = Meddler(page=20)
    exported = drive.batch(table, meddler, clock=clock).export(path, segments=3)
    assert meddler.calls["scan"] < 15
    assert exported == verify(path)
    tokens = [line["token"] for line in lines_of(path)]
    assert sorted(tokens) == sorted(f"token-{n}" for n in range(300))
    assert left_beside(path) == []


@pytest.mark.parametrize("drive", DRIVES[1:2], ids="-".join, indirect=True)
def test_an_export_that_is_cancelled_goes_on_at_once(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    table, dice = drive.table(), random.Random(3)
    drive.batch(table).save_many(named(range(300)))
    cancelled = 0

    class Cancelling(Meddler):
        """Has its *task* cancelled, some time after a page."""

        task: asyncio.Task[object]

        def hinder(self, operation: str, arguments: dict[str, Any]) -> Any:
            if dice.random() < 0.2:
                asyncio.get_running_loop().call_later(dice.uniform(0, 0.003), self.task.cancel)
            return super().hinder(operation, arguments)

    async def main(path: Path) -> int:
        nonlocal cancelled
        while True:
            meddler = Cancelling(page=20)
            batch = drive.batch(table, meddler, clock=clock)
            assert isinstance(batch, AwaitedBatch)
            task = asyncio.create_task(batch.batch.export(path, segments=3))
            meddler.task = task
            try:
                return (await task).records
            except asyncio.CancelledError:
                cancelled += 1
                if path.exists():  # noqa: ASYNC240 (it is a test)
                    # Cancelled in its last moment.
                    return verify(path).records

    for number in range(10):
        path = tmp_path / f"{number}.jsonl.gz"
        assert drive.loop.run(main(path)) == 300
        assert sorted(line["token"] for line in lines_of(path)) == sorted(f"token-{n}" for n in range(300))
        assert verify(path).records == 300
    assert cancelled > 3


@pytest.mark.parametrize("drive", DRIVES[1:2], ids="-".join, indirect=True)
def test_an_export_that_is_cancelled_leaves_no_thread_at_its_file(
    drive: Drive, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = drive.batch(drive.table(), clock=clock)
    batch.save_many(named(range(10)))
    started, written = threading.Event(), []
    write = ExportFile.write

    def slowly(file: ExportFile, lines: bytes, records: int) -> None:
        if records:
            started.set()
            time.sleep(0.1)
        write(file, lines, records)
        written.append(records)

    monkeypatch.setattr(ExportFile, "write", slowly)

    async def main() -> None:
        assert isinstance(batch, AwaitedBatch)
        task = asyncio.create_task(batch.batch.export(tmp_path / "x.jsonl"))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert written == [0, 10]

    drive.loop.run(main())
    assert batch.export(tmp_path / "x.jsonl").records == 10


@on_one_server
@suffixes
def test_what_cannot_be_gone_on_with_is_said(drive: Drive, clock: FakeClock, tmp_path: Path, suffix: str) -> None:
    table, path = drive.table(), tmp_path / f"x{suffix}"
    partial, resume = path.with_name(f"x{suffix}.partial"), path.with_name(f"x{suffix}.resume")
    drive.batch(table).save_many(named(range(100)))

    def begin() -> None:
        for file in (path, partial, resume):
            file.unlink(missing_ok=True)
        later = iter(range(100))
        failing = Failing(lambda operation, arguments: next(later) >= 3, page=20)
        with pytest.raises(BatchIncompleteError):
            drive.batch(table, failing, clock=clock, attempts=1).export(path)

    batch = drive.batch(table, clock=clock)
    spoilt: list[Callable[[], object]] = [
        lambda: partial.write_bytes(partial.read_bytes()[:-5]),
        lambda: partial.write_bytes(b"nonsense" * 1000),
        lambda: resume.write_bytes(b"nonsense"),
        lambda: resume.write_bytes(resume.read_bytes().replace(b'"expired":false', b'"expired":true')),
        lambda: resume.write_bytes(resume.read_bytes().replace(table.name.encode(), b"another")),
    ]
    for spoil in spoilt:
        begin()
        spoil()
        with pytest.raises(ValueError, match="to start over, delete"):
            batch.export(path)
        assert not path.exists()
    # One without the other is begun anew.
    for file in (partial, resume):
        begin()
        file.unlink()
        assert batch.export(path).records == 100
        assert left_beside(path) == []


@on_one_server
def test_what_an_old_export_left_is_not_taken_for_that_of_a_new_one(
    drive: Drive, clock: FakeClock, tmp_path: Path
) -> None:
    """The process is killed when the new one has but begun."""
    table, path = drive.table(), tmp_path / "x.jsonl"
    drive.batch(table).save_many(named(range(100)))
    with pytest.raises(BatchIncompleteError):
        calls = iter(range(100))
        failing = Failing(lambda operation, arguments: next(calls) >= 3, page=20)
        drive.batch(table, failing, clock=clock, attempts=1).export(path)
    path.with_name("x.jsonl.partial").unlink()
    with pytest.raises(BatchIncompleteError):
        drive.batch(table, Failing(lambda operation, arguments: True), clock=clock, attempts=1).export(path)
    assert drive.batch(table, clock=clock).export(path).records == 100
    assert verify(path).records == len(lines_of(path)) == 100


@on_one_server
def test_what_is_there_already_is_not_overwritten_unasked(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    table, path, meddler = drive.table(), tmp_path / "x.jsonl", Meddler()
    batch = drive.batch(table, meddler, clock=clock)
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        batch.export(path)
    assert path.read_text() == "precious"
    assert not meddler.calls
    assert batch.export(str(path), overwrite=True).records == 0
    assert verify(str(path)).records == 0
    assert batch.load(str(path)).done == 0


@on_two_servers
def test_a_load_goes_on_where_it_was(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, path = drive.table(), tmp_path / "x.jsonl"
    stored = {item["token"]["S"]: item for item in mixed(source, 400, clock.now_ns, 10)}
    drive.put(source, stored.values())
    drive.batch(source, clock=clock).export(path, expired=True)
    for expired in (True, False):
        target, places = drive.table(), list[str | None]()

        def watch(progress: Progress, places: list[str | None] = places) -> None:
            places.append(progress.resume)
            if len(places) == 5:
                raise EnoughError

        with pytest.raises(EnoughError):
            drive.batch(target, clock=clock, watch=watch).load(path, expired=expired)
        assert len(drive.items(target)) == 125
        meddler = Meddler()
        tally = drive.batch(target, meddler, clock=clock).load(path, expired=expired, resume=places[-1])
        wanted = {token: item for token, item in findable(stored).items() if expired or token[0] == "u"}
        assert drive.items(target) == wanted
        assert tally.done == len(wanted) - 125
        assert meddler.calls["batch_write_item"] == -(-tally.done // 25)
        for wrong in (
            "",
            "nonsense",
            "0:0",
            f"{verify(path).sha256}:-1",
            f"{places[-1]}\N{ARABIC-INDIC DIGIT ONE}",
            f"{places[-1]}{'0' * 5000}",
            (places[-1] or "")[1:],
        ):
            with pytest.raises(ValueError, match="resume token"):
                drive.batch(target).load(path, resume=wrong)


@on_one_server
def test_progress_tells_what_was_done(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    seen: list[Progress] = []
    table = drive.table()
    batch = drive.batch(table, Meddler(page=50), clock=clock, watch=seen.append, fake=FakeTime())
    batch.save_many(named(range(60)))
    assert [(p.seen, p.done) for p in seen] == [(25, 25), (50, 50), (60, 60)]
    seen.clear()
    batch.export(tmp_path / "x.jsonl", segments=2)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[-1].done, seen[-1].segments_left) == (60, 0)
    assert all(p.resume and p.resume not in repr(p) for p in seen)
    seen.clear()
    batch.load(tmp_path / "x.jsonl")
    assert seen[-1].done == 60
    seen.clear()
    batch.purge_expired(segments=2)
    assert (seen[-1].seen, seen[-1].done) == (60, 0)
    clock.advance(timedelta(days=9999))
    batch.purge_expired(segments=2)
    assert (seen[-1].seen, seen[-1].done) == (60, 60)
    assert [p.consumed for p in seen] == sorted(p.consumed for p in seen)
    assert left_beside(tmp_path / "x.jsonl") == []
