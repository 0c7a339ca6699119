"""Starlette: with our middleware, starsessions on DynamoDB and in memory, and its own signed cookie."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from benchmarks.speed.stored import REGION
from benchmarks.web.routes import VIEWS, Data, ignore

from . import AsyncSite
from .managers import manager_async

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

__all__ = ["none", "ours", "signed_cookie", "starsessions_dynamodb", "starsessions_memory"]

_LIFETIME = 14 * 86400
_TABLE = "starsessions"

Session = Callable[["Request"], Awaitable[Data]]
Renew = Callable[["Request"], object]


async def none(url: str) -> AsyncSite:  # noqa: ARG001 (it has no use for it)
    """A dict instead of a session."""
    nobodys: dict[str, object] = {}

    async def session(request: Request) -> Data:  # noqa: ARG001
        return nobodys

    return _site(session, lambda _: None)


async def ours(url: str) -> AsyncSite:
    """Our middleware, as it is without further ado: ``request.session`` is read when it is looked at."""
    from starlette.middleware import Middleware

    from session.web.asgi import SessionMiddleware, get_session

    middleware = Middleware(
        SessionMiddleware,
        manager=await manager_async(url),
    )
    return _site(_plain, lambda request: get_session(request.scope).renew_token(), middleware)


async def starsessions_dynamodb(url: str) -> AsyncSite:
    """starsessions on a store of one's own, for which its documentation has the three methods."""
    from aiobotocore.session import get_session
    from starsessions.stores.base import SessionStore

    client = await get_session().create_client("dynamodb", region_name=REGION, endpoint_url=url).__aenter__()
    await client.create_table(
        TableName=_TABLE,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    class DynamoDBStore(SessionStore):  # type: ignore[misc]  # starsessions is not in the environment that is checked
        async def read(self, session_id: str, lifetime: int) -> bytes:  # noqa: ARG002 (their signature)
            reply = await client.get_item(TableName=_TABLE, Key={"id": {"S": session_id}}, ConsistentRead=True)
            item = reply.get("Item")
            if item is None or int(item["ttl"]["N"]) < time.time():
                return b""
            return bytes(item["data"]["B"])

        async def write(self, session_id: str, data: bytes, lifetime: int, ttl: int) -> str:  # noqa: ARG002
            expiry = str(int(time.time()) + ttl)
            await client.put_item(
                TableName=_TABLE, Item={"id": {"S": session_id}, "data": {"B": data}, "ttl": {"N": expiry}}
            )
            return session_id

        async def remove(self, session_id: str) -> None:
            await client.delete_item(TableName=_TABLE, Key={"id": {"S": session_id}})

    return _starsessions(DynamoDBStore())


async def starsessions_memory(url: str) -> AsyncSite:  # noqa: ARG001 (it has no use for it)
    """starsessions on the store that it has for tests."""
    from starsessions import InMemoryStore

    return _starsessions(InMemoryStore())


def _starsessions(store: object) -> AsyncSite:
    from starlette.middleware import Middleware
    from starsessions import SessionMiddleware, load_session, regenerate_session_id

    async def session(request: Request) -> Data:
        await load_session(request)
        return request.session

    return _site(session, regenerate_session_id, Middleware(SessionMiddleware, store=store, lifetime=_LIFETIME))


async def signed_cookie(url: str) -> AsyncSite:  # noqa: ARG001 (it has no use for it)
    """Starlette's own: the data is in the cookie, so there is no id to be renewed."""
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware

    return _site(_plain, lambda _: None, Middleware(SessionMiddleware, secret_key="a secret"))


async def _plain(request: Request) -> Data:
    return request.session


def _site(session: Session, renew: Renew, *middleware: Middleware) -> AsyncSite:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def without(request: Request) -> PlainTextResponse:  # noqa: ARG001
        return PlainTextResponse(ignore())

    def view_of(path: str) -> Callable[[Request], Awaitable[PlainTextResponse]]:
        view, is_login = VIEWS[path], path == "/login"

        async def view_of_session(request: Request) -> PlainTextResponse:
            body = view(await session(request))
            if is_login:
                renew(request)
            return PlainTextResponse(body)

        return view_of_session

    routes = [Route("/ignore", without), *(Route(path, view_of(path)) for path in VIEWS)]
    return AsyncSite(Starlette(routes=routes, middleware=list(middleware)))
