"""`AsyncBatch`: the async version of `Batch`, with the same plans and jobs."""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from dynamostore.aio import AsyncDynamoStore
from dynamostore.client import Item
from dynamostore.contract import Record
from dynamostore.errors import StoreError, UnavailableError
from dynamostore.hidden import Hidden, clears_frames
from dynamostore.items import key
from dynamostore.steps import run_to_completion

from ._base import BaseBatch, Job, Watch, grown, page_size
from ._calls import FIND_MANY
from ._chunks import Chunks, tokens_of
from ._files import Exported
from ._parallel import in_tasks, in_thread
from ._plans import Jobs, Page, Request
from ._position import Position
from ._results import BatchIncompleteError, Counts, Outcome, Tally
from .tables import identity, may_be_one

__all__ = ["AsyncBatch"]

T = TypeVar("T")

AnyIterable: TypeAlias = Iterable[T] | AsyncIterable[T]


@clears_frames("scan", "scan_items")
class AsyncBatch(BaseBatch[AsyncDynamoStore]):
    """Jobs over many records of an async *store*. The methods, settings and guarantees are those of `Batch`.

    Methods that yield return async iterators. Methods that accept many values accept iterables and async iterables. Each
    segment is read in a task. Cancelling a job cancels its running calls, which may still take effect, as after a lost
    connection.

    >>> import asyncio
    >>> from datetime import UTC, datetime
    >>> from dynamostore.local import LocalDynamoDB
    >>> async def main(dynamodb: LocalDynamoDB) -> None:
    ...     async with dynamodb.connect_async("scs_session") as store:
    ...         await store.create_table()
    ...         batch = AsyncBatch(store)
    ...         print(await batch.save_many((f"token {n}", b"data", datetime(2200, 1, 1, tzinfo=UTC)) for n in range(50)))
    ...         print(len([record async for record in batch.scan(segments=2)]))
    >>> with LocalDynamoDB() as dynamodb:
    ...     asyncio.run(main(dynamodb))
    <Tally 50 done, 0 skipped, 0 failed>
    50
    """

    _of = AsyncDynamoStore

    def __init__(
        self,
        store: AsyncDynamoStore,
        *,
        rate: float | None = None,
        attempts: int = 10,
        watch: Watch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store, rate=rate, attempts=attempts, watch=watch, monotonic=monotonic)

    # Many records

    async def find_many(self, tokens: AnyIterable[str]) -> AsyncGenerator[Outcome, None]:
        """Yield an `Outcome` for each of *tokens*. See `Batch.find_many`."""
        hidden = Hidden(tokens)
        del tokens
        jobs = self._start()
        seen = done = 0
        async for chunk in _in_chunks(hidden, Chunks[str](FIND_MANY, str, repeats=True)):
            outcomes = await self.store._run(jobs.find(chunk))
            for outcome in outcomes:
                yield outcome
            seen += len(chunk.reveal())
            done += sum(outcome.record is not None for outcome in outcomes)
            self._report(jobs, seen, done)
            if all(isinstance(outcome.error, UnavailableError) for outcome in outcomes):
                raise self._gone(outcomes, done)

    async def save_many(self, records: AnyIterable[tuple[str, bytes, datetime]]) -> Tally:
        """Add or overwrite records. See `Batch.save_many`."""
        hidden = Hidden(records)
        del records
        tally, seen, jobs = Tally(), 0, self._start()
        chunks = self._chunks_to_save()
        with self._accounted("save_many", tally, pending=chunks.pending) as account:
            async for chunk in _in_chunks(hidden, chunks):
                self._take(account, await self.store._run(jobs.save(chunk)), tokens_of(chunk))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    async def delete_many(self, tokens: AnyIterable[str]) -> Tally:
        """Delete the records of *tokens*. See `Batch.delete_many`."""
        hidden = Hidden(tokens)
        del tokens
        tally, seen, jobs = Tally(), 0, self._start()
        with self._accounted("delete_many", tally) as account:
            async for chunk in _in_chunks(hidden, self._chunks_to_delete()):
                self._take(account, await self.store._run(jobs.delete(chunk)), iter(chunk.reveal()))
                seen += len(chunk.reveal())
                self._report(jobs, seen, tally.done)
        return tally

    # All records

    def scan(
        self, *, segments: int = 1, limit: int | None = None, consistent: bool = False, resume: str | None = None
    ) -> AsyncGenerator[Record, None]:
        """Yield all live records. See `Batch.scan`."""
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
    ) -> AsyncGenerator[Item, None]:
        """Yield all items. See `Batch.scan_items`."""
        request = Request(self._projection(projection), consistent=consistent, page_size=page_size(limit))
        return _at_most(
            limit, self._pages(request, self._position("scan", segments, resume)), lambda page: iter(page.items)
        )

    async def count(self, *, segments: int = 1) -> Counts:
        """Count the records. See `Batch.count`."""
        job, markers = self._counting()
        tally = await self._do(job, segments, Hidden(None))
        return Counts(tally.done, tally.skipped, sum(markers))

    async def purge_expired(self, *, segments: int = 1, dry_run: bool = False, resume: str | None = None) -> Tally:
        """Delete expired records. See `Batch.purge_expired`."""
        held = Hidden(resume)
        del resume
        return await self._do(self._purging(dry_run=dry_run), segments, held)

    async def copy(
        self,
        to: AsyncDynamoStore,
        *,
        segments: int = 1,
        expired: bool = False,
        consistent: bool = False,
        resume: str | None = None,
    ) -> Tally:
        """Copy all records to another table. See `Batch.copy`."""
        held = Hidden(resume)
        del resume
        self._check_store(to)
        if may_be_one(self.store, to) and (await self.store._run(identity(self.store)) == await to._run(identity(to))):
            raise ValueError("both stores use the same table; copy needs two tables")
        return await self._do(self._copying(to, expired=expired, consistent=consistent), segments, held)

    # Files

    async def export(
        self,
        path: str | Path,
        *,
        segments: int = 1,
        expired: bool = False,
        consistent: bool = False,
        overwrite: bool = False,
    ) -> Exported:
        """Write all records to a file, in threads. See `Batch.export`."""
        file = await in_thread(partial(self._export_to, path, segments, expired=expired, overwrite=overwrite))
        jobs = self._start()
        try:
            async with aclosing(
                self._pages(Request(consistent=consistent), file.position, jobs=jobs, reporting=False)
            ) as pages:
                async for page, _ in pages:
                    await run_to_completion(in_thread(partial(self._export_page, file, page, expired=expired)))
                    self._report(jobs, file.records, file.records, position=file.position)
            return await run_to_completion(in_thread(file.finish))
        except BatchIncompleteError as error:
            error.tally = Tally(done=file.records)
            raise
        finally:
            file.close()

    async def load(self, path: str | Path, *, expired: bool = False, resume: str | None = None) -> Tally:
        """Load the records of a file, which is read in threads. See `Batch.load`."""
        held = Hidden(resume)
        del resume
        loading, whole = await in_thread(lambda: self._loading(path, expired=expired, resume=held.reveal()))
        scope = self._loading_scope(whole, expired=expired)
        chunks = loading.chunks()
        with self._accounted("load", loading.tally, lambda: f"{scope}:{loading.safe}"):
            while chunk := await in_thread(partial(next, chunks, None)):
                self._put(loading, await self.store._run(loading.jobs.put(chunk)), f"{scope}:")
        return loading.tally

    # Running a job

    async def _do(self, job: Job[AsyncDynamoStore], segments: int, resume: Hidden[str | None]) -> Tally:
        position = self._position(job.name, segments, resume.reveal(), job.scope)
        tally = Tally()
        with self._adding(tally):
            async with aclosing(self._pages(job.request, position, job)) as pages:
                async for _, part in pages:
                    tally.add(part)
        return tally

    async def _pages(
        self,
        request: Request,
        position: Position,
        job: Job[AsyncDynamoStore] | None = None,
        *,
        jobs: Jobs | None = None,
        reporting: bool = True,
    ) -> AsyncGenerator[tuple[Page, Tally], None]:
        """Yield the remaining pages, each with the job's result for it."""
        segments = len(position.after)
        jobs = job.jobs if job else jobs or self._start()
        course = self._course(jobs, position, reporting=reporting)

        async def pages(segment: int) -> AsyncGenerator[tuple[Page, Tally], None]:
            at = position.start_key(self.store.table, segment)
            start, size = None if at is None else Hidden(at), request.page_size
            del at
            while True:
                page = await self.store._run(jobs.page(replace(request, page_size=size), segment, segments, start))
                yield page, (await job.on._run(job.handle(page)) if job else Tally())
                if page.after is None:
                    return
                start, size = Hidden(key(self.store.table, page.after)), grown(size)

        parts = {segment: pages(segment) for segment in position.left}
        with course.reported():
            async with aclosing(self._together(parts, course.failed)) as results:
                async for page, tally in results:
                    yield page, tally
                    course.finished(page, tally)

    async def _together(
        self, parts: dict[int, AsyncGenerator[tuple[Page, Tally], None]], failed: Callable[[int, Exception], None]
    ) -> AsyncGenerator[tuple[Page, Tally], None]:
        if len(parts) > 1:
            async with aclosing(in_tasks(parts, failed)) as results:
                async for result in results:
                    yield result
            return
        # A single segment needs no task, so nothing is read ahead.
        for segment, pages in parts.items():
            try:
                async with aclosing(pages):
                    async for result in pages:
                        yield result
            except StoreError as error:
                failed(segment, error)


async def _at_most(
    limit: int | None,
    pages: AsyncGenerator[tuple[Page, Tally], None],
    results: Callable[[Page], Iterator[T]],
) -> AsyncGenerator[T, None]:
    left = limit
    async with aclosing(pages):
        async for page, _ in pages:
            for result in map(Hidden, results(page)):
                if left == 0:
                    return
                yield result.reveal()
                left = None if left is None else left - 1
            if left == 0:
                return


async def _in_chunks(entries: Hidden[AnyIterable[T]], chunks: Chunks[T]) -> AsyncIterator[Hidden[list[T]]]:
    given = entries.reveal()
    if isinstance(given, AsyncIterable):
        awaited = aiter(given)
        del given
        async for entry in awaited:
            chunk = chunks.add(entry)
            del entry
            if chunk:
                yield chunk
    else:
        each = iter(given)
        del given
        for held in map(Hidden, each):
            if chunk := chunks.add(held.reveal()):
                yield chunk
    if chunk := chunks.rest():
        yield chunk
