"""Translates the exceptions of low-level clients to `StoreError <dynamostore.StoreError>`, without importing botocore.

botocore's ``ClientError`` (and ours) carries a ``response`` dict with ``Error.Code``. A call that gets no reply raises an
``OSError`` or an exception of botocore, which is recognized by the name of its class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dynamostore._sources import is_secretive, reason_of, without_file
from dynamostore._texts import MAX_CODE, quoted
from dynamostore.client import Item
from dynamostore.errors import (
    CODES,
    MAX_ITEM,
    AccessDeniedError,
    ItemTooLargeError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    ThrottlingReason,
    UnavailableError,
)

__all__ = [
    "PRIVATE",
    "ConditionFailed",
    "Contended",
    "Overloaded",
    "TableBusy",
    "TransactionRefused",
    "Unsupported",
    "check",
    "explain",
    "public",
]

# Private errors, which plans handle. If a plan does not handle an error, its driver raises `public(error)` instead.


class ConditionFailed(StoreError):
    """A condition did not hold. *item* is the stored item, if the server returned it.

    *retried* is True if the client sent the call more than once, and None if the client does not report that.
    """

    item: Item | None = None
    retried: bool | None = None


class TransactionRefused(StoreError):
    """A transaction was cancelled. *refusals* has an entry for each of its items: None if that item was not the reason."""

    refusals: Sequence[ConditionFailed | None] = ()


class Contended(ThrottledError):
    """A transaction or a write in another Region was changing the same item. The call can be repeated at once.

    *attempts* is the total number of attempts. The pause after the first one is at most *first_pause* seconds, and the limit
    doubles each time.
    """

    attempts: int = 5
    first_pause: float = 0.02


class Overloaded(Contended):
    """A transaction was cancelled because capacity was exceeded.

    The SDKs do not retry that, so plans retry it, as the SDKs retry a write.
    """

    attempts: int = 3
    first_pause: float = 1.0


class Unsupported(StoreError):
    """The server does not support this operation, or not on this table.

    DynamoDB supports all operations that this package uses. But it refuses transactions on a global table with multi-Region
    strong consistency.
    """


class TableBusy(StoreError):
    """The table already exists or is being changed."""


PRIVATE = (ConditionFailed, Contended, TableBusy, TransactionRefused, Unsupported)


def public(error: StoreError) -> StoreError:
    """Return *error* or, if its class is private, an equal error of its public base class.

    The causes of the result are only the client's errors. Private errors are left out, because a `ConditionFailed` holds the
    stored item.
    """
    shown = error
    if isinstance(error, Contended):
        shown = ThrottledError(
            str(error),
            operation=error.operation,
            code=error.code,
            version=error.version,
            throttling_reasons=error.throttling_reasons,
        )
    elif isinstance(error, PRIVATE):
        shown = StoreError(str(error), operation=error.operation, code=error.code)
    cause = error.__cause__
    while isinstance(cause, PRIVATE):
        cause = cause.__cause__
    if shown is not error or cause is not error.__cause__:
        shown.__cause__ = cause
    if isinstance(shown.__context__, PRIVATE):
        shown.__context__ = cause
    return shown


# Botocore raises many classes, and one plain RuntimeError, if it cannot find, fetch or renew credentials.
_DENIED = re.compile(r"Credential|Token|SSO|Login|MFA|MetadataRetrieval")
_STALE = "Credentials were refreshed"
# Botocore's rules give no endpoint for these settings. Nothing was sent, and a retry does not help.
_NO_ENDPOINT = "EndpointProviderError"
_WANTS_ACCOUNT = "AccountIdEndpointMode"
# ConnectionError is botocore's class: the base of the errors for an unreachable server.
_UNREACHABLE = frozenset(
    (
        "HTTPClientError",
        "ConnectionError",
        "ResponseParserError",
        "ChecksumError",
        "IncompleteReadError",
    )
)
# DynamoDB's documentation does not name the error for a table that does not support transactions. So any refusal counts as that
# error, unless its code has another meaning. The caller then makes the writes one by one. If the request itself is wrong,
# DynamoDB refuses a single write too, and the caller gets that error.
_TRANSACTION = "TransactWriteItems"
_SCHEMA = ("does not match the schema", "Missing the key", "Type mismatch for key")
_TOO_LARGE = ("Item size",)


def explain(error: Exception, operation: str, table: str, where: str = "") -> Exception:
    """Return our exception for *error*, with *error* as its cause.

    *operation* is the method that was called. *where* names its region or endpoint. An exception that comes from neither the
    service nor the network (a bug, a `TypeError`) is returned unchanged.
    """
    name = _spoken(operation)
    response: object = getattr(error, "response", None)
    if isinstance(response, Mapping) and isinstance(details := response.get("Error"), Mapping):
        explained = _from_reply(response, details, name, table, where)
    else:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        about_credentials = kinds & {"BotoCoreError", "WireError"} and _DENIED.search(type(error).__name__)
        if about_credentials and "TransportError" in kinds:
            explained = UnavailableError(f"{name}: {quoted(str(error))}", operation=name)
        elif about_credentials or str(error).startswith(_STALE):
            # The message of our own client is complete.
            what = quoted(str(error))
            if "BotoCoreError" in kinds:
                what = reason_of(error)
                if is_secretive(error):
                    # The error will be the cause, so remove the output of a program from it.
                    error.args = (what,)
            if "WireError" not in kinds:
                what = f"no usable AWS credentials: {what}"
            explained = AccessDeniedError(f"{name}: {what}", operation=name)
        elif (missing := without_file(error)) is not None:
            # Calls to DynamoDB read no file, so the missing file is one of credentials.
            explained = AccessDeniedError(f"{name}: no usable AWS credentials: {missing}", operation=name)
        elif _NO_ENDPOINT in kinds:
            explained = StoreError(f"{name}: no endpoint{where}: {_no_endpoint(error)}", operation=name)
        elif kinds & _UNREACHABLE or isinstance(error, OSError):
            explained = UnavailableError(f"{name}: no reply{where}: {quoted(str(error))}", operation=name)
        else:
            return error
    explained.__cause__ = error
    return explained


def check(reply: object, operation: str, table: str, where: str = "") -> None:
    """Raise `UnavailableError` if *reply* does not come from DynamoDB.

    boto3 takes any reply with status 200 for a success. So a proxy's log-in page would look like an item that does not exist.
    """
    # These values are almost always dicts. A check for Mapping alone takes longer than the rest of this function.
    metadata = reply.get("ResponseMetadata") if isinstance(reply, (dict, Mapping)) else None
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, (dict, Mapping)) else None
    kind = headers.get("content-type") if isinstance(headers, (dict, Mapping)) else None
    if isinstance(kind, str) and "json" not in kind:
        name = _spoken(operation)
        message = f"{name} on table {table!r}{where}: the reply has the content type {kind[:40]!r}, not DynamoDB's"
        raise UnavailableError(message, operation=name)


def _no_endpoint(error: Exception) -> str:
    reason = quoted(str(error))
    if _WANTS_ACCOUNT not in reason:
        return f"{reason} (check the region, the endpoint and the AWS_ variables)"
    return f"{reason} (set AWS_ACCOUNT_ID to the account of the credentials, or name the table by its ARN)"


def _spoken(operation: str) -> str:
    """Return the service's name of a method: GetItem for ``get_item``."""
    return operation.title().replace("_", "")


def _from_reply(
    response: Mapping[object, object], details: Mapping[object, object], name: str, table: str, where: str
) -> StoreError:
    code = str(details.get("Code") or "")
    text = str(details.get("Message") or "") or "the service gave no reason"
    message = f"{name} on table {table!r}{where}: {quoted(text)} ({quoted(code, MAX_CODE)})"

    if code == "ConditionalCheckFailedException":
        return _condition_failed(response, message, name, _metadata(response, "RetryAttempts"))
    if code == "TransactionCanceledException":
        return _transaction_refused(response, message, name)
    if code == "TransactionConflictException" or (
        # If the client has retried this error itself, a plan must not retry it again.
        code == "ReplicatedWriteConflictException" and not _metadata(response, "RetryAttempts")
    ):
        return Contended(message, operation=name, code=code)
    if code == "ReplicatedWriteConflictException":
        return ThrottledError(message, operation=name, code=code)
    if code == "UnknownOperationException":
        return Unsupported(f"{message}: the server does not know {name}", operation=name, code=code)
    if code == "ResourceInUseException":
        return TableBusy(message, operation=name, code=code)
    if code == "ValidationException":
        return _invalid(text, message, name, code)
    kind = CODES.get(code)
    if kind is None:
        status = _metadata(response, "HTTPStatusCode")
        if name == _TRANSACTION and code != "IdempotentParameterMismatchException" and status in range(400, 429):
            return Unsupported(message, operation=name, code=code)
        kind = UnavailableError if status is not None and status >= 500 else StoreError
        if status == 429:
            kind = ThrottledError
    if kind is TableNotFoundError:
        message += "; create it with store.create_table(), or check the region and the table's name"
    error = kind(message, operation=name, code=code)
    if isinstance(error, ThrottledError):
        error.throttling_reasons = _throttling_reasons(response)
    return error


def _throttling_reasons(response: Mapping[object, object]) -> tuple[ThrottlingReason, ...]:
    """Return the exceeded limits that a refusal names. Ignore entries that do not have the documented form."""
    # A ThrottlingException spells the name differently from the other errors.
    reasons = response.get("ThrottlingReasons") or response.get("throttlingReasons")
    return tuple(
        ThrottlingReason(str(reason.get("reason") or ""), str(reason.get("resource") or ""))
        for reason in (reasons if isinstance(reasons, list | tuple) else ())
        if isinstance(reason, Mapping)
    )


def _metadata(response: Mapping[object, object], name: str) -> int | None:
    metadata = response.get("ResponseMetadata")
    number = metadata.get(name) if isinstance(metadata, Mapping) else None
    return number if isinstance(number, int) else None


def _invalid(text: str, message: str, name: str, code: str) -> StoreError:
    if any(part in text for part in _SCHEMA):
        return TableSchemaError(
            f"{message}; the table's key is not the attribute in Table(token=...)", operation=name, code=code
        )
    if any(part in text for part in _TOO_LARGE):
        return ItemTooLargeError(message, limit=MAX_ITEM, operation=name, code=code)
    if name == _TRANSACTION and code == "ValidationException":
        return Unsupported(message, operation=name, code=code)
    return StoreError(message, operation=name, code=code)


def _condition_failed(
    details: Mapping[object, object], message: str, name: str, retries: int | None
) -> ConditionFailed:
    failed = ConditionFailed(message, operation=name, code="ConditionalCheckFailedException")
    failed.retried = None if retries is None else retries > 0
    item = details.get("Item")
    if isinstance(item, Mapping) and item:
        failed.item = item
    return failed


# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html, and the codes of BatchStatementError.
_CANCELLED: Mapping[str, type[StoreError]] = {
    "ThrottlingError": Overloaded,
    "ProvisionedThroughputExceeded": Overloaded,
    "RequestLimitExceeded": Overloaded,
    "TransactionConflict": Contended,
    "ReplicatedWriteConflict": Contended,
    "AccessDenied": AccessDeniedError,
    "ResourceNotFound": TableNotFoundError,
    "InternalServerError": UnavailableError,
    "ItemCollectionSizeLimitExceeded": StoreError,
}
"""Maps a cancellation reason to a class. If there are several reasons, the first in this order counts: it waits longest."""
_HELD_NOT = ("ConditionalCheckFailed", "DuplicateItem")


def _transaction_refused(response: Mapping[object, object], message: str, name: str) -> StoreError:
    reasons = response.get("CancellationReasons")
    retries = _metadata(response, "RetryAttempts")
    refusals: list[ConditionFailed | None] = []
    codes: list[str] = []
    for reason in reasons if isinstance(reasons, Sequence) else ():
        code = str(reason.get("Code")) if isinstance(reason, Mapping) else ""
        codes.append(code)
        failed = code in _HELD_NOT
        refusals.append(_condition_failed(reason, message, name, retries) if failed else None)
    if any(refusals):
        refused = TransactionRefused(message, operation=name, code="TransactionCanceledException")
        refused.refusals = refusals
        return refused
    for code, kind in _CANCELLED.items():
        if code in codes:
            return kind(message, operation=name, code=code)
    if "ValidationError" in codes:
        return _invalid(str(reasons), message, name, "ValidationError")
    return StoreError(message, operation=name, code="TransactionCanceledException")
