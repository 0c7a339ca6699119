"""A process that has one client and measures it when told: ``... worker PEER URL TOKEN POOL``.

It is idle until the next line, so many of them can be told in turn, and what slows the machine slows all alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import io
import os
import pstats
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from benchmarks.speed.messages import (
    Command,
    Failed,
    Load,
    Loaded,
    Measure,
    Operation,
    Profile,
    Profiled,
    Ready,
    Reply,
    Timed,
)
from benchmarks.speed.peers import PEERS, AsyncClient, Client
from benchmarks.speed.stored import SIZES, payload, table_of

R = TypeVar("R")

_WARM = 5
"""Calls before each measurement: connections are there again, and caches warm, after the idle time."""
_FUNCTIONS = 30


class Worker(Protocol):
    """Does what it is told."""

    def measure(self, operation: Operation, size: int, seconds: float) -> Timed: ...

    def load(self, size: int, level: int, seconds: float) -> Loaded: ...

    def profile(self, size: int, calls: int) -> Profiled: ...


class Threads:
    """A worker for a client that blocks."""

    def __init__(self, make: Callable[[str, str, int], Client], url: str, token: str, pool: int) -> None:
        self._make = make
        self._url = url
        self._token = token
        self._pool = pool
        self._clients: dict[int, Client] = {}
        self._calls: dict[tuple[Operation, int], Callable[[], object]] = {}
        self._client(SIZES["1 kB"])

    def measure(self, operation: Operation, size: int, seconds: float) -> Timed:
        call = self._call(operation, size)
        for _ in range(_WARM):
            call()
        calls = 0
        cpu, began = time.process_time(), time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            call()
            calls += 1
        return Timed(calls, now - began, time.process_time() - cpu)

    def load(self, size: int, level: int, seconds: float) -> Loaded:
        call = self._call("find", size)
        together = threading.Barrier(level + 1)

        def loop() -> list[float]:
            try:
                for _ in range(_WARM):
                    call()
            except BaseException:
                together.abort()
                raise
            together.wait()
            latencies = []
            now = time.perf_counter()
            end = now + seconds
            while now < end:
                before, _ = now, call()
                now = time.perf_counter()
                latencies.append((now - before) * 1e6)
            return latencies

        with ThreadPoolExecutor(level) as pool:
            futures = [pool.submit(loop) for _ in range(level)]
            with contextlib.suppress(threading.BrokenBarrierError):  # the threads' own errors say more
                together.wait()
            cpu, began = time.process_time(), time.perf_counter()
            latencies = [latency for future in futures for latency in future.result()]
            wall = time.perf_counter() - began
            return Loaded(wall, time.process_time() - cpu, latencies)

    def profile(self, size: int, calls: int) -> Profiled:
        call = self._call("find", size)

        def repeat() -> None:
            for _ in range(calls):
                call()

        repeat()
        return _profiled(repeat, calls)

    def _client(self, size: int) -> Client:
        if size not in self._clients:
            self._clients[size] = self._make(self._url, table_of(size), self._pool)
        return self._clients[size]

    def _call(self, operation: Operation, size: int) -> Callable[[], object]:
        if (call := self._calls.get((operation, size))) is None:
            call = self._calls[operation, size] = self._prepared(operation, size)
        return call

    def _prepared(self, operation: Operation, size: int) -> Callable[[], object]:
        client, token, data = self._client(size), self._token, payload(size)
        if operation == "replace":
            write = client.writer(token)
            return lambda: write(data)

        def find() -> None:
            if len(client.find(token)) != size:
                raise AssertionError("that is not the data")

        if client.find(token) != data and PEERS[sys.argv[1]].signs:
            raise AssertionError("that is not the data")
        return find


class Tasks:
    """A worker for a client that is awaited, on asyncio's own event loop."""

    def __init__(
        self, make: Callable[[str, str, int], Awaitable[AsyncClient]], url: str, token: str, pool: int
    ) -> None:
        self._make = make
        self._url = url
        self._token = token
        self._pool = pool
        self._clients: dict[int, AsyncClient] = {}
        self._calls: dict[tuple[Operation, int], Callable[[], Awaitable[object]]] = {}
        self._runner = asyncio.Runner()
        self._run(self._client(SIZES["1 kB"]))

    def measure(self, operation: Operation, size: int, seconds: float) -> Timed:
        return self._run(self._measure(operation, size, seconds))

    async def _measure(self, operation: Operation, size: int, seconds: float) -> Timed:
        call = await self._call(operation, size)
        for _ in range(_WARM):
            await call()
        calls = 0
        cpu, began = time.process_time(), time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            await call()
            calls += 1
        return Timed(calls, now - began, time.process_time() - cpu)

    def load(self, size: int, level: int, seconds: float) -> Loaded:
        return self._run(self._load(size, level, seconds))

    async def _load(self, size: int, level: int, seconds: float) -> Loaded:
        call = await self._call("find", size)

        async def loop(seconds: float) -> list[float]:
            latencies = []
            now = time.perf_counter()
            end = now + seconds
            while now < end:
                before, _ = now, await call()
                now = time.perf_counter()
                latencies.append((now - before) * 1e6)
            return latencies

        await asyncio.gather(*(loop(0.02) for _ in range(level)))
        cpu, began = time.process_time(), time.perf_counter()
        loops = await asyncio.gather(*(loop(seconds) for _ in range(level)))
        wall = time.perf_counter() - began
        return Loaded(wall, time.process_time() - cpu, [latency for latencies in loops for latency in latencies])

    def profile(self, size: int, calls: int) -> Profiled:
        call = self._run(self._call("find", size))

        async def repeat() -> None:
            for _ in range(calls):
                await call()

        self._run(repeat())
        return _profiled(lambda: self._run(repeat()), calls)

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        return self._runner.run(work)

    async def _client(self, size: int) -> AsyncClient:
        if size not in self._clients:
            self._clients[size] = await self._make(self._url, table_of(size), self._pool)
        return self._clients[size]

    async def _call(self, operation: Operation, size: int) -> Callable[[], Awaitable[object]]:
        if (call := self._calls.get((operation, size))) is None:
            call = self._calls[operation, size] = await self._prepared(operation, size)
        return call

    async def _prepared(self, operation: Operation, size: int) -> Callable[[], Awaitable[object]]:
        client, token, data = await self._client(size), self._token, payload(size)
        if operation == "replace":
            write = await client.writer(token)
            return lambda: write(data)

        async def find() -> None:
            if len(await client.find(token)) != size:
                raise AssertionError("that is not the data")

        if await client.find(token) != data and PEERS[sys.argv[1]].signs:
            raise AssertionError("that is not the data")
        return find


def _profiled(repeat: Callable[[], None], calls: int) -> Profiled:
    """*repeat* makes so many calls: timed first, then under the profiler, which slows Python's functions down."""
    before = os.times()
    repeat()
    after = os.times()
    profile = cProfile.Profile()
    profile.runcall(repeat)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(_FUNCTIONS)
    lines = [line.replace(f"{Path.cwd()}/", "") for line in text.getvalue().splitlines() if line.strip()]
    return Profiled((after.user - before.user) / calls, (after.system - before.system) / calls, "\n".join(lines))


def _work(worker: Worker, command: Command) -> Reply:
    match command:
        case Measure(operation, size, seconds):
            return worker.measure(operation, size, seconds)
        case Load(size, level, seconds):
            return worker.load(size, level, seconds)
        case Profile(size, calls):
            return worker.profile(size, calls)


def _answer(answer: Callable[[], Reply]) -> None:
    try:
        reply = answer()
    except Exception as error:  # noqa: BLE001 (the driver notes what a client cannot do, and goes on)
        reply = Failed(f"{type(error).__name__}: {error}".splitlines()[0][:200])
    sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    name, url, token, pool = sys.argv[1:]
    peer = PEERS[name]
    worker: Worker | None = None

    def start() -> Reply:
        nonlocal worker
        make = getattr(import_module(f"benchmarks.speed.peers.{peer.module}"), peer.maker)
        worker = (Tasks if peer.asynchronous else Threads)(make, url, token, int(pool))
        return Ready()

    _answer(start)
    decoder = msgspec.json.Decoder(Command)
    for line in sys.stdin.buffer:
        command = decoder.decode(line)
        assert worker is not None
        _answer(lambda worker=worker, command=command: _work(worker, command))  # type: ignore[misc]  # bound now
    # Whatever a client has left to close, the process's end does.
    with contextlib.suppress(OSError):
        sys.stdout.close()
    os._exit(0)


if __name__ == "__main__":
    main()
