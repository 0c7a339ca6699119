"""`DynamoStore`: store records in a DynamoDB table, through any low-level client."""

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
    """The settings and checks that sync and async DynamoDB stores share."""

    def __init__(
        self, client: C, table: Table, *, awaited: bool, consistent_read: bool, evict_expired: bool, clock: Clock
    ) -> None:
        check_client(client, "AsyncDynamoStore" if awaited else "DynamoStore", awaited=awaited)
        if not isinstance(table, Table):
            name = type(self).__name__
            raise TypeError(f"table must be a Table, not {type(table).__name__}; pass {name}(client, Table(name=...))")
        self.client: C = client
        self._closed = False
        self.table: Table = table
        self._where = _whereabouts(client)
        # The package's own clients check their replies themselves.
        self._check = None if getattr(client, "checks_replies", False) else self._check_reply
        self._plans = Plans(table, clock, consistent_read=consistent_read, evict_expired=evict_expired)

    def __repr__(self) -> str:
        # __init__ may have refused its arguments.
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
    """Store records in one DynamoDB table. A `Store`.

    In most programs, use `dynamostore.connect`, which creates a store with a suitable client. Threads may share the store if
    they may share the client, as with boto3's and this package's clients.

    - *client*: a low-level client: boto3's ``client("dynamodb")``, or any object with the methods of `DynamoClient`.
    - *table* (Table): the names of the table and of its attributes.
    - *consistent_read* (bool): make consistent reads, which see every acknowledged write and cost one read unit per 4 KB.
      False halves the price, but a read may miss recent writes.
    - *evict_expired* (bool): delete an expired record after reading it, if it is still unchanged. Failures are logged, not
      raised.
    - *clock*: a function that returns Unix time in nanoseconds.
    - *sleep*: a function that waits for a number of seconds.

    Every method raises a `StoreError` if the service or the network fails. Mistakes of the caller raise `TypeError` or
    `ValueError`, before any call.

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
        """Return the live record under *token*; None if it is missing or expired, or if *token* is malformed.

        One GetItem, and a conditional DeleteItem if the record has expired. Raises `CorruptRecordError` for an item that is
        not a record.
        """
        plan = self._plans.find(Hidden(token))
        del token
        return self._run(plan)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create or overwrite the record under *token*, unconditionally. One PutItem."""
        plan = self._plans.save(Hidden(token), Hidden(data), expiry)
        del token, data
        return self._run(plan)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create a record. Raise `Conflict` if a live record has this token. One PutItem."""
        plan = self._plans.create(Hidden(token), Hidden(data), expiry)
        del token, data
        return self._run(plan)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Replace the data and the expiry of *record*, if it is unchanged. Other attributes stay. One UpdateItem.

        Raises `Conflict` if the data has changed since it was read, or if the record is gone. Also raises it if another caller
        has moved the expiry beyond *expiry*.
        """
        plan = self._plans.replace(record, Hidden(data), expiry)
        del data
        return self._run(plan)

    def touch(self, record: Record, expiry: datetime) -> Record:
        """Change only the expiry. One UpdateItem, whose price depends on the size of the whole item.

        Returns *record* with the expiry that is now stored. If another caller wrote or touched the record since it was read,
        the expiry only moves forward. Raises `Conflict` if the record is gone.
        """
        return self._run(self._plans.touch(record, expiry))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Move *record* to a new *token*, with new data and expiry, and leave a marker under the old token.

        One TransactWriteItems. The record's other attributes move along. For the length of *grace*, the old token leads to
        the new record; `delete` follows it for at least 15 minutes. Raises `Conflict` as `replace` does, or if *token* is
        taken. Raises `ValueError` if *token* is the record's own or *grace* is negative. On a server without transactions, or
        a global table with strong consistency, it makes two requests: first the new record, then the marker.
        """
        plan = self._plans.rename(record, Hidden(token), Hidden(data), expiry, grace)
        del token, data
        return self._run(plan)

    def remove(self, record: Record) -> None:
        """Delete *record* unless its data has changed, as `Store.remove` does. One DeleteItem."""
        self._run(self._plans.remove(record))

    def delete(self, token: str) -> None:
        """Delete the record under *token*, or the record it was renamed to. Do nothing if it is missing.

        One DeleteItem, and two more for each marker on the way.
        """
        plan = self._plans.delete(Hidden(token))
        del token
        self._run(plan)

    def ping(self) -> None:
        """Check that the table can be read. Raise a `StoreError` if not. One GetItem."""
        self._run(self._plans.ping())

    def create_table(self, *, timeout: timedelta = timedelta(minutes=2)) -> None:
        """Create the table if it does not exist, with on-demand capacity and TTL, and wait until it is usable.

        Idempotent. Raises `TableSchemaError`, and changes nothing, if the table has another key or its TTL is on another
        attribute. Raises `UnavailableError` if the table is not usable after *timeout*.
        """
        self._run(create_table(self.table, timeout=timeout.total_seconds()))

    def close(self) -> None:
        """Close the client, if it has a ``close`` method. Do not call this if the client is shared.

        A store is also a context manager, which calls this at its end. Entering it again reopens the client.
        """
        self._closed = True
        close = getattr(self.client, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        if self._closed:
            # A boto3 client has no __enter__: it opens connections when it is called.
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
    """Return the region and the endpoint of a client for an error message. A boto3 client has them in ``client.meta``."""
    meta = getattr(client, "meta", None)
    region, endpoint = getattr(meta, "region_name", None), getattr(meta, "endpoint_url", None)
    return f" in {region} ({without_userinfo(str(endpoint))})" if region and endpoint else ""
