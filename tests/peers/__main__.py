"""Runs other projects' tests on these sessions, and judges what fails: ``python -m tests.peers``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dynamostore.local import LocalDynamoDB

from .commands import CommandError, run_command
from .environments import Environment, build_wheel, prepare
from .judging import Verdict, judge, read_outcomes
from .pins import FOLDER, Pin, read_pins
from .reasons import Reason, read_reasons, update_reasons, write_reasons
from .report import Report, render, write_page
from .suites import SUITES, Suite, read_titles

CACHE = FOLDER.parents[1] / ".peers"


@dataclass(frozen=True)
class Options:
    """The command line."""

    suites: list[str] = field(default_factory=lambda: list(SUITES))
    newest: bool = False
    update: bool = False
    lock: bool = False
    unswapped: bool = False
    store: str = "memory"
    cache: Path = CACHE


def parse(arguments: list[str] | None = None) -> Options:
    """Return the options on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=(__doc__ or "").partition(":")[0] + ".")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="only this one; may be repeated")
    parser.add_argument("--newest", action="store_true", help="take the newest releases, and only report")
    parser.add_argument("--update", action="store_true", help="bring reasons.toml and docs/peers.md up to date")
    parser.add_argument("--lock", action="store_true", help="take the newest of what a suite needs, and write locks/")
    parser.add_argument(
        "--unswapped", action="store_true", help="run the tests with the projects' own sessions, and only report"
    )
    parser.add_argument(
        "--store", choices=("memory", "local"), default="memory", help="where sessions are (%(default)s)"
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="a folder for downloads and environments (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.update and (options.newest or options.unswapped):
        parser.error("--update is for the pinned releases, with the sessions swapped")
    return Options(
        options.suite or list(SUITES),
        options.newest,
        options.update,
        options.lock,
        options.unswapped,
        options.store,
        options.cache.resolve(),
    )


def main() -> int:
    """Run the suites one after the other; return the exit status."""
    options = parse()
    pins, reasons = read_pins(), read_reasons()
    options.cache.mkdir(exist_ok=True)
    say("building the wheel of this checkout")
    wheel = build_wheel(options.cache)
    reports: list[Report] = []
    with _store(options.store) as environ:
        for name in options.suites:
            if options.unswapped and SUITES[name].unswapped is None:
                continue
            reports.append(_run(name, pins[SUITES[name].pin], options, wheel, reasons, environ))
            say(reports[-1].summary)
    print(render(reports))
    if options.update:
        for report in reports:
            if report.problem is None:
                verdict = report.verdict
                outdated = [*verdict.outdated, *verdict.missing]
                reasons = update_reasons(reasons, report.name, outdated=outdated, unexplained=verdict.unexplained)
        write_reasons(reasons)
        write_page(reports, read_titles(pins), reasons)
    if options.newest or options.unswapped:
        return 0
    if options.update:
        # What was outdated is not on record any more.
        return 1 if any(report.problem is not None or report.verdict.unexplained for report in reports) else 0
    return 0 if all(report.holds for report in reports) else 1


def _run(
    name: str, pin: Pin, options: Options, wheel: Path, reasons: list[Reason], environ: Mapping[str, str]
) -> Report:
    began = time.monotonic()
    title = f"{pin.title}{SUITES[name].note}"
    version = "" if options.newest else pin.version
    try:
        say(f"{title}: setting up")
        environment = prepare(
            SUITES[name].pin, pin, cache=options.cache, wheel=wheel, newest=options.newest, lock=options.lock
        )
        version = environment.version
        say(f"{title} ({version}): running its tests, at most {pin.minutes:.0f} minutes")
        began = time.monotonic()
        verdict, problem = _run_tests(name, SUITES[name], pin, environment, options, reasons, environ)
    except CommandError as error:
        verdict, problem = Verdict(), str(error)
    return Report(name, title, version, time.monotonic() - began, verdict, problem)


def _run_tests(
    name: str,
    suite: Suite,
    pin: Pin,
    environment: Environment,
    options: Options,
    reasons: list[Reason],
    environ: Mapping[str, str],
) -> tuple[Verdict, str | None]:
    """Return the verdict on a suite's tests, and what kept it from its end."""
    folder = environment.python.parents[2]
    outcomes, log = folder / f"{name}.outcomes.jsonl", folder / f"{name}.log"
    outcomes.unlink(missing_ok=True)
    command = suite.unswapped if options.unswapped and suite.unswapped else suite.command
    leading = ("PYTHON", "DJANGO", "FLASK", "PYTEST", "AWS_", "VIRTUAL_ENV")
    status = run_command(
        ["nice", *command(environment)] if os.name == "posix" else command(environment),
        seconds=60 * pin.minutes,
        cwd=environment.source / suite.folder,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith(leading)},
            **suite.environ,
            **environ,
            **({"PEERS_UNSWAPPED": "1"} if options.unswapped else {}),
            "PEERS_OUTCOMES": str(outcomes),
            "PYTHONHASHSEED": "0",
        },
        log=log,
        must_succeed=False,
    )
    # What is on record is of the swapped sessions.
    verdict = judge(name, read_outcomes(outcomes), [] if options.unswapped else reasons)
    if status is None:
        return verdict, f"it was stopped after {pin.minutes:.0f} minutes; see {log}"
    if not verdict.run:
        return verdict, f"no test ran; see {log}"
    # pytest and Django's runner end with 1 if a test failed; anything else is no result.
    if status != (1 if verdict.failed else 0):
        return verdict, f"it ended with status {status}, and {verdict.failed} tests failed; see {log}"
    return verdict, None


@contextmanager
def _store(kind: str) -> Iterator[dict[str, str]]:
    """The environment variables that lead the suites to their store."""
    if kind == "memory":
        yield {}
        return
    with LocalDynamoDB() as dynamodb:
        dynamodb.connect("peers").create_table()
        yield {"PEERS_DYNAMODB": dynamodb.url}


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
