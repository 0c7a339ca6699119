"""`connect`: a store on a boto3 client that is configured as a session store wants it."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping
from typing import Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from ._instants import Clock
from .client import DynamoClient
from .errors import AccessDeniedError
from .store import DynamoStore
from .table import Table

__all__ = ["connect"]

CONNECT_TIMEOUT: Final = 1.0
READ_TIMEOUT: Final = 2.0
ATTEMPTS: Final = 3


def connect(
    table: str | Table = Table(),  # noqa: B008 (frozen, so one for all is right)
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    threads: int = 10,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    attempts: int = ATTEMPTS,
    consistent_read: bool = True,
    evict_expired: bool = True,
    clock: Clock = time.time_ns,
) -> DynamoStore:
    """A `DynamoStore` on a new boto3 client, set up for sessions.

    *table* is the table's name, or a `Table` with all its names. *region*, *endpoint_url* and *profile* are
    as boto3 has them; left out, they come from the environment and the AWS configuration files. The rest of
    what boto3 can be told is better told to boto3: make a client and pass it to `DynamoStore`.

    What is set, and why:

    - *connect_timeout* 1 s and *read_timeout* 2 s (boto3: 60 s each). DynamoDB answers in milliseconds; a
      request that waits a minute for its session has lost its user, and its thread, long before.
    - *attempts* 3 in all, retry mode "standard" (boto3: "legacy", 10 attempts; since 1.44 "standard", 4). Throttling and
      5xx are retried with jitter and a quota; in the worst case a call ends after some 10 s, not minutes.
    - TCP keep-alive, so that a connection that a NAT or a load balancer has dropped is noticed.
    - A connection pool of *threads* (boto3: 10): give the number of threads that share the store, or they
      will open, sign in and throw away connections under load.
    - Every reply is checked: by its checksum (botocore before 1.44 does that in mode "legacy" only), and without one for
      being JSON at all. One that was damaged on its way, or that a proxy made up, would else be read as "no such
      session", or as a write that was done. It is retried as if it had not come.
    - No parameter validation: what the store sends is typed already, and the service checks again. It saves
      some 50 µs of CPU a call.

    Raises `ValueError` if no region is configured or an argument makes no sense, and `AccessDeniedError` for half
    a pair of credentials; that there are none is found out by the first call, which raises it then.

    >>> connect("sessions", region="eu-central-1")
    <DynamoStore table 'sessions'>
    """
    if threads < 1 or attempts < 1 or connect_timeout <= 0 or read_timeout <= 0:
        raise ValueError("threads and attempts must be at least 1, and the time-outs more than 0 seconds")
    client = make_client(
        region=region,
        endpoint_url=endpoint_url,
        profile=profile,
        threads=threads,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        attempts=attempts,
    )
    return DynamoStore(
        client,
        Table(name=table) if isinstance(table, str) else table,
        consistent_read=consistent_read,
        evict_expired=evict_expired,
        clock=clock,
    )


def make_client(
    *,
    region: str | None,
    endpoint_url: str | None,
    profile: str | None = None,
    threads: int = 10,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
    attempts: int = ATTEMPTS,
    keys: tuple[str, str] | None = None,
) -> DynamoClient:
    """The boto3 client of `connect`; *keys*, an access key and its secret, instead of what is configured."""
    # Imported here: a program that brings its own client need not have boto3 at all.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, NoRegionError, PartialCredentialsError, ProfileNotFound

    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        tcp_keepalive=True,
        max_pool_connections=threads,
        parameter_validation=False,
        user_agent_extra="dynamostore",
    )
    access_key, secret_key = keys or (None, None)
    try:
        # A port out of range botocore would only notice at the first call.
        _ = urlsplit(endpoint_url or "").port
        session = boto3.Session(
            profile_name=profile,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
        )
        client = session.client("dynamodb", endpoint_url=endpoint_url, config=config)
        client.meta.events.register("before-parse.dynamodb", _spot_damage)
        client.meta.events.register("after-call.dynamodb", _refuse_damage)
    except PartialCredentialsError as error:
        raise AccessDeniedError(f"connect: no usable AWS credentials: {error}") from error
    except NoRegionError as error:
        raise ValueError("connect: no region is configured: give region=..., or set AWS_REGION") from error
    except ProfileNotFound as error:
        raise ValueError(f"connect: {error} (profile=... or AWS_PROFILE)") from error
    except (BotoCoreError, ValueError) as error:
        raise ValueError(f"connect: {error} (look at region=... and endpoint_url=...)") from error
    return client


# What SDKs retry without further ado; it is no code of DynamoDB's own.
_DAMAGED: Final = "RequestTimeout"


def _spot_damage(response_dict: MutableMapping[str, object], **_: object) -> None:
    """Before a reply is parsed: have one that is damaged, or is not DynamoDB's, read as an error that is retried."""
    body, headers = response_dict["body"], response_dict["headers"]
    assert isinstance(body, bytes)
    assert isinstance(headers, Mapping)
    checksum = headers.get("x-amz-crc32")
    if _is_json(body) if checksum is None else checksum == str(crc32(body)):
        return
    message = f"the reply, of status {response_dict['status_code']}, was damaged on its way or is not DynamoDB's"
    response_dict["body"] = msgspec.json.encode({"__type": _DAMAGED, "message": message})
    response_dict["status_code"] = 500


def _refuse_damage(http_response: object, parsed: Mapping[str, object], model: object, **_: object) -> None:
    """When all attempts are over: raise for what botocore takes for a success, by its status."""
    from botocore.exceptions import ClientError

    if "Error" in parsed and getattr(http_response, "status_code", 0) < 300:
        raise ClientError(parsed, getattr(model, "name", ""))  # type: ignore[arg-type]  # as botocore parsed it


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False
