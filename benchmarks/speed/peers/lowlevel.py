"""Clients with the calls of DynamoDB's low-level API: boto3's and aiobotocore's, and ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dynamostore.client import AttributeValue, GetItemReply, Item

__all__ = ["AsyncCalls", "Calls", "LowLevel", "LowLevelAsync"]


class Calls(Protocol):
    """The two calls that are measured."""

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> GetItemReply: ...  # noqa: N803

    def update_item(
        self,
        *,
        TableName: str,  # noqa: N803
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str,  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str],  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
    ) -> object: ...


class AsyncCalls(Protocol):
    """The two calls that are measured, awaited."""

    async def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> GetItemReply: ...  # noqa: N803

    async def update_item(
        self,
        *,
        TableName: str,  # noqa: N803
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str,  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str],  # noqa: N803
        ExpressionAttributeValues: Item,  # noqa: N803
    ) -> object: ...


class LowLevel:
    """A `Client` on *calls*."""

    def __init__(self, calls: Calls, table: str) -> None:
        self._calls = calls
        self._table = table

    def find(self, token: str) -> bytes:
        reply = self._calls.get_item(TableName=self._table, Key={"token": {"S": token}}, ConsistentRead=True)
        return reply["Item"]["data"]["B"]

    def writer(self, token: str) -> Callable[[bytes], object]:
        from .update import CONDITION, NAMES, UPDATE, Versions, attributes

        key: dict[str, AttributeValue] = {"token": {"S": token}}
        versions = Versions()
        return lambda data: self._calls.update_item(
            TableName=self._table,
            Key=key,
            UpdateExpression=UPDATE,
            ConditionExpression=CONDITION,
            ExpressionAttributeNames=NAMES,
            ExpressionAttributeValues=attributes(data, versions),
        )


class LowLevelAsync:
    """An `AsyncClient` on *calls*; *close* is theirs."""

    def __init__(self, calls: AsyncCalls, table: str, close: Callable[[], Awaitable[object]]) -> None:
        self._calls = calls
        self._table = table
        self._close = close

    async def find(self, token: str) -> bytes:
        reply = await self._calls.get_item(TableName=self._table, Key={"token": {"S": token}}, ConsistentRead=True)
        return reply["Item"]["data"]["B"]

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]:
        from .update import CONDITION, NAMES, UPDATE, Versions, attributes

        key: dict[str, AttributeValue] = {"token": {"S": token}}
        versions = Versions()
        return lambda data: self._calls.update_item(
            TableName=self._table,
            Key=key,
            UpdateExpression=UPDATE,
            ConditionExpression=CONDITION,
            ExpressionAttributeNames=NAMES,
            ExpressionAttributeValues=attributes(data, versions),
        )

    async def close(self) -> None:
        await self._close()
