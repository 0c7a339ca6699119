"""Closes the connections of an event loop: when it is asked to, and otherwise when the loop ends.

A transport that is still open when its loop has ended cannot be closed any more, and says so in a ``ResourceWarning``. But
a loop that ends finishes its asynchronous generators (``loop.shutdown_asyncgens``, which `asyncio.run`, `asyncio.Runner` and
uvloop call). So the connections are in the hands of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final, Protocol, TypeVar

__all__ = ["close_with_loop"]

GOODBYE: Final = 1.0
"""For how many seconds to wait for transports to end. They take some turns of the loop."""


class _Closable(Protocol):
    @property
    def ended(self) -> asyncio.Future[None]: ...
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


def close_with_loop(connections: set[C]) -> AsyncGenerator[None, None]:
    """Close *connections* when the running loop ends, or before that when the result's ``aclose()`` is awaited."""
    keeper = _keep(connections)
    # Its first step, in which it makes itself known to the loop.
    with suppress(StopIteration):
        keeper.__anext__().send(None)
    return keeper


async def _keep(connections: set[C]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        ended = [connection.ended for connection in connections]
        for connection in list(connections):
            connection.close()
        connections.clear()
        if ended:
            await asyncio.wait(ended, timeout=GOODBYE)
