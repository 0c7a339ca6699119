"""boto3's own clients, typed by boto3-stubs: the low-level one of DynamoDB fits, and nothing else does."""

# mypy: disallow-any-expr

from typing import TYPE_CHECKING, assert_type

import boto3
from botocore.config import Config

from dynamostore import AsyncDynamoStore, DynamoStore, Record, Table
from dynamostore.client import AsyncDynamoClient, DynamoClient
from session import SessionManager

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb import DynamoDBClient as AiobotocoreClient


def accepted(table: Table) -> None:
    client = boto3.client("dynamodb", region_name="eu-central-1", config=Config(retries={"mode": "standard"}))
    fits: DynamoClient = client
    store = DynamoStore(client, table)
    assert_type(store, DynamoStore)
    assert_type(store.find("token"), Record | None)
    assert_type(DynamoStore(boto3.client("dynamodb")), DynamoStore)
    assert_type(DynamoStore(boto3.Session().client("dynamodb")), DynamoStore)
    # A client to the stubs; refused at run time, as it converts values.
    assert_type(DynamoStore(boto3.resource("dynamodb").meta.client), DynamoStore)


def accepted_by_name(client: "DynamoDBClient") -> SessionManager:
    return SessionManager(DynamoStore(client))


def refused(client: "DynamoDBClient") -> None:
    DynamoStore(boto3.resource("dynamodb"))  # type: ignore[arg-type]
    DynamoStore(boto3.resource("dynamodb").Table("sessions"))  # type: ignore[arg-type]
    DynamoStore(boto3.Session())  # type: ignore[arg-type]
    DynamoStore(boto3.DEFAULT_SESSION)  # type: ignore[arg-type]
    DynamoStore(boto3)  # type: ignore[arg-type]
    DynamoStore(client.meta)  # type: ignore[arg-type]
    DynamoStore(client, client)  # type: ignore[arg-type]
    SessionManager(client)  # type: ignore[arg-type]


async def awaited(client: "AiobotocoreClient") -> None:
    """aiobotocore's, typed by types-aiobotocore."""
    fits: AsyncDynamoClient = client
    store = AsyncDynamoStore(client, Table())
    assert_type(await store.find("token"), Record | None)


def awaited_refused(client: "DynamoDBClient") -> None:
    AsyncDynamoStore(client)  # type: ignore[arg-type]
