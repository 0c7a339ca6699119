"""Things of one's own in place of the packages': a `Store`, a `DynamoClient`, a `Codec`, a clock."""

# mypy: disallow-any-expr

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_type

from dynamostore import DynamoStore, MemoryStore, Record, Store
from dynamostore.client import AttributeDefinition, DescribeTableReply, DescribeTimeToLiveReply, DynamoClient, GetItemReply, Item, KeySchemaElement, TimeToLiveSpecification
from session import Codec, JSONCodec, JSONValue, SessionManager


class FileStore:
    """A store that knows nothing of `Store` but its shape; it takes more than it has to and returns no less."""

    def find(self, token: str) -> Record | None:
        return None

    def save(self, token: str, data: bytes, expiry: datetime, *, fsync: bool = True) -> Record:
        return Record(token, data, expiry, 1)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        return Record(token, data, expiry, 1)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        return record

    def touch(self, record: Record, expiry: datetime) -> Record:
        return record

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        return record

    def remove(self, record: Record) -> None: ...

    def delete(self, token: str) -> None: ...

    def ping(self) -> None: ...


class CountingStore(MemoryStore):
    """A store that inherits from one of the packages'."""

    reads = 0

    def find(self, token: str) -> Record | None:
        self.reads += 1
        return super().find(token)


class ReadOnlyStore:
    def find(self, token: str) -> Record | None:
        return None


class UntypedKeyStore(FileStore):
    def find(self, token: bytes) -> Record | None:  # type: ignore[override]
        return None


class AsyncStore(FileStore):
    async def find(self, token: str) -> Record | None:  # type: ignore[override]
        return None


class GracelessStore(FileStore):
    def rename(self, record: Record, token: str, data: bytes, expiry: datetime) -> Record:  # type: ignore[override]
        return record


class CacheStore(FileStore):
    def find(self, token: str) -> bytes | None:  # type: ignore[override]
        return None


class ExplicitStore(Store):
    """One that names the protocol as its base has a wrong verb refused where it is written."""

    def touch(self, record: Record, expiry: int) -> Record:  # type: ignore[override]
        return record


def stores(dynamo: DynamoStore) -> None:
    for store in (dynamo, MemoryStore(), FileStore(), CountingStore()):
        one: Store = store
    assert_type(SessionManager(dynamo), SessionManager)
    assert_type(SessionManager(MemoryStore()), SessionManager)
    assert_type(SessionManager(FileStore()), SessionManager)
    assert_type(SessionManager(CountingStore()).store, Store)


def stores_refused(client: DynamoClient) -> None:
    SessionManager({})  # type: ignore[arg-type]
    SessionManager(None)  # type: ignore[arg-type]
    SessionManager("sessions")  # type: ignore[arg-type]
    SessionManager(client)  # type: ignore[arg-type]
    SessionManager(MemoryStore)  # type: ignore[arg-type]
    SessionManager(ReadOnlyStore())  # type: ignore[arg-type]
    SessionManager(UntypedKeyStore())  # type: ignore[arg-type]
    SessionManager(AsyncStore())  # type: ignore[arg-type]
    SessionManager(GracelessStore())  # type: ignore[arg-type]
    SessionManager(CacheStore())  # type: ignore[arg-type]
    ExplicitStore()  # type: ignore[abstract]


class LeanClient:
    """A low-level client of one's own: just the calls, with just the arguments, that a store makes."""

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> GetItemReply:
        return {"Item": {"token": {"S": "token"}, "data": {"B": b"data"}, "expiry": {"N": "1"}}}

    def put_item(
        self,
        *,
        TableName: str,
        Item: Item,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] = {},
        ExpressionAttributeValues: Item = {},
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> object:
        return {}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] = {},
        ExpressionAttributeValues: Item = {},
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> object:
        return {}

    def delete_item(
        self,
        *,
        TableName: str,
        Key: Item,
        ConditionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] = {},
        ExpressionAttributeValues: Item = {},
        ReturnValuesOnConditionCheckFailure: str = "NONE",
    ) -> None: ...

    def transact_write_items(
        self, *, TransactItems: Sequence[Mapping[str, object]], ClientRequestToken: str = ""
    ) -> Mapping[str, object]:
        return {}

    def create_table(
        self,
        *,
        TableName: str,
        AttributeDefinitions: Sequence[AttributeDefinition],
        KeySchema: Sequence[KeySchemaElement],
        BillingMode: str,
    ) -> object:
        return {}

    def describe_table(self, *, TableName: str) -> DescribeTableReply:
        return {"Table": {"TableStatus": "ACTIVE"}}

    def describe_time_to_live(self, *, TableName: str) -> DescribeTimeToLiveReply:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}}

    def update_time_to_live(self, *, TableName: str, TimeToLiveSpecification: TimeToLiveSpecification) -> object:
        return {}


class AnyKeywordsClient(LeanClient):
    """One that passes on whatever it is given."""

    def put_item(self, **arguments: object) -> object:
        return arguments


class TextClient(LeanClient):
    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> str:  # type: ignore[override]
        return "{}"


class AsyncClient(LeanClient):
    async def get_item(  # type: ignore[override]
        self, *, TableName: str, Key: Item, ConsistentRead: bool = False
    ) -> GetItemReply:
        return {}


class NoConsistentReads(LeanClient):
    def get_item(self, *, TableName: str, Key: Item) -> GetItemReply:  # type: ignore[override]
        return {}


class PositionalClient(LeanClient):
    def describe_table(self, name: str, /) -> DescribeTableReply:  # type: ignore[override]
        return {"Table": {}}


class ReadingClient:
    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> GetItemReply:
        return {}


def clients() -> None:
    client: DynamoClient = LeanClient()
    store = DynamoStore(LeanClient())
    assert_type(store.find("token"), Record | None)
    assert_type(DynamoStore(AnyKeywordsClient()), DynamoStore)


def clients_refused() -> None:
    DynamoStore(object())  # type: ignore[arg-type]
    DynamoStore(None)  # type: ignore[arg-type]
    DynamoStore("dynamodb")  # type: ignore[arg-type]
    DynamoStore({"region_name": "eu-central-1"})  # type: ignore[arg-type]
    DynamoStore(LeanClient)  # type: ignore[arg-type]
    DynamoStore(MemoryStore())  # type: ignore[arg-type]
    DynamoStore(TextClient())  # type: ignore[arg-type]
    DynamoStore(AsyncClient())  # type: ignore[arg-type]
    DynamoStore(NoConsistentReads())  # type: ignore[arg-type]
    DynamoStore(PositionalClient())  # type: ignore[arg-type]
    DynamoStore(ReadingClient())  # type: ignore[arg-type]


class ReverseCodec:
    """A codec around another."""

    def __init__(self, inner: Codec) -> None:
        self._inner = inner

    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> bytes:
        return self._inner.encode(data, deadline_ns)[::-1]

    def decode(self, payload: bytes) -> tuple[dict[str, JSONValue], int]:
        return self._inner.decode(payload[::-1])


class TextCodec:
    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> str:
        return ""

    def decode(self, payload: str) -> tuple[dict[str, JSONValue], int]:
        return {}, 0


class EncodeOnly:
    def encode(self, data: Mapping[str, JSONValue], deadline_ns: int) -> bytes:
        return b""


def codecs(store: Store) -> None:
    codec: Codec = JSONCodec()
    assert_type(codec.encode({"a": [1, {"b": None}]}, 1), bytes)
    assert_type(codec.decode(b"{}"), tuple[dict[str, JSONValue], int])
    SessionManager(store, codec=ReverseCodec(JSONCodec()))
    SessionManager(store, codec=TextCodec())  # type: ignore[arg-type]
    SessionManager(store, codec=EncodeOnly())  # type: ignore[arg-type]
    SessionManager(store, codec=JSONCodec)  # type: ignore[arg-type]
    codec.encode({"a": b"bytes"}, 1)  # type: ignore[dict-item]
    codec.encode({"a": 1}, 1.5)  # type: ignore[arg-type]
    codec.decode("{}")  # type: ignore[arg-type]


class FixedClock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class SecondsClock:
    def __call__(self) -> float:
        return 0.0


def clocks(store: Store, client: DynamoClient) -> None:
    MemoryStore(clock=FixedClock())
    DynamoStore(client, clock=FixedClock())
    SessionManager(store, clock=FixedClock())
    MemoryStore(clock=SecondsClock())  # type: ignore[arg-type]
    SessionManager(store, clock=SecondsClock())  # type: ignore[arg-type]
