"""`ServerWithoutTransactions`: a global table with strong consistency, on which a renewal takes two steps.

What the first step puts is known to nobody but the request that renews, until a marker leads to it. So it is kept from whoever watches,
and shown together with the marker: then the renewal is to be what a transaction would be. What is left over by a process
that died in between stays hidden, and nobody may come upon it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .expressions import Item
from .model import Server, ServerError

__all__ = ["ServerWithoutTransactions"]


class ServerWithoutTransactions(Server):
    """The table. *hidden*: key → what stood there before a renewal put something that no marker leads to."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.hidden: dict[str, Item | None] = {}
        self.known = _Known(self)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        raise ServerError("ValidationException", "no transactions on this table")

    def write(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        before = len(self.changes)
        reply = super().write(operation, arguments)
        for key, old, new in self.changes[before:]:
            if key in self.hidden and old is not None:
                self.taken_back.append(old)
            if key in self.hidden and new == self.hidden[key]:
                # Taken back.
                del self.hidden[key], self.changes[before:]
            elif operation == "put_item" and new is not None and "recent" in new:
                # What a renewal puts remembers the versions of what it renews; what a create puts has none to remember.
                self.hidden.setdefault(key, old)
                del self.changes[before:]
            elif new is not None and (led_to := new.get("moved", {}).get("S")) in self.hidden:
                self.changes.insert(before, (led_to, self.hidden.pop(led_to), self.items[led_to]))
        return reply

    def sweepable(self, attribute: str = "ttl") -> list[str]:
        return [key for key in super().sweepable(attribute) if key not in self.hidden]


class _Known(Mapping[str, Item]):
    """The items of a server, but for those that are hidden."""

    def __init__(self, server: ServerWithoutTransactions) -> None:
        self._server = server

    def __getitem__(self, key: str) -> Item:
        if key in self._server.hidden:
            raise KeyError(key)
        return self._server.items[key]

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._server.items if key not in self._server.hidden)

    def __len__(self) -> int:
        return len(list(iter(self)))
