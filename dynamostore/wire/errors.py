"""What can go wrong on the wire.

    Exception
     └─ WireError
         ├─ SettingsError              it cannot be set up so; also a ValueError
         ├─ CredentialsError           there are no credentials, or none that are whole
         ├─ ServiceError               DynamoDB answered, and said no
         └─ TransportError             no answer that counts; also an OSError
             ├─ ConnectError           nobody there: name, address, time-out, TLS; nothing was sent
             │   ├─ CertificateError   somebody is there who cannot prove to be it; never tried again
             │   └─ CredentialsUnavailableError   who gives out credentials did not answer
             ├─ ReplyTimeoutError      no reply in time
             ├─ ConnectionLostError    the connection ended before the reply did
             └─ DamagedReplyError      what came is not a whole reply of DynamoDB's

`ServiceError` has the shape of botocore's ``ClientError`` (its ``response`` and ``operation_name``), so that code
which reads the one reads the other. No message holds a credential, a key, an item, or a byte of a reply's body.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamostore._texts import MAX_CODE, quoted

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


class WireError(Exception):
    """The base of all that a wire client raises, but for `TypeError` for arguments that an operation has not."""


class SettingsError(WireError, ValueError):
    """The client cannot be set up so: a setting makes no sense, or asks for what it does not have."""


class CredentialsError(WireError):
    """No credentials were found, half of a pair was, or they could not be renewed."""


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
    """No reply that counts has come; of a write it is not known whether it was done."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""


class CertificateError(ConnectError):
    """The server's certificate is not one to trust: its issuer, its host name, or its dates."""


class CredentialsUnavailableError(ConnectError):
    """Credentials could not be fetched in time, or who gives them out (STS, instance metadata) could not be reached.

    Nothing was sent. It says nothing about whether there are credentials, as `CredentialsError` does.
    """


class ReplyTimeoutError(TransportError):
    """No reply came in time."""


class ConnectionLostError(TransportError):
    """The connection was closed or reset before the reply was there."""


class DamagedReplyError(TransportError):
    """What came is no HTTP, too much of it, not DynamoDB's, or not what its checksum says."""
