"""The stores that the tests run against, and the servers behind them: moto, ministack, dynalite, any other.

A server is started when it is first asked for, on a free port, and stops with the test run. A store is on a boto3 client,
or (*server* over *driver*) on one of the others: the wire client, sync or async (then behind a `BlockingStore`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import moto
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamostore import AsyncDynamoStore, AsyncMemoryStore, DynamoStore, MemoryStore, Store, Table
from dynamostore.client import AsyncDynamoClient, DynamoClient
from dynamostore.instants import Clock
from dynamostore.local import LocalDynamoDB
from dynamostore.testing import BlockingStore, LoopThread
from dynamostore.wire import AsyncWireClient, Credentials, WireClient

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DYNALITE = Path(__file__).parent / "servers/node_modules/dynalite/cli.js"
SERVERS = ("moto", "ministack", "dynalite", *(["endpoint"] if "DYNAMOSTORE_TEST_ENDPOINT" in os.environ else []))
STORES = ("memory", "async memory", *SERVERS)
DRIVERS = ("wire", "async wire", "aiobotocore")
OVER = (
    *(f"ministack over {driver}" for driver in DRIVERS),
    *(f"{server} over {driver}" for server in SERVERS[2:] for driver in DRIVERS[:2]),
)
"""The stores on other clients than boto3's; moto answers in this process, and only boto3."""
TABLE = Table(name="scs_session")
KEYS = Credentials("key", "secret")

C = TypeVar("C")


def make_client(endpoint_url: str | None) -> DynamoDBClient:
    """A boto3 client that a test can wait for: one try, and no waiting for what will not come."""
    config = Config(
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=16,
        parameter_validation=False,
    )
    return boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint_url, config=config)


@dataclass
class Backend:
    """A server with a table, by name, at *url* (moto has none); *client* talks to it."""

    name: str
    client: DynamoDBClient
    url: str | None = None

    def store(
        self, clock: Clock = time.time_ns, *, consistent_read: bool = True, evict_expired: bool = True
    ) -> DynamoStore:
        return DynamoStore(
            self.client, TABLE, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock
        )

    @cached_property
    def has_transactions(self) -> bool:
        """Whether the server has TransactWriteItems."""
        return self._knows("transact_write_items", TransactItems=[])

    @cached_property
    def has_ttl(self) -> bool:
        """Whether the server has UpdateTimeToLive."""
        specification = {"Enabled": True, "AttributeName": TABLE.ttl}
        return self._knows("update_time_to_live", TableName=TABLE.name, TimeToLiveSpecification=specification)

    @cached_property
    def is_strict(self) -> bool:
        """Whether the server refuses what DynamoDB refuses (a number of 39 digits, for one)."""
        try:
            self.client.put_item(TableName=TABLE.name, Item={"token": {"S": "probe"}, "n": {"N": "1" * 39}})
        except ClientError:
            return True
        return False

    def _knows(self, operation: str, **arguments: object) -> bool:
        try:
            getattr(self.client, operation)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"] != "UnknownOperationException"
        return True


class Backends:
    """The servers of a test run, started as they are needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Backend] = {}
        self._clients: dict[str, Any] = {}

    def server(self, name: str) -> Backend:
        """The server *name*, running, with the table; skips the test where it cannot be had."""
        if name not in self._running:
            url = self._start(name)
            backend = Backend(name, make_client(url), url)
            backend.store().create_table()
            self._running[name] = backend
        return self._running[name]

    def store(self, name: str, clock: Clock) -> Store:
        if name == "memory":
            return MemoryStore(clock=clock)
        if name == "async memory":
            return BlockingStore(AsyncMemoryStore(clock=clock), self.loop)
        server, _, driver = name.partition(" over ")
        backend = self.server(server)
        # A table for each, so that they can be run in lockstep.
        table = Table(name=f"{TABLE.name}-{driver.replace(' ', '-')}")
        if driver and name not in self._clients:
            DynamoStore(backend.client, table).create_table()
        match driver:
            case "":
                return backend.store(clock)
            case "wire":
                client: DynamoClient = self._client(name, lambda: self._stack.enter_context(wire_client(backend.url)))
                return DynamoStore(client, table, clock=clock)
            case _:
                make = async_wire_client if driver == "async wire" else aiobotocore_client
                aclient: AsyncDynamoClient = self._client(name, lambda: self._enter(make(backend.url)))
                return BlockingStore(AsyncDynamoStore(aclient, table, clock=clock), self.loop)

    def available(self) -> list[str]:
        """The stores that can be had here, the one in memory first."""
        return [name for name in (*STORES, *OVER) if missing(name.partition(" over ")[0]) is None]

    @cached_property
    def loop(self) -> LoopThread:
        """The event loop of all async clients."""
        return self._stack.enter_context(LoopThread())

    def _client(self, name: str, make: Callable[[], C]) -> C:
        if name not in self._clients:
            self._clients[name] = make()
        client: C = self._clients[name]
        return client

    def _enter(self, context: AbstractAsyncContextManager[C]) -> C:
        """Enter an async context manager, and leave it when all is over."""
        entered = self.loop.run(context.__aenter__())
        self._stack.callback(lambda: self.loop.run(context.__aexit__(None, None, None)))
        return entered

    def _start(self, name: str) -> str | None:
        if reason := missing(name):
            pytest.skip(reason)
        match name:
            case "moto":
                self._stack.enter_context(moto.mock_aws())
                return None
            case "ministack":
                return self._stack.enter_context(LocalDynamoDB()).url
            case "dynalite":
                return self._stack.enter_context(dynalite())
            case _:
                return os.environ["DYNAMOSTORE_TEST_ENDPOINT"]


def wire_client(url: str | None) -> WireClient:
    return WireClient("us-east-1", url, credentials=KEYS, attempts=1, read_timeout=5)


def async_wire_client(url: str | None) -> AsyncWireClient:
    return AsyncWireClient("us-east-1", url, credentials=KEYS, attempts=1, read_timeout=5)


def aiobotocore_client(url: str | None) -> AbstractAsyncContextManager[AsyncDynamoClient]:
    config = AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, parameter_validation=False)
    session = get_session()
    return session.create_client("dynamodb", region_name="us-east-1", endpoint_url=url, config=config)


def missing(name: str) -> str | None:
    """Why a store cannot be had here; None if it can."""
    if name == "dynalite":
        if shutil.which("node") is None:
            return "dynalite: Node is not installed"
        if not DYNALITE.exists():
            return "dynalite is not installed: npm install --prefix tests/servers"
    return None


@contextmanager
def dynalite() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["node", str(DYNALITE), "--host", "127.0.0.1", "--port", str(port), "--createTableMs", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
