"""On trio, or any event loop but asyncio's, what cannot run there says so in one sentence."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from dynamostore import AsyncDynamoStore, MemoryStore
from dynamostore.wire import AsyncWireClient
from session import AsyncSessionManager, SessionManager
from session.web.asgi import SessionMiddleware

with warnings.catch_warnings():
    # It would like another httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


@pytest.fixture(params=["AsyncSessionManager", "SessionManager"])
def manager(request: pytest.FixtureRequest) -> Any:
    if request.param == "SessionManager":
        return SessionManager(MemoryStore())
    return AsyncSessionManager(AsyncDynamoStore(AsyncWireClient(endpoint_url="http://127.0.0.1:1")))


@pytest.mark.parametrize("cookie", [{}, {"session": "A" * 43}], ids=["no cookie", "a cookie"])
def test_the_asgi_middleware_says_that_it_needs_asyncio(manager: Any, cookie: dict[str, str]) -> None:
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.session.get("n")))

    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(SessionMiddleware, manager=manager)])
    client = TestClient(app, backend="trio", cookies=cookie)
    with pytest.raises(RuntimeError, match=r"need asyncio, but this is another event loop.*; serve the app on asyncio"):
        client.get("/")


def test_the_async_store_says_that_it_needs_asyncio() -> None:
    async def main() -> None:
        store = AsyncDynamoStore(AsyncWireClient(endpoint_url="http://127.0.0.1:1"))
        async with AsyncSessionManager(store).session("A" * 43):
            raise AssertionError

    with pytest.raises(RuntimeError, match="the async store and its client need asyncio"):
        trio.run(main)
