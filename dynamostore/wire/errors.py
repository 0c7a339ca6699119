"""What can go wrong on the wire.

    Exception
     └─ WireError
         ├─ SettingsError              invalid settings; also a ValueError
         ├─ CredentialsError           no credentials, or none that can be used
         ├─ ServiceError               DynamoDB refused the call, or failed
         └─ TransportError             no valid reply; also an OSError
             ├─ ConnectError           no connection: name, address, time-out, TLS; nothing was sent
             │   ├─ CertificateError   the server's certificate is not trusted; never retried
             │   └─ CredentialsUnavailableError   the source of the credentials did not answer
             ├─ ReplyTimeoutError      no reply in time
             ├─ ConnectionLostError    the connection ended before the reply did
             └─ DamagedReplyError      the reply is incomplete, damaged, or not DynamoDB's

`ServiceError` has the shape of botocore's ``ClientError`` (its ``response`` and ``operation_name``), so that code
which reads the one reads the other. No message holds a credential, a key or an item. Of a reply's body, a message quotes only
DynamoDB's error code and message.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamostore._texts import MAX_CODE, quoted
from dynamostore.documented import Documented

__all__ = [
    "CertificateError",
    "ConnectError",
    "ConnectionLostError",
    "CredentialsError",
    "CredentialsUnavailableError",
    "DamagedReplyError",
    "ReplyTimeoutError",
    "ServiceError",
    "SettingsError",
    "TransportError",
    "WireError",
]


class WireError(Documented, Exception):
    """The base of all errors of a wire client, except `TypeError` for arguments that an operation does not have."""


class SettingsError(WireError, ValueError):
    """Invalid settings: a value makes no sense, or the client does not support it."""


class CredentialsError(WireError):
    """The client found no credentials, found half of a pair, or could not renew them."""


class ServiceError(WireError):
    """DynamoDB refused, or failed to do, what it was asked.

    Attributes: *response*, a dict as botocore's ``ClientError`` has it (``Error`` with ``Code`` and ``Message``,
    ``ResponseMetadata``, and what an error brings along: ``Item``, ``CancellationReasons``, ``ThrottlingReasons``), and
    *operation_name* (``"GetItem"``).

    >>> error = ServiceError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "GetItem")
    >>> error.code
    'ThrottlingException'
    >>> str(error)
    'GetItem: slow down (ThrottlingException)'
    """

    def __init__(self, response: Mapping[str, object], operation_name: str) -> None:
        self.response = response
        self.operation_name = operation_name
        reason = quoted(self._detail("Message") or "no reason was given")
        super().__init__(f"{operation_name}: {reason} ({quoted(self.code, MAX_CODE)})")

    @property
    def code(self) -> str:
        """DynamoDB's own name for it."""
        return self._detail("Code")

    @property
    def status(self) -> int:
        """The reply's HTTP status; 0 where there was none."""
        metadata = self.response.get("ResponseMetadata")
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
        return status if isinstance(status, int) else 0

    def _detail(self, name: str) -> str:
        details = self.response.get("Error")
        return str(details.get(name) or "") if isinstance(details, Mapping) else ""

    def __reduce__(self) -> tuple[type[ServiceError], tuple[Mapping[str, object], str]]:
        return type(self), (self.response, self.operation_name)


class TransportError(WireError, OSError):
    """No valid reply arrived. A write may have been applied."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""


class CertificateError(ConnectError):
    """The server's certificate is not trusted: its issuer, host name or dates are wrong."""


class CredentialsUnavailableError(ConnectError):
    """The client could not fetch credentials in time, or could not reach their source (STS, instance metadata).

    Nothing was sent to DynamoDB. There may be credentials; if the client knows that there are none, it raises `CredentialsError`.
    """


class ReplyTimeoutError(TransportError):
    """No reply came in time."""


class ConnectionLostError(TransportError):
    """The connection was closed or reset before the reply was there."""


class DamagedReplyError(TransportError):
    """The reply is not valid HTTP, is too large, does not come from DynamoDB, or does not match its checksum."""
