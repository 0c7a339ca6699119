"""`BaseBatch`: the parts that `Batch` and `AsyncBatch` share, which are the jobs and the accounting of their results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from dynamostore import markers
from dynamostore.client import Item
from dynamostore.errors import StoreError, UnavailableError
from dynamostore.hidden import Hidden, clear_frames, clears_frames
from dynamostore.instants import NS_PER_S
from dynamostore.items import key_of
from dynamostore.plans.expressions import UNKEPT
from dynamostore.plans.faults import public
from dynamostore.process_bound import ProcessBound
from dynamostore.steps import Plan
from dynamostore.store import BaseDynamoStore

from . import _files
from ._budget import Budget, Share
from ._calls import RETRYABLE, WRITE_MANY, retryable_failure
from ._chunks import Chunks, in_chunks
from ._files import Exported, ExportFile
from ._lines import RefusedLineError, decode_line, encode_line, translate
from ._plans import Jobs, Page, Request, StoppedError
from ._position import Position
from ._results import BatchIncompleteError, Outcome, Progress, Tally
from .tables import place

__all__ = ["BaseBatch", "Job", "Loading", "Watch", "grown", "page_size"]

S = TypeVar("S", bound=BaseDynamoStore[Any])

Watch: TypeAlias = Callable[[Progress], object]

_LINE = re.compile("[0-9]{1,15}")
_CALLS = ("scan", "batch_get_item", "batch_write_item")
MAX_PAGE = 1000
EXPIRED = f"#expiry < :now AND {UNKEPT}"
NOT_A_LIVE_RECORD = "NOT #expiry >= :now OR attribute_exists(#moved)"


@dataclass(frozen=True, slots=True)
class Job(Generic[S]):
    """A job over a table: what to read, and how to *handle* each page, *on* a store. Its resume token contains *name*."""

    name: str
    jobs: Jobs
    request: Request
    handle: Callable[[Page], Plan[Tally]]
    on: S
    scope: str = ""
    """A text that the resume token must match, besides the table and the job."""


@dataclass(slots=True)
class Account:
    """The tally of a job, and the number of consecutive chunks without a success."""

    tally: Tally
    failed_in_a_row: int = 0


@dataclass(slots=True)
class Loading:
    """The progress of loading a file."""

    jobs: Jobs
    whole: Exported
    expired: bool
    line: int
    """The number of the last line read."""
    tally: Tally
    safe: int = 0
    """The number of a line such that all lines before it are done. A resumed load starts there."""

    def chunks(self) -> Iterator[Hidden[list[Item]]]:
        """Yield the items to put, 25 at a time."""
        return in_chunks(Hidden(self._items()), Chunks(WRITE_MANY, lambda item: item[self.jobs.table.token].get("S")))

    def _items(self) -> Iterator[Item]:
        for number, line in _files.read_lines(self.whole.path, self.line):
            self.line = number
            try:
                item = Hidden(decode_line(self.jobs.table, line.reveal(), self.whole.attributes))
            except RefusedLineError as error:
                self.tally.failed[error.token] = RefusedLineError(f"line {number + 1}: {error}", error.token)
                continue
            except ValueError as error:
                raise _bad_line(self.whole.path, number, error) from None
            if self.expired or self.jobs.is_live(item.reveal(), self.jobs.plans.clock()):
                yield item.reveal()
            else:
                self.tally.skipped += 1


def _bad_line(path: Path, number: int, error: ValueError) -> ValueError:
    return ValueError(f"{path}, line {number + 1}: {error}")


@clears_frames("_export_to", "_export_page", "_loading", "_position", "_take", "_put")
class BaseBatch(ProcessBound, Generic[S], instead="create a batch and a store in each process"):
    """The settings and the jobs of a batch, without I/O."""

    _of: ClassVar[type[BaseDynamoStore[Any]]]

    def __init__(
        self, store: S, *, rate: float | None, attempts: int, watch: Watch | None, monotonic: Callable[[], float]
    ) -> None:
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        self.store = store
        self._budget = Budget(rate, monotonic)
        self._attempts = attempts
        # For plans that make no call. Each job has its own `Jobs`, which count the units it consumes.
        self._jobs = self._jobs_on(store, self._budget.share())
        self._watch = watch

    @property
    def consumed(self) -> float:
        """The read and write capacity units that all jobs of this batch have consumed, as reported by the server."""
        return self._budget.consumed

    def _jobs_on(self, store: BaseDynamoStore[Any], share: Share) -> Jobs:
        self._check_store(store)
        if missing := [call for call in _CALLS if not hasattr(store.client, call)]:
            raise TypeError(f"the store's client has no {', '.join(missing)}; batches need a client with these methods")
        return Jobs(store._plans, share, self._attempts)

    def _check_store(self, store: object) -> None:
        if not isinstance(store, self._of):
            wanted, name = self._of.__name__, type(self).__name__
            other = "Batch" if name.startswith("Async") else "AsyncBatch"
            instead = f"use {other}" if isinstance(store, BaseDynamoStore) else f"use {name}({wanted}(client))"
            raise TypeError(f"store must be of type {wanted}, not {type(store).__name__}; {instead}")

    def _start(self) -> Jobs:
        """Return the plans for a new job."""
        return self._jobs_on(self.store, self._budget.share())

    # The jobs

    def _counting(self) -> tuple[Job[S], list[int]]:
        """Return a job that counts live records as done and expired ones as skipped, and its list of markers per page."""
        now_ns = self._jobs.plans.clock()
        seen: list[int] = []

        def handle(page: Page) -> Plan[Tally]:
            kept = sum(markers.is_kept(self.store.table, item, now_ns) for item in page.items)
            seen.append(kept)
            return Tally(done=page.scanned - page.count, skipped=page.count - kept)
            yield

        # The server returns everything except live records, because most tables hold mainly live records.
        request = Request(("moved", "ttl"), where=NOT_A_LIVE_RECORD, values={":now": now_ns})
        return Job("count", self._start(), request, handle, self.store), seen

    def _purging(self, *, dry_run: bool) -> Job[S]:
        jobs = self._start()

        def handle(page: Page) -> Plan[Tally]:
            if dry_run:
                return Tally(skipped=jobs.would_purge(page))
            return (yield from jobs.purge(page))

        now_ns = jobs.plans.clock()
        values = {":now": now_ns, ":second": now_ns // NS_PER_S}
        request = Request(("token", "expiry"), where=EXPIRED, values=values)
        return Job("purge", jobs, request, handle, self.store)

    def _copying(self, to: S, *, expired: bool, consistent: bool) -> Job[S]:
        jobs = self._start()
        there = self._jobs_on(to, jobs.budget)

        def handle(page: Page) -> Plan[Tally]:
            wanted = self._wanted(page, expired=expired)
            tally = Tally(skipped=len(page.items) - len(wanted))
            translated = self._translated(wanted, to, tally)
            del wanted
            tally.add((yield from there.put_all(translated)))
            return tally

        scope = f"to table {to.table.name!r} at {place(to)}, expired={expired}"
        return Job("copy", jobs, Request(consistent=consistent), handle, to, scope)

    def _translated(self, wanted: list[Item], to: S, tally: Tally) -> Hidden[list[Item]]:
        translated = []
        for item in wanted:
            try:
                translated.append(translate(item, self.store.table.own, to.table))
            except RefusedLineError as error:
                tally.failed[key_of(self.store.table, item)] = error.with_traceback(None)
        return Hidden(translated)

    def _projection(self, names: Iterable[str]) -> tuple[str, ...]:
        known = {field.name for field in fields(self.store.table)} - {"name"}
        wanted = tuple(dict.fromkeys(names))
        if unknown := sorted(set(wanted) - known):
            raise ValueError(f"projection: {unknown[0]!r} is not one of {', '.join(sorted(known))}")
        return wanted

    def _wanted(self, page: Page, *, expired: bool) -> list[Item]:
        if expired:
            return list(page.items)
        # Keep records that have expired by this host's clock but not by the server's.
        now_ns = self._jobs.sure_ns(page)
        return [item for item in page.items if self._jobs.is_live(item, now_ns)]

    # Exporting and loading

    def _export_to(self, path: str | Path, segments: int, *, expired: bool, overwrite: bool) -> ExportFile:
        scope = f"at {place(self.store)}"
        return ExportFile(Path(path), self.store.table, segments, scope, expired=expired, overwrite=overwrite)

    def _export_page(self, file: ExportFile, page: Page, *, expired: bool) -> None:
        lines = [encode_line(self.store.table, item) for item in self._wanted(page, expired=expired)]
        if lines:
            file.write(b"".join(lines), len(lines))
        file.position.advance(page.segment, page.after)
        file.note()

    def _loading(self, path: str | Path, *, expired: bool, resume: str | None) -> tuple[Loading, Exported]:
        jobs = self._start()
        path = Path(path)

        def check(number: int, text: bytes, attributes: tuple[str, ...]) -> None:
            line = Hidden(text)
            del text
            try:
                decode_line(jobs.table, line.reveal(), attributes)
            except RefusedLineError:
                # Not fatal: loading reports it, and puts the other lines.
                pass
            except ValueError as error:
                raise _bad_line(path, number, error) from None

        whole = _files.verify_lines(path, check)
        line = 0
        if resume is not None:
            known, _, number = resume.rpartition(":")
            if known != self._loading_scope(whole, expired=expired) or not _LINE.fullmatch(number):
                raise ValueError(
                    "the resume token belongs to another file, table or server; to start over, leave out resume"
                )
            line = int(number)
        return Loading(jobs, whole, expired, line, Tally(), safe=line), whole

    def _loading_scope(self, whole: Exported, *, expired: bool) -> str:
        into = f"{self.store.table.name} {place(self.store)} {expired}"
        return f"{whole.sha256}:{hashlib.sha256(into.encode()).hexdigest()[:16]}"

    # While a job runs

    def _position(self, job: str, segments: int, resume: str | None, scope: str = "") -> Position:
        scope = ", ".join(filter(None, (f"at {place(self.store)}", scope)))
        if resume is None:
            return Position.start(self.store.table, job, segments, scope)
        position = Position.parse(resume, self.store.table, job, scope)
        if not position.left:
            raise ValueError(f"the resume token belongs to a {job} that is finished; to run it again, leave out resume")
        return position

    def _take(self, account: Account, part: Tally, tokens: Iterable[object]) -> None:
        """Add the result of a chunk. Raise its error if further chunks would fail too.

        That is the case if the store is unavailable, or if two chunks in a row had no success. A single chunk does not
        count, because one record's partition may be throttled.
        """
        tally = account.tally
        for token in tokens:
            # A later entry for the same token succeeded, so forget the earlier failure.
            if isinstance(token, str) and token not in part.failed:
                tally.failed.pop(token, None)
        tally.add(part)
        reason = retryable_failure(part)
        without_success = not part.done and all(isinstance(error, RETRYABLE) for error in part.failed.values())
        account.failed_in_a_row = account.failed_in_a_row + 1 if reason and without_success else 0
        unavailable = account.failed_in_a_row and isinstance(reason, UnavailableError)
        if reason and (account.failed_in_a_row > 1 or unavailable):
            raise reason

    def _put(self, loading: Loading, part: Tally, scope: str) -> None:
        """Add the result of a chunk of a file. Raise if a record failed with an error that a retry may solve."""
        if reason := retryable_failure(part):
            loading.tally.done += part.done
            raise reason
        loading.tally.add(part)
        loading.safe = loading.line - 1
        self._report(loading.jobs, loading.line, loading.tally.done, resume=f"{scope}{loading.safe}")

    def _gone(self, outcomes: Sequence[Outcome], found: int) -> BatchIncompleteError:
        """Return the error to raise when a whole chunk could not be read, so that the next ones would fail too."""
        errors = {outcome.token: outcome.error for outcome in outcomes if outcome.error is not None}
        first = next(iter(errors.values()))
        tally = Tally(done=found, failed=errors)
        return BatchIncompleteError(f"find_many stopped early: {first}", errors={0: first}, tally=tally)

    @staticmethod
    def _chunks_to_save() -> Chunks[tuple[str, bytes, datetime]]:
        return Chunks(WRITE_MANY, lambda entry: entry[0], eager=True)

    @staticmethod
    def _chunks_to_delete() -> Chunks[str]:
        return Chunks(WRITE_MANY, str, repeats=True, eager=True)

    @contextmanager
    def _accounted(
        self,
        name: str,
        tally: Tally,
        resume: Callable[[], str] = lambda: "",
        pending: Callable[[], Iterable[object]] = tuple,
    ) -> Iterator[Account]:
        """Add to any error that stops a job what the job had done by then.

        The tokens that are *pending* count as failed: they are not in the caller's iterable any more.
        """
        try:
            with _clearing():
                yield Account(tally)
        except BatchIncompleteError:
            raise
        except StoreError as error:
            if not (tally.done or tally.skipped or tally.failed):
                raise
            tally.failed.update((token, error) for token in pending() if isinstance(token, str))
            message = f"{name} stopped early, after {tally.done} records: {error}"
            raise BatchIncompleteError(message, errors={0: error}, resume=resume(), tally=tally) from error
        except Exception as error:
            error.add_note(f"{name}: {tally.done} records were done before this error")
            raise

    def _course(self, jobs: Jobs, position: Position, *, reporting: bool) -> Course:
        return Course(position, partial(self._report, jobs, position=position) if reporting else None)

    @contextmanager
    def _adding(self, tally: Tally) -> Iterator[None]:
        """Give a `BatchIncompleteError` the tally of the whole job, not only of its last pages."""
        try:
            yield
        except BatchIncompleteError as error:
            tally.add(error.tally)
            error.tally = tally
            raise

    def _report(
        self, jobs: Jobs, seen: int, done: int, *, position: Position | None = None, resume: str | None = None
    ) -> None:
        # Hide the resume token, which contains tokens, because the application's function may raise.
        text = Hidden(resume)
        del resume
        if self._watch is not None:
            left = 0 if position is None else len(position.left)
            consumed = jobs.budget.consumed
            self._watch(Progress(seen, done, consumed, left, text.reveal() if position is None else position.text))


@contextmanager
def _clearing() -> Iterator[None]:
    """Clear the frames of an exception, so that they hold no entries."""
    try:
        yield
    except BaseException as error:
        clear_frames(error)
        raise


class Course:
    """The progress of a job over a table: its position, what it has done, and which segments failed.

    If *report* is given, it is called after each page.
    """

    def __init__(self, position: Position, report: Callable[[int, int], object] | None) -> None:
        self._position = position
        self._report = report
        self._seen = self._done = 0
        self._errors: dict[int, Exception] = {}
        self._partial = Tally()

    def finished(self, page: Page, tally: Tally) -> None:
        """Record that the job and its consumer are done with a page."""
        # An export advances the position itself, together with the lines it writes.
        if self._position.job != _files.JOB:
            self._position.advance(page.segment, page.after)
        self._seen += page.scanned
        self._done += tally.done
        if self._report is not None:
            self._report(self._seen, self._done)

    def failed(self, segment: int, error: Exception) -> None:
        """Record that a segment failed, with the tally of its page. Raise *error* if a retry cannot solve it."""
        if isinstance(error, StoppedError):
            self._partial.add(error.tally)
            error = error.reason
        if not isinstance(error, StoreError):
            raise error
        error = public(error)
        self._errors[segment] = error
        if not isinstance(error, RETRYABLE):
            raise error

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Raise `BatchIncompleteError` at the end if segments failed. An error before any progress is raised unchanged."""
        try:
            yield
        except StoreError:
            if not self._errors or not (self._position.moved or self._partial.done):
                raise
        if self._errors:
            raise self._incomplete()

    def _incomplete(self) -> BatchIncompleteError:
        position, first = self._position, next(iter(self._errors.values()))
        number, whole = len(self._errors), len(position.after)
        segments = f", in {number} of {whole} segments" if whole > 1 else ""
        how = "; call export again to resume" if position.job == _files.JOB else "; to resume, pass resume=..."
        incomplete = BatchIncompleteError(
            f"{position.job} on table {position.table!r} stopped early{segments}: {first}{how}",
            errors=self._errors,
            resume=position.text,
            tally=self._partial,
        )
        incomplete.__cause__ = first
        return incomplete


def page_size(limit: int | None) -> int | None:
    """Return a page size that is enough for *limit* results, or None for the largest page."""
    if limit is not None and limit < 1:
        raise ValueError("limit must be at least 1, or None for no limit")
    return limit if limit is None or limit < MAX_PAGE else None


def grown(size: int | None) -> int | None:
    """Return the size of the next page: larger each time, because a filter may leave nothing of a small page."""
    return None if size is None or size * 4 > MAX_PAGE else size * 4
