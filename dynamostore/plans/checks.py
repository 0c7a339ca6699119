"""What every store checks alike, and what it says: a new record, a renaming, a conflict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from dynamostore import items
from dynamostore.client import AttributeValue
from dynamostore.contract import Record
from dynamostore.digests import digest
from dynamostore.errors import Conflict
from dynamostore.instants import to_ns
from dynamostore.table import Table

__all__ = ["check_record", "check_rename", "conflict", "new_record"]


def new_record(
    table: Table,
    token: str,
    data: bytes,
    expiry: datetime,
    *,
    beside: Mapping[str, AttributeValue] | None = None,
    recent: bytes = b"",
) -> Record:
    """A record to be written, with a new version, once all of it is known to be good."""
    record = Record.at(
        items.check_token(token),
        items.check_data(data),
        to_ns(expiry),
        items.new_version(),
        expiry=expiry,
        beside=beside,
        recent=recent,
    )
    items.check_size(table, record)
    return record


def check_record(record: Record) -> Record:
    """*record*, if it is one; else `TypeError`: `find` may have returned None."""
    if not isinstance(record, Record):
        raise TypeError(f"record must be a Record, not {type(record).__name__}: did find() find one?")
    return record


def check_rename(record: Record, token: str, grace: timedelta) -> None:
    """`TypeError` or `ValueError` for a renaming that makes no sense."""
    check_record(record)
    if token == record.token:
        raise ValueError("the new token must not be the record's own; replace() writes in place")
    if not isinstance(grace, timedelta):
        raise TypeError(f"grace must be a timedelta, not {type(grace).__name__}")
    if grace < timedelta(0):
        raise ValueError("grace must not be negative")


def conflict(token: str, current: Record | None, *, taken: bool = False, renamed: bool = False) -> Conflict:
    """The conflict over the record of *token*, where *current* is there now."""
    what = "was changed meanwhile" if current else "is gone"
    if taken and current:
        what = "is there already"
    elif renamed:
        what = "was renamed meanwhile"
    return Conflict(f"record {digest(token)} {what}", current=current, renamed=renamed)
