"""What can go wrong with a session.

    Exception
     └─ SessionError
         ├─ SessionTypeError      a value is of another type than was asked for; also a TypeError
         ├─ SessionClosedError    the session is closed; nothing can be changed any more
         ├─ SessionStateError     the session is in a state that does not allow this call
         ├─ SessionNotLoadedError an async session was accessed before it was loaded
         ├─ SessionConflict       another request was faster, and this one must not be stored on top of it
         └─ CorruptSessionError   what is stored is not a session

What the store raises (`dynamostore.StoreError`) comes through as it is: an outage is not a logout. No
message holds a token or a value; keys are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dynamostore.documented import Documented

from .types import JSONValue

__all__ = [
    "CorruptSessionError",
    "SessionClosedError",
    "SessionConflict",
    "SessionError",
    "SessionNotLoadedError",
    "SessionStateError",
    "SessionTypeError",
]


class SessionError(Documented, Exception):
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


class SessionStateError(SessionError):
    """The session is in a state that does not allow this call; the message says which, and what to do instead."""


class SessionNotLoadedError(SessionError):
    """An `AsyncSession` was accessed before it was loaded: ``await s.load()`` first where ``lazy=True`` was asked for."""


class SessionConflict(SessionError):
    """Another request changed the session first, and this one's changes were not stored.

    Run the request again, or answer 409. The message names the keys, never a value.

    Attributes: *keys*, the keys that this request read and the other changed, sorted (empty if the reason is another one);
    *ended*, True if the session was destroyed, renewed or has expired meanwhile; *ours*, the data as this request has it,
    and *theirs*, the data as it is stored now (empty if the session has ended).
    """

    def __init__(
        self,
        message: str = "",
        *,
        keys: Iterable[str] = (),
        ended: bool = False,
        ours: Mapping[str, JSONValue] | None = None,
        theirs: Mapping[str, JSONValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.keys = tuple(keys)
        self.ended = ended
        self.ours = dict(ours or {})
        self.theirs = dict(theirs or {})


class CorruptSessionError(SessionError):
    """A record is there, but its payload is not a session.

    Attributes: *digest*, which names the record as `dynamostore.digests.digest` does, and *reason*.
    """

    def __init__(self, message: str = "", *, digest: str = "", reason: str = "") -> None:
        super().__init__(message or reason)
        self.digest = digest
        self.reason = reason
