"""Which of a host's addresses to try, and when: attempts that overlap, as RFC 8305 ("Happy Eyeballs") describes. No I/O.

An attempt is all that it takes to have a connection, TLS included. The next one begins 250 ms after the last, or sooner if
there are so many addresses that not all would be tried in half of the time, or at once when one fails. If one has reached
a server and only TLS is under way, the next waits for half of the time that is left: a handshake may well take 300 ms, but
one that hangs is overtaken, too. The first that is complete wins. A certificate that is refused ends the race.
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
"""It must not be shorter than that."""

A = TypeVar("A")
C = TypeVar("C")


class Race(Generic[A]):
    """The attempts at *addresses*, from *now* to *until* (both in seconds of one clock). The driver has the clock.

    It asks `begin` for the address to try until that is None, waits for an attempt to end, for `wait` seconds at most, and
    tells of it. When it `is_lost`, it raises the `failure`.
    """

    def __init__(self, addresses: Sequence[A], now: float, until: float) -> None:
        self._waiting = deque(addresses)
        self._running = 0
        self._next = now
        self._until = until
        self._delay = max(min(DELAY, (until - now) / 2 / max(len(addresses) - 1, 1)), SHORTEST)
        self._failure: OSError = ConnectError("it has no address")
        self._refused = False

    def begin(self, now: float) -> A | None:
        """The address to try now, if it is time for one."""
        if not self._waiting or self.is_lost(now) or (self._running and now < self._next):
            return None
        self._running += 1
        self._next = now + self._delay
        return self._waiting.popleft()

    def reached(self, now: float) -> None:
        """An attempt has a connection, and agrees on TLS now."""
        self._next = max(self._next, now + (self._until - now) / 2)

    def failed(self, error: OSError, now: float) -> None:
        """An attempt has ended without success."""
        self._running -= 1
        self._next = now
        if not self._refused:
            self._failure = error
            self._refused = is_refused_certificate(error)

    def is_lost(self, now: float) -> bool:
        """True if there is nothing left to try or to wait for."""
        return self._refused or now >= self._until or not (self._running or self._waiting)

    def wait(self, now: float) -> float:
        """For how many seconds at most to wait for an attempt to end."""
        return max(min(self._next, self._until) - now if self._waiting else self._until - now, 0.0)

    @property
    def failure(self) -> OSError:
        """Why it is lost: the last attempt's failure, a refused certificate, or a `TimeoutError`."""
        if self._refused or not (self._running or self._waiting):
            return self._failure
        return TimeoutError()


def connect(host: str, port: int, timeout: float, monotonic: Callable[[], float] = time.monotonic) -> Plan[C]:
    """A connection to *host* within *timeout* seconds: a plan, whose calls are ``wait`` (see ``_names``) and ``race``.

    ``race(addresses, until)`` returns a connection and its address. Raise `OSError` if there is none to be had.
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
