"""Runs cases against a server, one after the other, and says how each turned out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .model import TABLE, Answer, Case, Request
from .sending import Server

__all__ = ["Outcome", "Verdict", "run"]

_READY = 60.0
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


def run(server: Server, cases: Iterable[Case]) -> list[Outcome]:
    """Make the table, run *cases* against *server*, and remove the table."""
    made = server.send(
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
    if made.status != 200:
        raise RuntimeError(f"{server.name} makes no table: {made.summary}")
    server.arn = str(made.body["TableDescription"].get("TableArn") or "").replace(TABLE, server.table)
    try:
        _wait(server)
        return [_outcome(server, case) for case in cases]
    finally:
        server.send(Request("DeleteTable", {"TableName": TABLE}))


def _wait(server: Server) -> None:
    deadline = time.monotonic() + _READY
    while server.send(Request("DescribeTable", {"TableName": TABLE})).body["Table"]["TableStatus"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name}: the table is not ready after {_READY:.0f} s")
        time.sleep(0.2)


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
