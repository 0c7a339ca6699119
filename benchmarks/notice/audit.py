"""`Audit`: one user's books: what the shop said it had done, to be compared with what is stored when all is quiet."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field

from session.types import JSONValue

from .shelf import Shelf, decode
from .traces import Answer, Trace

__all__ = ["Audit"]


@dataclass(slots=True)
class _Books:
    """What was acknowledged in one session, as far as it was not given up for lost."""

    items: dict[str, set[str]] = field(default_factory=lambda: {"cart": set(), "wishlist": set()})
    likes: int = 0
    messages: set[str] = field(default_factory=set)


class Audit:
    """One user's books; *counts* are the world's."""

    def __init__(self, shelf: Shelf, counts: Counter[str], *, messages: bool) -> None:
        self._shelf = shelf
        self._counts = counts
        self._has_messages = messages
        self._books: dict[int, _Books] = {}
        self._shown: Counter[str] = Counter()
        self._refused: set[str] = set()
        self._user: str | None = None

    def note(
        self, path: str, query: dict[str, str], status: int, answer: Answer, trace: Trace, *, presented: str | None
    ) -> None:
        """Enter what came of a request that presented a token."""
        if path == "/home" and status == 200:
            found = answer.body["messages"]
            assert isinstance(found, list)
            self._shown.update(map(str, found))
        elif path in ("/cart", "/wishlist", "/like", "/pay"):
            self._note_button(path, query, status, trace, presented)
        elif path == "/login" and status < 400:
            self._user = query["user"]

    def logs_out(self) -> None:
        """Expect no login any more."""
        self._user = None

    def is_logged_in(self) -> bool:
        """Return True if the user was told so."""
        return self._user is not None

    def _note_button(self, path: str, query: dict[str, str], status: int, trace: Trace, presented: str | None) -> None:
        message = f"{trace.name} {'paid' if path == '/pay' else 'added'}"
        if status >= 400:
            self._refused.add(message)
            return
        counts = self._counts
        counts["acknowledged"] += path != "/pay"
        lineage = trace.lineage
        if lineage is None:
            # The session ended while the request was under way, so what it put was dropped.
            if not self._was_destroyed(presented):
                counts["dropped at a login"] += 1
            return
        books = self._books.setdefault(lineage, _Books())
        if path == "/like":
            books.likes += 1
            return
        if path != "/pay":
            books.items[path[1:]].add(query["item"])
        if self._has_messages:
            counts["messages"] += 1
            books.messages.add(message)

    def check(self, token: str | None) -> None:
        """Compare the books with the session of *token*, while nothing is under way."""
        key = None if token is None else _key(token)
        record = None if key is None else self._shelf.find(key)
        data: dict[str, JSONValue] = {} if record is None else decode(record)
        here = None if record is None else self._shelf.lineages[record.token]
        for lineage, books in [*self._books.items()]:
            if lineage in self._shelf.destroyed:
                del self._books[lineage]
            elif lineage != here:
                self._leave_behind(books)
                del self._books[lineage]
            else:
                self._compare(books, data)
        for message, times in self._shown.items():
            self._counts["messages shown twice"] += times > 1
            self._counts["messages of refused requests"] += message in self._refused
        self._shown.clear()
        if self._user is not None and data.get("user") != self._user:
            self._counts["logins lost"] += 1
            self._user = None

    def _leave_behind(self, books: _Books) -> None:
        """The browser has another session now, and nobody logged out."""
        left = sum(map(len, books.items.values())) + books.likes
        self._counts["left behind"] += left

    def _compare(self, books: _Books, data: dict[str, JSONValue]) -> None:
        for key, items in books.items.items():
            stored = data.get(key, [])
            assert isinstance(stored, list)
            lost = items.difference(map(str, stored))
            self._counts[f"lost: {key}"] += len(lost)
            items.difference_update(lost)
        likes = data.get("likes", 0)
        assert isinstance(likes, int)
        self._counts["lost: likes"] += max(0, books.likes - likes)
        books.likes = min(books.likes, likes)
        pending = f"{data.get('_flashes')}{data.get('_messages')}"
        for message in [*books.messages]:
            if message in self._shown:
                books.messages.discard(message)
            elif message not in pending:
                books.messages.discard(message)
                self._counts["messages lost"] += 1

    def _was_destroyed(self, presented: str | None) -> bool:
        return presented is not None and self._shelf.lineages.get(_key(presented)) in self._shelf.destroyed


def _key(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
