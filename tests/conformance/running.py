"""Runs cases against a server, one after the other, and says how each turned out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from .model import TABLE, Answer, Case, Request
from .sending import Server

__all__ = ["Outcome", "Verdict", "run"]

_PATIENCE: Final = 60.0
_PAUSE: Final = 0.2
_LACKING = frozenset(("UnknownOperationException", "UnknownOperation", "NotImplemented", "InvalidAction"))


class Verdict(Enum):
    """How a server compares with DynamoDB's documentation; the value is what stands in the table."""

    SAME = "yes"
    DIFFERS = "**no**"
    LACKS = "lacks it"


@dataclass(frozen=True)
class Outcome:
    """The verdict on a case, and, if it is not as documented, what was answered instead."""

    case: Case
    verdict: Verdict
    answered: str = ""


def run(server: Server, cases: Sequence[Case], patience: float = _PATIENCE) -> list[Outcome]:
    """Make the table, run *cases* against *server*, and delete the table and those that the cases made.

    *patience*, in seconds, is how long it waits for the table to be ready, and for the tables to be deleted. A
    RuntimeWarning names each table that it could not delete.
    """
    try:
        made = _make(server)
        if made.status == 0:
            patience = 0  # There is no server, or it is gone.
        if made.status != 200:
            raise RuntimeError(f"{server.name} makes no table: {made.summary}")
        server.arn = str(made.body["TableDescription"].get("TableArn") or "").replace(TABLE, server.table)
        _wait(server, patience)
        return [_outcome(server, case) for case in cases]
    finally:
        # Also if no reply came: the table may have been made all the same. The names are used by this run only.
        _delete(server, dict.fromkeys((TABLE, *_made_by(cases))), patience)


def _make(server: Server) -> Answer:
    return server.send(
        Request(
            "CreateTable",
            {
                "TableName": TABLE,
                "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )
    )


def _wait(server: Server, patience: float) -> None:
    deadline = time.monotonic() + patience
    while server.send(Request("DescribeTable", {"TableName": TABLE})).body["Table"]["TableStatus"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name}: the table is not ready after {patience:.0f} s")
        time.sleep(_PAUSE)


def _made_by(cases: Iterable[Case]) -> Iterator[str]:
    """Yield the tables that *cases* make."""
    for case in cases:
        for request in (*case.before, *case.requests, *case.after):
            if request.operation == "CreateTable" and isinstance(request.arguments, Mapping):
                yield request.arguments["TableName"]


def _delete(server: Server, tables: Iterable[str], patience: float) -> None:
    """Delete *tables*. Try again after a refusal: DynamoDB deletes no table that it is still creating."""
    deadline = time.monotonic() + patience
    left = dict.fromkeys(tables, "")
    while True:
        left = {table: refusal for table in left if (refusal := _refusal(server, table))}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    for table, refusal in left.items():
        text = f"{server.name}: the table {server.named(table)} could not be deleted and may still be there: {refusal}"
        warnings.warn(text, RuntimeWarning, stacklevel=3)


def _refusal(server: Server, table: str) -> str:
    """Delete *table*, and return what was answered if it may still be there, else an empty string."""
    try:
        answer = server.send(Request("DeleteTable", {"TableName": table}))
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return "" if answer.status == 200 or answer.code == "ResourceNotFoundException" else answer.summary


def _outcome(server: Server, case: Case) -> Outcome:
    for request in case.before:
        answer = server.send(request, case)
        if answer.status != 200:
            return _other(case, [answer])
    answers = [server.send(request, case) for request in case.requests]
    for request in case.after:
        server.send(request, case)
    return Outcome(case, Verdict.SAME) if _holds(case, answers) else _other(case, answers)


def _holds(case: Case, answers: list[Answer]) -> bool:
    try:
        return case.expect.holds(answers)
    except (LookupError, TypeError, ValueError, AttributeError):
        # The answer has not the shape that there was to be looked into.
        return False


def _other(case: Case, answers: list[Answer]) -> Outcome:
    if case.needs_operation and any(answer.code in _LACKING or answer.status == 501 for answer in answers):
        return Outcome(case, Verdict.LACKS)
    return Outcome(case, Verdict.DIFFERS, " / ".join(answer.summary for answer in answers[-2:]))
