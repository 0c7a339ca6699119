"""`Position`: how far a job has read each segment of a table. It converts to a resume token and back."""

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
"""The most characters that a message quotes of each field of a resume token."""


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
    """The progress of a *job* on a table: for each segment, the last token read (*after*), and whether it is *done*."""

    table: str
    job: str
    scope: str
    """The server, the target and the options of the job, as text."""
    after: list[str | None] = field(repr=False)
    done: list[bool]

    @classmethod
    def start(cls, table: Table, job: str, segments: int, scope: str) -> Position:
        """Return the position at the start of a job."""
        check_segments(segments)
        return cls(table.name, job, scope, [None] * segments, [False] * segments)

    @classmethod
    def parse(cls, text: str, table: Table, job: str, scope: str) -> Position:
        """Return the position that `text` encoded. Raise `ValueError` if it is not valid, or is of another table or job."""
        try:
            found = msgspec.json.decode(text, type=_Text)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a resume token: {quoted(str(error), _SAID)}") from None
        if found.dynamostore != 1 or not found.after or len(found.after) != len(found.done):
            raise ValueError("the resume token is not valid for this version of dynamostore")
        if len(found.after) > MAX_SEGMENTS:
            raise ValueError(
                f"the resume token has {len(found.after):,} segments; at most {MAX_SEGMENTS:,} are allowed"
            )
        if (found.table, found.job, found.scope) != (table.name, job, scope):
            raise ValueError(
                f"the resume token belongs to {_named(found)}, not to {job} on table {table.name!r} ({scope})"
            )
        if not all(token is None or storable(token) for token in found.after):
            raise ValueError("the resume token is damaged")
        return cls(found.table, found.job, found.scope, found.after, found.done)

    @property
    def text(self) -> str:
        """The resume token: this position as text. It contains the last tokens read."""
        whole = _Text(dynamostore=1, table=self.table, job=self.job, scope=self.scope, after=self.after, done=self.done)
        return msgspec.json.encode(whole).decode()

    @property
    def left(self) -> list[int]:
        """The segments that are not done."""
        return [segment for segment, done in enumerate(self.done) if not done]

    def start_key(self, table: Table, segment: int) -> Item | None:
        """Return the key after which to continue *segment*, or None to start it."""
        token = self.after[segment]
        return None if token is None else key(table, token)

    @property
    def moved(self) -> bool:
        """True once any page was read."""
        return any(self.done) or any(self.after)

    def advance(self, segment: int, after: str | None) -> None:
        """Record that a page of *segment*, up to the token *after*, is done. None marks the last page."""
        if after is None:
            self.done[segment] = True
        else:
            self.after[segment] = after


def _named(found: _Text) -> str:
    """Return a description of the job, table and scope in a resume token."""
    return f"{quoted(found.job, _SAID)} on table '{quoted(found.table, _SAID)}' ({quoted(found.scope, _SAID)})"
