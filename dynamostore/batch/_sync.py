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
from ._chunks import in_chunks, tokens_of
from ._files import Exported
from ._parallel import in_threads
from ._plans import FIND_MANY, WRITE_MANY, Jobs, Page, Request
from ._position import Position
from ._results import BatchIncompleteError, Counts, Outcome, Tally
from .tables import identity, may_be_one

__all__ = ["Batch"]

T = TypeVar("T")


@clears_frames("scan", "scan_items")
class Batch(BaseBatch[DynamoStore]):
    """Jobs over many records of a *store*, politely: in as few calls as can be, and no faster than you say.

    *rate* is in capacity units a second, reads and writes together, as the server says what was consumed (None: as fast as
    it goes). *attempts*: how often a call is made in vain, with a growing pause in between, before its records are given up.
    *watch* is called with a `Progress` after each page or chunk. A client of its own (`dynamostore.connect` with longer
    time-outs, say) is wise; it needs boto3's ``scan``, ``batch_get_item`` and ``batch_write_item``. *monotonic* gives seconds.

    A token that was tried and failed is in a `Tally`'s ``failed``, with the reason; what none of it can succeed at (no table, no
    right) is raised. Where *segments* are given, so many parts of the table are read at once, in threads; if one of them fails,
    the others are read to their end, then `BatchIncompleteError` says where to go on with *resume*. So does each
    `Progress`. A job that goes on does a page of each segment again at most.

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
        """An `Outcome` for each of *tokens*, in their order, 100 a call, as they come."""
        hidden = Hidden(tokens)
        del tokens
        jobs = self._start()
        seen = done = 0
        for chunk in in_chunks(hidden, FIND_MANY, str, repeats=True):
            outcomes = self.store._run(jobs.find(chunk))
            yield from outcomes
            seen += len(chunk.reveal())
            done += sum(outcome.record is not None for outcome in outcomes)
            self._report(jobs, seen, done)
            if all(isinstance(outcome.error, UnavailableError) for outcome in outcomes):
                raise self._gone(outcomes, done)

    def save_many(self, records: Iterable[tuple[str, bytes, datetime]]) -> Tally:
        """Add or overwrite records of token, data and expiry, 25 a call; of one token the last counts."""
        hidden = Hidden(records)
        del records
        tally, seen, jobs = Tally(), 0, self._start()
        with self._accounted("save_many", tally) as account:
            for chunk in in_chunks(hidden, WRITE_MANY, lambda entry: entry[0]):
                self._take(account, self.store._run(jobs.save(chunk)), tokens_of(chunk))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    def delete_many(self, tokens: Iterable[str]) -> Tally:
        """Delete what is under *tokens*, 25 a call, whether there is anything or not.

        Unlike `DynamoStore.delete <dynamostore.DynamoStore.delete>` it does not follow markers.
        """
        hidden = Hidden(tokens)
        del tokens
        tally, seen, jobs = Tally(), 0, self._start()
        with self._accounted("delete_many", tally) as account:
            for chunk in in_chunks(hidden, WRITE_MANY, str, repeats=True):
                self._take(account, self.store._run(jobs.delete(chunk)), iter(chunk.reveal()))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    # All records

    def scan(
        self, *, segments: int = 1, limit: int | None = None, consistent: bool = False, resume: str | None = None
    ) -> Generator[Record, None, None]:
        """All live records, in no order, as they are read; at most *limit*. A corrupt one is logged, and left out.

        In bounded memory: a page of 1 MB or two for each segment. *consistent* reads cost twice as much.
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
        """All items as they lie in the table, expired ones too; *projection*: only these of `Table`'s attributes.

        The names are `Table`'s own ("token", "expiry"), whatever they are called in the table.
        """
        request = Request(self._projection(projection), consistent=consistent, page_size=page_size(limit))
        return _at_most(
            limit, self._pages(request, self._position("scan", segments, resume)), lambda page: iter(page.items)
        )

    def count(self, *, segments: int = 1) -> Counts:
        """How many records there are. It reads the whole table, if only there: the price is that of a `scan`."""
        job, markers = self._counting()
        tally = self._do(job, segments, Hidden(None))
        return Counts(tally.done, tally.skipped, sum(markers))

    def purge_expired(self, *, segments: int = 1, dry_run: bool = False, resume: str | None = None) -> Tally:
        """Delete the records that have expired, each on condition that it was not renewed meanwhile (then it is *skipped*).

        What has not expired by DynamoDB's clock, too, is *skipped*. Markers are deleted once they have ended. DynamoDB's TTL does
        all of this by itself, in a day or two. *dry_run* deletes nothing, and counts as skipped what it would try to delete.
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
        """Put all items into another table, exactly as they are (with its names); *expired* ones, too, or skip them.

        It overwrites what is there under the same token: run again on a table that is in use, it would bring back what was
        deleted there since. Reads are eventually consistent, unless *consistent*. `ValueError` if the two are one table.
        """
        held = Hidden(resume)
        del resume
        self._check_store(to)
        if may_be_one(self.store, to) and (self.store._run(identity(self.store)) == to._run(identity(to))):
            raise ValueError("these are one table, which cannot be copied to itself")
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
        """Write all records to a file of JSON Lines, compressed if its name ends with ``.gz``: readable, exact, checksummed.

        It writes ``PATH.partial`` until the file is complete. If the process is killed, the same call resumes, and writes no record
        twice. Reads are eventually consistent, unless *consistent*.

        Raises `FileExistsError` if PATH exists or another process creates it meanwhile, unless *overwrite*, and if another process
        is writing PATH.partial. Raises `PermissionError` if PATH.partial or PATH.resume is a link or belongs to another user.
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
        """Put the records of a file of `export` into the table, as they were; *expired* ones, too, or skip them.

        It first reads the whole file. It raises `ValueError`, and puts nothing, if the file was changed or a line is not a record.
        If `find` would call a record corrupt, only that record fails. `load` overwrites what is there under the same token. So you can
        run it again on a table that no other process writes.
        """
        held = Hidden(resume)
        del resume
        loading, whole = self._loading(path, expired=expired, resume=held.reveal())
        scope = self._loading_scope(whole, expired=expired)
        with self._accounted("load", loading.tally, lambda: f"{scope}:{loading.safe}"):
            for chunk in loading.chunks():
                self._put(loading, self.store._run(loading.jobs.put(chunk)), f"{scope}:")
        return loading.tally

    # How

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
        """The pages that are left, each with what came of it."""
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
        with course.told():
            for page, tally in self._together(parts, course.failed, stopping):
                yield page, tally
                course.took(page, tally)

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
    """As the store runs a *plan*; but when all is *stopping*, no call begins and no pause (of minutes, at a low rate) goes on."""
    pauses = Pauses(stopping, store._sleep)
    try:
        with pauses.of_this_thread():
            return run(plan, _Begun(store, pauses), sleep=pauses.sleep, explain=store._explain, check=store._check)
    except StoreError as error:
        shown = public(error)
        if shown is error:
            raise
    raise shown


class _Begun:
    """The client of a *store*, for as long as calls may begin."""

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
