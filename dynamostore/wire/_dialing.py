"""Connections for threads. The calling thread makes overlapping attempts (see ``_racing``) on non-blocking sockets."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from dynamostore.steps import run

from ._names import Address, Waiting
from ._racing import Race, connect
from ._tls import Trust, explain_connect, name_in_certificate

if TYPE_CHECKING:
    from ._core import Endpoint

__all__ = ["IN_PROGRESS", "check", "dial", "open_socket"]

IN_PROGRESS: Final = frozenset((errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR))

# Yields the file descriptor and the events to wait for, and returns the socket. Closing the generator closes the socket.
_Attempt: TypeAlias = Generator[tuple[int, int], None, socket.socket]


def dial(endpoint: Endpoint, trust: Trust, timeout: float) -> socket.socket:
    """Connect to *endpoint*, with TLS if it is secure, and return the socket.

    Raise `ConnectError` if that does not succeed within *timeout* seconds.
    """
    try:
        sock: socket.socket = run(
            connect(endpoint.host, endpoint.port, timeout), _Dialer(endpoint, trust), sleep=time.sleep
        )
    except OSError as error:
        raise explain_connect(error, endpoint, timeout) from error
    return sock


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """Return a non-blocking socket that sends without delay (``TCP_NODELAY``) and detects a vanished peer (``SO_KEEPALIVE``)."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def check(error: int) -> None:
    """Raise an `OSError` for *error*, the error number that ``connect`` returned, unless it is 0."""
    if error:
        raise OSError(error, os.strerror(error))


class _Dialer(Waiting):
    """Executes the calls of the plan."""

    def __init__(self, endpoint: Endpoint, trust: Trust) -> None:
        self._endpoint = endpoint
        self._trust = trust

    def race(self, addresses: Iterable[Address], until: float) -> tuple[socket.socket, Address]:
        """Return the first connection that is complete, and its address."""
        now = time.monotonic()
        race = Race(list(addresses), now, until)
        attempts: dict[_Attempt, Address] = {}
        with selectors.DefaultSelector() as selector:
            try:
                while True:
                    ready: list[_Attempt] = []
                    while (address := race.begin(now)) is not None:
                        attempt = self._attempt(address, race)
                        attempts[attempt] = address
                        ready.append(attempt)
                    if not ready:
                        if race.is_lost(now):
                            raise race.failure
                        keys = [key for key, _ in selector.select(race.wait(now))]
                        for key in keys:
                            # The attempt may close its socket in its next step.
                            selector.unregister(key.fileobj)
                        ready = [key.data for key in keys]
                    for attempt in ready:
                        try:
                            fileno, events = next(attempt)
                            selector.register(fileno, events, attempt)
                        except StopIteration as end:
                            return end.value, attempts.pop(attempt)
                        except OSError as error:
                            del attempts[attempt]
                            race.failed(error, time.monotonic())
                    now = time.monotonic()
            finally:
                for attempt in attempts:
                    attempt.close()

    def _attempt(self, address: Address, race: Race[Address]) -> _Attempt:
        family, where = address
        sock = open_socket(family)
        try:
            error = sock.connect_ex(where)
            if error in IN_PROGRESS:
                yield sock.fileno(), selectors.EVENT_WRITE
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            check(error)
            if not self._endpoint.secure:
                return sock
            race.reached(time.monotonic())
            import ssl  # a plain endpoint does not need it

            tls = sock = self._trust.context.wrap_socket(
                sock, server_hostname=name_in_certificate(self._endpoint.host), do_handshake_on_connect=False
            )
            while True:
                try:
                    tls.do_handshake()
                    return tls
                except ssl.SSLWantReadError:
                    wanted = selectors.EVENT_READ
                except ssl.SSLWantWriteError:
                    wanted = selectors.EVENT_WRITE
                yield tls.fileno(), wanted
        except BaseException:
            sock.close()
            raise
