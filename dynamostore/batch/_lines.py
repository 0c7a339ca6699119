"""Items as lines of JSON, readable and exact, and back; the file's first line and its last."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec

from dynamostore import items
from dynamostore.client import AttributeValue, Item
from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import CorruptRecordError
from dynamostore.hidden import clearing
from dynamostore.instants import from_ns
from dynamostore.table import Table

__all__ = ["Digest", "End", "Head", "Line", "TakenError", "decode_line", "encode_line", "translate"]

FORMAT = 1


class Head(msgspec.Struct, forbid_unknown_fields=True):
    """The first line: that this is such a file, and what of."""

    dynamostore: int
    table: str
    attributes: tuple[str, ...]
    """What the table calls a record's own attributes, in the order of `Table.own`."""
    exported: datetime


class End(msgspec.Struct, forbid_unknown_fields=True):
    """The last line: how many records there are, and the SHA-256 of all that comes before it (before it was compressed)."""

    records: int
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One record: its data as *text* where it is UTF-8, else as *base64*; or, of what is no plain record, the whole *item*."""

    token: str
    text: str | None = None
    base64: bytes | None = None
    expires: datetime | None = None
    """For the reader; *expiry* is what counts, in Unix nanoseconds."""
    expiry: int | None = None
    version: int = 0
    recent: bytes = b""
    beside: dict[str, AttributeValue] = {}
    item: dict[str, AttributeValue] | None = None

    def __repr__(self) -> str:
        return f"<Line {digest(self.token)}>"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


@clearing
def encode_line(table: Table, item: Item) -> bytes:
    """An item as a line.

    >>> encode_line(Table(), {"token": {"S": "abc"}, "data": {"B": b"hi"}, "expiry": {"N": "1000000000000000000"},
    ...     "ttl": {"N": "1000000001"}})
    b'{"token":"abc","text":"hi","expires":"2001-09-09T01:46:40Z","expiry":1000000000000000000}\\n'
    """
    try:
        record = items.decode(table, item)
    except CorruptRecordError:
        record = None
    if record is None or items.encode(table, record) != dict(item):
        return _encode(Line(items.key_of(table, item), item=dict(item))) + b"\n"
    line = Line(
        record.token,
        expires=record.expiry,
        expiry=record.expiry_ns,
        version=record.version,
        recent=record.recent,
        beside=dict(record.beside),
    )
    try:
        line.text = record.data.decode()
    except UnicodeDecodeError:
        line.base64 = record.data
    return _encode(line) + b"\n"


@clearing
def decode_line(table: Table, text: bytes, attributes: tuple[str, ...] = ()) -> Item:
    """The item that a line is; `ValueError` if it is none. *attributes*: as in the `Head`, if they are not *table*'s.

    >>> decode_line(Table(), b'{"token":"abc","text":"hi","expiry":1000000000000000000}')["ttl"]
    {'N': '1000000001'}
    """
    try:
        line = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is no record: {error}") from None
    if line.item is not None:
        try:
            item = translate(line.item, attributes or table.own, table)
        except TakenError as error:
            error.token = line.token
            raise
        if item.get(table.token, {}).get("S") != line.token:
            raise ValueError("this is no record: its item has another token, or another name for it")
        return item
    data = line.base64 if line.text is None else line.text.encode()
    if data is None or line.expiry is None or (line.text is not None and line.base64 is not None):
        raise ValueError("this is no record: it takes an expiry, and either text or base64")
    try:
        from_ns(line.expiry)
        record = Record.at(line.token, data, line.expiry, line.version, beside=line.beside, recent=line.recent)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"this is no record: {error}") from None
    if taken := sorted(set(table.own) & line.beside.keys()):
        clash = _taken(taken[0])
        clash.token = line.token
        raise clash
    return items.encode(table, record)


@clearing
def translate(item: Item, attributes: tuple[str, ...], to: Table) -> Item:
    """*item*, whose table has these names for a record's own *attributes*, with the names that another table has.

    `ValueError` if it has another attribute of such a name: one of the two would be lost.
    """
    if attributes == to.own:
        return item
    names = dict(zip(attributes, to.own, strict=True))
    translated: dict[str, AttributeValue] = {}
    for name, value in item.items():
        new = names.get(name, name)
        if new in translated or (name not in names and new in to.own):
            raise _taken(new)
        translated[new] = value
    return translated


class TakenError(ValueError):
    """An item of *token* has an attribute whose name another table has for one of its own."""

    token = ""


def _taken(name: str) -> TakenError:
    return TakenError(
        f"it bears an attribute {name!r} of somebody else's, and that table has one of its own by this name"
    )


@dataclass
class Digest:
    """The SHA-256 of a file's lines, and how many of them are records."""

    records: int = 0

    def __post_init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, lines: bytes, records: int) -> None:
        """Some more lines."""
        self._sha256.update(lines)
        self.records += records

    @property
    def sha256(self) -> str:
        """Of all so far."""
        return self._sha256.hexdigest()

    def end(self) -> bytes:
        """The last line."""
        return _encode(End(self.records, self.sha256)) + b"\n"
