"""What a job has to say: of one token (`Outcome`), while it goes (`Progress`), and in the end."""

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
    """What was found under one token: its *record*, None if there is none, or the *error* that kept it from being known.

    *renamed*: a marker lies under the token. The *record* is the one that it leads to, if it may still be followed.
    """

    token: str
    record: Record | None = None
    error: Failure | None = None
    renamed: bool = False

    def __repr__(self) -> str:
        return f"<Outcome {digest(self.token)} {self.error or self.record}>"


@dataclass(slots=True)
class Tally:
    """What a job did: how many it has *done*, how many it *skipped* on purpose, and which *failed*, by token, and why.

    Tokens in *failed* are as they are in the table: mind where you log them.
    """

    done: int = 0
    skipped: int = 0
    failed: dict[str, Failure] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count another's in."""
        self.done += other.done
        self.skipped += other.skipped
        self.failed.update(other.failed)

    def __repr__(self) -> str:
        return f"<Tally {self.done} done, {self.skipped} skipped, {len(self.failed)} failed>"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records are in a table: *live* ones, and *expired* ones that nobody has swept up yet; and how many *markers*.

    What has no expiry at all, corrupt as it is, counts as expired; a marker that has ended, too.
    """

    live: int
    expired: int
    markers: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: items *seen*, those *done* (deleted, copied, written), and capacity units it has *consumed* so far.

    *resume* is where a job can go on after it was ended, as text for a file; None if it reads no table. It names the last
    tokens it saw, so treat it like them. *segments_left* of the table are not read to their end yet.
    """

    seen: int
    done: int
    consumed: float
    segments_left: int = 0
    resume: str | None = field(default=None, repr=False)


class BatchIncompleteError(StoreError):
    """A job ended before it was through, for the reasons in *errors*, by segment (0 if it has none).

    *tally* says what was done; *resume* is where it can go on, with what is missing ("" for what reads no table or file).
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
        self.errors = dict(errors or {})
        self.resume = resume
        self.tally = tally or Tally()
