"""A pool of blocking connections, for threads: each is used by one call at a time, and kept for the next."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dynamostore.hidden import Hidden

from ._http import RawReply, ReplyParser
from ._tls import Trust, explain_connect
from .errors import ConnectError, ConnectionLostError, ReplyTimeoutError

if TYPE_CHECKING:
    from ._core import Endpoint

__all__ = ["CLOSED", "SocketPool"]

CLOSED: Final = "the client is closed; to enter it again (with client: ...) opens it"

_RECEIVE: Final = 64 * 1024

# A part of a `Keep-Alive` header.
_TIMEOUT: Final = re.compile(r"[ \t]*timeout[ \t]*=[ \t]*([0-9]+)[ \t]*", re.ASCII | re.IGNORECASE)


class _Connection:
    """One connection, and the reply that is on its way."""

    __slots__ = ("_buffer", "_parser", "_poll", "_sock", "_timeout", "_view", "endpoint", "idle_since", "keep")

    def __init__(self, endpoint: Endpoint, sock: socket.socket, keep: float) -> None:
        self.endpoint = endpoint
        self.idle_since = 0.0
        self.keep = keep
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._parser = ReplyParser()
        self._buffer = bytearray(_RECEIVE)
        self._view = memoryview(self._buffer)
        self._poll = poll_for(sock.fileno())

    def exchange(self, request: Hidden[bytes], read_timeout: float, deadline: float) -> RawReply:
        """Send a request and wait for its reply; whatever it raises, the connection is of no more use."""
        left = deadline - time.monotonic()
        self._set_timeout(min(read_timeout, left))
        refused: OSError | None = None
        try:
            self._sock.sendall(request.reveal())
        except TimeoutError:
            raise ReplyTimeoutError(f"the request could not be sent within {min(read_timeout, left):.3g} s") from None
        except OSError as error:
            # The server may have said why before it hung up.
            refused = error
        while True:
            try:
                received = self._sock.recv_into(self._buffer)
            except TimeoutError:
                raise ReplyTimeoutError(f"no reply within {min(read_timeout, left):.3g} s") from None
            except OSError as error:
                raise ConnectionLostError(f"the connection was lost: {refused or error}") from error
            reply = self._parser.feed(self._view[:received]) if received else self._parser.at_end()
            if reply is not None:
                reply.reusable &= refused is None
                return reply
            left = deadline - time.monotonic()
            if left <= 0:
                raise ReplyTimeoutError("the reply was not complete in time")
            self._set_timeout(min(read_timeout, left))

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last reply: neither the server's farewell nor a byte too many."""
        return not self._poll()

    def close(self) -> None:
        self._sock.close()

    def _set_timeout(self, seconds: float) -> None:
        # A system call each time.
        if seconds != self._timeout:
            self._sock.settimeout(max(seconds, 0.001))
            self._timeout = seconds


def poll_for(fileno: int) -> Callable[[], bool]:
    """Whether something has come to a socket, or its end: asked now, and without waiting."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return lambda: bool(poll.poll(0))


class SocketPool:
    """Connections for any number of threads, each with at most one call on it.

    It keeps as many as were ever used at once, each for *keep_idle* seconds, or less if the server says so: then it is
    closed, before the server does it. After a fork the child has none of its parent's. *time-outs* are in seconds.
    """

    def __init__(self, trust: Trust, *, connect_timeout: float, read_timeout: float, keep_idle: float) -> None:
        self._trust = trust
        # The call's own limit is finite: with an endless one of these it is that which counts.
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keep_idle = keep_idle
        # Taken from and given back to at the right, so that the ones at the left are those that are not needed. Its
        # operations are atomic: there is no lock that a fork could leave locked.
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self.opened = 0
        self._finalizer = weakref.finalize(self, _close_all, self._idle)
        _pools.add(self)

    def exchange(self, endpoint: Endpoint, request: Hidden[bytes], timeout: float) -> RawReply:
        """Send a request to *endpoint* and return its reply, within *timeout* seconds."""
        if self._closed:
            raise RuntimeError(CLOSED)
        deadline = time.monotonic() + timeout
        connection = self._take(endpoint) or self._connect(endpoint, deadline)
        try:
            reply = connection.exchange(request, self._read_timeout, deadline)
        except BaseException:
            # An interrupt, too: a reply that still comes must not be anybody's.
            connection.close()
            raise
        if reply.reusable and not self._closed:
            self._give(connection, reply)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close all connections; a call that is under way ends as it would have."""
        self._closed = True
        _close_all(self._idle)

    def reopen(self) -> None:
        """Take calls again."""
        self._closed = False

    def forget(self) -> None:
        """In the child after a fork: leave the parent's connections alone."""
        # Closed without a word: a farewell (of TLS) would end them for the parent, too.
        _close_all(self._idle)

    def _take(self, endpoint: Endpoint) -> _Connection | None:
        now = time.monotonic()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if (
                connection.endpoint == endpoint
                and now - connection.idle_since < connection.keep
                and connection.is_quiet()
            ):
                return connection
            connection.close()

    def _give(self, connection: _Connection, reply: RawReply) -> None:
        now = time.monotonic()
        connection.idle_since = now
        if (said := reply.headers.get("keep-alive")) is not None:
            connection.keep = min(self._keep_idle, server_keeps(said))
        self._idle.append(connection)
        # The one that has been idle for longest; the next call looks at the next.
        try:
            oldest = self._idle[0]
            if now - oldest.idle_since >= oldest.keep:
                self._idle.popleft().close()
        except IndexError:
            return

    def _connect(self, endpoint: Endpoint, deadline: float) -> _Connection:
        timeout = min(self._connect_timeout, deadline - time.monotonic())
        until = time.monotonic() + timeout
        sock: socket.socket | None = None
        try:
            sock = _connect_to_any(resolve_host(endpoint.host, endpoint.port, timeout), until)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if endpoint.secure:
                sock.settimeout(max(until - time.monotonic(), 0.001))
                sock = self._trust.context.wrap_socket(sock, server_hostname=endpoint.host)
        except BaseException as error:
            if sock is not None:
                sock.close()
            if isinstance(error, OSError):
                raise explain_connect(error, endpoint, timeout) from error
            raise
        self.opened += 1
        return _Connection(endpoint, sock, self._keep_idle)


def server_keeps(header: str) -> float:
    """For how many seconds a server says it keeps an idle connection, less one: it may say so and close."""
    for part in header.split(","):
        if timeout := _TIMEOUT.fullmatch(part):
            return max(float(timeout[1]) - 1, 0.0)
    return float("inf")


Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def resolve_host(host: str, port: int, timeout: float) -> list[Address]:
    """The addresses of *host*; `ConnectError` if there are none, or none are known in time.

    The system's resolver has no time-out that could be set, so it is asked in a thread of its own.
    """
    found: list[Address] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend((family, address) for family, _, _, _, address in answers)
        except (OSError, UnicodeError) as error:
            failed.append(error)

    if _is_address(host):
        ask()
    else:
        thread = threading.Thread(target=ask, name="dynamostore-resolver", daemon=True)
        thread.start()
        thread.join(timeout)
        if not found and not failed:
            raise ConnectError(f"the address of {host} was not found within {timeout:.3g} s")
    if failed:
        raise ConnectError(f"the address of {host} was not found: {failed[0]}")
    return found


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _connect_to_any(addresses: list[Address], until: float) -> socket.socket:
    """A connection to the first address that takes one; raises the last one's failure."""
    failure: OSError = ConnectError("it has no address")
    for number, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # What is left is shared by those that are left: one that is silent does not take it all.
            share = (until - time.monotonic()) / (len(addresses) - number)
            sock.settimeout(max(share, 0.001))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _close_all(idle: deque[_Connection]) -> None:
    while True:
        try:
            idle.pop().close()
        except IndexError:
            return


_pools: weakref.WeakSet[SocketPool] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
