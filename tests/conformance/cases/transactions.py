"""TransactWriteItems: a renaming, repeated, refused, and the doctor's trial."""

from __future__ import annotations

from typing import Any

from dynamostore.admin._checkup import _NEVER as NEVER
from dynamostore.plans import expressions as our
from tests.conformance.model import KEY, NEW, TABLE, Case, Expectation, Request, refused, replied

from .parts import API, GUIDE, SIZES, conditional, get, item, key, put

__all__ = ["CASES"]

TRANSACT = API.format("TransactWriteItems")
HOW = GUIDE.format("transaction-apis")
CANCELED = "TransactionCanceledException"
_AS_READ = f"{our.LIVE} AND {our.NOT_SHORTENED} AND {our.SAME}"
_NEVER = {"ConditionExpression": NEVER, "ExpressionAttributeNames": {"#token": "token"}}
_NEW = item(":new", version=9, data=b"new")


def transaction(*items: dict[str, Any], **arguments: Any) -> Request:
    return Request("TransactWriteItems", {"TransactItems": list(items), **arguments})


def a_put(there: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": there, **arguments}}


def renamed(request_token: str, **values: Any) -> Request:
    """A renaming, as `rename` sends it."""
    put_new = a_put(_NEW, **conditional(our.NOT_TAKEN))
    move = {"TableName": TABLE, "Key": key(), "UpdateExpression": our.MOVE, **conditional(_AS_READ, our.MOVE, **values)}
    return transaction(put_new, {"Update": move}, ClientRequestToken=request_token)


def reasons(words: str, *codes: str, items: tuple[Any, ...] = (), at: int = -1) -> Expectation:
    """A cancellation with one reason for each item of the transaction, in its order."""

    def test(body: Any) -> bool:
        told = body["CancellationReasons"]
        there = [reason.get("Item") for reason in told]
        return [reason["Code"] for reason in told] == list(codes) and (not items or there == list(items))

    return refused(CANCELED, None, words, test, at=at)


def is_there(more: str, body: Any) -> bool:
    return bool(body["Item"]["token"]["S"] == KEY + more)


CASES = (
    Case(
        "rename",
        "TransactWriteItems of a conditional Put and a conditional Update (`rename`)",
        (TRANSACT, HOW),
        (renamed("1" * 36), get(), get(":new")),
        replied("success", at=0)
        & replied("the old item is a marker", lambda body: "moved" in body["Item"], at=1)
        & replied("the new one is there", lambda body: body["Item"] == _NEW),
        before=(put(item()),),
    ),
    Case(
        "rename-again",
        "The same transaction again, with the same `ClientRequestToken`; its conditions no longer hold",
        (TRANSACT, HOW),
        (renamed("2" * 36), renamed("2" * 36)),
        replied("success", at=0) & replied("success again, without another effect"),
        before=(put(item()),),
    ),
    Case(
        "rename-other",
        "Another transaction with the same `ClientRequestToken`",
        (TRANSACT, HOW),
        (renamed("3" * 36), renamed("3" * 36, now={"N": "1"})),
        replied("success", at=0) & refused("IdempotentParameterMismatchException"),
        before=(put(item()),),
    ),
    Case(
        "rename-taken",
        "A renaming to a token that is taken",
        (TRANSACT, HOW),
        (renamed("4" * 36), get()),
        reasons(
            "the reasons in the order of the writes, with the item",
            "ConditionalCheckFailed",
            "None",
            items=(item(":new"), None),
            at=0,
        )
        & replied("nothing is stored", lambda body: body["Item"] == item()),
        before=(put(item()), put(item(":new"))),
    ),
    Case(
        "rename-changed",
        "A renaming of an item that has changed",
        (TRANSACT, HOW),
        (renamed("5" * 36), get(":new")),
        reasons(
            "the reasons in the order of the writes, with the item",
            "None",
            "ConditionalCheckFailed",
            items=(None, item(version=8)),
            at=0,
        )
        & replied("nothing is stored", lambda body: "Item" not in body),
        before=(put(item(version=8)),),
    ),
    Case(
        "rename-gone",
        "A renaming of an item that does not exist",
        (TRANSACT,),
        (renamed("6" * 36),),
        reasons("without an `Item`", "None", "ConditionalCheckFailed", items=(None, None)),
    ),
    Case(
        "rename-both",
        "A renaming of an item that has changed, to a token that is taken",
        (TRANSACT,),
        (renamed("7" * 36),),
        reasons(
            "both reasons in the order of the writes",
            "ConditionalCheckFailed",
            "ConditionalCheckFailed",
            items=(item(":new"), item(version=8)),
        ),
        before=(put(item(version=8)), put(item(":new"))),
    ),
    Case(
        "transact-too-large",
        "TransactWriteItems of an item of more than 400 KB",
        (TRANSACT, GUIDE.format("Constraints")),
        (transaction(a_put({**key(), "data": {"S": "x" * 410_000}}), ClientRequestToken="9" * 36),),
        Expectation(
            "a refusal, or a cancellation for a `ValidationError`, that says “Item size”",
            lambda answers: (
                answers[0].status == 400
                and answers[0].code in ("ValidationException", CANCELED)
                and "Item size" in answers[0].text
            ),
        ),
    ),
    Case(
        "transact-twice",
        "Two writes of one item in a transaction",
        (TRANSACT,),
        (transaction(a_put(item()), {"Delete": {"TableName": TABLE, "Key": key()}}),),
        refused("ValidationException"),
    ),
    Case(
        "transact-long-token",
        "A `ClientRequestToken` of 37 characters",
        (TRANSACT,),
        (transaction(a_put(item()), ClientRequestToken="x" * 37),),
        refused("ValidationException"),
    ),
    Case(
        "transact-none",
        "A transaction without operations",
        (TRANSACT,),
        (transaction(),),
        refused("ValidationException"),
    ),
    Case(
        "transact-no-table",
        "A transaction in a table that does not exist",
        (TRANSACT,),
        (transaction({"Put": {"TableName": NEW, "Item": item()}}),),
        refused("ResourceNotFoundException"),
    ),
    Case(
        "transact-units",
        "TransactWriteItems of two items of less than 1 KB",
        (SIZES, TRANSACT),
        (transaction(a_put(item()), a_put(item(":2")), ReturnConsumedCapacity="TOTAL", ClientRequestToken="a" * 36),),
        replied("2 units for each", lambda body: [each["CapacityUnits"] for each in body["ConsumedCapacity"]] == [4.0]),
    ),
    Case(
        "doctor",
        "A Put and a Delete on a condition that never holds (`doctor`)",
        (TRANSACT,),
        (
            transaction(
                a_put(item(), **_NEVER),
                {"Delete": {"TableName": TABLE, "Key": key(":2"), **_NEVER}},
                ClientRequestToken="b" * 36,
            ),
        ),
        reasons("both reasons", "ConditionalCheckFailed", "ConditionalCheckFailed"),
    ),
)
