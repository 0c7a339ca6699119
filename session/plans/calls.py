"""The calls of a store's verbs that a session's plans make, with the types of their replies, and the wait between two tries."""

from __future__ import annotations

from random import uniform
from typing import Final, Literal

from dynamostore import Record
from dynamostore.steps import Call, Plan, pause

__all__ = ["ATTEMPTS", "back_off", "delete", "find", "remove", "write"]

ATTEMPTS: Final = 10
"""How often a write is tried where other requests are faster."""

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5


def find(token: str) -> Call[Record | None]:
    """The call of `Store.find <dynamostore.Store.find>`."""
    return Call("find", {"token": token})


def write(verb: Literal["create", "replace", "rename", "touch"], **arguments: object) -> Call[Record]:
    """The call of a verb that gives the record as it is stored."""
    return Call(verb, arguments)


def delete(token: str) -> Call[None]:
    """The call of `Store.delete <dynamostore.Store.delete>`."""
    return Call("delete", {"token": token})


def remove(record: Record) -> Call[None]:
    """The call of `Store.remove <dynamostore.Store.remove>`."""
    return Call("remove", {"record": record})


def back_off(attempt: int) -> Plan[None]:
    """Wait after the *attempt*-th conflict, counted from 0, for a random time, so that two that met do not meet again."""
    yield from pause(uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))
