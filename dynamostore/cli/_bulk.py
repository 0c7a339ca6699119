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
    global_options,
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
        ("count live and expired records, and show their sizes", "dynamostore stats --table sessions"),
        ("sample a large table at a limited rate", "dynamostore stats --table sessions --limit 50000 --rate 100"),
        ("print the number of live records, for a dashboard", "dynamostore stats --table sessions --json | jq .live"),
    ),
)
@click.option(
    "--limit",
    cls=Option,
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of items to read. Default: all.",
)
@pace
@global_options
@click.pass_obj
def stats(state: State, *, limit: int | None, segments: int, rate: float | None) -> int:
    """Count live and expired records, by expiry and by size.

    The command reads the whole table, which costs one read unit per 8 KB. If you interrupt it, it shows the counts so far.
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
        # A count cannot be resumed: the resume token does not hold the numbers so far.
        report.resume = None
        if report.status == "failed" and not counted.items:
            # Zeros would say that the table is empty, which is not known.
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
    short_help="Delete expired records.",
    examples=(
        ("count the records that would be deleted", "dynamostore purge --table sessions --dry-run"),
        ("run unattended, at a limited rate", "dynamostore purge --table sessions --yes --rate 50"),
        (
            "purge a large table in parallel, and be able to resume",
            "dynamostore purge --segments 4 --resume-file purge.resume",
        ),
    ),
)
@resume_file
@reveal
@dry_run
@yes
@pace
@global_options
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
    """Delete expired records now. DynamoDB's TTL deletes them too, typically within a few days.

    Each delete is conditional, so a record that was changed in the meantime stays. The command reads the whole table, but
    receives only keys and expiries, never a record's data. To resume an interrupted purge, run it again with the same
    --resume-file.
    """
    with connect(state) as store:
        total = items_of(store)
        if not dry_run:
            state.confirm("Delete all expired records?", f"{place(store)}{_about(total)}", yes=yes)
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
        ("export live records to a compressed file", "dynamostore export --table sessions sessions.jsonl.gz"),
        ("export expired records too, in parallel", "dynamostore export --expired --segments 4 backup.jsonl.gz"),
        ("count the records first", "dynamostore export --table sessions --dry-run sessions.jsonl.gz"),
    ),
)
@click.argument("file", type=NEW_FILE)
@click.option("--expired", is_flag=True, help="Include expired records.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@dry_run
@pace
@global_options
@click.pass_obj
def export(
    state: State, *, file: Path, expired: bool, overwrite: bool, dry_run: bool, segments: int, rate: float | None
) -> int:
    """Write all live records to FILE, as JSON Lines with a checksum. FILE is compressed if its name ends with .gz.

    FILE contains tokens and data, and only you can read it. An interrupted export leaves FILE.partial and FILE.resume; run
    the same command again to resume. If another file with the name FILE appears meanwhile, the command does not replace it
    without --overwrite.
    """
    if os.path.lexists(file) and not overwrite:
        raise WrongUsageError(f"{file} already exists; use --overwrite to replace it")
    with connect(state) as store:
        total = items_of(store)
        job = Job(state, store, "export", "written", total=total, rate=rate)
        if dry_run:
            return _count(job, segments, "would write {} records", "would_write", expired=expired)
        partial = file.with_name(f"{file.name}.partial")
        if since := begun(file):
            job.opening = f"resuming {partial}, started {since:%Y-%m-%d %H:%M} UTC"
        resumes = bool(job.opening)
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
        # If the opening is still unprinted, the library refused the partial file.
        extra: Document = {"file": str(file), "continued": resumes and not job.opening}
        if report.status != "done" and partial.exists():
            code = job.tell(report, extra={**extra, "partial": str(partial)})
            if not isinstance(report.error, ValueError):
                state.say(f"to resume, run the same command again; {partial} is kept")
            return code
        return job.tell(report, extra=extra)


@click.command(
    cls=Command,
    short_help="Load records from a file into the table.",
    examples=(
        ("load an export into a table", "dynamostore load --table sessions sessions.jsonl.gz"),
        ("check a file without loading it", "dynamostore load --dry-run sessions.jsonl.gz"),
        (
            "run unattended, at a limited rate",
            "dynamostore load --yes --rate 100 --resume-file load.resume sessions.jsonl.gz",
        ),
    ),
)
@click.argument("file", type=FILE)
@click.option("--expired", is_flag=True, help="Include expired records.")
@resume_file
@reveal
@dry_run
@yes
@rate
@global_options
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
    """Load the live records from FILE, which the export command wrote, into the table unchanged.

    The command first checks all of FILE. If a line is not a record, it loads nothing. If a record is corrupt, only that
    record fails. Records in the table with the same token are overwritten; the command asks first if the table has records.
    To resume an interrupted load, run it again with the same --resume-file.
    """
    whole = verify(file)
    with connect(state) as store:
        about = f"{whole.records:,} records from {file} (table {whole.table!r})"
        if dry_run:
            document = {"command": "load", "table": store.table.name, "status": "done", "dry_run": True}
            at_most = f"would load {about} into {place(store)}{'' if expired else ', except expired ones'}"
            state.result({**document, "file": str(file), "records": whole.records, "sha256": whole.sha256}, at_most)
            return 0
        if has_items(store):
            state.confirm(f"Load {about} into this table?", f"{place(store)} already contains records", yes=yes)
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
    short_help="Copy all records to another table.",
    examples=(
        ("copy to another table in the same Region", "dynamostore copy --table sessions sessions-new"),
        ("copy to another Region", "dynamostore copy --table sessions sessions --to-region eu-west-1"),
        (
            "copy a large table in parallel, and be able to resume",
            "dynamostore copy --segments 4 --resume-file copy.resume new",
        ),
    ),
)
@click.argument("to_table", metavar="TO_TABLE")
@click.option("--to-region", metavar="REGION", help="AWS Region of TO_TABLE. Default: --region.")
@click.option("--to-profile", metavar="NAME", help="AWS profile for TO_TABLE. Default: --profile.")
@click.option("--to-endpoint-url", metavar="URL", help="DynamoDB endpoint of TO_TABLE. Default: --endpoint-url.")
@click.option(
    "--to-attribute",
    metavar="ROLE=NAME",
    multiple=True,
    help="Name of an attribute in TO_TABLE. Repeatable. Default: --attribute.",
)
@click.option("--expired", is_flag=True, help="Include expired records.")
@resume_file
@reveal
@dry_run
@yes
@pace
@global_options
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
    """Copy all live records to TO_TABLE unchanged.

    Records in TO_TABLE with the same token are overwritten; the command asks first if TO_TABLE has records. --rate limits both
    tables together. To resume an interrupted copy, run it again with the same --resume-file.
    """
    given = {"region": to_region, "profile": to_profile, "endpoint_url": to_endpoint_url}
    where = {**state.where, **{name: value for name, value in given.items() if value is not None}}
    names = {**state.attributes, **attributes(to_attribute, "--to-attribute")}
    with connect(state) as store, connect(state, named(to_table, names, "TO_TABLE"), where) as to:
        # `Batch.copy` checks this too, but only after the question and the count.
        if may_be_one(store, to) and store._run(identity(store)) == to._run(identity(to)):
            raise WrongUsageError("--table and TO_TABLE are the same table; choose another TO_TABLE")
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
            question = f"Copy {place(store)}{_about(total)}, into it?"
            state.confirm(question, f"{place(to)} already contains records", yes=yes)
        report = job.run(lambda batch, resume: batch.copy(to, segments=segments, expired=expired, resume=resume))
        return job.tell(report, reveal=reveal, extra={"to_table": to.table.name})


def _count(job: Job, segments: int, said: str, name: str, *, expired: bool) -> int:
    """Count the records that an export or a copy would take, print the number, and return the exit code."""
    counts = Counts(0, 0)

    def count(batch: Batch, resume: str | None) -> Tally:
        nonlocal counts
        del resume
        counts = batch.count(segments=segments)
        return Tally()

    # Counted records are not "done": a dry run writes nothing.
    job.count = lambda _: 0
    report = job.run(count)
    report.resume, report.done = None, 0
    if report.status != "done":
        # A partial count would mislead, so report no count.
        report.skipped = None
        return job.tell(report, extra={"dry_run": True, name: None, "live": None, "expired": None, "markers": None})
    number = counts.live + counts.markers + (counts.expired if expired else 0)
    kinds: Document = {"live": counts.live, "expired": counts.expired, "markers": counts.markers}
    extra: Document = {"dry_run": True, name: number, **kinds}
    return job.tell(report, done=said.format(f"{number:,}"), extra=extra)


def _about(total: int | None) -> str:
    return "" if total is None else f", about {total:,} records"


COMMANDS = (stats, purge, export, load, copy)
