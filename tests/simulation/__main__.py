"""``python -m tests.simulation``: explore, and say what came of it."""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from session import OnConflict

from .drivers import DRIVERS
from .explore import Failure, Report, explore, replay
from .network import FAULTS
from .scheduler import Options


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many steps to take (default: a million)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=0, help="where the choices come from (default: 0)")
    parser.add_argument("--scs", action="store_true", help="SCS for Go writes the same sessions: less is promised")
    parser.add_argument(
        "--late-creates", action="store_true", help="with a delivery that breaks a promise, as is known"
    )
    parser.add_argument("--no-transactions", action="store_true", help="a renewal takes two steps")
    parser.add_argument(
        "--driver",
        choices=DRIVERS,
        default="plans",
        help="what the sessions run on (default: the bare plans, the fastest)",
    )
    parser.add_argument(
        "--level",
        choices=("both", *get_args(OnConflict)),
        default="both",
        help="the managers' on_conflict (default: merge in some runs, serialize in others)",
    )
    parser.add_argument("--replay", metavar="SEED:RUN", help="one run once more, with its trace")
    arguments = parser.parse_args()
    options = Options(
        scs=arguments.scs,
        late_creates=arguments.late_creates,
        driver=arguments.driver,
        level=arguments.level,
        transactions=not arguments.no_transactions,
    )
    if arguments.replay:
        seed, run = map(int, arguments.replay.split(":"))
        trace, violation = replay(seed, run, options)
        print(trace)
        print(violation or "no promise was broken")
        return 1 if violation else 0
    terminal = sys.stderr.isatty()
    report = explore(
        steps=arguments.steps,
        seed=arguments.seed,
        seconds=arguments.seconds,
        options=options,
        progress=_progress if terminal else lambda _: None,
    )
    if terminal:
        print("\r\033[K", end="", file=sys.stderr)
    print(summary(report))
    if report.failure:
        print(f"\n{explain(report.failure, options)}")
        return 1
    return 0


def _progress(report: Report) -> None:
    rate = report.steps / report.seconds
    print(
        f"\r{report.steps:,} steps, {report.runs:,} schedules, {rate:,.0f} steps/s", end="", file=sys.stderr, flush=True
    )


def summary(report: Report) -> str:
    """What was explored, and what happened in it."""
    counts = report.counts
    events = (
        "requests",
        "requests that failed",
        "requests that died",
        "commits",
        "atomic steps",
        "conflicts",
        "merges",
        "stale",
        "renewals",
        "destroys",
        "destroys by requests that failed",
        "gone",
        "requests that went on",
        "retries recognised as success",
        "deaths",
        "sweeps",
        "delivered late",
        "histories",
        "transactions in them",
        "histories that are too large",
    )
    rows: list[tuple[str, str]] = [("schedules", f"{report.runs:,}"), ("steps", f"{report.steps:,}")]
    rows += [(f"fault: {fate.value}", f"{counts[fate.value]:,}") for fate in FAULTS]
    rows += [(event, f"{counts[event]:,}") for event in events]
    rows += [("violations", "1" if report.failure else "0"), ("seconds", f"{report.seconds:.1f}")]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {value:>12}" for label, value in rows)


def explain(failure: Failure, options: Options) -> str:
    """A failure for people: the shortest run that fails so, and how to see the one that was found."""
    flags = f"{' --scs' if options.scs else ''}{' --late-creates' if options.late_creates else ''}"
    flags += " --no-transactions" if not options.transactions else ""
    flags += f" --driver {options.driver}" if options.driver != "plans" else ""
    flags += f" --level {options.level}" if options.level != "both" else ""
    return (
        f"{failure.trace}\n\nBroken: {failure.what}\n\n"
        f"Shrunk from a longer run; that one, as it was found:\n"
        f"    python -m tests.simulation{flags} --replay {failure.replay}"
    )


if __name__ == "__main__":
    sys.exit(main())
