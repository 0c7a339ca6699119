"""Convert between records and DynamoDB items. No I/O. Compatible with SCS for Go.

An item is ``{token: S, data: B, expiry: N, ttl: N, version: N}``, with the attribute names from `Table`. ``expiry`` is Unix
time in nanoseconds. ``ttl`` is the next whole second, as DynamoDB's TTL needs. SCS for Go writes no ``version``. Replacing a
record adds ``recent`` (B), its versions before this one. A marker has ``moved`` (S), the new token of a renamed record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from secrets import randbits

from .client import AttributeValue, Item
from .contract import Record
from .digests import digest
from .errors import MAX_ITEM, CorruptRecordError, ItemTooLargeError
from .hidden import clearing
from .instants import INT64_MAX, INT64_MIN, NS_PER_S
from .table import Table

__all__ = [
    "MAX_ITEM",
    "MAX_TOKEN",
    "bears",
    "bears_another_token",
    "check_data",
    "check_size",
    "check_token",
    "decode",
    "decode_expiry",
    "decode_whole",
    "encode",
    "forgot",
    "is_related",
    "item_size",
    "key",
    "key_of",
    "moved",
    "new_version",
    "number",
    "parse_number",
    "recent",
    "storable",
    "why_not_findable",
]

MAX_TOKEN = 2048
"""The longest token, in bytes of UTF-8: DynamoDB's limit for a partition key."""

RECENT = 8
"""The number of earlier versions in a record: a retry is recognized if at most this many writes came in between."""

_INTEGER = re.compile(r"-?[0-9]{1,38}")
_DIGITS = re.compile(r"[0-9]{1,38}").fullmatch
# DynamoDB's number format. Decimal() and int() would also accept non-ASCII digits, underscores and white space.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def storable(token: object) -> bool:
    """Return True if DynamoDB accepts *token* as a partition key: a str of 1 to 2048 bytes of UTF-8.

    >>> storable("token"), storable(""), storable("é" * 1025), storable("\\ud800")
    (True, False, False, False)
    """
    if not isinstance(token, str) or not token:
        return False
    if token.isascii():
        return len(token) <= MAX_TOKEN
    try:
        return len(token.encode()) <= MAX_TOKEN
    except UnicodeEncodeError:
        return False


@clearing
def check_token(token: str) -> str:
    """Return *token*. Raise `TypeError` or `ValueError`, without the token in the message, if it cannot be stored."""
    if not isinstance(token, str):
        raise TypeError(f"token must be a str, not {type(token).__name__}")
    if not token:
        raise ValueError("token must not be empty")
    if not storable(token):
        raise ValueError(f"token must be at most {MAX_TOKEN} bytes of valid UTF-8")
    return token


@clearing
def check_data(data: bytes) -> bytes:
    """Return *data*. Raise `TypeError` if it is not bytes."""
    if not isinstance(data, bytes):
        raise TypeError(f"data must be bytes, not {type(data).__name__}")
    return data


def new_version() -> int:
    """Return a new random version from 1 to 2^63 - 1. 0 stands for "no version"."""
    return randbits(63) or 1


def number(value: int) -> AttributeValue:
    """Return *value* as an N attribute."""
    return {"N": str(value)}


def key(table: Table, token: str) -> dict[str, AttributeValue]:
    """Return the key of the item of *token*.

    >>> key(Table(), "abc")
    {'token': {'S': 'abc'}}
    """
    return {table.token: {"S": token}}


@clearing
def key_of(table: Table, item: Item) -> str:
    """Return the token of *item*. Raise `CorruptRecordError` if it is missing, which never happens in a real table."""
    return _token(table, item)


def ttl(expiry_ns: int) -> int:
    """Return the value for DynamoDB's TTL: the next whole second after the expiry, so that it never deletes too early.

    >>> ttl(8102534735004839040)
    8102534736
    """
    return expiry_ns // NS_PER_S + 1


def encode(table: Table, record: Record) -> dict[str, AttributeValue]:
    """Return the item of *record*: the attributes in ``beside`` first, then its own.

    >>> from datetime import UTC, datetime
    >>> encode(Table(), Record("abc", b"hi", datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC), version=7))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'token': {'S': 'abc'}, 'data': {'B': b'hi'}, 'expiry': {'N': '1000000000000000000'},
     'ttl': {'N': '1000000001'}, 'version': {'N': '7'}}
    """
    item: dict[str, AttributeValue] = {
        **record.beside,
        table.token: {"S": record.token},
        table.data: {"B": record.data},
        table.expiry: number(record.expiry_ns),
        table.ttl: number(ttl(record.expiry_ns)),
    }
    if record.version:
        item[table.version] = number(record.version)
    if record.recent:
        item[table.recent] = {"B": record.recent}
    return item


@clearing
def decode(table: Table, item: Item, expiry_ns: int | None = None) -> Record:
    """Return the record in *item*. Raise `CorruptRecordError` if it is not a record.

    *expiry_ns*: the expiry, if it is already decoded.

    >>> decode(Table(), {"token": {"S": "abc"}, "expiry": {"N": "soon"}, "data": {"B": b""}})
    Traceback (most recent call last):
    dynamostore.errors.CorruptRecordError: record ba7816bf8f01: expiry is not an integer
    """
    token = _token(table, item)
    if expiry_ns is None:
        expiry_ns = decode_expiry(table, item)
    data = _content(item, table.data, "B")
    if not isinstance(data, bytes):
        raise _corrupt(token, f"{table.data} is {_kind(item.get(table.data))}, not binary (B)")
    version = 0
    if table.version in item:
        version = _integer(item, table.version, token)
        if not 0 < version <= INT64_MAX:
            raise _corrupt(token, f"{table.version} is not between 1 and 2^63 - 1")
    own = table.own
    beside = {name: value for name, value in item.items() if name not in own}
    return Record.at(token, data, expiry_ns, version, beside=beside, recent=_recent(table, item, token))


def decode_whole(table: Table, item: Item) -> Record | None:
    """Return the record in *item* if it has exactly the form that this package writes; None if `decode` must check it.

    This is the fast path of almost every read. It takes half the time of `decode` and never raises.
    """
    try:
        token = item[table.token]["S"]
        data = item[table.data]["B"]
        expiry = item[table.expiry]["N"]
        version = item[table.version]["N"]
        recent = item[table.recent]["B"] if table.recent in item else b""
        if (
            # The item has no other attributes than these and the TTL.
            len(item) == (6 if recent else 5)
            and table.ttl in item
            and type(token) is str
            and type(data) is bytes
            and type(recent) is bytes
            and not len(recent) % 8
            and _DIGITS(expiry)
            and _DIGITS(version)
            and (expiry_ns := int(expiry)) <= INT64_MAX
            and 0 < (tag := int(version)) <= INT64_MAX
        ):
            return Record.at(token, data, expiry_ns, tag, recent=recent)
    except (KeyError, TypeError):
        pass
    return None


def _content(item: Item, name: str, kind: str) -> object:
    """Return the content of the attribute *name* if it has the type *kind*, else None."""
    value = item.get(name)
    # It is almost always a dict; the check for Mapping alone would take as long as everything else.
    return value.get(kind) if isinstance(value, (dict, Mapping)) else None


def _recent(table: Table, item: Item, token: str) -> bytes:
    if table.recent not in item:
        return b""
    tags = _content(item, table.recent, "B")
    if not isinstance(tags, bytes) or len(tags) % 8:
        raise _corrupt(token, f"{table.recent} is {_kind(item.get(table.recent))}, not versions of 8 bytes each (B)")
    return tags


def recent(record: Record) -> bytes:
    """Return the ``recent`` value for the next write of *record*: its version and those before it, latest first."""
    if not record.version:
        return b""
    return (record.version.to_bytes(8, "big") + record.recent)[: 8 * RECENT]


def bears(table: Table, item: Item, version: int) -> bool:
    """Return True if *version* is the item's current or a recent version. Never raises.

    >>> bears(Table(), {"version": {"N": "3"}, "recent": {"B": bytes(7) + b"\x02"}}, 2)
    True
    """
    if _content(item, table.version, "N") == str(version):
        return True
    tags = _content(item, table.recent, "B")
    if not isinstance(tags, bytes):
        return False
    return version.to_bytes(8, "big") in (tags[i : i + 8] for i in range(0, len(tags), 8))


def is_related(table: Table, item: Item, tags: bytes) -> bool:
    """Return True if *item* has one of the versions in *tags*, 8 bytes each, as its current or a recent version.

    Only an item that was written on top of a record has that record's versions.

    >>> is_related(Table(), {"version": {"N": "3"}, "recent": {"B": bytes(7) + b"\x02"}}, bytes(7) + b"\x01" + bytes(7) + b"\x02")
    True
    """
    return any(bears(table, item, int.from_bytes(tags[i : i + 8], "big")) for i in range(0, len(tags), 8))


def bears_another_token(table: Table, item: Item, token: str) -> bool:
    """Return True if *item* has another token than *token*, so that it cannot be the reply to a read of *token*."""
    there = _content(item, table.token, "S")
    return there != token and isinstance(there, str)


def forgot(table: Table, item: Item, version: int) -> bool:
    """Return True if *version* may be an earlier version of *item* that its full ``recent`` list no longer contains."""
    tags = _content(item, table.recent, "B")
    return isinstance(tags, bytes) and len(tags) >= 8 * RECENT and not bears(table, item, version)


@clearing
def moved(table: Table, item: Item) -> str | None:
    """Return the token to which the marker *item* leads; None if it is not a marker.

    Raises `CorruptRecordError` if that token is malformed.
    """
    if table.moved not in item:
        return None
    token = _content(item, table.moved, "S")
    if not storable(token) or not isinstance(token, str):
        raise _corrupt(_token(table, item), f"{table.moved} is {_kind(item.get(table.moved))}, not a token (S)")
    return token


@clearing
def why_not_findable(table: Table, item: Item) -> str | None:
    """Explain why ``find`` would treat *item* as corrupt; None if it is a valid record or marker, expired or not.

    >>> why_not_findable(Table(), {"token": {"S": "abc"}, "expiry": {"N": "1"}})
    'data is missing, not binary (B)'
    """
    try:
        if not storable(_token(table, item)):
            return f"{table.token} is not 1 to {MAX_TOKEN} bytes of UTF-8"
        if decode_whole(table, item) is None:
            if moved(table, item) is None:
                decode(table, item)
            else:
                decode_expiry(table, item)
    except CorruptRecordError as error:
        return error.reason
    return None


@clearing
def decode_expiry(table: Table, item: Item) -> int:
    """Return the expiry of *item* in Unix nanoseconds. Raise `CorruptRecordError` if it is missing or invalid.

    It is separate from `decode`, so that an expired item may be invalid in other respects.
    """
    token = _token(table, item)
    expiry_ns = _integer(item, table.expiry, token)
    if not INT64_MIN <= expiry_ns <= INT64_MAX:
        raise _corrupt(token, f"{table.expiry} is outside signed 64-bit nanoseconds")
    return expiry_ns


def _token(table: Table, item: Item) -> str:
    token = _content(item, table.token, "S")
    if not isinstance(token, str):
        raise _corrupt("", f"{table.token} is {_kind(item.get(table.token))}, not a string (S)")
    return token


def _integer(item: Item, name: str, token: str) -> int:
    text = _content(item, name, "N")
    if not isinstance(text, str):
        raise _corrupt(token, f"{name} is {_kind(item.get(name))}, not a number (N)")
    if not _INTEGER.fullmatch(text):
        raise _corrupt(token, f"{name} is not an integer")
    return int(text)


def _kind(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(kind := next(iter(value)), str):
        return f"of type {kind[:4]}" if kind.isalpha() else "no attribute value"
    return "no attribute value"


def _corrupt(token: str, reason: str) -> CorruptRecordError:
    name = digest(token) if token else "(no token)"
    return CorruptRecordError(f"record {name}: {reason}", digest=name, reason=reason)


def parse_number(text: object) -> Decimal | None:
    """Return the content of an ``N`` attribute as a number; None if it is not in DynamoDB's number format.

    >>> parse_number("-1200"), parse_number("1_000"), parse_number("\N{ARABIC-INDIC DIGIT ONE}")
    (Decimal('-1200'), None, None)
    """
    return Decimal(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


def item_size(item: Item) -> int:
    """Return the size of an item in bytes, as DynamoDB counts it for its limits and prices.

    Names and strings count as UTF-8. A number takes one byte for each two significant digits, one more byte, and one for a
    minus sign. A list or map takes 3 bytes and one for each element.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html

    >>> item_size({"token": {"S": "abc"}, "data": {"B": b"1234"}, "n": {"N": "-1200"}})
    20
    """
    return sum(_utf8(name) + _value_size(value) for name, value in item.items())


def _value_size(value: object) -> int:
    if not isinstance(value, Mapping):
        return 0
    kind, content = next(iter(value.items()), ("NULL", True))
    if kind == "N" and isinstance(content, str):
        return _number_size(content)
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, str):
        return _utf8(content)
    if kind == "M" and isinstance(content, Mapping):
        return 3 + sum(1 + _utf8(name) + _value_size(part) for name, part in content.items())
    if kind == "L" and isinstance(content, Sequence):
        return 3 + sum(1 + _value_size(part) for part in content)
    if kind in ("SS", "NS", "BS") and isinstance(content, Sequence):
        return sum(_value_size({kind[0]: part}) for part in content)
    return 1  # true, false, null, and anything that is not an attribute value


def _number_size(text: str) -> int:
    """Return the size of a number: one byte for each pair of digits, counted from the decimal point, and one more."""
    number = parse_number(text)
    if number is None:
        return len(text)
    sign, digits, exponent = number.normalize().as_tuple()
    if not isinstance(exponent, int) or not any(digits):
        return 1
    split = exponent % 2
    return 1 + (len(digits) + split + 1) // 2 + sign


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@clearing
def check_size(table: Table, record: Record) -> None:
    """Raise `ItemTooLargeError` if *record* does not fit into an item."""
    if len(record.data) < MAX_ITEM // 2 and not record.beside:
        return
    size = item_size(encode(table, record))
    if size > MAX_ITEM:
        raise ItemTooLargeError(
            f"record {digest(record.token)} would be an item of {size:,} bytes; DynamoDB's limit is {MAX_ITEM:,}",
            size=size,
            limit=MAX_ITEM,
        )
