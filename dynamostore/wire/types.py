"""The operations: `Operation`, and typed dicts of their keyword arguments and replies.

The names are DynamoDB's: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/
"""

# No `from __future__ import annotations`: `Operation` reads at run time which keys are required.

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, NotRequired, TypeAlias, TypedDict, TypeVar

import msgspec

from dynamostore import client
from dynamostore.client import AttributeDefinition, Item, KeySchemaElement, TimeToLiveSpecification

from ._base64 import item_reader

__all__ = [
    "BATCH_GET_ITEM",
    "BATCH_WRITE_ITEM",
    "CREATE_TABLE",
    "DELETE_ITEM",
    "DELETE_TABLE",
    "DESCRIBE_CONTINUOUS_BACKUPS",
    "DESCRIBE_TABLE",
    "DESCRIBE_TIME_TO_LIVE",
    "GET_ITEM",
    "PUT_ITEM",
    "SCAN",
    "TRANSACT_WRITE_ITEMS",
    "UPDATE_ITEM",
    "UPDATE_TIME_TO_LIVE",
    "BatchGetItem",
    "BatchGetItemReply",
    "BatchWriteItem",
    "BatchWriteItemReply",
    "ConsumedCapacity",
    "CreateTable",
    "DeleteItem",
    "DescribeContinuousBackupsReply",
    "DescribeTableReply",
    "DescribeTimeToLiveReply",
    "GetItem",
    "GetItemReply",
    "Operation",
    "PutItem",
    "Reply",
    "ResponseMetadata",
    "Scan",
    "ScanReply",
    "TableName",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTimeToLive",
    "WriteItemReply",
]

Capacity: TypeAlias = Literal["INDEXES", "TOTAL", "NONE"]
OnRefusal: TypeAlias = Literal["ALL_OLD", "NONE"]


# Arguments


class TableName(TypedDict):
    """The arguments of operations that take only a table."""

    TableName: str


class GetItem(TypedDict):
    """The arguments of GetItem."""

    TableName: str
    Key: Item
    ConsistentRead: NotRequired[bool]
    ProjectionExpression: NotRequired[str]
    ExpressionAttributeNames: NotRequired[Mapping[str, str]]
    ReturnConsumedCapacity: NotRequired[Capacity]


class _Conditional(TypedDict, total=False):
    ConditionExpression: str
    ExpressionAttributeNames: Mapping[str, str]
    ExpressionAttributeValues: Item
    ReturnValuesOnConditionCheckFailure: OnRefusal
    ReturnConsumedCapacity: Capacity
    ReturnItemCollectionMetrics: Literal["SIZE", "NONE"]


class PutItem(_Conditional):
    """The arguments of PutItem."""

    TableName: str
    Item: Item
    ReturnValues: NotRequired[Literal["NONE", "ALL_OLD"]]


class UpdateItem(_Conditional):
    """The arguments of UpdateItem."""

    TableName: str
    Key: Item
    UpdateExpression: NotRequired[str]
    ReturnValues: NotRequired[Literal["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"]]


class DeleteItem(_Conditional):
    """The arguments of DeleteItem."""

    TableName: str
    Key: Item
    ReturnValues: NotRequired[Literal["NONE", "ALL_OLD"]]


class TransactWriteItems(TypedDict):
    """The arguments of TransactWriteItems. By default, the client generates a ``ClientRequestToken``."""

    TransactItems: Sequence[Mapping[str, object]]
    ClientRequestToken: NotRequired[str]
    ReturnConsumedCapacity: NotRequired[Capacity]
    ReturnItemCollectionMetrics: NotRequired[Literal["SIZE", "NONE"]]


class Scan(TypedDict):
    """The arguments of Scan."""

    TableName: str
    ConsistentRead: NotRequired[bool]
    ExclusiveStartKey: NotRequired[Item]
    ExpressionAttributeNames: NotRequired[Mapping[str, str]]
    ExpressionAttributeValues: NotRequired[Item]
    FilterExpression: NotRequired[str]
    IndexName: NotRequired[str]
    Limit: NotRequired[int]
    ProjectionExpression: NotRequired[str]
    ReturnConsumedCapacity: NotRequired[Capacity]
    Segment: NotRequired[int]
    Select: NotRequired[Literal["ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"]]
    TotalSegments: NotRequired[int]


class KeysAndAttributes(TypedDict):
    """The keys and attributes that BatchGetItem reads from one table."""

    Keys: Sequence[Item]
    ConsistentRead: NotRequired[bool]
    ProjectionExpression: NotRequired[str]
    ExpressionAttributeNames: NotRequired[Mapping[str, str]]


class BatchGetItem(TypedDict):
    """The arguments of BatchGetItem: up to 100 different keys."""

    RequestItems: Mapping[str, KeysAndAttributes]
    ReturnConsumedCapacity: NotRequired[Capacity]


class PutRequest(TypedDict):
    """An item that BatchWriteItem puts."""

    Item: Item


class DeleteRequest(TypedDict):
    """An item that BatchWriteItem deletes."""

    Key: Item


class WriteRequest(TypedDict, total=False):
    """One write of BatchWriteItem. Set one of the two keys."""

    PutRequest: "PutRequest"
    DeleteRequest: "DeleteRequest"


class BatchWriteItem(TypedDict):
    """The arguments of BatchWriteItem: up to 25 writes, each of a different item."""

    RequestItems: Mapping[str, Sequence[WriteRequest]]
    ReturnConsumedCapacity: NotRequired[Capacity]
    ReturnItemCollectionMetrics: NotRequired[Literal["SIZE", "NONE"]]


class CreateTable(TypedDict):
    """The arguments of CreateTable that make sense for a store's table."""

    TableName: str
    AttributeDefinitions: Sequence[AttributeDefinition]
    KeySchema: Sequence[KeySchemaElement]
    BillingMode: NotRequired[Literal["PAY_PER_REQUEST", "PROVISIONED"]]
    ProvisionedThroughput: NotRequired[Mapping[str, int]]
    DeletionProtectionEnabled: NotRequired[bool]
    SSESpecification: NotRequired[Mapping[str, object]]
    StreamSpecification: NotRequired[Mapping[str, object]]
    TableClass: NotRequired[Literal["STANDARD", "STANDARD_INFREQUENT_ACCESS"]]
    Tags: NotRequired[Sequence[Mapping[str, str]]]


class UpdateTimeToLive(TypedDict):
    """The arguments of UpdateTimeToLive."""

    TableName: str
    TimeToLiveSpecification: TimeToLiveSpecification


# Replies


class ResponseMetadata(TypedDict):
    """The metadata of a reply. AWS support asks for the ``RequestId``."""

    RequestId: str
    HTTPStatusCode: int
    HTTPHeaders: Mapping[str, str]
    RetryAttempts: int


class ConsumedCapacity(TypedDict, total=False):
    """The capacity units that an operation consumed. DynamoDB sends them if ``ReturnConsumedCapacity`` asks for them."""

    TableName: str
    CapacityUnits: float
    ReadCapacityUnits: float
    WriteCapacityUnits: float
    Table: Mapping[str, float]
    LocalSecondaryIndexes: Mapping[str, Mapping[str, float]]
    GlobalSecondaryIndexes: Mapping[str, Mapping[str, float]]


class Reply(TypedDict, total=False):
    """The part that all replies have."""

    ResponseMetadata: ResponseMetadata


class GetItemReply(client.GetItemReply, Reply, total=False):
    """The reply of GetItem. It has no ``Item`` if the item does not exist."""

    ConsumedCapacity: ConsumedCapacity


class WriteItemReply(Reply, total=False):
    """The reply of PutItem, UpdateItem and DeleteItem. It has ``Attributes`` if ``ReturnValues`` asks for them."""

    Attributes: Item
    ConsumedCapacity: ConsumedCapacity
    ItemCollectionMetrics: Mapping[str, object]


class TransactWriteItemsReply(Reply, total=False):
    """The reply of TransactWriteItems."""

    ConsumedCapacity: Sequence[ConsumedCapacity]
    ItemCollectionMetrics: Mapping[str, object]


class ScanReply(Reply, total=False):
    """The reply of Scan. It has a ``LastEvaluatedKey`` if there are more pages."""

    Items: Sequence[Item]
    Count: int
    ScannedCount: int
    LastEvaluatedKey: Item
    ConsumedCapacity: ConsumedCapacity


class BatchGetItemReply(Reply, total=False):
    """The reply of BatchGetItem. ``UnprocessedKeys`` holds the keys that it did not read."""

    Responses: Mapping[str, Sequence[Item]]
    UnprocessedKeys: Mapping[str, KeysAndAttributes]
    ConsumedCapacity: Sequence[ConsumedCapacity]


class BatchWriteItemReply(Reply, total=False):
    """The reply of BatchWriteItem. ``UnprocessedItems`` holds the writes that it did not do."""

    UnprocessedItems: Mapping[str, Sequence[WriteRequest]]
    ItemCollectionMetrics: Mapping[str, Sequence[Mapping[str, object]]]
    ConsumedCapacity: Sequence[ConsumedCapacity]


class PointInTimeRecovery(TypedDict, total=False):
    """The state of a table's point-in-time recovery."""

    PointInTimeRecoveryStatus: str


class ContinuousBackups(TypedDict, total=False):
    """The state of a table's backups."""

    ContinuousBackupsStatus: str
    PointInTimeRecoveryDescription: PointInTimeRecovery


class DescribeContinuousBackupsReply(Reply, total=False):
    """The reply of DescribeContinuousBackups."""

    ContinuousBackupsDescription: ContinuousBackups


class DescribeTableReply(client.DescribeTableReply, Reply):
    """The reply of DescribeTable, with the keys that this package reads."""


class DescribeTimeToLiveReply(client.DescribeTimeToLiveReply, Reply):
    """The reply of DescribeTimeToLive."""


# Operations

R = TypeVar("R", bound=Reply)


class Operation(Generic[R]):
    """One operation: its *name*, its keyword *arguments*, and its *reply*.

    *one_item*: the reply has a single ``Item``. *values*: the argument that holds the written values of an item.
    """

    __slots__ = ("allowed", "decode", "decode_large", "method", "name", "required", "target", "values")

    def __init__(
        self, name: str, arguments: type, reply: type[R], *, one_item: bool = False, values: str | None = None
    ) -> None:
        self.name: str = name
        self.target: str = f"DynamoDB_20120810.{name}"
        self.allowed: frozenset[str] = frozenset(arguments.__annotations__)
        self.required: frozenset[str] = arguments.__required_keys__  # type: ignore[attr-defined]  # a TypedDict's
        self.values: str | None = values
        self.decode: Callable[[bytes], R] = msgspec.json.Decoder(reply).decode
        # Only for one item. Many items may be small, and each value would cost a call into Python.
        self.decode_large: Callable[[bytes], R] = (item_reader(reply) if one_item else None) or self.decode


GET_ITEM = Operation("GetItem", GetItem, GetItemReply, one_item=True)
PUT_ITEM = Operation("PutItem", PutItem, WriteItemReply, values="Item")
UPDATE_ITEM = Operation("UpdateItem", UpdateItem, WriteItemReply, values="ExpressionAttributeValues")
DELETE_ITEM = Operation("DeleteItem", DeleteItem, WriteItemReply)
TRANSACT_WRITE_ITEMS = Operation("TransactWriteItems", TransactWriteItems, TransactWriteItemsReply)
BATCH_GET_ITEM = Operation("BatchGetItem", BatchGetItem, BatchGetItemReply)
BATCH_WRITE_ITEM = Operation("BatchWriteItem", BatchWriteItem, BatchWriteItemReply)
SCAN = Operation("Scan", Scan, ScanReply)
CREATE_TABLE = Operation("CreateTable", CreateTable, Reply)
DELETE_TABLE = Operation("DeleteTable", TableName, Reply)
DESCRIBE_TABLE = Operation("DescribeTable", TableName, DescribeTableReply)
DESCRIBE_TIME_TO_LIVE = Operation("DescribeTimeToLive", TableName, DescribeTimeToLiveReply)
UPDATE_TIME_TO_LIVE = Operation("UpdateTimeToLive", UpdateTimeToLive, Reply)
DESCRIBE_CONTINUOUS_BACKUPS = Operation("DescribeContinuousBackups", TableName, DescribeContinuousBackupsReply)
