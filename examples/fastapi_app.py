"""The example app on FastAPI, with the session as a dependency: /put stores "Hello world!" in the session, /get returns it.

``python examples/fastapi_app.py`` serves it with uvicorn on the address in LISTEN, or ``uvicorn --app-dir examples
fastapi_app:app``. The region, credentials and endpoint come from the environment. The table must exist.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

import dynamostore
from session import AsyncSession, AsyncSessionManager, Cookie
from session.web.asgi import SessionMiddleware, get_session

store = dynamostore.connect_async(table=os.environ.get("SESSION_TABLE", "scs_session"))
# This app runs over plain HTTP. With HTTPS, leave out secure=False.
manager = AsyncSessionManager(store, cookie=Cookie(secure=False))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    async with store:
        yield


# Answers an outage in JSON. Without it, the answer is a 503 in plain text.
unavailable = JSONResponse({"detail": "try again soon"}, 503, {"Retry-After": "5"})

app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, manager=manager, unavailable=unavailable)


async def current_session(request: Request) -> AsyncSession:
    return get_session(request.scope)


Session = Annotated[AsyncSession, Depends(current_session)]


@app.get("/put")
async def put(session: Session) -> None:
    session.put_string("message", "Hello world!")


@app.get("/get")
def get(session: Session) -> str:  # not async: FastAPI runs it in a thread, and the session works there, too
    return session.get_string("message")


@app.post("/login")
async def login(session: Session, user_id: int) -> int:
    session.renew_token()  # same data, new token
    session.put_int("user_id", user_id)
    return user_id


@app.get("/logout")
async def logout(session: Session) -> None:
    session.destroy()


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import uvicorn

    host, _, port = os.environ.get("LISTEN", "127.0.0.1:4000").rpartition(":")
    uvicorn.run(app, host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
