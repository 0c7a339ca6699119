"""One client that calls the endpoints of two accounts: each keeps its connections, and there are not too many of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dynamostore.client import Item
from dynamostore.wire import AsyncWireClient, WireClient
from dynamostore.wire._core import Endpoint
from dynamostore.wire._setup import Setup

from .faulty import KEYS, KINDS, Driver, FaultyDynamoDB, data_of

KEY: Item = {"token": {"S": "abc"}}
OURS, THEIRS = "scs_session", "arn:aws:dynamodb:us-east-1:222222222222:table/sessions"


def lead_there(setup: Setup, server: FaultyDynamoDB) -> None:
    """Have calls about THEIRS go to *server*, as if it were that account's endpoint."""
    setup._accounts._suffix = "ddb.us-east-1.amazonaws.com"
    setup._accounts._known[THEIRS] = Endpoint.parse(server.url)


@pytest.fixture
def servers() -> Iterator[tuple[FaultyDynamoDB, FaultyDynamoDB]]:
    with FaultyDynamoDB() as ours, FaultyDynamoDB() as theirs:
        yield ours, theirs


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(request.param) as driver:
        yield driver


def connect(driver: Driver, servers: tuple[FaultyDynamoDB, FaultyDynamoDB], **settings: Any) -> WireClient:
    client = driver.client(servers[0].url, **settings)
    lead_there(getattr(client, "client", client)._setup, servers[1])
    return client


def get(client: WireClient, table: str) -> None:
    got = client.get_item(TableName=table, Key=KEY)
    assert got["Item"]["data"]["B"] == data_of("abc")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 2
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_calls_by_turns_take_one_connection_each(
    driver: Driver, servers: tuple[FaultyDynamoDB, FaultyDynamoDB]
) -> None:
    client = connect(driver, servers)
    for _ in range(4):
        get(client, OURS)
        get(client, THEIRS)
        get(client, THEIRS)
    assert [server.connections for server in servers] == [1, 1]
    client.close()
    driver.assert_clean()
    for server in servers:
        server.be_still()


def test_a_connection_that_is_lost_is_replaced_and_the_others_stay(
    driver: Driver, servers: tuple[FaultyDynamoDB, FaultyDynamoDB]
) -> None:
    client = connect(driver, servers)
    get(client, THEIRS)
    get(client, OURS)
    servers[1].stop()
    servers[1].start()
    get(client, OURS)
    get(client, THEIRS)
    get(client, OURS)
    assert [server.connections for server in servers] == [1, 2]
    client.close()


def test_a_connection_that_is_not_called_any_more_is_closed(
    driver: Driver, servers: tuple[FaultyDynamoDB, FaultyDynamoDB]
) -> None:
    client = connect(driver, servers, keep_idle=0.05)
    get(client, THEIRS)

    def is_closed() -> bool:
        get(client, OURS)
        return servers[1].open == 0

    until(is_closed)
    client.close()


def test_threads_that_call_by_turns_share_the_connections(servers: tuple[FaultyDynamoDB, FaultyDynamoDB]) -> None:
    with Driver("sync") as driver:
        client = connect(driver, servers)

        def work(number: int) -> None:
            for turn in range(30):
                get(client, (OURS, THEIRS)[(turn + number) % 2])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        # As many as there were calls at once, or a few more: a thread that looks has one in its hands.
        assert all(server.connections <= 8 for server in servers)
        client.close()


def test_there_are_never_more_connections_than_allowed(servers: tuple[FaultyDynamoDB, FaultyDynamoDB]) -> None:
    async def main() -> None:
        async with AsyncWireClient("us-east-1", servers[0].url, credentials=KEYS, max_connections=3) as client:
            lead_there(client._setup, servers[1])
            most = 0

            async def call(number: int) -> None:
                nonlocal most
                await client.get_item(TableName=(OURS, THEIRS)[number % 2], Key=KEY)
                pool = client._driver.pool
                assert pool is not None
                most = max(most, len([connection for connection in pool._all if not connection.lost]))

            for at_once in (1, 2, 3, 7, 1, 2, 3):
                await asyncio.gather(*(call(number + at_once) for number in range(at_once)))
            assert most == 3

    with Driver("asyncio") as driver:
        driver.run(main())
        driver.assert_clean()
