"""The measurement: every app is checked, its calls are counted, and then all take turns at each kind of request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import msgspec

from benchmarks.speed.bench import Bench, BenchError, Child, progress, together
from benchmarks.speed.messages import Ready, Timed
from benchmarks.speed.servers import Server, get, stub
from benchmarks.speed.tables import Figures
from dynamostore.local import LocalDynamoDB

from .apps import APPS
from .messages import Ask, Asked, Check, Checked, Prepare, Reply, Time
from .routes import ROUTES

__all__ = ["Measured", "measure"]

_COUNTED = 20
"""Over how many requests calls are counted."""


@dataclass(slots=True)
class Measured:
    """One app, by kind of request: the calls of one, and its time, round by round."""

    calls: dict[str, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, Figures] = field(default_factory=dict)
    old_works: bool = False


def measure(bench: Bench, rounds: int, seconds: float) -> dict[str, Measured]:
    """By app. What does not do what it should, or cannot be run, is noted and left out."""
    sound = _sound(bench)
    measured: dict[str, Measured] = {}
    with together(), stub(bench, None, module="benchmarks.web.children.stub") as server, ExitStack() as stack:
        workers: dict[str, Child] = {}
        for name in sound:
            progress(f"{APPS[name].label}: its calls are counted")
            with _noted(bench, name, server.name):
                workers[name] = stack.enter_context(_worker(bench, name, server.url))
                checked = workers[name].ask(Check(), Checked)
                calls = {route: _calls(server, workers[name], route) for route in ROUTES}
                measured[name] = Measured(calls, {route: Figures() for route in ROUTES}, checked.old_works)
        for number in range(rounds):
            for route in ROUTES:
                progress(f"{route}, round {number + 1} of {rounds}")
                for name in list(measured):
                    try:
                        timed = workers[name].ask(Time(route, seconds), Timed)
                    except BenchError as error:
                        bench.note(APPS[name].label, server.name, error)
                        del measured[name]
                        continue
                    measured[name].figures[route].add(timed.calls, timed.cpu, timed.wall)
    return measured


def _sound(bench: Bench) -> Sequence[str]:
    """The apps that do what they should on ministack, which looks at what it is asked as DynamoDB does."""
    sound = []
    with LocalDynamoDB() as dynamodb:
        for name, app in APPS.items():
            progress(f"{app.label}: checked on ministack")
            with _noted(bench, name, "ministack"), _worker(bench, name, dynamodb.url) as worker:
                worker.ask(Check(), Checked)
                sound.append(name)
    return sound


@contextmanager
def _noted(bench: Bench, name: str, where: str) -> Iterator[None]:
    try:
        yield
    except BenchError as error:
        bench.note(APPS[name].label, where, error)


def _worker(bench: Bench, name: str, url: str) -> Child:
    return Child(bench, "benchmarks.web.children.worker", [name, url], Reply)


def _calls(server: Server, worker: Child, route: str) -> dict[str, float]:
    """What one request asks of the back end: DynamoDB at the wire, by operation, and what is within the process."""
    worker.ask(Prepare(route, _COUNTED), Ready)
    before = _operations(server)
    asked = worker.ask(Ask(), Asked)
    counted = _operations(server) - before + Counter(asked.statements)
    return {name: number / _COUNTED for name, number in counted.items()}


def _operations(server: Server) -> Counter[str]:
    return Counter(msgspec.json.decode(get(server, "/calls"), type=dict[str, int]))
