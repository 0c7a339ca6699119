"""A pool of blocking connections, for threads: each is used by one call at a time, and kept for the next."""

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

CLOSED: Final = "the client is closed; to enter it again (with client: ...) opens it"

_RECEIVE: Final = 64 * 1024
_RECORD: Final = 16 * 1024

LATE: Final = 0.25
"""For how many seconds after its time a reply is still read if it is there, or a part of it: the process was frozen."""

SILENCE: Final = 0.5
"""After how many seconds without a reply a connection counts as dead if the caller gave up."""

# A part of a `Keep-Alive` header.
_TIMEOUT: Final = re.compile(r"[ \t]*timeout[ \t]*=[ \t]*([0-9]+)[ \t]*", re.ASCII | re.IGNORECASE)


class _Connection:
    """One connection, and the reply that is on its way."""

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
        # TLS takes all of what it is given, or nothing: in pieces, it is seen to move.
        self._share = _RECORD if endpoint.secure else sys.maxsize

    def exchange(self, request: Hidden[bytes], read_timeout: float, deadline: float) -> RawReply:
        """Send a request and wait for its reply; whatever it raises, the connection is of no more use."""
        now = time.monotonic()
        self._silence.begin(len(request.reveal()), now, read_timeout)
        self._set_timeout(min(read_timeout / LOOKS, deadline - now))
        refused: OSError | None = None
        try:
            self._send(Hidden(memoryview(request.reveal())), read_timeout, deadline)
        except ReplyTimeoutError:
            raise
        except OSError as error:
            # The server may have said why before it hung up.
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
        """Send all of it, for as long as it moves, and the call has time."""
        length = len(request.reveal())
        sent = 0
        while True:
            try:
                sent += self._sock.send(request.reveal()[sent : sent + self._share])
            except TimeoutError:
                if self._poll() and not self.endpoint.secure:
                    # Within TLS it may be anything, such as a ticket.
                    raise ConnectionLostError("the server has answered and does not read on") from None
                self._wait_on(deadline)
                continue
            if sent == length <= FLIGHT:
                # At once: nothing is new.
                return
            now = time.monotonic()
            self._silence.heard(now)
            if sent < length and now >= deadline:
                raise ReplyTimeoutError(self._silence.explain(now))
            self._set_timeout(min(read_timeout / LOOKS, deadline - now))
            if sent == length:
                return

    def _wait_on(self, deadline: float, late: float = 0.0, *, heard: bool = False) -> float:
        """Nothing could be sent or received for a while: wait on, or raise `ReplyTimeoutError`. As `_look_again`."""
        now = time.monotonic()
        wait = self._silence.look(now, partial(acknowledged, self._sock), partial(received, self._sock))
        left = min(wait, deadline - now)
        if left <= 0:
            return self._look_again(now, late, heard=heard)
        self._set_timeout(left)
        return 0.0

    def _look_again(self, now: float, late: float, *, heard: bool) -> float:
        """The time is over: return until when to read on, *late* if that was said before; raise if nothing was *heard*.

        A process that was frozen (SIGSTOP, AWS Lambda, a suspended VM) wakes up after the time, and the reply is there.
        """
        if not late and heard:
            late = now + LATE
        if now >= late:
            raise ReplyTimeoutError(self._silence.explain(now))
        self._set_timeout(late - now)
        return late

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


def looks_dead(error: BaseException, begun: float) -> bool:
    """Return True if a connection that was good before *begun* (`time.monotonic`) is dead, as far as *error* tells.

    Callers have time-outs of their own: a cancellation, or a gevent.Timeout, may come before any of this client's.
    """
    return isinstance(error, (ReplyTimeoutError, ConnectionLostError)) or time.monotonic() - begun >= SILENCE


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

    def exchange(
        self,
        endpoint: Endpoint,
        request: Hidden[bytes],
        timeout: float,
        read: Callable[[RawReply], T],
        *,
        fresh: bool = False,
    ) -> T:
        """Send a request to *endpoint* and return what *read* makes of its reply, within *timeout* seconds.

        The connection is kept for the next call if *read* raises nothing and leaves the reply *reusable*. *fresh*: on a
        new connection.
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
            # An interrupt, too: a reply that still comes must not be anybody's.
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
        """Take the newest connection to *endpoint*, and leave those to others: a client may call the endpoints of several accounts."""
        for connection in reversed(self._idle.copy()):
            if connection.endpoint == endpoint:
                # Another thread may have been faster.
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
        # The one that has been idle for longest; the next call looks at the next.
        try:
            oldest = self._idle[0]
            if now - oldest.idle_since >= oldest.keep:
                self._idle.popleft().close()
        except IndexError:
            return

    def _drop_older(self, begun: float) -> None:
        """Close what was last heard of before *begun*: a NAT gateway or a failover ends all connections at once."""
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
    """For how many seconds a server says it keeps an idle connection, less one: it may say so and close."""
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
