"""The stores that the tests run against, and the servers behind them: moto, ministack, dynalite, any other.

A server is started when it is first asked for, on a free port, and stops with the test run.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import moto
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dynamostore import DynamoStore, MemoryStore, Store, Table
from dynamostore._faults import Unsupported
from dynamostore._instants import Clock
from dynamostore.local import LocalDynamoDB

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DYNALITE = Path(__file__).parent / "servers/node_modules/dynalite/cli.js"
SERVERS = ("moto", "ministack", "dynalite", *(["endpoint"] if "DYNAMOSTORE_TEST_ENDPOINT" in os.environ else []))
STORES = ("memory", *SERVERS)
TABLE = Table(name="scs_session")


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
    """A server with a table, by name; *client* talks to it."""

    name: str
    client: DynamoDBClient

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
            return not isinstance(self.store()._explain(error, operation), Unsupported)
        return True


class Backends:
    """The servers of a test run, started as they are needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Backend] = {}

    def server(self, name: str) -> Backend:
        """The server *name*, running, with the table; skips the test where it cannot be had."""
        if name not in self._running:
            backend = Backend(name, make_client(self._start(name)))
            backend.store().create_table()
            self._running[name] = backend
        return self._running[name]

    def store(self, name: str, clock: Clock) -> Store:
        return MemoryStore(clock=clock) if name == "memory" else self.server(name).store(clock)

    def available(self) -> list[str]:
        """The stores that can be had here, the one in memory first."""
        return [name for name in STORES if missing(name) is None]

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
                return self._stack.enter_context(_dynalite())
            case _:
                return os.environ["DYNAMOSTORE_TEST_ENDPOINT"]


def missing(name: str) -> str | None:
    """Why a store cannot be had here; None if it can."""
    if name == "dynalite":
        if shutil.which("node") is None:
            return "dynalite: Node is not installed"
        if not DYNALITE.exists():
            return "dynalite is not installed: npm install --prefix tests/servers"
    return None


@contextmanager
def _dynalite() -> Iterator[str]:
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
