"""One run: jobs on a table of mixed items, killed and gone on with, first alone and then while others write; and checks."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from dynamostore import Table
from dynamostore.batch import verify
from dynamostore.batch._files import read_lines
from dynamostore.batch._lines import Line, RefusedLineError, decode_line
from dynamostore.client import Item
from dynamostore.local import CREDENTIALS
from tests.backends import wire_client

from .driving import items_in
from .mixed import findable, mixed
from .worker import JobName, Task, disturb, work

__all__ = ["Check", "Settings", "harass"]

# Forked from a server that has everything imported: a new process is there in no time.
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How large, and how often to kill each job."""

    records: int = 2000
    kills: int = 3
    page: int = 100
    segments: int = 4
    seed: int = 1


@dataclass(slots=True)
class Check:
    """One job, and what was found when it was done."""

    server: str
    job: str
    kind: str
    disturbed: bool
    records: int = 0
    """Items that were compared, attribute by attribute."""
    others: int = 0
    """What the other writers had touched meanwhile, and was checked, too."""
    kills: int = 0
    seconds: float = 0.0
    memory: int = 0
    violations: list[str] = field(default_factory=list)

    def compare(self, found: Mapping[str, Item], wanted: Mapping[str, Item]) -> None:
        """*found* is to be *wanted*, item by item."""
        self.records += len(wanted)
        self.violations += [f"{token} is missing" for token in wanted.keys() - found.keys()]
        self.violations += [f"{token} is there" for token in found.keys() - wanted.keys()]
        self.violations += [
            f"{token} is {found[token]}, not {item}"
            for token, item in wanted.items()
            if token in found and found[token] != item
        ]


class _Run:
    def __init__(self, url: str, server: str, settings: Settings, folder: Path, client: Any) -> None:
        self.url = url
        self.server = server
        self.settings = settings
        self.folder = folder
        self.client = client
        self.dice = random.Random(settings.seed)
        self.number = 0

    def table(self) -> Table:
        self.number += 1
        table = Table(name=f"harassed-{os.getpid()}-{self.settings.seed}-{self.number}")
        self.client.create_table(
            TableName=table.name,
            AttributeDefinitions=[{"AttributeName": "token", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "token", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        while self.client.describe_table(TableName=table.name)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.01)
        return table

    def items(self, table: Table) -> dict[str, Item]:
        return items_in(self.client, table)

    def filled(self) -> tuple[Table, dict[str, Item]]:
        """A table of mixed items, and these."""
        table = self.table()
        pending: list[Item] = []
        for item in mixed(table, self.settings.records, time.time_ns(), self.settings.seed):
            pending.append(item)
            if len(pending) == 25:
                self._put(table, pending)
                pending = []
        if pending:
            self._put(table, pending)
        return table, self.items(table)

    def _put(self, table: Table, items: list[Item]) -> None:
        writes = [{"PutRequest": {"Item": item}} for item in items]
        assert not self.client.batch_write_item(RequestItems={table.name: writes}).get("UnprocessedItems")

    def until_done(self, job: JobName, table: Table, to: Table, path: Path, *, awaited: bool, disturbed: bool) -> Check:
        """Run a job until it is done, killed as often as the settings say."""
        check = Check(self.server, job, "async" if awaited else "sync", disturbed)
        self.number += 1
        place = self.folder / f"{self.number}.resume"
        task = Task(
            url=self.url,
            job=job,
            awaited=awaited,
            table=table,
            to=to,
            path=path,
            place=place,
            segments=self.settings.segments,
            page=self.settings.page,
        )
        began = time.monotonic()
        calls = self._calls(job)
        while True:
            if check.kills < self.settings.kills:
                # Somewhere in the first of so many shares, and so each of them gets some way.
                first = self.settings.segments * 2 + 1
                after = self.dice.randint(first, max(first, int(1.5 * calls / (self.settings.kills + 1))))
                task = replace(task, calls=after, seconds=self.dice.uniform(0, 0.004))
            else:
                task = replace(task, calls=0)
            process = _context.Process(target=work, args=(task,))
            process.start()
            process.join(1200)
            if process.exitcode == 0:
                break
            if process.exitcode is None:
                process.kill()
                process.join()
            if process.exitcode != -9 or not task.calls:
                check.violations.append(f"{job} ended with {process.exitcode}")
                break
            check.kills += 1
        check.seconds = time.monotonic() - began
        with contextlib.suppress(FileNotFoundError):
            check.memory = int(place.with_name(f"{place.name}.memory").read_text())
        return check

    def _calls(self, job: JobName) -> int:
        """About as many as it takes."""
        pages = self.settings.records // self.settings.page
        return {
            "export": pages,
            "load": self.settings.records // 25,
            "copy": pages + self.settings.records * 8 // 10 // 25,
            "purge": pages + self.settings.records // 5,
        }[job]

    @contextmanager
    def others(self, table: Table, items: Mapping[str, Item]) -> Iterator[_Others]:
        """While this lasts, others write to *table*: to every fifth of the *items*, and new ones; they renew some expired ones."""
        tokens = sorted(items)
        self.dice.shuffle(tokens)
        share = tokens[: len(tokens) // 5]
        live = _live({token: items[token] for token in share})
        expired, changing = [token for token in share if token not in live], list(live)
        others = _Others({*expired, *changing})
        until = _context.Event()
        journal = self.folder / f"others-{self.number}.json"
        process = _context.Process(target=disturb, args=(self.url, table, changing, expired, until, journal))
        process.start()
        try:
            yield others
        finally:
            until.set()
            process.join(60)
            process.kill()
        said = json.loads(journal.read_text())
        others.final, others.renewed = said["final"], said["renewed"]


@dataclass(slots=True)
class _Others:
    share: set[str]
    """What they may touch of what was there."""
    final: dict[str, int | None] = field(default_factory=dict)
    """What each token that they touched holds in the end: its version, or nothing."""
    renewed: int = 0

    def check(self, check: Check, found: Mapping[str, Item]) -> None:
        """What they wrote last is there, and what they deleted is not."""
        check.others += len(self.final)
        for token, version in self.final.items():
            there = found.get(token, {}).get("version", {}).get("N")
            if there != (None if version is None else str(version)):
                check.violations.append(f"{token} was written by others: it has version {there}, not {version}")

    def apart(self, items: Mapping[str, Item]) -> dict[str, Item]:
        """What they never touch."""
        return {token: i for token, i in items.items() if token not in self.share and not token.startswith("n-")}


def harass(url: str, server: str, settings: Settings) -> Iterator[Check]:
    """Export, load, copy and purge, each killed and gone on with, alone and then disturbed; what was checked."""
    os.environ.update(CREDENTIALS)
    _context.set_forkserver_preload([work.__module__])
    with tempfile.TemporaryDirectory(prefix="batch-") as folder, wire_client(url) as client:
        run = _Run(url, server, settings, Path(folder), client)
        yield from _alone(run)
        yield from _disturbed(run)


def _live(items: Mapping[str, Item]) -> dict[str, Item]:
    now_ns = time.time_ns()
    return {token: item for token, item in items.items() if int(item["expiry"]["N"]) >= now_ns}


def _alone(run: _Run) -> Iterator[Check]:
    source, items = run.filled()
    loaded, copied, path = run.table(), run.table(), run.folder / "alone.jsonl.gz"

    check = run.until_done("export", source, source, path, awaited=False, disturbed=False)
    check.compare(_in_file(path, source, check), items)
    yield check

    check = run.until_done("load", loaded, loaded, path, awaited=True, disturbed=False)
    check.compare(run.items(loaded), findable(items))
    yield check

    check = run.until_done("copy", source, copied, path, awaited=False, disturbed=False)
    check.compare(run.items(copied), _live(items))
    yield check

    check = run.until_done("purge", loaded, loaded, path, awaited=True, disturbed=False)
    check.compare(run.items(loaded), _live(findable(items)))
    yield check


def _disturbed(run: _Run) -> Iterator[Check]:
    source, items = run.filled()
    loaded, copied, path = run.table(), run.table(), run.folder / "disturbed.jsonl"

    with run.others(source, items) as others:
        check = run.until_done("export", source, source, path, awaited=True, disturbed=True)
    check.compare(others.apart(_in_file(path, source, check)), others.apart(items))
    others.check(check, run.items(source))
    yield check

    exported = findable(_in_file(path, source, check))
    with run.others(loaded, {}) as others:
        check = run.until_done("load", loaded, loaded, path, awaited=False, disturbed=True)
    theirs = others.final.keys() - exported.keys()
    found = run.items(loaded)
    check.compare(
        {t: i for t, i in found.items() if not t.startswith("n-")},
        {t: i for t, i in exported.items() if not t.startswith("n-")},
    )
    others.final = {token: others.final[token] for token in theirs}
    others.check(check, found)
    yield check

    items = run.items(source)
    with run.others(source, items) as others:
        check = run.until_done("copy", source, copied, path, awaited=True, disturbed=True)
    check.compare(others.apart(run.items(copied)), _live(others.apart(items)))
    others.check(check, run.items(source))
    yield check

    items = run.items(source)
    with run.others(source, items) as others:
        check = run.until_done("purge", source, source, path, awaited=False, disturbed=True)
    found = run.items(source)
    check.compare(others.apart(found), _live(others.apart(items)))
    others.check(check, found)
    if run.settings.records >= 1000 and not others.renewed:
        check.violations.append("nothing was renewed meanwhile")
    yield check


def _in_file(path: Path, table: Table, check: Check) -> dict[str, Item]:
    """What a file holds, by token; one that is there twice is a violation."""
    found: dict[str, Item] = {}
    verify(path)
    check.violations += [f"{other} was left" for other in path.parent.glob(f"{path.name}.*")]
    for number, line in read_lines(path):
        try:
            item = decode_line(table, line.reveal())
        except RefusedLineError:
            # One that is corrupt: it is in the file, and is not loaded.
            item = msgspec.json.decode(line.reveal(), type=Line).item or {}
        token = item["token"]["S"]
        if token in found:
            check.violations.append(f"{token} is there twice, in line {number}")
        found[token] = item
    return found
