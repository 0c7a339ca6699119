"""`AsyncDynamoStore`: the async version of `DynamoStore`. Both run the same plans."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

from .client import AsyncDynamoClient
from .contract import Record
from .errors import StoreError
from .hidden import Hidden
from .instants import Clock
from .plans import faults
from .plans.create_table import create_table
from .steps import Plan, arun, asleep
from .store import BaseDynamoStore
from .table import Table

__all__ = ["AsyncDynamoStore"]

R = TypeVar("R")


class AsyncDynamoStore(BaseDynamoStore[AsyncDynamoClient]):
    """Store records in one DynamoDB table. An `AsyncStore`; tasks may share it.

    In most programs, use `dynamostore.connect_async`, which creates a store with a suitable client. *client* is a low-level
    client whose calls are awaited: `dynamostore.wire.AsyncWireClient`, aiobotocore's client, or any object with the methods
    of `AsyncDynamoClient`. The other settings, the guarantees and the errors are those of `DynamoStore`.

    If a call is cancelled, it may have been applied or not, as after a lost connection: read the record, or try again. Each
    method makes one conditional request or one transaction, so no change is ever partial. The exception is ``rename`` on a
    table without transactions, which takes two requests. If it is cancelled between them, the record is unchanged, and a
    second record is left under a token that no client has.

    >>> import asyncio
    >>> from datetime import UTC, datetime
    >>> from dynamostore.local import LocalDynamoDB
    >>> from dynamostore.wire import AsyncWireClient, Credentials
    >>> async def main(url: str) -> None:
    ...     async with AsyncDynamoStore(AsyncWireClient("us-east-1", url, credentials=Credentials("a", "b"))) as store:
    ...         await store.create_table()
    ...         record = await store.save("token", b"data", datetime(2200, 1, 1, tzinfo=UTC))
    ...         print(await store.find("token") == record)
    >>> with LocalDynamoDB() as dynamodb:
    ...     asyncio.run(main(dynamodb.url))
    True
    """

    def __init__(
        self,
        client: AsyncDynamoClient,
        table: Table = Table(),  # noqa: B008 (frozen, so one for all is right)
        *,
        consistent_read: bool = True,
        evict_expired: bool = True,
        clock: Clock = time.time_ns,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(
            client, table, awaited=True, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock
        )
        self._sleep = sleep or asleep

    async def find(self, token: str) -> Record | None:
        """Return the live record under *token*; None if it is missing or expired, or if *token* is malformed.

        One GetItem, and a conditional DeleteItem if the record has expired. Raises `CorruptRecordError` for an item that is
        not a record.
        """
        plan = self._plans.find(Hidden(token))
        del token
        return await self._run(plan)

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create or overwrite the record under *token*, unconditionally. One PutItem."""
        plan = self._plans.save(Hidden(token), Hidden(data), expiry)
        del token, data
        return await self._run(plan)

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Create a record. Raise `Conflict` if a live record has this token. One PutItem."""
        plan = self._plans.create(Hidden(token), Hidden(data), expiry)
        del token, data
        return await self._run(plan)

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Replace the data and the expiry of *record*. Raise `Conflict` as `DynamoStore.replace` does. One UpdateItem."""
        plan = self._plans.replace(record, Hidden(data), expiry)
        del data
        return await self._run(plan)

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """Change only the expiry. Raise `Conflict` if the record is gone. One UpdateItem."""
        return await self._run(self._plans.touch(record, expiry))

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Move *record* to a new *token*, with new data and expiry, and leave a marker, as `DynamoStore.rename` does.

        One TransactWriteItems. Raises `Conflict` as `replace` does, or if *token* is taken.
        """
        plan = self._plans.rename(record, Hidden(token), Hidden(data), expiry, grace)
        del token, data
        return await self._run(plan)

    async def remove(self, record: Record) -> None:
        """Delete *record* unless its data has changed, as `Store.remove` does. One DeleteItem."""
        await self._run(self._plans.remove(record))

    async def delete(self, token: str) -> None:
        """Delete the record under *token*, or the record it was renamed to, as `DynamoStore.delete` does."""
        plan = self._plans.delete(Hidden(token))
        del token
        await self._run(plan)

    async def ping(self) -> None:
        """Check that the table can be read. Raise a `StoreError` if not. One GetItem."""
        await self._run(self._plans.ping())

    async def create_table(self, *, timeout: timedelta = timedelta(minutes=2)) -> None:  # noqa: ASYNC109 (as DynamoStore's)
        """Create the table if it does not exist, and wait until it is usable, as `DynamoStore.create_table` does."""
        await self._run(create_table(self.table, timeout=timeout.total_seconds()))

    async def close(self) -> None:
        """Close the client, if it has a ``close`` method.

        A store is also an async context manager, which calls this at its end. Entering it again reopens the client on the
        running event loop.
        """
        self._closed = True
        close = getattr(self.client, "close", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        if self._closed:
            reopen = getattr(self.client, "__aenter__", None)
            if reopen is not None:
                await reopen()
            self._closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, plan: Plan[R]) -> R:
        try:
            return await arun(plan, self.client, sleep=self._sleep, explain=self._explain, check=self._check)
        except StoreError as error:
            shown = faults.public(error)
            if shown is error:
                raise
        raise shown
