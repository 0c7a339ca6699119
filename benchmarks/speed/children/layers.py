"""What each layer of ours adds: ``python -m benchmarks.speed.children.layers sync|async URL ROUNDS``.

The same call by the client, by the store on it and by the session on that, in turn, in one process and through one
connection; and all of it once more on a client that has the reply at hand, for what is left without a network.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from benchmarks.speed.messages import Layer
from benchmarks.speed.peers.lowlevel import LowLevel, LowLevelAsync
from benchmarks.speed.peers.ours import make_async_wire, make_wire
from benchmarks.speed.stored import DEADLINE_NS, FIRST_VERSION, RECENT, SIZES, TOKEN, payload, table_of
from dynamostore import DynamoStore, Record, Table, items
from dynamostore.client import AsyncDynamoClient, DynamoClient, GetItemReply
from session import SessionManager

_SIZE = SIZES["1 kB"]
_TABLE = Table(name=table_of(_SIZE))
_DATA = payload(_SIZE)
_BLOCK = 0.05
"""How long each is measured at a time, in seconds."""
_BLOCK_AT_HAND = 0.01

Layers = dict[tuple[str, str], Callable[[], object]]
AsyncLayers = dict[tuple[str, str], Callable[[], Awaitable[object]]]


class AtHand:
    """A client that has its replies at hand."""

    def __init__(self, key: str) -> None:
        record = Record.at(key, _DATA, DEADLINE_NS, FIRST_VERSION, recent=RECENT)
        self._reply: GetItemReply = {"Item": items.encode(_TABLE, record)}

    def get_item(self, **_: object) -> GetItemReply:
        return self._reply

    def update_item(self, **_: object) -> Mapping[str, object]:
        return {}

    # Never called, but a store asks for them.
    put_item = delete_item = transact_write_items = update_item


class AsyncAtHand:
    """The same, awaited."""

    def __init__(self, key: str) -> None:
        self._client = AtHand(key)

    async def get_item(self, **_: object) -> GetItemReply:
        return self._client.get_item()

    async def update_item(self, **_: object) -> Mapping[str, object]:
        return {}

    put_item = delete_item = transact_write_items = update_item


def _layers(client: DynamoClient) -> Layers:
    """By what is done and who does it. What is done is the same to the table, whoever does it."""
    bare, store = LowLevel(client, _TABLE.name), DynamoStore(client, _TABLE)
    manager = SessionManager(store)
    key = manager._policy.key(TOKEN)
    write = bare.writer(key)
    record = store.find(key)
    assert record is not None
    read = record

    def client_change() -> None:
        write(bare.find(key))

    def store_change() -> None:
        found = store.find(key)
        assert found is not None
        store.replace(found, found.data, found.expiry)

    def session_read() -> None:
        with manager.session(TOKEN) as s:
            assert s.get_int("visits") == 1000000

    def session_change() -> None:
        with manager.session(TOKEN) as s:
            s.put_int("visits", s.get_int("visits") + 1)

    return {
        ("read", "client"): lambda: bare.find(key),
        ("read", "store"): lambda: store.find(key),
        ("read", "session"): session_read,
        ("write", "client"): lambda: write(_DATA),
        ("write", "store"): lambda: store.replace(read, _DATA, read.expiry),
        ("read, change, write", "client"): client_change,
        ("read, change, write", "store"): store_change,
        ("read, change, write", "session"): session_change,
    }


async def _async_layers(client: AsyncDynamoClient) -> AsyncLayers:
    """The same, awaited."""
    from dynamostore import AsyncDynamoStore
    from session import AsyncSessionManager

    async def never() -> None:
        """Closing is left to the end of the process."""

    bare, store = LowLevelAsync(client, _TABLE.name, never), AsyncDynamoStore(client, _TABLE)
    manager = AsyncSessionManager(store)
    key = manager._policy.key(TOKEN)
    write = await bare.writer(key)
    record = await store.find(key)
    assert record is not None
    read = record

    async def client_change() -> None:
        await write(await bare.find(key))

    async def store_change() -> None:
        found = await store.find(key)
        assert found is not None
        await store.replace(found, found.data, found.expiry)

    async def session_read() -> None:
        async with manager.session(TOKEN) as s:
            assert s.get_int("visits") == 1000000

    async def session_change() -> None:
        async with manager.session(TOKEN) as s:
            s.put_int("visits", s.get_int("visits") + 1)

    return {
        ("read", "client"): lambda: bare.find(key),
        ("read", "store"): lambda: store.find(key),
        ("read", "session"): session_read,
        ("write", "client"): lambda: write(_DATA),
        ("write", "store"): lambda: store.replace(read, _DATA, read.expiry),
        ("read, change, write", "client"): client_change,
        ("read, change, write", "store"): store_change,
        ("read, change, write", "session"): session_change,
    }


def _timed(call: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Microseconds a call: of the processors, and on the wall."""
    call()
    calls = 0
    cpu, began = time.process_time(), time.perf_counter()
    end = began + seconds
    while (now := time.perf_counter()) < end:
        call()
        calls += 1
    return (time.process_time() - cpu) / calls * 1e6, (now - began) / calls * 1e6


async def _timed_async(call: Callable[[], Awaitable[object]], seconds: float) -> tuple[float, float]:
    await call()
    calls = 0
    cpu, began = time.process_time(), time.perf_counter()
    end = began + seconds
    while (now := time.perf_counter()) < end:
        await call()
        calls += 1
    return (time.process_time() - cpu) / calls * 1e6, (now - began) / calls * 1e6


def _blocking(url: str, rounds: int) -> list[Layer]:
    far = _layers(make_wire(url))
    near = _layers(AtHand(_key()))  # type: ignore[arg-type]  # it is asked for no more than these two calls
    measured = {what: Layer(*what) for what in far}
    for _ in range(rounds):
        for what, layer in measured.items():
            layer.add(_timed(far[what], _BLOCK), _timed(near[what], _BLOCK_AT_HAND))
    return list(measured.values())


async def _awaited(url: str, rounds: int) -> list[Layer]:
    far = await _async_layers(make_async_wire(url, 10))
    near = await _async_layers(AsyncAtHand(_key()))  # type: ignore[arg-type]  # as above
    measured = {what: Layer(*what) for what in far}
    for _ in range(rounds):
        for what, layer in measured.items():
            layer.add(await _timed_async(far[what], _BLOCK), await _timed_async(near[what], _BLOCK_AT_HAND))
    return list(measured.values())


def _key() -> str:
    from dynamostore import MemoryStore

    return SessionManager(MemoryStore())._policy.key(TOKEN)


def main() -> None:
    kind, url, rounds = sys.argv[1:]
    layers = _blocking(url, int(rounds)) if kind == "sync" else asyncio.run(_awaited(url, int(rounds)))
    sys.stdout.buffer.write(msgspec.json.encode(layers))


if __name__ == "__main__":
    main()
