"""A lean low-level DynamoDB client, sync and async over one core; what a session store asks for, and fast.

`WireClient` and `AsyncWireClient` have the methods, keyword arguments and reply shapes of boto3's low-level client for the
operations that a store uses, and typed: `DynamoStore(WireClient())` and `DynamoStore(boto3.client("dynamodb"))` are one
thing to the store.
"""

from typing import TYPE_CHECKING

from ._sigv4 import Credentials
from .client import WireClient
from .errors import (
    CertificateError,
    ConnectError,
    ConnectionLostError,
    CredentialsError,
    CredentialsUnavailableError,
    DamagedReplyError,
    ReplyTimeoutError,
    ServiceError,
    SettingsError,
    TransportError,
    WireError,
)

if TYPE_CHECKING:
    from .aio import AsyncWireClient

__all__ = [
    "AsyncWireClient",
    "CertificateError",
    "ConnectError",
    "ConnectionLostError",
    "Credentials",
    "CredentialsError",
    "CredentialsUnavailableError",
    "DamagedReplyError",
    "ReplyTimeoutError",
    "ServiceError",
    "SettingsError",
    "TransportError",
    "WireClient",
    "WireError",
]


def __getattr__(name: str) -> object:
    # asyncio takes as long to import as all the rest, and a synchronous program has no use for it.
    if name == "AsyncWireClient":
        from .aio import AsyncWireClient

        return AsyncWireClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
