"""`describe` and `doctor`, waited for and awaited."""

from __future__ import annotations

from typing import Any

from dynamostore.aio import AsyncDynamoStore
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.batch.segments import check_segments
from dynamostore.errors import StoreError
from dynamostore.hidden import Hidden
from dynamostore.store import BaseDynamoStore, DynamoStore

from . import _findings
from ._checkup import METHODS, Checkup
from ._description import Description, describing
from ._findings import Finding
from ._policies import ROLES, Role
from ._records import Records
from .where import Where

__all__ = ["adescribe", "adoctor", "describe", "doctor"]

# A look is not worth the patience of a job.
_ATTEMPTS = 3


def describe(store: DynamoStore) -> Description:
    """What *store*'s table is like, in three calls.

    It needs DescribeTable; what DescribeTimeToLive and DescribeContinuousBackups would say is not known if they are denied.
    Raises `TableNotFoundError`, and `StoreError` for whatever else kept it from being known.
    """
    return store._run(describing(store.table, _where(store)))


async def adescribe(store: AsyncDynamoStore) -> Description:
    """As `describe`."""
    return await store._run(describing(store.table, _where(store)))


def doctor(store: DynamoStore, *, sample: int | None = 1000, segments: int = 1, role: Role = "web") -> list[Finding]:
    """What is right and what is wrong with *store*'s table, its records, this clock, and what these credentials may do.

    Each operation is tried, and changes nothing: writes have a condition that nothing can meet, and keys that nobody has. It
    costs a dozen units, and the reading of a *sample* of so many items (None: all; 0: none), in *segments* at once, as
    `Batch.scan_items <dynamostore.batch.Batch.scan_items>`. What *role* may not do is an error, what others might, a note.

    What a check finds is never raised, nor why it could not be made; `ValueError` for arguments that make no sense.
    """
    _check(sample, segments, role)
    checkup = _checkup(store, role)
    store._run(checkup.plan())
    if not checkup.readable or sample == 0:
        return checkup.findings
    records = _records(store, checkup)
    try:
        for item in map(Hidden, Batch(store, attempts=_ATTEMPTS).scan_items(segments=segments, limit=sample)):
            records.look(item.reveal())
    except StoreError as error:
        checkup.findings.append(_findings.RECORDS_UNREAD(seen=records.seen, reason=error))
    return checkup.findings + records.findings()


async def adoctor(
    store: AsyncDynamoStore, *, sample: int | None = 1000, segments: int = 1, role: Role = "web"
) -> list[Finding]:
    """As `doctor`."""
    _check(sample, segments, role)
    checkup = _checkup(store, role)
    await store._run(checkup.plan())
    if not checkup.readable or sample == 0:
        return checkup.findings
    records = _records(store, checkup)
    try:
        async for item in AsyncBatch(store, attempts=_ATTEMPTS).scan_items(segments=segments, limit=sample):
            held = Hidden(item)
            del item
            records.look(held.reveal())
    except StoreError as error:
        checkup.findings.append(_findings.RECORDS_UNREAD(seen=records.seen, reason=error))
    return checkup.findings + records.findings()


def _check(sample: int | None, segments: int, role: Role) -> None:
    if sample is not None and sample < 0:
        raise ValueError("sample must be a number of items, or None: all")
    check_segments(segments)
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")


def _where(store: BaseDynamoStore[Any]) -> Where:
    return Where.of(store.client, METHODS)


def _checkup(store: BaseDynamoStore[Any], role: Role) -> Checkup:
    return Checkup(store.table, store._plans.clock, _where(store), role)


def _records(store: BaseDynamoStore[Any], checkup: Checkup) -> Records:
    return Records(store.table, store._plans.clock(), checkup.ttl_is_on, has_ttl=not checkup.is_strong)
