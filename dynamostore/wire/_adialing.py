"""Connections on an event loop: overlapping attempts (see ``_racing``), each a task."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from dynamostore.steps import arun

from ._dialing import IN_PROGRESS, check, open_socket
from ._names import Address, AsyncWaiting, SocketAddress
from ._racing import Race, connect
from ._tls import Trust, explain_connect, name_in_certificate

if TYPE_CHECKING:
    from ._core import Endpoint

__all__ = ["adial"]

TURNS: Final = 20
"""Turns of the loop to wait for a transport to close its socket, with some to spare."""

P = TypeVar("P", bound=asyncio.BaseProtocol)

_Attempt: TypeAlias = "asyncio.Task[tuple[asyncio.BaseTransport, P]]"


async def adial(endpoint: Endpoint, trust: Trust, timeout: float, make: Callable[[], P]) -> P:  # noqa: ASYNC109 (the same parameter as `dial`)
    """Connect to *endpoint*, with TLS if it is secure. Return the connection's protocol, which *make* creates.

    Raise `ConnectError` if that does not succeed within *timeout* seconds.
    """
    try:
        protocol: P = await arun(
            connect(endpoint.host, endpoint.port, timeout), _Dialer(endpoint, trust, make), sleep=asyncio.sleep
        )
    except OSError as error:
        raise explain_connect(error, endpoint, timeout) from error
    return protocol


class _Dialer(AsyncWaiting, Generic[P]):
    """Executes the calls of the plan."""

    def __init__(self, endpoint: Endpoint, trust: Trust, make: Callable[[], P]) -> None:
        self._endpoint = endpoint
        self._trust = trust
        self._make = make

    async def race(self, addresses: Iterable[Address], until: float) -> tuple[P, Address]:
        """Return the first connection that is complete, and its address."""
        now = time.monotonic()
        race = Race(list(addresses), now, until)
        attempts: dict[_Attempt[P], Address] = {}
        won: _Attempt[P] | None = None
        try:
            while True:
                while (address := race.begin(now)) is not None:
                    attempts[asyncio.create_task(self._attempt(address, race))] = address
                if race.is_lost(now):
                    raise race.failure
                ended, _ = await asyncio.wait(attempts, timeout=race.wait(now), return_when=asyncio.FIRST_COMPLETED)
                now = time.monotonic()
                for attempt in ended:
                    try:
                        _, protocol = attempt.result()
                    except OSError as error:
                        del attempts[attempt]
                        race.failed(error, now)
                    else:
                        won = attempt
                        return protocol, attempts.pop(attempt)
        finally:
            try:
                await _end(attempts)
            except asyncio.CancelledError:
                # The caller was cancelled and will never use the winning connection.
                if won is not None:
                    _close(won)
                raise

    async def _attempt(self, address: Address, race: Race[Address]) -> tuple[asyncio.BaseTransport, P]:
        loop = asyncio.get_running_loop()
        secure = self._endpoint.secure
        family, where = address
        sock = open_socket(family)
        try:
            await _connect(loop, sock, where)
        except BaseException:
            sock.close()
            raise
        if secure:
            race.reached(time.monotonic())
        try:
            return await loop.create_connection(
                self._make,
                sock=sock,
                ssl=self._trust.context if secure else None,
                server_hostname=name_in_certificate(self._endpoint.host) if secure else None,
            )
        except BaseException:
            await _shut(sock)
            raise


async def _shut(sock: socket.socket) -> None:
    """Close a socket that may belong to a transport.

    asyncio does not close a TLS transport that is cancelled before its first step. Closing the socket directly would free
    its file descriptor. A new socket could then reuse the number, and the loop would mistake it for the transport's. So
    shut the socket down first: the transport sees the end of the stream and closes the socket within a few turns.
    """
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    for _ in range(TURNS):
        if sock.fileno() == -1:
            return
        await asyncio.sleep(0)
    sock.close()


async def _end(attempts: Iterable[_Attempt[P]]) -> None:
    """Cancel the remaining *attempts*, and close any connections that they complete meanwhile."""
    for attempt in attempts:
        attempt.cancel()
        attempt.add_done_callback(_close)
    if attempts:
        # Leave none of their tasks on the loop.
        await asyncio.wait(attempts)


def _close(attempt: _Attempt[P]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        transport, _ = attempt.result()
        transport.abort()  # type: ignore[attr-defined]  # uvloop's transports have the method but not the class


async def _connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: SocketAddress) -> None:
    """Connect *sock*. Unlike ``loop.sock_connect``, do not resolve *address*: uvloop would lose its IPv6 scope."""
    if sys.platform == "win32":
        # The Windows loop has no add_writer, and asyncio's sock_connect keeps the scope.
        await loop.sock_connect(sock, address)
        return
    error = sock.connect_ex(address)
    if error in IN_PROGRESS:
        writable = asyncio.Event()
        loop.add_writer(sock, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    check(error)
