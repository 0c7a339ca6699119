"""The cost of contention: a burst of requests on one session, by three ways to store it.

``python -m benchmarks.contention`` prints a Markdown table; it takes about a minute and stops by itself.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import dynamostore
from dynamostore import DynamoStore, StoreError
from dynamostore.local import CREDENTIALS, LocalDynamoDB
from session import SessionError, SessionManager

from .about import machine, versions
from .meter import Meter
from .rivals import LastWriteWins, Locked

LEVELS = (1, 2, 4, 8, 16)
THINK = 0.005
"""What a request does between reading its session and changing it, in seconds."""
SIZE = 300
"""Of the data that is in the session already, in bytes: the item stays below 1 KB, which is one write unit."""
SECONDS = {"merge": 3.0, "last write wins": 2.0, "lock": 6.0}
"""How long each is measured at each level, or for so many bursts."""
BURSTS = 50


class Way(Protocol):
    """A way to serve a request: read the session, think, change one key of its own, add one to a counter."""

    def request(self, own: str, think: Callable[[], None]) -> None: ...

    def counter(self) -> int:
        """What the counter says in the end."""


class Merge:
    """Ours: conditional on what was read; where another request was faster, the changes are made on its data."""

    def __init__(self, store: DynamoStore) -> None:
        self._manager = SessionManager(store)
        with self._manager.session(None) as s:
            s.put_string("filler", "x" * SIZE)
        self._token = s.token

    def request(self, own: str, think: Callable[[], None]) -> None:
        with self._manager.session(self._token) as s:
            seen = s.get_int(own)
            think()
            s.put_int(own, seen + 1)
            s.increment("counter")

    def counter(self) -> int:
        with self._manager.session(self._token) as s:
            return s.get_int("counter")


@dataclass(slots=True)
class Measured:
    """One way at one level, over all bursts."""

    way: str
    level: int
    bursts: int = 0
    times: list[float] = field(default_factory=list)
    failed: int = 0
    calls: int = 0
    read: float = 0
    write: float = 0
    lost: int = 0

    def row(self) -> str:
        done = len(self.times)
        p95 = statistics.quantiles(self.times, n=20, method="inclusive")[-1] if done > 1 else self.times[0]
        cells = (
            str(self.level),
            self.way,
            f"{self.calls / done:.1f}",
            f"{self.read / done:.1f}",
            f"{self.write / done:.1f}",
            f"{statistics.median(self.times) * 1000:,.0f}",
            f"{p95 * 1000:,.0f}",
            f"{self.lost / done:.0%}" if self.lost else "0",
            str(self.failed),
            str(done),
        )
        return "| " + " | ".join(cells) + " |"


def measure(name: str, level: int, make: Callable[[DynamoStore], Way], url: str) -> Measured:
    """Bursts of *level* requests at once, each when the one before is over, until there are enough."""
    measured = Measured(name, level)
    store = dynamostore.connect(endpoint_url=url, region="us-east-1", threads=level)
    client = store.client
    way = make(store)
    lock = threading.Lock()

    def request(own: str, together: threading.Barrier) -> None:
        together.wait()
        began = time.perf_counter()
        try:
            way.request(own, lambda: time.sleep(THINK))
        except (StoreError, SessionError):
            with lock:
                measured.failed += 1
        else:
            with lock:
                measured.times.append(time.perf_counter() - began)

    with ThreadPoolExecutor(level) as pool:
        _burst(pool, level, request)  # connections are made, and code is warm
        warm = len(measured.times)
        measured.times.clear()
        measured.failed = 0
        meter = Meter(client)
        # Anything with the methods will do; the protocol cannot see them behind __getattr__.
        store.client = meter  # type: ignore[assignment]
        deadline = time.monotonic() + SECONDS[name]
        while measured.bursts < BURSTS and (measured.bursts < 2 or time.monotonic() < deadline):
            _burst(pool, level, request)
            measured.bursts += 1
    measured.calls, measured.read, measured.write = meter.calls, meter.read, meter.write
    measured.lost = warm + len(measured.times) - way.counter()
    return measured


def _burst(pool: ThreadPoolExecutor, level: int, request: Callable[[str, threading.Barrier], None]) -> None:
    together = threading.Barrier(level)
    for future in [pool.submit(request, f"own{number}", together) for number in range(level)]:
        future.result()


WAYS: dict[str, Callable[[DynamoStore], Way]] = {
    "merge": Merge,
    "last write wins": lambda store: LastWriteWins(store, SIZE),
    "lock": lambda store: Locked(store, SIZE),
}


def main() -> int:
    os.environ.update(CREDENTIALS)
    print("| at once | | calls | read units | write units | p50 ms | p95 ms | lost updates | gave up | requests |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with LocalDynamoDB() as dynamodb:
        dynamostore.connect(endpoint_url=dynamodb.url, region="us-east-1").create_table()
        for level in LEVELS:
            for name, make in WAYS.items():
                print(measure(name, level, make, dynamodb.url).row(), flush=True)
    print()
    print("\n".join(_about()))
    return 0


def _about() -> Iterator[str]:
    yield f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}, {versions('dynamostore', 'boto3', 'ministack')};"
    yield "on the loopback interface, client threads and server on the same cores. The session is less than 1 KB; each"
    yield f"request reads it, thinks for {THINK * 1000:.0f} ms, sets a key of its own and adds one to a counter; so many"
    yield "requests at once, again and again. Calls and units are for each request that was committed. Units are the"
    yield "server's, but for refused writes: those are computed from the item's size, as DynamoDB charges them. The lock"
    yield f"is asked for every {Locked.POLL * 1000:.0f} ms; nothing is shortened."


if __name__ == "__main__":
    sys.exit(main())
