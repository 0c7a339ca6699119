"""PutItem, UpdateItem and DeleteItem, with the conditions and updates of our plans."""

from __future__ import annotations

from typing import Any

from dynamostore.plans import expressions as our
from tests.conformance.model import KEY, NEW, Answer, Case, Expectation, Request, refused, replied

from .parts import (
    API,
    ERRORS,
    FUTURE,
    GUIDE,
    NOW,
    PAST,
    SIZES,
    TEXTS,
    b64,
    call,
    conditional,
    delete,
    get,
    item,
    key,
    put,
    write,
)

__all__ = ["CASES"]

PUT, UPDATE, DELETE = API.format("PutItem"), API.format("UpdateItem"), API.format("DeleteItem")
CONDITIONS = GUIDE.format("Expressions.OperatorsAndFunctions")
NAMES = GUIDE.format("Expressions.ExpressionAttributeNames")
FAILED = "ConditionalCheckFailedException"
_MARKER = {**key(), "moved": {"S": f"{KEY}:new"}, "expiry": {"N": str(PAST)}, "ttl": {"N": str(FUTURE // 10**9)}}
_REPLACE = f"{our.LIVE} AND {our.NOT_SHORTENED} AND {our.SAME}"
_TOUCH = f"attribute_exists(#data) AND {our.LIVE} AND {our.NOT_SHORTENED}"


def with_item(there: Any, *, at: int = -1) -> Expectation:
    """A refusal, with the item that is there."""
    return refused(FAILED, None, "with the item as `Item`", lambda body: body["Item"] == there, at=at)


def without_item(*, at: int = -1) -> Expectation:
    return refused(FAILED, None, "without an `Item`", lambda body: "Item" not in body, at=at)


def then(there: Any) -> Expectation:
    """What a read finds that comes last."""
    if there is None:
        return replied("nothing is stored", lambda body: "Item" not in body)
    return replied("then the item is as expected", lambda body: body["Item"] == there)


def done(words: str = "success") -> Expectation:
    return replied(words, at=0)


def units(words: str, number: float, *, at: int = -1) -> Expectation:
    return replied(words, lambda body: body["ConsumedCapacity"]["CapacityUnits"] == number, at=at)


_NEW = item(data=b"new")
_REPLACED = item(
    data=b"new", expiry=4_200_000_000 * 10**9, version=2**63 - 1, recent={"B": b64(b"\x01" * 8)}, beside={"S": "kept"}
)
_TOUCHED = {**item(), "expiry": {"N": str(4_200_000_000 * 10**9)}, "ttl": {"N": "4200000001"}}
_SCS = {name: value for name, value in item().items() if name != "version"}
_MOVED = {
    **key(),
    "moved": {"S": f"{KEY}:new"},
    "expiry": {"N": str(NOW)},
    "ttl": {"N": str(NOW // 10**9 + 900)},
    "version": {"N": str(2**63 - 1)},
    "recent": {"B": b64(b"\x01" * 8)},
}


def moved_by_scs(answers: Any) -> bool:
    answer: Answer = answers[-1]
    return bool(answer.body["Item"] == {name: value for name, value in _MOVED.items() if name != "recent"})


CASES = (
    Case(
        "put-over",
        "PutItem over an item, without a condition (`save`)",
        (PUT,),
        (put(_NEW), get()),
        done("no `Attributes`") & then(_NEW),
        before=(put(item(beside={"S": "lost"})),),
    ),
    Case(
        "put-new",
        "PutItem on condition that no live item has the key (`create`)",
        (PUT, CONDITIONS),
        (put(_NEW, **conditional(our.NOT_TAKEN)), get()),
        done() & then(_NEW),
    ),
    Case(
        "put-taken",
        "PutItem on condition that no live item has the key; one has it",
        (PUT, CONDITIONS),
        (put(_NEW, **conditional(our.NOT_TAKEN)), get()),
        with_item(item(), at=0) & then(item()),
        before=(put(item()),),
    ),
    Case(
        "put-over-expired",
        "PutItem on condition that no live item has the key; an expired item has it",
        (PUT, CONDITIONS),
        (put(_NEW, **conditional(our.NOT_TAKEN)), get()),
        done() & then(_NEW),
        before=(put(item(expiry=PAST)),),
    ),
    Case(
        "update-same",
        "UpdateItem on condition that the item is live and has the version that was read (`replace`)",
        (UPDATE, CONDITIONS),
        (write(our.REPLACE, _REPLACE), get()),
        done() & then(_REPLACED),
        before=(put(item(beside={"S": "kept"})),),
    ),
    Case(
        "update-changed",
        "The same; the item has another version",
        (UPDATE,),
        (write(our.REPLACE, _REPLACE), get()),
        with_item(item(version=8), at=0) & then(item(version=8)),
        before=(put(item(version=8)),),
    ),
    Case(
        "update-gone",
        "The same; the item does not exist",
        (UPDATE,),
        (write(our.REPLACE, _REPLACE), get()),
        without_item(at=0) & then(None),
    ),
    Case(
        "update-of-scs",
        "UpdateItem on condition that the item has no version, and has the expiry and bytes that were read",
        (UPDATE, CONDITIONS),
        (write(our.REPLACE_SCS, our.SAME_BY_SCS),),
        done(),
        before=(put(_SCS),),
    ),
    Case(
        "update-of-scs-changed",
        "The same; the item holds other bytes",
        (UPDATE, CONDITIONS),
        (write(our.REPLACE_SCS, our.SAME_BY_SCS, held={"B": b64(b"other")}),),
        with_item(_SCS),
        before=(put(_SCS),),
    ),
    Case(
        "update-wrong-type",
        "UpdateItem on a condition that compares a string with a number",
        (CONDITIONS,),
        (write(our.TOUCH, our.LIVE),),
        refused(FAILED),
        before=(put({**item(), "expiry": {"S": "soon"}}),),
    ),
    Case(
        "touch",
        "UpdateItem of expiry and ttl (`touch`)",
        (UPDATE, CONDITIONS),
        (write(our.TOUCH, _TOUCH), get()),
        done() & then(_TOUCHED),
        before=(put(item()),),
    ),
    Case(
        "touch-ghost",
        "UpdateItem of expiry and ttl of an item without data",
        (UPDATE, CONDITIONS),
        (write(our.TOUCH, _TOUCH), get()),
        with_item(_MARKER, at=0) & then(_MARKER),
        before=(put(_MARKER),),
    ),
    Case(
        "touch-shortened",
        "UpdateItem to an earlier expiry, on condition that the item is as it was read: OR and AND in brackets",
        (UPDATE, CONDITIONS),
        (
            write(
                our.TOUCH,
                f"{our.LIVE} AND ({our.NOT_SHORTENED} OR ({our.AS_READ} AND {our.SAME}))",
                expiry={"N": str(NOW + 1)},
            ),
        ),
        done(),
        before=(put(item()),),
    ),
    Case(
        "move",
        "UpdateItem that makes a marker: SET and REMOVE at once (`rename` without transactions)",
        (UPDATE, GUIDE.format("Expressions.UpdateExpressions")),
        (write(our.MOVE, _REPLACE), get()),
        done() & then(_MOVED),
        before=(put(item()),),
    ),
    Case(
        "move-scs",
        "UpdateItem that makes a marker of an item without a version",
        (UPDATE, GUIDE.format("Expressions.UpdateExpressions")),
        (write(our.MOVE_SCS, our.SAME_BY_SCS), get()),
        done() & Expectation("the item is then a marker", moved_by_scs),
        before=(put(_SCS),),
    ),
    Case(
        "evict",
        "DeleteItem on condition that the item has the expiry that was read",
        (DELETE, CONDITIONS),
        (delete(our.AS_READ), get()),
        done() & then(None),
        before=(put(item()),),
    ),
    Case(
        "evict-changed",
        "The same; the item has another expiry",
        (DELETE, CONDITIONS),
        (delete(our.AS_READ, read={"N": "1"}),),
        with_item(item()),
        before=(put(item()),),
    ),
    Case(
        "delete-missing",
        "DeleteItem of a key that does not exist",
        (DELETE,),
        (delete(),),
        done(),
    ),
    Case(
        "delete-missing-by-version",
        "DeleteItem on condition of a version; the item does not exist (`remove`)",
        (DELETE,),
        (delete(our.SAME),),
        without_item(),
    ),
    Case(
        "delete-unmoved",
        "DeleteItem on condition that the item is not a marker (`delete`)",
        (DELETE, CONDITIONS),
        (delete(our.UNMOVED), get()),
        done() & then(None),
        before=(put(item()),),
    ),
    Case(
        "delete-marker",
        "The same; the item is a marker",
        (DELETE, CONDITIONS),
        (delete(our.UNMOVED),),
        with_item(_MARKER),
        before=(put(_MARKER),),
    ),
    Case(
        "delete-lead",
        "DeleteItem on condition that the item is a marker that leads to the same key as before",
        (DELETE, CONDITIONS),
        (delete(our.LEADS), get()),
        done() & then(None),
        before=(put(_MARKER),),
    ),
    Case(
        "purge-kept",
        "DeleteItem on condition of an expiry, and that the item is not a marker whose `ttl` is in the future (`purge`); it is such a marker",
        (DELETE, CONDITIONS),
        (delete(f"{our.AS_READ} AND {our.UNKEPT}", read={"N": str(PAST)}),),
        with_item(_MARKER),
        before=(put(_MARKER),),
    ),
    Case(
        "purge-without-ttl",
        "The same for a marker without a `ttl`: a negated comparison with an attribute that does not exist",
        (DELETE, CONDITIONS),
        (delete(f"{our.AS_READ} AND {our.UNKEPT}", read={"N": str(PAST)}), get()),
        done() & then(None),
        before=(put({name: value for name, value in _MARKER.items() if name != "ttl"}),),
    ),
    Case(
        "reserved-word",
        "PutItem with a reserved word in its condition",
        (GUIDE.format("ReservedWords"), NAMES, TEXTS.format("putItem")),
        (put(item(), ConditionExpression="attribute_not_exists(token)"),),
        refused("ValidationException", "reserved keyword"),
    ),
    Case(
        "unused-name",
        "PutItem with a name in `ExpressionAttributeNames` that its condition does not use",
        (NAMES, PUT),
        (
            put(
                item(),
                ConditionExpression="attribute_not_exists(#a)",
                ExpressionAttributeNames={"#a": "token", "#b": "ttl"},
            ),
        ),
        refused("ValidationException"),
    ),
    Case(
        "unused-value",
        "DeleteItem with a value in `ExpressionAttributeValues` that its condition does not use",
        (GUIDE.format("Expressions.ExpressionAttributeValues"), DELETE),
        (
            call(
                "DeleteItem",
                Key=key(),
                ConditionExpression="#e = :e",
                ExpressionAttributeNames={"#e": "expiry"},
                ExpressionAttributeValues={":e": {"N": "1"}, ":f": {"N": "1"}},
            ),
        ),
        refused("ValidationException"),
    ),
    Case(
        "undefined-value",
        "DeleteItem with a value in its condition that the request does not define",
        (GUIDE.format("Expressions.ExpressionAttributeValues"), DELETE),
        (call("DeleteItem", Key=key(), ConditionExpression="#e = :e", ExpressionAttributeNames={"#e": "expiry"}),),
        refused("ValidationException"),
    ),
    Case(
        "put-no-key",
        "PutItem without the key",
        (PUT, ERRORS, TEXTS.format("putItem")),
        (put({"data": {"B": "AAAA"}}),),
        refused("ValidationException", "Missing the key"),
    ),
    Case(
        "put-other-type",
        "PutItem with a key of another type",
        (PUT, ERRORS, TEXTS.format("putItem")),
        (put({"token": {"N": "1"}}),),
        refused("ValidationException", "Type mismatch for key"),
    ),
    Case(
        "put-no-table",
        "PutItem to a table that does not exist",
        (PUT,),
        (Request("PutItem", {"TableName": NEW, "Item": item()}),),
        refused("ResourceNotFoundException"),
    ),
    Case(
        "put-units",
        "PutItem of less than 1 KB",
        (SIZES,),
        (put(item(), ReturnConsumedCapacity="TOTAL"),),
        units("1 unit", 1.0),
    ),
    Case(
        "put-units-more",
        "PutItem of 1.5 KB",
        (SIZES,),
        (put(item(data=bytes(1536)), ReturnConsumedCapacity="TOTAL"),),
        units("2 units", 2.0),
    ),
    Case(
        "put-units-smaller",
        "PutItem of less than 1 KB over 2.5 KB: the larger of the two counts",
        (SIZES,),
        (put(item(), ReturnConsumedCapacity="TOTAL"),),
        units("3 units", 3.0),
        before=(put(item(data=bytes(2560))),),
    ),
    Case(
        "delete-units",
        "DeleteItem of 2.5 KB",
        (SIZES,),
        (call("DeleteItem", Key=key(), ReturnConsumedCapacity="TOTAL"),),
        units("3 units", 3.0),
        before=(put(item(data=bytes(2560))),),
    ),
)
