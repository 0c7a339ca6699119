"""The identity and the location of a store's table."""

from __future__ import annotations

import re
from typing import TypeVar

from dynamostore._texts import without_userinfo
from dynamostore.client import DescribeTableReply
from dynamostore.errors import StoreError
from dynamostore.steps import Call, Plan, issue
from dynamostore.store import BaseDynamoStore

__all__ = ["identity", "may_be_one", "place"]

C = TypeVar("C")

_LOOPBACK = re.compile(r"(//)(localhost|\[::1\]|127\.\d+\.\d+\.\d+)(?=[:/]|$)")


def identity(store: BaseDynamoStore[C]) -> Plan[tuple[str, str]]:
    """Return what identifies a table: its ARN and endpoint. If DescribeTable fails, the name replaces the ARN."""
    _, endpoint = _where(store)
    call: Call[DescribeTableReply] = Call("describe_table", {"TableName": store.table.name})
    try:
        reply = yield from issue(call)
    except StoreError:
        return _short(store), endpoint
    return reply["Table"].get("TableArn") or _short(store), endpoint


def may_be_one(store: BaseDynamoStore[C], other: BaseDynamoStore[C]) -> bool:
    """Return True if two stores may use the same table: their tables have the same name."""
    return _short(store) == _short(other)


def _short(store: BaseDynamoStore[C]) -> str:
    return store.table.name.rpartition("/")[2]


def place(store: BaseDynamoStore[C]) -> str:
    """Return the region and the endpoint, separated by a space."""
    return " ".join(_where(store))


def _where(store: BaseDynamoStore[C]) -> tuple[str, str]:
    """Return the region and the endpoint of a store's client, with one spelling for all loopback addresses."""
    meta = getattr(store.client, "meta", None)
    endpoint = str(getattr(meta, "endpoint_url", ""))
    return str(getattr(meta, "region_name", "")), _LOOPBACK.sub(r"\g<1>127.0.0.1", without_userinfo(endpoint))
