"""What a low-level client raised, told by its shape → our error tree; no botocore import.

botocore's ``ClientError`` (and ours) carries a ``response`` dict with ``Error.Code``; what never got a
reply is an ``OSError`` or one of botocore's exceptions, which are told by the names of their classes.
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

# What a plan handles and no user sees: who runs plans shows `public` in the place of what a plan has no answer to.


class ConditionFailed(StoreError):
    """A condition did not hold; *item* is what is there, if the server said so.

    *retried*: whether the client sent the call more than once; None if it does not say.
    """

    item: Item | None = None
    retried: bool | None = None


class TransactionRefused(StoreError):
    """A transaction was cancelled; *refusals* has an entry for each of its items, None where that one was fine."""

    refusals: Sequence[ConditionFailed | None] = ()


class Contended(ThrottledError):
    """A transaction or another Region's write on the item got in the way; the same call can be made again at once.

    *attempts*, all in all, with *first_pause* seconds at most after the first, and twice as many after each.
    """

    attempts = 5
    first_pause = 0.02


class Overloaded(Contended):
    """A transaction was cancelled for want of capacity. SDKs do not retry that; it is made again as they do with a write."""

    attempts = 3
    first_pause = 1.0


class Unsupported(StoreError):
    """The server does not know this operation, or does not do it on this table.

    DynamoDB itself knows all that are used. On a global table with multi-Region strong consistency it refuses transactions.
    """


class TableBusy(StoreError):
    """The table exists already or is being changed."""


PRIVATE = (ConditionFailed, Contended, TableBusy, TransactionRefused, Unsupported)


def public(error: StoreError) -> StoreError:
    """Return *error* or, if its class is private, the same as the public class that it is a kind of.

    What it came of are the client's errors then, and none of these: a `ConditionFailed` holds what is stored.
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


# Botocore has many classes for credentials that it cannot find, fetch or renew, and one bare RuntimeError.
_DENIED = re.compile(r"Credential|Token|SSO|Login|MFA|MetadataRetrieval")
_STALE = "Credentials were refreshed"
# The rules for endpoints have none for these settings. Nothing was sent, and to try again does not help.
_NO_ENDPOINT = "EndpointProviderError"
_WANTS_ACCOUNT = "AccountIdEndpointMode"
# ConnectionError is botocore's own here: the base of what finds no server at all.
_UNREACHABLE = frozenset(
    (
        "HTTPClientError",
        "ConnectionError",
        "ResponseParserError",
        "ChecksumError",
        "IncompleteReadError",
    )
)
# A table without transactions refuses them with an error that DynamoDB's documentation does not name. So any refusal may be
# that one, unless its code has a meaning of its own. Who takes it for that one makes the writes one by one: then a request that
# is wrong is refused again, and that is the error.
_TRANSACTION = "TransactWriteItems"
_SCHEMA = ("does not match the schema", "Missing the key", "Type mismatch for key")
_TOO_LARGE = ("Item size",)


def explain(error: Exception, operation: str, table: str, where: str = "") -> Exception:
    """The exception of our tree that *error* amounts to, with *error* as its cause.

    *operation* is the method that was called and *where* says which region or endpoint it went to. An
    exception that is not the service's or the network's (a bug, a `TypeError`) is returned as it is.
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
            # Our own client's message says so itself.
            what = quoted(str(error))
            if "BotoCoreError" in kinds:
                what = reason_of(error)
                if is_secretive(error):
                    # As the cause, it would bring along what a program wrote.
                    error.args = (what,)
            if "WireError" not in kinds:
                what = f"no usable AWS credentials: {what}"
            explained = AccessDeniedError(f"{name}: {what}", operation=name)
        elif (missing := without_file(error)) is not None:
            # DynamoDB takes no file; credentials do.
            explained = AccessDeniedError(f"{name}: no usable AWS credentials: {missing}", operation=name)
        elif _NO_ENDPOINT in kinds:
            explained = StoreError(f"{name}: no endpoint{where}: {_no_endpoint(error)}", operation=name)
        elif kinds & _UNREACHABLE or isinstance(error, OSError):
            explained = UnavailableError(f"{name}: no answer{where}: {quoted(str(error))}", operation=name)
        else:
            return error
    explained.__cause__ = error
    return explained


def check(reply: object, operation: str, table: str, where: str = "") -> None:
    """Nothing if *reply* is DynamoDB's; `UnavailableError` if something on the way made it up.

    boto3 takes any 200 for a success: the log-in page of a proxy would be an item that is not there.
    """
    # Dicts, almost always: to ask whether they are Mappings takes longer than all the rest.
    metadata = reply.get("ResponseMetadata") if isinstance(reply, (dict, Mapping)) else None
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, (dict, Mapping)) else None
    kind = headers.get("content-type") if isinstance(headers, (dict, Mapping)) else None
    if isinstance(kind, str) and "json" not in kind:
        name = _spoken(operation)
        message = f"{name} on table {table!r}{where}: the reply is of type {kind[:40]!r}, not DynamoDB's JSON"
        raise UnavailableError(message, operation=name)


def _no_endpoint(error: Exception) -> str:
    reason = quoted(str(error))
    if _WANTS_ACCOUNT not in reason:
        return f"{reason} (look at region, endpoint and the AWS_ variables)"
    return f"{reason} (for the credentials, AWS_ACCOUNT_ID names one; or name the table by its ARN)"


def _spoken(operation: str) -> str:
    """The service's name for a method: ``get_item`` is GetItem."""
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
        # Clients may make the call again for this one: then there is no point in doing so four times as often.
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
        message += "; create it with store.create_table(), or look at the region and the table's name"
    error = kind(message, operation=name, code=code)
    if isinstance(error, ThrottledError):
        error.throttling_reasons = _throttling_reasons(response)
    return error


def _throttling_reasons(response: Mapping[object, object]) -> tuple[ThrottlingReason, ...]:
    """What a refusal says of the limits that were exceeded; of anything that is not as documented, nothing."""
    # In a ThrottlingException it is spelled otherwise than in the others.
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
        return TableSchemaError(f"{message}; the table has another key than Table says", operation=name, code=code)
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


# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html, and those of a statement in a batch.
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
"""Reason → class, the one that counts first: for want of capacity it is better to wait longer."""
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
