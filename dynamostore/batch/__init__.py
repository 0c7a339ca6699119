"""Many records at once: batch jobs on a store, with few calls, at a rate, and resumed after a crash.

`Batch` for a `DynamoStore <dynamostore.DynamoStore>`, `AsyncBatch` for an `AsyncDynamoStore <dynamostore.AsyncDynamoStore>`.
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
