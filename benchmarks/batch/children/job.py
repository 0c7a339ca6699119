"""One job in a process of its own: ``python -m benchmarks.batch.children.job JOB URL RECORDS SEGMENTS``, and what it took, as JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.batch.stored import line, table_of
from benchmarks.speed.stored import DEADLINE_NS, FIRST_VERSION, RECENT, REGION, TTL, payload
from dynamostore import AsyncDynamoStore, DynamoStore, Table
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.instants import from_ns
from dynamostore.wire import AsyncWireClient, Credentials, WireClient

KEYS = Credentials("key", "secret")
DATA = payload(1000)


def _ours(url: str, records: int) -> Batch:
    return Batch(DynamoStore(WireClient(REGION, url, credentials=KEYS), Table(name=table_of(records))))


def scan(url: str, records: int, segments: int) -> int:
    return sum(1 for _ in _ours(url, records).scan(segments=segments))


def scan_async(url: str, records: int, segments: int) -> int:
    async def main() -> int:
        client = AsyncWireClient(REGION, url, credentials=KEYS)
        batch = AsyncBatch(AsyncDynamoStore(client, Table(name=table_of(records))))
        count = 0
        async for _ in batch.scan(segments=segments):
            count += 1
        await client.close()
        return count

    return asyncio.run(main())


def export(url: str, records: int, segments: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _ours(url, records).export(Path(folder) / "records.jsonl", segments=segments).records


def copy(url: str, records: int, segments: int) -> int:
    batch = _ours(url, records)
    return batch.copy(DynamoStore(batch.store.client, Table(name="records-0")), segments=segments).done


def save(url: str, records: int, segments: int) -> int:  # noqa: ARG001 (one after the other)
    expiry = from_ns(DEADLINE_NS)
    return _ours(url, records).save_many((line(n), DATA, expiry) for n in range(records)).done


def boto3_scan(url: str, records: int, segments: int) -> int:  # noqa: ARG001 (a plain loop)
    import boto3

    pages = boto3.client("dynamodb", region_name=REGION, endpoint_url=url).get_paginator("scan")
    return sum(len(page["Items"]) for page in pages.paginate(TableName=table_of(records)))


def boto3_scan_resource(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    import boto3

    table = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url).Table(table_of(records))
    count = 0
    more: dict[str, Any] = {}
    while True:
        page = table.scan(**more)
        count += len(page["Items"])
        if "LastEvaluatedKey" not in page:
            return count
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _plain(records: int) -> Iterator[dict[str, Any]]:
    for n in range(records):
        own = {"token": line(n), "data": DATA, "expiry": DEADLINE_NS, "ttl": TTL, "version": FIRST_VERSION}
        yield {**own, "recent": RECENT}


def boto3_save(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    import boto3

    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=url)
    puts = [
        {
            "PutRequest": {
                "Item": {
                    "token": {"S": line(n)},
                    "data": {"B": DATA},
                    "expiry": {"N": str(DEADLINE_NS)},
                    "ttl": {"N": str(TTL)},
                    "version": {"N": str(FIRST_VERSION)},
                }
            }
        }
        for n in range(records)
    ]
    for i in range(0, records, 25):
        # A loop that does not look at UnprocessedItems, as many do not.
        client.batch_write_item(RequestItems={table_of(records): puts[i : i + 25]})  # type: ignore[dict-item]  # its own type
    return records


def boto3_save_resource(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    import boto3

    table = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url).Table(table_of(records))
    with table.batch_writer() as writer:
        for item in _plain(records):
            writer.put_item(Item=item)
    return records


def pynamodb_save(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    rows = _pynamodb(url, records)
    with rows.batch_write() as writer:
        for item in _plain(records):
            writer.save(rows(**item))
    return records


def pynamodb_scan(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    return sum(1 for _ in _pynamodb(url, records).scan())


def _pynamodb(url: str, records: int) -> Any:
    from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
    from pynamodb.models import Model

    class Row(Model):  # type: ignore[misc]  # not installed where this is checked
        class Meta:
            table_name = table_of(records)
            region = REGION
            host = url

        token = UnicodeAttribute(hash_key=True)
        data = BinaryAttribute(legacy_encoding=False)
        expiry = NumberAttribute()
        ttl = NumberAttribute()
        version = NumberAttribute()
        recent = BinaryAttribute(legacy_encoding=False)

    return Row


def pydynox_save(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    from pydynox import DynamoDBClient, SyncBatchWriter

    client = DynamoDBClient(region=REGION, endpoint_url=url)
    with SyncBatchWriter(client, table_of(records)) as writer:
        for item in _plain(records):
            writer.put(item)
    return records


def pydynox_scan(url: str, records: int, segments: int) -> int:  # noqa: ARG001
    from pydynox import DynamoDBClient

    client = DynamoDBClient(region=REGION, endpoint_url=url)
    return sum(1 for _ in client.sync_scan(table_of(records)))


JOBS: dict[str, Callable[[str, int, int], int]] = {
    job.__name__: job
    for job in (
        scan,
        scan_async,
        export,
        copy,
        save,
        boto3_scan,
        boto3_scan_resource,
        boto3_save,
        boto3_save_resource,
        pynamodb_scan,
        pynamodb_save,
        pydynox_scan,
        pydynox_save,
    )
}


def main() -> None:
    """Do the job twice, the first time on a small table, and time the second."""
    job, url, records, segments = JOBS[sys.argv[1]], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    job(url, 100, 1)
    before, wall, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    done = job(url, records, segments)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"records": done, "wall": wall, "cpu": cpu, "before": before / 1024, "peak": peak / 1024}))


if __name__ == "__main__":
    main()
