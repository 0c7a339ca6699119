"""The stub server: answers as DynamoDB does, from memory, so that the client is what is measured.

``python -m benchmarks.speed.children.stub SOCKET [CERTIFICATE KEY]``, where SOCKET is the number of one that is
inherited and listens. A GetItem is answered by an item as dynamostore writes it, whose token is the key that was asked for; any write by ``{}``. There are no
conditions. ``GET /stats`` tells what was asked of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import sys
import time
from email.utils import formatdate
from functools import cache
from zlib import crc32

from benchmarks.speed.stored import DEADLINE_NS, FIRST_VERSION, RECENT, SIZES, TTL, payload, table_of

_TOKEN = "<token>"

connections = 0
"""How many connections have brought a call so far: one for statistics alone does not count."""
requests = 0


def _http(body: bytes) -> bytes:
    """A reply with the headers of DynamoDB's."""
    head = (
        "HTTP/1.1 200 OK\r\n"
        "Server: Server\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        "Content-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\n"
        "x-amzn-RequestId: 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZVV4KQNSO5AEMVJF66Q9ASUAAJG\r\n"
        f"x-amz-crc32: {crc32(body)}\r\n"
        "\r\n"
    )
    return head.encode() + body


def _item(size: int) -> bytes:
    attributes = {
        "data": {"B": base64.b64encode(payload(size)).decode()},
        "expiry": {"N": str(DEADLINE_NS)},
        "recent": {"B": base64.b64encode(RECENT).decode()},
        "token": {"S": _TOKEN},
        "ttl": {"N": str(TTL)},
        "version": {"N": str(FIRST_VERSION)},
    }
    return json.dumps({"Item": attributes}, separators=(",", ":")).encode()


_EMPTY = _http(b"{}")
_ITEMS = {table_of(size).encode(): _item(size) for size in SIZES.values()}


@cache
def _get_item(table: bytes, token: bytes) -> bytes:
    # A run asks for a few hundred tokens, again and again.
    return _http(_ITEMS[table].replace(_TOKEN.encode(), token))


def _answer(head: bytes, body: bytes) -> bytes:
    if b".getitem" in head:
        table = next(name for name in _ITEMS if b'"' + name + b'"' in body)
        start = body.index(b'"', body.index(b'"S"') + 3) + 1
        return _get_item(table, body[start : body.index(b'"', start)])
    if b".describetable" in head:
        # PynamoDB and the like ask for the key's name.
        return _http(json.dumps({"Table": _description(json.loads(body)["TableName"])}).encode())
    return _EMPTY


def _description(name: str) -> dict[str, object]:
    return {
        "TableName": name,
        "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "token", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "token", "AttributeType": "S"}],
    }


class _Connection(asyncio.Protocol):
    """HTTP/1.1 for clients that behave: a Content-Length, and no request before the last one's reply."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._whole = 0
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is a Transport by its methods only

    def data_received(self, data: bytes) -> None:
        # A long body comes in pieces: no look at it before it is there.
        self._received = received = self._received + data if self._received else data
        if len(received) < self._whole:
            return
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        _, found, rest = head.partition(b"content-length:")
        self._whole = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
        if len(received) < self._whole:
            return
        body = received[end + 4 :]
        self._received, self._whole = b"", 0
        assert self._transport is not None
        self._transport.write(self._reply(head, body))

    def _reply(self, head: bytes, body: bytes) -> bytes:
        global connections, requests  # noqa: PLW0603 (one server a process)
        if head.startswith(b"get /stats "):
            stats = {"connections": connections, "requests": requests, "cpu": time.process_time()}
            return _http(json.dumps(stats).encode())
        requests += 1
        if not self._counted:
            self._counted = True
            connections += 1
        return _answer(head, body)


async def _serve(listening: socket.socket, certificate: list[str]) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    server = await asyncio.get_running_loop().create_server(_Connection, sock=listening, ssl=context, backlog=1024)
    await server.serve_forever()


def main() -> None:
    import uvloop

    uvloop.run(_serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))


if __name__ == "__main__":
    main()
