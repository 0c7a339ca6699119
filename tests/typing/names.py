"""Public is what is listed: what the packages import for themselves is not theirs to hand on."""

from dynamostore import Clock  # type: ignore[attr-defined]
from dynamostore import LocalDynamoDB  # type: ignore[attr-defined]
from dynamostore import SessionManager  # type: ignore[attr-defined]
from dynamostore import digest  # type: ignore[attr-defined]
from dynamostore.contract import to_ns  # type: ignore[attr-defined]
from dynamostore.store import Record  # type: ignore[attr-defined]
from session import BaseSession  # type: ignore[attr-defined]
from session import MemoryStore  # type: ignore[attr-defined]
from session import SessionManger  # type: ignore[attr-defined]
from session.manager import Store  # type: ignore[attr-defined]
