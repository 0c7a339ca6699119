"""The judge: what became of a suite's tests, beside the reasons on record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from .reasons import Reason

__all__ = ["Outcome", "Verdict", "judge", "read_outcomes"]

Result: TypeAlias = Literal["passed", "failed", "skipped"]
_RANK: dict[Result, int] = {"skipped": 0, "passed": 1, "failed": 2}


@dataclass(frozen=True)
class Outcome:
    """What became of one test; *detail* is the first line of its error."""

    result: Result
    detail: str = ""


@dataclass
class Verdict:
    """A suite's outcomes, sorted by what is on record about them."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    explained: dict[str, Reason] = field(default_factory=dict)
    """The failures that have a reason."""
    unexplained: dict[str, str] = field(default_factory=dict)
    """The failures that have none, and the first line of each error."""
    outdated: list[str] = field(default_factory=list)
    """Tests that pass and have a reason to fail on record."""
    missing: list[str] = field(default_factory=list)
    """Tests that have a reason on record and did not run."""

    @property
    def run(self) -> int:
        """The number of tests that passed or failed."""
        return self.passed + self.failed

    @property
    def holds(self) -> bool:
        """True if something ran and the record says exactly what fails."""
        return bool(self.run) and not (self.unexplained or self.outdated or self.missing)


class _Line(msgspec.Struct):
    test: str
    outcome: Result
    detail: str = ""


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Return the outcomes that a suite wrote to *path*, by test; none if it wrote nothing.

    A test with several (its set-up, its parts) counts as failed if one did, else as passed if one did.
    """
    outcomes: dict[str, Outcome] = {}
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines):
        try:
            said = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            # A suite that is stopped at its time limit may leave half a line.
            if number == len(lines) - 1:
                break
            raise
        before = outcomes.get(said.test)
        if before is None or _RANK[said.outcome] > _RANK[before.result]:
            outcomes[said.test] = Outcome(said.outcome, said.detail)
    return outcomes


def judge(suite: str, outcomes: Mapping[str, Outcome], reasons: Iterable[Reason]) -> Verdict:
    """Return the verdict on a suite's outcomes. A reason without text is none."""
    verdict = Verdict()
    recorded = {test: reason for reason in reasons for test in reason.tests.get(suite, ())}
    for test, outcome in outcomes.items():
        reason = recorded.get(test)
        if outcome.result == "skipped":
            verdict.skipped += 1
        elif outcome.result == "passed":
            verdict.passed += 1
            if reason is not None:
                verdict.outdated.append(test)
        else:
            verdict.failed += 1
            if reason is None or not reason.why.strip():
                verdict.unexplained[test] = outcome.detail
            else:
                verdict.explained[test] = reason
    verdict.missing = [test for test in recorded if outcomes.get(test, Outcome("skipped")).result == "skipped"]
    return verdict
