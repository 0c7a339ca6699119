"""`Browser`: a cookie jar, and requests that are sent at once; what a user does in it is in `users`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlencode

from .audit import Audit
from .traces import Answer, Trace
from .world import World

__all__ = ["Browser", "Reply"]

_COOKIE = "session="


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; *answer* is the handler's, as far as it counts."""

    status: int
    answer: Answer
    trace: Trace

    @property
    def good(self) -> bool:
        """True if the request was carried out."""
        return self.status < 400


class Browser:
    """One user's browser: its tabs share a cookie."""

    def __init__(self, world: World, audit: Audit) -> None:
        self.world = world
        self.audit = audit
        self.random = world.random
        self.token: str | None = None

    async def get(self, path: str, **query: str) -> Reply:
        """Ask for a page or a part of one."""
        return await self._send("GET", path, query)

    async def post(self, path: str, **query: str) -> Reply:
        """Send a form."""
        return await self._send("POST", path, query)

    async def press(self, path: str, **query: str) -> Reply:
        """Press a button, one time in five with a double click; the last reply is the one that is shown."""
        if self.random.random() >= 0.2:
            return await self.post(path, **query)
        first = asyncio.create_task(self.post(path, **query))
        await asyncio.sleep(self.random.uniform(0.04, 0.2))
        last = await self.post(path, **query)
        await first
        return last

    async def think(self) -> None:
        """Wait as a user does."""
        await asyncio.sleep(0.05 + self.random.expovariate(1 / 1.2))

    async def _send(self, method: str, path: str, query: dict[str, str]) -> Reply:
        presented = self.token
        sent = None if presented is None else _COOKIE + presented
        reply = await self.world.request(method, path, urlencode(query), sent)
        for name, value in reply.wire.headers:
            # Django's begins with a space.
            if name.lower() == "set-cookie" and (cookie := value.lstrip(" ")).startswith(_COOKIE):
                self.token = cookie[len(_COOKIE) :].partition(";")[0].strip('"') or None
        answer = reply.trace.run.answer or Answer(reply.wire.status)
        came = Reply(reply.wire.status, answer, reply.trace)
        self.audit.note(path, query, came.status, answer, reply.trace, presented=presented)
        return came
