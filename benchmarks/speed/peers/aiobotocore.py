"""aiobotocore: its low-level client, on aiohttp."""

from __future__ import annotations

from contextlib import AsyncExitStack

from benchmarks.speed.stored import REGION

from .lowlevel import AsyncCalls, LowLevelAsync

__all__ = ["client"]


async def client(url: str, table: str, pool: int) -> LowLevelAsync:
    """``get_session().create_client("dynamodb")``."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    # Its default is 10, for as many tasks.
    config = AioConfig(max_pool_connections=pool) if pool > 10 else None
    stack = AsyncExitStack()
    made = get_session().create_client("dynamodb", region_name=REGION, endpoint_url=url, config=config)
    calls: AsyncCalls = await stack.enter_async_context(made)
    return LowLevelAsync(calls, table, stack.aclose)
