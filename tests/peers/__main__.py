"""Runs other projects' tests on these sessions, and judges what fails: ``python -m tests.peers``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .pins import read_pins
from .reasons import read_reasons, update_reasons, write_reasons
from .report import render, write_page
from .running import CACHE, Options, run_suites
from .suites import SUITES, read_titles


def parse(arguments: list[str] | None = None) -> Options:
    """Return the options on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=(__doc__ or "").partition(":")[0] + ".")
    flag = "store_true"
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="only this one; may be repeated")
    parser.add_argument("--newest", action=flag, help="take the newest releases, and only report")
    parser.add_argument("--update", action=flag, help="bring reasons.toml and docs/background/peers.md up to date")
    parser.add_argument("--lock", action=flag, help="take the newest of what a suite needs, and write locks/")
    parser.add_argument("--unswapped", action=flag, help="run with the projects' own sessions, and only report")
    parser.add_argument("--store", choices=("memory", "local"), default="memory", help="where (%(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="a folder for what is downloaded (%(default)s)")
    options = parser.parse_args(arguments)
    if options.update and (options.newest or options.unswapped):
        parser.error("--update is for the pinned releases, with the sessions swapped")
    return Options(
        options.suite or list(SUITES),
        newest=options.newest,
        update=options.update,
        lock=options.lock,
        unswapped=options.unswapped,
        store=options.store,
        cache=options.cache.resolve(),
    )


def main() -> int:
    """Run the suites, print what became of them, and return the exit status."""
    began = time.monotonic()
    options, pins, reasons = parse(), read_pins(), read_reasons()
    reports = list(run_suites(options, pins, reasons))
    print(render(reports))
    print(f"\n{(time.monotonic() - began) / 60:.0f} minutes")
    if options.newest or options.unswapped:
        return 0
    if not options.update:
        return 0 if all(report.holds for report in reports) else 1
    for report in reports:
        if report.problem is None:
            verdict = report.verdict
            outdated = [*verdict.outdated, *verdict.missing]
            reasons = update_reasons(reasons, report.name, outdated=outdated, unexplained=verdict.unexplained)
    write_reasons(reasons)
    write_page(reports, read_titles(pins), reasons)
    # What was outdated is not on record any more.
    return 1 if any(report.problem is not None or report.verdict.unexplained for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
