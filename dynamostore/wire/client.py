"""`WireClient`: DynamoDB's low-level calls over a few sockets, for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar, Unpack

from dynamostore.hidden import Hidden, clear_frames
from dynamostore.pauses import sleep
from dynamostore.process_bound import ProcessBound
from dynamostore.steps import run

from . import types
from ._setup import Meta, Setup
from ._sigv4 import Credentials
from ._sockets import SocketPool
from .timeouts import CALL_TIMEOUT, CONNECT_TIMEOUT, KEEP_IDLE, READ_TIMEOUT
from .types import Operation, Reply

__all__ = ["WireClient"]

R = TypeVar("R", bound=Reply)


class WireClient(ProcessBound, instead="make one in each process, or a store with dynamostore.connect(...)"):
    """A low-level DynamoDB client: methods, arguments and replies as boto3's have them, at a tenth of the CPU.

    Without arguments, everything comes from where boto3 would take it: *region*, *endpoint_url*, *profile*,
    *ca_bundle* (``AWS_CA_BUNDLE``), *attempts* (``AWS_MAX_ATTEMPTS``, else 4) and *credentials*, by its whole chain, renewed
    before they expire. ``http://`` is spoken only to an *endpoint_url* that says so; TLS is always verified.

    Time-outs in seconds: *connect_timeout*, to find and reach the server (TLS included); *read_timeout*, how long nothing may
    move, neither a byte of the reply nor of a large request; *call_timeout*, for all of a call, its retries included.
    *keep_idle*: after how many seconds without a call a connection is closed. *clock* gives Unix seconds.

    Throttling, 5xx, lost connections and damaged replies are tried again, as the SDKs' standard mode has it. What is left
    is a `ServiceError`, of the shape of botocore's ``ClientError``, or a `TransportError`, which is an `OSError`. Raises
    `SettingsError` for what cannot be had (an HTTP proxy, say), and says the way out.

    Safe to share between threads, and to fork: it opens as many connections as there are calls at once. Close it, or
    use it as a context manager; one that is forgotten is closed with its last reference.

    >>> from dynamostore.local import LocalDynamoDB
    >>> with LocalDynamoDB() as dynamodb, WireClient("us-east-1", dynamodb.url, credentials=Credentials("a", "b")) as client:
    ...     try:
    ...         client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})
    ...     except OSError:
    ...         print("no answer")
    ...     except Exception as error:
    ...         print(error.response["Error"]["Code"])
    ResourceNotFoundException
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
        clock: Callable[[], float] = time.time,
    ) -> None:
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
            SocketPool(
                self._setup.trust, connect_timeout=connect_timeout, read_timeout=read_timeout, keep_idle=keep_idle
            ),
        )

    @property
    def meta(self) -> Meta:
        """Where it sends its calls: ``region_name`` and ``endpoint_url``."""
        return self._setup.meta

    def get_item(self, **arguments: Unpack[types.GetItem]) -> types.GetItemReply:
        """GetItem: one item by its key."""
        return self._call(types.GET_ITEM, arguments)

    def put_item(self, **arguments: Unpack[types.PutItem]) -> types.WriteItemReply:
        """PutItem: a whole item."""
        return self._call(types.PUT_ITEM, arguments)

    def update_item(self, **arguments: Unpack[types.UpdateItem]) -> types.WriteItemReply:
        """UpdateItem: some attributes of an item."""
        return self._call(types.UPDATE_ITEM, arguments)

    def delete_item(self, **arguments: Unpack[types.DeleteItem]) -> types.WriteItemReply:
        """DeleteItem: an item by its key."""
        return self._call(types.DELETE_ITEM, arguments)

    def transact_write_items(self, **arguments: Unpack[types.TransactWriteItems]) -> types.TransactWriteItemsReply:
        """TransactWriteItems: all of several writes, or none."""
        return self._call(types.TRANSACT_WRITE_ITEMS, arguments)

    def batch_get_item(self, **arguments: Unpack[types.BatchGetItem]) -> types.BatchGetItemReply:
        """BatchGetItem: at most 100 items by their keys, or as many of them as it can."""
        return self._call(types.BATCH_GET_ITEM, arguments)

    def batch_write_item(self, **arguments: Unpack[types.BatchWriteItem]) -> types.BatchWriteItemReply:
        """BatchWriteItem: at most 25 whole items put or deleted, or as many of them as it can."""
        return self._call(types.BATCH_WRITE_ITEM, arguments)

    def scan(self, **arguments: Unpack[types.Scan]) -> types.ScanReply:
        """Scan: a page of a table's items."""
        return self._call(types.SCAN, arguments)

    def create_table(self, **arguments: Unpack[types.CreateTable]) -> types.Reply:
        """CreateTable."""
        return self._call(types.CREATE_TABLE, arguments)

    def delete_table(self, **arguments: Unpack[types.TableName]) -> types.Reply:
        """DeleteTable."""
        return self._call(types.DELETE_TABLE, arguments)

    def describe_table(self, **arguments: Unpack[types.TableName]) -> types.DescribeTableReply:
        """DescribeTable: status, key and attributes."""
        return self._call(types.DESCRIBE_TABLE, arguments)

    def describe_time_to_live(self, **arguments: Unpack[types.TableName]) -> types.DescribeTimeToLiveReply:
        """DescribeTimeToLive."""
        return self._call(types.DESCRIBE_TIME_TO_LIVE, arguments)

    def describe_continuous_backups(self, **arguments: Unpack[types.TableName]) -> types.DescribeContinuousBackupsReply:
        """DescribeContinuousBackups: whether the table can be brought back to a point in time."""
        return self._call(types.DESCRIBE_CONTINUOUS_BACKUPS, arguments)

    def update_time_to_live(self, **arguments: Unpack[types.UpdateTimeToLive]) -> types.Reply:
        """UpdateTimeToLive."""
        return self._call(types.UPDATE_TIME_TO_LIVE, arguments)

    def close(self) -> None:
        """Close its connections; after this a call is a `RuntimeError`. A call that is under way is let finish.

        To enter it again, ``with client: ...``, opens it again.
        """
        self._driver.pool.close()

    def __enter__(self) -> Self:
        self._driver.pool.reopen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        # Its settings may have been refused.
        return f"<WireClient {self.meta.endpoint_url}>" if hasattr(self, "_setup") else "<WireClient>"

    def _call(self, operation: Operation[R], arguments: Mapping[str, object]) -> R:
        return run(self._setup.call(operation, arguments), self._driver, sleep=sleep)


class _Driver:
    """What the plan of a call asks for, done on sockets."""

    def __init__(self, setup: Setup, pool: SocketPool) -> None:
        self.pool = pool
        self.exchange = pool.exchange
        self.fetch = setup.access.fetch
