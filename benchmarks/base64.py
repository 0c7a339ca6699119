"""What base64 costs, by msgspec and by pybase64: ``make bench-base64``.

    .venv/bin/python -m benchmarks.base64

One process and no network: the functions that the wire client calls to read a reply to GetItem and to write a PutItem, and a
whole ``find`` and ``save`` on a client whose pool answers from memory. The two ways take turns, and the fastest of many
rounds counts: so what else the machine does is left out.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from dynamostore import DynamoStore
from dynamostore.instants import from_ns
from dynamostore.wire import Credentials, WireClient, _base64, _core
from dynamostore.wire._http import RawReply
from dynamostore.wire.types import GET_ITEM, PUT_ITEM

from .about import machine, versions

__all__ = ["main"]

SIZES = {"1 kB": 1024, "4 kB": 4096, "32 kB": 32 * 1024, "90 kB": 90 * 1024}
ROUNDS = 40
CALLS = 100
EXPIRY_NS = 8_000_000_000_000_000_000


@contextmanager
def by_msgspec() -> Iterator[None]:
    """As if pybase64 were not installed."""
    with mock.patch.object(_core, "is_fast", new=False), mock.patch.object(GET_ITEM, "decode_large", GET_ITEM.decode):
        yield


@contextmanager
def by_pybase64() -> Iterator[None]:
    """As it is installed."""
    yield


def work(size: int) -> dict[str, Callable[[], object]]:
    """What is measured, with *size* bytes of data."""
    data = os.urandom(size)
    item = {
        "token": {"S": "a" * 43},
        "data": {"B": base64.b64encode(data).decode()},
        "expiry": {"N": str(EXPIRY_NS)},
        "ttl": {"N": str(EXPIRY_NS // 10**9 + 1)},
        "version": {"N": "7"},
    }
    body = json.dumps({"Item": item}).encode()
    arguments = {"TableName": "sessions", "Item": {**item, "data": {"B": data}}}
    headers = {"content-type": "application/x-amz-json-1.0"}
    client = WireClient("us-east-1", "http://127.0.0.1:1", credentials=Credentials("key", "secret"))

    def exchange(*, read: Callable[[RawReply], object], **_: object) -> object:
        return read(RawReply(200, headers, body, reusable=True))

    client._driver.exchange = exchange  # type: ignore[assignment]  # in place of a pool
    store = DynamoStore(client)
    expiry = from_ns(EXPIRY_NS)
    core = _core.Core("us-east-1", "")
    return {
        "read a reply": lambda: core.reply(GET_ITEM, RawReply(200, headers, body, reusable=True), 0),
        "write a request": lambda: _core.encode(PUT_ITEM, arguments),
        "find": lambda: store.find("a" * 43),
        "save": lambda: store.save("a" * 43, data, expiry),
    }


def fastest(call: Callable[[], object]) -> tuple[float, float]:
    """How many µs *call* takes by msgspec, and by pybase64."""
    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        for number, way in enumerate((by_msgspec, by_pybase64)):
            with way():
                begun = time.perf_counter()
                for _ in range(CALLS):
                    call()
                best[number] = min(best[number], (time.perf_counter() - begun) / CALLS * 1e6)
    return best[0], best[1]


def main() -> None:
    """Print the table."""
    if not _base64.is_fast:
        raise SystemExit("pybase64 is not installed: pip install 'dynamostore[fast]'")
    print(f"µs a call, by msgspec → by pybase64; {machine()}, {versions('msgspec', 'pybase64')}\n")
    rows = {size: work(length) for size, length in SIZES.items()}
    names = list(rows["1 kB"])
    print(f"| | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names))
    for size, calls in rows.items():
        cells = [f"{before:.1f} → {after:.1f}" for before, after in map(fastest, calls.values())]
        print(f"| {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
