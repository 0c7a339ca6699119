"""`AsyncWireClient`, a low-level DynamoDB client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar, Unpack

from dynamostore.hidden import Hidden, clear_frames
from dynamostore.process_bound import ProcessBound
from dynamostore.steps import arun

from . import types
from ._core import Endpoint
from ._http import RawReply
from ._settings import check_lengths
from ._setup import Meta, Setup
from ._sigv4 import Credentials
from ._sockets import CLOSED
from ._streams import StreamPool
from .timeouts import CALL_TIMEOUT, CONNECT_TIMEOUT, KEEP_IDLE, READ_TIMEOUT
from .types import Operation, Reply

__all__ = ["AsyncWireClient"]

R = TypeVar("R", bound=Reply)
T = TypeVar("T")

MAX_CONNECTIONS: Final = 50


class AsyncWireClient(ProcessBound, instead="make one in each process, or a store with dynamostore.connect_async(...)"):
    """`WireClient <dynamostore.wire.WireClient>` for asyncio and uvloop: the same arguments, with methods to await.

    *max_connections* limits the calls that are under way at the same time. More calls wait in a queue. A call can be
    cancelled at any time. The client then closes its connection, so no other call can receive its reply. Finding and
    renewing credentials with botocore runs in a thread.

    A client serves one event loop at a time. On another loop, it opens new connections. Close the client
    (``await client.close()``), or use it as a context manager.

    >>> import asyncio
    >>> from dynamostore.local import LocalDynamoDB
    >>> async def main(url: str) -> None:
    ...     async with AsyncWireClient("us-east-1", url, credentials=Credentials("key", "secret")) as client:
    ...         print((await client.scan(TableName="sessions"))["Count"])
    >>> with LocalDynamoDB() as dynamodb:
    ...     dynamodb.connect("sessions").create_table()
    ...     asyncio.run(main(dynamodb.url))
    0
    """

    checks_replies: Final = True
    """The client checks that each reply is complete and comes from DynamoDB, so a store does not have to."""

    def __init__(
        self,
        region: str | None = None,
        endpoint_url: str | None = None,
        *,
        profile: str | None = None,
        credentials: Credentials | None = None,
        ca_bundle: str | None = None,
        attempts: int | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        call_timeout: float = CALL_TIMEOUT,
        keep_idle: float = KEEP_IDLE,
        max_connections: int = MAX_CONNECTIONS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_lengths(max_connections=max_connections)
        # A URL with a password is refused. Keep it out of the frames of the error.
        url = Hidden(endpoint_url)
        del endpoint_url
        try:
            self._setup = Setup(
                region,
                url.reveal(),
                profile=profile,
                credentials=credentials,
                ca_bundle=ca_bundle,
                attempts=attempts,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                call_timeout=call_timeout,
                keep_idle=keep_idle,
                clock=clock,
            )
        except BaseException as error:
            # The frames hold the environment, with the secret key.
            clear_frames(error)
            raise
        self._driver = _Driver(
            self._setup,
            lambda: StreamPool(
                self._setup.trust,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                keep_idle=keep_idle,
                limit=max_connections,
            ),
        )

    @property
    def meta(self) -> Meta:
        """The ``region_name`` and ``endpoint_url`` that the client uses."""
        return self._setup.meta

    async def get_item(self, **arguments: Unpack[types.GetItem]) -> types.GetItemReply:
        """GetItem: read one item by its key."""
        return await self._call(types.GET_ITEM, arguments)

    async def put_item(self, **arguments: Unpack[types.PutItem]) -> types.WriteItemReply:
        """PutItem: write a whole item."""
        return await self._call(types.PUT_ITEM, arguments)

    async def update_item(self, **arguments: Unpack[types.UpdateItem]) -> types.WriteItemReply:
        """UpdateItem: change some attributes of an item."""
        return await self._call(types.UPDATE_ITEM, arguments)

    async def delete_item(self, **arguments: Unpack[types.DeleteItem]) -> types.WriteItemReply:
        """DeleteItem: delete an item by its key."""
        return await self._call(types.DELETE_ITEM, arguments)

    async def transact_write_items(
        self, **arguments: Unpack[types.TransactWriteItems]
    ) -> types.TransactWriteItemsReply:
        """TransactWriteItems: do several writes, all or nothing."""
        return await self._call(types.TRANSACT_WRITE_ITEMS, arguments)

    async def batch_get_item(self, **arguments: Unpack[types.BatchGetItem]) -> types.BatchGetItemReply:
        """BatchGetItem: read up to 100 items by their keys. DynamoDB may leave some unprocessed."""
        return await self._call(types.BATCH_GET_ITEM, arguments)

    async def batch_write_item(self, **arguments: Unpack[types.BatchWriteItem]) -> types.BatchWriteItemReply:
        """BatchWriteItem: put or delete up to 25 whole items. DynamoDB may leave some unprocessed."""
        return await self._call(types.BATCH_WRITE_ITEM, arguments)

    async def scan(self, **arguments: Unpack[types.Scan]) -> types.ScanReply:
        """Scan: read a page of a table's items."""
        return await self._call(types.SCAN, arguments)

    async def create_table(self, **arguments: Unpack[types.CreateTable]) -> types.Reply:
        """CreateTable: create a table."""
        return await self._call(types.CREATE_TABLE, arguments)

    async def delete_table(self, **arguments: Unpack[types.TableName]) -> types.Reply:
        """DeleteTable: delete a table and its items."""
        return await self._call(types.DELETE_TABLE, arguments)

    async def describe_table(self, **arguments: Unpack[types.TableName]) -> types.DescribeTableReply:
        """DescribeTable: read a table's status, key and attributes."""
        return await self._call(types.DESCRIBE_TABLE, arguments)

    async def describe_time_to_live(self, **arguments: Unpack[types.TableName]) -> types.DescribeTimeToLiveReply:
        """DescribeTimeToLive: read whether TTL is on, and for which attribute."""
        return await self._call(types.DESCRIBE_TIME_TO_LIVE, arguments)

    async def describe_continuous_backups(
        self, **arguments: Unpack[types.TableName]
    ) -> types.DescribeContinuousBackupsReply:
        """DescribeContinuousBackups: read whether the table can be restored to a point in time."""
        return await self._call(types.DESCRIBE_CONTINUOUS_BACKUPS, arguments)

    async def update_time_to_live(self, **arguments: Unpack[types.UpdateTimeToLive]) -> types.Reply:
        """UpdateTimeToLive: turn TTL on or off."""
        return await self._call(types.UPDATE_TIME_TO_LIVE, arguments)

    async def close(self) -> None:
        """Close all connections. Calls that are under way fail, and later calls raise `RuntimeError`.

        Entering the client again, with ``async with client: ...``, reopens it, on any event loop.
        """
        await self._driver.close()

    async def __aenter__(self) -> Self:
        self._driver.reopen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        # After invalid settings, there is no _setup.
        return f"<AsyncWireClient {self.meta.endpoint_url}>" if hasattr(self, "_setup") else "<AsyncWireClient>"

    async def _call(self, operation: Operation[R], arguments: Mapping[str, object]) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "the async store and its client need asyncio, but this code runs on another event loop (such as trio): run it on asyncio, "
                "or use a synchronous store in threads"
            ) from None
        return await arun(self._setup.call(operation, arguments), self._driver, sleep=asyncio.sleep)


class _Driver:
    """Executes the plan of a call on the running event loop."""

    def __init__(self, setup: Setup, make_pool: Callable[[], StreamPool]) -> None:
        self.fetch = setup.access.afetch
        self._make_pool = make_pool
        self._closed = False
        self.pool: StreamPool | None = None

    def exchange(
        self, endpoint: Endpoint, request: Hidden[bytes], timeout: float, read: Callable[[RawReply], T], *, fresh: bool
    ) -> Awaitable[T]:
        if self._closed:
            raise RuntimeError(CLOSED)
        pool = self.pool
        if pool is None or not pool.belongs_to(asyncio.get_running_loop()):
            # Do not touch another loop's connections. That loop has ended, runs in another thread, or is a forked parent's.
            pool = self.pool = self._make_pool()
        return pool.exchange(endpoint, request, timeout, read, fresh=fresh)

    def reopen(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        pool, self.pool = self.pool, None
        if pool is not None and pool.belongs_to(asyncio.get_running_loop()):
            await pool.close()
