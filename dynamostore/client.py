"""Protocols for just the low-level calls a store makes: boto3's DynamoDB client satisfies them.

A store is passed a client and never makes one. Any object with these methods will do, so long as it takes
the keyword arguments and returns the reply shapes of DynamoDB's low-level API; what it *raises* is told
by shape, too (see ``_faults``): an exception with botocore's ``response`` dict, an ``OSError``, or one of
botocore's own.

The reply types name only what is read; their keys are read-only, so the wider types of boto3-stubs fit.
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
        """Nothing at run time; but the types can be looked up then, to decode into them."""

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
    """One attribute as it goes over the wire: ``{"S": "text"}``, ``{"N": "42"}`` or ``{"B": b"bytes"}``.

    A record is made of these three. An attribute that somebody else put beside it can be of another type.
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
"""What is to come back with a refusal: the item as it is, or nothing."""


class GetItemReply(TypedDict):
    """What GetItem replies; no ``Item`` where there is none."""

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
    """One attribute of a table's key, as DescribeTable has it."""

    AttributeName: ReadOnly[str]
    KeyType: ReadOnly[str]


class DescribedAttribute(TypedDict):
    """The type of a key attribute, as DescribeTable has it."""

    AttributeName: ReadOnly[str]
    AttributeType: ReadOnly[str]


class DescribedBilling(TypedDict):
    """How a table is paid for, as DescribeTable has it; one that was never on demand has none."""

    BillingMode: ReadOnly[NotRequired[str]]


class DescribedThroughput(TypedDict):
    """The capacity that a table is paid for, as DescribeTable has it; both are 0 on demand."""

    ReadCapacityUnits: ReadOnly[NotRequired[int]]
    WriteCapacityUnits: ReadOnly[NotRequired[int]]


class DescribedReplica(TypedDict):
    """A replica of a global table in another Region, as DescribeTable has it."""

    RegionName: ReadOnly[NotRequired[str]]
    ReplicaStatus: ReadOnly[NotRequired[str]]


class DescribedWitness(TypedDict):
    """The witness of a global table with strong consistency, as DescribeTable has it."""

    RegionName: ReadOnly[NotRequired[str]]
    WitnessStatus: ReadOnly[NotRequired[str]]


class DescribedTable(TypedDict):
    """What is read of a table's description."""

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
    """What DescribeTable replies."""

    Table: ReadOnly[DescribedTable]


class DescribedTimeToLive(TypedDict):
    """What is read of a table's TTL description."""

    TimeToLiveStatus: ReadOnly[NotRequired[str]]
    AttributeName: ReadOnly[NotRequired[str]]


class DescribeTimeToLiveReply(TypedDict):
    """What DescribeTimeToLive replies."""

    TimeToLiveDescription: ReadOnly[DescribedTimeToLive]


class TimeToLiveSpecification(TypedDict):
    """What TTL is to be."""

    Enabled: bool
    AttributeName: str


class DynamoClient(Protocol):
    """The low-level calls that `DynamoStore` makes, with the keyword arguments it passes.

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

    # The one argument whose parts are mutable TypedDicts in boto3-stubs, and so fit only by their own name.
    # Where boto3-stubs are not installed the name is unknown, and anything fits.
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
    """The calls of `DynamoClient`, awaited: what `AsyncDynamoStore` makes. Aiobotocore's client has them.

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

    # As above; here the stubs' names would have to be those of the types-aiobotocore of each user's.
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
