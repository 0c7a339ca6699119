"""Running a job: progress, interruption without loss, and the report at the end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from dynamostore.batch import Batch, BatchIncompleteError, Progress, Tally
from dynamostore.digests import digest
from dynamostore.errors import AccessDeniedError, StoreError

from ._errors import explain
from ._meter import Meter, MeteredStore, Stopped
from ._progress import Bar, Now
from ._resume import ResumeFile
from ._state import Document, State

__all__ = ["DONE", "FAILED", "INCOMPLETE", "Job", "Report", "has_items", "items_of"]

DONE, FAILED, INCOMPLETE, INTERRUPTED = 0, 1, 3, 130
_SHOWN = 5


@dataclass
class Report:
    """The outcome of a job."""

    status: str
    done: int
    seen: int
    consumed: float
    seconds: float
    skipped: int | None = None
    """None if the job was interrupted, because then the number is unknown."""
    failed: Mapping[str, Exception] = field(default_factory=dict, repr=False)
    error: Exception | None = None
    resume: str | None = field(default=None, repr=False)
    signal: int = signal.SIGINT

    @property
    def code(self) -> int:
        """The exit code."""
        if self.status == "interrupted":
            return 128 + self.signal
        if self.status == "failed":
            return FAILED
        return INCOMPLETE if self.failed or self.status == "incomplete" else DONE


@dataclass
class Job:
    """One run of a job. *name* is the command's name; *verb* is what it does to a record, such as "deleted"."""

    state: State
    store: MeteredStore
    name: str
    verb: str
    count: Callable[[Meter], int] | None = None
    """Returns the number of records done so far. If None, the last `Progress` has it."""
    total: int | None = None
    rate: float | None = None
    resume: ResumeFile | None = None
    writes_to: MeteredStore | None = None
    opening: str = ""
    """A line to print once the job has started."""
    last: Progress = field(default=Progress(0, 0, 0.0), init=False)
    signal: int = field(default=0, init=False)

    def run(self, action: Callable[[Batch, str | None], Tally]) -> Report:
        """Run the job, with a progress bar on a terminal. Ctrl-C stops it between two calls."""
        resume = self.resume.read() if self.resume else None
        began = time.monotonic()
        batch = Batch(self.store, rate=self.rate, watch=self._watch)

        def now() -> Now:
            read = max(self.store.meter.read, self.last.seen)
            return Now(self.last.seen, read, self._done(), batch.consumed)

        # The share that an earlier run completed is unknown, so a resumed job shows no total.
        total = self.total if resume is None else None
        bar = Bar(self.state.err, self.name, self.verb, total, now)
        with self._signals(bar), bar:
            report = self._outcome(lambda: action(batch, resume))
        if resume is not None and isinstance(report.error, ValueError) and "resume token" in str(report.error):
            assert self.resume is not None
            report.error = ValueError(f"{self.resume.path}: {report.error}; to start over, delete the file")
        report.consumed, report.seconds = batch.consumed, time.monotonic() - began
        if report.status == "interrupted":
            # Interrupted before the first page: the next run starts where this one did.
            report.resume = report.resume or resume
        if self.resume and report.status == "done":
            self.resume.remove()
        elif self.resume and report.resume is not None:
            self.resume.write(report.resume)
        return report

    def _outcome(self, action: Callable[[], Tally]) -> Report:
        try:
            tally = action()
        except KeyboardInterrupt:
            report = self._ended("interrupted", None)
            report.signal = self.signal or signal.SIGINT
            return report
        except BatchIncompleteError as error:
            tally = error.tally
            if not (self.last.seen or tally.done or tally.skipped or tally.failed):
                # Not a single page was read, so there is nothing to resume.
                return self._ended("failed", error.__cause__ if isinstance(error.__cause__, StoreError) else error)
            report = self._ended("incomplete", error)
            report.resume, report.done = error.resume or report.resume, max(report.done, tally.done)
            report.skipped, report.failed = tally.skipped, tally.failed
            return report
        except (StoreError, OSError, ValueError) as error:
            return self._ended("failed", error)
        return Report("done", tally.done, self.last.seen, 0, 0, tally.skipped, tally.failed)

    def _ended(self, status: str, error: Exception | None) -> Report:
        return Report(status, self._done(), self.last.seen, 0, 0, error=error, resume=self.last.resume)

    def _done(self) -> int:
        if self.count is None:
            return self.last.done
        return self.count((self.writes_to or self.store).meter)

    def _watch(self, progress: Progress) -> None:
        self.last = progress
        self.open()
        if self.resume:
            self.resume.keep(progress.resume)

    def open(self) -> None:
        """Print the opening line, once."""
        if self.opening:
            self.state.say(self.opening)
            self.opening = ""

    @contextmanager
    def _signals(self, bar: Bar) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        meters = [store.meter for store in (self.store, self.writes_to) if store is not None]

        def stop(number: int, frame: FrameType | None) -> None:
            del frame
            if self.signal:
                raise Stopped
            self.signal = number
            for meter in meters:
                meter.stop()
            bar.describe("stopping")

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def tell(self, report: Report, *, reveal: bool = False, extra: Document | None = None, done: str = "") -> int:
        """Print the report and return the exit code. *done* replaces the usual summary."""
        document = self._document(report, reveal=reveal, extra=extra)
        begun = report.status != "failed" or report.seen or report.done
        self.state.result(document, *([done or self._sentence(report)] if begun else []))
        for line in self._complaints(report, reveal=reveal):
            self.state.say(line, style="red" if line.startswith("dynamostore: ") else "")
        return report.code

    def _document(self, report: Report, *, reveal: bool, extra: Document | None) -> Document:
        document: dict[str, object] = {
            "command": self.name,
            "table": self.store.table.name,
            "status": "incomplete" if report.status == "done" and report.failed else report.status,
            self.verb: report.done,
            "skipped": report.skipped,
            "failed": [
                {"token": token if reveal else digest(token), "error": explain(error)}
                for token, error in report.failed.items()
            ],
            "seen": report.seen,
            "capacity_units": round(report.consumed, 1),
            "seconds": round(report.seconds, 3),
            **(extra or {}),
        }
        if report.error is not None:
            document["error"] = {"type": type(report.error).__name__, "message": explain(report.error)}
        if report.resume is not None and report.status != "done":
            # The resume token contains table keys.
            document["resume"] = report.resume if reveal else None
            path = self.resume.path if self.resume else None
            document["resume_file"] = None if path is None else str(path)
        return document

    def _sentence(self, report: Report) -> str:
        parts = [f"{report.done:,} {self.verb}"]
        if report.skipped:
            parts.append(f"{report.skipped:,} skipped")
        if report.failed:
            parts.append(f"{len(report.failed):,} failed")
        how = {"interrupted": "stopped", "incomplete": "incomplete", "failed": "failed"}.get(report.status)
        units = f"{report.consumed:,.1f}".removesuffix(".0")
        price = f"{units} capacity units, " if report.consumed else ""
        said = f"{', '.join(parts)} ({price}{report.seconds:.1f} s)"
        return f"{how}: {said}" if how else said

    def _complaints(self, report: Report, *, reveal: bool) -> Iterator[str]:
        failed = list(report.failed.items())
        for token, error in failed[:_SHOWN]:
            yield f"  {digest(token)}: {explain(error)}"
        if len(failed) > _SHOWN:
            yield f"  and {len(failed) - _SHOWN:,} more; --json lists them all"
        if report.error is not None:
            yield f"dynamostore: {explain(report.error)}"
        if report.status == "done":
            if failed:
                yield f"dynamostore: {len(failed):,} failed; to retry them, run the same command again"
        elif report.resume is not None and self.resume is not None:
            yield from self._how_to_resume(self.resume, report.resume, reveal=reveal)
        elif report.status == "interrupted" and self.name != "export":
            yield "it is safe to run the same command again; it starts over"

    def _how_to_resume(self, file: ResumeFile, token: str, *, reveal: bool) -> Iterator[str]:
        if file.path is not None:
            yield f"to resume, run the same command again; progress is saved in {file.path}"
        elif self.state.json and reveal:
            yield 'to resume, save the value of "resume" in a file and pass it as --resume-file'
        elif self.state.err.is_terminal and not self.state.json:
            yield "to resume, save this line in a file and pass it as --resume-file; it contains table keys:"
            yield token
        else:
            # Standard error may go to a log, so print no keys.
            yield "it is safe to run the same command again; it starts over. Use --resume-file FILE to be able to resume"


def has_items(store: MeteredStore) -> bool:
    """Return True if the table contains any item."""
    return next(Batch(store, attempts=1).scan_items(limit=1), None) is not None


def items_of(store: MeteredStore) -> int | None:
    """Return DynamoDB's estimate of the number of items, which is some hours old, or None if it is unknown.

    Call it before a job starts: it fails at once if the table cannot be reached, while a job retries for long.
    """
    from dynamostore.admin import describe

    try:
        return describe(store).items or None
    except AccessDeniedError:
        # Credentials that may run the job may still lack the right to describe the table.
        return None
