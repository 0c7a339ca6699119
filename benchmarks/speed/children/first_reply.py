"""A cold start: imports, makes one client, and waits for its first reply. What a new process pays, and just once.

Run as ``python -c "from benchmarks.speed.children.first_reply import main; main()" PEER URL [MORE]``: with ``-m`` a
part of what clients import, too, would be there beforehand. For the same reason it imports next to nothing itself.
*MORE* is how many further clients to make after that, for what each holds in memory.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.speed.peers import PEERS, AsyncClient, Client, Peer
from benchmarks.speed.stored import SIZES, TOKEN, table_of

_SIZE = SIZES["1 kB"]


def main() -> None:
    began, cpu, before = time.perf_counter(), time.process_time(), _resident()
    peer = PEERS[sys.argv[1]]
    for module in peer.imports:
        __import__(module)
    imported = time.perf_counter()
    if peer.asynchronous:
        replied, used, kept = _awaited(peer)
    else:
        replied, used, kept = _blocking(peer)

    import json

    [after, *more] = kept
    print(
        json.dumps(
            {
                "imports": imported - began,
                "reply": replied - imported,
                "cpu": used - cpu,
                "memory": after - before,
                "each": (more[-1] - more[0]) // (len(more) - 1) if len(more) > 1 else 0,
            }
        ),
        flush=True,
    )
    # Without the end of the interpreter: not all threads of every client outlive it (pydynox's panic).
    os._exit(0)


def _blocking(peer: Peer) -> tuple[float, float, list[int]]:
    def one() -> Client:
        client: Client = _maker(peer)(sys.argv[2], table_of(_SIZE), 10)
        assert len(client.find(TOKEN)) == _SIZE
        return client

    client = one()
    replied, used, kept = time.perf_counter(), time.process_time(), [_resident()]
    clients = [client]
    for _ in range(_more()):
        clients.append(one())
        kept.append(_settled())
    return replied, used, kept


def _awaited(peer: Peer) -> tuple[float, float, list[int]]:
    import asyncio

    async def one() -> AsyncClient:
        client: AsyncClient = await _maker(peer)(sys.argv[2], table_of(_SIZE), 10)
        assert len(await client.find(TOKEN)) == _SIZE
        return client

    async def first() -> tuple[float, float, list[int]]:
        client = await one()
        replied, used, kept = time.perf_counter(), time.process_time(), [_resident()]
        clients = [client]
        for _ in range(_more()):
            clients.append(await one())
            kept.append(_settled())
        for each in clients:
            await each.close()
        return replied, used, kept

    return asyncio.run(first())


def _maker(peer: Peer) -> Callable[[str, str, int], Any]:
    maker: Callable[[str, str, int], Any] = getattr(
        __import__(f"benchmarks.speed.peers.{peer.module}", fromlist=[peer.maker]), peer.maker
    )
    return maker


def _more() -> int:
    return int(sys.argv[3]) if len(sys.argv) > 3 else 0


def _settled() -> int:
    import gc

    gc.collect()
    return _resident()


def _resident() -> int:
    """The memory of this process in bytes; 0 where /proc does not tell."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 (pathlib would be an import)
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0
