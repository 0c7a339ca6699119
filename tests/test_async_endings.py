"""What is left of an async client when its event loop has ended: nothing, however it was used, and no ``ResourceWarning``."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import trustme
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import dynamostore
from dynamostore import AsyncDynamoStore

from .faulty import FaultyDynamoDB

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """``asyncio.run``, or uvloop's."""

    async def main(work: Awaitable[None]) -> None:
        await work

    def run(work: Awaitable[None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main(work))

    return run


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["http", "https"])
def server(
    request: pytest.FixtureRequest,
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FaultyDynamoDB]:
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        bundle = tmp_path_factory.mktemp("authority") / "ca.pem"
        authority.cert_pem.write_to_path(bundle)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with FaultyDynamoDB(tls=context) as server:
        yield server
        server.be_still()


@pytest.fixture
def store(server: FaultyDynamoDB) -> AsyncDynamoStore:
    return dynamostore.connect_async("sessions", region="us-east-1", endpoint_url=server.url)


@pytest.fixture(autouse=True)
def no_warnings(server: FaultyDynamoDB) -> Iterator[None]:
    """Fails if anything was left unclosed, and not only unclosed for now."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def use(store: AsyncDynamoStore) -> None:
    assert all(await asyncio.gather(*(store.find(f"token{number}") for number in range(5))))


async def block(store: AsyncDynamoStore) -> None:
    async with store:
        await use(store)


async def close(store: AsyncDynamoStore) -> None:
    await use(store)
    await store.close()


async def cancel(store: AsyncDynamoStore) -> None:
    async with store:
        for turns in (*range(16), 20, 25, 30):
            task = asyncio.create_task(use(store))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_nothing_is_left_when_the_loop_has_ended(
    run: Callable[[Awaitable[None]], None], server: FaultyDynamoDB
) -> None:
    for work in (block, close, cancel, use):
        run(work(dynamostore.connect_async("sessions", region="us-east-1", endpoint_url=server.url)))


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_once_it_is_closed_there_is_nothing_more_for_the_loop_to_do(
    make: Callable[[], asyncio.AbstractEventLoop], server: FaultyDynamoDB, store: AsyncDynamoStore
) -> None:
    async def main() -> None:
        await close(store)
        # The loop stands still here.
        server.be_still()

    loop = make()
    loop.run_until_complete(main())
    loop.close()


def test_a_store_of_a_module_is_used_by_one_loop_after_the_other(
    run: Callable[[Awaitable[None]], None], store: AsyncDynamoStore, server: FaultyDynamoDB
) -> None:
    for loops in (1, 2):
        run(use(store))
        # Closed with its loop, and not when somebody comes for the next.
        server.be_still()
        assert server.connections == 5 * loops
    run(block(store))


@pytest.mark.parametrize("server", ["https"], indirect=True)
def test_an_app_leaves_nothing(store: AsyncDynamoStore) -> None:
    async def visit(request: Request) -> PlainTextResponse:
        await use(store)
        return PlainTextResponse("")

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with store:
            yield

    for lifespan in (None, None, life, life):
        app = Starlette(routes=[Route("/", visit)], lifespan=lifespan)
        with TestClient(app) as client:
            assert client.get("/").status_code == 200
