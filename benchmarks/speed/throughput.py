"""Calls at once, of as many threads or tasks as share one client: how many a second, and how long each takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .bench import Bench, BenchError, progress
from .calls import ours
from .messages import Load, Loaded
from .peers import PEERS
from .servers import Server
from .stored import SIZES
from .tables import ratio, table

__all__ = ["LEVELS", "Throughput", "measure", "show"]

LEVELS = (1, 4, 16, 64)
_SIZE = SIZES["1 kB"]


@dataclass(slots=True)
class Throughput:
    """One client at one level, over all rounds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0
    connections: int = 0

    def row(self, label: str, level: int, own: Throughput | None) -> list[str]:
        cuts = statistics.quantiles(self.latencies, n=1000, method="inclusive")
        rate = statistics.median(self.rates)
        return [
            label,
            str(level),
            f"{rate:,.0f}",
            ratio(statistics.median(own.rates) / rate) if own else "",
            *(f"{cuts[cut - 1] / 1000:,.2f}" for cut in (500, 990, 999)),
            f"{self.cpu / len(self.latencies) * 1e6:,.0f}",
            str(self.connections or ""),
            f"{len(self.latencies):,}",
        ]


def measure(
    bench: Bench, server: Server, names: Sequence[str], rounds: int, seconds: float
) -> dict[int, dict[str, Throughput]]:
    """Level by level, with new processes at each, so that their connections are all of that level."""
    return {level: _level(bench, server, names, level, rounds=rounds, seconds=seconds) for level in LEVELS}


def _level(
    bench: Bench, server: Server, names: Sequence[str], level: int, *, rounds: int, seconds: float
) -> dict[str, Throughput]:
    measured: dict[str, Throughput] = {}
    where = f"{server.name}, {level} at once"
    # A pool as large as its documentation has it for so many threads, where a client is told its size.
    with bench.workers(names, server.url, where, server.ca, pool=level) as workers:
        for number in range(rounds):
            for name, worker in list(workers.items()):
                progress(f"{where}: {PEERS[name].label}, round {number + 1} of {rounds}")
                before = server.stats()
                try:
                    loaded = worker.ask(Load(_SIZE, level, seconds), Loaded)
                except BenchError as error:
                    bench.note(PEERS[name].label, where, error)
                    del workers[name]
                    measured.pop(name, None)
                    continue
                one = measured.setdefault(name, Throughput())
                one.rates.append(len(loaded.latencies) / loaded.wall)
                one.latencies += loaded.latencies
                one.cpu += loaded.cpu
                if before and (after := server.stats()):
                    one.connections += after.connections - before.connections
    return measured


def show(server: Server, levels: dict[int, dict[str, Throughput]]) -> Iterator[str]:
    """A row for each client and level; the ratio is how many times as many calls ours makes."""
    titles = (
        f"find, 1 kB, {server.name}",
        "at once",
        "calls/s",
        "ours / theirs",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU µs a call",
        "connections",
        "calls",
    )

    def rows() -> Iterator[list[str]]:
        for name in PEERS:
            for level, measured in levels.items():
                if name in measured:
                    yield measured[name].row(PEERS[name].label, level, measured.get(ours(name)))

    return table(titles, rows())
