"""`is_loopback`: recognizes a host on this machine, which a proxy cannot reach."""

from __future__ import annotations

import socket
from contextlib import suppress
from string import ascii_lowercase, ascii_uppercase
from typing import Final

__all__ = ["is_loopback"]

_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_HERE: Final = "localhost"
_IPV6: Final = bytes(15) + b"\x01"
_MAPPED: Final = bytes(10) + b"\xff\xff\x7f"


def is_loopback(host: str) -> bool:
    """Return True if *host* is this machine's loopback interface: ``localhost``, ``*.localhost``, 127.0.0.0/8 or ``::1``.

    This makes no DNS query: RFC 6761 reserves these names. Pass an IPv6 address without brackets.

    >>> is_loopback("127.0.0.1"), is_loopback("dynamodb.localhost"), is_loopback("dynamodb.example")
    (True, True, False)
    """
    name = host.translate(_LOWER).removesuffix(".")
    if name == _HERE or name.endswith("." + _HERE):
        return True
    with suppress(OSError, ValueError):
        return socket.inet_pton(socket.AF_INET, name)[0] == 127
    with suppress(OSError, ValueError):
        packed = socket.inet_pton(socket.AF_INET6, name.partition("%")[0])
        return packed == _IPV6 or packed.startswith(_MAPPED)
    return False
