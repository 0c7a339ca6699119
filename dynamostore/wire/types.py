"""The operations: their keyword arguments and their replies, as typed dicts, and `Operation`, which knows both.

The words are DynamoDB's own: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/
"""

# Without `from __future__ import annotations`: which keys are required is read at run time.

from collections.abc import Mapping, Sequence
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
    """The arguments of what needs just a table."""

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
    """The arguments of TransactWriteItems; without a ``ClientRequestToken`` a call is given one."""

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
    """What BatchGetItem is to read of one table."""

    Keys: Sequence[Item]
    ConsistentRead: NotRequired[bool]
    ProjectionExpression: NotRequired[str]
    ExpressionAttributeNames: NotRequired[Mapping[str, str]]


class BatchGetItem(TypedDict):
    """The arguments of BatchGetItem: at most 100 keys, none twice."""

    RequestItems: Mapping[str, KeysAndAttributes]
    ReturnConsumedCapacity: NotRequired[Capacity]


class PutRequest(TypedDict):
    """One item that BatchWriteItem is to put."""

    Item: Item


class DeleteRequest(TypedDict):
    """One item that BatchWriteItem is to delete."""

    Key: Item


class WriteRequest(TypedDict, total=False):
    """One write of BatchWriteItem: the one or the other."""

    PutRequest: "PutRequest"
    DeleteRequest: "DeleteRequest"


class BatchWriteItem(TypedDict):
    """The arguments of BatchWriteItem: at most 25 writes, of as many items."""

    RequestItems: Mapping[str, Sequence[WriteRequest]]
    ReturnConsumedCapacity: NotRequired[Capacity]
    ReturnItemCollectionMetrics: NotRequired[Literal["SIZE", "NONE"]]


class CreateTable(TypedDict):
    """The arguments of CreateTable that a table of records needs."""

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
    """About a reply: DynamoDB's id for it (which AWS's support asks for), and how many retries it took."""

    RequestId: str
    HTTPStatusCode: int
    HTTPHeaders: Mapping[str, str]
    RetryAttempts: int


class ConsumedCapacity(TypedDict, total=False):
    """What an operation consumed of a table, in capacity units; sent if ``ReturnConsumedCapacity`` asked for it."""

    TableName: str
    CapacityUnits: float
    ReadCapacityUnits: float
    WriteCapacityUnits: float
    Table: Mapping[str, float]
    LocalSecondaryIndexes: Mapping[str, Mapping[str, float]]
    GlobalSecondaryIndexes: Mapping[str, Mapping[str, float]]


class Reply(TypedDict, total=False):
    """What every reply has."""

    ResponseMetadata: ResponseMetadata


class GetItemReply(client.GetItemReply, Reply, total=False):
    """What GetItem replies; no ``Item`` where there is none."""

    ConsumedCapacity: ConsumedCapacity


class WriteItemReply(Reply, total=False):
    """What PutItem, UpdateItem and DeleteItem reply; ``Attributes`` if ``ReturnValues`` asked for them."""

    Attributes: Item
    ConsumedCapacity: ConsumedCapacity
    ItemCollectionMetrics: Mapping[str, object]


class TransactWriteItemsReply(Reply, total=False):
    """What TransactWriteItems replies."""

    ConsumedCapacity: Sequence[ConsumedCapacity]
    ItemCollectionMetrics: Mapping[str, object]


class ScanReply(Reply, total=False):
    """What Scan replies; ``LastEvaluatedKey`` if there is more."""

    Items: Sequence[Item]
    Count: int
    ScannedCount: int
    LastEvaluatedKey: Item
    ConsumedCapacity: ConsumedCapacity


class BatchGetItemReply(Reply, total=False):
    """What BatchGetItem replies; what it left out is in ``UnprocessedKeys``."""

    Responses: Mapping[str, Sequence[Item]]
    UnprocessedKeys: Mapping[str, KeysAndAttributes]
    ConsumedCapacity: Sequence[ConsumedCapacity]


class BatchWriteItemReply(Reply, total=False):
    """What BatchWriteItem replies; what it left out is in ``UnprocessedItems``."""

    UnprocessedItems: Mapping[str, Sequence[WriteRequest]]
    ItemCollectionMetrics: Mapping[str, Sequence[Mapping[str, object]]]
    ConsumedCapacity: Sequence[ConsumedCapacity]


class PointInTimeRecovery(TypedDict, total=False):
    """Whether a table can be brought back to a point in time."""

    PointInTimeRecoveryStatus: str


class ContinuousBackups(TypedDict, total=False):
    """What is read of a table's backups."""

    ContinuousBackupsStatus: str
    PointInTimeRecoveryDescription: PointInTimeRecovery


class DescribeContinuousBackupsReply(Reply, total=False):
    """What DescribeContinuousBackups replies."""

    ContinuousBackupsDescription: ContinuousBackups


class DescribeTableReply(client.DescribeTableReply, Reply):
    """What DescribeTable replies, as far as it is read."""


class DescribeTimeToLiveReply(client.DescribeTimeToLiveReply, Reply):
    """What DescribeTimeToLive replies."""


# A class that has an attribute of this name cannot call the type by it.
_Item: TypeAlias = Item


class Refusal(msgspec.Struct):
    """What stands in the body of a refusal."""

    type: str = msgspec.field(default="", name="__type")
    code: str = ""
    message: str | None = None
    Message: str | None = None
    Item: "_Item | None" = None
    CancellationReasons: "Sequence[CancellationReason] | None" = None
    # Read leniently: what an error says beside its code must not make it an error of another kind.
    ThrottlingReasons: object = None
    throttling_reasons: object = msgspec.field(default=None, name="throttlingReasons")

    def __repr__(self) -> str:
        return f"<Refusal {self.type or self.code}>"


class CancellationReason(TypedDict, total=False):
    """Why one item of a transaction was refused, or not (``None``)."""

    Code: str
    Message: str | None
    Item: Item


# Operations

R = TypeVar("R", bound=Reply)


class Operation(Generic[R]):
    """One operation: its *name*, the keyword arguments that it takes, and how its reply is read."""

    __slots__ = ("allowed", "decode", "decode_large", "method", "name", "required", "target", "values")

    def __init__(
        self, name: str, arguments: type, reply: type[R], *, one_item: bool = False, values: str | None = None
    ) -> None:
        self.name = name
        self.target = f"DynamoDB_20120810.{name}"
        self.allowed = frozenset(arguments.__annotations__)
        self.required: frozenset[str] = arguments.__required_keys__  # type: ignore[attr-defined]  # a TypedDict's
        self.values = values
        """The argument that has the values that are written, of one item."""
        self.decode = msgspec.json.Decoder(reply).decode
        # Not of many items: they may be small, and there are as many values to call Python for.
        self.decode_large = (item_reader(reply) if one_item else None) or self.decode


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
