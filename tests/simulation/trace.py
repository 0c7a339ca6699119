"""A run, written down for people: who did what, what went wrong, what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from dynamostore import Table

from .expressions import Item
from .model import NS

if TYPE_CHECKING:
    from .network import Attempt

START_NS = 1_800_000_000 * NS
_TABLE = Table()


class Trace:
    """The lines of one run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, now_ns: int, who: str, what: str) -> None:
        self.lines.append(f"{(now_ns - START_NS) / NS:9.3f}s  {who:<6} {what}")

    def attempt(self, attempt: Attempt, outcome: str, now_ns: int) -> None:
        commit = f" for commit {attempt.commit.number}" if attempt.commit else ""
        late = f" (sent at {(attempt.sent_ns - START_NS) / NS:.3f}s)" if attempt.late else ""
        what = describe(attempt.call.operation, attempt.call.arguments)
        self.say(now_ns, attempt.sender.name, f"{what}{commit}, try {attempt.number}{late}: {outcome}")

    def __str__(self) -> str:
        return "\n".join(self.lines)


def describe(operation: str, arguments: Mapping[str, Any]) -> str:
    """A call in a few words."""
    match operation:
        case "transact_write_items":
            parts = [describe(kind.lower(), part) for each in arguments["TransactItems"] for kind, part in each.items()]
            return "transaction of " + " and ".join(parts)
        case "put_item" | "put":
            return f"put {describe_item(arguments['Item'])}"
    key = short(arguments["Key"][_TABLE.token]["S"])
    values = {name[1:]: value for name, value in arguments.get("ExpressionAttributeValues", {}).items()}
    if operation == "update_item":
        names = {name[1:] for name in arguments.get("ExpressionAttributeNames", {})}
        return f"update {key} to {describe_item({k: v for k, v in values.items() if k in names})}{_was(values)}"
    return f"{operation.removesuffix('_item')} {key}{_was(values)}"


def _was(values: Mapping[str, Any]) -> str:
    if "was" in values:
        return f" if version {values['was']['N']}"
    return " as it was read" if "read" in values else ""


def describe_item(item: Item | None) -> str:
    if item is None:
        return "nothing"
    parts = [short(item[_TABLE.token]["S"])] if _TABLE.token in item else []
    if _TABLE.data in item:
        parts.append(str(msgspec.json.decode(item[_TABLE.data]["B"])["data"]))
    if _TABLE.moved in item:
        parts.append(f"moved to {short(item[_TABLE.moved]['S'])}")
    if _TABLE.version in item:
        parts.append(f"version {item[_TABLE.version]['N']}")
    if _TABLE.expiry in item:
        parts.append(f"until {(int(item[_TABLE.expiry]['N']) - START_NS) / NS:.3f}s")
    return ", ".join(parts)


def short(key: str) -> str:
    """A token as the simulation makes them, without what only makes it long enough."""
    return key.rstrip("-")
