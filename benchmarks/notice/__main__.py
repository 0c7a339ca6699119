"""``python -m benchmarks.notice``: a browser-like load in virtual time, and the tables of what its users notice."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

from benchmarks.about import machine, versions

from .handling import HOOKS
from .measuring import begin, measure
from .tables import goals, show
from .world import Cell, Level

FRAMEWORKS = ("flask", "django", "starlette")
PROCESSES = (1, 4)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notice", description=__doc__)
    parser.add_argument("--requests", type=int, default=300_000, help="requests for each level and hook")
    parser.add_argument("--levels", nargs="+", choices=get_args(Level), default=get_args(Level))
    parser.add_argument("--hooks", nargs="+", choices=list(HOOKS), default=list(HOOKS))
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=FRAMEWORKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="worker processes of this command")
    parser.add_argument("--details", type=Path, help="also write all counts to this file")
    options = parser.parse_args()
    cells = [
        Cell(level, hook, framework, processes)
        for level, hook, framework, processes in itertools.product(
            options.levels, options.hooks, options.frameworks, PROCESSES
        )
    ]
    each = -(-options.requests // (len(options.frameworks) * len(PROCESSES)))
    begun = time.perf_counter()
    figures: dict[Cell, Counter[str]] = {}
    # A process for each: what a framework keeps for its process is of one cell.
    with ProcessPoolExecutor(
        options.at_once, mp_context=get_context("spawn"), initializer=begin, max_tasks_per_child=1
    ) as pool:
        running = {pool.submit(measure, cell, each, options.seed + n): cell for n, cell in enumerate(cells)}
        try:
            for done in as_completed(running):
                figures[running[done]] = done.result()
                _tell(len(figures), len(cells), time.perf_counter() - begun)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    figures = {cell: figures[cell] for cell in cells}
    requests = sum(counts["requests"] for counts in figures.values())
    print(f"{requests:,} requests in {time.perf_counter() - begun:,.0f} s; {machine()};")
    print(f"{versions('flask', 'django', 'starlette')}\n")
    print("\n".join(show(figures)))
    if options.details:
        lines = [f"{cell}: {name}: {number}" for cell, counts in figures.items() for name, number in counts.items()]
        options.details.write_text("\n".join(lines) + "\n", "utf-8")
    missed = goals(figures)
    if "merge" in options.levels:
        print("\nGoals of `merge`: " + ("all met" if not missed else "missed: " + "; ".join(missed)))
    return 1 if missed else 0


def _tell(done: int, of: int, seconds: float) -> None:
    left = seconds / done * (of - done)
    end = "\n" if done == of or not sys.stderr.isatty() else ""
    print(f"\r{done} of {of} parts, {seconds:,.0f} s, about {left:,.0f} s left ", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
