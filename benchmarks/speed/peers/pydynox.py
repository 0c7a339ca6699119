"""pydynox: its client, which is faster than its models; the core is Rust, with threads of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from benchmarks.speed.stored import REGION

__all__ = ["async_client", "client"]


class _Dynamo(Protocol):
    """What is used of ``DynamoDBClient``."""

    def sync_get_item(self, table: str, key: Mapping[str, str], consistent_read: bool) -> Mapping[str, bytes]: ...

    def sync_update_item(
        self,
        table: str,
        key: Mapping[str, str],
        *,
        update_expression: str,
        condition_expression: str,
        expression_attribute_names: Mapping[str, str],
        expression_attribute_values: Mapping[str, bytes | int],
    ) -> object: ...

    async def get_item(self, table: str, key: Mapping[str, str], consistent_read: bool) -> Mapping[str, bytes]: ...

    async def update_item(
        self,
        table: str,
        key: Mapping[str, str],
        *,
        update_expression: str,
        condition_expression: str,
        expression_attribute_names: Mapping[str, str],
        expression_attribute_values: Mapping[str, bytes | int],
    ) -> object: ...


def client(url: str, table: str, pool: int) -> _Client:  # noqa: ARG001 (it has as many connections as it needs)
    """Its client, by the methods named ``sync_``."""
    return _Client(_connect(url), table)


async def async_client(url: str, table: str, pool: int) -> _AsyncClient:  # noqa: ARG001 (as above)
    """Its client, by the methods that are awaited."""
    return _AsyncClient(_connect(url), table)


def _connect(url: str) -> _Dynamo:
    from pydynox import DynamoDBClient

    connected: _Dynamo = DynamoDBClient(region=REGION, endpoint_url=url)
    return connected


class _Client:
    def __init__(self, dynamo: _Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    def find(self, token: str) -> bytes:
        return self._dynamo.sync_get_item(self._table, {"token": token}, consistent_read=True)["data"]

    def writer(self, token: str) -> Callable[[bytes], object]:
        from .update import CONDITION, NAMES, UPDATE, Versions, plain

        versions = Versions()
        return lambda data: self._dynamo.sync_update_item(
            self._table,
            {"token": token},
            update_expression=UPDATE,
            condition_expression=CONDITION,
            expression_attribute_names=NAMES,
            expression_attribute_values=plain(data, versions),
        )


class _AsyncClient:
    def __init__(self, dynamo: _Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    async def find(self, token: str) -> bytes:
        return (await self._dynamo.get_item(self._table, {"token": token}, consistent_read=True))["data"]

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]:
        from .update import CONDITION, NAMES, UPDATE, Versions, plain

        versions = Versions()
        return lambda data: self._dynamo.update_item(
            self._table,
            {"token": token},
            update_expression=UPDATE,
            condition_expression=CONDITION,
            expression_attribute_names=NAMES,
            expression_attribute_values=plain(data, versions),
        )

    async def close(self) -> None:
        """Nothing: it has no end."""
