"""The errors that stores raise, and DynamoDB's error codes for them::

    Exception
     └─ StoreError:              the store failed for another reason; base of the classes below
         ├─ TableNotFoundError:  the table does not exist in this region and account
         ├─ TableSchemaError:    a table of this name exists, but with another key or TTL
         ├─ AccessDeniedError:   no credentials, wrong credentials, or missing permissions
         ├─ ThrottledError:      the table or the account is over its limits; try again later
         ├─ UnavailableError:    network, timeout or 5xx; a write may have been applied
         ├─ ItemTooLargeError:   the item is larger than DynamoDB's 400 KB
         ├─ CorruptRecordError:  an item exists, but cannot be decoded as a record
         └─ Conflict:            the record has changed or is gone, or its token is taken

A missing record is not an error but ``None``. A mistake of the caller, such as an empty token for ``save`` or a naive
expiry, raises `ValueError` or `TypeError` before any call.

Messages never contain a token or data. They name a record by its `digest <dynamostore.digests.digest>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .contract import Record
from .documented import Documented

__all__ = [
    "CODES",
    "MAX_ITEM",
    "AccessDeniedError",
    "Conflict",
    "CorruptRecordError",
    "ItemTooLargeError",
    "StoreError",
    "TableNotFoundError",
    "TableSchemaError",
    "ThrottledError",
    "ThrottlingReason",
    "UnavailableError",
]


MAX_ITEM: Final = 400 * 1024
"""DynamoDB's maximum size of an item, in bytes as DynamoDB counts them."""


class StoreError(Documented, Exception):
    """A call to the store failed. The base class of all errors that stores raise.

    Attributes: *operation*, the DynamoDB call that failed, such as ``"GetItem"``; *code*, DynamoDB's error code, such as
    ``"ThrottlingException"``. Both are str, or None if there is no such call or code. The client's exception, if any, is the
    ``__cause__``.

    >>> try:
    ...     raise ThrottledError("slow down", operation="GetItem", code="ThrottlingException")
    ... except StoreError as error:
    ...     print(error.operation, error.code)
    GetItem ThrottlingException
    """

    def __init__(self, message: str = "", *, operation: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.operation: str | None = operation
        self.code: str | None = code


class TableNotFoundError(StoreError):
    """The table does not exist in this region and account. Call ``store.create_table()`` to create it."""


class TableSchemaError(StoreError):
    """A table of this name exists, but its key or its TTL attribute differs from `Table`. The table is not changed."""


class AccessDeniedError(StoreError):
    """There are no credentials, DynamoDB refused them, or they do not allow this operation.

    If the client cannot fetch credentials because of the network, it raises `UnavailableError` instead.
    """


class _OutcomeOpenError(StoreError):
    """A failure after which a write may or may not have been applied. *version* is the version that it was writing."""

    def __init__(
        self, message: str = "", *, operation: str | None = None, code: str | None = None, version: int = 0
    ) -> None:
        super().__init__(message, operation=operation, code=code)
        self.version: int = version


@dataclass(frozen=True, slots=True)
class ThrottlingReason:
    """The limit (*reason*) of the table or index (*resource*, an ARN) that throttled a request.

    *reason* is DynamoDB's name: ``Table`` or ``Index``, then ``Read`` or ``Write``, then ``ProvisionedThroughputExceeded``,
    ``AccountLimitExceeded``, ``KeyRangeThroughputExceeded`` or ``MaxOnDemandThroughputExceeded``. Each field is ``""`` if
    DynamoDB does not send it.
    """

    reason: str
    resource: str


class ThrottledError(_OutcomeOpenError):
    """The table or the account is over its throughput limit, even after the client's retries.

    Attributes: *throttling_reasons*, a tuple of `ThrottlingReason`, empty if DynamoDB sent none; *version*, as in
    `UnavailableError`, since an earlier try of the write may have been applied.

    >>> reason = ThrottlingReason("TableWriteKeyRangeThroughputExceeded", "arn:aws:dynamodb:eu-west-1:1:table/sessions")
    >>> error = ThrottledError("slow down", throttling_reasons=[reason])
    >>> error.throttling_reasons[0].reason
    'TableWriteKeyRangeThroughputExceeded'
    """

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        code: str | None = None,
        version: int = 0,
        throttling_reasons: Sequence[ThrottlingReason] = (),
    ) -> None:
        super().__init__(message, operation=operation, code=code, version=version)
        self.throttling_reasons: tuple[ThrottlingReason, ...] = tuple(throttling_reasons)


class UnavailableError(_OutcomeOpenError):
    """DynamoDB, or a source of credentials, could not be reached or failed: network, timeout, 5xx.

    After a write, it is unknown whether the write was applied. Attribute *version* (int): the version that ``save``,
    ``create``, ``replace`` or ``rename`` was writing, else 0. To find out, read the record: if its
    ``version`` or one of its ``recent`` versions (8 bytes each, big-endian) is this one, the write was applied.
    """


class ItemTooLargeError(StoreError):
    """The item would exceed DynamoDB's size limit, so it was not stored.

    Attributes: *size* and *limit*, in bytes as DynamoDB counts them (*size* is 0 if only the server knows it); *largest*, the
    largest keys of the session with their encoded sizes in bytes, largest first. *largest* is empty if no session was saved.
    """

    def __init__(
        self,
        message: str = "",
        *,
        size: int = 0,
        limit: int = 0,
        largest: Sequence[tuple[str, int]] = (),
        operation: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, code=code)
        self.size: int = size
        self.limit: int = limit
        self.largest: tuple[tuple[str, int], ...] = tuple(largest)


class CorruptRecordError(StoreError):
    """The stored item is not a valid record: an attribute is missing, has the wrong type, or is out of range.

    Attributes, both str: *digest*, the `digest <dynamostore.digests.digest>` of the token; *reason*, the problem.
    """

    def __init__(self, message: str = "", *, digest: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.digest: str = digest
        self.reason: str = reason


class Conflict(StoreError):
    """A conditional write failed, because another caller changed the record first.

    Attributes:

    - *current*: the live record now, or None if it was deleted, was renamed or has expired.
    - *renamed*: True if the record was renamed recently: less than 15 minutes ago, or within the grace. *current* is then
      the renamed record, if the grace is not over.

    >>> from datetime import UTC, datetime
    >>> from dynamostore import MemoryStore
    >>> store = MemoryStore()
    >>> first = store.create("token", b"old", datetime(2200, 1, 1, tzinfo=UTC))
    >>> second = store.replace(first, b"new", first.expiry)
    >>> try:
    ...     store.replace(first, b"late", first.expiry)
    ... except Conflict as conflict:
    ...     assert conflict.current == second
    """

    def __init__(
        self,
        message: str = "",
        *,
        current: Record | None = None,
        renamed: bool = False,
        operation: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, operation=operation, code=code)
        self.current: Record | None = current
        self.renamed: bool = renamed


CODES: Final[Mapping[str, type[StoreError]]] = {
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    "ResourceNotFoundException": TableNotFoundError,
    "TableNotFoundException": TableNotFoundError,
    "AccessDeniedException": AccessDeniedError,
    "AccessDenied": AccessDeniedError,
    "ExpiredTokenException": AccessDeniedError,
    "ExpiredToken": AccessDeniedError,
    "IncompleteSignature": AccessDeniedError,
    "IncompleteSignatureException": AccessDeniedError,
    "InvalidClientTokenId": AccessDeniedError,
    "InvalidSignatureException": AccessDeniedError,
    "MissingAuthenticationToken": AccessDeniedError,
    "MissingAuthenticationTokenException": AccessDeniedError,
    "NotAuthorized": AccessDeniedError,
    "OptInRequired": AccessDeniedError,
    "RequestExpired": AccessDeniedError,
    "SignatureDoesNotMatch": AccessDeniedError,
    "UnrecognizedClientException": AccessDeniedError,
    "LimitExceededException": ThrottledError,
    "ProvisionedThroughputExceededException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "Throttling": ThrottledError,
    "ThrottlingException": ThrottledError,
    "InternalFailure": UnavailableError,
    "InternalServerError": UnavailableError,
    "RequestTimeout": UnavailableError,
    "RequestTimeoutException": UnavailableError,
    "ServiceUnavailable": UnavailableError,
    "ServiceUnavailableException": UnavailableError,
    "TransactionInProgressException": UnavailableError,
}
"""DynamoDB's error codes with their classes. Any other code raises a plain `StoreError`, or `UnavailableError` if the HTTP
status is 500 or higher."""
