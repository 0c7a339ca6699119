"""The order and timing of overlapping attempts at a host's addresses, after RFC 8305 ("Happy Eyeballs"). No I/O.

An attempt includes the TLS handshake. The first attempt that completes wins. A refused certificate ends the race.

- If an attempt fails, the next one begins at once.

- Otherwise, the next one begins 250 ms after the last, or sooner if half of the timeout would not suffice for all addresses.

- Once an attempt has reached a server and only TLS is under way, the next one waits for half of the remaining time. A
  handshake can take 300 ms, but a handshake that hangs must not block the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from dynamostore.steps import Call, Plan, issue

from ._names import Address, names
from ._tls import is_refused_certificate
from .errors import ConnectError

__all__ = ["Race", "connect"]

DELAY: Final = 0.25
"""RFC 8305's "Connection Attempt Delay", in seconds."""
SHORTEST: Final = 0.01
"""The shortest delay, in seconds, that RFC 8305 allows."""

A = TypeVar("A")
C = TypeVar("C")


class Race(Generic[A]):
    """The attempts at *addresses*, from *now* to *until*. The driver makes the attempts and passes the time, in seconds.

    The driver starts an attempt at each address from `begin`, until `begin` returns None. Then it waits for an attempt to
    end, for at most `wait` seconds. It calls `reached` and `failed`. When the race `is_lost`, it raises the `failure`.
    """

    def __init__(self, addresses: Sequence[A], now: float, until: float) -> None:
        self._waiting = deque(addresses)
        self._running = 0
        self._next = now
        self._until = until
        self._delay = max(min(DELAY, (until - now) / 2 / max(len(addresses) - 1, 1)), SHORTEST)
        self._failure: OSError = ConnectError("the host has no address")
        self._refused = False

    def begin(self, now: float) -> A | None:
        """Return the address to try now, or None if it is not time for another attempt."""
        if not self._waiting or self.is_lost(now) or (self._running and now < self._next):
            return None
        self._running += 1
        self._next = now + self._delay
        return self._waiting.popleft()

    def reached(self, now: float) -> None:
        """Record that an attempt is connected and has begun its TLS handshake."""
        self._next = max(self._next, now + (self._until - now) / 2)

    def failed(self, error: OSError, now: float) -> None:
        """Record that an attempt has failed with *error*."""
        self._running -= 1
        self._next = now
        if not self._refused:
            self._failure = error
            self._refused = is_refused_certificate(error)

    def is_lost(self, now: float) -> bool:
        """Return True if there is nothing left to try or to wait for."""
        return self._refused or now >= self._until or not (self._running or self._waiting)

    def wait(self, now: float) -> float:
        """Return for how many seconds, at most, to wait for an attempt to end."""
        return max(min(self._next, self._until) - now if self._waiting else self._until - now, 0.0)

    @property
    def failure(self) -> OSError:
        """The reason why the race is lost: the last attempt's failure, a refused certificate, or a `TimeoutError`."""
        if self._refused or not (self._running or self._waiting):
            return self._failure
        return TimeoutError()


def connect(host: str, port: int, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> Plan[C]:
    """Connect to *host* within *timeout* seconds. This is a plan, with the calls ``wait`` (see ``_names``) and ``race``.

    ``race(addresses, until)`` returns a connection and its address. Raise `OSError` if no connection can be made.
    """
    until = monotonic() + timeout
    known = names()
    addresses = yield from known.find(host, port, timeout)
    try:
        won: tuple[C, Address] = yield from issue(Call("race", {"addresses": addresses, "until": until}))
    except OSError:
        known.distrust(host, port, addresses)
        raise
    connection, address = won
    known.prefer(host, port, addresses, address)
    return connection
