"""The body of a reply in which DynamoDB refuses a call."""

# No `from __future__ import annotations`: msgspec reads the types at run time.

from collections.abc import Sequence
from typing import TypeAlias, TypedDict

import msgspec

from dynamostore.client import Item

__all__ = ["CancellationReason", "Refusal"]

# A class with an attribute `Item` cannot refer to the type by that name.
_Item: TypeAlias = Item


class Refusal(msgspec.Struct):
    """The body of a refusal."""

    type: str = msgspec.field(default="", name="__type")
    code: str = ""
    message: str | None = None
    Message: str | None = None
    Item: "_Item | None" = None
    CancellationReasons: "Sequence[CancellationReason] | None" = None
    # Accept any type. An unexpected value here must not hide the error itself.
    ThrottlingReasons: object = None
    throttling_reasons: object = msgspec.field(default=None, name="throttlingReasons")

    def __repr__(self) -> str:
        return f"<Refusal {self.type or self.code}>"


class CancellationReason(TypedDict, total=False):
    """The reason why one item of a transaction was refused. Its ``Code`` is ``"None"`` if it was not."""

    Code: str
    Message: str | None
    Item: Item
