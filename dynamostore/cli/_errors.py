"""Error messages for the command line: one line that says what is wrong and what to do."""

from __future__ import annotations

import re
from typing import Final
from weakref import WeakKeyDictionary

from dynamostore.errors import (
    AccessDeniedError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)

__all__ = ["API", "explain", "for_command_line", "remember_options"]

_OPTIONS: WeakKeyDictionary[StoreError, str] = WeakKeyDictionary()

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (TableNotFoundError, "check --table, --region and --profile, or create the table: dynamostore create-table"),
    (TableSchemaError, "name its attributes with --attribute token=..., or choose another --table"),
    (
        AccessDeniedError,
        "check --profile and the AWS_... variables; dynamostore policy prints the rights that a role needs",
    ),
    (ThrottledError, "try again later, or set a lower --rate"),
    (UnavailableError, "check --endpoint-url, --region and the network; behind an HTTP proxy, use --via boto3"),
)
# Python in the library's messages, and its equivalent on the command line. A test checks that each left-hand text occurs in the
# library, and that no message keeps Python.
API: Final = (
    ("; create it with store.create_table(), or check the region and the table's name", ""),
    ("dynamostore purge or Batch(store).purge_expired()", "dynamostore purge"),
    ("Batch(store).purge_expired()", "dynamostore purge"),
    ("call create_table() again", "run dynamostore create-table again"),
    ("store.create_table()", "dynamostore create-table"),
    ("dynamostore revoke --digest", "dynamostore revoke --digest"),  # with the options that lead to the table
    ('policy("', "dynamostore policy "),
    ('") of dynamostore.admin', ""),
    ("a store that has the same Table(ttl=...)", "a store that has the same TTL attribute"),
    ("the attribute in Table(token=...)", "the attribute that --attribute token=... names"),
    ("in Table(token=...)", "with --attribute token=..."),
    ("in Table(ttl=...)", "with --attribute ttl=..."),
    ("pass overwrite=True", "use --overwrite"),
    ("; to resume, pass resume=...", ""),
    ("; call export again to resume", ""),
    ("pass region=...", "use --region"),
    ("endpoint_url=...", "--endpoint-url"),
    ("region=...", "--region"),
    ("profile=...", "--profile"),
    ("ca_bundle (or AWS_CA_BUNDLE)", "AWS_CA_BUNDLE"),
    (
        "pass a boto3 client to the store instead: DynamoStore(boto3.client('dynamodb')), or connect(via='boto3')",
        "use --via boto3 instead",
    ),
)

_COMMANDS = ("dynamostore create-table", "dynamostore purge", "dynamostore revoke")


def remember_options(error: Exception, options: str) -> None:
    """Remember that *error* concerns the table that *options* name. ``copy`` has two tables."""
    if isinstance(error, StoreError):
        _OPTIONS[error] = options


def explain(error: Exception) -> str:
    """Return one line that describes *error* and says what to do."""
    if isinstance(error, OSError) and not isinstance(error, StoreError):
        return _of_a_file(error)
    options = _OPTIONS.get(error, "") if isinstance(error, StoreError) else ""
    text = for_command_line(" ".join(str(error).split()), options) or type(error).__name__
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return f"{text}; {_with_options(advice, options)}"
    return text


def for_command_line(text: str, options: str = "", aws: str = "") -> str:
    """Return *text* with Python calls replaced by the equivalent commands.

    Add *options* to each command of ours, and *aws* to each command of the AWS CLI.

    >>> for_command_line("turn it on with store.create_table()", " --table sessions")
    'turn it on with dynamostore create-table --table sessions'
    >>> for_command_line("aws dynamodb describe-table --table-name a", aws=" --profile ops")
    'aws --profile ops dynamodb describe-table --table-name a'
    """
    if aws:
        text = re.sub(r"\baws (?=(dynamodb|sts) )", lambda _: f"aws{aws} ", text, count=1)
    for call, equivalent in API:
        if call in text:
            text = text.replace(call, _with_options(equivalent, options))
    return re.sub(r"(dynamostore policy \w+)", lambda found: found[1] + options, text)


def _with_options(text: str, options: str) -> str:
    """Return *text* with *options* after each command of ours."""
    for command in _COMMANDS:
        text = text.replace(command, f"{command}{options}")
    return text


def _of_a_file(error: OSError) -> str:
    if error.filename is None:
        return for_command_line(error.strerror or str(error))
    return f"{error.filename}: {error.strerror or error}"
