"""One call: find and replace, of 1 kB and 32 kB, by each client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .bench import Bench, BenchError, progress
from .messages import Measure, Operation, Timed
from .peers import PEERS
from .servers import Server
from .stored import SIZES
from .tables import Figures, median_ratio, ratio, table

__all__ = ["Call", "Figure", "measure", "ours", "show"]


@dataclass(frozen=True, slots=True)
class Call:
    """What is called, and with how much data."""

    operation: Operation
    size: str

    def __str__(self) -> str:
        return f"{self.operation}, {self.size}"


Figure = dict[str, dict[Call, Figures]]
"""By peer and call."""

_OPERATIONS: tuple[Operation, ...] = ("find", "replace")
CALLS = tuple(Call(operation, size) for operation in _OPERATIONS for size in SIZES)


def ours(name: str) -> str:
    """The client of ours that a peer is compared with: the one that blocks as it does, or is awaited."""
    return "ours-async" if PEERS[name].asynchronous else "ours"


def measure(bench: Bench, server: Server, names: Sequence[str], rounds: int, seconds: float) -> Figure:
    """Each call by each client, one after the other, and so again for so many rounds."""
    figures: Figure = {}
    with bench.workers(names, server.url, server.name, server.ca) as workers:
        for number in range(rounds):
            for call in CALLS:
                progress(f"{server.name}: {call}, round {number + 1} of {rounds}")
                for name, worker in list(workers.items()):
                    try:
                        timed = worker.ask(Measure(call.operation, SIZES[call.size], seconds), Timed)
                    except BenchError as error:
                        bench.note(PEERS[name].label, server.name, error)
                        del workers[name]
                        figures.pop(name, None)
                        continue
                    figures.setdefault(name, {}).setdefault(call, Figures()).add(timed.calls, timed.cpu, timed.wall)
    return figures


def show(server: Server, figures: Figure) -> Iterator[str]:
    """A row for each client: processor and wall time of each call, and how many times ours its processor time is."""

    def rows() -> Iterator[list[str]]:
        for name, calls in figures.items():
            own = figures.get(ours(name))
            yield [
                PEERS[name].label,
                *(_cell(calls[call], own[call] if own else None) for call in CALLS),
            ]

    return table((f"one call, {server.name}: CPU / wall µs", *map(str, CALLS)), rows())


def _cell(figures: Figures, own: Figures | None) -> str:
    cell = f"{median(figures.cpu):,.0f} / {median(figures.wall):,.0f}"
    return f"{cell} ({ratio(median_ratio(figures.cpu, own.cpu))})" if own else cell
