"""What a session costs elsewhere: the last write wins, or there is a lock. Just the calls, on one item."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import msgspec

from dynamostore import DynamoStore, items
from dynamostore.client import Item
from dynamostore.wire import ServiceError

__all__ = ["LastWriteWins", "Locked"]


class _OneItem:
    """A session that is one item with its data as JSON, under a token of its own."""

    def __init__(self, store: DynamoStore, size: int) -> None:
        self._store = store
        self._key = items.key(store.table, secrets.token_urlsafe(32))
        # With attributes like those of ours, so that both items are of one size.
        expiry_ns = time.time_ns() + 3600 * 10**9
        self._beside = {"expiry": items.number(expiry_ns), "ttl": items.number(items.ttl(expiry_ns))}
        self._put(_encode({"filler": "x" * size}))

    def counter(self) -> int:
        return _decode(self._get()).get("counter", 0)  # type: ignore[return-value]  # the counter is an int

    def _get(self) -> Item:
        # Consistent, as ours are: others often read eventually, for half the price.
        return self._store.client.get_item(TableName=self._store.table.name, Key=self._key, ConsistentRead=True)["Item"]

    def _put(self, data: bytes) -> None:
        item = {**self._key, **self._beside, "data": {"B": data}}
        self._store.client.put_item(TableName=self._store.table.name, Item=item)  # type: ignore[arg-type]  # as above


class LastWriteWins(_OneItem):
    """Read, change, put: whatever others have written meanwhile is overwritten."""

    def request(self, own: str, think: Callable[[], None]) -> None:
        item = self._get()
        think()
        self._put(_changed(item, own))


class Locked(_OneItem):
    """A lock in the item, taken by a conditional update and asked for again every half second.

    As AWS's session provider for .NET and ASP.NET's polling have it: an update takes the lock and returns the
    item; if it is refused, the item is read (for the age of the lock), and the request waits.
    """

    POLL = 0.5

    def request(self, own: str, think: Callable[[], None]) -> None:
        holder = secrets.token_hex(8)
        while (item := self._take(holder)) is None:
            self._get()
            time.sleep(self.POLL)
        think()
        self._update("SET #data = :data REMOVE #lock", "#lock = :holder", holder, {":data": {"B": _changed(item, own)}})

    def _take(self, holder: str) -> Item | None:
        try:
            return self._update("SET #lock = :holder", "attribute_not_exists(#lock)", holder, {})
        except ServiceError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            return None

    def _update(self, update: str, condition: str, holder: str, values: Item) -> Item:
        names = {"#lock": "lock", **({"#data": "data"} if values else {})}
        reply = self._store.client.update_item(  # type: ignore[call-arg]  # ReturnValues is none of ours
            TableName=self._store.table.name,
            Key=self._key,
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":holder": {"S": holder}, **values},
            ReturnValues="ALL_NEW",
            # The item comes back with a refusal, at no charge: the meter looks at its size.
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return reply["Attributes"]  # type: ignore[index,no-any-return]


def _changed(item: Item, own: str) -> bytes:
    data = _decode(item)
    for key in (own, "counter"):
        data[key] = int(str(data.get(key, 0))) + 1
    return _encode(data)


def _decode(item: Item) -> dict[str, object]:
    return msgspec.json.decode(item["data"]["B"], type=dict[str, object])


def _encode(data: dict[str, object]) -> bytes:
    return msgspec.json.encode(data)
