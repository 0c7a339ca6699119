"""Per-request sessions with typed getters, in any store; `with manager.session(token) as s: ...`.

>>> from dynamostore import MemoryStore
>>> from session import SessionManager
>>> manager = SessionManager(MemoryStore())
>>> with manager.session(None) as s:
...     s.put_string("message", "Hello world!")
>>> with manager.session(s.token) as s:
...     s.get_string("message")
'Hello world!'
"""

from ._lifecycle import OnConflict, Status
from .aio import AsyncSessionManager
from .codec import Codec, JSONCodec
from .cookies import Cookie
from .errors import (
    CorruptSessionError,
    SessionClosedError,
    SessionConflict,
    SessionError,
    SessionNotLoadedError,
    SessionTypeError,
)
from .manager import SessionManager
from .session import AsyncSession, Session
from .values import JSONValue

__all__ = [
    "AsyncSession",
    "AsyncSessionManager",
    "Codec",
    "Cookie",
    "CorruptSessionError",
    "JSONCodec",
    "JSONValue",
    "OnConflict",
    "Session",
    "SessionClosedError",
    "SessionConflict",
    "SessionError",
    "SessionManager",
    "SessionNotLoadedError",
    "SessionTypeError",
    "Status",
]
