"""`DynamoStore`: records in a DynamoDB table, through any low-level client."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from ._texts import without_userinfo
from .client import DynamoClient
from .contract import Record
from .errors import StoreError
from .hidden import Hidden
from .instants import Clock
from .misuse import check_client
from .plans import faults
from .plans.create_table import create_table
from .plans.verbs import Plans
from .process_bound import ProcessBound
from .steps import Plan, run
from .table import Table

__all__ = ["BaseDynamoStore", "DynamoStore"]

C = TypeVar("C")
R = TypeVar("R")


class BaseDynamoStore(ProcessBound, Generic[C], instead="make one in each process with dynamostore.connect(...)"):
    """What stores on low-level clients have in common, whether they wait for replies or await them."""

    def __init__(
        self, client: C, table: Table, *, awaited: bool, consistent_read: bool, evict_expired: bool, clock: Clock
    ) -> None:
        check_client(client, "AsyncDynamoStore" if awaited else "DynamoStore", awaited=awaited)
        if not isinstance(table, Table):
            name = type(self).__name__
            raise TypeError(f"table must be a Table, not {type(table).__name__}: {name}(client, Table(name=...))")
        self.client = client
        self._closed = False
        self.table = table
        self._where = _whereabouts(client)
        # The package's own have looked at every reply already.
        self._check = None if getattr(client, "checks_replies", False) else self._check_reply
        self._plans = Plans(table, clock, consistent_read=consistent_read, evict_expired=evict_expired)

    def __repr__(self) -> str:
        # Its client may have been refused.
        return (
            f"<{type(self).__name__} table {self.table.name!r}>"
            if hasattr(self, "table")
            else f"<{type(self).__name__}>"
        )

    def _check_reply(self, reply: object, operation: str) -> None:
        faults.check(reply, operation, self.table.name, self._where)

    def _explain(self, error: Exception, operation: str) -> Exception:
        return faults.explain(error, operation, self.table.name, self._where)


class DynamoStore(BaseDynamoStore[DynamoClient]):
    """Records in one DynamoDB table; a `Store`, safe to share between threads if the client is (boto3's is).

    *client* is a low-level client: boto3's ``client("dynamodb")``, or anything with the calls of
    `DynamoClient`; `dynamostore.connect` makes one that is set up for sessions. *table* names the table and
    its attributes.

    *consistent_read*: reads see every write that was acknowledged (the default; one read unit for 4 KB);
    False halves the price and may read what was true a moment ago. *evict_expired*: an expired record that
    was read is deleted, on condition that it is still the same; a failure to do so is logged, not raised.
    *clock* gives Unix nanoseconds, *sleep* waits for seconds.

    Every verb raises a `StoreError` for what the service or the network did, and `TypeError` or `ValueError`
    for a mistake of the caller's, before any call.

    >>> import boto3, moto
    >>> from datetime import UTC, datetime
    >>> with moto.mock_aws():
    ...     store = DynamoStore(boto3.client("dynamodb", region_name="eu-central-1"))
    ...     store.create_table()
    ...     record = store.save("token", b"data", datetime(2200, 1, 1, tzinfo=UTC))
    ...     store.find("token") == record
    True
    """

    def __init__(
        self,
        client: DynamoClient,
        table: Table = Table(),  # noqa: B008 (frozen, so one for all is right)
        *,
        consistent_read: bool = True,
        evict_expired: bool = True,
        clock: Clock = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            client, table, awaited=False, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock
        )
        self._sleep = sleep

    def find(self, token: str) -> Record | None:
        """The live record under *token*; None if it is missing, expired, or *token* is malformed.

        One GetItem (and a conditional DeleteItem if what it found had expired). Raises `CorruptRecordError`
        for an item that is not a record.
        """
        plan = self._plans.find(Hidden(token))
        del token
        return self._run(plan)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add or overwrite the record under *token*, whatever is there (as in SCS). One PutItem."""
        plan = self._plans.save(Hidden(token), Hidden(data), expiry)
        del token, data
        return self._run(plan)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add a record; raises `Conflict` if a live one has that token. One PutItem."""
        plan = self._plans.create(Hidden(token), Hidden(data), expiry)
        del token, data
        return self._run(plan)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Write new data and expiry where *record* was read; attributes beside them stay. One UpdateItem.

        Raises `Conflict` if the data changed since, the record is gone, or somebody else has meanwhile moved
        its expiry beyond *expiry*.
        """
        plan = self._plans.replace(record, Hidden(data), expiry)
        del data
        return self._run(plan)

    def touch(self, record: Record, expiry: datetime) -> Record:
        """Move the expiry and nothing else. One UpdateItem, priced by the whole item.

        Returns *record* with the expiry that now holds. Where somebody else wrote the record since it was
        read, its expiry is only ever moved forward. Raises `Conflict` if the record is gone.
        """
        return self._run(self._plans.touch(record, expiry))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Put a new record under *token* and a marker in the place of *record*, both or neither. One TransactWriteItems.

        What else the item bore when it was read goes along. For the length of *grace* the old token leads to the
        new record; `delete` follows it for 15 minutes. Raises `Conflict` as `replace` does,
        or if *token* is taken; `ValueError` if *token* is the record's own or *grace* is negative. On a server
        without transactions, or a global table with strong consistency, the new record is put first, then the marker.
        """
        plan = self._plans.rename(record, Hidden(token), Hidden(data), expiry, grace)
        del token, data
        return self._run(plan)

    def remove(self, record: Record) -> None:
        """Delete *record* if it is still what was read, as `Store.remove`. One DeleteItem."""
        self._run(self._plans.remove(record))

    def delete(self, token: str) -> None:
        """Remove the record under *token*, or the one it was renamed to; nothing happens if there is none.

        One DeleteItem, and two more for each marker on the way.
        """
        plan = self._plans.delete(Hidden(token))
        del token
        self._run(plan)

    def ping(self) -> None:
        """Return if the table can be read; raise the `StoreError` that says why not. One GetItem."""
        self._run(self._plans.ping())

    def create_table(self, *, timeout: timedelta = timedelta(minutes=2)) -> None:
        """Make the table unless it is there: on demand, TTL on the right attribute; wait until it can be used.

        Idempotent. A table with another key, or with its TTL on another attribute, is a `TableSchemaError`
        and is not touched; `UnavailableError` after *timeout* of waiting.
        """
        self._run(create_table(self.table, timeout=timeout.total_seconds()))

    def close(self) -> None:
        """Close the client, if it can be closed: who made the store alone with it, as `connect` does, is done with both.

        A store is a context manager, too, which does so in the end, and which opens the client again if this closed it before.
        """
        self._closed = True
        close = getattr(self.client, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        if self._closed:
            # boto3's has no __enter__, and opens connections whenever it is called.
            reopen = getattr(self.client, "__enter__", None)
            if reopen is not None:
                reopen()
            self._closed = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, plan: Plan[R]) -> R:
        try:
            return run(plan, self.client, sleep=self._sleep, explain=self._explain, check=self._check)
        except StoreError as error:
            shown = faults.public(error)
            if shown is error:
                raise
        raise shown


def _whereabouts(client: object) -> str:
    """Where a client sends its calls, for an error message; boto3's says so in ``client.meta``."""
    meta = getattr(client, "meta", None)
    region, endpoint = getattr(meta, "region_name", None), getattr(meta, "endpoint_url", None)
    return f" in {region} ({without_userinfo(str(endpoint))})" if region and endpoint else ""
