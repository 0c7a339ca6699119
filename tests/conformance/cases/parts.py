"""What the cases have in common: the pages that document it, items, and the requests as our plans make them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from dynamostore import Table, items
from dynamostore.plans import expressions
from tests.conformance.model import KEY, TABLE, Request

__all__ = [
    "API",
    "ERRORS",
    "FUTURE",
    "GUIDE",
    "PAST",
    "SIZES",
    "TEXTS",
    "b64",
    "call",
    "conditional",
    "delete",
    "get",
    "item",
    "key",
    "put",
    "write",
]

API: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_{}.html"
GUIDE: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/{}.html"
ERRORS: Final = GUIDE.format("Programming.Errors")
SIZES: Final = GUIDE.format("CapacityUnitCalculations")
# Run against DynamoDB, too. AWS documents the codes of errors, and few of their messages.
TEXTS: Final = "https://github.com/architect/dynalite/blob/master/test/{}.js"

# Long after these tests, so that no server sweeps anything up, whatever it is called here.
NS: Final = 10**9
PAST: Final = 3_900_000_000 * NS
NOW: Final = 4_000_000_000 * NS
FUTURE: Final = 4_100_000_000 * NS
LATER: Final = 4_200_000_000 * NS

# For the names of the attributes: the requests name the table themselves.
_TABLE: Final = Table()


def b64(data: bytes) -> str:
    """*data* as JSON has it."""
    return b64encode(data).decode()


def key(more: str = "") -> dict[str, Any]:
    """The key of the case's item; with *more* behind it, of another one."""
    return {"token": {"S": KEY + more}}


def item(
    more: str = "", *, expiry: int = FUTURE, version: int = 7, data: bytes = b"old", **beside: Any
) -> dict[str, Any]:
    """An item as a store writes it, and what is beside it."""
    return {
        **key(more),
        "data": {"B": b64(data)},
        "expiry": items.number(expiry),
        "ttl": items.number(items.ttl(expiry)),
        "version": items.number(version),
        **beside,
    }


# The values of all expressions; `expressions.arguments` takes those that are used.
_VALUES: Final[Mapping[str, Any]] = {
    ":now": items.number(NOW),
    ":expiry": items.number(LATER),
    ":read": items.number(FUTURE),
    ":was": items.number(7),
    ":held": {"B": b64(b"old")},
    ":moved": {"S": KEY + ":new"},
    ":second": items.number(NOW // NS),
    ":ttl": items.number(items.ttl(LATER)),
    ":data": {"B": b64(b"new")},
    ":version": items.number(2**63 - 1),
    ":recent": {"B": b64(b"\x01" * 8)},
    ":until": items.number(NOW),
    ":until_ttl": items.number(NOW // NS + 900),
}


def conditional(condition: str, update: str = "", **values: Any) -> dict[str, Any]:
    """The arguments of a condition, and an update, as the plans pass them."""
    given = {**_VALUES, **{f":{name}": value for name, value in values.items()}}
    return expressions.arguments(_TABLE, condition, given, update)


def call(operation: str, **arguments: Any) -> Request:
    """A request to the table."""
    return Request(operation, {"TableName": TABLE, **arguments})


def get(more: str = "", **arguments: Any) -> Request:
    """A consistent read."""
    return call("GetItem", Key=key(more), ConsistentRead=True, **arguments)


def put(there: Mapping[str, Any], **arguments: Any) -> Request:
    """A put of an item."""
    return call("PutItem", Item=there, **arguments)


def write(update: str, condition: str, more: str = "", **values: Any) -> Request:
    """A conditional update."""
    return call("UpdateItem", Key=key(more), UpdateExpression=update, **conditional(condition, update, **values))


def delete(condition: str = "", more: str = "", **values: Any) -> Request:
    """A delete, conditional where there is a condition."""
    return call("DeleteItem", Key=key(more), **(conditional(condition, **values) if condition else {}))
