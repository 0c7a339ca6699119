"""The condition and update expressions of the plans, and the arguments that pass them to DynamoDB.

Expressions always use ExpressionAttributeNames, because most of the default names (token, data, ttl, owner) are reserved
words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from dynamostore import items
from dynamostore.client import AttributeValue, Item
from dynamostore.contract import Record
from dynamostore.table import Table

__all__ = [
    "ABSENT",
    "AS_READ",
    "LEADS",
    "LIVE",
    "MOVE",
    "MOVE_SCS",
    "NOT_SHORTENED",
    "NOT_TAKEN",
    "REPLACE",
    "REPLACE_SCS",
    "SAME",
    "SAME_BY_SCS",
    "TOUCH",
    "UNKEPT",
    "UNMOVED",
    "arguments",
    "not_shortened",
    "unchanged",
    "was",
    "words",
]

ABSENT = "attribute_not_exists(#token)"
NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now"
LIVE = "#expiry >= :now"
NOT_SHORTENED = "#expiry <= :expiry"
AS_READ = "#expiry = :read"
SAME = "#version = :was"
SAME_BY_SCS = "attribute_not_exists(#version) AND #expiry = :read AND #data = :held"
UNMOVED = "attribute_not_exists(#moved)"
# Not a marker, or a marker whose TTL has passed (or is missing, or is not a number).
UNKEPT = "(attribute_not_exists(#moved) OR NOT #ttl >= :second)"
LEADS = "#moved = :moved"
REPLACE = "SET #data = :data, #expiry = :expiry, #ttl = :ttl, #version = :version, #recent = :recent"
REPLACE_SCS = "SET #data = :data, #expiry = :expiry, #ttl = :ttl, #version = :version"
MOVE = "SET #moved = :moved, #expiry = :until, #ttl = :until_ttl, #version = :version, #recent = :recent REMOVE #data"
MOVE_SCS = "SET #moved = :moved, #expiry = :until, #ttl = :until_ttl, #version = :version REMOVE #data"
TOUCH = "SET #expiry = :expiry, #ttl = :ttl"


def arguments(table: Table, condition: str, values: Item, update: str = "") -> dict[str, object]:
    """Return the arguments of a condition (and an update), with only the names and values that they use.

    DynamoDB refuses names and values that are not used.
    """
    names, placeholders = _named(condition, update, table)
    where: dict[str, object] = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if placeholders:
        where["ExpressionAttributeValues"] = {value: values[value] for value in placeholders}
    return where


def unchanged(record: Record) -> str:
    """Return the condition that the stored item is still the *record* that was read."""
    return SAME if record.version else SAME_BY_SCS


def not_shortened(record: Record, new: Record) -> str:
    """Return the condition that *new* does not shorten an expiry that another request has extended since the read."""
    return NOT_SHORTENED if new.expiry_ns >= record.expiry_ns else f"({NOT_SHORTENED} OR {AS_READ})"


def was(record: Record) -> dict[str, AttributeValue]:
    """Return the values that `unchanged` and AS_READ compare with."""
    return {
        ":was": items.number(record.version),
        ":read": items.number(record.expiry_ns),
        ":held": {"B": record.data},
    }


@cache
def words(expression: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names (without #) and the values (with :) of an expression. The cache holds about a dozen expressions."""
    return tuple(set(re.findall(r"#(\w+)", expression))), tuple(set(re.findall(r":\w+", expression)))


@lru_cache(maxsize=256)
def _named(condition: str, update: str, table: Table) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the attributes for the names in a condition and an update, and the placeholders of their values."""
    names, placeholders = words(f"{condition} {update}")
    return {f"#{name}": getattr(table, name) for name in names}, placeholders
