"""`World`: the processes of one shop over one shelf, who counts what came of each request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from .clock import VirtualLoop
from .handling import HOOKS
from .judging import judge
from .shelf import Shelf
from .sites import Process, Wire, make_processes
from .traces import Effect, Trace

__all__ = ["Cell", "Level", "World"]

Level: TypeAlias = Literal["merge", "serialize", "merge_unchecked", "overwrite"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured at once."""

    level: Level
    hook: str
    framework: str
    processes: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the response to it."""

    trace: Trace
    wire: Wire


class World:
    """The shop of one *cell*; *counts* says what came of the requests."""

    def __init__(self, cell: Cell, random: Random, loop: VirtualLoop) -> None:
        self.random = random
        self.counts: Counter[str] = Counter()
        self.spent: Counter[Effect] = Counter()
        self.shelf = Shelf(loop.time_ns)
        self._loop = loop
        self._hook: Callable[[object, float], None] = HOOKS[cell.hook]  # type: ignore[assignment]  # a framework's session
        self._processes: list[Process] = make_processes(cell.framework, cell.level, loop.time_ns, cell.processes)
        self._number = 0

    def clear(self) -> None:
        """Begin with an empty shelf: the users before are gone."""
        self.shelf = Shelf(self._loop.time_ns)
        self.spent.clear()

    async def request(self, method: str, path: str, query: str, cookie: str | None) -> Exchange:
        """Have one of the processes answer a request, and count what came of it."""
        self._number += 1
        process = self.random.choice(self._processes)
        trace = Trace(f"r{self._number}", self._loop.time_ns() / 1e9, self.random, self.shelf, self._record, self._hook)
        wire = await process.answer(trace, method, path, query, cookie)
        if wire.status >= 500:
            raise RuntimeError(f"{method} {path} was answered with {wire.status}")
        counts = self.counts
        counts["requests"] += 1
        refused = wire.status == 409
        counts["409"] += refused
        counts["409 to a safe request"] += refused and method == "GET"
        counts["run again"] += len(trace.runs) - 1
        for number, refusal in enumerate(trace.refusals, 1):
            last = refused and number == len(trace.refusals)
            again = Trace(trace.name, trace.now, trace.random, refusal.stored, self._record, trace.hook, instant=True)
            process.replay(again, method, path, query, cookie)
            verdict = judge(refusal, again.run)
            counts[f"{'409' if last else 'run again'}, {verdict}"] += 1
            if last:
                counts[f"409, {verdict}: {method} {path}, {', '.join(refusal.keys) or 'ended'}"] += 1
        return Exchange(trace, wire)

    def _record(self, effect: Effect) -> None:
        self.spent[effect] += 1
