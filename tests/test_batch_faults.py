"""Batches that are throttled, served in part, cut off and killed: the job ends complete, or says exactly what is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamostore import DynamoStore, Table
from dynamostore.batch import BatchIncompleteError, verify
from dynamostore.client import Item
from dynamostore.errors import AccessDeniedError, StoreError, ThrottledError
from dynamostore.testing import FakeClock

from .backends import missing
from .batch.driving import Drive, FakeTime
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Failing, Meddler, Unsteady
from .batch.mixed import findable, mixed
from .batch.run import Check
from .test_batch import LATER, PAST, named, segments_running

__all__ = ["drive"]

ROOT = Path(__file__).parent.parent
on_one_server = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)
on_two_servers = pytest.mark.parametrize("drive", [DRIVES[0], DRIVES[4]], ids="-".join, indirect=True)


def test_throttled_cut_off_and_served_in_part_a_job_ends_complete(
    drive: Drive, clock: FakeClock, tmp_path: Path
) -> None:
    seed = 1 + DRIVES.index((drive.server, drive.kind))
    source, copied, loaded, saved = drive.table(), drive.table(), drive.table(), drive.table()
    stored = {item["token"]["S"]: item for item in mixed(source, 200, clock.now_ns, seed)}
    drive.put(source, stored.values())
    hindered: list[Unsteady] = []

    def unsteady(table: Table) -> Any:
        # Each with 30 attempts: three in ten calls are throttled, one in ten loses its reply.
        hindered.append(Unsteady(seed * 100 + len(hindered), lost=0.1, unprocessed=0.7, page=30))
        return drive.batch(table, hindered[-1], clock=clock, attempts=30)

    path = tmp_path / "x.jsonl.gz"
    assert unsteady(source).export(path, segments=3, expired=True).records == len(stored)
    tally = unsteady(loaded).load(path, expired=True)
    assert (tally.done, set(tally.failed)) == (len(findable(stored)), set(stored) - set(findable(stored)))
    assert drive.items(loaded) == findable(stored)
    tally = drive.copy(unsteady(source), unsteady(copied), segments=3, expired=True)
    assert (tally.done, tally.failed) == (len(stored), {})
    assert drive.items(copied) == stored

    tally = unsteady(saved).save_many(named(range(200)))
    assert (tally.done, tally.failed) == (200, {})
    outcomes = list(unsteady(saved).find_many(f"token-{n}" for n in range(220)))
    assert [o.record.data if o.record else o.error for o in outcomes] == [
        f"data {n}".encode() if n < 200 else None for n in range(220)
    ]
    assert sorted(record.token for record in unsteady(saved).scan(segments=4)) == sorted(drive.items(saved))
    tally = unsteady(saved).delete_many(f"token-{n}" for n in range(150))
    assert (tally.done, tally.failed) == (150, {})
    assert len(drive.items(saved)) == 50

    expired = {token for token in stored if token[0] == "x"}
    tally = unsteady(source).purge_expired(segments=3)
    # A deletion whose reply was lost finds nothing the second time.
    assert (tally.done + tally.skipped, tally.failed) == (len(expired), {})
    assert set(drive.items(source)) == set(stored) - expired
    for kind in ("throttled", "lost", "unprocessed"):
        assert sum(one.hindered[kind] for one in hindered) > 5


@on_one_server
def test_a_renewed_record_is_found_while_its_reads_are_throttled(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    store = DynamoStore(drive.raw, table, clock=clock)
    new = store.rename(store.save("old", b"data", LATER), "new", b"data", LATER, grace=timedelta(hours=1))
    times = iter(range(100))
    failing = Failing(lambda operation, arguments: operation == "get_item" and next(times) < 4)
    (outcome,) = drive.batch(table, failing, clock=clock).find_many(["old"])
    assert outcome.record == new


@on_two_servers
def test_what_was_given_up_is_named_and_the_rest_is_done(drive: Drive, clock: FakeClock) -> None:
    table, fake = drive.table(), FakeTime()

    def about(token: str) -> Callable[[str, dict[str, Any]], bool]:
        return lambda operation, arguments: token in json.dumps(arguments, default=str)

    batch = drive.batch(table, Failing(about('"token-30"')), clock=clock, attempts=4, fake=fake)
    began = fake.now
    tally = batch.save_many(named(range(100)))
    chunk = {f"token-{n}" for n in range(25, 50)}
    assert tally.done == 75
    assert set(tally.failed) == chunk
    assert all(isinstance(error, ThrottledError) for error in tally.failed.values())
    assert set(drive.items(table)) == {f"token-{n}" for n in range(100)} - chunk
    # Three pauses, each twice as long as the last at most, and not one after the last attempt.
    assert 0 < fake.now - began <= 0.1 + 0.2 + 0.4
    found = list(drive.batch(table, Failing(about('"token-30"')), clock=clock, attempts=2).find_many(sorted(chunk)))
    assert {type(outcome.error) for outcome in found} == {ThrottledError}
    again = drive.batch(table, clock=clock).save_many((t, b"", LATER) for t in tally.failed)
    assert (again.done, again.failed) == (25, {})


@on_one_server
def test_what_stays_unprocessed_is_given_up_and_progress_is_no_vain_attempt(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()

    class Grudging(Meddler):
        """Does *number* of a batch, and leaves the rest."""

        number = 1

        def hinder(self, operation: str, arguments: dict[str, Any]) -> Any:
            ((name, writes),) = arguments["RequestItems"].items()
            left = {name: writes[self.number :]} if writes[self.number :] else {}
            # An empty batch would be refused: what is done then is another's.
            sent = writes[: self.number] or [{"DeleteRequest": {"Key": {"token": {"S": "nobody's"}}}}]
            return {**arguments, "RequestItems": {name: sent}}, lambda reply: {**reply, "UnprocessedItems": left}

    grudging = Grudging()
    tally = drive.batch(table, grudging, clock=clock, attempts=2).save_many(named(range(25)))
    assert (tally.done, tally.failed) == (25, {})
    assert grudging.sizes == list(range(25, 0, -1))
    grudging.number = 0
    tally = drive.batch(table, grudging, clock=clock, attempts=3).save_many(named(range(30, 33)))
    assert (tally.done, len(tally.failed)) == (0, 3)
    assert all(isinstance(error, ThrottledError) for error in tally.failed.values())
    assert len(drive.items(table)) == 25


def _is(operation: str) -> Callable[[str, dict[str, Any]], bool]:
    return lambda made, arguments: made == operation


def of_segment(number: int) -> Callable[[str, dict[str, Any]], bool]:
    return lambda operation, arguments: operation == "scan" and arguments.get("Segment") == number


@on_two_servers
def test_one_segment_that_fails_is_named_and_finished_later(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, target = drive.table(), drive.table()
    stored = {item["token"]["S"]: item for item in mixed(source, 300, clock.now_ns, 3)}
    drive.put(source, stored.values())
    live = {token for token in stored if token[0] == "u"}
    sound = drive.batch(source, Meddler(page=20), clock=clock)

    def failing() -> Any:
        return drive.batch(source, Failing(of_segment(2), page=20), clock=clock, attempts=3)

    jobs: list[tuple[Callable[[Any, Any], Any], int, int]] = [
        (lambda batch, how: drive.copy(batch, drive.batch(target), expired=True, **how), 300, 0),
        (lambda batch, how: batch.purge_expired(dry_run=True, **how), 0, 300 - len(live)),
        (lambda batch, how: batch.purge_expired(**how), 300 - len(live), 0),
    ]
    for job, done, skipped in jobs:
        with pytest.raises(BatchIncompleteError, match="1 of 4 segments") as caught:
            job(failing(), {"segments": 4})
        error = caught.value
        assert set(error.errors) == {2}
        assert isinstance(error.errors[2], ThrottledError)
        assert isinstance(error, StoreError)
        assert not error.tally.failed
        rest = job(sound, {"resume": error.resume})
        found = (rest.live, rest.expired) if hasattr(rest, "live") else (rest.done, rest.skipped)
        # What the one has done, and the other, is all, and nothing twice.
        assert (error.tally.done + found[0], error.tally.skipped + found[1]) == (done, skipped)
        assert 0 < found[0] + found[1] < done + skipped
        assert not segments_running()
    assert drive.items(target) == stored
    assert set(drive.items(source)) == live

    yielded: list[str] = []

    def read(items: Iterator[Item]) -> None:
        for item in items:
            yielded.append(item["token"]["S"])  # noqa: PERF401 (those before an error count)

    with pytest.raises(BatchIncompleteError) as caught:
        read(failing().scan_items(segments=4))
    assert 0 < len(yielded) < len(live)
    read(sound.scan_items(resume=caught.value.resume))
    assert sorted(yielded) == sorted(live)
    path = tmp_path / "x.jsonl"
    with pytest.raises(BatchIncompleteError, match="call export again to resume"):
        failing().export(path, segments=4)
    assert sound.export(path).records == verify(path).records == len(live)


@on_one_server
def test_a_right_that_is_missing_is_raised_and_not_blamed_on_each_record(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    drive.batch(table).save_many(named(range(10), PAST))
    for operation, job in {
        "scan": "purge_expired",
        "delete_item": "purge_expired",
        "batch_write_item": "save_many",
    }.items():
        denied = Failing(_is(operation), "AccessDeniedException")
        batch = drive.batch(table, denied, clock=clock)
        with pytest.raises(AccessDeniedError):
            batch.save_many(named(range(3))) if job == "save_many" else batch.purge_expired(segments=2)


# Killed


@pytest.mark.parametrize("server", ["ministack", "dynalite"])
def test_killed_again_and_again_while_others_write_nothing_is_lost(server: str) -> None:
    if reason := missing(server):
        pytest.skip(reason)
    arguments = ["--records", "700", "--kills", "2", "--page", "60", "--segments", "3", "--servers", server]
    command = [sys.executable, "-m", "tests.batch", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines() if f"| {server} |" in line]
    assert [row[2] for row in rows] == ["export", "load", "copy", "purge"] * 2
    assert sum(int(row[5]) for row in rows) >= 8, done.stdout
    for row in rows:
        assert int(row[6].replace(",", "")) > 350, done.stdout
        assert (row[4] == "none") == (row in rows[:4])
        assert row[9] == "equal"


def test_a_comparison_sees_what_is_missing_extra_or_changed() -> None:
    check = Check("server", "job", "sync", disturbed=False)
    one: Item = {"token": {"S": "a"}}
    check.compare({"a": one, "b": one}, {"a": one, "b": one})
    assert (check.records, check.violations) == (2, [])
    check.compare({"a": one, "b": {}, "x": one}, {"a": one, "b": one, "c": one})
    assert [violation.split(" is ")[0] for violation in check.violations] == ["c", "x", "b"]
