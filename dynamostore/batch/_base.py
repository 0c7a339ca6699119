"""`BaseBatch`: what batches have in common, whether their store is waited for or awaited: jobs, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from dynamostore._steps import Plan
from dynamostore.client import Item
from dynamostore.items import key_of
from dynamostore.store import BaseDynamoStore

from . import _files
from ._budget import Budget
from ._files import Exported, ExportFile
from ._lines import decode_line, encode_line, translate
from ._plans import PASSING, WRITE_MANY, Jobs, Page, Request, in_chunks
from ._position import Position
from ._results import BatchIncompleteError, Progress, Tally

__all__ = ["BaseBatch", "Job", "Loading", "Watch", "noting", "page_size"]

S = TypeVar("S", bound=BaseDynamoStore[Any])

Watch: TypeAlias = Callable[[Progress], object]

_CALLS = ("scan", "batch_get_item", "batch_write_item")
MAX_PAGE = 1000
EXPIRED = "#expiry < :now"
LIVE = "#expiry >= :now"


@dataclass(frozen=True, slots=True)
class Job(Generic[S]):
    """What is done with a table: what to read of it, and what with each page, on a store; *name* is for its resume token."""

    name: str
    request: Request
    handle: Callable[[Page], Plan[Tally]]
    on: S


@dataclass(slots=True)
class Loading:
    """How far a file was loaded."""

    jobs: Jobs
    whole: Exported
    expired: bool
    line: int
    tally: Tally

    def chunks(self) -> Iterator[list[Item]]:
        """What is to be put, 25 items at a time."""
        return in_chunks(self._items(), WRITE_MANY, lambda item: item[self.jobs.table.token].get("S"))

    def _items(self) -> Iterator[Item]:
        for number, line in _files.read_lines(self.whole.path, self.line):
            self.line = number
            try:
                item = decode_line(self.jobs.table, line, self.whole.attributes)
            except ValueError as error:
                raise ValueError(f"{self.whole.path}, line {number + 1}: {error}") from None
            if self.expired or self.jobs.is_live(item):
                yield item
            else:
                self.tally.skipped += 1


class BaseBatch(Generic[S]):
    """The settings of a batch, and its jobs."""

    def __init__(
        self, store: S, *, rate: float | None, attempts: int, watch: Watch | None, monotonic: Callable[[], float]
    ) -> None:
        if attempts < 1:
            raise ValueError("attempts must be at least 1")
        self.store = store
        self._budget = Budget(rate, monotonic)
        self._attempts = attempts
        self._jobs = self._jobs_on(store)
        self._watch = watch

    @property
    def consumed(self) -> float:
        """The capacity units that this batch has consumed, of both kinds, as the server says."""
        return self._budget.consumed

    def _jobs_on(self, store: BaseDynamoStore[Any]) -> Jobs:
        if missing := [call for call in _CALLS if not hasattr(store.client, call)]:
            raise TypeError(f"the store's client has no {', '.join(missing)}: batches take a client that has")
        return Jobs(store._plans, self._budget, self._attempts)

    # The jobs

    def _counting(self) -> Job[S]:
        def handle(page: Page) -> Plan[Tally]:
            return Tally(done=page.count, skipped=page.scanned - page.count)
            yield

        request = Request(where=LIVE, values={":now": self._jobs.plans.clock()}, counting=True)
        return Job("count", request, handle, self.store)

    def _purging(self, *, dry_run: bool) -> Job[S]:
        def handle(page: Page) -> Plan[Tally]:
            if dry_run:
                return Tally(skipped=page.count)
            return (yield from self._jobs.purge(page))

        values = {":now": self._jobs.plans.clock()}
        request = Request(("token", "expiry"), where=EXPIRED, values=values)
        return Job("purge", request, handle, self.store)

    def _copying(self, to: S, *, expired: bool) -> Job[S]:
        if to.client is self.store.client and to.table.name == self.store.table.name:
            raise ValueError("a table cannot be copied to itself")
        jobs = self._jobs_on(to)

        def handle(page: Page) -> Plan[Tally]:
            wanted = self._wanted(page, expired=expired)
            tally = Tally(skipped=len(page.items) - len(wanted))
            translated = []
            for item in wanted:
                try:
                    translated.append(translate(item, self.store.table.own, to.table))
                except ValueError as error:
                    tally.failed[key_of(self.store.table, item)] = error
            tally.add((yield from jobs.put_all(translated)))
            return tally

        return Job("copy", Request(), handle, to)

    def _projection(self, names: Iterable[str]) -> tuple[str, ...]:
        known = {field.name for field in fields(self.store.table)} - {"name"}
        wanted = tuple(dict.fromkeys(names))
        if unknown := sorted(set(wanted) - known):
            raise ValueError(f"projection: {unknown[0]!r} is none of {', '.join(sorted(known))}")
        return wanted

    def _wanted(self, page: Page, *, expired: bool) -> list[Item]:
        return [item for item in page.items if expired or self._jobs.is_live(item)]

    # Exporting and loading

    def _export_to(self, path: str | Path, segments: int, *, expired: bool, overwrite: bool) -> ExportFile:
        return ExportFile(Path(path), self.store.table, segments, expired=expired, overwrite=overwrite)

    def _export_page(self, file: ExportFile, page: Page, *, expired: bool) -> None:
        lines = [encode_line(self.store.table, item) for item in self._wanted(page, expired=expired)]
        if lines:
            file.write(b"".join(lines), len(lines))
        file.position.advance(page.segment, page.after)
        file.note()

    def _loading(self, path: str | Path, *, expired: bool, resume: str | None) -> tuple[Loading, Exported]:
        whole = _files.verify(Path(path))
        line = 0
        if resume is not None:
            sha256, _, number = resume.partition(":")
            if sha256 != whole.sha256 or not number.isdecimal():
                raise ValueError("this is not the resume token of that file")
            line = int(number)
        return Loading(self._jobs, whole, expired, line, Tally()), whole

    # While they go

    def _position(self, job: str, segments: int, resume: str | None) -> Position:
        if resume is None:
            return Position.start(self.store.table, job, segments)
        return Position.parse(resume, self.store.table, job)

    def _report(self, seen: int, done: int, *, position: Position | None = None, resume: str | None = None) -> None:
        if self._watch is not None:
            left = 0 if position is None else len(position.left)
            text = resume if position is None else position.text
            self._watch(Progress(seen, done, self.consumed, left, text))

    def _incomplete(self, errors: dict[int, Exception], position: Position, tally: Tally) -> BatchIncompleteError:
        first = next(iter(errors.values()))
        number, whole = len(errors), len(position.after)
        which = f"{number} of {whole} segments" if whole > 1 else "the table"
        how = "call it again to go on" if position.job == _files.JOB else "go on with resume=..."
        incomplete = BatchIncompleteError(
            f"{position.job} on table {position.table!r}: {which} could not be read to the end: {first}; {how}",
            errors=errors,
            resume=position.text,
            tally=tally,
        )
        incomplete.__cause__ = first
        return incomplete


def noting(errors: dict[int, Exception]) -> Callable[[int, Exception], None]:
    """Takes note of a segment that failed for now; whatever will not pass is raised at once."""

    def failed(segment: int, error: Exception) -> None:
        if not isinstance(error, PASSING):
            raise error
        errors[segment] = error

    return failed


def page_size(limit: int | None) -> int | None:
    """The size of a page that is enough for *limit* results; None: as large as it gets."""
    if limit is not None and limit < 1:
        raise ValueError("limit must be at least 1, or None: all")
    return limit if limit is None or limit < MAX_PAGE else None
