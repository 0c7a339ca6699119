"""A DynamoDB that does on purpose what servers, proxies and networks do by accident; and clients to try on it.

`FaultyDynamoDB` takes real connections. Each request on them is put into the hands of a `Fault`, a coroutine that decides
how much of it is read, whether it is done, and what comes back, in which segments. What is done, the *origin* does:
`echo`, in this process, whose every reply says which key it was asked for, or `Upstream`, a real server behind.

`Driver` has the wire clients, sync and async, called as one: what holds for one holds for the other.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, TypeVar

import uvloop

from dynamostore import AsyncDynamoStore, DynamoStore, Store
from dynamostore.testing import BlockingStore, LoopThread
from dynamostore.wire import AsyncWireClient, Credentials, WireClient

JSON_TYPE = "application/x-amz-json-1.0"
KEYS = Credentials("key", "secret")
FAR = 8_000_000_000_000_000_000
"""An expiry that no test lives to see, in Unix nanoseconds."""

MOST = 5.0
"""A fault holds a line for so many seconds at most: a client that would wait for ever fails its test, and does not hang it."""

R = TypeVar("R")


# Requests and replies


@dataclass(frozen=True)
class Request:
    """A whole request, as it came."""

    head: bytes
    body: bytes

    @property
    def operation(self) -> str:
        return self.header("x-amz-target").rpartition(".")[2]

    @property
    def arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = json.loads(self.body)
        return arguments

    def header(self, name: str) -> str:
        return _header(self.head, name)


@dataclass(frozen=True)
class Reply:
    """A whole reply: its *head*, with the blank line after it, and its *body*."""

    head: bytes
    body: bytes

    def __bytes__(self) -> bytes:
        return self.head + self.body

    def having(self, *fields: str, without: str = "content-length", version: str = "1.1") -> Reply:
        """The same with other header fields, and *without* one that it has."""
        lines = [line for line in self.head.split(b"\r\n")[:-2] if not line.lower().startswith(f"{without}:".encode())]
        lines[0] = lines[0].replace(b"HTTP/1.1", f"HTTP/{version}".encode())
        return Reply(b"\r\n".join([*lines, *(field.encode("latin-1") for field in fields), b"", b""]), self.body)

    def closing(self) -> Reply:
        """The same, whose body ends with the connection."""
        return self.having()

    def chunked(self, *sizes: int, extension: str = "", trailer: str = "") -> Reply:
        """The same in chunks of *sizes*, and of the last of them until it is over."""
        chunks: list[bytes] = []
        rest, left = self.body, list(sizes)
        while rest:
            size = left.pop(0) if len(left) > 1 else left[0]
            part, rest = rest[:size], rest[size:]
            chunks.append(f"{len(part):x}{extension}\r\n".encode() + part + b"\r\n")
        chunks.append(f"0\r\n{trailer}\r\n".encode())
        return Reply(self.having("Transfer-Encoding: chunked").head, b"".join(chunks))


def reply(status: int, body: bytes, *fields: str, kind: str | None = JSON_TYPE, length: int | str | None = -1) -> Reply:
    """A reply with a body of some *kind*; its *length* is the right one, unless another is given."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == -1 else length}")
    lines += ["x-amzn-RequestId: REQUEST", *fields]
    return Reply("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"), body)


def refusal(status: int, code: str, *fields: str) -> Reply:
    """DynamoDB's own refusal."""
    return reply(status, json.dumps({"__type": f"com.amazonaws#{code}", "message": "because"}).encode(), *fields)


def page(status: int, *fields: str) -> Reply:
    """What a proxy or a firewall says."""
    return reply(status, b"<html><body>Please sign in</body></html>", *fields, kind="text/html")


def data_of(token: str) -> bytes:
    """What `echo` has under *token*: no two tokens have the same."""
    return f"the data of {token}".encode()


def item_of(token: str) -> dict[str, dict[str, str]]:
    """The item that `echo` has under *token*, as it goes over the wire."""
    return {
        "token": {"S": token},
        "data": {"B": base64.b64encode(data_of(token)).decode()},
        "expiry": {"N": str(FAR)},
        "ttl": {"N": str(FAR // 10**9 + 1)},
        "version": {"N": "7"},
    }


class Origin(Protocol):
    """What does a request that gets so far, and replies."""

    async def __call__(self, request: Request) -> Reply: ...


async def echo(request: Request) -> Reply:
    """A table that has every key: a reply that was meant for another call is seen to be."""
    body: dict[str, object] = {}
    if request.operation == "GetItem":
        body["Item"] = item_of(request.arguments["Key"]["token"]["S"])
    return reply(200, json.dumps(body).encode())


class Upstream:
    """The server on *port*, asked on a connection for each request."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, request: Request) -> Reply:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        try:
            writer.write(request.head + request.body)
            head = await reader.readuntil(b"\r\n\r\n")
            return Reply(head, await reader.readexactly(int(_header(head, "content-length"))))
        finally:
            writer.transport.abort()


def _header(head: bytes, name: str) -> str:
    found = re.search(rb"(?i)\r\n" + re.escape(name.encode()) + rb":[ \t]*([^\r]*)", head)
    return found[1].decode("latin-1") if found else ""


# The server


class HungUpError(Exception):
    """The client is gone, or the line is."""


class Line:
    """A connection, and the request on it that a fault has in its hands; *number* counts the server's connections."""

    def __init__(self, sock: socket.socket, origin: Origin, number: int, tls: ssl.SSLContext | None) -> None:
        self.number = number
        self.over = False
        self._sock = sock
        self._origin = origin
        self._loop = asyncio.get_running_loop()
        self._came = b""
        self._request: Request | None = None
        self._read_whole = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True) if tls else None

    # What a fault does

    async def read(self, share: float = 1.0) -> Request:
        """Read the request: all of its head, and a *share* of its body. What was read is not read again."""
        if self._read_whole and self._request is not None:
            return self._request
        while b"\r\n\r\n" not in self._came:
            await self._receive()
        head, _, body = self._came.partition(b"\r\n\r\n")
        head += b"\r\n\r\n"
        length = int(_header(head, "content-length"))
        while len(body) < length * share:
            await self._receive()
            body = self._came[len(head) :]
        self._request = Request(head, body[:length])
        if share == 1.0:
            self._read_whole = True
            self._came = body[length:]
        return self._request

    async def arrival(self) -> None:
        """Wait until a request begins, and leave it where it is."""
        readable = asyncio.Event()
        self._loop.add_reader(self._sock, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(self._sock)
        try:
            if not self._sock.recv(1, socket.MSG_PEEK):
                raise HungUpError
        except OSError as error:
            raise HungUpError from error

    async def answer(self) -> Reply:
        """Have the request done, and the origin's reply to it."""
        return await self._origin(await self.read())

    async def send(self, *segments: Reply | bytes, pause: float = 0.0) -> None:
        """Send segments, one after the other."""
        for number, segment in enumerate(segments):
            if number:
                await asyncio.sleep(pause)
            if self._tls is None:
                await self.send_raw(bytes(segment))
            else:
                await self.send_raw(self.encrypt(bytes(segment)))

    async def send_raw(self, data: bytes) -> None:
        """Send what goes over the wire, past any TLS."""
        try:
            await self._loop.sock_sendall(self._sock, data)
        except OSError as error:
            raise HungUpError from error

    def encrypt(self, data: bytes) -> bytes:
        """The TLS records of *data*."""
        assert self._tls is not None
        self._tls.write(data)
        return self._outgoing.read()

    async def hold(self, seconds: float = MOST) -> None:
        """Do nothing; at most until the client hangs up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._receive()

    def close(self) -> None:
        """Close the connection, without a word more."""
        self.over = True
        self._sock.close()

    def reset(self) -> None:
        """Reset the connection; what is on its way is lost."""
        # To linger for no time at all is to reset.
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    # What the server does

    async def begin(self) -> None:
        """Wait for the next request to begin."""
        if not self._read_whole and self._request is not None:
            raise HungUpError
        self._request, self._read_whole = None, False
        if not self.over:
            await self.arrival()

    async def shake_hands(self) -> None:
        """TLS's beginning."""
        while self._tls is not None:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_raw(self._outgoing.read())
                self._incoming.write(await self._receive_raw())
            except ssl.SSLError as error:
                raise HungUpError from error
            else:
                await self.send_raw(self._outgoing.read())
                return

    async def _receive(self) -> None:
        if self._tls is None:
            self._came += await self._receive_raw()
            return
        while True:
            try:
                came = self._tls.read(65536)
            except ssl.SSLWantReadError:
                self._incoming.write(await self._receive_raw())
            except ssl.SSLError as error:
                raise HungUpError from error
            else:
                if not came:
                    raise HungUpError
                self._came += came
                return

    async def _receive_raw(self) -> bytes:
        if self.over:
            raise HungUpError
        try:
            came = await self._loop.sock_recv(self._sock, 65536)
        except OSError as error:
            raise HungUpError from error
        if not came:
            raise HungUpError
        return came


Fault: TypeAlias = Callable[[Line], Awaitable[None]]


async def honestly(line: Line) -> None:
    """No fault: the origin's reply."""
    await line.send(await line.answer())


class FaultyDynamoDB:
    """The server, on a free port of the loopback interface, for the length of a ``with`` block.

    Each request is the next fault's of those in line (`script`), and all others are *always*'s. On a new connection the
    request is a fault's before the first byte of it has come. *begun* counts the requests, *connections* what was accepted.
    """

    def __init__(self, origin: Origin = echo, tls: ssl.SSLContext | None = None) -> None:
        self.always: Fault = honestly
        self.begun = 0
        self.connections = 0
        self.origin = origin
        self._tls = tls
        self._script: deque[Fault] = deque()
        self._thread = LoopThread()
        self._lines: dict[asyncio.Task[None], Line] = {}
        self._sock = self._bound(0)
        self.port: int = self._sock.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._lines)

    def script(self, *faults: Fault) -> None:
        """Have the next requests handled so."""
        self._script.extend(faults)

    def forget(self) -> None:
        """Be honest from now on, and count anew."""
        self._script.clear()
        self.always = honestly
        self.begun = self.connections = 0

    def be_still(self) -> None:
        """Return once no connection is open; raise if one stays so."""
        until = time.monotonic() + MOST / 2
        while self._lines:
            if time.monotonic() > until:
                raise AssertionError(f"{len(self._lines)} connections are still open")
            time.sleep(0.002)

    def stop(self) -> None:
        """Refuse connections, and reset those that are there."""
        self._thread.run(self._stop())

    def start(self) -> None:
        """Accept connections (again), on the same port."""
        self._thread.run(self._start())

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._sock.close()
        self._thread.__exit__(None, None, None)

    def _bound(self, port: int) -> socket.socket:
        """A socket that has the port, and does not listen: who connects to it is refused."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", port))
        return sock

    async def _start(self) -> None:
        self._sock.listen(128)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    async def _stop(self) -> None:
        if asyncio.get_running_loop().remove_reader(self._sock):
            self._sock.close()
            self._sock = self._bound(self.port)
        serving = list(self._lines)
        for task in serving:
            self._lines[task].reset()
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return  # the client was gone before it was accepted
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        line = Line(sock, self.origin, self.connections, self._tls)
        task = asyncio.create_task(self._serve(line))
        self._lines[task] = line
        task.add_done_callback(self._lines.pop)

    async def _serve(self, line: Line) -> None:
        try:
            await line.shake_hands()
            while not line.over:
                fault = self._script.popleft() if self._script else self.always
                self.begun += 1
                await fault(line)
                await line.begin()
        except HungUpError:
            pass
        finally:
            line.close()


# Clients


class Blocking:
    """An async client whose calls are waited for: with this, one text is a test of both kinds."""

    def __init__(self, client: AsyncWireClient, loop: LoopThread) -> None:
        self.client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., Coroutine[Any, Any, object]] = getattr(self.client, name)
        return lambda **arguments: self._loop.run(method(**arguments))


Kind: TypeAlias = Literal["sync", "asyncio", "uvloop"]
KINDS: tuple[Kind, ...] = ("sync", "asyncio", "uvloop")


class Driver:
    """Makes clients and stores of one kind, to be called from any thread, for the length of a ``with`` block.

    *complaints*: what the event loop had to say of exceptions that nobody looked at.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.complaints: list[str] = []
        self.loop = LoopThread(uvloop.new_event_loop() if kind == "uvloop" else None)
        self.loop.loop.set_exception_handler(lambda _, context: self.complaints.append(str(context)))

    def client(
        self, url: str, *, dice: float = 0.02, max_connections: int | None = None, **settings: Any
    ) -> WireClient:
        """A client whose *dice* always show the same: how long it waits before it tries again is no matter of luck."""
        settings.setdefault("credentials", KEYS)
        client: Any
        if self.kind == "sync":
            client = made = WireClient("us-east-1", url, **settings)
            made._setup.caller._random = lambda: dice
        else:
            if max_connections is not None:
                settings["max_connections"] = max_connections
            amade = AsyncWireClient("us-east-1", url, **settings)
            amade._setup.caller._random = lambda: dice
            client = Blocking(amade, self.loop)
        # The type cannot see the methods behind __getattr__.
        typed: WireClient = client
        return typed

    def store(self, client: WireClient) -> Store:
        """A store on a client of this driver's."""
        if isinstance(client, Blocking):
            return BlockingStore(AsyncDynamoStore(client.client), self.loop)
        return DynamoStore(client)

    def run(self, awaitable: Awaitable[R]) -> R:
        """What *awaitable* comes to, on the event loop."""
        return self.loop.run(awaitable)

    def assert_clean(self) -> None:
        """Nothing is left on the event loop: no task, no exception that nobody has looked at."""

        async def tasks() -> Iterable[str]:
            # What was told to end in the loop's last turn ends in the next.
            for _ in range(3):
                await asyncio.sleep(0)
            return [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]

        assert self.run(tasks()) == []
        complaints, self.complaints = self.complaints, []
        assert complaints == []

    def __enter__(self) -> Self:
        self.loop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.loop.__exit__(None, None, None)
