"""`Position`: how far each segment of a table has been read; as text, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from dynamostore._texts import quoted
from dynamostore.client import Item
from dynamostore.items import key, storable
from dynamostore.table import Table

from .segments import MAX_SEGMENTS, check_segments

__all__ = ["Position"]


_SAID: Final = 200
"""How many characters of each of its words a message quotes of a token that comes from elsewhere."""


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    dynamostore: int
    table: str
    job: str
    scope: str
    after: list[str | None]
    done: list[bool]

    def __repr__(self) -> str:
        return "<_Text>"


@dataclass(slots=True)
class Position:
    """Where a *job* on a table stands: for each segment, the token *after* which it goes on, and whether it is *done*."""

    table: str
    job: str
    scope: str
    """On which server, where to, and what of it: words for who reads them."""
    after: list[str | None] = field(repr=False)
    done: list[bool]

    @classmethod
    def start(cls, table: Table, job: str, segments: int, scope: str) -> Position:
        """The beginning."""
        check_segments(segments)
        return cls(table.name, job, scope, [None] * segments, [False] * segments)

    @classmethod
    def parse(cls, text: str, table: Table, job: str, scope: str) -> Position:
        """What `text` gave; `ValueError` if it is nothing of the kind, or of another table or job."""
        try:
            found = msgspec.json.decode(text, type=_Text)
        except msgspec.DecodeError as error:
            raise ValueError(f"this is no resume token: {quoted(str(error), _SAID)}") from None
        if found.dynamostore != 1 or not found.after or len(found.after) != len(found.done):
            raise ValueError("this is no resume token of this version of dynamostore")
        if len(found.after) > MAX_SEGMENTS:
            raise ValueError(
                f"this resume token has {len(found.after):,} segments; at most {MAX_SEGMENTS:,} are allowed"
            )
        if (found.table, found.job, found.scope) != (table.name, job, scope):
            raise ValueError(
                f"this is the resume token of {_named(found)}, not of {job} on table {table.name!r} ({scope})"
            )
        if not all(token is None or storable(token) for token in found.after):
            raise ValueError("this resume token is damaged")
        return cls(found.table, found.job, found.scope, found.after, found.done)

    @property
    def text(self) -> str:
        """It as text, which holds the tokens that were seen last."""
        whole = _Text(dynamostore=1, table=self.table, job=self.job, scope=self.scope, after=self.after, done=self.done)
        return msgspec.json.encode(whole).decode()

    @property
    def left(self) -> list[int]:
        """The segments that are not done."""
        return [segment for segment, done in enumerate(self.done) if not done]

    def start_key(self, table: Table, segment: int) -> Item | None:
        """Where *segment* goes on; None: at its beginning."""
        token = self.after[segment]
        return None if token is None else key(table, token)

    @property
    def moved(self) -> bool:
        """Whether anything was read."""
        return any(self.done) or any(self.after)

    def advance(self, segment: int, after: str | None) -> None:
        """A page of *segment* is dealt with; None: it was the last."""
        if after is None:
            self.done[segment] = True
        else:
            self.after[segment] = after


def _named(found: _Text) -> str:
    """Return what a resume token says that it is of."""
    return f"{quoted(found.job, _SAID)} on table '{quoted(found.table, _SAID)}' ({quoted(found.scope, _SAID)})"
