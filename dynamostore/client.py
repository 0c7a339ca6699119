"""Protocols for the low-level calls that a store makes. boto3's DynamoDB client satisfies them.

You pass a client to a store; the store never creates one. Any object with these methods works if it takes the keyword
arguments of DynamoDB's low-level API and returns its replies. A store also recognizes errors by their shape: an exception
with botocore's ``response`` dict, an ``OSError``, or one of botocore's own exceptions.

The reply types declare only the keys that a store reads. Their keys are read-only, so the wider types of boto3-stubs fit.
"""

# Without `from __future__ import annotations`: the wire client's types inherit these, and msgspec would look up their
# annotations, as text, in that module (on Python 3.14).

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NotRequired, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from typing_extensions import ReadOnly
else:

    class ReadOnly:
        """Stands in at run time, so that msgspec can resolve the types that it decodes."""

        def __class_getitem__(cls, item):
            return item


__all__ = [
    "AsyncDynamoClient",
    "AttributeDefinition",
    "AttributeValue",
    "DescribeTableReply",
    "DescribeTimeToLiveReply",
    "DescribedAttribute",
    "DescribedBilling",
    "DescribedKey",
    "DescribedReplica",
    "DescribedTable",
    "DescribedThroughput",
    "DescribedTimeToLive",
    "DescribedWitness",
    "DynamoClient",
    "GetItemReply",
    "Item",
    "KeySchemaElement",
    "Returned",
    "TimeToLiveSpecification",
]


class AttributeValue(TypedDict, total=False):
    """One attribute in DynamoDB's low-level form: ``{"S": "text"}``, ``{"N": "42"}`` or ``{"B": b"bytes"}``.

    A record uses only these three types. Other programs can add attributes of the other types to its item.
    """

    S: ReadOnly[str]
    N: ReadOnly[str]
    B: ReadOnly[bytes]
    BOOL: ReadOnly[bool]
    NULL: ReadOnly[bool]
    M: ReadOnly[Mapping[str, "AttributeValue"]]
    L: ReadOnly[Sequence["AttributeValue"]]
    SS: ReadOnly[Sequence[str]]
    NS: ReadOnly[Sequence[str]]
    BS: ReadOnly[Sequence[bytes]]


Item: TypeAlias = Mapping[str, AttributeValue]
"""An item, or its key: attribute name → `AttributeValue`."""

Returned: TypeAlias = Literal["ALL_OLD", "NONE"]
"""The content of the reply when a condition fails: the current item, or nothing."""


class GetItemReply(TypedDict):
    """The reply of GetItem. It has no ``Item`` if the item does not exist."""

    Item: ReadOnly[NotRequired[Item]]


class KeySchemaElement(TypedDict):
    """One attribute of a new table's key."""

    AttributeName: str
    KeyType: Literal["HASH", "RANGE"]


class AttributeDefinition(TypedDict):
    """The type of a key attribute of a new table."""

    AttributeName: str
    AttributeType: Literal["B", "N", "S"]


class DescribedKey(TypedDict):
    """One attribute of a table's key, as DescribeTable reports it."""

    AttributeName: ReadOnly[str]
    KeyType: ReadOnly[str]


class DescribedAttribute(TypedDict):
    """The type of a key attribute, as DescribeTable reports it."""

    AttributeName: ReadOnly[str]
    AttributeType: ReadOnly[str]


class DescribedBilling(TypedDict):
    """The billing mode of a table, as DescribeTable reports it. A table that was never on demand does not have it."""

    BillingMode: ReadOnly[NotRequired[str]]


class DescribedThroughput(TypedDict):
    """The provisioned capacity of a table, as DescribeTable reports it. Both values are 0 on demand."""

    ReadCapacityUnits: ReadOnly[NotRequired[int]]
    WriteCapacityUnits: ReadOnly[NotRequired[int]]


class DescribedReplica(TypedDict):
    """A replica of a global table in another Region, as DescribeTable reports it."""

    RegionName: ReadOnly[NotRequired[str]]
    ReplicaStatus: ReadOnly[NotRequired[str]]


class DescribedWitness(TypedDict):
    """The witness of a global table with strong consistency, as DescribeTable reports it."""

    RegionName: ReadOnly[NotRequired[str]]
    WitnessStatus: ReadOnly[NotRequired[str]]


class DescribedTable(TypedDict):
    """The keys of a table's description that are read."""

    TableStatus: ReadOnly[NotRequired[str]]
    KeySchema: ReadOnly[NotRequired[Sequence[DescribedKey]]]
    AttributeDefinitions: ReadOnly[NotRequired[Sequence[DescribedAttribute]]]
    TableArn: ReadOnly[NotRequired[str]]
    ItemCount: ReadOnly[NotRequired[int]]
    TableSizeBytes: ReadOnly[NotRequired[int]]
    BillingModeSummary: ReadOnly[NotRequired[DescribedBilling]]
    ProvisionedThroughput: ReadOnly[NotRequired[DescribedThroughput]]
    DeletionProtectionEnabled: ReadOnly[NotRequired[bool]]
    Replicas: ReadOnly[NotRequired[Sequence[DescribedReplica]]]
    MultiRegionConsistency: ReadOnly[NotRequired[str]]
    GlobalTableWitnesses: ReadOnly[NotRequired[Sequence[DescribedWitness]]]


class DescribeTableReply(TypedDict):
    """The reply of DescribeTable."""

    Table: ReadOnly[DescribedTable]


class DescribedTimeToLive(TypedDict):
    """The keys of a table's TTL description that are read."""

    TimeToLiveStatus: ReadOnly[NotRequired[str]]
    AttributeName: ReadOnly[NotRequired[str]]


class DescribeTimeToLiveReply(TypedDict):
    """The reply of DescribeTimeToLive."""

    TimeToLiveDescription: ReadOnly[DescribedTimeToLive]


class TimeToLiveSpecification(TypedDict):
    """The TTL settings to apply."""

    Enabled: bool
    AttributeName: str


class DynamoClient(Protocol):
    """The low-level calls that `DynamoStore` makes, with the keyword arguments that it passes.

    >>> import boto3
    >>> client: DynamoClient = boto3.client("dynamodb", region_name="eu-central-1")
    """

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = ...) -> GetItemReply: ...

    def put_item(
        self,
        *,
        TableName: str,
        Item: Item,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    def delete_item(
        self,
        *,
        TableName: str,
        Key: Item,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    # In boto3-stubs, the parts of this argument are mutable TypedDicts, so only their own type fits.
    # Without boto3-stubs, the name is unknown to the type checker, and any value fits.
    def transact_write_items(
        self, *, TransactItems: "Sequence[TransactWriteItemTypeDef]", ClientRequestToken: str = ...
    ) -> object: ...

    def create_table(
        self,
        *,
        TableName: str,
        AttributeDefinitions: Sequence[AttributeDefinition],
        KeySchema: Sequence[KeySchemaElement],
        BillingMode: Literal["PAY_PER_REQUEST"],
    ) -> object: ...

    def describe_table(self, *, TableName: str) -> DescribeTableReply: ...

    def describe_time_to_live(self, *, TableName: str) -> DescribeTimeToLiveReply: ...

    def update_time_to_live(self, *, TableName: str, TimeToLiveSpecification: TimeToLiveSpecification) -> object: ...


class AsyncDynamoClient(Protocol):
    """The calls of `DynamoClient`, as coroutines. `AsyncDynamoStore` makes them. Aiobotocore's client satisfies this protocol.

    >>> from dynamostore.wire import AsyncWireClient, Credentials
    >>> client: AsyncDynamoClient = AsyncWireClient("eu-central-1", credentials=Credentials("key", "secret"))
    """

    async def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = ...) -> GetItemReply: ...

    async def put_item(
        self,
        *,
        TableName: str,
        Item: Item,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    async def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    async def delete_item(
        self,
        *,
        TableName: str,
        Key: Item,
        ConditionExpression: str = ...,
        ExpressionAttributeNames: Mapping[str, str] = ...,
        ExpressionAttributeValues: Item = ...,
        ReturnValuesOnConditionCheckFailure: Returned = ...,
    ) -> object: ...

    # As in DynamoClient. The exact type would come from each user's own types-aiobotocore.
    async def transact_write_items(
        self, *, TransactItems: "Sequence[TransactWriteItemTypeDef]", ClientRequestToken: str = ...
    ) -> object: ...

    async def create_table(
        self,
        *,
        TableName: str,
        AttributeDefinitions: Sequence[AttributeDefinition],
        KeySchema: Sequence[KeySchemaElement],
        BillingMode: Literal["PAY_PER_REQUEST"],
    ) -> object: ...

    async def describe_table(self, *, TableName: str) -> DescribeTableReply: ...

    async def describe_time_to_live(self, *, TableName: str) -> DescribeTimeToLiveReply: ...

    async def update_time_to_live(
        self, *, TableName: str, TimeToLiveSpecification: TimeToLiveSpecification
    ) -> object: ...
