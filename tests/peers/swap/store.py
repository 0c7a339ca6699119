"""The store behind the sessions: in memory, or the DynamoDB at ``PEERS_DYNAMODB``, whose table is there."""

from __future__ import annotations

import os

from dynamostore import DynamoStore, MemoryStore, Store, Table
from dynamostore.wire import Credentials, WireClient
from session import Cookie, SessionManager

__all__ = ["make_manager", "manager", "store"]


def _make_store() -> Store:
    url = os.environ.get("PEERS_DYNAMODB")
    if not url:
        return MemoryStore()
    return DynamoStore(WireClient("us-east-1", url, credentials=Credentials("local", "local")), Table(name="peers"))


def make_manager(cookie: Cookie) -> SessionManager:
    """Return a manager of sessions in the one store."""
    return SessionManager(store, cookie=cookie)


store = _make_store()
# The test clients speak plain HTTP.
manager = make_manager(Cookie(secure=False))
