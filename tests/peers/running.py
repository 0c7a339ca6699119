"""Runs suites: each in its environment, within its time limit, with its sessions in one store."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dynamostore.local import LocalDynamoDB

from .commands import CommandError, run_command
from .environments import Environment, build_wheel, prepare
from .judging import Verdict, judge, read_outcomes
from .pins import FOLDER, Pin
from .reasons import Reason
from .report import Report
from .suites import SUITES, read_titles

__all__ = ["CACHE", "Options", "run_suites"]

CACHE: Final = FOLDER.parents[1] / ".peers"
# What of this process's environment would lead a suite elsewhere.
_LEADING = ("AWS_", "DJANGO", "FLASK", "PYTEST", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Options:
    """What to run, and how: the command line says what each means."""

    suites: list[str] = field(default_factory=lambda: list(SUITES))
    newest: bool = False
    update: bool = False
    lock: bool = False
    unswapped: bool = False
    store: str = "memory"
    cache: Path = CACHE


def run_suites(options: Options, pins: Mapping[str, Pin], reasons: Iterable[Reason]) -> Iterator[Report]:
    """Run the suites one after the other, and yield the report of each."""
    options.cache.mkdir(exist_ok=True)
    _say("building the wheel of this checkout")
    wheel = build_wheel(options.cache)
    record = list(reasons)
    titles = read_titles(pins)
    environments: dict[str, Environment] = {}
    with _store(options.store) as variables:
        for name in options.suites:
            suite = SUITES[name]
            if options.unswapped and suite.unswapped is None:
                continue
            pin, title = pins[suite.pin], titles[name]
            version = "" if options.newest else pin.version
            began = time.monotonic()
            try:
                if suite.pin not in environments:
                    _say(f"{title}: setting up")
                    environments[suite.pin] = prepare(
                        suite.pin, pin, cache=options.cache, wheel=wheel, newest=options.newest, lock=options.lock
                    )
                environment = environments[suite.pin]
                version = environment.version
                _say(f"{title} ({version}): running its tests, at most {pin.minutes:.0f} minutes")
                began = time.monotonic()
                verdict, problem = _run_tests(name, pin, environment, options, record, variables)
            except CommandError as error:
                verdict, problem = Verdict(), str(error)
            report = Report(name, title, version, time.monotonic() - began, verdict, problem)
            _say(report.summary)
            yield report


def _run_tests(
    name: str,
    pin: Pin,
    environment: Environment,
    options: Options,
    reasons: list[Reason],
    variables: Mapping[str, str],
) -> tuple[Verdict, str | None]:
    """Return the verdict on a suite's tests, and what kept it from its end."""
    suite, folder = SUITES[name], environment.python.parents[2]
    outcomes, log = folder / f"{name}.outcomes.jsonl", folder / f"{name}.log"
    outcomes.unlink(missing_ok=True)
    command = suite.unswapped if options.unswapped and suite.unswapped else suite.command
    inherited = {
        key: value
        for key, value in os.environ.items()
        # The suites' own servers are on this machine, where no proxy leads.
        if not key.startswith(_LEADING) and not key.upper().endswith("_PROXY")
    }
    status = run_command(
        ["nice", *command(environment)],
        seconds=60 * pin.minutes,
        cwd=environment.source / suite.folder,
        env={
            **inherited,
            **suite.environ,
            **variables,
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
