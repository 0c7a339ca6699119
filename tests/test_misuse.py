"""What is passed in where it cannot work is refused when it is passed in, with what to pass; what may work is accepted."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import boto3
import botocore.session
import pytest
from aiobotocore.session import get_session

import dynamostore
from dynamostore import AsyncDynamoStore, DynamoStore, MemoryStore, Record, Table, connect, connect_async
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.local import LocalDynamoDB
from dynamostore.testing import BlockingStore, LoopThread
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
from session import AsyncSessionManager, SessionManager

from .awaited import AwaitedStore
from .counting import CountingStore
from .fakes import Watched

KEYS = Credentials("key", "secret")
URL = "http://127.0.0.1:9"


@functools.cache
def client(service: Any = "dynamodb") -> Any:
    made: Any = boto3.Session(region_name="us-east-1").client(service)
    return made


@functools.cache
def resource() -> Any:
    return boto3.Session(region_name="us-east-1").resource("dynamodb")


def aio_context() -> Any:
    return get_session().create_client("dynamodb", region_name="us-east-1", endpoint_url=URL)


class Mapping:
    """A store with some of the verbs."""

    def find(self, token: str) -> Record | None: ...


# Stores

NO_STORE: dict[str, tuple[Callable[[], object], str]] = {
    "a name": (lambda: "sessions", "not str; use {}(dynamostore.connect{}(...))"),
    "nothing": (lambda: None, "not NoneType; use {}(dynamostore.connect{}(...))"),
    "a dict": (dict, "not dict; use {}(dynamostore.connect{}(...))"),
    "a table": (Table, "not Table; use {}(dynamostore.connect{}(...))"),
    "a class": (lambda: MemoryStore, "not the class MemoryStore; create an instance"),
    "a function": (lambda: connect, "not function"),
    "a manager": (lambda: SessionManager(MemoryStore()), "not SessionManager"),
    "some of the verbs": (Mapping, "not Mapping; it has no create, replace, touch, rename, remove, delete"),
    "a boto3 client": (client, "DynamoStore(client))"),
    "a wire client": (lambda: WireClient("us-east-1", URL, credentials=KEYS), "DynamoStore(client))"),
    "a local DynamoDB": (LocalDynamoDB, "not LocalDynamoDB"),
}


@pytest.mark.parametrize(("make", "words"), NO_STORE.values(), ids=NO_STORE)
@pytest.mark.parametrize("manager", [SessionManager, AsyncSessionManager])
def test_what_is_no_store_is_refused_by_a_manager(
    manager: Callable[[Any], object], make: Callable[[], object], words: str
) -> None:
    aio = "_async" if manager is AsyncSessionManager else ""
    with pytest.raises(TypeError) as caught:
        manager(make())
    assert words.format(manager.__name__, aio) in str(caught.value)


async def made() -> MemoryStore:
    return MemoryStore()


def test_a_store_that_is_still_to_be_awaited_is_refused() -> None:
    coroutine: Any = made()
    with pytest.raises(TypeError, match="not coroutine; await it first"):
        SessionManager(coroutine)
    coroutine.close()


def sync_stores() -> Iterator[object]:
    yield MemoryStore()
    yield CountingStore(MemoryStore())
    yield connect("sessions", region="us-east-1", endpoint_url=URL)
    yield DynamoStore(client())
    yield BlockingStore(AwaitedStore(MemoryStore()), LoopThread())


def async_stores() -> Iterator[object]:
    yield AwaitedStore(MemoryStore())
    yield connect_async("sessions", region="us-east-1", endpoint_url=URL)


@pytest.mark.parametrize("store", list(sync_stores()), ids=lambda store: type(store).__name__)
def test_a_sync_store_is_for_the_sync_manager_only(store: Any) -> None:
    assert [SessionManager(store).store] == [store]
    with pytest.raises(TypeError, match=r"AsyncSessionManager\(dynamostore.connect_async.*, or use SessionManager"):
        AsyncSessionManager(store)


@pytest.mark.parametrize("store", list(async_stores()), ids=lambda store: type(store).__name__)
def test_an_async_store_is_for_the_async_manager_only(store: Any) -> None:
    assert [AsyncSessionManager(store).store] == [store]
    with pytest.raises(TypeError, match=r"SessionManager\(dynamostore.connect\(.*, or use AsyncSessionManager"):
        SessionManager(store)


class Annotated(AwaitedStore):
    """A store whose verbs are plain functions that return what is to be awaited."""

    def find(self, token: str) -> Coroutine[Any, Any, Record | None]:
        return super().find(token)


def handed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return call


class Decorated(AwaitedStore):
    """A store whose verbs hand on what is to be awaited: a tracer's, say."""

    find = handed_on(AwaitedStore.find)
    create = handed_on(AwaitedStore.create)
    replace = handed_on(AwaitedStore.replace)
    touch = handed_on(AwaitedStore.touch)
    rename = handed_on(AwaitedStore.rename)
    remove = handed_on(AwaitedStore.remove)
    delete = handed_on(AwaitedStore.delete)


class Proxy:
    """A proxy that finds its store when it is first called."""

    def __init__(self, find: Callable[[], object]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> object:
        return getattr(self._find(), name)


class Later:
    """A store whose verbs are not there yet."""

    @property
    def find(self) -> object:
        raise RuntimeError("no application context")

    create = replace = touch = rename = remove = delete = find


UNKNOWN: dict[str, Callable[[], object]] = {
    "a mock": MagicMock,
    "a mock of a class": lambda: MagicMock(spec=MemoryStore),
    "a proxy of nothing yet": lambda: Proxy(lambda: None),
    "properties that raise": Later,
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("manager", [SessionManager, AsyncSessionManager])
def test_what_cannot_be_known_is_accepted(manager: Callable[[Any], object], make: Callable[[], object]) -> None:
    manager(make())


def test_a_store_whose_verbs_may_be_awaited_is_accepted_by_the_async_manager() -> None:
    stores: list[Any] = [
        Annotated(MemoryStore()),
        Decorated(MemoryStore()),
        AsyncMock(),
        Proxy(lambda: AwaitedStore(MemoryStore())),
    ]
    for store in stores:
        AsyncSessionManager(store)
    # What a decorator does is its own business: it may wait.
    decorated: Any = Decorated(MemoryStore())
    SessionManager(decorated)


def test_a_proxy_is_asked_for_what_it_has() -> None:
    proxy: Any = Proxy(lambda: AwaitedStore(MemoryStore()))
    with pytest.raises(TypeError, match="the methods of Proxy must be awaited"):
        SessionManager(proxy)


# Clients

NO_CLIENT: dict[str, tuple[Callable[[], object], str]] = {
    "a name": (lambda: "dynamodb", "not str; pass"),
    "nothing": (lambda: None, "not NoneType; pass"),
    "a class": (lambda: WireClient, "not the class WireClient; pass"),
    "boto3 itself": (lambda: boto3, "not module; pass"),
    "a boto3 session": (boto3.Session, "not Session; pass"),
    "a botocore session": (botocore.session.get_session, "not Session; pass"),
    "an aiobotocore session": (get_session, "not AioSession; pass"),
    "a resource": (resource, "a boto3 resource (dynamodb.ServiceResource); pass"),
    "a resource's table": (lambda: resource().Table("sessions"), "a boto3 resource (dynamodb.Table); pass"),
    "a resource's client": (lambda: resource().meta.client, "a boto3 resource's .meta.client, which converts values"),
    "a resource's table's client": (lambda: resource().Table("s").meta.client, "which converts values"),
    "a client of S3": (lambda: client("s3"), "one of s3; pass"),
    "a client of streams": (lambda: client("dynamodbstreams"), "one of dynamodbstreams; pass"),
    "a store": (MemoryStore, "not MemoryStore; it is already a store"),
    "some of the calls": (type("Half", (), {"get_item": print}), "has no put_item, update_item, delete_item, transact"),
}


@pytest.mark.parametrize(("make", "words"), NO_CLIENT.values(), ids=NO_CLIENT)
@pytest.mark.parametrize("store", [DynamoStore, AsyncDynamoStore])
def test_what_is_no_client_of_dynamodb_is_refused(
    store: Callable[[Any], object], make: Callable[[], object], words: str
) -> None:
    if store is AsyncDynamoStore and words.endswith("converts values"):
        words = "not awaited; pass"
    with pytest.raises(TypeError) as caught:
        store(make())
    assert words in str(caught.value)
    instead = (
        'boto3.client("dynamodb") or a WireClient' if store is DynamoStore else "an AsyncWireClient, or aiobotocore"
    )
    assert instead in str(caught.value) or "client(" in str(caught.value) or "already" in words or "has no" in words


def test_a_session_is_told_which_of_its_methods_makes_a_client() -> None:
    sync: Any
    for sync, method in (
        (boto3, "client"),
        (boto3.Session(), "client"),
        (botocore.session.get_session(), "create_client"),
    ):
        with pytest.raises(TypeError, match=rf'pass its {method}\("dynamodb"\)$'):
            DynamoStore(sync)
        with pytest.raises(TypeError, match="pass an AsyncWireClient"):
            AsyncDynamoStore(sync)
    aio: Any = get_session()
    with pytest.raises(TypeError, match=r'pass its create_client\("dynamodb"\), once it is entered'):
        AsyncDynamoStore(aio)
    with pytest.raises(TypeError, match=r"or a WireClient$"):
        DynamoStore(aio)


def test_a_client_that_is_still_to_be_entered_is_refused() -> None:
    context = aio_context()
    with pytest.raises(TypeError, match="not ClientCreatorContext; enter it first: async with"):
        AsyncDynamoStore(context)
    context._coro.close()


def test_a_client_is_for_the_store_of_its_kind() -> None:
    wire: Any = WireClient("us-east-1", URL, credentials=KEYS)
    awire: Any = AsyncWireClient("us-east-1", URL, credentials=KEYS)

    async def main() -> None:
        async with aio_context() as aio:
            for good in (aio, awire):
                AsyncDynamoStore(good)
                with pytest.raises(TypeError, match=r"must be awaited; pass boto3.*, or use AsyncDynamoStore"):
                    DynamoStore(good)

    asyncio.run(main())
    good: Any
    for good in (wire, client(), Watched(wire), MagicMock()):
        DynamoStore(good)
    for bad in (wire, client()):
        with pytest.raises(TypeError, match=r"not awaited; pass an AsyncWireClient.*, or use DynamoStore"):
            AsyncDynamoStore(bad)
    for unknown in (Watched(awire), MagicMock(), AsyncMock()):
        AsyncDynamoStore(unknown)  # type: ignore[arg-type]  # the point


def test_a_client_with_handlers_of_its_owner_is_accepted() -> None:
    """Handlers see a call that is never made; what they raise then is not the store's business."""

    def rename(params: dict[str, object], **_: object) -> None:
        params["TableName"] = "another"

    def fail(**_: object) -> None:
        raise RuntimeError("no trace is under way")

    for handler in (rename, fail):
        own: Any = boto3.Session(region_name="us-east-1").client("dynamodb")
        own.meta.events.register("before-parameter-build.dynamodb", handler)
        DynamoStore(own)


# Batches


def test_a_batch_takes_a_store_of_its_kind() -> None:
    sync: Any = connect("sessions", region="us-east-1", endpoint_url=URL)
    awaited: Any = connect_async("sessions", region="us-east-1", endpoint_url=URL)
    assert (Batch(sync).store, AsyncBatch(awaited).store) == (sync, awaited)
    with pytest.raises(TypeError, match="must be of type DynamoStore, not AsyncDynamoStore; use AsyncBatch"):
        Batch(awaited)
    with pytest.raises(TypeError, match="must be of type AsyncDynamoStore, not DynamoStore; use Batch"):
        AsyncBatch(sync)
    other: Any
    for other in (MemoryStore(), client(), "sessions", None, DynamoStore):
        with pytest.raises(TypeError, match=r"not \w+; use Batch\(DynamoStore\(client\)\)"):
            Batch(other)
    with pytest.raises(TypeError, match="not AsyncDynamoStore; use AsyncBatch"):
        Batch(sync).copy(awaited)


# It costs the constructor, and nothing else


def test_a_store_in_use_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = SessionManager(MemoryStore())
    store = DynamoStore(MagicMock())
    for name in ("check_store", "check_client"):
        monkeypatch.delattr(f"dynamostore.misuse.{name}")
    with manager.session(None) as s:
        s.put_int("n", 1)
    assert store.table.name == "scs_session"


def test_the_first_program_of_the_readme_with_the_wrong_store_stores_nothing_silently_no_more() -> None:
    store: Any = dynamostore.connect_async("sessions", region="us-east-1", endpoint_url=URL)
    with pytest.raises(TypeError, match="AsyncDynamoStore must be awaited"), SessionManager(store).session(None) as s:
        s.put_int("n", 1)
