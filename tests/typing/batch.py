"""Batch jobs and the table's administration, as a job's author types them."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_type

from dynamostore import AsyncDynamoStore, DynamoStore, MemoryStore, Record, StoreError
from dynamostore.batch import AsyncBatch, Batch, BatchIncompleteError, Counts, Exported, Outcome, Progress, Tally, verify
from dynamostore.client import Item

later = datetime.now(UTC)


def jobs(store: DynamoStore, other: DynamoStore) -> None:
    batch = Batch(store, rate=100, attempts=3, watch=lambda progress: print(progress.resume))
    assert_type(batch.find_many(["a", "b"]), Generator[Outcome, None, None])
    for outcome in batch.find_many(token for token in ("a", "b")):
        assert_type(outcome.token, str)
        assert_type(outcome.record, Record | None)
        assert_type(outcome.error, StoreError | ValueError | TypeError | None)
        assert_type(outcome.renamed, bool)
    assert_type(batch.save_many([("a", b"data", later)]), Tally)
    assert_type(batch.delete_many({"a", "b"}), Tally)
    assert_type(batch.scan(segments=4, limit=10, consistent=True), Generator[Record, None, None])
    assert_type(batch.scan_items(projection=["token", "expiry"]), Generator[Item, None, None])
    assert_type(batch.count(), Counts)
    assert_type(batch.count().markers, int)
    assert_type(batch.purge_expired(segments=2, dry_run=True, resume=None), Tally)
    assert_type(batch.copy(other, expired=True), Tally)
    assert_type(batch.export("file.jsonl.gz", overwrite=True), Exported)
    assert_type(batch.load(Path("file.jsonl")), Tally)
    assert_type(verify(Path("file.jsonl")), Exported)
    assert_type(batch.consumed, float)


def refused(store: DynamoStore, astore: AsyncDynamoStore) -> None:
    Batch(astore)  # type: ignore[arg-type]
    Batch(MemoryStore())  # type: ignore[arg-type]
    AsyncBatch(store)  # type: ignore[arg-type]
    Batch(store, 100)  # type: ignore[call-arg]
    batch = Batch(store)
    batch.save_many([("a", "data", later)])  # type: ignore[list-item]
    batch.find_many([b"token"])  # type: ignore[list-item]
    batch.copy(astore)  # type: ignore[arg-type]
    batch.scan(4)  # type: ignore[call-arg]
    batch.purge_expired(segments="4")  # type: ignore[arg-type]
    next(batch.find_many(["a"])).record.data  # type: ignore[union-attr]


async def asynchronous(store: AsyncDynamoStore) -> None:
    async def tokens() -> AsyncIterator[str]:
        yield "a"

    batch = AsyncBatch(store)
    assert_type(batch.find_many(tokens()), AsyncGenerator[Outcome, None])
    assert_type(await batch.delete_many(tokens()), Tally)
    assert_type(batch.scan(), AsyncGenerator[Record, None])
    assert_type(await batch.count(), Counts)
    for record in batch.scan():  # type: ignore[attr-defined]
        pass
    batch.count().live  # type: ignore[attr-defined]


def watching(progress: Progress, error: BatchIncompleteError) -> None:
    assert_type(progress.seen, int)
    assert_type(progress.resume, str | None)
    assert_type(error.errors, dict[int, Exception])
    assert_type(error.resume, str)
    assert_type(error.tally.failed["a"], StoreError | ValueError | TypeError)
