"""``python -m benchmarks.web``: prints Markdown tables; it takes some three minutes and stops by itself."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from textwrap import wrap

from benchmarks.about import machine, versions
from benchmarks.speed.bench import ROOT, Bench, BenchError, progress
from benchmarks.speed.tables import Figures, ratio, table

from .apps import APPS
from .bench import Measured, measure
from .routes import ROUTES


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long."""

    rounds: int
    seconds: float


FULL = Effort(12, 0.12)
QUICK = Effort(3, 0.03)

Apps = dict[str, Measured]


def main() -> int:
    arguments = _parser().parse_args()
    effort = QUICK if arguments.quick else FULL
    began, busy = time.monotonic(), os.getloadavg()[0]
    try:
        with Bench.open(arguments.python, (package for app in APPS.values() for package in app.packages)) as bench:
            measured = measure(bench, effort.rounds, effort.seconds)
            progress("")
            for part in (_calls(measured), _times(measured), _old(measured)):
                print("\n".join(part))
            for line in _about(bench, effort, time.monotonic() - began, busy):
                print(line)
    except (BenchError, RuntimeError) as error:
        progress("")
        print(f"benchmarks.web: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description="What a request's session costs.")
    parser.add_argument(
        "--quick", action="store_true", help="half a minute's run, for trying it out: its times are rough"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="the interpreter that has the frameworks (default: .venv-bench's)",
    )
    return parser


def _calls(measured: Apps) -> Iterator[str]:
    """A row for each app that has a session: what one request asks of its back end."""

    def rows() -> Iterator[list[str]]:
        for name, app in APPS.items():
            if name in measured and app.base:
                yield [_label(name), *(_operations(measured[name].calls[route]) for route in ROUTES)]

    return table(("calls to the back end, for one request", *ROUTES), rows())


def _label(name: str) -> str:
    return f"**{APPS[name].label}**" if name == APPS[name].ours else APPS[name].label


def _operations(calls: dict[str, float]) -> str:
    return ", ".join(name if number == 1 else f"{number:g} {name}" for name, number in sorted(calls.items())) or "0"


def _times(measured: Apps) -> Iterator[str]:
    """A row for each app: what one request takes, what of it the session adds, and how many times ours that is."""

    def rows() -> Iterator[list[str]]:
        for name, one in measured.items():
            base, ours = measured.get(APPS[name].base), measured.get(APPS[name].ours)
            yield [_label(name), *(_time(route, one, base, ours) for route in ROUTES)]

    return table(("CPU of the app's process, µs a request", *ROUTES), rows())


def _time(route: str, one: Measured, base: Measured | None, ours: Measured | None) -> str:
    whole = _cpu(one.figures[route])
    if base is None:
        return f"{whole:,.0f}"
    without = _cpu(base.figures[route])
    added, own = whole - without, _cpu(ours.figures[route]) - without if ours is not None else 0
    times = f" ({ratio(added / own)})" if ours is not one and added > 0 and own > 0 else ""
    return f"{whole:,.0f}: {added:+,.0f}{times}"


def _cpu(figures: Figures) -> float:
    """The lower quartile of the rounds, in microseconds: what else runs on the machine only ever adds."""
    return quantiles(figures.cpu, n=4, method="inclusive")[0]


def _old(measured: Apps) -> Iterator[str]:
    works = [APPS[name].label.strip("()") for name, one in measured.items() if one.old_works]
    yield ""
    yield from wrap(
        f"After a login the cookie from before still leads to the session's data with: {', '.join(works)}.", 120
    )


def _about(bench: Bench, effort: Effort, seconds: float, busy: float) -> Iterator[str]:
    for note in bench.notes:
        yield ""
        yield from wrap(f"Not measured: {note}.", 120)
    yield ""
    yield from wrap(
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.1f} minutes: {machine()} (load average "
        f"before: {busy:.1f}, after: {os.getloadavg()[0]:.1f}), {bench.versions}; the driver and ministack on "
        f"{versions('ministack')}. Each app is in a process of its own and is called by its WSGI or ASGI "
        "interface, without a socket; its DynamoDB is a stub server in another process, on the loopback interface and the "
        "same processor, which keeps what is written, checks nothing and counts the calls. Before that each app was seen to "
        "do what it should, on ministack and on the stub. Each session holds the same 1 kB. *No cookie* and *ignore*: a view "
        "that has no use for the session, for a client without a cookie and one with a session's; *read*: one key; *change*: "
        "one key is read and written; *login*: an anonymous session with data, one for each request, gets a new id and one "
        f"more key. The apps take turns, {effort.seconds * 1000:.0f} ms for each kind of request in each of {effort.rounds} "
        "rounds; a figure is the lower quartile of the rounds, as what else runs on the machine only ever adds. After the colon "
        "is the difference from the same app without sessions, and in brackets how many times that of ours it is. CPU is that of all threads of the "
        "process, in the program and in the kernel. All is as its documentation has it, with default settings, but that "
        "SQLite's connection stays open. starsessions has no store for DynamoDB: this one is its three methods, with "
        "GetItem (consistent), PutItem and DeleteItem, written for this. Reads of Flask-Session and django-dynamodb-cache are "
        "eventually consistent: DynamoDB charges half as much, and they may miss the last write; ours are consistent. In "
        "brackets, on the left, what needs no network. Flask-Session refreshes the expiry "
        "with each request; ours, with an *idle_timeout*, when a tenth of it is used.",
        120,
    )


if __name__ == "__main__":
    sys.exit(main())
