"""What went wrong, in one line that says what to do."""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from dynamostore.errors import (
    AccessDeniedError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)

__all__ = ["came_from", "explain", "spoken"]

_OPTIONS: WeakKeyDictionary[StoreError, str] = WeakKeyDictionary()

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
    ("; create it with store.create_table(), or check the region and the table's name", ""),
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

_COMMANDS = ("dynamostore create-table", "dynamostore purge", "dynamostore revoke")


def came_from(error: Exception, options: str) -> None:
    """Remember that *error* is about the table that *options* name: a command has two at times."""
    if isinstance(error, StoreError):
        _OPTIONS[error] = options


def explain(error: Exception) -> str:
    """One line for *error*, and what can be done about it."""
    if isinstance(error, OSError) and not isinstance(error, StoreError):
        return _of_a_file(error)
    options = _OPTIONS.get(error, "") if isinstance(error, StoreError) else ""
    text = spoken(" ".join(str(error).split()), options) or type(error).__name__
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return f"{text}; {_with(advice, 'dynamostore create-table', options)}"
    return text


def spoken(text: str, options: str = "", aws: str = "") -> str:
    """*text* with what a programmer would do as it is done here, on the table that *options* name; those of *aws* are for its CLI.

    >>> spoken("turn it on with store.create_table()", " --table sessions")
    'turn it on with dynamostore create-table --table sessions'
    >>> spoken("aws dynamodb describe-table --table-name a", aws=" --profile ops")
    'aws --profile ops dynamodb describe-table --table-name a'
    """
    if aws:
        text = re.sub(r"\baws (?=(dynamodb|sts) )", lambda _: f"aws{aws} ", text, count=1)
    for theirs, ours in _API:
        text = text.replace(theirs, _with(ours, ours, options) if ours in _COMMANDS else ours)
    return re.sub(r"(dynamostore policy \w+)", lambda found: found[1] + options, text)


def _with(text: str, command: str, options: str) -> str:
    return text.replace(command, f"{command}{options}")


def _of_a_file(error: OSError) -> str:
    if error.filename is None:
        return spoken(error.strerror or str(error))
    return f"{error.filename}: {error.strerror or error}"
