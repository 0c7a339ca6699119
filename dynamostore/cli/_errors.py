"""What went wrong, in one line that says what to do."""

from __future__ import annotations

from dynamostore.errors import (
    AccessDeniedError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)

__all__ = ["explain", "spoken"]

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (TableNotFoundError, "look at --table, --region and --profile, or make it: dynamostore create-table"),
    (TableSchemaError, "name its attributes with --attribute token=..., or another --table"),
    (
        AccessDeniedError,
        "look at --profile and the AWS_... variables; dynamostore policy prints what a role has to allow",
    ),
    (ThrottledError, "try again later, or slower: --rate"),
    (UnavailableError, "look at --endpoint-url and --region, and at the network; HTTP proxies take --via boto3"),
)
# What is for programmers, and what it is on the command line.
_API = (
    ("; create it with store.create_table(), or look at the region and the table's name", ""),
    ("Batch(store).purge_expired()", "dynamostore purge"),
    ("store.create_table()", "dynamostore create-table"),
    ("create_table()", "dynamostore create-table"),
    ("store.delete(token)", "dynamostore revoke"),
    ('policy("', "dynamostore policy "),
    ('") of dynamostore.admin', ""),
    ("a store with the same Table(ttl=...)", "a store with the same attribute for it"),
    ("in Table(token=...)", "with --attribute token=..."),
    ("in Table(ttl=...)", "with --attribute ttl=..."),
    ("overwrite=True", "--overwrite"),
    ("go on with resume=...", "it can be gone on with"),
    ("endpoint_url=...", "--endpoint-url"),
    ("region=...", "--region"),
    ("profile=...", "--profile"),
    ("connect: ", ""),
    ('via="boto3"', "--via boto3"),
    ("connect(--via boto3)", "--via boto3"),
)


def explain(error: Exception) -> str:
    """One line for *error*, and what can be done about it."""
    if isinstance(error, OSError) and not isinstance(error, StoreError):
        return _of_a_file(error)
    text = spoken(" ".join(str(error).split())) or type(error).__name__
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return f"{text}; {advice}"
    return text


def spoken(text: str) -> str:
    """*text* with what a programmer would do as it is done here.

    >>> spoken("turn it on with store.create_table()")
    'turn it on with dynamostore create-table'
    """
    for theirs, ours in _API:
        text = text.replace(theirs, ours)
    return text


def _of_a_file(error: OSError) -> str:
    if error.filename is None:
        return error.strerror or str(error)
    return f"{error.filename}: {error.strerror or error}"
