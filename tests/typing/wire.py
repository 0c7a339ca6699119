"""The wire clients, as who uses them alone types them, and as a store takes them."""

# mypy: disallow-any-expr

from collections.abc import Mapping
from typing import assert_type

from dynamostore import AsyncDynamoStore, DynamoStore
from dynamostore.client import AsyncDynamoClient, AttributeValue, DynamoClient
from dynamostore.wire import AsyncWireClient, Credentials, ServiceError, SettingsError, TransportError, WireClient, WireError

KEY = {"token": AttributeValue(S="abc")}


def clients() -> None:
    client = WireClient("eu-central-1", credentials=Credentials("key", "secret", "token"), attempts=2, call_timeout=3)
    fits: DynamoClient = client
    assert_type(DynamoStore(client), DynamoStore)
    with WireClient() as client:
        assert_type(client, WireClient)
    assert_type(client.meta.region_name, str)
    client.close()


def calls(client: WireClient) -> None:
    reply = client.get_item(TableName="sessions", Key=KEY, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    assert_type(reply["Item"], Mapping[str, AttributeValue])
    assert_type(reply["ConsumedCapacity"]["CapacityUnits"], float)
    assert_type(reply["ResponseMetadata"]["RetryAttempts"], int)
    client.put_item(TableName="sessions", Item={"token": {"S": "abc"}, "tags": {"SS": ["a"]}, "map": {"M": {}}})
    client.update_item(TableName="sessions", Key=KEY, UpdateExpression="SET #a = :a", ReturnValues="ALL_NEW")
    client.scan(TableName="sessions", Limit=10, Segment=0, TotalSegments=4)


def calls_refused(client: WireClient) -> None:
    client.get_item(TableName="sessions")  # type: ignore[call-arg]
    client.get_item("sessions", KEY)  # type: ignore[call-arg]
    client.get_item(TableName="sessions", Key={"token": "abc"})  # type: ignore[dict-item]
    client.get_item(TableName="sessions", Key={"token": {"S": 7}})  # type: ignore[typeddict-item]
    client.get_item(TableName="sessions", Key=KEY, ConsistentReads=True)  # type: ignore[call-arg]
    client.put_item(TableName="sessions", Item={}, ReturnValues="ALL_NEW")  # type: ignore[arg-type]
    WireClient(region=7)  # type: ignore[arg-type]
    Credentials("key")  # type: ignore[call-arg]


async def awaited(client: AsyncWireClient) -> None:
    fits: AsyncDynamoClient = client
    assert_type(AsyncDynamoStore(client), AsyncDynamoStore)
    assert_type((await client.get_item(TableName="sessions", Key=KEY))["Item"], Mapping[str, AttributeValue])
    client.get_item(TableName="sessions", Key=KEY)["Item"]  # type: ignore[index]
    async with AsyncWireClient("eu-central-1", max_connections=10) as client:
        pass
    DynamoStore(client)  # type: ignore[arg-type]


def failures(client: WireClient) -> None:
    try:
        client.describe_table(TableName="sessions")
    except ServiceError as error:
        assert_type(error.response, Mapping[str, object])
        assert_type(error.code, str)
        assert_type(error.status, int)
    except TransportError as error:
        lost: OSError = error
    except SettingsError as error:
        mistaken: ValueError = error
    except WireError:
        pass
