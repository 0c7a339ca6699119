"""Batch jobs over many records: few calls, rate-limited, and resumable after a crash.

Use `Batch` with a `DynamoStore <dynamostore.DynamoStore>`, and `AsyncBatch` with an
`AsyncDynamoStore <dynamostore.AsyncDynamoStore>`.
"""

from ._aio import AsyncBatch
from ._files import Exported, verify
from ._results import BatchIncompleteError, Counts, Failure, Outcome, Progress, Tally
from ._sync import Batch

__all__ = [
    "AsyncBatch",
    "Batch",
    "BatchIncompleteError",
    "Counts",
    "Exported",
    "Failure",
    "Outcome",
    "Progress",
    "Tally",
    "verify",
]
