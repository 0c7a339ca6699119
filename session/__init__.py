"""Per-request sessions with typed getters, stored in any `dynamostore.Store`.

>>> from dynamostore import MemoryStore
>>> from session import SessionManager
>>> manager = SessionManager(MemoryStore())
>>> with manager.session(None) as s:
...     s.put_string("message", "Hello world!")
>>> with manager.session(s.token) as s:
...     s.get_string("message")
'Hello world!'
"""

from ._policy import OnConflict, OnCorrupt
from ._state import Status
from .aio import AsyncSessionManager
from .codecs import Codec, JSONCodec
from .cookies import Cookie
from .data import SessionData
from .errors import (
    CorruptSessionError,
    SessionClosedError,
    SessionConflict,
    SessionError,
    SessionNotLoadedError,
    SessionStateError,
    SessionTypeError,
)
from .manager import SessionManager
from .mergeable import Merge, MergeFunction
from .session import AsyncSession, Session
from .types import JSONInput, JSONValue

__all__ = [
    "AsyncSession",
    "AsyncSessionManager",
    "Codec",
    "Cookie",
    "CorruptSessionError",
    "JSONCodec",
    "JSONInput",
    "JSONValue",
    "Merge",
    "MergeFunction",
    "OnConflict",
    "OnCorrupt",
    "Session",
    "SessionClosedError",
    "SessionConflict",
    "SessionData",
    "SessionError",
    "SessionManager",
    "SessionNotLoadedError",
    "SessionStateError",
    "SessionTypeError",
    "Status",
]
