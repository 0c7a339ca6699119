"""Commands about all records: stats, purge, export, load, copy."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
from rich.console import RenderableType

from dynamostore.batch import Batch, Counts, Tally, verify
from dynamostore.batch.tables import identity, may_be_one
from dynamostore.batch.unfinished import begun

from ._histogram import histogram
from ._jobs import Job, has_items, items_of
from ._meter import connect, place
from ._options import (
    FILE,
    NEW_FILE,
    Command,
    Option,
    attributes,
    dry_run,
    everywhere,
    pace,
    rate,
    resume_file,
    reveal,
    yes,
)
from ._resume import ResumeFile
from ._state import Document, State, WrongUsageError, named
from ._statistics import EXPIRED, EXPIRY, SIZES, Statistics, size

__all__ = ["COMMANDS"]


@click.command(
    cls=Command,
    short_help="Count records by expiry and size.",
    examples=(
        ("how many live and expired records, how large", "dynamostore stats --table sessions"),
        ("a large table: a part of it, and in no hurry", "dynamostore stats --table sessions --limit 50000 --rate 100"),
        ("a number for a dashboard", "dynamostore stats --table sessions --json | jq .live"),
    ),
)
@click.option(
    "--limit", cls=Option, type=click.IntRange(min=1), metavar="N", help="Look at so many items only, in no order."
)
@pace
@everywhere
@click.pass_obj
def stats(state: State, *, limit: int | None, segments: int, rate: float | None) -> int:
    """Count the live and the expired records, by the time they expire and by size.

    It reads the whole table, and costs a read unit for each 8 KB of it. Of one that is ended early, it shows what it counted.
    """
    with connect(state) as store:
        total = items_of(store)
        counted = Statistics(store.table, time.time_ns())
        if limit is not None:
            total = min(limit, total or limit)
        job = Job(state, store, "stats", "counted", count=lambda _: counted.items, total=total, rate=rate)

        def count(batch: Batch, resume: str | None) -> Tally:
            del resume
            for item in batch.scan_items(segments=segments, limit=limit):
                counted.add(item)
            return Tally(done=counted.items)

        report = job.run(count)
        # What was counted can't be gone on with.
        report.resume = None
        if report.status == "failed" and not counted.items:
            # Nothing is known: not that there is nothing.
            return job.tell(report)
        if not state.json:
            state.result({}, place(store), "", *_shown(state, counted), "")
        return job.tell(report, extra=counted.document())


def _shown(state: State, counted: Statistics) -> list[RenderableType]:
    numbers = [f"{counted.live:,} live", f"{counted.expired:,} expired"]
    numbers += [f"{counted.moved:,} renewed (markers)"] if counted.moved else []
    numbers += [f"{counted.corrupt:,} corrupt (see dynamostore doctor)"] if counted.corrupt else []
    mean = counted.bytes / counted.items if counted.items else 0
    lines: list[RenderableType] = [", ".join(numbers)]
    if counted.items:
        sizes = f"{size(counted.bytes)}, {size(mean)} each, the largest {size(counted.largest)}"
        lines += [f"{sizes} ({counted.largest_digest})", ""]
        lines += [
            histogram(state.out, title, buckets=buckets, counts=counts, of=of, style=style)
            for title, buckets, counts, of, style in (
                ("expired", EXPIRY[:EXPIRED], counted.expiry[:EXPIRED], counted.expiry, "yellow"),
                ("expire", EXPIRY[EXPIRED:], counted.expiry[EXPIRED:], counted.expiry, "green"),
                ("size", SIZES, counted.sizes, counted.sizes, "blue"),
            )
        ]
    return lines


@click.command(
    cls=Command,
    short_help="Delete the records that have expired.",
    examples=(
        ("what it would delete", "dynamostore purge --table sessions --dry-run"),
        ("nightly, unattended, and polite", "dynamostore purge --table sessions --yes --rate 50"),
        (
            "large: read in parts at once, and resumed later",
            "dynamostore purge --segments 4 --resume-file purge.resume",
        ),
    ),
)
@resume_file
@reveal
@dry_run
@yes
@pace
@everywhere
@click.pass_obj
def purge(
    state: State,
    *,
    resume_file: Path | None,
    reveal: bool,
    dry_run: bool,
    yes: bool,
    segments: int,
    rate: float | None,
) -> int:
    """Delete the records that have expired; DynamoDB's TTL does so by itself, in a day or two.

    Each is deleted on condition that it was not renewed meanwhile. The command reads the whole table. It receives keys and
    expiries, never the data of a record. Ended early, it goes on where it was with the same --resume-file.
    """
    with connect(state) as store:
        total = items_of(store)
        if not dry_run:
            state.confirm("Delete all records that have expired?", f"{place(store)}{_about(total)}", yes=yes)
        job = Job(
            state,
            store,
            "purge",
            "deleted",
            count=None if dry_run else lambda meter: meter.deleted,
            total=total,
            rate=rate,
            resume=ResumeFile(None if dry_run else resume_file),
        )
        report = job.run(lambda batch, resume: batch.purge_expired(segments=segments, dry_run=dry_run, resume=resume))
        would = report.skipped if dry_run and report.status == "done" else None
        said = "" if would is None else f"would delete {would:,} expired records of {report.seen:,}"
        extra = {"dry_run": True, "would_delete": would} if dry_run else None
        return job.tell(report, reveal=reveal, done=said, extra=extra)


@click.command(
    cls=Command,
    short_help="Write all records to a file.",
    examples=(
        ("all live records, compressed", "dynamostore export --table sessions sessions.jsonl.gz"),
        ("everything, in parts at once", "dynamostore export --expired --segments 4 backup.jsonl.gz"),
        ("how many it would be", "dynamostore export --table sessions --dry-run sessions.jsonl.gz"),
    ),
)
@click.argument("file", type=NEW_FILE)
@click.option("--expired", is_flag=True, help="Those that have expired, too.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@dry_run
@pace
@everywhere
@click.pass_obj
def export(
    state: State, *, file: Path, expired: bool, overwrite: bool, dry_run: bool, segments: int, rate: float | None
) -> int:
    """Write all live records to FILE: JSON Lines with a checksum, compressed if its name ends with .gz.

    It holds tokens and data, and only you can read it. Ended early, there are FILE.partial and FILE.resume: the same command
    goes on. If another file has the name FILE by the end, the command does not replace it without --overwrite.
    """
    if os.path.lexists(file) and not overwrite:
        raise WrongUsageError(f"{file} is there already: --overwrite replaces it")
    with connect(state) as store:
        total = items_of(store)
        job = Job(state, store, "export", "written", total=total, rate=rate)
        if dry_run:
            return _count(job, segments, "would write {} records", "would_write", expired=expired)
        partial = file.with_name(f"{file.name}.partial")
        if since := begun(file):
            job.opening = f"going on with {partial}, begun {since:%Y-%m-%d %H:%M} UTC"
        goes_on = bool(job.opening)
        records = 0

        def write(batch: Batch, resume: str | None) -> Tally:
            nonlocal records
            del resume
            exported = batch.export(file, segments=segments, expired=expired, overwrite=overwrite)
            records = exported.records
            return Tally(done=records)

        report = job.run(write)
        report.resume = None
        if report.status == "done":
            job.open()
        # It is not if the library would have none of it.
        extra: Document = {"file": str(file), "continued": goes_on and not job.opening}
        if report.status != "done" and partial.exists():
            code = job.tell(report, extra={**extra, "partial": str(partial)})
            if not isinstance(report.error, ValueError):
                state.say(f"the same command goes on from here: {partial} is kept")
            return code
        return job.tell(report, extra=extra)


@click.command(
    cls=Command,
    short_help="Put the records of a file into the table.",
    examples=(
        ("put an export's records into a table", "dynamostore load --table sessions sessions.jsonl.gz"),
        ("check a file", "dynamostore load --dry-run sessions.jsonl.gz"),
        ("unattended, slowly", "dynamostore load --yes --rate 100 --resume-file load.resume sessions.jsonl.gz"),
    ),
)
@click.argument("file", type=FILE)
@click.option("--expired", is_flag=True, help="Those that have expired, too.")
@resume_file
@reveal
@dry_run
@yes
@rate
@everywhere
@click.pass_obj
def load(
    state: State,
    *,
    file: Path,
    expired: bool,
    resume_file: Path | None,
    reveal: bool,
    dry_run: bool,
    yes: bool,
    rate: float | None,
) -> int:
    """Put the live records of FILE, which export wrote, into the table, as they were.

    The command first checks all of FILE. If a line is not a record, it puts nothing. If a record is corrupt, only this record
    fails. It overwrites what is in the table under the same token, and asks first if the table has records. Ended early, it goes
    on where it was with the same --resume-file.
    """
    whole = verify(file)
    with connect(state) as store:
        about = f"{whole.records:,} records of {file} (table {whole.table!r})"
        if dry_run:
            document = {"command": "load", "table": store.table.name, "status": "done", "dry_run": True}
            at_most = f"would put {about} into {place(store)}{'' if expired else ', those that have not expired'}"
            state.result({**document, "file": str(file), "records": whole.records, "sha256": whole.sha256}, at_most)
            return 0
        if has_items(store):
            state.confirm(f"Put {about} into it?", f"{place(store)} has records already", yes=yes)
        job = Job(
            state,
            store,
            "load",
            "put",
            count=lambda meter: meter.put,
            total=whole.records,
            rate=rate,
            resume=ResumeFile(resume_file),
        )
        report = job.run(lambda batch, resume: batch.load(file, expired=expired, resume=resume))
        return job.tell(report, reveal=reveal, extra={"file": str(file)})


@click.command(
    cls=Command,
    short_help="Put all records into another table.",
    examples=(
        ("into another table beside it", "dynamostore copy --table sessions sessions-new"),
        ("to another region", "dynamostore copy --table sessions sessions --to-region eu-west-1"),
        (
            "large: read in parts at once, and resumed later",
            "dynamostore copy --segments 4 --resume-file copy.resume new",
        ),
    ),
)
@click.argument("to_table", metavar="TO_TABLE")
@click.option("--to-region", metavar="REGION", help="The region of TO_TABLE; else the same.")
@click.option("--to-profile", metavar="NAME", help="The profile for TO_TABLE; else the same.")
@click.option("--to-endpoint-url", metavar="URL", help="The server of TO_TABLE; else the same.")
@click.option(
    "--to-attribute", metavar="NAME=NAME", multiple=True, help="What an attribute is called in TO_TABLE; else the same."
)
@click.option("--expired", is_flag=True, help="Those that have expired, too.")
@resume_file
@reveal
@dry_run
@yes
@pace
@everywhere
@click.pass_obj
def copy(
    state: State,
    *,
    to_table: str,
    to_region: str | None,
    to_profile: str | None,
    to_endpoint_url: str | None,
    to_attribute: tuple[str, ...],
    expired: bool,
    resume_file: Path | None,
    reveal: bool,
    dry_run: bool,
    yes: bool,
    segments: int,
    rate: float | None,
) -> int:
    """Put all live records into TO_TABLE, exactly as they are.

    What is in TO_TABLE under the same token is overwritten: it asks before that if there are records. --rate is for both tables
    together. Ended early, it goes on where it was with the same --resume-file.
    """
    given = {"region": to_region, "profile": to_profile, "endpoint_url": to_endpoint_url}
    where = {**state.where, **{name: value for name, value in given.items() if value is not None}}
    names = {**state.attributes, **attributes(to_attribute, "--to-attribute")}
    with connect(state) as store, connect(state, named(to_table, names, "TO_TABLE"), where) as to:
        # As `Batch.copy` does; but before it is asked, or counted.
        if may_be_one(store, to) and store._run(identity(store)) == to._run(identity(to)):
            raise WrongUsageError("these are one table, which cannot be copied to itself")
        total = items_of(store)
        job = Job(
            state,
            store,
            "copy",
            "copied",
            count=None if dry_run else lambda meter: meter.put,
            total=total,
            rate=rate,
            resume=ResumeFile(None if dry_run else resume_file),
            writes_to=to,
        )
        full = has_items(to)
        if dry_run:
            return _count(job, segments, f"would copy {{}} records to {place(to)}", "would_copy", expired=expired)
        if full:
            question = f"Copy {place(store)}{_about(total)}, to it?"
            state.confirm(question, f"{place(to)} has records already", yes=yes)
        report = job.run(lambda batch, resume: batch.copy(to, segments=segments, expired=expired, resume=resume))
        return job.tell(report, reveal=reveal, extra={"to_table": to.table.name})


def _count(job: Job, segments: int, said: str, name: str, *, expired: bool) -> int:
    """The dry run of what takes all records, or all live ones."""
    counts = Counts(0, 0)

    def count(batch: Batch, resume: str | None) -> Tally:
        nonlocal counts
        del resume
        counts = batch.count(segments=segments)
        return Tally()

    # What is counted is not done.
    job.count = lambda _: 0
    report = job.run(count)
    report.resume, report.done = None, 0
    if report.status != "done":
        # Half a count is none.
        report.skipped = None
        return job.tell(report, extra={"dry_run": True, name: None, "live": None, "expired": None, "markers": None})
    number = counts.live + counts.markers + (counts.expired if expired else 0)
    kinds: Document = {"live": counts.live, "expired": counts.expired, "markers": counts.markers}
    extra: Document = {"dry_run": True, name: number, **kinds}
    return job.tell(report, done=said.format(f"{number:,}"), extra=extra)


def _about(total: int | None) -> str:
    return "" if total is None else f", about {total:,} records"


COMMANDS = (stats, purge, export, load, copy)
