"""`measure`: one cell's figures, from its own process."""

from __future__ import annotations

import gc
import logging
import random
import time
from collections import Counter
from random import Random

from .clock import VirtualLoop
from .traces import sleep, watch_conflicts
from .users import VICTIM, visit
from .world import Cell, World

__all__ = ["begin", "measure"]


def begin() -> None:
    """Prepare this process: synchronous code waits in virtual time, conflicts are noted, and nothing is logged."""
    # Before the adapters are imported: some keep the function.
    time.sleep = sleep  # type: ignore[assignment]  # whole and broken seconds are alike
    watch_conflicts()
    logging.disable(logging.CRITICAL)
    gc.set_threshold(50_000, 20, 20)


def measure(cell: Cell, requests: int, seed: int) -> Counter[str]:
    """Return what came of at least so many requests, half of them from browsers with three tabs."""
    random.seed(seed)
    loop = VirtualLoop()
    try:
        world = World(cell, Random(seed), loop)
        loop.run_until_complete(_run(world, cell, requests))
    finally:
        loop.close()
    return +world.counts


async def _run(world: World, cell: Cell, requests: int) -> None:
    counts = world.counts
    by_tabs = {1: 0, 3: 0}
    while (before := counts["requests"]) < requests:
        tabs = min(by_tabs, key=by_tabs.__getitem__)
        world.clear()
        refused = counts["409"]
        await visit(world, tabs, messages=cell.framework != "starlette")
        by_tabs[tabs] += counts["requests"] - before
        counts[f"requests, {tabs} tabs"] += counts["requests"] - before
        counts[f"409, {tabs} tabs"] += counts["409"] - refused
        for (what, whom), times in world.spent.items():
            if what == "password":
                counts["takeovers"] += times if whom == VICTIM else 0
            else:
                counts[what] += 1
                counts[f"{what}, twice"] += times > 1
