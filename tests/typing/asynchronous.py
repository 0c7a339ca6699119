"""The async twins, as an async application types them: store, manager, session, and what must be awaited."""

# mypy: disallow-any-expr

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import assert_type

from dynamostore import (
    AsyncDynamoStore,
    AsyncMemoryStore,
    AsyncStore,
    DynamoStore,
    MemoryStore,
    Record,
    Store,
    Table,
    connect_async,
)
from dynamostore.client import AsyncDynamoClient, DynamoClient
from dynamostore.testing import BlockingStore, LoopThread
from session import AsyncSession, AsyncSessionManager, Cookie, JSONValue, Session, SessionManager, SessionNotLoadedError

later = datetime.now(UTC) + timedelta(hours=1)


# The store


async def verbs(store: AsyncDynamoStore, record: Record) -> None:
    assert_type(await store.find("token"), Record | None)
    assert_type(await store.save("token", b"data", later), Record)
    assert_type(await store.create("token", b"data", later), Record)
    assert_type(await store.replace(record, b"data", later), Record)
    assert_type(await store.touch(record, later), Record)
    assert_type(await store.rename(record, "another", b"data", later, grace=timedelta(seconds=5)), Record)
    await store.remove(record)
    await store.delete("token")
    await store.ping()
    await store.create_table(timeout=timedelta(minutes=1))
    await store.close()
    assert_type(store.client, AsyncDynamoClient)
    assert_type(store.table, Table)
    one: AsyncStore = store


async def stores(client: AsyncDynamoClient) -> None:
    assert_type(AsyncDynamoStore(client, Table(), consistent_read=False, evict_expired=False), AsyncDynamoStore)
    assert_type(connect_async("sessions", region="eu-central-1", max_connections=100), AsyncDynamoStore)
    assert_type(connect_async(Table(name="sessions"), attempts=2, read_timeout=0.5), AsyncDynamoStore)
    async with connect_async() as store:
        assert_type(store, AsyncDynamoStore)


async def in_memory(memory: MemoryStore, record: Record) -> None:
    store = AsyncMemoryStore(clock=lambda: 0)
    assert_type(AsyncMemoryStore(memory).memory, MemoryStore)
    assert_type(await store.find("token"), Record | None)
    assert_type(await store.rename(record, "another", b"data", later, grace=timedelta(seconds=5)), Record)
    one: AsyncStore = store
    assert_type(AsyncSessionManager(store), AsyncSessionManager)
    async with store as entered:
        assert_type(entered, AsyncMemoryStore)
    with memory as same:
        assert_type(same, MemoryStore)
    await store.close()
    memory.close()
    AsyncMemoryStore({})  # type: ignore[arg-type]
    SessionManager(store)  # type: ignore[arg-type]
    other: Store = store  # type: ignore[assignment]


async def stores_refused(store: AsyncDynamoStore, client: DynamoClient, record: Record) -> None:
    record = store.save("token", b"data", later)  # type: ignore[assignment]
    (await store.find("token")).data  # type: ignore[union-attr]
    store.find("token").data  # type: ignore[attr-defined]
    await store.save("token", "data", later)  # type: ignore[arg-type]
    AsyncDynamoStore(client)  # type: ignore[arg-type]
    DynamoStore(store.client)  # type: ignore[arg-type]
    connect_async("sessions", "eu-central-1")  # type: ignore[call-arg]
    with store:  # type: ignore[attr-defined]
        pass
    as_store: Store = store  # type: ignore[assignment]
    as_async: AsyncStore = MemoryStore()  # type: ignore[assignment]


def blocking(store: AsyncStore) -> None:
    with LoopThread() as loop:
        waiting: Store = BlockingStore(store, loop)
        assert_type(loop.run(store.find("token")), Record | None)
    BlockingStore(MemoryStore(), loop)  # type: ignore[arg-type]


# The session


async def blocks(manager: AsyncSessionManager, token: str | None) -> None:
    block: AbstractAsyncContextManager[AsyncSession, bool | None] = manager.session(token)
    async with manager.session(token) as s:
        assert_type(s, AsyncSession)
        assert_type(s.get_int("n"), int)
        assert_type(s.get_string("name", default=None), str | None)
        assert_type(s["n"], JSONValue)
        s.increment("n")
        assert_type(await s.atomic(lambda stored: stored.pop_string("nonce")), str)
        s.put_string("message", "Hello world!")
        s.renew_token()
        await s.save()
    async with manager.session(token, lazy=True) as s:
        try:
            s.get_int("n")
        except SessionNotLoadedError:
            await s.load()
    assert_type(s.token, str | None)
    assert_type(manager.set_cookie(s), str | None)
    assert_type(manager.store, AsyncStore)
    assert_type(manager.cookie, Cookie)


async def change(s: AsyncSession) -> None:
    s.put_int("n", 1)


async def blockless(manager: AsyncSessionManager, token: str | None) -> None:
    s = await manager.load(token)
    assert_type(s, AsyncSession)
    await manager.commit(s)
    await manager.discard(s)
    assert_type(await manager.update(token, change), AsyncSession)
    assert_type(await manager.update(token, AsyncSession.clear, attempts=3), AsyncSession)


async def refused(manager: AsyncSessionManager, sync: SessionManager, s: Session, a: AsyncSession) -> None:
    with manager.session(None):  # type: ignore[attr-defined]
        pass
    async with sync.session(None):  # type: ignore[attr-defined]
        pass
    await manager.commit(s)  # type: ignore[arg-type]
    manager.discard(s)  # type: ignore[arg-type, unused-coroutine]
    a.atomic(len)  # type: ignore[unused-coroutine]
    manager.load(None).put_int("n", 1)  # type: ignore[attr-defined]
    AsyncSessionManager(MemoryStore())  # type: ignore[arg-type]
    SessionManager(manager.store)  # type: ignore[arg-type]
