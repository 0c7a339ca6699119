"""BatchGetItem and BatchWriteItem."""

from __future__ import annotations

from typing import Any

from tests.conformance.model import KEY, NEW, TABLE, Case, Request, refused, replied

from .parts import API, SIZES, TEXTS, item, key, put

__all__ = ["CASES"]

READ, WRITE = API.format("BatchGetItem"), API.format("BatchWriteItem")
INVALID = "ValidationException"


def read(*keys: dict[str, Any], table: str = TABLE, **arguments: Any) -> Request:
    asked = {"Keys": list(keys), "ConsistentRead": True}
    return Request("BatchGetItem", {"RequestItems": {table: asked}, **arguments})


def write(*requests: dict[str, Any], table: str = TABLE, **arguments: Any) -> Request:
    return Request("BatchWriteItem", {"RequestItems": {table: list(requests)}, **arguments})


def puts(there: dict[str, Any]) -> dict[str, Any]:
    return {"PutRequest": {"Item": there}}


def deletes(more: str = "") -> dict[str, Any]:
    return {"DeleteRequest": {"Key": key(more)}}


CASES = (
    Case(
        "batch-get",
        "BatchGetItem of 100 keys, of which 2 exist, consistent",
        (READ,),
        (read(*(key(f":{n}") for n in range(100))),),
        replied(
            "those 2 items, in any order, and no `UnprocessedKeys`",
            lambda body: (
                sorted(each["token"]["S"] for each in body["Responses"][TABLE]) == [f"{KEY}:1", f"{KEY}:98"]
                and body["UnprocessedKeys"] == {}
            ),
        ),
        before=(put(item(":1")), put(item(":98"))),
    ),
    Case(
        "batch-get-101",
        "BatchGetItem of 101 keys",
        (READ,),
        (read(*(key(f":{n}") for n in range(101))),),
        refused(INVALID),
    ),
    Case(
        "batch-get-twice",
        "BatchGetItem of one key twice",
        (READ, TEXTS.format("batchGetItem")),
        (read(key(), key()),),
        refused(INVALID, "duplicates"),
    ),
    Case(
        "batch-get-nothing",
        "BatchGetItem without keys",
        (READ,),
        (Request("BatchGetItem", {"RequestItems": {}}),),
        refused(INVALID),
    ),
    Case(
        "batch-get-no-table",
        "BatchGetItem from a table that does not exist",
        (READ,),
        (read(key(), table=NEW),),
        refused("ResourceNotFoundException"),
    ),
    Case(
        "batch-get-units",
        "BatchGetItem of two small items, consistent",
        (SIZES, READ),
        (read(key(":1"), key(":2"), ReturnConsumedCapacity="TOTAL"),),
        replied("1 unit for each", lambda body: [each["CapacityUnits"] for each in body["ConsumedCapacity"]] == [2.0]),
        before=(put(item(":1")), put(item(":2"))),
    ),
    Case(
        "batch-write",
        "BatchWriteItem of 24 puts and a delete",
        (WRITE,),
        (write(*(puts(item(f":{n}")) for n in range(24)), deletes(":old")), read(key(":23"), key(":old"))),
        replied("success, and no `UnprocessedItems`", lambda body: body["UnprocessedItems"] == {}, at=0)
        & replied("the items are as expected", lambda body: body["Responses"][TABLE] == [item(":23")]),
        before=(put(item(":old")),),
    ),
    Case(
        "batch-write-26",
        "BatchWriteItem of 26 requests",
        (WRITE,),
        (write(*(deletes(f":{n}") for n in range(26))),),
        refused(INVALID),
    ),
    Case(
        "batch-write-twice",
        "BatchWriteItem that puts and deletes one item",
        (WRITE, TEXTS.format("batchWriteItem")),
        (write(puts(item()), deletes()),),
        refused(INVALID, "duplicates"),
    ),
    Case(
        "batch-write-nothing",
        "BatchWriteItem without requests",
        (WRITE,),
        (Request("BatchWriteItem", {"RequestItems": {}}),),
        refused(INVALID),
    ),
    Case(
        "batch-write-other-key",
        "BatchWriteItem of two puts, one of which has no key",
        (WRITE,),
        (write(puts(item()), puts({"data": {"B": "AAAA"}})), read(key())),
        refused(INVALID, at=0) & replied("nothing is stored", lambda body: body["Responses"][TABLE] == []),
    ),
    Case(
        "batch-write-too-large",
        "BatchWriteItem of an item of more than 400 KB",
        (WRITE, TEXTS.format("batchWriteItem")),
        (write(puts({**key(), "data": {"S": "x" * 410_000}})),),
        refused(INVALID, "Item size"),
    ),
    Case(
        "batch-write-no-table",
        "BatchWriteItem to a table that does not exist",
        (WRITE,),
        (write(deletes(), table=NEW),),
        refused("ResourceNotFoundException"),
    ),
    Case(
        "batch-write-units",
        "BatchWriteItem of two small puts",
        (SIZES, WRITE),
        (write(puts(item(":1")), puts(item(":2")), ReturnConsumedCapacity="TOTAL"),),
        replied("1 unit for each", lambda body: [each["CapacityUnits"] for each in body["ConsumedCapacity"]] == [2.0]),
    ),
)
