"""Checks that all stores share: of new records and renamings, and the conflicts that they raise."""

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
    """Check the arguments, and return a record to write, with a new version."""
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
    """Return *record*. Raise `TypeError` if it is not a `Record`, such as the None that `find` may return."""
    if not isinstance(record, Record):
        raise TypeError(f"record must be a Record, not {type(record).__name__}: check that find() returned a record")
    return record


def check_rename(record: Record, token: str, grace: timedelta) -> None:
    """Raise `TypeError` or `ValueError` if the arguments of a renaming are invalid."""
    check_record(record)
    if token == record.token:
        raise ValueError("the new token must differ from the record's token; to keep the token, use replace()")
    if not isinstance(grace, timedelta):
        raise TypeError(f"grace must be a timedelta, not {type(grace).__name__}")
    if grace < timedelta(0):
        raise ValueError("grace must not be negative")


def conflict(token: str, current: Record | None, *, taken: bool = False, renamed: bool = False) -> Conflict:
    """Return the `Conflict` over the record of *token*. *current* is the record that is stored now, or None.

    *taken*: the token was to be new. *renamed*: another request renamed the record.
    """
    what = "was changed meanwhile" if current else "is gone"
    if taken and current:
        what = "already exists"
    elif renamed:
        what = "was renamed meanwhile"
    return Conflict(f"record {digest(token)} {what}", current=current, renamed=renamed)
