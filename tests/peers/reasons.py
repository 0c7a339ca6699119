"""The record of reasons: which tests of other projects fail here, and why."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from .pins import FOLDER

__all__ = ["PATH", "Reason", "read_reasons", "update_reasons", "write_reasons"]

PATH: Final = FOLDER / "reasons.toml"
_HEADER = """\
# Which tests of other projects fail on these sessions, and why. `make peers` fails for a failure that is not here, for one
# whose `why` is empty, and for a test that is here and passes. `make peers UPDATE=1` takes out what passes and adds what
# fails, with an empty `why`. It writes this file anew, so comments other than this one are lost.
"""


@dataclass(frozen=True)
class Reason:
    """One reason, and the tests that fail for it, by suite."""

    why: str
    tests: dict[str, list[str]]


def read_reasons(path: Path = PATH) -> list[Reason]:
    """Return the reasons on record. Raises `ValueError` if a test has two in one suite."""
    entries: object = tomllib.loads(path.read_text("utf-8")).get("reason", [])
    reasons = msgspec.convert(entries, list[Reason])
    seen: set[tuple[str, str]] = set()
    for reason in reasons:
        for key in ((suite, test) for suite, tests in reason.tests.items() for test in tests):
            if key in seen:
                raise ValueError(f"{path.name}: {key[1]} has two reasons in {key[0]}")
            seen.add(key)
    return reasons


def update_reasons(
    reasons: Iterable[Reason], suite: str, *, outdated: Collection[str], unexplained: Collection[str]
) -> list[Reason]:
    """Return the reasons without the *outdated* tests of *suite*, and with its *unexplained* ones, whose ``why`` is empty."""
    gone = {*outdated, *unexplained}
    updated = [
        Reason(
            reason.why,
            {
                name: kept
                for name, tests in reason.tests.items()
                if (kept := [test for test in tests if name != suite or test not in gone])
            },
        )
        for reason in reasons
    ]
    if unexplained:
        updated.append(Reason("", {suite: sorted(unexplained)}))
    return [reason for reason in updated if reason.tests]


def write_reasons(reasons: Iterable[Reason], path: Path = PATH) -> None:
    """Write the record, so that `read_reasons` reads the same again."""
    parts = [_HEADER]
    for reason in reasons:
        lists = "".join(_list(suite, tests) for suite, tests in reason.tests.items())
        parts.append(f"[[reason]]\nwhy = {_quoted(reason.why)}\n{lists}")
    path.write_text("\n".join(parts), "utf-8")


def _list(suite: str, tests: list[str]) -> str:
    lines = "".join(f"    {_quoted(test)},\n" for test in tests)
    return f"tests.{_quoted(suite)} = [\n{lines}]\n"


def _quoted(text: str) -> str:
    # TOML reads a string as JSON writes it, but for DEL, which must be escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
