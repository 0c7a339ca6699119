"""`Batch`: jobs over many records, on a `DynamoStore`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from dynamostore.client import Item
from dynamostore.contract import Record
from dynamostore.errors import StoreError, UnavailableError
from dynamostore.hidden import Hidden, clears_frames
from dynamostore.items import key
from dynamostore.pauses import Pauses
from dynamostore.plans.faults import public
from dynamostore.steps import Plan, run
from dynamostore.store import DynamoStore

from ._base import BaseBatch, Job, Watch, grown, page_size
from ._calls import FIND_MANY
from ._chunks import Chunks, in_chunks, tokens_of
from ._files import Exported
from ._parallel import in_threads
from ._plans import Jobs, Page, Request
from ._position import Position
from ._results import BatchIncompleteError, Counts, Outcome, Tally
from .tables import identity, may_be_one

__all__ = ["Batch"]

T = TypeVar("T")


@clears_frames("scan", "scan_items")
class Batch(BaseBatch[DynamoStore]):
    """Jobs over many records of a *store*, in few calls and at a limited rate.

    - *rate*: the maximum capacity units per second, reads and writes together, as reported by the server. None: no limit.
    - *attempts*: how often a call is tried without any progress, with growing pauses, before its records fail.
    - *watch*: called with a `Progress` after each page or chunk.
    - *monotonic*: a clock in seconds.

    Give a batch its own client, for example from `dynamostore.connect` with longer timeouts. The client needs the methods
    ``scan``, ``batch_get_item`` and ``batch_write_item``, as in boto3.

    If a record fails, its token and error are in the ``failed`` of the `Tally`. An error that affects every record, such as a
    missing table or permission, is raised.

    With *segments*, a job scans so many segments of the table in parallel, each in a thread. If a segment fails, the job
    finishes the others and then raises `BatchIncompleteError`. Pass the error's ``resume``, or that of the last `Progress`,
    to the same method to resume. A resumed job repeats at most one page of each segment.

    >>> from datetime import UTC, datetime
    >>> from dynamostore.local import LocalDynamoDB
    >>> with LocalDynamoDB() as dynamodb:
    ...     store = dynamodb.connect("scs_session")
    ...     store.create_table()
    ...     batch = Batch(store, rate=1000)
    ...     batch.save_many((f"token {n}", b"data", datetime(2200 - n % 2 * 200, 1, 1, tzinfo=UTC)) for n in range(50))
    ...     batch.count(), batch.purge_expired(), batch.count()
    <Tally 50 done, 0 skipped, 0 failed>
    (Counts(live=25, expired=25, markers=0), <Tally 25 done, 0 skipped, 0 failed>, Counts(live=25, expired=0, markers=0))
    """

    _of = DynamoStore

    def __init__(
        self,
        store: DynamoStore,
        *,
        rate: float | None = None,
        attempts: int = 10,
        watch: Watch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, rate=rate, attempts=attempts, watch=watch, monotonic=monotonic)

    # Many records

    def find_many(self, tokens: Iterable[str]) -> Generator[Outcome, None, None]:
        """Yield an `Outcome` for each of *tokens*, in order, with 100 tokens per call."""
        hidden = Hidden(tokens)
        del tokens
        jobs = self._start()
        seen = done = 0
        for chunk in in_chunks(hidden, Chunks[str](FIND_MANY, str, repeats=True)):
            outcomes = self.store._run(jobs.find(chunk))
            yield from outcomes
            seen += len(chunk.reveal())
            done += sum(outcome.record is not None for outcome in outcomes)
            self._report(jobs, seen, done)
            if all(isinstance(outcome.error, UnavailableError) for outcome in outcomes):
                raise self._gone(outcomes, done)

    def save_many(self, records: Iterable[tuple[str, bytes, datetime]]) -> Tally:
        """Add or overwrite records given as (token, data, expiry), 25 per call. If a token repeats, the last one wins."""
        hidden = Hidden(records)
        del records
        tally, seen, jobs = Tally(), 0, self._start()
        chunks = self._chunks_to_save()
        with self._accounted("save_many", tally, pending=chunks.pending) as account:
            for chunk in in_chunks(hidden, chunks):
                self._take(account, self.store._run(jobs.save(chunk)), tokens_of(chunk))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    def delete_many(self, tokens: Iterable[str]) -> Tally:
        """Delete the records of *tokens*, 25 per call. A token without a record is not an error.

        Unlike `DynamoStore.delete <dynamostore.DynamoStore.delete>`, it does not follow markers.
        """
        hidden = Hidden(tokens)
        del tokens
        tally, seen, jobs = Tally(), 0, self._start()
        with self._accounted("delete_many", tally) as account:
            for chunk in in_chunks(hidden, self._chunks_to_delete()):
                self._take(account, self.store._run(jobs.delete(chunk)), iter(chunk.reveal()))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    # All records

    def scan(
        self, *, segments: int = 1, limit: int | None = None, consistent: bool = False, resume: str | None = None
    ) -> Generator[Record, None, None]:
        """Yield all live records, or at most *limit*, in no particular order. A corrupt record is logged and left out.

        Memory is bounded: one or two pages of 1 MB for each segment. *consistent* reads cost twice as much.
        """
        pages = self._pages(
            Request(consistent=consistent, page_size=page_size(limit)), self._position("scan", segments, resume)
        )
        return _at_most(limit, pages, self._jobs.records)

    def scan_items(
        self,
        *,
        segments: int = 1,
        limit: int | None = None,
        projection: Iterable[str] = (),
        consistent: bool = False,
        resume: str | None = None,
    ) -> Generator[Item, None, None]:
        """Yield all items as they are in the table, expired ones too. With *projection*, yield only these attributes.

        *projection* holds `Table`'s field names ("token", "expiry"), not the attribute names in the table.
        """
        request = Request(self._projection(projection), consistent=consistent, page_size=page_size(limit))
        return _at_most(
            limit, self._pages(request, self._position("scan", segments, resume)), lambda page: iter(page.items)
        )

    def count(self, *, segments: int = 1) -> Counts:
        """Count the records. The server reads the whole table, so it costs as much as a `scan`, but returns less."""
        job, markers = self._counting()
        tally = self._do(job, segments, Hidden(None))
        return Counts(tally.done, tally.skipped, sum(markers))

    def purge_expired(self, *, segments: int = 1, dry_run: bool = False, resume: str | None = None) -> Tally:
        """Delete expired records, and markers that have ended. DynamoDB's TTL does the same, typically within a few days.

        Each delete is conditional: a record that was renewed in the meantime counts as *skipped*. So does a record that has
        not expired by DynamoDB's clock. With *dry_run*, nothing is deleted, and *skipped* is the number of records that the
        job would try to delete.
        """
        held = Hidden(resume)
        del resume
        return self._do(self._purging(dry_run=dry_run), segments, held)

    def copy(
        self,
        to: DynamoStore,
        *,
        segments: int = 1,
        expired: bool = False,
        consistent: bool = False,
        resume: str | None = None,
    ) -> Tally:
        """Copy all live items to another table unchanged, except for that table's attribute names. With *expired*, copy all.

        Items in *to* with the same token are overwritten. Do not repeat a copy onto a table in use: it would bring back
        records that were deleted there since. Reads are eventually consistent unless *consistent* is True. Raise `ValueError`
        if both stores use the same table.
        """
        held = Hidden(resume)
        del resume
        self._check_store(to)
        if may_be_one(self.store, to) and (self.store._run(identity(self.store)) == to._run(identity(to))):
            raise ValueError("both stores use the same table; copy needs two tables")
        return self._do(self._copying(to, expired=expired, consistent=consistent), segments, held)

    # Files

    def export(
        self,
        path: str | Path,
        *,
        segments: int = 1,
        expired: bool = False,
        consistent: bool = False,
        overwrite: bool = False,
    ) -> Exported:
        """Write all live records to a file of JSON Lines with a checksum, compressed if its name ends with ``.gz``.

        With *expired*, write expired records too. The job writes to ``PATH.partial`` until the file is complete. If the
        process is killed, the same call resumes and writes no record twice. Reads are eventually consistent unless
        *consistent* is True.

        Raise `FileExistsError` if another process is writing PATH.partial, and, without *overwrite*, if PATH exists or another
        process creates it meanwhile. Raise `PermissionError` if PATH.partial or PATH.resume is a link or belongs to another
        user.
        """
        file = self._export_to(path, segments, expired=expired, overwrite=overwrite)
        jobs = self._start()
        try:
            for page, _ in self._pages(Request(consistent=consistent), file.position, jobs=jobs, reporting=False):
                self._export_page(file, page, expired=expired)
                self._report(jobs, file.records, file.records, position=file.position)
            return file.finish()
        except BatchIncompleteError as error:
            error.tally = Tally(done=file.records)
            raise
        finally:
            file.close()

    def load(self, path: str | Path, *, expired: bool = False, resume: str | None = None) -> Tally:
        """Load the live records of a file that `export` wrote into the table unchanged. With *expired*, load all.

        The job first reads the whole file. If the file was changed or a line is not a record, it raises `ValueError` and loads
        nothing. If `find` would report a record as corrupt, only that record fails.

        Records in the table with the same token are overwritten, so you can repeat a load if no other process writes the table.
        """
        held = Hidden(resume)
        del resume
        loading, whole = self._loading(path, expired=expired, resume=held.reveal())
        scope = self._loading_scope(whole, expired=expired)
        with self._accounted("load", loading.tally, lambda: f"{scope}:{loading.safe}"):
            for chunk in loading.chunks():
                self._put(loading, self.store._run(loading.jobs.put(chunk)), f"{scope}:")
        return loading.tally

    # Running a job

    def _do(self, job: Job[DynamoStore], segments: int, resume: Hidden[str | None]) -> Tally:
        position = self._position(job.name, segments, resume.reveal(), job.scope)
        tally = Tally()
        with self._adding(tally):
            for _, part in self._pages(job.request, position, job):
                tally.add(part)
        return tally

    def _pages(
        self,
        request: Request,
        position: Position,
        job: Job[DynamoStore] | None = None,
        *,
        jobs: Jobs | None = None,
        reporting: bool = True,
    ) -> Generator[tuple[Page, Tally], None, None]:
        """Yield the remaining pages, each with the job's result for it."""
        segments = len(position.after)
        jobs = job.jobs if job else jobs or self._start()
        course = self._course(jobs, position, reporting=reporting)
        stopping = threading.Event()

        def pages(segment: int) -> Iterator[tuple[Page, Tally]]:
            at = position.start_key(self.store.table, segment)
            start, size = None if at is None else Hidden(at), request.page_size
            del at
            while True:
                page = _run(self.store, jobs.page(replace(request, page_size=size), segment, segments, start), stopping)
                yield page, (_run(job.on, job.handle(page), stopping) if job else Tally())
                if page.after is None:
                    return
                start, size = Hidden(key(self.store.table, page.after)), grown(size)

        parts = {segment: pages(segment) for segment in position.left}
        with course.reported():
            for page, tally in self._together(parts, course.failed, stopping):
                yield page, tally
                course.finished(page, tally)

    def _together(
        self,
        parts: dict[int, Iterator[tuple[Page, Tally]]],
        failed: Callable[[int, Exception], None],
        stopping: threading.Event,
    ) -> Iterator[tuple[Page, Tally]]:
        if len(parts) > 1:
            yield from in_threads(parts, failed, stopping)
            return
        for segment, pages in parts.items():
            try:
                yield from pages
            except StoreError as error:
                failed(segment, error)


def _run(store: DynamoStore, plan: Plan[T], stopping: threading.Event) -> T:
    """Run a *plan* on the store. Once *stopping* is set, start no call, and end pauses, which last minutes at a low rate."""
    pauses = Pauses(stopping, store._sleep)
    try:
        with pauses.of_this_thread():
            return run(
                plan, _StoppableClient(store, pauses), sleep=pauses.sleep, explain=store._explain, check=store._check
            )
    except StoreError as error:
        shown = public(error)
        if shown is error:
            raise
    raise shown


class _StoppableClient:
    """A store's client that refuses calls once the job is stopping."""

    def __init__(self, store: DynamoStore, pauses: Pauses) -> None:
        self._client = store.client
        self._pauses = pauses

    def __getattr__(self, name: str) -> object:
        self._pauses.check()
        return getattr(self._client, name)


def _at_most(
    limit: int | None,
    pages: Generator[tuple[Page, Tally], None, None],
    results: Callable[[Page], Iterator[T]],
) -> Generator[T, None, None]:
    with closing(pages):
        yield from islice(chain.from_iterable(results(page) for page, _ in pages), limit)
