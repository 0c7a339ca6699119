"""Connections that are dead, damaged or late: which of a pool's are used again, and which replies count."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from dynamostore import UnavailableError
from dynamostore.wire import AsyncWireClient, WireClient, _sockets
from dynamostore.wire.errors import DamagedReplyError, ServiceError

from .faulty import (
    KEYS,
    KINDS,
    Driver,
    Fault,
    FaultyDynamoDB,
    Line,
    Reply,
    data_of,
    honestly,
    page,
    refusal,
    reply,
)

SETTINGS: dict[str, Any] = {"attempts": 2, "connect_timeout": 2, "read_timeout": 0.12, "call_timeout": 5}


@pytest.fixture(scope="module", params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyDynamoDB]:
    with FaultyDynamoDB() as server:
        yield server


@pytest.fixture
def server(running: FaultyDynamoDB) -> FaultyDynamoDB:
    running.forget()
    return running


@pytest.fixture
def connect(driver: Driver, server: FaultyDynamoDB) -> Iterator[Callable[..., WireClient]]:
    made: list[WireClient] = []

    def connect(**settings: Any) -> WireClient:
        made.append(driver.client(server.url, **{**SETTINGS, **settings}))
        return made[-1]

    yield connect
    for client in made:
        client.close()
    driver.assert_clean()
    server.be_still()


def get(client: WireClient, token: str = "abc") -> int:
    """Get the right item; return how many retries that took."""
    got = client.get_item(TableName="scs_session", Key={"token": {"S": token}})
    assert got["Item"]["data"]["B"] == data_of(token)
    return got["ResponseMetadata"]["RetryAttempts"]


def fill(client: WireClient, server: FaultyDynamoDB, number: int) -> None:
    """Have *number* calls at once: then so many connections are idle."""
    barrier = threading.Barrier(number)
    all_here = asyncio.Event()

    async def together(line: Line) -> None:
        answer = await line.answer()
        if server.begun == number:
            all_here.set()
        await all_here.wait()
        await line.send(answer)

    server.forget()
    server.always = together
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(lambda n: (barrier.wait(5), get(client, f"token-{n}")), range(number)))
    assert server.connections == number
    assert server.open == number


async def hold(line: Line) -> None:
    """What a NAT gateway does that has forgotten a connection: nothing."""
    await line.read()
    await line.hold()


async def reset(line: Line) -> None:
    line.reset()


async def close(line: Line) -> None:
    await line.read()
    line.close()


def dead(old: int, fault: Fault) -> Fault:
    """The first *old* connections have the *fault*, later ones none."""

    async def handle(line: Line) -> None:
        await (fault if line.number <= old else honestly)(line)

    return handle


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 2
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


# Dead connections


@pytest.mark.parametrize("fault", [hold, reset, close])
def test_when_all_idle_connections_are_dead_one_retry_is_enough(
    connect: Callable[..., WireClient], server: FaultyDynamoDB, fault: Fault
) -> None:
    client, idle = connect(), 4
    fill(client, server, idle)
    server.always = dead(idle, fault)
    begun = time.monotonic()
    assert get(client) == 1
    # One time-out, where there is one, and not one for each of them.
    assert time.monotonic() - begun < 2 * SETTINGS["read_timeout"] + 0.5
    assert server.connections == idle + 1
    # They were all dropped at once.
    until(lambda: server.open == 1)
    assert get(client) == 0
    assert server.connections == idle + 1


def test_a_connection_that_was_heard_of_since_is_kept_and_the_retry_is_on_a_new_one(
    connect: Callable[..., WireClient], server: FaultyDynamoDB
) -> None:
    client = connect()
    fill(client, server, 2)
    silent: list[int] = []
    met = threading.Event()

    async def first_silent(line: Line) -> None:
        await line.read()
        if not silent:
            silent.append(line.number)
            met.set()
            await line.hold()
        await honestly(line)

    server.always = first_silent
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, client)
        assert met.wait(2)
        # On the other one, while the first call waits: it lives.
        assert get(client) == 0
        assert server.connections == 2
        assert waiting.result(5) == 1
    # So it is kept; but nobody knows whether it still lives: the retry did not ask.
    assert server.connections == 3
    until(lambda: server.open == 2)


def test_a_new_connection_that_is_silent_says_nothing_of_the_others(
    connect: Callable[..., WireClient], server: FaultyDynamoDB
) -> None:
    client = connect(attempts=3)
    fill(client, server, 1)
    met, go = threading.Event(), asyncio.Event()

    async def busy(line: Line) -> None:
        await line.read()
        if line.number == 1:
            met.set()
            await go.wait()
        elif line.number in (2, 3):
            # When the second of them is begun, the busy one is idle again.
            go.set()
            await line.hold()
        await honestly(line)

    server.always = busy
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(get, client)
        assert met.wait(2)
        assert get(client) == 2
        assert first.result(5) == 0
    assert server.connections == 4
    until(lambda: server.open == 2)


def test_a_caller_that_gives_up_on_a_silent_connection_drops_the_older_ones(
    monkeypatch: pytest.MonkeyPatch, server: FaultyDynamoDB
) -> None:
    monkeypatch.setattr(_sockets, "SILENCE", 0.05)

    async def main() -> None:
        async with AsyncWireClient("us-east-1", server.url, credentials=KEYS, **SETTINGS) as client:

            async def call() -> object:
                return await client.get_item(TableName="scs_session", Key={"token": {"S": "abc"}})

            await asyncio.gather(*(call() for _ in range(3)))
            server.always = dead(3, hold)
            # At once, as when a browser has gone: that says nothing.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await call()
            assert client._driver.pool is not None
            assert len(client._driver.pool._idle) == 2
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await call()
            assert len(client._driver.pool._idle) == 0
            await call()

    with Driver("asyncio") as driver:
        driver.run(main())
    assert server.connections == 4
    server.be_still()


def test_a_retry_on_a_new_connection_is_not_one_connection_too_many(server: FaultyDynamoDB) -> None:
    async def main() -> None:
        async with AsyncWireClient("us-east-1", server.url, credentials=KEYS, max_connections=2, **SETTINGS) as client:
            # Long enough for other calls.
            client._setup.caller._random = lambda: 6.0

            async def call() -> object:
                return await client.get_item(TableName="scs_session", Key={"token": {"S": "abc"}})

            server.script(reset)
            failed = asyncio.create_task(call())
            while server.begun == 0:  # noqa: ASYNC110 (the server is in another thread)
                await asyncio.sleep(0.001)
            # While the first call waits for its retry, two others leave as many connections as there may be.
            await asyncio.sleep(0.02)
            await asyncio.gather(call(), call())
            assert not failed.done()
            await failed
            assert client._driver.pool is not None
            assert len(client._driver.pool._all) == 2

    with Driver("asyncio") as driver:
        driver.run(main())
    assert server.connections == 4
    server.be_still()


# Damaged replies


async def _say(line: Line, answer: Reply | bytes) -> None:
    await line.read()
    await line.send(answer)


def say(answer: Reply | bytes) -> Fault:
    return lambda line: _say(line, answer)


DAMAGED = {
    "another checksum": reply(200, b"{}", "x-amz-crc32: 1"),
    "a refusal with another checksum": refusal(400, "ResourceNotFoundException", "x-amz-crc32: 1"),
    "a proxy's page": page(200),
    "a log-in page": page(403),
    "broken JSON": reply(200, b"{]"),
    "another shape": reply(200, b'{"Item": []}'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_reply_takes_its_connection_with_it(
    connect: Callable[..., WireClient], server: FaultyDynamoDB, name: str
) -> None:
    client = connect(attempts=3)
    assert get(client) == 0
    server.always = say(DAMAGED[name])
    with pytest.raises(DamagedReplyError):
        get(client)
    # The one that was good before, and two more.
    assert server.connections == 3
    until(lambda: server.open == 0)
    server.script(honestly, say(DAMAGED[name]), honestly)
    assert get(client) == 0
    assert get(client) == 1
    assert server.connections == 5


@pytest.mark.parametrize("status", [502, 503])
def test_an_outage_that_dynamodb_has_not_reported_takes_its_connection_with_it(
    connect: Callable[..., WireClient], server: FaultyDynamoDB, status: int
) -> None:
    client = connect()
    server.script(say(page(status)), honestly)
    assert get(client) == 1
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer", [refusal(400, "ConditionalCheckFailedException"), refusal(500, "InternalServerError")]
)
def test_a_refusal_of_dynamodb_s_leaves_its_connection(
    connect: Callable[..., WireClient], server: FaultyDynamoDB, answer: Reply
) -> None:
    client = connect(attempts=1)
    server.script(say(answer), honestly)
    with pytest.raises(ServiceError):
        get(client)
    assert get(client) == 0
    assert server.connections == 1


def test_what_follows_a_damaged_reply_is_no_reply_to_its_retry(
    driver: Driver, connect: Callable[..., WireClient], server: FaultyDynamoDB
) -> None:
    # Something on the way answers the first request twice, and the second answer comes when the retry is under way.
    async def twice(line: Line) -> None:
        await line.read()
        await line.send(reply(200, b"{}", "x-amz-crc32: 1"))
        await line.begin()
        await line.read()
        await line.send(reply(200, b"{}"))

    client = connect()
    server.always = twice
    with pytest.raises(UnavailableError):
        driver.store(client).save("tok", b"x", datetime(2100, 1, 1, tzinfo=UTC))
    assert server.connections == 2


# Replies that came while the process was frozen

CHILD = """
import asyncio, sys
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
kind, url = sys.argv[1:]
settings = dict(credentials=Credentials("key", "secret"), attempts=1, read_timeout=0.2, call_timeout=0.4)
calls = [dict(TableName="scs_session", Key={"token": {"S": token}}) for token in ("warm", "small", "large")]
def say(reply):
    print(reply["ResponseMetadata"]["HTTPStatusCode"], reply["Item"]["token"]["S"], flush=True)
if kind == "sync":
    with WireClient("us-east-1", url, **settings) as client:
        for call in calls:
            say(client.get_item(**call))
else:
    async def main():
        async with AsyncWireClient("us-east-1", url, **settings) as client:
            for call in calls:
                say(await client.get_item(**call))
    if kind == "uvloop":
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing freezes a process here")
def test_a_reply_that_came_while_the_process_was_frozen_is_one(server: FaultyDynamoDB) -> None:
    children: dict[str, subprocess.Popen[str]] = {}
    frozen: list[str] = []

    async def freeze(line: Line) -> None:
        request = await line.read()
        token = request.arguments["Key"]["token"]["S"]
        kind = KINDS[line.number - 1]
        if token == "warm":
            await honestly(line)
            return
        child = children[kind]
        answer = await line.answer()
        if token == "large":
            body = answer.body[:-2] + b',"beside":{"S":"' + b"a" * 300_000 + b'"}}}'
            answer = reply(200, body)
        os.kill(child.pid, signal.SIGSTOP)
        frozen.append(kind)
        # A large one does not fit into the socket, and is sent to its end when the process is awake.
        sending = asyncio.create_task(line.send(answer))
        # Longer than either time-out.
        await asyncio.sleep(0.6)
        os.kill(child.pid, signal.SIGCONT)
        await sending

    def server_has(connections: int) -> bool:
        return server.connections == connections

    said: dict[str, str] = {}
    server.always = freeze
    # One after the other is their first connection, so that each is known by its number.
    for number, kind in enumerate(KINDS, 1):
        children[kind] = subprocess.Popen(
            [sys.executable, "-c", CHILD, kind, server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(partial(server_has, number))
    for name, child in children.items():
        out, err = child.communicate(timeout=20)
        said[name] = out + err
    assert said == dict.fromkeys(KINDS, "200 warm\n200 small\n200 large\n")
    assert sorted(frozen) == sorted([*KINDS, *KINDS])
