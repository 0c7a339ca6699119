"""Store records (bytes under a token, with an expiry) in a DynamoDB table, without lost updates or revived records.

>>> from datetime import UTC, datetime, timedelta
>>> from dynamostore import MemoryStore
>>> store = MemoryStore()
>>> record = store.create("token", b"data", datetime.now(UTC) + timedelta(hours=1))
>>> store.find("token").data
b'data'
"""

from ._version import __version__ as __version__
from .aio import AsyncDynamoStore
from .connecting import connect, connect_async
from .contract import AsyncStore, Record, Store
from .errors import (
    AccessDeniedError,
    Conflict,
    CorruptRecordError,
    ItemTooLargeError,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    ThrottlingReason,
    UnavailableError,
)
from .memory import AsyncMemoryStore, MemoryStore
from .store import DynamoStore
from .table import Table

__all__ = [
    "AccessDeniedError",
    "AsyncDynamoStore",
    "AsyncMemoryStore",
    "AsyncStore",
    "Conflict",
    "CorruptRecordError",
    "DynamoStore",
    "ItemTooLargeError",
    "MemoryStore",
    "Record",
    "Store",
    "StoreError",
    "Table",
    "TableNotFoundError",
    "TableSchemaError",
    "ThrottledError",
    "ThrottlingReason",
    "UnavailableError",
    "connect",
    "connect_async",
]
