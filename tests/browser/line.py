"""`Line`: a TCP line to a server that can be cut and mended."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from types import TracebackType
from typing import Self

from dynamostore.testing import LoopThread

__all__ = ["Line"]


class Line:
    """A way to *port* on this machine, at *url*, for a ``with`` block; cut, it refuses connections."""

    def __init__(self, loop: LoopThread, port: int) -> None:
        self._loop = loop
        self._to = port
        self._port = 0
        self._listening: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        self._loop.run(self._cut())

    def mend(self) -> None:
        self._loop.run(self._mend())

    async def _mend(self) -> None:
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._listening.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
        self._listening = None

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there_writer}
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        self._writers -= {writer, there_writer}

    def __enter__(self) -> Self:
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
