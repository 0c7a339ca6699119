"""GetItem and Scan."""

from __future__ import annotations

from typing import Any

from dynamostore.batch._base import EXPIRED
from dynamostore.plans.expressions import words
from tests.conformance.model import KEY, NEW, Case, Expectation, Request, refused, replied

from .parts import API, ERRORS, GUIDE, PAST, SIZES, TEXTS, b64, call, get, item, key, put

__all__ = ["CASES"]

GET, SCAN = API.format("GetItem"), API.format("Scan")
PAGING = GUIDE.format("Scan")
_ITEM = item(beside={"S": "é\U0001f600"}, n={"N": "9223372036854775807"}, empty={"B": ""})


def units(words: str, number: float) -> Any:
    return replied(words, lambda body: body["ConsumedCapacity"]["CapacityUnits"] == number)


def mine(**more: Any) -> Request:
    """A scan of what the case has put."""
    names = {"#token": "token", **more.pop("ExpressionAttributeNames", {})}
    values = {":mine": {"S": KEY}, **more.pop("ExpressionAttributeValues", {})}
    where = " AND ".join(["begins_with(#token, :mine)", *([more.pop("where")] if "where" in more else [])])
    return call(
        "Scan",
        ConsistentRead=True,
        FilterExpression=where,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
        **more,
    )


def tokens(body: Any) -> set[str]:
    return {each["token"]["S"] for each in body["Items"]}


_BIG = [put({**key(f":{n}"), "data": {"B": b64(bytes(390 * 1024))}}) for n in range(3)]
_BIG_GONE = tuple(call("DeleteItem", Key=key(f":{n}")) for n in range(3))

CASES = (
    Case(
        "get-missing",
        "GetItem of a key that does not exist, consistent",
        (GET,),
        (get(),),
        replied("no `Item` in the reply", lambda body: "Item" not in body),
    ),
    Case(
        "get-whole",
        "GetItem of an item with strings, bytes (one value is empty) and numbers of 19 digits",
        (GET, GUIDE.format("HowItWorks.NamingRulesDataTypes")),
        (get(),),
        replied("the item as it was put", lambda body: body["Item"] == _ITEM),
        before=(put(_ITEM),),
    ),
    Case(
        "get-other-key",
        "GetItem with a key of another name",
        (ERRORS, TEXTS.format("getItem")),
        (call("GetItem", Key={"id": {"S": KEY}}),),
        refused("ValidationException", "does not match the schema"),
    ),
    Case(
        "get-other-type",
        "GetItem with a key of another type",
        (ERRORS, TEXTS.format("getItem")),
        (call("GetItem", Key={"token": {"N": "1"}}),),
        refused("ValidationException", "does not match the schema"),
    ),
    Case(
        "get-no-table",
        "GetItem from a table that does not exist",
        (GET,),
        (Request("GetItem", {"TableName": NEW, "Key": key()}),),
        refused("ResourceNotFoundException"),
    ),
    Case(
        "get-units",
        "GetItem, consistent, of less than 4 KB",
        (SIZES,),
        (get(ReturnConsumedCapacity="TOTAL"),),
        units("1 unit", 1.0),
        before=(put(item()),),
    ),
    Case(
        "get-units-eventual",
        "GetItem, eventually consistent, of less than 4 KB",
        (SIZES,),
        (call("GetItem", Key=key(), ReturnConsumedCapacity="TOTAL"),),
        units("0.5 units", 0.5),
        before=(put(item()),),
    ),
    Case(
        "get-units-more",
        "GetItem, consistent, of 5 KB",
        (SIZES,),
        (get(ReturnConsumedCapacity="TOTAL"),),
        units("2 units", 2.0),
        before=(put(item(data=bytes(5 * 1024))),),
    ),
    Case(
        "get-units-missing",
        "GetItem, consistent, of a key that does not exist",
        (SIZES,),
        (get(ReturnConsumedCapacity="TOTAL"),),
        units("1 unit", 1.0),
    ),
    Case(
        "scan-filter",
        "Scan with the filter of a purge: expired items, except markers whose `ttl` is in the future",
        (SCAN,),
        (
            mine(
                where=EXPIRED,
                ExpressionAttributeNames={f"#{name}": name for name in words(EXPIRED)[0]},
                ExpressionAttributeValues={":now": {"N": str(PAST + 1)}, ":second": {"N": str(PAST // 10**9 + 10)}},
            ),
        ),
        replied(
            "only those items; `Count` is their number, `ScannedCount` the number of items read",
            lambda body: (
                tokens(body) == {f"{KEY}:expired", f"{KEY}:moved, and over"}
                and body["Count"] == 2 < body["ScannedCount"]
            ),
        ),
        before=(
            put(item(":live")),
            put(item(":expired", expiry=PAST)),
            put(item(":moved", expiry=PAST, moved={"S": "x"}) | {"ttl": {"N": str(PAST // 10**9 + 900)}}),
            put(item(":moved, and over", expiry=PAST, moved={"S": "x"})),
        ),
    ),
    Case(
        "scan-projection",
        "Scan with a projection of names by `ExpressionAttributeNames`",
        (SCAN,),
        (mine(ProjectionExpression="#token, #expiry", ExpressionAttributeNames={"#expiry": "expiry"}),),
        replied("those attributes only", lambda body: [each.keys() for each in body["Items"]] == [{"token", "expiry"}]),
        before=(put(item()),),
    ),
    Case(
        "scan-limit",
        "Scan with `Limit` 1, then from its `LastEvaluatedKey`",
        (SCAN, PAGING),
        (call("Scan", Limit=1),),
        replied(
            "one item, and its key as `LastEvaluatedKey`",
            lambda body: body["LastEvaluatedKey"] == {"token": body["Items"][0]["token"]} and body["Count"] == 1,
        ),
        before=(put(item(":1")), put(item(":2"))),
    ),
    Case(
        "scan-start",
        "Scan from an `ExclusiveStartKey` that may no longer exist",
        (SCAN,),
        (call("Scan", Limit=1, ExclusiveStartKey=key(":never")),),
        replied("a page, or the end", lambda body: body["Count"] <= 1),
        before=(put(item()),),
    ),
    Case(
        "scan-segments",
        "Scan of the whole table, then in three segments",
        (SCAN, PAGING),
        (mine(), *(mine(Segment=n, TotalSegments=3) for n in range(3))),
        replied("a segment")
        & Expectation(
            "each item in one segment",
            lambda answers: (
                sorted(t for a in answers[1:] for t in sorted(tokens(a.body))) == sorted(tokens(answers[0].body))
                and len(tokens(answers[0].body)) == 20
            ),
        ),
        before=tuple(put(item(f":{n}")) for n in range(20)),
    ),
    Case(
        "scan-segment-too-high",
        "Scan of segment 3 of 3, counted from 0",
        (SCAN,),
        (call("Scan", Segment=3, TotalSegments=3),),
        refused("ValidationException"),
    ),
    Case(
        "scan-too-many-segments",
        "Scan in 1,000,001 segments",
        (SCAN,),
        (call("Scan", Segment=0, TotalSegments=1_000_001),),
        refused("ValidationException"),
    ),
    Case(
        "scan-page",
        "Scan of more than 1 MB",
        (PAGING,),
        (call("Scan"),),
        replied("at most 1 MB, and a `LastEvaluatedKey`", lambda body: "LastEvaluatedKey" in body),
        before=tuple(_BIG),
        after=_BIG_GONE,
    ),
    Case(
        "scan-units",
        "Scan of three items of 390 KB in total, with a filter that no item passes",
        (SIZES, SCAN),
        (
            call(
                "Scan",
                ConsistentRead=True,
                ReturnConsumedCapacity="TOTAL",
                FilterExpression="#token = :none",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":none": {"S": "none"}},
            ),
        ),
        replied(
            "a unit for each 4 KB, together",
            lambda body: body["Count"] == 0 and body["ConsumedCapacity"]["CapacityUnits"] >= 97,
        ),
        before=tuple(put({**key(f":{n}"), "data": {"B": b64(bytes(130 * 1024))}}) for n in range(3)),
        after=_BIG_GONE,
    ),
    Case(
        "scan-no-table",
        "Scan of a table that does not exist",
        (SCAN,),
        (Request("Scan", {"TableName": NEW}),),
        refused("ResourceNotFoundException"),
    ),
)
