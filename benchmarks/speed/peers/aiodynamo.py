"""aiodynamo, on either of the HTTP clients that it is made for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from benchmarks.speed.stored import DEADLINE_NS, RECENT, REGION, TTL

__all__ = ["on_aiohttp", "on_httpx"]


class _Table(Protocol):
    """What is used of a table."""

    async def get_item(self, key: Mapping[str, str], *, consistent_read: bool) -> Mapping[str, bytes]: ...

    async def update_item(self, key: Mapping[str, str], update: object, *, condition: object) -> object: ...


async def on_aiohttp(url: str, table: str, pool: int) -> _Client:
    """With an aiohttp session."""
    import aiohttp
    from aiodynamo.http.aiohttp import AIOHTTP

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=max(pool, 100)))
    return _Client(_table(AIOHTTP(session), url, table), session.close)


async def on_httpx(url: str, table: str, pool: int) -> _Client:
    """With an httpx client."""
    import httpx
    from aiodynamo.http.httpx import HTTPX

    limits = httpx.Limits(max_connections=max(pool, 100), max_keepalive_connections=max(pool, 20))
    session = httpx.AsyncClient(limits=limits)
    return _Client(_table(HTTPX(session), url, table), session.aclose)


def _table(http: object, url: str, table: str) -> _Table:
    from aiodynamo.client import Client
    from aiodynamo.credentials import Credentials
    from yarl import URL

    # Numbers as int: an expiry in nanoseconds is more than a float, its default, can hold.
    client = Client(http, Credentials.auto(), REGION, URL(url), numeric_type=int)
    made: _Table = client.table(table)
    return made


class _Client:
    def __init__(self, table: _Table, close: Callable[[], Awaitable[object]]) -> None:
        self._table = table
        self._close = close

    async def find(self, token: str) -> bytes:
        return (await self._table.get_item({"token": token}, consistent_read=True))["data"]

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]:
        import time

        from aiodynamo.expressions import F

        from .update import Versions

        versions = Versions()

        def write(data: bytes) -> Awaitable[object]:
            versions.advance()
            update = F("data").set(data) & F("expiry").set(DEADLINE_NS) & F("ttl").set(TTL)
            update &= F("version").set(versions.next) & F("recent").set(RECENT)
            unexpired, kept = F("expiry").gte(time.time_ns()), F("expiry").lte(DEADLINE_NS)
            condition = unexpired & kept & F("version").equals(versions.was)
            return self._table.update_item({"token": token}, update, condition=condition)

        return write

    async def close(self) -> None:
        await self._close()
