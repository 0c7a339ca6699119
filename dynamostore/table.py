"""`Table`: the names of the table and of its attributes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields

__all__ = ["Table"]

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html: a name or an ARN.
_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_ARN = re.compile(r"arn:[a-z0-9-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{3,255}")
_MAX_ATTRIBUTE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The names of a table and of its attributes; the defaults are those of SCS for Go.

    *name* is a table's name or ARN. *token* (S) is its partition key, *data* (B) the payload, *expiry* (N)
    Unix nanoseconds, *ttl* (N) Unix seconds for DynamoDB's TTL, *version* (N) the tag of the last write, *recent*
    (B) the tags before it, *moved* (S) where a renamed record went. *owner* (S) is kept for whose record it is,
    and nothing uses it yet. Reserved words are welcome: no name is ever written into an expression. Raises
    `ValueError` for a name DynamoDB would refuse and for two attributes of one name.

    >>> Table(name="sessions", token="id").token
    'id'
    """

    name: str = "scs_session"
    token: str = "token"  # noqa: S105 (a name)
    data: str = "data"
    expiry: str = "expiry"
    ttl: str = "ttl"
    version: str = "version"
    recent: str = "recent"
    moved: str = "moved"
    owner: str = "owner"

    def __post_init__(self) -> None:
        for field in fields(self):
            if not isinstance(value := getattr(self, field.name), str):
                raise TypeError(f"Table.{field.name} must be a str, not {type(value).__name__}")
        if not (_NAME.fullmatch(self.name) or _ARN.fullmatch(self.name)):
            raise ValueError(
                f"table name {self.name!r}: DynamoDB takes 3 to 255 of a-z A-Z 0-9 _ . - (or a table's ARN)"
            )
        for name in self.attributes:
            if not name or len(name.encode("utf-8", "replace")) > _MAX_ATTRIBUTE or not _is_utf8(name):
                raise ValueError(f"attribute name {name!r}: DynamoDB takes 1 to {_MAX_ATTRIBUTE} bytes of UTF-8")
        if twice := [name for name, count in Counter(self.attributes).items() if count > 1]:
            raise ValueError(f"attribute name {twice[0]!r} is used twice in one table")

    def __hash__(self) -> int:
        # What a dataclass makes hashes nine names, and it is a key on the way of every call.
        return hash(self.name)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of all attributes, the key first."""
        return (*self.own, self.owner)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the attributes that are a record's own, the key first; what else there is, is beside it."""
        return (self.token, self.data, self.expiry, self.ttl, self.version, self.recent, self.moved)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
