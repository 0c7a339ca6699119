"""boto3 as it comes: the client, and the resource on top of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.speed.stored import REGION

from .lowlevel import LowLevel

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb.service_resource import Table

__all__ = ["client", "resource"]


def _config(pool: int) -> Config | None:
    """None, its default, unless there are more threads than its pool is made for."""
    from botocore.config import Config

    return Config(max_pool_connections=pool) if pool > 10 else None


def client(url: str, table: str, pool: int) -> LowLevel:
    """``boto3.client("dynamodb")``."""
    import boto3

    return LowLevel(boto3.client("dynamodb", region_name=REGION, endpoint_url=url, config=_config(pool)), table)


def resource(url: str, table: str, pool: int) -> _Resource:
    """``boto3.resource("dynamodb").Table(...)``."""
    import boto3

    dynamodb = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url, config=_config(pool))
    return _Resource(dynamodb.Table(table))


class _Resource:
    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, token: str) -> bytes:
        data = self._table.get_item(Key={"token": token}, ConsistentRead=True)["Item"]["data"]
        return bytes(data)  # type: ignore[arg-type]  # a Binary, which has __bytes__

    def writer(self, token: str) -> Callable[[bytes], object]:
        from .update import CONDITION, NAMES, UPDATE, Versions, plain

        versions = Versions()
        return lambda data: self._table.update_item(
            Key={"token": token},
            UpdateExpression=UPDATE,
            ConditionExpression=CONDITION,
            ExpressionAttributeNames=NAMES,
            ExpressionAttributeValues=plain(data, versions),
        )
