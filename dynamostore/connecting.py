"""`connect` and `connect_async`: return a store with a new client whose settings fit sessions."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
    """Return a `DynamoStore` with a new client whose settings fit sessions.

    *table* is the table's name, or a `Table` if its attributes have other names. *region*, *endpoint_url* and *profile* have
    the same meaning as in boto3. By default, they come from the environment and the AWS configuration files. Credentials
    always come from there.

    *via* chooses the client. "wire" is the package's own `WireClient <dynamostore.wire.WireClient>`, which needs a fraction of
    the CPU time. Choose "boto3" to use an HTTP proxy, boto3's event hooks, or moto's ``mock_aws``, which replaces only what
    boto3 sends. For settings that `connect` does not have, create a client and pass it to `DynamoStore`.

    The settings and their reasons:

    - *connect_timeout* is 1 s and *read_timeout* is 2 s (boto3: 60 s each). DynamoDB replies within milliseconds. No user
      waits a minute, and the wait blocks a thread.
    - *attempts* is 3, including the first, in retry mode "standard" (boto3: 10 in mode "legacy"; since 1.44, 4 in mode
      "standard"). Throttling and 5xx are retried with jitter and a quota. A call takes at most about 10 s. With longer
      timeouts, it can take as long as all attempts together.
    - TCP keep-alive is on. It detects connections that a NAT or a load balancer has dropped.
    - The client checks each reply: that its checksum matches (botocore before 1.44 checks it only in mode "legacy"), and that
      it comes from DynamoDB. Without these checks, a damaged reply, or a proxy's reply, could be taken for "no such session"
      or for a successful write. The client retries such a reply as if it had not arrived.
    - *threads* applies to boto3 only. It is the size of the connection pool (boto3's own default, too). Pass the number of
      threads that share the store. Otherwise, they open and discard TLS connections under load. The wire client
      opens as many connections as there are calls at the same time.
    - boto3's parameter validation is off: the store's calls are typed, and DynamoDB validates them, too.

    Raises `ValueError` if no region is configured or an argument is not valid. Raises `AccessDeniedError` if only half of a key
    pair is configured, at the latest at the first call. Missing credentials are found at the first call. With "boto3", also
    raises `AccessDeniedError` if a ``credential_process`` or a container's agent fails: boto3 asks them immediately.

    >>> with connect("sessions", region="eu-central-1") as store:
    ...     store
    <DynamoStore table 'sessions'>
    """
    url = Hidden(endpoint_url)
    del endpoint_url
    table = _table(table)
    _check({"threads": threads, "attempts": attempts}, connect_timeout, read_timeout)
    client: DynamoClient
    if via == "boto3":
        from ._boto3 import boto3_client  # imported here, so that boto3 is only needed when it is used

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
    """Return an `AsyncDynamoStore` with a new `AsyncWireClient <dynamostore.wire.AsyncWireClient>`. Settings are as in `connect`.

    *max_connections* is the most calls that run at the same time. Further calls wait. This function opens no connection and
    needs no event loop, so you can call it at import time. Use the store in an ``async with`` block, or end with
    ``await store.close()``.

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
    _check({"max_connections": max_connections, "attempts": attempts}, connect_timeout, read_timeout)
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
        raise TypeError(
            f"table must be a str or a Table, not {type(table).__name__}; pass the name, or Table(name=...)"
        )
    return table


def _check(numbers: Mapping[str, int], connect_timeout: float, read_timeout: float) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, not {number!r}")
    for name, seconds in (("connect_timeout", connect_timeout), ("read_timeout", read_timeout)):
        if seconds <= 0:
            raise ValueError(f"{name} must be more than 0 seconds, not {seconds!r}")


def _call_timeout(attempts: int, connect_timeout: float, read_timeout: float) -> float:
    """Return the timeout of a call: long enough that all attempts can use their timeouts."""
    from .wire.timeouts import CALL_TIMEOUT

    return max(CALL_TIMEOUT, attempts * (connect_timeout + read_timeout))
