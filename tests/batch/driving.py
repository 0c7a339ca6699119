"""One text for both kinds of batch: an `AsyncBatch` behind the face of a `Batch`, and where each gets its client."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from dynamostore import AsyncDynamoStore, DynamoStore, Record, Table
from dynamostore.batch import AsyncBatch, Batch, Counts, Exported, Outcome, Progress, Tally
from dynamostore.client import Item
from dynamostore.instants import Clock
from dynamostore.testing import LoopThread
from tests.backends import async_wire_client, make_client, wire_client

from .meddling import AsyncThrough, Meddler, Through

__all__ = ["AnyBatch", "AwaitedBatch", "Drive", "FakeTime", "Kind", "items_in"]

T = TypeVar("T")
Kind: TypeAlias = Literal["sync", "async", "boto3"]

_numbers = count()


class AwaitedBatch:
    """An `AsyncBatch` as a `Batch`: each call runs on *loop*, and is waited for."""

    def __init__(self, batch: AsyncBatch, loop: LoopThread) -> None:
        self.batch = batch
        self.store = batch.store
        self._loop = loop

    @property
    def consumed(self) -> float:
        return self.batch.consumed

    def find_many(self, tokens: Iterable[str]) -> Generator[Outcome, None, None]:
        return self._each(self.batch.find_many(tokens))

    def save_many(self, records: Iterable[tuple[str, bytes, datetime]]) -> Tally:
        return self._loop.run(self.batch.save_many(records))

    def delete_many(self, tokens: Iterable[str]) -> Tally:
        return self._loop.run(self.batch.delete_many(tokens))

    def scan(
        self, *, segments: int = 1, limit: int | None = None, consistent: bool = False, resume: str | None = None
    ) -> Generator[Record, None, None]:
        return self._each(self.batch.scan(segments=segments, limit=limit, consistent=consistent, resume=resume))

    def scan_items(
        self,
        *,
        segments: int = 1,
        limit: int | None = None,
        projection: Iterable[str] = (),
        consistent: bool = False,
        resume: str | None = None,
    ) -> Generator[Item, None, None]:
        return self._each(
            self.batch.scan_items(
                segments=segments, limit=limit, projection=projection, consistent=consistent, resume=resume
            )
        )

    def count(self, *, segments: int = 1) -> Counts:
        return self._loop.run(self.batch.count(segments=segments))

    def purge_expired(self, *, segments: int = 1, dry_run: bool = False, resume: str | None = None) -> Tally:
        return self._loop.run(self.batch.purge_expired(segments=segments, dry_run=dry_run, resume=resume))

    def copy(
        self, to: AsyncDynamoStore, *, segments: int = 1, expired: bool = False, resume: str | None = None
    ) -> Tally:
        return self._loop.run(self.batch.copy(to, segments=segments, expired=expired, resume=resume))

    def export(
        self, path: str | Path, *, segments: int = 1, expired: bool = False, overwrite: bool = False
    ) -> Exported:
        return self._loop.run(self.batch.export(path, segments=segments, expired=expired, overwrite=overwrite))

    def load(self, path: str | Path, *, expired: bool = False, resume: str | None = None) -> Tally:
        return self._loop.run(self.batch.load(path, expired=expired, resume=resume))

    def _each(self, results: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        over = object()

        async def following() -> T | object:
            return await anext(results, over)

        try:
            while (result := self._loop.run(following())) is not over:
                # What is not `over` is a T; a type checker cannot know.
                yield result  # type: ignore[misc] # see above
        finally:
            self._loop.run(results.aclose())


AnyBatch: TypeAlias = Batch | AwaitedBatch


class FakeTime:
    """A monotonic clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


class Drive:
    """Batches of one *kind* on the server at *url*, and tables for them; no pause is ever slept."""

    def __init__(self, stack: ExitStack, url: str, kind: Kind, server: str = "") -> None:
        self.server = server
        self.kind = kind
        self.loop = stack.enter_context(LoopThread())
        self.raw: Any = stack.enter_context(wire_client(url))
        """A client for a look at what is there."""
        if kind == "async":
            self._client: Any = async_wire_client(url)
            stack.callback(lambda: self.loop.run(self._client.close()))
        else:
            self._client = make_client(url) if kind == "boto3" else self.raw

    def table(self, names: Table | None = None) -> Table:
        """A new table, with these *names* of attributes."""
        name = f"batch-{next(_numbers)}"
        table = replace(names or Table(), name=name)
        self.raw.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": table.token, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": table.token, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        while self.raw.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(0.005)
        return table

    def batch(
        self,
        table: Table,
        meddler: Meddler | None = None,
        *,
        clock: Clock = time.time_ns,
        fake: FakeTime | None = None,
        rate: float | None = None,
        attempts: int = 10,
        watch: Callable[[Progress], object] | None = None,
    ) -> AnyBatch:
        fake = fake or FakeTime()
        if self.kind != "async":
            client: Any = Through(self._client, meddler) if meddler else self._client
            store = DynamoStore(client, table, clock=clock, sleep=fake.sleep)
            return Batch(store, rate=rate, attempts=attempts, watch=watch, monotonic=fake.monotonic)

        async def sleep(seconds: float) -> None:
            fake.sleep(seconds)

        client = AsyncThrough(self._client, meddler) if meddler else self._client
        astore = AsyncDynamoStore(client, table, clock=clock, sleep=sleep)
        return AwaitedBatch(
            AsyncBatch(astore, rate=rate, attempts=attempts, watch=watch, monotonic=fake.monotonic), self.loop
        )

    def copy(self, batch: AnyBatch, to: AnyBatch, **how: Any) -> Tally:
        """``batch.copy(to.store)``, of either kind."""
        tally: Tally = batch.copy(to.store, **how)  # type: ignore[arg-type] # both are of this drive's kind
        return tally

    def put(self, table: Table, items: Iterable[Item]) -> None:
        """Put items as they are."""
        pending: list[Item] = []
        for item in items:
            pending.append(item)
            if len(pending) == 25:
                self._put(table, pending)
                pending = []
        if pending:
            self._put(table, pending)

    def _put(self, table: Table, items: list[Item]) -> None:
        reply = self.raw.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": item}} for item in items]})
        assert not reply.get("UnprocessedItems")

    def items(self, table: Table) -> dict[str, Item]:
        """All that is in a table, by token; a token that comes twice is a failure."""
        return items_in(self.raw, table)


def items_in(client: Any, table: Table) -> dict[str, Item]:
    """All that is in a table, by token, read with a bare Scan."""
    found: dict[str, Item] = {}
    start: dict[str, Any] = {}
    while True:
        reply = client.scan(TableName=table.name, ConsistentRead=True, Limit=5000, **start)
        for item in reply["Items"]:
            token = item[table.token]["S"]
            assert token not in found
            found[token] = item
        if "LastEvaluatedKey" not in reply:
            return found
        start = {"ExclusiveStartKey": reply["LastEvaluatedKey"]}
