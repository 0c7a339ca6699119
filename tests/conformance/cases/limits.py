"""Keys, items and numbers: what is just small enough, and what is not."""

from __future__ import annotations

from typing import Any

from dynamostore.plans import expressions as our
from tests.conformance.model import Case, Request, refused, replied

from .parts import API, GUIDE, TEXTS, call, get, item, key, put, write

__all__ = ["CASES"]

LIMITS = GUIDE.format("Constraints")
TYPES = GUIDE.format("HowItWorks.NamingRulesDataTypes")
TRANSACT = API.format("TransactWriteItems")
INVALID = "ValidationException"
KB = 1024


def sized(name: str, size: int) -> dict[str, Any]:
    """An item of *size* bytes in all, names included."""
    there = {"token": {"S": name}, "data": {"S": ""}}
    there["data"] = {"S": "x" * (size - len("token" + name + "data"))}
    return there


def gone(name: str) -> Request:
    return call("DeleteItem", Key={"token": {"S": name}})


CASES = (
    Case(
        "key-2048",
        "PutItem with a key of 2,048 bytes",
        (LIMITS,),
        (put({"token": {"S": "k" * 2048}}),),
        replied("success"),
        after=(gone("k" * 2048),),
    ),
    Case(
        "key-2049",
        "PutItem with a key of 2,049 bytes",
        (LIMITS,),
        (put({"token": {"S": "k" * 2049}}),),
        refused(INVALID),
        after=(gone("k" * 2049),),
    ),
    Case(
        "key-utf-8",
        "PutItem with a key of 1,025 characters of 2 bytes each",
        (LIMITS,),
        (put({"token": {"S": "é" * 1025}}),),
        refused(INVALID),
        after=(gone("é" * 1025),),
    ),
    Case("key-empty", "PutItem with an empty key", (LIMITS, TYPES), (put({"token": {"S": ""}}),), refused(INVALID)),
    Case(
        "key-empty-read",
        "GetItem of an empty key",
        (LIMITS, TYPES),
        (call("GetItem", Key={"token": {"S": ""}}),),
        refused(INVALID),
    ),
    Case(
        "item-400",
        "PutItem of 400 KB to the byte, names included",
        (LIMITS, GUIDE.format("CapacityUnitCalculations")),
        (put(sized("item-400", 400 * KB)),),
        replied("success"),
        after=(gone("item-400"),),
    ),
    Case(
        "item-401",
        "PutItem of 400 KB and a byte",
        (LIMITS, TEXTS.format("putItem")),
        (put(sized("item-401", 400 * KB + 1)),),
        refused(INVALID, "Item size"),
        after=(gone("item-401"),),
    ),
    Case(
        "update-too-large",
        "UpdateItem that makes an item larger than 400 KB",
        (LIMITS, TRANSACT),
        (write(our.REPLACE_SCS, our.SAME, data={"S": "x" * 410_000}), get()),
        refused(INVALID, "Item size", at=0) & replied("nothing is stored", lambda body: body["Item"] == item()),
        before=(put(item()),),
    ),
    Case(
        "number-38",
        "PutItem with a number of 38 digits",
        (LIMITS, TYPES),
        (put({**key(), "n": {"N": "9" * 38}}), get()),
        replied("all digits stored", lambda body: body["Item"]["n"] == {"N": "9" * 38}),
    ),
    Case(
        "number-39",
        "PutItem with a number of 39 digits",
        (LIMITS, TYPES),
        (put({**key(), "n": {"N": "1" * 39}}),),
        refused(INVALID),
    ),
    Case(
        "number-magnitude",
        "PutItem with a number of 1E+126",
        (LIMITS, TYPES),
        (put({**key(), "n": {"N": "1E+126"}}),),
        refused(INVALID),
    ),
    Case(
        "number-none",
        "PutItem with a number that is not numeric",
        (TYPES,),
        (put({**key(), "n": {"N": "soon"}}),),
        refused(INVALID),
    ),
    Case("number-empty", "PutItem with an empty number", (TYPES,), (put({**key(), "n": {"N": ""}}),), refused(INVALID)),
    Case(
        "empty-set",
        "PutItem of a record with an empty set as another attribute",
        (TYPES,),
        (put({**key(), "beside": {"SS": []}}),),
        refused(INVALID),
    ),
    Case(
        "beside",
        "PutItem of a record with other attributes: a list, a map, a set, null, a boolean",
        (TYPES,),
        (
            put(
                {
                    **key(),
                    **(
                        beside := {
                            "l": {"L": [{"S": "a"}]},
                            "m": {"M": {"a": {"N": "1"}}},
                            "s": {"SS": ["a"]},
                            "0": {"NULL": True},
                            "b": {"BOOL": False},
                        }
                    ),
                }
            ),
            get(),
        ),
        replied("stored unchanged", lambda body: body["Item"] == {**key(), **beside}),
    ),
)
