"""Closes the connections of an event loop: on request, or at the latest when the loop ends.

A transport that is still open after its loop has ended can no longer be closed, and causes a ``ResourceWarning``. But a loop
that ends finishes its asynchronous generators: `asyncio.run`, `asyncio.Runner` and uvloop call ``loop.shutdown_asyncgens``.
So an asynchronous generator closes the connections when it is finished.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final, Protocol, TypeVar

__all__ = ["close_with_loop"]

GOODBYE: Final = 1.0
"""Seconds to wait for transports to end, which takes a few turns of the loop."""


class _Closable(Protocol):
    @property
    def ended(self) -> asyncio.Future[None]: ...
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


def close_with_loop(connections: set[C]) -> AsyncGenerator[None, None]:
    """Close *connections* when the running loop ends, or when ``aclose()`` of the returned generator is awaited."""
    keeper = _keep(connections)
    # Run its first step, which registers the generator with the loop.
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
