"""`AsyncWireClient`: DynamoDB's low-level calls on an event loop."""

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
    """`WireClient <dynamostore.wire.WireClient>` on asyncio, or uvloop: the same arguments, methods awaited.

    *max_connections*: how many calls may be under way at once; more wait in line, in their order. A call may be cancelled
    at any time: its connection is closed, so that its reply can be nobody else's. What botocore does to find and renew
    credentials is done in a thread.

    For one event loop at a time: on another one it begins anew. Close it (``await close()``), or use it as a context
    manager.

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
    """A reply that it returns is whole, and DynamoDB's: a store need not look again."""

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
        # It may hold a password, and is refused then.
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
            # The environment was read: it holds the secret key.
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
        """Where it sends its calls: ``region_name`` and ``endpoint_url``."""
        return self._setup.meta

    async def get_item(self, **arguments: Unpack[types.GetItem]) -> types.GetItemReply:
        """GetItem: one item by its key."""
        return await self._call(types.GET_ITEM, arguments)

    async def put_item(self, **arguments: Unpack[types.PutItem]) -> types.WriteItemReply:
        """PutItem: a whole item."""
        return await self._call(types.PUT_ITEM, arguments)

    async def update_item(self, **arguments: Unpack[types.UpdateItem]) -> types.WriteItemReply:
        """UpdateItem: some attributes of an item."""
        return await self._call(types.UPDATE_ITEM, arguments)

    async def delete_item(self, **arguments: Unpack[types.DeleteItem]) -> types.WriteItemReply:
        """DeleteItem: an item by its key."""
        return await self._call(types.DELETE_ITEM, arguments)

    async def transact_write_items(
        self, **arguments: Unpack[types.TransactWriteItems]
    ) -> types.TransactWriteItemsReply:
        """TransactWriteItems: all of several writes, or none."""
        return await self._call(types.TRANSACT_WRITE_ITEMS, arguments)

    async def batch_get_item(self, **arguments: Unpack[types.BatchGetItem]) -> types.BatchGetItemReply:
        """BatchGetItem: at most 100 items by their keys, or as many of them as it can."""
        return await self._call(types.BATCH_GET_ITEM, arguments)

    async def batch_write_item(self, **arguments: Unpack[types.BatchWriteItem]) -> types.BatchWriteItemReply:
        """BatchWriteItem: at most 25 whole items put or deleted, or as many of them as it can."""
        return await self._call(types.BATCH_WRITE_ITEM, arguments)

    async def scan(self, **arguments: Unpack[types.Scan]) -> types.ScanReply:
        """Scan: a page of a table's items."""
        return await self._call(types.SCAN, arguments)

    async def create_table(self, **arguments: Unpack[types.CreateTable]) -> types.Reply:
        """CreateTable."""
        return await self._call(types.CREATE_TABLE, arguments)

    async def delete_table(self, **arguments: Unpack[types.TableName]) -> types.Reply:
        """DeleteTable."""
        return await self._call(types.DELETE_TABLE, arguments)

    async def describe_table(self, **arguments: Unpack[types.TableName]) -> types.DescribeTableReply:
        """DescribeTable: status, key and attributes."""
        return await self._call(types.DESCRIBE_TABLE, arguments)

    async def describe_time_to_live(self, **arguments: Unpack[types.TableName]) -> types.DescribeTimeToLiveReply:
        """DescribeTimeToLive."""
        return await self._call(types.DESCRIBE_TIME_TO_LIVE, arguments)

    async def describe_continuous_backups(
        self, **arguments: Unpack[types.TableName]
    ) -> types.DescribeContinuousBackupsReply:
        """DescribeContinuousBackups: whether the table can be brought back to a point in time."""
        return await self._call(types.DESCRIBE_CONTINUOUS_BACKUPS, arguments)

    async def update_time_to_live(self, **arguments: Unpack[types.UpdateTimeToLive]) -> types.Reply:
        """UpdateTimeToLive."""
        return await self._call(types.UPDATE_TIME_TO_LIVE, arguments)

    async def close(self) -> None:
        """Close its connections; calls that are under way fail, and after this a call is a `RuntimeError`.

        To enter it again, ``async with client: ...``, opens it again, on whichever loop that is.
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
        # Its settings may have been refused.
        return f"<AsyncWireClient {self.meta.endpoint_url}>" if hasattr(self, "_setup") else "<AsyncWireClient>"

    async def _call(self, operation: Operation[R], arguments: Mapping[str, object]) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "the async store and its client need asyncio, and this runs on another event loop (trio, say): run it on asyncio, "
                "or call a synchronous store in threads"
            ) from None
        return await arun(self._setup.call(operation, arguments), self._driver, sleep=asyncio.sleep)


class _Driver:
    """What the plan of a call asks for, done on the running loop."""

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
            # Another loop's connections are left alone: it is over, or its thread's, or (after a fork) the parent's.
            pool = self.pool = self._make_pool()
        return pool.exchange(endpoint, request, timeout, read, fresh=fresh)

    def reopen(self) -> None:
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        pool, self.pool = self.pool, None
        if pool is not None and pool.belongs_to(asyncio.get_running_loop()):
            await pool.close()
