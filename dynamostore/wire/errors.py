"""The errors of the wire clients.

    Exception
     └─ WireError
         ├─ SettingsError              invalid settings; also a ValueError
         ├─ CredentialsError           no usable credentials
         ├─ ServiceError               DynamoDB refused the call, or failed
         └─ TransportError             no valid reply; also an OSError
             ├─ ConnectError           no connection: name, address, time-out, TLS; nothing was sent
             │   ├─ CertificateError   the server's certificate is not trusted; never retried
             │   └─ CredentialsUnavailableError   no credentials: their source did not answer
             ├─ ReplyTimeoutError      no reply in time
             ├─ ConnectionLostError    the connection ended before the reply did
             └─ DamagedReplyError      invalid reply: incomplete, damaged, or not DynamoDB's

`ServiceError` has the attributes ``response`` and ``operation_name`` of botocore's ``ClientError``, so the same code can read
both. No message contains a credential, a key or an item. From a reply's body, a message quotes only DynamoDB's error code
and message.
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
    """The base class of the wire clients' errors. Unknown arguments raise `TypeError` instead."""


class SettingsError(WireError, ValueError):
    """Invalid settings: a value makes no sense, or the client does not support it."""


class CredentialsError(WireError):
    """The client found no credentials, found half of a pair, or could not renew them."""


class ServiceError(WireError):
    """DynamoDB refused the call, or failed.

    *response* is a dict with the keys of botocore's ``ClientError``: ``Error`` with ``Code`` and ``Message``,
    ``ResponseMetadata``, and for some errors ``Item``, ``CancellationReasons`` or ``ThrottlingReasons``. *operation_name* is
    the operation, such as ``"GetItem"``.

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
        """DynamoDB's error code, such as ``"ThrottlingException"``."""
        return self._detail("Code")

    @property
    def status(self) -> int:
        """The reply's HTTP status, or 0 if there was no reply."""
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

    Nothing was sent to DynamoDB. If the client knows that there are no credentials, it raises `CredentialsError` instead.
    """


class ReplyTimeoutError(TransportError):
    """No reply came in time."""


class ConnectionLostError(TransportError):
    """The connection was closed or reset before the whole reply had arrived."""


class DamagedReplyError(TransportError):
    """The reply is not valid HTTP, is too large, does not come from DynamoDB, or does not match its checksum."""
