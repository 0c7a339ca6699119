"""A pool of connections on an event loop. They are asyncio protocols, and work on any asyncio event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar, cast

from dynamostore.hidden import Hidden

from ._adialing import adial
from ._endings import close_with_loop
from ._http import RawReply, ReplyParser
from ._silence import LOOKS, Silence, acknowledged, received
from ._sockets import CLOSED, LATE, looks_dead, poll_for, server_keeps
from ._tls import Trust
from .errors import ConnectionLostError, ReplyTimeoutError, TransportError

if TYPE_CHECKING:
    from ._core import Endpoint

__all__ = ["StreamPool"]

T = TypeVar("T")

_RECEIVE: Final = 64 * 1024
_DAY: Final = 86_400.0


class _Connection(asyncio.BufferedProtocol):
    """One connection, with at most one call at a time. Data that arrives without a call ends it."""

    __slots__ = (
        "_buffer", "_due", "_late", "_loop", "_lost", "_parser", "_poll", "_read_timeout", "_reply", "_silence", "_timer", "_transport", "_view",
        "ended", "endpoint", "idle_since", "keep",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, read_timeout: float, keep: float) -> None:
        self.endpoint = endpoint
        self.idle_since = 0.0
        self.keep = keep
        self._read_timeout = read_timeout
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._buffer = bytearray(_RECEIVE)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[RawReply] | None = None
        # The reply whose time has already been extended once.
        self._late: asyncio.Future[RawReply] | None = None
        # The deadline of the current call, by time.monotonic().
        self._due = 0.0
        self._silence = Silence()
        # A reply does not cancel the timer, because that takes longer than letting it run out and setting it again.
        self._timer: asyncio.TimerHandle | None = None
        self._poll: Callable[[], bool] = bool
        self._lost = False
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the transport is closed."""

    def send(self, request: Hidden[bytes], now: float, deadline: float) -> asyncio.Future[RawReply]:
        """Send a request, and return a future of its reply. If that raises, `abort` the connection."""
        assert self._transport is not None
        self._reply = reply = self._loop.create_future()
        if self._lost:
            # The connection ended between two turns of the loop, after it was made.
            reply.set_exception(ConnectionLostError("the connection was lost before the request was sent"))
            return reply
        self._silence.begin(len(request.reveal()), now, self._read_timeout)
        self._due = deadline
        until = min(now + self._read_timeout / LOOKS, deadline)
        timer = self._timer
        if timer is None:
            self._timer = self._loop.call_later(until - now, self._look)
        elif deadline < now + self._read_timeout / LOOKS:
            # The timer may be set for a time after this call's deadline.
            timer.cancel()
            self._timer = self._loop.call_later(until - now, self._look)
        self._transport.write(request.reveal())
        return reply

    def rest(self, now: float) -> None:
        """Mark the connection as idle from *now* on, and drop the reply of its last call."""
        self.idle_since = now
        self._reply = self._late = None

    @property
    def lost(self) -> bool:
        """True if the connection has ended or is about to end."""
        return self._lost

    @property
    def usable(self) -> bool:
        """True if the connection can take a call.

        It must be open, the last request must be sent, and nothing may have arrived since the last reply. The loop may not
        have processed such data yet, so poll the socket: otherwise the next call would take that data for its reply.
        """
        transport = self._transport
        return (
            not self._lost
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
            and not self._poll()
        )

    def abort(self) -> None:
        """End the connection at once, without closing TLS."""
        self._lost = True
        self._reply = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End the connection. The current call fails with a `ConnectionLostError`."""
        self._fail(ConnectionLostError("the client was closed"))
        self.abort()

    def _look(self) -> None:
        """Fail the call if the silence has lasted too long or the deadline has passed. The timer calls this."""
        self._timer = None
        if self._reply is None or self._reply.done():
            return
        now = time.monotonic()
        left = min(self._silence.look(now, self._sent, self._came), self._due - now)
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif self._late is not self._reply and (
            self._poll() or (self._parser.begun and self._silence.lasts(now) < LATE)
        ):
            # If the process was frozen, the timer may run before the reply, or its rest, has been read.
            self._late = self._reply
            self._timer = self._loop.call_later(LATE, self._look)
        else:
            self._fail(ReplyTimeoutError(self._silence.explain(now)))

    def _sent(self) -> tuple[int, bytes]:
        """Return how much of the request is still to be sent, and how much the server has acknowledged (see `Silence`)."""
        assert self._transport is not None
        return self._transport.get_write_buffer_size(), acknowledged(self._transport.get_extra_info("socket"))

    def _came(self) -> bytes:
        assert self._transport is not None
        return received(self._transport.get_extra_info("socket"))

    def _fail(self, error: TransportError) -> None:
        self._lost = True
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods but not the class
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = poll_for(sock.fileno())

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        reply = self._reply
        if reply is None or reply.done():
            # No call waits for this data.
            self.abort()
            return
        try:
            whole = self._parser.feed(self._view[:nbytes])
        except TransportError as error:
            self._fail(error)
        else:
            if whole is not None:
                reply.set_result(whole)
            else:
                self._silence.heard(time.monotonic())

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        if not self.ended.done():
            self.ended.set_result(None)

    def _end(self, error: Exception | None) -> None:
        self._lost = True
        if self._reply is None or self._reply.done():
            return
        if error is not None:
            lost = ConnectionLostError(f"the connection was lost: {error}")
            lost.__cause__ = error
            self._fail(lost)
            return
        try:
            self._reply.set_result(self._parser.at_end())
        except TransportError as failure:
            self._fail(failure)


class StreamPool:
    """At most *limit* connections on one event loop. Each serves one call at a time; more calls wait in a queue.

    The pool keeps a connection for *keep_idle* seconds after its last call, or shorter if the server announces to close it.
    All timeouts are in seconds. The pool works only on the event loop on which it was created.
    """

    def __init__(
        self, trust: Trust, *, connect_timeout: float, read_timeout: float, keep_idle: float, limit: int
    ) -> None:
        self._trust = trust
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keep_idle = keep_idle
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._keeper = close_with_loop(self._all)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.opened = 0

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return True if this pool was created on *loop*."""
        return self._loop is loop

    async def exchange(
        self,
        endpoint: Endpoint,
        request: Hidden[bytes],
        timeout: float,  # noqa: ASYNC109 (the time left for the call)
        read: Callable[[RawReply], T],
        *,
        fresh: bool = False,
    ) -> T:
        """Send a request to *endpoint* and return the result of *read* for its reply, as `SocketPool.exchange` does."""
        now = time.monotonic()
        deadline = now + timeout
        if self._free:
            self._free -= 1
        else:
            await self._wait_in_line(timeout)
            now = time.monotonic()
        begun = now
        connection = kept = None
        try:
            connection = kept = self._take(endpoint, now) if not fresh and not self._closed else None
            if connection is None:
                self._check_open()
                self._make_room()
                connection = await self._connect(endpoint, deadline)
                self._check_open()
                now = time.monotonic()
            reply = await connection.send(request, now, deadline)
            outcome = read(reply)
        except BaseException as error:
            # Also after a cancellation: no later call may receive this call's reply.
            if connection is not None:
                self._drop(connection)
            if kept is not None and looks_dead(error, begun):
                self._drop_older(begun)
            raise
        else:
            if reply.reusable and not connection.lost and not self._closed:
                self._give(connection, reply)
            else:
                self._drop(connection)
        finally:
            self._leave()
        return outcome

    def _check_open(self) -> None:
        """Raise `RuntimeError` if the client was closed while a call was queued or connecting."""
        if self._closed:
            raise RuntimeError(CLOSED)

    async def _wait_in_line(self, timeout: float) -> None:  # noqa: ASYNC109 (as above)
        """Wait until a connection is free for this call. The caller must `_leave` afterwards."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # The turn came, but too late: pass it on.
                self._leave()
            turn.cancel()
            if isinstance(error, TimeoutError):
                raise ReplyTimeoutError(f"no connection was free within {timeout:.3g} s") from None
            raise

    def _leave(self) -> None:
        """End a call, and give its turn to the next call in the queue."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def close(self) -> None:
        """Close all connections. Calls that are under way fail with `ConnectionLostError`."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        await self._keeper.aclose()

    def _take(self, endpoint: Endpoint, now: float) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.endpoint is not endpoint and connection.endpoint != endpoint:
                # A client may call the endpoints of several accounts.
                self._idle.append(connection)
                connections = (other for other in reversed(self._idle) if other.endpoint == endpoint)
                found = next(connections, None)
                if found is None:
                    return None
                connection = found
                self._idle.remove(connection)
            if connection.usable and now - connection.idle_since < connection.keep:
                return connection
            self._drop(connection)
        return None

    def _give(self, connection: _Connection, reply: RawReply) -> None:
        connection.rest(time.monotonic())
        if (said := reply.headers.get("keep-alive")) is not None:
            connection.keep = min(self._keep_idle, server_keeps(said))
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(min(connection.keep, _DAY), self._sweep)

    def _drop(self, connection: _Connection) -> None:
        connection.abort()

    def _make_room(self) -> None:
        """Close the oldest idle connections if there is no room for a new one."""
        while len(self._idle) > self._free:
            self._drop(self._idle.popleft())

    def _drop_older(self, begun: float) -> None:
        """Close connections last used before *begun*: a NAT gateway or a failover ends all connections at once."""
        while self._idle and self._idle[0].idle_since < begun:
            self._drop(self._idle.popleft())

    def _sweep(self) -> None:
        """Close connections that have been idle for too long, before the server closes them."""
        self._sweeper = None
        now = time.monotonic()
        idle, self._idle = self._idle, deque()
        for connection in idle:
            if connection.usable and now - connection.idle_since < connection.keep:
                self._idle.append(connection)
            else:
                self._drop(connection)
        if self._idle:
            soonest = min(connection.idle_since + connection.keep for connection in self._idle)
            self._sweeper = self._loop.call_later(min(max(soonest - now, 0.01), _DAY), self._sweep)

    async def _connect(self, endpoint: Endpoint, deadline: float) -> _Connection:
        timeout = min(self._connect_timeout, max(deadline - time.monotonic(), 0.001))
        connection = await adial(
            endpoint, self._trust, timeout, lambda: _Connection(endpoint, self._read_timeout, self._keep_idle)
        )
        self.opened += 1
        # Keep the connection in this set until its transport is closed, which is later than `_drop`.
        every = self._all
        every.add(connection)
        connection.ended.add_done_callback(lambda _: every.discard(connection))
        return connection
