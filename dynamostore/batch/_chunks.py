"""Entries in lists that fit into one call: no token twice, and no more than the call takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import itemgetter
from typing import Final, Generic, TypeVar

from dynamostore.hidden import Hidden

__all__ = ["Chunks", "in_chunks", "tokens_of"]

T = TypeVar("T")

_REPEATS: Final = 10
"""How many times its size in tokens a list may have in entries, where these repeat."""


class Chunks(Generic[T]):
    """Entries in lists of at most *size* tokens, none of which is there twice: what comes later is done later.

    *repeats*: it may be there twice, for it makes no difference.
    """

    def __init__(self, size: int, token: Callable[[T], object], *, repeats: bool = False) -> None:
        self._size = size
        self._token = token
        self._repeats = repeats
        self._chunk: list[T] = []
        self._tokens: set[object] = set()

    def add(self, entry: T) -> Hidden[list[T]] | None:
        """Take one more; the list that is full, or None."""
        token = self._token(entry)
        if token in self._tokens:
            over = not self._repeats or len(self._chunk) >= _REPEATS * self._size
        else:
            over = len(self._tokens) == self._size
        full = self.rest() if over else None
        self._chunk.append(entry)
        self._tokens.add(token)
        return full

    def rest(self) -> Hidden[list[T]] | None:
        """The last list; None if there is nothing in it."""
        chunk, self._chunk, self._tokens = self._chunk, [], set()
        return Hidden(chunk) if chunk else None


def in_chunks(
    entries: Hidden[Iterable[T]], size: int, token: Callable[[T], object], *, repeats: bool = False
) -> Iterator[Hidden[list[T]]]:
    """`Chunks` of *entries*.

    >>> [chunk.reveal() for chunk in in_chunks(Hidden("abcab"), 3, str)]
    [['a', 'b', 'c'], ['a', 'b']]
    >>> [chunk.reveal() for chunk in in_chunks(Hidden("abcabd"), 3, str, repeats=True)]
    [['a', 'b', 'c', 'a', 'b'], ['d']]
    """
    chunks = Chunks(size, token, repeats=repeats)
    for entry in map(Hidden, entries.reveal()):
        if chunk := chunks.add(entry.reveal()):
            yield chunk
    if chunk := chunks.rest():
        yield chunk


def tokens_of(chunk: Hidden[list[tuple[str, bytes, datetime]]]) -> Iterator[str]:
    """Iterate over the tokens of what is to be saved."""
    return map(itemgetter(0), chunk.reveal())
