"""``python -m benchmarks.batch``: jobs over tables of 1,000, 10,000 and 100,000 records, beside others'. Prints Markdown."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.about import machine
from benchmarks.speed.bench import Bench, BenchError, progress
from benchmarks.speed.servers import Server, get, stub
from benchmarks.speed.tables import ratio, table

from .stored import PAGE, SIZES

PACKAGES = ("boto3", "pynamodb", "pydynox", "msgspec", "httptools")
ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One job on one table: the fastest of the rounds, and the calls and capacity units of each."""

    records: int
    wall: float
    cpu: float
    before: float
    peak: float
    calls: int
    units: float


class Stats(msgspec.Struct, frozen=True):
    """What the stub was asked so far."""

    requests: int
    units: float


# What is measured: a title, the job, and in how many segments.
SCANS = (
    *((f"dynamostore, {n} segment{'s' * (n > 1)}", "scan", n) for n in (1, 2, 4, 8)),
    *((f"dynamostore, async, {n} segment{'s' * (n > 1)}", "scan_async", n) for n in (1, 4)),
    ("dynamostore, export", "export", 1),
    ("boto3, paginator", "boto3_scan", 1),
    ("boto3, Table.scan", "boto3_scan_resource", 1),
    ("PynamoDB, scan", "pynamodb_scan", 1),
    ("pydynox, scan", "pydynox_scan", 1),
)
SAVES = (
    ("dynamostore, save_many", "save", 1),
    ("dynamostore, copy", "copy", 1),
    ("boto3, batch_write_item", "boto3_save", 1),
    ("boto3, batch_writer", "boto3_save_resource", 1),
    ("PynamoDB, batch_write", "pynamodb_save", 1),
    ("pydynox, SyncBatchWriter", "pydynox_save", 1),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, and no table of 100,000: a look, not a figure")
    parser.add_argument("--python", type=Path, default=Path(".venv-bench/bin/python"))
    options = parser.parse_args()
    sizes, rounds = (SIZES[:2], 1) if options.quick else (SIZES, ROUNDS)
    try:
        with (
            Bench.open(options.python, PACKAGES) as bench,
            stub(bench, None, module="benchmarks.batch.children.stub") as server,
        ):
            load = os.getloadavg()[0]
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}, load average {load:.1f}; {bench.versions}\n")
            for title, jobs, own in (("reading", SCANS, "boto3_scan"), ("writing", SAVES, "boto3_save")):
                show(title, jobs, own, {size: measure(bench, server, jobs, size, rounds) for size in sizes})
            for note in bench.notes:
                print(f"- {note}")
    except BenchError as error:
        progress("")
        print(f"benchmarks.batch: {error}", file=sys.stderr)
        return 1
    return 0


def measure(
    bench: Bench, server: Server, jobs: tuple[tuple[str, str, int], ...], records: int, rounds: int
) -> dict[str, Measured]:
    best: dict[str, Measured] = {}
    for number in range(rounds):
        for title, job, segments in jobs:
            progress(f"{records:,} records: {title}, round {number + 1} of {rounds}")
            before = stats(server)
            program = ("-m", "benchmarks.batch.children.job", job, server.url, str(records), str(segments))
            try:
                said = json.loads(bench.run(*program))
            except BenchError as error:
                bench.note(title, f"{records:,} records", error)
                continue
            if said["records"] != records:
                raise BenchError(f"{title} has done {said['records']} records of {records}")
            after = stats(server)
            one = Measured(**said, calls=after.requests - before.requests, units=after.units - before.units)
            if title not in best or one.wall < best[title].wall:
                best[title] = one
    progress("")
    return best


def stats(server: Server) -> Stats:
    return msgspec.json.decode(get(server, "/stats"), type=Stats)


def show(what: str, jobs: tuple[tuple[str, str, int], ...], own: str, measured: dict[int, dict[str, Measured]]) -> None:
    titles = (what, "records", "records/s", "vs. boto3", "CPU µs a record", "peak MB", "calls", "units a record")
    plain = next(title for title, job, _ in jobs if job == own)

    def rows() -> Iterator[list[str]]:
        for title, _, _ in jobs:
            for records, by in measured.items():
                if title not in by or plain not in by:
                    continue
                one = by[title]
                rate = one.records / one.wall
                times = rate / (by[plain].records / by[plain].wall)
                yield [
                    title,
                    f"{records:,}",
                    f"{rate:,.0f}",
                    ratio(times),
                    f"{one.cpu / one.records * 1e6:.1f}",
                    f"{one.peak:,.0f}",
                    f"{one.calls:,}",
                    f"{one.units / one.records:.2f}",
                ]

    for text in table(titles, rows()):
        print(text)
    # The first, small table is among the calls.
    print(f"\nOf the calls, the first ones are a table of 100 records, to be warm; a page has {PAGE} items.\n")


if __name__ == "__main__":
    sys.exit(main())
