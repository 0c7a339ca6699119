"""Our managers, as an app has them, on a table that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from benchmarks.speed.stored import REGION

if TYPE_CHECKING:
    from session import AsyncSessionManager, SessionManager

__all__ = ["TABLE", "manager", "manager_async"]

TABLE = "sessions"


def manager(url: str, via: Literal["wire", "boto3"] = "wire") -> SessionManager:
    """A manager on DynamoDB at *url*."""
    import dynamostore
    from session import SessionManager

    store = dynamostore.connect(TABLE, region=REGION, endpoint_url=url, via=via)
    store.create_table()
    return SessionManager(store)


async def manager_async(url: str) -> AsyncSessionManager:
    """The same, awaited."""
    import dynamostore
    from session import AsyncSessionManager

    store = dynamostore.connect_async(TABLE, region=REGION, endpoint_url=url)
    await store.create_table()
    return AsyncSessionManager(store)
