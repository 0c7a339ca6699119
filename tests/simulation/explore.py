"""Many runs; and of a run that fails, the shortest that fails in the same way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .choices import Choices, Replay
from .oracle import Violation
from .scheduler import Options, World, determinism
from .trace import Trace


@dataclass
class Failure:
    """A run that broke a promise: its number, the choices that do, and what happened."""

    seed: int
    run: int
    choices: list[int]
    promise: str
    what: str
    trace: str

    @property
    def replay(self) -> str:
        return f"{self.seed}:{self.run}"


@dataclass
class Report:
    """What an exploration came to."""

    seed: int
    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failure: Failure | None = None


def explore(
    *,
    steps: int,
    seed: int = 0,
    seconds: float = float("inf"),
    options: Options = Options(),  # noqa: B008 (frozen, so one for all is right)
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Run after run, until that many steps or seconds are over, or a run breaks a promise."""
    report = Report(seed)
    begun = time.perf_counter()
    with determinism():
        while report.steps < steps and report.seconds < seconds:
            choices = Choices(seed, report.runs)
            world = World(choices, report.counts, options)
            try:
                world.run()
            except Violation:
                report.failure = shrink(seed, report.runs, choices.drawn, options)
            report.runs += 1
            report.steps += world.turns
            report.seconds = time.perf_counter() - begun
            if report.failure:
                break
            if report.runs % 256 == 0:
                progress(report)
    return report


def replay(seed: int, run: int, options: Options = Options()) -> tuple[Trace, Violation | None]:  # noqa: B008 (as above)
    """The run of a number, once more, with its trace."""
    with determinism():
        return _play(Choices(seed, run), options)


def shrink(seed: int, run: int, drawn: Sequence[int], options: Options) -> Failure:
    """The shortest list of choices, then the lowest, that breaks the same promise: chunks go, numbers sink."""
    best = list(drawn)
    _, violation = _play(Replay(best), options)
    assert violation is not None, "a run, played again, is the same"
    promise = violation.promise

    def fails(choices: list[int]) -> bool:
        nonlocal best
        player = Replay(choices)
        if not _breaks(player, options, promise):
            return False
        best = player.drawn[: _last(player.drawn) + 1]
        return True

    fails(best)
    before: list[int] = []
    while before != best:
        before = best
        size = max(len(best) // 2, 1)
        while size:
            at = 0
            while at < len(best):
                if not fails(best[:at] + best[at + size :]):
                    at += size
            size //= 2
        at = 0
        while at < len(best):
            # A lower choice may draw less than the one that it stands for: so what follows may go with it.
            lower = (choice for choice in dict.fromkeys((0, 1, best[at] // 2, best[at] - 1)) if 0 <= choice < best[at])
            head, tail = best[:at], best[at + 1 :]
            any(fails([*head, choice, *tail[less:]]) for choice in lower for less in range(5))
            at += 1
    trace, violation = _play(Replay(best), options)
    return Failure(seed, run, best, promise, str(violation), str(trace))


def _last(choices: Sequence[int]) -> int:
    """Where the last choice is that is not the plainest; those are drawn anyway when the list is at its end."""
    return max((at for at, choice in enumerate(choices) if choice), default=-1)


def _breaks(choices: Choices, options: Options, promise: str) -> bool:
    try:
        World(choices, Counter(), options).run()
    except Violation as violation:
        return violation.promise == promise
    return False


def _play(choices: Choices, options: Options) -> tuple[Trace, Violation | None]:
    trace = Trace()
    try:
        World(choices, Counter(), options, trace).run()
    except Violation as violation:
        return trace, violation
    return trace, None
