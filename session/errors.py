"""What can go wrong with a session.

    Exception
     └─ SessionError
         ├─ SessionTypeError      a value is of another type than was asked for; also a TypeError
         ├─ SessionClosedError    the block is over; nothing can be changed any more
         ├─ SessionNotLoadedError an async session that is read only when asked to be was looked at before
         ├─ SessionConflict       somebody else changed the session, and the two could not be merged
         └─ CorruptSessionError   what is stored is not a session

What the store raises (`dynamostore.StoreError`) comes through as it is: an outage is not a logout. No
message holds a token or a value; keys are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .values import JSONValue

__all__ = [
    "CorruptSessionError",
    "SessionClosedError",
    "SessionConflict",
    "SessionError",
    "SessionNotLoadedError",
    "SessionTypeError",
]


class SessionError(Exception):
    """The base of what a session raises on its own."""


class SessionTypeError(SessionError, TypeError):
    """A value is not of the type that was asked for, or cannot be kept in a session.

    Attributes: *key*; *wanted*, the type asked for; *found*, the type that is there or was given.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> with SessionManager(MemoryStore()).session(None) as s:
    ...     s.put_string("n", "seven")
    ...     s.get_int("n")
    Traceback (most recent call last):
    session.errors.SessionTypeError: session key 'n': wanted int, found str
    """

    def __init__(self, message: str = "", *, key: str = "", wanted: str = "", found: str = "") -> None:
        super().__init__(message or f"session key {key!r}: wanted {wanted}, found {found}")
        self.key = key
        self.wanted = wanted
        self.found = found


class SessionClosedError(SessionError):
    """The session was committed or discarded when its block was left; a change now would be lost."""


class SessionNotLoadedError(SessionError):
    """An `AsyncSession` was looked at before it was read: ``await s.load()`` comes first where ``lazy=True`` was asked for."""


class SessionConflict(SessionError):
    """Another request changed the session meanwhile, and this one's changes were not stored.

    Attributes: *ours*, the data as this request has it, and *theirs*, the data as it is stored now.
    """

    def __init__(
        self,
        message: str = "",
        *,
        ours: Mapping[str, JSONValue] | None = None,
        theirs: Mapping[str, JSONValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.ours = dict(ours or {})
        self.theirs = dict(theirs or {})


class CorruptSessionError(SessionError):
    """A record is there, but its payload is not a session.

    Attributes: *digest*, which names the record as `dynamostore.errors.digest` does, and *reason*.
    """

    def __init__(self, message: str = "", *, digest: str = "", reason: str = "") -> None:
        super().__init__(message or reason)
        self.digest = digest
        self.reason = reason
