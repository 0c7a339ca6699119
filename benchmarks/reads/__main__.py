"""``python -m benchmarks.reads --against FOLDER``: what recording reads costs, beside another checkout in the same run."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.about import machine, versions

_ROUNDS = 15
_ROOT = Path(__file__).resolve().parents[2]
_WORKER = Path(__file__).with_name("worker.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout: a git worktree of an earlier commit, say")
    against = parser.parse_args().against
    folders = [_ROOT] if against is None else [_ROOT, against.resolve()]
    figures: dict[Path, dict[str, list[float]]] = {folder: defaultdict(list) for folder in folders}
    for _ in range(_ROUNDS):
        for folder in folders:
            for name, ns in measure(folder):
                figures[folder][name].append(ns)
    print(f"{machine()}; {versions('msgspec')}\n")
    titles = [f"CPU, median of {_ROUNDS} rounds", "ns", *(["before, ns", "now / before"] if against else [])]
    print(row(titles) + "\n" + row(["---"] * len(titles)))
    for name, now in figures[_ROOT].items():
        cells = [name, f"{median(now):,.0f}"]
        if against is not None:
            before = figures[folders[1]][name]
            ratio = median(this / that for this, that in zip(now, before, strict=True))
            cells += [f"{median(before):,.0f}", f"{ratio:.2f}"]
        print(row(cells))


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def measure(folder: Path) -> list[tuple[str, float]]:
    """Return the figures of one round with the packages in *folder*."""
    done = subprocess.run(
        [sys.executable, str(_WORKER)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [(name, float(ns)) for name, ns in (line.split("\t") for line in done.stdout.splitlines())]


if __name__ == "__main__":
    main()
