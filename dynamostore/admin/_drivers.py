"""`describe` and `doctor`, synchronous and asynchronous."""

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

# A check gives up sooner than a job.
_ATTEMPTS = 3


def describe(store: DynamoStore) -> Description:
    """Return a description of *store*'s table. This takes three calls.

    The credentials must be allowed DescribeTable. If DescribeTimeToLive or DescribeContinuousBackups is denied, the TTL or the
    point-in-time recovery is unknown. Raises `TableNotFoundError` if the table does not exist, and `StoreError` for other failures.
    """
    return store._run(describing(store.table, _where(store)))


async def adescribe(store: AsyncDynamoStore) -> Description:
    """Return what `describe` returns, for an async store."""
    return await store._run(describing(store.table, _where(store)))


def doctor(store: DynamoStore, *, sample: int | None = 1000, segments: int = 1, role: Role = "web") -> list[Finding]:
    """Check *store*'s table, its records, this clock and the permissions of the credentials. Return all findings.

    The checks try each operation but change nothing: each write uses a key that does not exist and, where DynamoDB supports it, a
    condition that is never true. They cost about a dozen capacity units, plus the reading of *sample* items (None: all; 0: none)
    in *segments* parallel segments, as `Batch.scan_items <dynamostore.batch.Batch.scan_items>` does. A denied operation is an
    error if *role* needs it, and otherwise a note.

    A failed call becomes a finding and is not raised. Raises `ValueError` if an argument is not valid.
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
    """Return what `doctor` returns, for an async store."""
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
        raise ValueError("sample must be a number of items, or None for all items")
    check_segments(segments)
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")


def _where(store: BaseDynamoStore[Any]) -> Where:
    return Where.of(store.client, METHODS)


def _checkup(store: BaseDynamoStore[Any], role: Role) -> Checkup:
    return Checkup(store.table, store._plans.clock, _where(store), role)


def _records(store: BaseDynamoStore[Any], checkup: Checkup) -> Records:
    return Records(store.table, store._plans.clock(), checkup.ttl_is_on, has_ttl=not checkup.is_strong)
