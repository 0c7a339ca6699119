"""A pool of blocking connections for threads. A connection serves one call at a time, and is kept for the next."""

from __future__ import annotations

import os
import re
import select
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from dynamostore.hidden import Hidden

from ._dialing import dial
from ._http import RawReply, ReplyParser
from ._silence import FLIGHT, LOOKS, Silence, acknowledged, received
from ._tls import Trust
from .errors import ConnectionLostError, ReplyTimeoutError

if TYPE_CHECKING:
    from ._core import Endpoint

__all__ = ["CLOSED", "SocketPool"]

T = TypeVar("T")

CLOSED: Final = "the client is closed; enter it again (with client: ...) to reopen it"

_RECEIVE: Final = 64 * 1024
_RECORD: Final = 16 * 1024

LATE: Final = 0.25
"""Seconds after the timeout in which an arriving reply is still read, because the process may have been frozen."""

SILENCE: Final = 0.5
"""Seconds without a reply after which a connection counts as dead if the caller gave up."""

# One parameter of a `Keep-Alive` header.
_TIMEOUT: Final = re.compile(r"[ \t]*timeout[ \t]*=[ \t]*([0-9]+)[ \t]*", re.ASCII | re.IGNORECASE)


class _Connection:
    """One connection, and the reply that it is receiving."""

    __slots__ = (
        "_buffer", "_parser", "_poll", "_share", "_silence", "_sock", "_timeout", "_view", "endpoint", "idle_since", "keep",
    )  # fmt: skip

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
        self._silence = Silence()
        # TLS accepts all of a buffer or nothing, so send it in pieces to see progress.
        self._share = _RECORD if endpoint.secure else sys.maxsize

    def exchange(self, request: Hidden[bytes], read_timeout: float, deadline: float) -> RawReply:
        """Send a request and return its reply. If this raises, discard the connection."""
        now = time.monotonic()
        self._silence.begin(len(request.reveal()), now, read_timeout)
        self._set_timeout(min(read_timeout / LOOKS, deadline - now))
        refused: OSError | None = None
        try:
            self._send(Hidden(memoryview(request.reveal())), read_timeout, deadline)
        except ReplyTimeoutError:
            raise
        except OSError as error:
            # The server may have sent a reply before it closed the connection.
            refused = error
        late = 0.0
        while True:
            try:
                received = self._sock.recv_into(self._buffer)
            except TimeoutError:
                late = self._wait_on(deadline, late, heard=self._poll())
                continue
            except OSError as error:
                raise ConnectionLostError(f"the connection was lost: {refused or error}") from error
            reply = self._parser.feed(self._view[:received]) if received else self._parser.at_end()
            if reply is not None:
                reply.reusable &= refused is None
                return reply
            now = time.monotonic()
            self._silence.heard(now)
            if now < deadline:
                late = 0.0
                self._set_timeout(min(read_timeout / LOOKS, deadline - now))
            else:
                late = self._look_again(now, late, heard=True)

    def _send(self, request: Hidden[memoryview], read_timeout: float, deadline: float) -> None:
        """Send the whole *request*. Raise `ReplyTimeoutError` if nothing moves, or at the deadline."""
        length = len(request.reveal())
        sent = 0
        while True:
            try:
                sent += self._sock.send(request.reveal()[sent : sent + self._share])
            except TimeoutError:
                if self._poll() and not self.endpoint.secure:
                    # Not with TLS: there it may be a session ticket or other TLS data.
                    raise ConnectionLostError("the server replied before it had read the whole request") from None
                self._wait_on(deadline)
                continue
            if sent == length <= FLIGHT:
                # A small request that was sent at once. The silence has not been interrupted.
                return
            now = time.monotonic()
            self._silence.heard(now)
            if sent < length and now >= deadline:
                raise ReplyTimeoutError(self._silence.explain(now))
            self._set_timeout(min(read_timeout / LOOKS, deadline - now))
            if sent == length:
                return

    def _wait_on(self, deadline: float, late: float = 0.0, *, heard: bool = False) -> float:
        """Set how long to wait next, after nothing could be sent or received, or raise `ReplyTimeoutError`.

        Return the new value of *late*, as `_look_again` does.
        """
        now = time.monotonic()
        wait = self._silence.look(now, partial(acknowledged, self._sock), partial(received, self._sock))
        left = min(wait, deadline - now)
        if left <= 0:
            return self._look_again(now, late, heard=heard)
        self._set_timeout(left)
        return 0.0

    def _look_again(self, now: float, late: float, *, heard: bool) -> float:
        """Return until when to read after the timeout, or raise `ReplyTimeoutError` if nothing was *heard*.

        *late* is the earlier result of this method, or 0. A process that was frozen (SIGSTOP, AWS Lambda, a suspended VM) may
        wake up after the timeout and find the reply there.
        """
        if not late and heard:
            late = now + LATE
        if now >= late:
            raise ReplyTimeoutError(self._silence.explain(now))
        self._set_timeout(late - now)
        return late

    def is_quiet(self) -> bool:
        """Return True if nothing has arrived since the last reply: no end of the connection, and no surplus byte."""
        return not self._poll()

    def close(self) -> None:
        self._sock.close()

    def _set_timeout(self, seconds: float) -> None:
        # Skip the system call if nothing changes.
        if seconds != self._timeout:
            self._sock.settimeout(max(seconds, 0.001))
            self._timeout = seconds


def looks_dead(error: BaseException, begun: float) -> bool:
    """Return True if *error* suggests that a connection is dead that was usable before *begun* (`time.monotonic`).

    Any error counts after `SILENCE`, because a caller's own timeout (a cancellation, a gevent.Timeout) may be the shortest.
    """
    return isinstance(error, (ReplyTimeoutError, ConnectionLostError)) or time.monotonic() - begun >= SILENCE


def poll_for(fileno: int) -> Callable[[], bool]:
    """Return a function that returns True if the socket has data to read or has ended. It does not wait."""
    if not hasattr(select, "poll"):
        return lambda: bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return lambda: bool(poll.poll(0))


class SocketPool:
    """Connections for any number of threads. Each serves at most one call at a time.

    The pool keeps as many connections as were used at the same time. It closes each after *keep_idle* seconds without a
    call, or earlier if the server announces to close it. A forked child uses none of its parent's connections. All timeouts
    are in seconds.
    """

    def __init__(self, trust: Trust, *, connect_timeout: float, read_timeout: float, keep_idle: float) -> None:
        self._trust = trust
        # These may be infinite, because each call has a finite limit.
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keep_idle = keep_idle
        # Connections are taken from and returned to the right end, so the left end holds those that are not needed. The
        # operations of a deque are atomic, so there is no lock that a fork could leave locked.
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self.opened = 0
        self._finalizer = weakref.finalize(self, _close_all, self._idle)
        _pools.add(self)

    def exchange(
        self,
        endpoint: Endpoint,
        request: Hidden[bytes],
        timeout: float,
        read: Callable[[RawReply], T],
        *,
        fresh: bool = False,
    ) -> T:
        """Send a request to *endpoint* and return the result of *read* for its reply, within *timeout* seconds.

        The pool keeps the connection for the next call if *read* does not raise and leaves the reply *reusable*. *fresh*: use
        a new connection.
        """
        if self._closed:
            raise RuntimeError(CLOSED)
        begun = time.monotonic()
        deadline = begun + timeout
        kept = None if fresh else self._take(endpoint)
        connection = kept or self._connect(endpoint, deadline)
        try:
            reply = connection.exchange(request, self._read_timeout, deadline)
            outcome = read(reply)
        except BaseException as error:
            # Also after an interrupt: no later call may receive this call's reply.
            connection.close()
            if kept is not None and looks_dead(error, begun):
                self._drop_older(begun)
            raise
        if reply.reusable and not self._closed:
            self._give(connection, reply)
        else:
            connection.close()
        return outcome

    def close(self) -> None:
        """Close the idle connections. A call that is under way finishes normally."""
        self._closed = True
        _close_all(self._idle)

    def reopen(self) -> None:
        """Accept calls again after `close`."""
        self._closed = False

    def forget(self) -> None:
        """Drop the parent's connections. This runs in the child after a fork."""
        # Close only this process's descriptors. A TLS close notification would end the connections for the parent, too.
        _close_all(self._idle)

    def _take(self, endpoint: Endpoint) -> _Connection | None:
        now = time.monotonic()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.endpoint is not endpoint and connection.endpoint != endpoint:
                self._idle.append(connection)
                found = self._take_from_among_others(endpoint)
                if found is None:
                    return None
                connection = found
            if now - connection.idle_since < connection.keep and connection.is_quiet():
                return connection
            connection.close()

    def _take_from_among_others(self, endpoint: Endpoint) -> _Connection | None:
        """Take the newest connection to *endpoint*, and leave the others in the pool.

        A client may call the endpoints of several accounts.
        """
        for connection in reversed(self._idle.copy()):
            if connection.endpoint == endpoint:
                # Another thread may take it first.
                with suppress(ValueError, IndexError):
                    self._idle.remove(connection)
                    return connection
        return None

    def _give(self, connection: _Connection, reply: RawReply) -> None:
        now = time.monotonic()
        connection.idle_since = now
        if (said := reply.headers.get("keep-alive")) is not None:
            connection.keep = min(self._keep_idle, server_keeps(said))
        self._idle.append(connection)
        # Check only the connection that has been idle for longest. The next call checks the next one.
        try:
            oldest = self._idle[0]
            if now - oldest.idle_since >= oldest.keep:
                self._idle.popleft().close()
        except IndexError:
            return

    def _drop_older(self, begun: float) -> None:
        """Close connections last used before *begun*: a NAT gateway or a failover ends all connections at once."""
        while True:
            try:
                oldest = self._idle.popleft()
            except IndexError:
                return
            if oldest.idle_since >= begun:
                self._idle.appendleft(oldest)
                return
            oldest.close()

    def _connect(self, endpoint: Endpoint, deadline: float) -> _Connection:
        sock = dial(endpoint, self._trust, min(self._connect_timeout, deadline - time.monotonic()))
        self.opened += 1
        return _Connection(endpoint, sock, self._keep_idle)


def server_keeps(header: str) -> float:
    """Return for how many seconds the server keeps an idle connection, less one, to close it before the server does."""
    for part in header.split(","):
        if timeout := _TIMEOUT.fullmatch(part):
            return max(float(timeout[1]) - 1, 0.0)
    return float("inf")


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
