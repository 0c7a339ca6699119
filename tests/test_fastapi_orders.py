"""An order in a database of the app's own: where two requests place it at once, there is one in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as Database
from sqlalchemy.pool import NullPool

from session import AsyncSessionManager, Cookie, SessionConflict, SessionManager
from session.web.asgi import SessionMiddleware, get_session

from .awaited import AwaitedStore
from .counting import CountingStore
from .test_asgi import Exchange, held, request


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    cart: Mapped[str]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    # In the thread that the request is handled in, and closed with it.
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", poolclass=NullPool)
    Base.metadata.create_all(engine)
    return engine


class Meeting:
    """Has *size* requests wait for each other."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._all = asyncio.Event()

    async def wait(self) -> None:
        self._size -= 1
        if self._size == 0:
            self._all.set()
        async with asyncio.timeout(5):
            await self._all.wait()


ends: list[str] = []


def shop(engine: Engine, manager: Any, meeting: Meeting, *, saves: bool = True, **settings: Any) -> FastAPI:
    async def begin() -> AsyncIterator[Database]:
        try:
            with Database(engine) as database, database.begin():
                yield database
        except SessionConflict:
            ends.append("rolled back")
            raise
        else:
            ends.append("committed")

    app = FastAPI()

    @app.post("/order")
    async def order(request: Request, database: Database = Depends(begin)) -> RedirectResponse:  # noqa: B008 (FastAPI's way)
        session = get_session(request.scope)
        cart = session.pop_string("cart")
        await meeting.wait()
        if cart:
            database.add(Order(cart=cart))
            session.put_string("flash", "Thank you.")
        if saves:
            await session.save()
        return RedirectResponse("/thanks", 303)

    app.add_middleware(SessionMiddleware, manager=manager, **settings)
    return app


@pytest.fixture
def token(manager: SessionManager) -> str:
    ends.clear()
    with manager.session(None) as s:
        s.put_string("cart", "a book")
    assert s.token is not None
    return s.token


def orders(engine: Engine) -> int | None:
    with Database(engine) as database:
        return database.scalar(select(func.count()).select_from(Order))


@pytest.mark.parametrize("synchronous", [False, True])
def test_two_requests_that_order_at_once_make_one_order(
    engine: Engine, counted: CountingStore, manager: SessionManager, token: str, synchronous: bool
) -> None:
    amanager = AsyncSessionManager(
        AwaitedStore(counted, lambda _: asyncio.sleep(0)), clock=manager._policy.clock, cookie=Cookie(secure=False)
    )

    async def main() -> list[Exchange]:
        app = shop(engine, manager if synchronous else amanager, Meeting(2))
        both = (request(app, token, method="POST", path="/order") for _ in range(2))
        return await asyncio.gather(*both)

    exchanges = asyncio.run(main())
    assert sorted(exchange.status for exchange in exchanges) == [303, 409]
    assert orders(engine) == 1
    assert sorted(ends) == ["committed", "rolled back"]
    assert held(manager, token) == {"flash": "Thank you."}


def test_a_later_click_finds_an_empty_cart(engine: Engine, manager: SessionManager, token: str) -> None:
    async def main() -> list[int]:
        statuses = []
        for _ in range(2):
            app = shop(engine, manager, Meeting(1))
            statuses.append((await request(app, token, method="POST", path="/order")).status)
        return statuses

    assert asyncio.run(main()) == [303, 303]
    assert orders(engine) == 1


def test_an_app_for_conflicts_sends_the_client_on(engine: Engine, manager: SessionManager, token: str) -> None:
    async def main() -> list[Exchange]:
        app = shop(engine, manager, Meeting(2), conflict=RedirectResponse("/cart", 303))
        both = (request(app, token, method="POST", path="/order") for _ in range(2))
        return await asyncio.gather(*both)

    exchanges = asyncio.run(main())
    assert sorted(exchange.header("location")[0] for exchange in exchanges) == ["/cart", "/thanks"]
    assert orders(engine) == 1
