"""Converting items to lines of JSON without loss, and back. Also the first and the last line of an export's file."""

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
from dynamostore.hidden import Hidden, clearing
from dynamostore.table import Table

from ._reading import MAX_LINE, shortened

__all__ = ["Digest", "End", "Head", "Line", "RefusedLineError", "decode_line", "encode_line", "translate"]

FORMAT = 1

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes
MAX_DEPTH = 32


class Head(msgspec.Struct, forbid_unknown_fields=True):
    """The first line: the version of the file's format, and the table that it came from."""

    dynamostore: int
    table: str
    attributes: tuple[str, ...]
    """The names of a record's own attributes in the table, in the order of `Table.own`."""
    exported: datetime


class End(msgspec.Struct, forbid_unknown_fields=True):
    """The last line: the number of records, and the SHA-256 of all lines before it, uncompressed."""

    records: int
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One record. Its data is *text* if it is UTF-8, else *base64*. An item that is not a plain record is a whole *item*."""

    token: str
    text: str | None = None
    base64: bytes | None = None
    expires: datetime | None = None
    """For human readers only. Loading uses *expiry*, in Unix nanoseconds."""
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
    """Return an item as a line.

    >>> encode_line(Table(), {"token": {"S": "abc"}, "data": {"B": b"hi"}, "expiry": {"N": "1000000000000000000"},
    ...     "ttl": {"N": "1000000001"}})
    b'{"token":"abc","text":"hi","expires":"2001-09-09T01:46:40Z","expiry":1000000000000000000}\\n'
    """
    line = Hidden(_encoded(table, item))
    del item
    if len(line.reveal()) > MAX_LINE:
        name = digest(_decode(line.reveal()).token)
        raise ValueError(f"record {name} cannot be exported: its line would be longer than {MAX_LINE:,} bytes")
    return line.reveal()


def _encoded(table: Table, item: Item) -> bytes:
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
    """Return the item of a line. Raise `ValueError` if the line is not a record.

    *attributes* are those of the `Head`, if they differ from *table*'s. Raise `RefusedLineError` for a record that `find`
    could not read. An export may hold such a record.

    >>> decode_line(Table(), b'{"token":"abc","text":"hi","expiry":1000000000000000000}')["ttl"]
    {'N': '1000000001'}
    """
    line = Hidden(text)
    del text
    parsed = _parsed(line)
    item = Hidden(_item(table, parsed, attributes))
    if reason := items.why_not_findable(table, item.reveal()):
        if parsed.reveal().item is None:
            # An export never writes such a line.
            raise ValueError(f"this is not a record: {reason}")
        raise RefusedLineError(f"its item is not a record: {reason}", parsed.reveal().token)
    # An item is never larger than its line, so measure only long lines.
    if len(line.reveal()) > items.MAX_ITEM and (size := items.item_size(item.reveal())) > items.MAX_ITEM:
        why = f"its item has {size:,} bytes; DynamoDB's limit is {items.MAX_ITEM:,}"
        raise RefusedLineError(why, parsed.reveal().token)
    return item.reveal()


def _parsed(text: Hidden[bytes]) -> Hidden[Line]:
    try:
        line = Hidden(_decode(text.reveal()))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is not a record: {shortened(error)}") from None
    except RecursionError:
        raise _too_deep() from None
    if _is_too_deep(line.reveal().beside) or _is_too_deep(line.reveal().item or {}):
        raise _too_deep()
    return line


def _too_deep() -> ValueError:
    return ValueError(f"this is not a record: it is nested deeper than the {MAX_DEPTH} levels that DynamoDB allows")


def _item(table: Table, line: Hidden[Line], attributes: tuple[str, ...]) -> Item:
    if line.reveal().item is not None:
        try:
            item = Hidden(translate(line.reveal().item or {}, attributes or table.own, table))
        except RefusedLineError as error:
            error.token = line.reveal().token
            raise
        if item.reveal().get(table.token, {}).get("S") != line.reveal().token:
            raise ValueError("this is not a record: the token of its item differs from that of the line")
        return item.reveal()
    if line.reveal().expiry is None or (line.reveal().text is None) == (line.reveal().base64 is None):
        raise ValueError("this is not a record: it needs an expiry, and either text or base64")
    if taken := sorted(set(table.own) & line.reveal().beside.keys()):
        raise _taken(taken[0], line.reveal().token)
    try:
        return items.encode(table, _record(line.reveal()))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"this is not a record: {error}") from None


def _record(line: Line) -> Record:
    data = line.text.encode() if line.text is not None else line.base64 or b""
    return Record.at(line.token, data, line.expiry or 0, line.version, beside=line.beside, recent=line.recent)


def _is_too_deep(item: Item) -> bool:
    """Return True if lists and maps in *item* are nested deeper than DynamoDB allows."""
    level: list[AttributeValue] = list(item.values())
    for _ in range(MAX_DEPTH + 1):
        level = [part for value in level for part in (*value.get("M", {}).values(), *value.get("L", ()))]
        if not level:
            return False
    return True


@clearing
def translate(item: Item, attributes: tuple[str, ...], to: Table) -> Item:
    """Return *item* with a record's own *attributes* renamed to the names in the table *to*.

    Raise `RefusedLineError` if another attribute of the item already has such a name, because one of them would be lost.
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


class RefusedLineError(ValueError):
    """The item of *token* cannot be put into a table, because it would be corrupt or lose an attribute there."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token


def _taken(name: str, token: str = "") -> RefusedLineError:
    return RefusedLineError(
        f"the item has an extra attribute {name!r}, but the other table uses this name for a record's own attribute",
        token,
    )


@dataclass
class Digest:
    """The SHA-256 of a file's lines, and the number of records among them."""

    records: int = 0

    def __post_init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, lines: bytes, records: int) -> None:
        """Add *lines*, of which *records* are records."""
        self._sha256.update(lines)
        self.records += records

    @property
    def sha256(self) -> str:
        """The SHA-256 of all lines so far, in hex."""
        return self._sha256.hexdigest()

    def end(self) -> bytes:
        """Return the last line of the file."""
        return _encode(End(self.records, self.sha256)) + b"\n"
