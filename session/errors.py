"""The errors that sessions raise::

    Exception
     └─ SessionError
         ├─ SessionTypeError:      a value does not have the requested type; also a TypeError
         ├─ SessionClosedError:    the session is closed and cannot be changed any more
         ├─ SessionStateError:     the current state of the session does not allow this call
         ├─ SessionNotLoadedError: an async session was accessed before it was loaded
         ├─ SessionConflict:       another request changed the session first, and this one is stale
         └─ CorruptSessionError:   the stored payload is not a session

The store's errors (`dynamostore.StoreError`) propagate unchanged, so an outage never looks like a logout. Messages name
keys; they never contain a token or a value.
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
    """The base class of all errors in this module."""


class SessionTypeError(SessionError, TypeError):
    """A value does not have the requested type, or a session cannot hold it.

    Attributes: *key*; *wanted*, the expected type; *found*, the actual type. All are str.

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
        self.key: str = key
        self.wanted: str = wanted
        self.found: str = found


class SessionClosedError(SessionError):
    """The session was changed after it was committed or discarded, usually after the end of its block."""


class SessionStateError(SessionError):
    """The current state of the session does not allow this call. The message says why and what to do instead."""


class SessionNotLoadedError(SessionError):
    """An `AsyncSession` opened with ``lazy=True`` was accessed before ``await session.load()``."""


class SessionConflict(SessionError):
    """Another request changed the session first, so this request's changes were not stored.

    Run the request again, or respond with 409 Conflict. The message names keys, never values. Attributes:

    - *keys*: the keys that this request read and the other changed, sorted; empty if there is another reason;
    - *ended*: True if the session was destroyed, was renewed or expired meanwhile;
    - *ours*: this request's view of the data;
    - *theirs*: the data as stored now; empty if the session has ended.

    >>> from dynamostore import MemoryStore
    >>> from session import SessionManager
    >>> manager = SessionManager(MemoryStore())
    >>> with manager.session(None) as s:
    ...     s.put_int("seats", 1)
    >>> try:
    ...     with manager.session(s.token) as slow:
    ...         free = slow.get_int("seats")
    ...         with manager.session(s.token) as fast:
    ...             fast.put_int("seats", 0)
    ...         slow.put_bool("booked", free > 0)
    ... except SessionConflict as conflict:
    ...     conflict.keys
    ('seats',)
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
        self.keys: tuple[str, ...] = tuple(keys)
        self.ended: bool = ended
        self.ours: dict[str, JSONValue] = dict(ours or {})
        self.theirs: dict[str, JSONValue] = dict(theirs or {})


class CorruptSessionError(SessionError):
    """The session's record exists, but its payload cannot be decoded.

    Attributes: *digest*, a hash that identifies the record without its token (`dynamostore.digests.digest`); *reason*, the
    decoding error. Both are str.
    """

    def __init__(self, message: str = "", *, digest: str = "", reason: str = "") -> None:
        super().__init__(message or reason)
        self.digest: str = digest
        self.reason: str = reason
