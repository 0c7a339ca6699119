"""A small and fast low-level DynamoDB client, sync and async over one core. It has the operations that a store uses.

`WireClient` and `AsyncWireClient` have the methods, keyword arguments and reply shapes of boto3's low-level client, with
types. A store works the same on either: ``DynamoStore(WireClient())`` or ``DynamoStore(boto3.client("dynamodb"))``.
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
    # Importing asyncio takes as long as importing everything else here, and a synchronous program does not use it.
    if name == "AsyncWireClient":
        from .aio import AsyncWireClient

        return AsyncWireClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
