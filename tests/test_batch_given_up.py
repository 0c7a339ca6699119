"""A job that nobody waits for any more ends promptly: its threads, its tasks, and what they would have written."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dynamostore import AsyncDynamoStore, DynamoStore, Table, UnavailableError
from dynamostore.batch import AsyncBatch, Batch, Progress
from dynamostore.batch._parallel import MAX_AT_ONCE
from dynamostore.batch._position import Position
from dynamostore.batch.segments import MAX_SEGMENTS
from dynamostore.batch.tables import place
from dynamostore.wire import AsyncWireClient, WireClient

from .backends import KEYS
from .faulty import FaultyDynamoDB, Reply, Request, reply
from .test_batch import segments_running

ROOT = Path(__file__).parent.parent
TABLE = Table(name="sessions")
SOON = 2.0
"""Seconds: far less than any time-out here."""
OLD = {"token": {"S": "old"}, "data": {"B": "eA=="}, "expiry": {"N": "1"}, "ttl": {"N": "1"}, "version": {"N": "7"}}
LIVE = {**OLD, "token": {"S": "live"}, "expiry": {"N": "8000000000000000000"}, "ttl": {"N": "8000000001"}}


class Stuck:
    """A table whose first segment has no end, and whose others are silent until they are *released*."""

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.released = asyncio.Event()

    async def __call__(self, request: Request) -> Reply:
        self.operations.append(request.operation)
        if request.operation != "Scan":
            return reply(200, b"{}")
        if segment := request.arguments.get("Segment", 0):
            await self.released.wait()
        item = OLD if "FilterExpression" in request.arguments else LIVE
        more = {} if segment else {"LastEvaluatedKey": {"token": item["token"]}}
        page = {"Items": [item] if segment or item is LIVE else [], "Count": 1, "ScannedCount": 1, **more}
        return reply(200, json.dumps(page).encode())


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
def server(stuck: Stuck) -> Iterator[FaultyDynamoDB]:
    with FaultyDynamoDB(stuck) as running:
        yield running


@pytest.fixture
def client(server: FaultyDynamoDB) -> Iterator[WireClient]:
    with WireClient("us-east-1", server.url, credentials=KEYS, read_timeout=30, call_timeout=60, attempts=10) as made:
        yield made


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


def release(server: FaultyDynamoDB, stuck: Stuck) -> None:
    async def now() -> None:
        stuck.released.set()

    server._thread.run(now())


def test_closing_a_scan_does_not_wait_for_the_network(client: WireClient, server: FaultyDynamoDB, stuck: Stuck) -> None:
    records = Batch(DynamoStore(client, TABLE)).scan(segments=4)
    next(records)
    wait_until(lambda: server.begun >= 4)
    began = time.monotonic()
    records.close()
    assert time.monotonic() - began < SOON
    # Those that are left are daemons; what they wait for is lost, and they do not try again.
    left = segments_running()
    assert len(left) == 3
    assert all(thread.daemon for thread in left)
    begun = server.begun
    server.stop()
    server.start()
    wait_until(lambda: not segments_running())
    assert server.begun == begun


def test_what_a_failed_job_waited_for_is_not_written_afterwards(
    client: WireClient, server: FaultyDynamoDB, stuck: Stuck
) -> None:
    places: list[str | None] = []

    def watch(progress: Progress) -> None:
        places.append(progress.resume)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Batch(DynamoStore(client, TABLE), watch=watch).purge_expired(segments=3)
    assert time.monotonic() - began < SOON
    wait_until(lambda: server.begun >= 3)
    release(server, stuck)
    wait_until(lambda: not segments_running())
    # The pages came, with records that have expired; but nobody counts them as done.
    assert "DeleteItem" not in stuck.operations
    (resume,) = places
    assert resume is not None
    position = Position.parse(resume, TABLE, "purge", f"at {place(DynamoStore(client, TABLE))}")
    assert position.after == ["old", None, None]
    assert position.left == [0, 1, 2]


CHILD = """
import asyncio, sys
from dynamostore import AsyncDynamoStore, DynamoStore, Table
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.wire import AsyncWireClient, Credentials, WireClient

how = dict(credentials=Credentials("a", "b"), read_timeout=30, call_timeout=60)

def main():
    with WireClient("us-east-1", sys.argv[2], **how) as client:
        records = Batch(DynamoStore(client, Table(name="sessions"))).scan(segments=4)
        next(records)
        print("reading", flush=True)
        for _ in records:
            pass

async def amain():
    async with AsyncWireClient("us-east-1", sys.argv[2], **how) as client:
        records = AsyncBatch(AsyncDynamoStore(client, Table(name="sessions"))).scan(segments=4)
        await anext(records)
        print("reading", flush=True)
        async for _ in records:
            pass

try:
    main() if sys.argv[1] == "sync" else asyncio.run(amain())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_program_that_is_interrupted_ends_at_once(server: FaultyDynamoDB, kind: str) -> None:
    command = [sys.executable, "-c", CHILD, kind, server.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "reading\n"
        wait_until(lambda: server.begun >= 4)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        said, complained = child.communicate(timeout=20)
        assert time.monotonic() - began < SOON
        assert said.endswith("interrupted\n")
        assert (complained, child.returncode) == ("", 0)


def test_a_cancelled_scan_ends_at_once_and_leaves_no_task(server: FaultyDynamoDB) -> None:
    async def main() -> None:
        async with AsyncWireClient("us-east-1", server.url, credentials=KEYS, read_timeout=30) as client:
            batch = AsyncBatch(AsyncDynamoStore(client, TABLE))

            async def read() -> None:
                async for _ in batch.scan(segments=4):
                    pass

            reading = asyncio.create_task(read())
            await asyncio.to_thread(wait_until, lambda: server.begun >= 4)
            began = time.monotonic()
            reading.cancel()
            await asyncio.wait((reading,))
            assert time.monotonic() - began < SOON
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


# How many at once


class Crowd:
    """Counts what is under way at the same time."""

    def __init__(self) -> None:
        self.segments: set[int] = set()
        self.now = self.most = 0

    async def __call__(self, request: Request) -> Reply:
        self.segments.add(request.arguments["Segment"])
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return reply(200, b'{"Items": [], "Count": 0, "ScannedCount": 0}')


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_however_many_segments_there_are_few_are_read_at_once(kind: str) -> None:
    crowd = Crowd()
    with FaultyDynamoDB(crowd) as server:
        if kind == "sync":
            most = 0

            def watch(progress: Progress) -> None:
                nonlocal most
                most = max(most, len(segments_running()))

            with WireClient("us-east-1", server.url, credentials=KEYS) as client:
                assert list(Batch(DynamoStore(client, TABLE), watch=watch).scan(segments=MAX_SEGMENTS)) == []
            assert 0 < most <= MAX_AT_ONCE
        else:

            async def main() -> None:
                async with AsyncWireClient("us-east-1", server.url, credentials=KEYS) as client:
                    batch = AsyncBatch(AsyncDynamoStore(client, TABLE))
                    assert [record async for record in batch.scan(segments=MAX_SEGMENTS)] == []

            asyncio.run(main())
    assert crowd.segments == set(range(MAX_SEGMENTS))
    assert crowd.most <= MAX_AT_ONCE


def test_a_resume_token_of_too_many_segments_is_refused(client: WireClient, server: FaultyDynamoDB) -> None:
    store = DynamoStore(client, TABLE)
    position = Position.start(TABLE, "purge", 1, f"at {place(store)}")
    position.after, position.done = [None] * 3000, [False] * 3000
    with pytest.raises(ValueError, match="the resume token has 3,000 segments; at most 256 are allowed"):
        Batch(store).purge_expired(resume=position.text)
    assert server.begun == 0


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_job_makes_do_with_the_threads_that_there_are(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    crowd = Crowd()
    start = threading.Thread.start
    left = allowed

    def start_few(thread: threading.Thread) -> None:
        nonlocal left
        if thread.name.startswith("dynamostore-segment"):
            if not left:
                raise RuntimeError("can't start new thread")
            left -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    with FaultyDynamoDB(crowd) as server, WireClient("us-east-1", server.url, credentials=KEYS) as client:
        records = Batch(DynamoStore(client, TABLE)).scan(segments=8)
        if allowed:
            assert list(records) == []
            assert len(crowd.segments) == 8
        else:
            with pytest.raises(UnavailableError, match="could not start a thread"):
                next(records)


def test_files_are_written_and_read_without_the_apps_executor(tmp_path: Path) -> None:
    """All its threads may be busy for as long as they like."""

    async def origin(request: Request) -> Reply:
        body: dict[str, Any] = {"Items": [LIVE], "Count": 1, "ScannedCount": 1} if request.operation == "Scan" else {}
        return reply(200, json.dumps(body).encode())

    async def main(url: str) -> None:
        free = threading.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            loop.set_default_executor(executor)
            async with AsyncWireClient("us-east-1", url, credentials=KEYS) as client, asyncio.timeout(10):
                store = AsyncDynamoStore(client, TABLE)
                await store.ping()
                blocked = loop.run_in_executor(None, free.wait)
                batch = AsyncBatch(store)
                try:
                    assert (await batch.export(tmp_path / "x.jsonl")).records == 1
                    assert (await batch.load(tmp_path / "x.jsonl")).done == 1
                    with pytest.raises(FileExistsError):
                        await batch.export(tmp_path / "x.jsonl")
                finally:
                    free.set()
                    await blocked

    with FaultyDynamoDB(origin) as server:
        asyncio.run(main(server.url))
