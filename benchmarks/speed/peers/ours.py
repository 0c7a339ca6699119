"""dynamostore: the store on boto3, on its wire client, and that client alone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

from benchmarks.speed.stored import REGION

from .lowlevel import LowLevel, LowLevelAsync

if TYPE_CHECKING:
    from dynamostore import AsyncDynamoStore, DynamoStore
    from dynamostore.wire import AsyncWireClient, WireClient

__all__ = ["async_wire", "make_async_wire", "make_wire", "on_async_wire", "on_boto3", "on_wire", "wire"]


def make_wire(url: str) -> WireClient:
    """The wire client."""
    from dynamostore.wire import WireClient

    return WireClient(region=REGION, endpoint_url=url, ca_bundle=os.environ.get("AWS_CA_BUNDLE"))


def make_async_wire(url: str, pool: int) -> AsyncWireClient:
    """The wire client for async."""
    from dynamostore.wire import AsyncWireClient

    ca = os.environ.get("AWS_CA_BUNDLE")
    # Its own limit is 50 connections, for as many tasks.
    return AsyncWireClient(region=REGION, endpoint_url=url, ca_bundle=ca, max_connections=max(pool, 50))


def on_boto3(url: str, table: str, pool: int) -> _Store:
    """What `dynamostore.connect` makes on boto3."""
    import dynamostore

    return _Store(dynamostore.connect(table, via="boto3", region=REGION, endpoint_url=url, threads=pool))


def wire(url: str, table: str, pool: int) -> LowLevel:  # noqa: ARG001 (it has as many connections as it needs)
    """The wire client, without a store."""
    return LowLevel(make_wire(url), table)


def on_wire(url: str, table: str, pool: int) -> _Store:  # noqa: ARG001 (as above)
    """A store on the wire client."""
    from dynamostore import DynamoStore, Table

    return _Store(DynamoStore(make_wire(url), Table(name=table)))


async def async_wire(url: str, table: str, pool: int) -> LowLevelAsync:
    """The async wire client, without a store."""
    client = make_async_wire(url, pool)
    return LowLevelAsync(client, table, client.close)


async def on_async_wire(url: str, table: str, pool: int) -> _AsyncStore:
    """An async store on the async wire client."""
    from dynamostore import AsyncDynamoStore, Table

    client = make_async_wire(url, pool)
    return _AsyncStore(AsyncDynamoStore(client, Table(name=table)), client.close)


class _Store:
    def __init__(self, store: DynamoStore) -> None:
        self._store = store

    def find(self, token: str) -> bytes:
        record = self._store.find(token)
        assert record is not None
        return record.data

    def writer(self, token: str) -> Callable[[bytes], object]:
        record = self._store.find(token)
        assert record is not None
        expiry: datetime = record.expiry

        def write(data: bytes) -> object:
            nonlocal record
            assert record is not None
            record = self._store.replace(record, data, expiry)
            return record

        return write


class _AsyncStore:
    def __init__(self, store: AsyncDynamoStore, close: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._close = close

    async def find(self, token: str) -> bytes:
        record = await self._store.find(token)
        assert record is not None
        return record.data

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]:
        record = await self._store.find(token)
        assert record is not None
        expiry: datetime = record.expiry

        async def write(data: bytes) -> object:
            nonlocal record
            assert record is not None
            record = await self._store.replace(record, data, expiry)
            return record

        return write

    async def close(self) -> None:
        await self._close()
