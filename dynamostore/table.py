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
    """The names of a DynamoDB table and of its attributes. The defaults are those of SCS for Go.

    - *name*: the table's name or ARN.
    - *token* (S): the partition key.
    - *data* (B): the payload.
    - *expiry* (N): Unix time in nanoseconds.
    - *ttl* (N): Unix time in seconds, for DynamoDB's TTL.
    - *version* (N): the version of the last write.
    - *recent* (B): the versions before it.
    - *moved* (S): the new token of a renamed record.
    - *owner* (S): reserved for the owner of the record; not used yet.

    DynamoDB's reserved words are allowed as names. Raises `TypeError` for a name that is not a str, and `ValueError` for a
    name that DynamoDB would refuse or that two attributes share.

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
                f"table name {self.name!r} is invalid; use 3 to 255 of a-z A-Z 0-9 _ . - (or a table's ARN)"
            )
        for name in self.attributes:
            if not name or len(name.encode("utf-8", "replace")) > _MAX_ATTRIBUTE or not _is_utf8(name):
                raise ValueError(f"attribute name {name!r} is invalid; use 1 to {_MAX_ATTRIBUTE} bytes of UTF-8")
        if twice := [name for name, count in Counter(self.attributes).items() if count > 1]:
            raise ValueError(f"attribute name {twice[0]!r} is used twice in one table")

    def __hash__(self) -> int:
        # The generated __hash__ would hash nine names, and every call looks a table up in a dict.
        return hash(self.name)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of all attributes, the key first."""
        return (*self.own, self.owner)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the attributes that make up a record, the key first. Others are kept in ``Record.beside``."""
        return (self.token, self.data, self.expiry, self.ttl, self.version, self.recent, self.moved)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
