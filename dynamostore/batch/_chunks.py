"""Splitting entries into chunks that fit into one call: no token twice, and no more tokens than the call accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import itemgetter
from typing import Final, Generic, TypeVar

from dynamostore.hidden import Hidden

__all__ = ["Chunks", "in_chunks", "tokens_of"]

T = TypeVar("T")

_REPEATS: Final = 10
"""The most entries in a chunk with repeated tokens, as a multiple of the chunk's size in tokens."""


class Chunks(Generic[T]):
    """Splits entries into lists with at most *size* tokens each. A repeated token starts a new list, which keeps the order.

    With *repeats*, a list may hold a token more than once, for calls where that makes no difference. With *eager*, a list is complete
    as soon as it is full: no entry of the next list has been taken from the caller's iterable, unless a token repeats.
    """

    def __init__(self, size: int, token: Callable[[T], object], *, repeats: bool = False, eager: bool = False) -> None:
        self._size = size
        self._token = token
        self._repeats = repeats
        self._eager = eager
        self._chunk: list[T] = []
        self._tokens: set[object] = set()

    def add(self, entry: T) -> Hidden[list[T]] | None:
        """Add an entry. Return the list that this completes, if any: the list before it, or with *eager* the list with it."""
        token = self._token(entry)
        if token in self._tokens:
            over = not self._repeats or len(self._chunk) >= _REPEATS * self._size
        else:
            over = len(self._tokens) == self._size
        full = self.rest() if over else None
        self._chunk.append(entry)
        self._tokens.add(token)
        if self._eager and full is None and len(self._tokens) == self._size:
            return self.rest()
        return full

    def pending(self) -> list[object]:
        """Return the tokens of the entries that are in no list yet."""
        return [*self._tokens]

    def rest(self) -> Hidden[list[T]] | None:
        """Return the last list, or None if it is empty."""
        chunk, self._chunk, self._tokens = self._chunk, [], set()
        return Hidden(chunk) if chunk else None


def in_chunks(entries: Hidden[Iterable[T]], chunks: Chunks[T]) -> Iterator[Hidden[list[T]]]:
    """Yield *entries* in lists, as *chunks* splits them.

    >>> [chunk.reveal() for chunk in in_chunks(Hidden("abcab"), Chunks(3, str))]
    [['a', 'b', 'c'], ['a', 'b']]
    >>> [chunk.reveal() for chunk in in_chunks(Hidden("abcabd"), Chunks(3, str, repeats=True))]
    [['a', 'b', 'c', 'a', 'b'], ['d']]
    >>> rest = iter("abcd")
    >>> next(in_chunks(Hidden(rest), Chunks(3, str, eager=True))).reveal(), next(rest)
    (['a', 'b', 'c'], 'd')
    """
    for entry in map(Hidden, entries.reveal()):
        if chunk := chunks.add(entry.reveal()):
            yield chunk
    if chunk := chunks.rest():
        yield chunk


def tokens_of(chunk: Hidden[list[tuple[str, bytes, datetime]]]) -> Iterator[str]:
    """Return an iterator over the tokens of a chunk of ``save_many``."""
    return map(itemgetter(0), chunk.reveal())
