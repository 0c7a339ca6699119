"""A stub of DynamoDB with whole tables: ``python -m benchmarks.batch.children.stub SOCKET``, a socket that is inherited.

The table ``records-N`` has N items as dynamostore writes them, of 1 kB, read in pages of 1 MB as DynamoDB makes them; any write is
answered, and forgotten. ``GET /stats`` tells what was asked of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys
from dataclasses import asdict, dataclass
from zlib import crc32

from benchmarks.batch.stored import PAGE, UNITS_A_KB, line, segment
from benchmarks.speed.stored import DEADLINE_NS, FIRST_VERSION, RECENT, TTL, payload


@dataclass
class Asked:
    """What was asked so far."""

    requests: int = 0
    units: float = 0.0


asked_so_far = Asked()

_DATA = base64.b64encode(payload(1000)).decode()


def _http(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\nx-amzn-RequestId: 0\r\nx-amz-crc32: {crc32(body)}\r\n\r\n"
    )
    return head.encode() + body


def _item(token: str) -> str:
    attributes = {
        "data": {"B": _DATA},
        "expiry": {"N": str(DEADLINE_NS)},
        "recent": {"B": base64.b64encode(RECENT).decode()},
        "token": {"S": token},
        "ttl": {"N": str(TTL)},
        "version": {"N": str(FIRST_VERSION)},
    }
    return json.dumps(attributes, separators=(",", ":"))


_START, _END = _item("<token>").split("<token>")


def _consumed(table: str, consumed: float) -> str:
    asked_so_far.units += consumed
    return f'{{"TableName":"{table}","CapacityUnits":{consumed}}}'


def _scan(asked: dict[str, object]) -> str:
    table = str(asked["TableName"])
    number = asked.get("Segment")
    first, last = segment(
        int(table.partition("-")[2]),
        number if isinstance(number, int) else 0,
        total if isinstance(total := asked.get("TotalSegments"), int) else 1,
    )
    after = asked.get("ExclusiveStartKey")
    if isinstance(after, dict):
        first = int(after["token"]["S"]) + 1
    end = min(first + PAGE, last)
    page = ",".join(f"{_START}{line(n)}{_END}" for n in range(first, end))
    more = f'"LastEvaluatedKey":{{"token":{{"S":"{line(end - 1)}"}}}},' if end < last else ""
    # An eventually consistent read of a page.
    consumed = _consumed(table, (end - first) * UNITS_A_KB / 8)
    return (
        f'{{"Items":[{page}],"Count":{end - first},"ScannedCount":{end - first},{more}"ConsumedCapacity":{consumed}}}'
    )


def _answer(head: bytes, body: bytes) -> bytes:
    if b".scan" in head:
        return _http(_scan(json.loads(body)).encode())
    if b".batchwriteitem" in head:
        writes = body.count(b'"PutRequest"')
        # PynamoDB does without it, others do not.
        consumed = _consumed("records", writes * 2.0)
        return _http(f'{{"UnprocessedItems":{{}},"ConsumedCapacity":[{consumed}]}}'.encode())
    if b".describetable" in head:
        name = json.loads(body)["TableName"]
        key = {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
        }
        return _http(json.dumps({"Table": key}).encode())
    return _http(b"{}")


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = 0
            for field in head.split(b"\r\n"):
                if field.startswith(b"content-length:"):
                    length = int(field.partition(b":")[2])
            if b"expect: 100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(length) if length else b""
            if head.startswith(b"get "):
                writer.write(_http(json.dumps(asdict(asked_so_far)).encode()))
            else:
                asked_so_far.requests += 1
                writer.write(_answer(head, body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _main() -> None:
    listening = socket.socket(fileno=int(sys.argv[1]))
    server = await asyncio.start_server(_serve, sock=listening, limit=1 << 24)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
