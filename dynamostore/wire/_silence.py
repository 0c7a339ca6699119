"""Tells a server that is silent from a request that is still on its way: ``read_timeout`` counts silence only."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["FLIGHT", "LOOKS", "Silence", "acknowledged", "received"]

LOOKS: Final = 4
"""How often, in a read time-out's length, it is looked whether something has moved."""

FLIGHT: Final = 16 * 1024
"""A request of so many bytes at most is sent at once. Its acknowledgement may come 40 ms later, which is no progress."""

# `struct tcp_info` of linux/tcp.h: tcpi_bytes_acked and tcpi_bytes_received.
_ACKED: Final = slice(120, 128)
_RECEIVED: Final = slice(128, 136)


class _HasOptions(Protocol):
    """A socket, or what stands for one."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes: ...


def acknowledged(sock: _HasOptions) -> bytes:
    """How much of what was sent the peer has acknowledged: a number as bytes, or none where the system does not tell.

    Only Linux does. The buffers of the transport and of the system are no measure: what they took may still be on its way.
    """
    return _tcp_info(sock, _ACKED)


def received(sock: _HasOptions) -> bytes:
    """How much has come from the peer, as `acknowledged`. A part of a TLS record is nothing yet for who reads."""
    return _tcp_info(sock, _RECEIVED)


def _tcp_info(sock: _HasOptions, field: slice) -> bytes:
    if sys.platform != "linux":
        return b""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.stop)[field]
    except OSError:
        return b""


class Silence:
    """How long a call has waited for a connection on which nothing moves.

    What moves is a byte of the reply (`heard`), and what `look` is told that has come and, of a request that is not small, has
    been sent. It asks a few times in the length of the limit. A change counts from the look before it.
    """

    __slots__ = ("_limit", "_looked", "_measured", "_since", "_small")

    def __init__(self) -> None:
        self._measured: object = None
        self._small = True
        self._limit = self._since = self._looked = 0.0

    def begin(self, size: int, now: float, limit: float) -> None:
        """A request of *size* bytes is sent at *now*, and nothing may move for *limit* (seconds of a clock that only grows)."""
        self._small = size <= FLIGHT
        self._limit = limit
        self._since = self._looked = now
        self._measured = None

    def heard(self, now: float) -> None:
        """Something has come, or could be sent."""
        self._since = now

    def look(self, now: float, sent: Callable[[], object], came: Callable[[], object] = bool) -> float:
        """Return after how many seconds to look again; 0: the silence has lasted too long."""
        measured = (None if self._small else sent(), came())
        if self._measured is not None and measured != self._measured:
            # Between looks that are so far apart the process was frozen: when it moved nobody knows.
            frozen = now - self._looked >= self._limit
            self._since = max(self._since, now if frozen else self._looked)
        self._measured = measured
        self._looked = now
        return max(min(self._since + self._limit - now, self._limit / LOOKS), 0.0)

    def lasts(self, now: float) -> float:
        """For how long nothing has moved."""
        return now - self._since

    def explain(self, now: float) -> str:
        """Why the call waits no longer than until *now*."""
        if self._since + self._limit - now <= 0:
            return f"no reply within {self._limit:.3g} s"
        return "the reply was not complete in time"
