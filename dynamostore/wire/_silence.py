"""Detects silence on a connection. ``read_timeout`` limits only silence, not the time that a large request takes to send."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["FLIGHT", "LOOKS", "Silence", "acknowledged", "received"]

LOOKS: Final = 4
"""The number of checks for progress within one read timeout."""

FLIGHT: Final = 16 * 1024
"""The largest request, in bytes, that is sent at once.

Its acknowledgement may arrive 40 ms later and does not count as progress.
"""

# `struct tcp_info` of linux/tcp.h: tcpi_bytes_acked and tcpi_bytes_received.
_ACKED: Final = slice(120, 128)
_RECEIVED: Final = slice(128, 136)


class _HasOptions(Protocol):
    """A socket, or an object that stands for one."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes: ...


def acknowledged(sock: _HasOptions) -> bytes:
    """Return how much the peer has acknowledged, as the bytes of a number. Only Linux reports it; elsewhere, return ``b""``.

    The buffers of the transport and of the system do not tell: the data that they accepted may still be on its way.
    """
    return _tcp_info(sock, _ACKED)


def received(sock: _HasOptions) -> bytes:
    """Return how many bytes came from the peer, in the form of `acknowledged`. This counts incomplete TLS records, too."""
    return _tcp_info(sock, _RECEIVED)


def _tcp_info(sock: _HasOptions, field: slice) -> bytes:
    if sys.platform != "linux":
        return b""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.stop)[field]
    except OSError:
        return b""


class Silence:
    """Measures how long nothing has moved on the connection of a call.

    Progress is a byte of the reply (`heard`), or a change in the numbers that `look` reads: bytes received and, unless the
    request is small, bytes sent. `look` runs a few times within the limit. A change counts from the look before it.
    """

    __slots__ = ("_limit", "_looked", "_measured", "_since", "_small")

    def __init__(self) -> None:
        self._measured: object = None
        self._small = True
        self._limit = self._since = self._looked = 0.0

    def begin(self, size: int, now: float, limit: float) -> None:
        """Begin to measure at *now*, for a request of *size* bytes. Silence may last *limit*. Times are in monotonic seconds."""
        self._small = size <= FLIGHT
        self._limit = limit
        self._since = self._looked = now
        self._measured = None

    def heard(self, now: float) -> None:
        """Record that something was received or could be sent."""
        self._since = now

    def look(self, now: float, sent: Callable[[], object], came: Callable[[], object] = bool) -> float:
        """Return after how many seconds to look again. 0 means that the silence has lasted too long."""
        measured = (None if self._small else sent(), came())
        if self._measured is not None and measured != self._measured:
            # If the looks are this far apart, the process was frozen, and the time of the change is unknown.
            frozen = now - self._looked >= self._limit
            self._since = max(self._since, now if frozen else self._looked)
        self._measured = measured
        self._looked = now
        return max(min(self._since + self._limit - now, self._limit / LOOKS), 0.0)

    def lasts(self, now: float) -> float:
        """Return for how many seconds nothing has moved."""
        return now - self._since

    def explain(self, now: float) -> str:
        """Return why the call stops waiting at *now*."""
        if self._since + self._limit - now <= 0:
            return f"no reply within {self._limit:.3g} s"
        return "the reply was not complete in time"
