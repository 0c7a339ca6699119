"""`connect` and `connect_async`: a store on a new client that is set up for sessions."""

from __future__ import annotations

import time
from typing import Final, Literal

from .aio import AsyncDynamoStore
from .client import DynamoClient
from .hidden import Hidden
from .instants import Clock
from .store import DynamoStore
from .table import Table

__all__ = ["connect", "connect_async"]

CONNECT_TIMEOUT: Final = 1.0
READ_TIMEOUT: Final = 2.0
ATTEMPTS: Final = 3


def connect(
    table: str | Table = "scs_session",
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    via: Literal["wire", "boto3"] = "wire",
    threads: int = 10,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    attempts: int = ATTEMPTS,
    consistent_read: bool = True,
    evict_expired: bool = True,
    clock: Clock = time.time_ns,
) -> DynamoStore:
    """A `DynamoStore` on a new client, set up for sessions.

    *table* is the table's name, or a `Table` with all its names. *region*, *endpoint_url* and *profile* are
    as boto3 has them; left out, they come from the environment and the AWS configuration files, and so do credentials.

    *via*: "wire", the package's own `WireClient <dynamostore.wire.WireClient>`, which takes a fraction of the CPU; or
    "boto3", where that is wanted: through an HTTP proxy, with boto3's event hooks, or under moto's ``mock_aws``, which
    replaces what boto3 sends and nothing else. For settings that are not here, make a client and pass it to `DynamoStore`.

    What is set, and why:

    - *connect_timeout* 1 s and *read_timeout* 2 s (boto3: 60 s each). DynamoDB answers in milliseconds; a
      request that waits a minute for its session has lost its user, and its thread, long before.
    - *attempts* 3 in all, retry mode "standard" (boto3: "legacy", 10 attempts; since 1.44 "standard", 4). Throttling and
      5xx are retried with jitter and a quota; in the worst case a call ends after some 10 s, not minutes (or, for longer
      time-outs, once all attempts may have used theirs).
    - TCP keep-alive, so that a connection that a NAT or a load balancer has dropped is noticed.
    - Every reply is checked: by its checksum (botocore before 1.44 does that in mode "legacy" only), and for being
      DynamoDB's at all. One that was damaged on its way, or that a proxy made up, would else be read as "no such
      session", or as a write that was done. It is retried as if it had not come.
    - For boto3, a connection pool of *threads* (its own default, too): give the number of threads that share the store, or
      they will open, sign in and throw away connections under load. And no parameter validation: what the store sends is
      typed already, and the service checks again. (The wire client opens as many connections as there are calls at once.)

    Raises `ValueError` if no region is configured or an argument makes no sense, and (at the latest with the first call)
    `AccessDeniedError` for half a pair of credentials; that there are none is found out by the first call. With "boto3", also
    `AccessDeniedError` if a ``credential_process`` or a container's agent fails, which boto3 asks at once.

    >>> with connect("sessions", region="eu-central-1") as store:
    ...     store
    <DynamoStore table 'sessions'>
    """
    url = Hidden(endpoint_url)
    del endpoint_url
    table = _table(table)
    _check(threads, attempts, connect_timeout, read_timeout)
    client: DynamoClient
    if via == "boto3":
        from ._boto3 import boto3_client  # who has no use for it need not have boto3 at all

        client = boto3_client(
            region=region,
            endpoint_url=url,
            profile=profile,
            threads=threads,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            attempts=attempts,
        )
    elif via == "wire":
        from .wire import WireClient

        client = WireClient(
            region,
            url.reveal(),
            profile=profile,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            call_timeout=_call_timeout(attempts, connect_timeout, read_timeout),
            attempts=attempts,
        )
    else:
        raise ValueError(f'via must be "wire" or "boto3", not {via!r}')
    return DynamoStore(client, table, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock)


def connect_async(
    table: str | Table = "scs_session",
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    max_connections: int = 50,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    attempts: int = ATTEMPTS,
    consistent_read: bool = True,
    evict_expired: bool = True,
    clock: Clock = time.time_ns,
) -> AsyncDynamoStore:
    """An `AsyncDynamoStore` on a new `AsyncWireClient <dynamostore.wire.AsyncWireClient>`, set up as `connect` does.

    *max_connections*: how many calls may be under way at once; more wait in line. Nothing is awaited yet: call it
    wherever the application is put together, and ``await store.close()`` in the end, or have it in an ``async with``.

    >>> import asyncio
    >>> async def main() -> None:
    ...     async with connect_async("sessions", region="eu-central-1") as store:
    ...         print(store)
    >>> asyncio.run(main())
    <AsyncDynamoStore table 'sessions'>
    """
    from .wire import AsyncWireClient

    url = Hidden(endpoint_url)
    del endpoint_url
    table = _table(table)
    _check(max_connections, attempts, connect_timeout, read_timeout)
    client = AsyncWireClient(
        region,
        url.reveal(),
        profile=profile,
        max_connections=max_connections,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        call_timeout=_call_timeout(attempts, connect_timeout, read_timeout),
        attempts=attempts,
    )
    return AsyncDynamoStore(client, table, consistent_read=consistent_read, evict_expired=evict_expired, clock=clock)


def _table(table: str | Table) -> Table:
    if isinstance(table, str):
        return Table(name=table)
    if not isinstance(table, Table):
        raise TypeError(f"table must be a str or a Table, not {type(table).__name__}: Table(name=...)")
    return table


def _check(at_once: int, attempts: int, connect_timeout: float, read_timeout: float) -> None:
    if at_once < 1 or attempts < 1 or connect_timeout <= 0 or read_timeout <= 0:
        raise ValueError("threads and attempts must be at least 1, and the time-outs more than 0 seconds")


def _call_timeout(attempts: int, connect_timeout: float, read_timeout: float) -> float:
    """Who waits longer for a reply, of a scan, say, means to have it."""
    from .wire.timeouts import CALL_TIMEOUT

    return max(CALL_TIMEOUT, attempts * (connect_timeout + read_timeout))
