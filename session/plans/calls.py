"""The calls to a store that a session's plans make, with the types of their replies, and the wait between attempts."""

from __future__ import annotations

from random import uniform
from typing import Final, Literal

from dynamostore import Record
from dynamostore.steps import Call, Plan, pause

__all__ = ["ATTEMPTS", "back_off", "delete", "find", "remove", "write"]

ATTEMPTS: Final = 10
"""The maximum number of attempts of a write that meets conflicts."""

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5


def find(token: str) -> Call[Record | None]:
    """Return the call of `Store.find <dynamostore.Store.find>`."""
    return Call("find", {"token": token})


def write(verb: Literal["create", "replace", "rename", "touch"], **arguments: object) -> Call[Record]:
    """Return the call of a *verb* whose reply is the record as it is stored."""
    return Call(verb, arguments)


def delete(token: str) -> Call[None]:
    """Return the call of `Store.delete <dynamostore.Store.delete>`."""
    return Call("delete", {"token": token})


def remove(record: Record) -> Call[None]:
    """Return the call of `Store.remove <dynamostore.Store.remove>`."""
    return Call("remove", {"record": record})


def back_off(attempt: int) -> Plan[None]:
    """Wait for a random time after a conflict, so that the same requests do not conflict again. *attempt* starts at 0."""
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))
