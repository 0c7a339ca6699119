"""Markdown tables, and the figures in them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Figures", "median_ratio", "ratio", "table"]


@dataclass(slots=True)
class Figures:
    """What a call took, in microseconds, round by round: of the processors' time, and by the clock on the wall."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def add(self, calls: int, cpu: float, wall: float) -> None:
        """A round of so many calls, in seconds."""
        self.cpu.append(cpu / calls * 1e6)
        self.wall.append(wall / calls * 1e6)


def median_ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """How many times *those* are in *these*: the median of the rounds' ratios.

    What slows the machine for a while slows the clients of one round alike, and so is not in their ratio.
    """
    return statistics.median(this / that for this, that in zip(these, those, strict=True))


def ratio(times: float) -> str:
    """A ratio as tables have it."""
    return f"{times:.0f}x" if times >= 9.95 else f"{times:.1f}x" if times >= 0.95 else f"{times:.2f}x"


def table(titles: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; its first column is text, the others are numbers. An empty line goes before it."""
    yield ""
    yield _line(titles)
    yield _line(["---", *("---:" for _ in titles[1:])])
    for row in rows:
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
