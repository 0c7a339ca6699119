"""The example app on Starlette: /put stores "Hello world!" in the session, /get returns it.

``python examples/starlette_app.py`` serves it with uvicorn on the address in LISTEN, or ``uvicorn --app-dir examples
starlette_app:app``. The region, credentials and endpoint come from the environment. The table must exist.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import dynamostore
from session import AsyncSessionManager, Cookie
from session.web.asgi import SessionMiddleware, get_session

store = dynamostore.connect_async(table=os.environ.get("SESSION_TABLE", "scs_session"))
# This app runs over plain HTTP. With HTTPS, leave out secure=False.
manager = AsyncSessionManager(store, cookie=Cookie(secure=False))


async def put(request: Request) -> PlainTextResponse:
    request.session["message"] = "Hello world!"  # as in Starlette's own sessions
    return PlainTextResponse("")


async def get(request: Request) -> PlainTextResponse:
    session = get_session(request.scope)  # the same session, typed
    return PlainTextResponse(session.get_string("message"))


async def logout(request: Request) -> PlainTextResponse:
    get_session(request.scope).destroy()
    return PlainTextResponse("")


async def greet(websocket: WebSocket) -> None:
    """Send the message to a WebSocket."""
    message = get_session(websocket.scope).get_string("message")
    await websocket.accept()
    await websocket.send_text(message)
    await websocket.close()


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
    async with store:
        yield


app = Starlette(
    routes=[Route("/put", put), Route("/get", get), Route("/logout", logout), WebSocketRoute("/greet", greet)],
    middleware=[Middleware(SessionMiddleware, manager=manager)],
    lifespan=lifespan,
)


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import uvicorn

    host, _, port = os.environ.get("LISTEN", "127.0.0.1:4000").rpartition(":")
    uvicorn.run(app, host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
