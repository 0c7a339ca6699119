"""Requests, answers, and cases: what is sent, what is documented about the answer, and where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

__all__ = ["ARN", "KEY", "MADE", "NEW", "TABLE", "Answer", "Case", "Expectation", "Request", "refused", "replied"]

TABLE: Final = "$TABLE"
"""Stands for the table's name, in every text of a request."""
NEW: Final = "$NEW"
"""Stands for the name of a table that is never there: no case makes it."""
MADE: Final = "$MADE"
"""Stands for the name of the table that a case makes; `run` deletes it."""
ARN: Final = "$ARN"
"""Stands for the table's ARN, as the server has it."""
KEY: Final = "$KEY"
"""Stands for a token of the case's own, and may have something behind it."""


@dataclass(frozen=True)
class Request:
    """One call. *arguments* is the body, as a mapping or, where it is not meant to be right, as bytes."""

    operation: str
    arguments: Mapping[str, Any] | bytes


@dataclass(frozen=True)
class Answer:
    """What came back. *headers* have lower-case names; *text* is the body with the placeholders in it again."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    text: str

    @cached_property
    def body(self) -> Any:  # whatever the server says
        """The body as JSON; an empty dict if it is none."""
        try:
            body = json.loads(self.text)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def code(self) -> str:
        """DynamoDB's name for the error; empty if there is none."""
        return str(self.body.get("__type") or "").rpartition("#")[2]

    @property
    def message(self) -> str:
        """What it says about the error."""
        return str(self.body.get("message") or self.body.get("Message") or "")

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        if self.status == 200:
            told = re.sub(r'"[A-Za-z0-9+/]{40,}=*"', '"…"', json.dumps(self.body, sort_keys=True, ensure_ascii=False))
        else:
            told = f"{self.code}: {self.message}" if self.code or self.message else "no error of DynamoDB's form"
        told = " ".join(told.split())
        return f"{self.status} {told}" if len(told) <= 160 else f"{self.status} {told[:160]}…"


@dataclass(frozen=True)
class Expectation:
    """What is documented, in *words*, and whether it *holds* of the answers to a case's requests."""

    words: str
    holds: Callable[[Sequence[Answer]], bool]

    def __and__(self, other: Expectation) -> Expectation:
        return Expectation(f"{self.words}; {other.words}", lambda answers: self.holds(answers) and other.holds(answers))


@dataclass(frozen=True)
class Case:
    """What we send, *what* it is in words, what is documented about the answers, and the *sources* of that.

    *before* must succeed, or nothing can be said; *after* tidies up.
    """

    name: str
    what: str
    sources: tuple[str, ...]
    requests: tuple[Request, ...]
    expect: Expectation
    before: tuple[Request, ...] = field(default=())
    after: tuple[Request, ...] = field(default=())
    needs_operation: bool = True
    """False if the case is about an operation that there is not."""


def replied(words: str, holds: Callable[[Any], bool] = lambda _: True, *, at: int = -1) -> Expectation:
    """Status 200, with a body of which *holds* is true. *at*: which answer, the last one unless told."""
    return Expectation(words, lambda answers: answers[at].status == 200 and holds(answers[at].body))


def refused(
    code: str, says: str | None = None, words: str = "", holds: Callable[[Any], bool] = lambda _: True, *, at: int = -1
) -> Expectation:
    """Status 400 with this code, and a message with *says* (a regular expression) in it."""
    told = f"`{code}`" + (f", “{says}”" if says else "") + (f", {words}" if words else "")

    def test(answers: Sequence[Answer]) -> bool:
        answer = answers[at]
        matches = says is None or re.search(says, answer.message) is not None
        return answer.status == 400 and answer.code == code and matches and holds(answer.body)

    return Expectation(told, test)
