"""The floor: the bytes of a request and of its reply through a socket. Nothing is signed, parsed or checked.

What a client costs more than this is its own.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from benchmarks.speed.stored import SIZES, TOKEN, table_of

__all__ = ["async_client", "client"]

_GET = '{{"TableName":"{table}","Key":{{"token":{{"S":"{token}"}}}},"ConsistentRead":true}}'
_HEAD = (
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\n"
    "Content-Type: application/x-amz-json-1.0\r\nContent-Length: {length}\r\nAuthorization: {signature}\r\n\r\n"
)


def _request(operation: str, body: bytes) -> bytes:
    # A signature's length, and that of the other headers that go with it.
    return _HEAD.format(operation=operation, length=len(body), signature="x" * 350).encode() + body


def _update(data: bytes) -> bytes:
    # The expressions and the other values of the write are some 600 bytes.
    return _request("UpdateItem", base64.b64encode(data) + b"x" * 600)


def _whole(reply: bytes) -> int:
    """The length of a reply, by its headers; 0 if they have not all come."""
    head, end, _ = reply.partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]) if end else 0


def _context(url: str) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]) if url.startswith("https:") else None


class _Canned:
    """Requests made beforehand, and data that stands for what was not looked at."""

    def __init__(self, table: str) -> None:
        [self.data] = [bytes(size) for size in SIZES.values() if table_of(size) == table]
        self.get = _request("GetItem", _GET.format(table=table, token=TOKEN).encode())
        self.update = _update(self.data)


def client(url: str, table: str, pool: int) -> _Client:  # noqa: ARG001 (there is one connection)
    """A blocking socket."""
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    connection = socket.create_connection((where.hostname, where.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context := _context(url):
        connection = context.wrap_socket(connection, server_hostname=where.hostname)
    return _Client(connection, _Canned(table))


class _Client:
    def __init__(self, connection: socket.socket, canned: _Canned) -> None:
        self._connection = connection
        self._canned = canned
        self._whole: dict[bytes, int] = {}

    def _exchange(self, request: bytes) -> None:
        self._connection.sendall(request)
        reply = self._connection.recv(65536)
        # All replies to one request are of one length: the first tells it.
        whole = self._whole.get(request) or self._whole.setdefault(request, _whole(reply))
        came = len(reply)
        while came < whole:
            came += len(self._connection.recv(65536))

    def find(self, token: str) -> bytes:  # noqa: ARG002 (it asks for what it was made for)
        self._exchange(self._canned.get)
        return self._canned.data

    def writer(self, token: str) -> Callable[[bytes], object]:  # noqa: ARG002 (as above)
        return lambda _: self._exchange(self._canned.update)


async def async_client(url: str, table: str, pool: int) -> _AsyncClient:  # noqa: ARG001 (as above)
    """A protocol of asyncio's."""
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(_Protocol, where.hostname, where.port, ssl=_context(url))
    return _AsyncClient(protocol, _Canned(table))


class _Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._length = 0
        self._whole: dict[bytes, int] = {}
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._length += len(data)
        whole = self._whole.get(self._request) or self._whole.setdefault(self._request, _whole(data))
        if self._length >= whole and self._waiter is not None:
            self._waiter.set_result(None)

    async def exchange(self, request: bytes) -> None:
        self._request, self._length = request, 0
        self._waiter = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(request)
        await self._waiter

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class _AsyncClient:
    def __init__(self, protocol: _Protocol, canned: _Canned) -> None:
        self._protocol = protocol
        self._canned = canned

    async def find(self, token: str) -> bytes:  # noqa: ARG002 (as above)
        await self._protocol.exchange(self._canned.get)
        return self._canned.data

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]:  # noqa: ARG002 (as above)
        return lambda _: self._protocol.exchange(self._canned.update)

    async def close(self) -> None:
        self._protocol.close()
