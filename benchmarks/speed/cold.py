"""A cold start: what a new process pays before its first reply, and what it holds in memory then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec

from .bench import Bench, BenchError, progress
from .calls import ours
from .peers import PEERS
from .servers import Server
from .tables import median_ratio, ratio, table

__all__ = ["Cold", "measure", "show"]

_PROGRAM = "from benchmarks.speed.children.first_reply import main; main()"
_MORE = 8
"""How many further clients are made, for what each holds in memory."""


class _Start(msgspec.Struct):
    """What ``children.first_reply`` prints: seconds and bytes."""

    imports: float
    reply: float
    cpu: float
    memory: int
    each: int


@dataclass(slots=True)
class Cold:
    """The starts of one client."""

    starts: list[_Start] = field(default_factory=list)
    each: int = 0

    @property
    def totals(self) -> list[float]:
        """From nothing imported to the first reply, in seconds, start by start."""
        return [start.imports + start.reply for start in self.starts]

    def row(self, label: str, own: Cold | None) -> list[str]:
        return [
            label,
            f"{median(start.imports for start in self.starts) * 1000:,.0f}",
            f"{median(start.reply for start in self.starts) * 1000:,.0f}",
            f"{median(self.totals) * 1000:,.0f}",
            ratio(median_ratio(self.totals, own.totals)) if own else "",
            f"{median(start.cpu for start in self.starts) * 1000:,.0f}",
            f"{median(start.memory for start in self.starts) / 2**20:.1f}",
            f"{self.each / 2**10:,.0f}",
        ]


def measure(bench: Bench, server: Server, names: Sequence[str], rounds: int) -> dict[str, Cold]:
    """So many new processes for each client, in turn. Those of the first round, whose files nobody has read yet, are
    not counted: they make the further clients."""
    measured: dict[str, Cold] = {}
    left = list(names)
    for number in range(rounds + 1):
        for name in list(left):
            progress(f"{server.name}: cold start {number} of {rounds}, {PEERS[name].label}")
            more = [] if number else [str(_MORE)]
            try:
                start = bench.ask(_Start, "-c", _PROGRAM, name, server.url, *more, ca=server.ca)
            except BenchError as error:
                bench.note(PEERS[name].label, server.name, error)
                left.remove(name)
                measured.pop(name, None)
                continue
            cold = measured.setdefault(name, Cold())
            if number:
                cold.starts.append(start)
            else:
                cold.each = start.each
    return measured


def show(server: Server, measured: dict[str, Cold]) -> Iterator[str]:
    """A row for each client; the ratio is how many times ours its time to the first reply is."""
    titles = (
        f"cold start, {server.name}",
        "imports ms",
        "client and reply ms",
        "first reply after ms",
        "x ours",
        "CPU ms",
        "memory MB",
        "each further client kB",
    )

    def rows() -> Iterator[list[str]]:
        for name, cold in measured.items():
            yield cold.row(PEERS[name].label, measured.get(ours(name)))

    return table(titles, rows())
