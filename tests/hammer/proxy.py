"""A proxy between the workers and the server that delays, cuts and corrupts: ``python -m tests.hammer.proxy``.

It prints its port, obeys ``calm`` (no more faults) on its standard input, and ends with that: then it prints
what it did as JSON. It knows just enough HTTP to tell where a request and its reply end.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from collections import Counter
from collections.abc import Coroutine

from .faults import HOLD, PAGE, choose, flipped, refusal

LIMIT = 2**20
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"\r\nx-amz-target:[^\r]*\.(\w+)", re.IGNORECASE)


class NoReplyError(Exception):
    """The server is not there, or went away."""


async def read_message(reader: StreamReader) -> tuple[bytes, bytes] | None:
    """A request or a reply, as head and body; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return head, await reader.readexactly(int(length[1]) if length else 0)
    except (IncompleteReadError, LimitOverrunError, OSError):
        return None


class Upstream:
    """One connection to the server, made when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[StreamReader, StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """The server's reply; `NoReplyError` if none comes."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
            reader, writer = self._streams
            writer.write(request)
            await writer.drain()
        except OSError as error:
            raise NoReplyError from error
        if (reply := await read_message(reader)) is None:
            raise NoReplyError
        return reply

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


class Proxy:
    """The proxy in front of *port*; *done* counts what it did."""

    def __init__(self, port: int, seed: int, *, late_creates: bool) -> None:
        self.calm = False
        self.done: Counter[str] = Counter()
        self._port = port
        self._dice = random.Random(seed)
        self._late_creates = late_creates
        self._connections: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()

    def accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a connection in a task of its own."""
        _keep(self._connections, self._serve(reader, writer))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Pass on one connection's requests until a fault, or the client, ends it."""
        upstream = Upstream(self._port)
        try:
            while (request := await read_message(reader)) is not None:
                target = _TARGET.search(request[0])
                operation = target[1].decode() if target else ""
                fault = "" if self.calm else choose(self._dice, operation, late_creates=self._late_creates)
                self.done["requests"] += 1
                self.done[fault] += 1
                if not await self._pass(fault, b"".join(request), upstream, writer):
                    break
        except NoReplyError:
            self.done["no server"] += 1
        except OSError:
            pass  # the client went away first
        finally:
            upstream.close()
            writer.transport.abort()

    async def _pass(self, fault: str, request: bytes, upstream: Upstream, writer: StreamWriter) -> bool:
        """Pass on one request and its reply with a *fault*; whether the connection goes on."""
        match fault:
            case "cut before":
                return False
            case "request too late":
                _keep(self._late, self._send_late(request))
                await asyncio.sleep(HOLD)
                return False
            case "throttled":
                return await _send(writer, refusal(400, "ProvisionedThroughputExceededException"))
            case "500 before":
                return await _send(writer, refusal(500, "InternalServerError"))
            case "delayed":
                await asyncio.sleep(self._dice.uniform(0, 0.3))
            case "sent twice":
                await upstream.ask(request)
        head, body = await upstream.ask(request)
        match fault:
            case "cut after":
                return False
            case "half a reply":
                await _send(writer, (head + body)[: self._dice.randrange(1, len(head + body))])
                return False
            case "reply too late":
                await asyncio.sleep(HOLD)
                return await _send(writer, head + body)
            case "500 after":
                return await _send(writer, refusal(500, "InternalServerError"))
            case "flipped bytes":
                return await _send(writer, head + flipped(self._dice, body))
            case "garbage":
                await _send(writer, self._dice.randbytes(200))
                return False
            case "web page":
                return await _send(writer, PAGE)
            case "slow reply":
                whole = head + body
                for start in range(0, len(whole), len(whole) // 4 + 1):
                    await _send(writer, whole[start : start + len(whole) // 4 + 1])
                    await asyncio.sleep(0.05)
                return True
        return await _send(writer, head + body)

    async def _send_late(self, request: bytes) -> None:
        """Send a request when its client has given it up."""
        await asyncio.sleep(HOLD)
        upstream = Upstream(self._port)
        try:
            await asyncio.wait_for(upstream.ask(request), 5)
        except (NoReplyError, TimeoutError):
            self.done["no server"] += 1
        finally:
            upstream.close()

    async def settle(self) -> None:
        """Wait until what was held back has been sent, and end the connections."""
        while self._late:
            await asyncio.wait(self._late)
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


def _keep(tasks: set[asyncio.Task[None]], doing: Coroutine[None, None, None]) -> None:
    """Have something done in a task; the loop by itself holds none."""
    task = asyncio.create_task(doing)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _send(writer: StreamWriter, reply: bytes) -> bool:
    writer.write(reply)
    await writer.drain()
    return True


async def main(port: int, seed: int, *, late_creates: bool) -> None:
    proxy = Proxy(port, seed, late_creates=late_creates)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, limit=LIMIT, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    commands = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while command := await commands.readline():  # nothing: whoever started this is gone
        proxy.calm = command == b"calm\n"
    server.close()
    await proxy.settle()
    proxy.done.pop("", None)
    print(json.dumps(proxy.done), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), late_creates=sys.argv[3:] == ["late"]))
