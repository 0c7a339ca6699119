"""What a request means to do to its session, noted by the oracle itself: no code of the packages has a part in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Data: TypeAlias = dict[str, Any]


class Intent:
    """The changes of a request to the data *base*, as the docs of `Session` promise them.

    A value is what it is, an increment is what it adds, a removal counts if there was something to remove;
    after `clear` all that counts is what is there in the end.
    """

    __slots__ = ("base", "cleared", "data", "increments", "puts", "removed")

    def __init__(self, base: Data) -> None:
        self.base = base
        self.data = dict(base)
        self.puts: Data = {}
        self.removed: set[str] = set()
        self.increments: dict[str, int] = {}
        self.cleared = False

    def put(self, key: str, value: Any) -> None:
        self.data[key] = self.puts[key] = value
        self.removed.discard(key)
        self.increments.pop(key, None)

    def append(self, key: str, value: str) -> None:
        # A list is one value: of two requests that append to it, the later one's list is kept.
        self.put(key, [*self.data.get(key, ()), value])

    def remove(self, key: str) -> None:
        if key not in self.data:
            return
        del self.data[key]
        self.puts.pop(key, None)
        self.increments.pop(key, None)
        if key in self.base:
            self.removed.add(key)

    def clear(self) -> None:
        self.data.clear()
        self.puts.clear()
        self.removed.clear()
        self.increments.clear()
        self.cleared = True

    def increment(self, key: str, by: int) -> None:
        self.data[key] = self.data.get(key, 0) + by
        if key in self.puts or key in self.removed or self.cleared:
            self.puts[key] = self.data[key]
            self.removed.discard(key)
        else:
            self.increments[key] = self.increments.get(key, 0) + by

    def changes(self) -> bool:
        """Whether there is anything to store: a value put again as it was is no change."""
        return self.data != self.base

    def apply(self, data: Data) -> Data:
        """*data* with these changes made."""
        if not self.changes():
            return data
        if self.cleared:
            return self.data
        result = {key: value for key, value in data.items() if key not in self.removed}
        result.update(self.puts)
        for key, by in self.increments.items():
            result[key] = result.get(key, 0) + by
        return result

    def __str__(self) -> str:
        parts = ["clear"] if self.cleared else []
        parts += [f"{key}={value!r}" for key, value in self.puts.items()]
        parts += [f"-{key}" for key in sorted(self.removed)]
        parts += [f"{key}+={by}" for key, by in self.increments.items()]
        return " ".join(parts) if self.changes() else "nothing"


@dataclass(slots=True, eq=False)
class Commit:
    """One commit of a request: what is to be stored, and what became of it."""

    request: str
    number: int
    intent: Intent
    key: str | None
    """The session's key in the table when the commit began; None for a new session."""
    destroys: str | None
    """The key that is to be deleted first."""
    renews: bool
    begun_ns: int
    since: int = 0
    """How many states the session had had by then."""
    applied: int = 0
    acknowledged: bool = False
    result: Data | None = None
    conflicts: int = 0
    keys: list[str] = field(default_factory=list)
    """The keys under which it stored something."""
    deleted: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.request} commit {self.number}"
