"""`WireClient`, a low-level DynamoDB client for threads."""

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
    """A low-level DynamoDB client with boto3's methods, arguments and replies, at a tenth of the CPU time.

    Settings that are not passed come from the same sources as boto3's. These settings are *region*, *endpoint_url*,
    *profile*, *ca_bundle* (``AWS_CA_BUNDLE``), *attempts* (``AWS_MAX_ATTEMPTS``, default 4) and *credentials*. The client
    finds credentials with boto3's whole chain and renews them before they expire. It uses TLS, and always verifies it,
    unless *endpoint_url* begins with ``http://``.

    Timeouts are in seconds:

    - *connect_timeout*: to find and reach the server, TLS included.
    - *read_timeout*: how long nothing may move, neither a byte of the reply nor of a large request.
    - *call_timeout*: for a whole call, retries included.
    - *keep_idle*: how long a connection stays open without a call.

    *clock* returns Unix seconds.

    The client retries throttling, 5xx, lost connections and damaged replies as the SDKs' standard mode does. If the retries
    fail, it raises a `ServiceError`, which has the shape of botocore's ``ClientError``, or a `TransportError`, which is an
    `OSError`. For settings that it does not support, such as an HTTP proxy, it raises a `SettingsError` that says what to
    do instead.

    A client can be shared between threads and used after a fork. It opens as many connections as there are calls at the
    same time. Close the client, or use it as a context manager. Otherwise its connections close when it is garbage-collected.

    >>> from dynamostore.local import LocalDynamoDB
    >>> with LocalDynamoDB() as dynamodb, WireClient("us-east-1", dynamodb.url, credentials=Credentials("a", "b")) as client:
    ...     try:
    ...         client.get_item(TableName="sessions", Key={"token": {"S": "abc"}})
    ...     except OSError:
    ...         print("no reply")
    ...     except Exception as error:
    ...         print(error.response["Error"]["Code"])
    ResourceNotFoundException
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
        clock: Callable[[], float] = time.time,
    ) -> None:
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
            SocketPool(
                self._setup.trust, connect_timeout=connect_timeout, read_timeout=read_timeout, keep_idle=keep_idle
            ),
        )

    @property
    def meta(self) -> Meta:
        """The ``region_name`` and ``endpoint_url`` that the client uses."""
        return self._setup.meta

    def get_item(self, **arguments: Unpack[types.GetItem]) -> types.GetItemReply:
        """GetItem: read one item by its key."""
        return self._call(types.GET_ITEM, arguments)

    def put_item(self, **arguments: Unpack[types.PutItem]) -> types.WriteItemReply:
        """PutItem: write a whole item."""
        return self._call(types.PUT_ITEM, arguments)

    def update_item(self, **arguments: Unpack[types.UpdateItem]) -> types.WriteItemReply:
        """UpdateItem: change some attributes of an item."""
        return self._call(types.UPDATE_ITEM, arguments)

    def delete_item(self, **arguments: Unpack[types.DeleteItem]) -> types.WriteItemReply:
        """DeleteItem: delete an item by its key."""
        return self._call(types.DELETE_ITEM, arguments)

    def transact_write_items(self, **arguments: Unpack[types.TransactWriteItems]) -> types.TransactWriteItemsReply:
        """TransactWriteItems: do several writes, all or nothing."""
        return self._call(types.TRANSACT_WRITE_ITEMS, arguments)

    def batch_get_item(self, **arguments: Unpack[types.BatchGetItem]) -> types.BatchGetItemReply:
        """BatchGetItem: read up to 100 items by their keys. DynamoDB may leave some unprocessed."""
        return self._call(types.BATCH_GET_ITEM, arguments)

    def batch_write_item(self, **arguments: Unpack[types.BatchWriteItem]) -> types.BatchWriteItemReply:
        """BatchWriteItem: put or delete up to 25 whole items. DynamoDB may leave some unprocessed."""
        return self._call(types.BATCH_WRITE_ITEM, arguments)

    def scan(self, **arguments: Unpack[types.Scan]) -> types.ScanReply:
        """Scan: read a page of a table's items."""
        return self._call(types.SCAN, arguments)

    def create_table(self, **arguments: Unpack[types.CreateTable]) -> types.Reply:
        """CreateTable: create a table."""
        return self._call(types.CREATE_TABLE, arguments)

    def delete_table(self, **arguments: Unpack[types.TableName]) -> types.Reply:
        """DeleteTable: delete a table and its items."""
        return self._call(types.DELETE_TABLE, arguments)

    def describe_table(self, **arguments: Unpack[types.TableName]) -> types.DescribeTableReply:
        """DescribeTable: read a table's status, key and attributes."""
        return self._call(types.DESCRIBE_TABLE, arguments)

    def describe_time_to_live(self, **arguments: Unpack[types.TableName]) -> types.DescribeTimeToLiveReply:
        """DescribeTimeToLive: read whether TTL is on, and for which attribute."""
        return self._call(types.DESCRIBE_TIME_TO_LIVE, arguments)

    def describe_continuous_backups(self, **arguments: Unpack[types.TableName]) -> types.DescribeContinuousBackupsReply:
        """DescribeContinuousBackups: read whether the table can be restored to a point in time."""
        return self._call(types.DESCRIBE_CONTINUOUS_BACKUPS, arguments)

    def update_time_to_live(self, **arguments: Unpack[types.UpdateTimeToLive]) -> types.Reply:
        """UpdateTimeToLive: turn TTL on or off."""
        return self._call(types.UPDATE_TIME_TO_LIVE, arguments)

    def close(self) -> None:
        """Close the connections. A call that is under way still finishes; later calls raise `RuntimeError`.

        Entering the client again, with ``with client: ...``, reopens it.
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
        # After invalid settings, there is no _setup.
        return f"<WireClient {self.meta.endpoint_url}>" if hasattr(self, "_setup") else "<WireClient>"

    def _call(self, operation: Operation[R], arguments: Mapping[str, object]) -> R:
        return run(self._setup.call(operation, arguments), self._driver, sleep=sleep)


class _Driver:
    """Executes the plan of a call on sockets."""

    def __init__(self, setup: Setup, pool: SocketPool) -> None:
        self.pool = pool
        self.exchange = pool.exchange
        self.fetch = setup.access.fetch
