"""What can go wrong with a store, and which wire code means which.

    Exception
     └─ StoreError                 the store could not do it; nothing more is known
         ├─ TableNotFoundError     the table is not there, in this region, for this account
         ├─ TableSchemaError       a table of that name is there, but is not one of ours
         ├─ AccessDeniedError      no credentials, wrong ones, or ones that may not do this
         ├─ ThrottledError         too fast for the table or the account: try again later
         ├─ UnavailableError       network, time-out, 5xx, or no answer from the source of credentials: a write may have been applied
         ├─ ItemTooLargeError      over DynamoDB's 400 KB for one item
         ├─ CorruptRecordError     an item is there, but cannot be read as a record
         └─ Conflict               the record changed, is gone, or its token is taken

A record that is not there is a value (``None``), not an error. A mistake of the caller's (an empty token
to ``save``, a naive expiry) is a `ValueError` or `TypeError`, raised before any call.

No message holds a token or data: records are named by `digest <dynamostore.digests.digest>`.
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
"""The largest item in bytes, as DynamoDB counts them."""


class StoreError(Documented, Exception):
    """The store could not do what was asked; the base of everything a store raises on its own.

    Attributes: *operation*, the low-level call that failed (``"GetItem"``), and *code*, the service's own
    name for the failure (``"ThrottlingException"``); both None where there was no such thing. The client's
    exception, if any, is the ``__cause__``.

    >>> try:
    ...     raise ThrottledError("slow down", operation="GetItem", code="ThrottlingException")
    ... except StoreError as error:
    ...     print(error.operation, error.code)
    GetItem ThrottlingException
    """

    def __init__(self, message: str = "", *, operation: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.operation = operation
        self.code = code


class TableNotFoundError(StoreError):
    """There is no such table in this region and account; ``store.create_table()`` makes it."""


class TableSchemaError(StoreError):
    """A table of that name exists, but its key or its TTL is not what `Table` says; it was not touched."""


class AccessDeniedError(StoreError):
    """There are no credentials, DynamoDB refused them, or they do not allow this operation.

    If the network keeps the client from fetching credentials, the error is `UnavailableError`.
    """


class _OutcomeOpenError(StoreError):
    """What may leave open if a write was applied, with its *version*."""

    def __init__(
        self, message: str = "", *, operation: str | None = None, code: str | None = None, version: int = 0
    ) -> None:
        super().__init__(message, operation=operation, code=code)
        self.version = version


@dataclass(frozen=True, slots=True)
class ThrottlingReason:
    """Why DynamoDB throttled a request: which limit (*reason*) of which table or index (*resource*, its ARN).

    *reason* is DynamoDB's word: ``Table`` or ``Index``, ``Read`` or ``Write``, and the limit (``ProvisionedThroughputExceeded``,
    ``AccountLimitExceeded``, ``KeyRangeThroughputExceeded``, ``MaxOnDemandThroughputExceeded``). Each is ``""`` if DynamoDB does not name it.
    """

    reason: str
    resource: str


class ThrottledError(_OutcomeOpenError):
    """The table or the account is over its throughput, also after the client's own retries.

    Attributes: *version*, as that of `UnavailableError` (an earlier try of the write may have been applied); and
    *throttling_reasons*, a tuple of `ThrottlingReason`, ``()`` if the service gave none.

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
        self.throttling_reasons = tuple(throttling_reasons)


class UnavailableError(_OutcomeOpenError):
    """The service could not be reached or failed (network, time-out, 5xx).

    For a write this leaves open if it was applied. Attribute *version*: the version tag that ``save``, ``create``,
    ``replace`` or ``rename`` was writing, else 0. The write was applied if a record that is read later has it for its
    ``version``, or among its ``recent`` ones (8 bytes each, big-endian).
    """


class ItemTooLargeError(StoreError):
    """The item would be over DynamoDB's limit; it was not stored.

    Attributes: *size* and *limit* in bytes, as DynamoDB counts an item (size 0: only the server knows it);
    *largest*, the largest keys of the session with their encoded sizes in bytes, biggest first, where a
    session was being saved, else ``()``.
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
        self.size = size
        self.limit = limit
        self.largest = tuple(largest)


class CorruptRecordError(StoreError):
    """An item is there but is not a record: an attribute is missing, mistyped or out of range.

    Attributes: *digest*, the `digest <dynamostore.digests.digest>` of its token, and *reason*, what is wrong with it.
    """

    def __init__(self, message: str = "", *, digest: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.digest = digest
        self.reason = reason


class Conflict(StoreError):
    """The condition of a write did not hold: somebody else was faster.

    Attributes: *current*, the live record that stands there instead, or None if there is none (it was deleted, renamed,
    or has expired); and *renamed*, True if the record that was read is not there any more because it was renamed less than
    15 minutes (or the grace of the renaming) ago. *current* is then the record that it was renamed to, if its old token may
    still be followed.

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
        self.current = current
        self.renamed = renamed


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
"""Wire code → class, for the codes that say it all; a code that is not here is a plain `StoreError`,
or `UnavailableError` with an HTTP status of 500 and over."""
