"""The results of jobs: for one token (`Outcome`), while a job runs (`Progress`), and at its end (`Tally`, `Counts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import StoreError

__all__ = ["BatchIncompleteError", "Counts", "Failure", "Outcome", "Progress", "Tally"]

Failure: TypeAlias = StoreError | ValueError | TypeError
"""The reason that a job failed on one record."""


@dataclass(frozen=True, slots=True, repr=False)
class Outcome:
    """The result of looking up one token: its *record*, None if it has no live record, or the *error* of the lookup.

    *renamed* is True if the token has a marker. Then *record* is the record that the marker leads to, while it may be followed.
    """

    token: str
    record: Record | None = None
    error: Failure | None = None
    renamed: bool = False

    def __repr__(self) -> str:
        return f"<Outcome {digest(self.token)} {self.error or self.record}>"


@dataclass(slots=True)
class Tally:
    """The result of a job: the number of records *done*, the number *skipped* on purpose, and the errors in *failed* by token.

    The tokens in *failed* are table keys; treat them as secrets in logs.
    """

    done: int = 0
    skipped: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add the numbers and the errors of *other*."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed.update(other.failed)

    def __repr__(self) -> str:
        return f"<Tally {self.done} done, {self.skipped} skipped, {len(self.failed)} failed>"


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of *live* records, of *expired* records that are not deleted yet, and of *markers* in a table.

    A corrupt item without an expiry counts as expired. So does a marker that has ended.
    """

    live: int
    expired: int
    markers: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: items *seen*, items *done* (deleted, copied, written), and capacity units *consumed* so far.

    *resume* is the resume token, or None if the job does not read a table. Save it, for example in a file, to resume the job
    later. It contains the last tokens read, so treat it as a secret. *segments_left* is the number of unfinished segments.
    """

    seen: int
    done: int
    consumed: float
    segments_left: int = 0
    resume: str | None = field(default=None, repr=False)


class BatchIncompleteError(StoreError):
    """A job stopped before it was finished. *errors* maps each failed segment to its error (0 if the job has no segments).

    *tally* says what was done. Pass *resume* to the same method to do the rest; it is "" for methods without *resume*.
    """

    def __init__(
        self,
        message: str = "",
        *,
        errors: Mapping[int, Exception] | None = None,
        resume: str = "",
        tally: Tally | None = None,
    ) -> None:
        super().__init__(message)
        self.errors: dict[int, Exception] = dict(errors or {})
        self.resume = resume
        self.tally: Tally = tally or Tally()
