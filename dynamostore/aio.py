"""`AsyncDynamoStore`: `DynamoStore`, awaited. The plans are the same."""

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
    """Records in one DynamoDB table; an `AsyncStore`, safe to share between tasks.

    *client* is a low-level client whose calls are awaited: `dynamostore.wire.AsyncWireClient`, aiobotocore's, or anything
    with the calls of `AsyncDynamoClient`; `dynamostore.connect_async` makes a store with one that is set up for sessions.
    The other arguments, what each verb promises, and what it raises are those of `DynamoStore`.

    A verb that is cancelled may have been done or not, as after a lost connection: look, or try again. Each is one
    request that is conditional, or a transaction, so nothing is half done. (On a table without transactions, a renaming is two
    requests. If it is cancelled between them, the record stays as it was, and there is another under a token that no client has.)

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
        """The live record under *token*; None if it is missing, expired, or *token* is malformed.

        One GetItem (and a conditional DeleteItem if what it found had expired). Raises `CorruptRecordError`
        for an item that is not a record.
        """
        plan = self._plans.find(Hidden(token))
        del token
        return await self._run(plan)

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add or overwrite the record under *token*, whatever is there (as in SCS). One PutItem."""
        plan = self._plans.save(Hidden(token), Hidden(data), expiry)
        del token, data
        return await self._run(plan)

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """Add a record; raises `Conflict` if a live one has that token. One PutItem."""
        plan = self._plans.create(Hidden(token), Hidden(data), expiry)
        del token, data
        return await self._run(plan)

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """Write new data and expiry where *record* was read; `Conflict` as `DynamoStore.replace`. One UpdateItem."""
        plan = self._plans.replace(record, Hidden(data), expiry)
        del data
        return await self._run(plan)

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """Move the expiry and nothing else; `Conflict` if the record is gone. One UpdateItem."""
        return await self._run(self._plans.touch(record, expiry))

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """Put a new record under *token* and a marker in the place of *record*, as `DynamoStore.rename`.

        One TransactWriteItems. Raises `Conflict` as `replace` does, or if *token* is taken.
        """
        plan = self._plans.rename(record, Hidden(token), Hidden(data), expiry, grace)
        del token, data
        return await self._run(plan)

    async def remove(self, record: Record) -> None:
        """Delete *record* if it is still what was read, as `Store.remove`. One DeleteItem."""
        await self._run(self._plans.remove(record))

    async def delete(self, token: str) -> None:
        """Remove the record under *token*, or the one it was renamed to, as `DynamoStore.delete`."""
        plan = self._plans.delete(Hidden(token))
        del token
        await self._run(plan)

    async def ping(self) -> None:
        """Return if the table can be read; raise the `StoreError` that says why not. One GetItem."""
        await self._run(self._plans.ping())

    async def create_table(self, *, timeout: timedelta = timedelta(minutes=2)) -> None:  # noqa: ASYNC109 (as DynamoStore's)
        """Make the table unless it is there, and wait until it can be used, as `DynamoStore.create_table`."""
        await self._run(create_table(self.table, timeout=timeout.total_seconds()))

    async def close(self) -> None:
        """Close the client, if it can be closed.

        A store is an async context manager, too, which does so in the end, and which opens the client again, on the running
        loop, if this closed it before.
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
