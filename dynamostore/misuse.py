"""Check that an argument can work as a store or as a client. If not, raise a `TypeError` that says what to pass instead.

Any object with the right methods is accepted, whatever its class. If that cannot be known, for example with a proxy that
creates its methods on demand, the object is accepted too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Final, NamedTuple, Protocol

from .hidden import is_clearing

__all__ = ["check_client", "check_store"]

# The methods that a session calls.
_VERBS: Final = ("find", "create", "replace", "touch", "rename", "remove", "delete")
_CALLS: Final = ("get_item", "put_item", "update_item", "delete_item", "transact_write_items")
_AWAITABLE: Final = re.compile(r"\b(Awaitable|Coroutine|Future|Task)\b")


class _Words(NamedTuple):
    """The words in messages for sync or for async stores."""

    store: str
    connect: str
    client: str
    other: str


_WORDS: Final = {
    False: _Words("a Store", "connect", 'boto3.client("dynamodb") or a WireClient', "Async"),
    True: _Words(
        "an AsyncStore", "connect_async", "an AsyncWireClient, or aiobotocore's client once it is entered", ""
    ),
}


def check_store(store: object, name: str, *, awaited: bool) -> None:
    """Raise `TypeError` if *store* cannot be the store of the class *name*.

    *awaited*: the class awaits the store's methods.

    >>> from dynamostore import MemoryStore
    >>> check_store(MemoryStore(), "SessionManager", awaited=False)
    >>> check_store("sessions", "SessionManager", awaited=False)
    Traceback (most recent call last):
    TypeError: store must be a Store, not str; use SessionManager(dynamostore.connect(...))
    """
    words = _WORDS[awaited]
    what = _name(store)
    instead = f"use {name}(dynamostore.{words.connect}(...))"
    if isinstance(store, type):
        raise TypeError(f"store must be {words.store}, not the class {what}; create an instance: {name}({what}(...))")
    if _lacking(store, _VERBS):
        if not _lacking(store, _CALLS):
            stores = "AsyncDynamoStore" if awaited else "DynamoStore"
            instead = f"use {name}({stores}(client))"
        elif inspect.isawaitable(store):
            instead = "await it first"
        elif not _lacking(store, _VERBS[:1]) and not isinstance(store, str | bytes):
            instead = f"it has no {', '.join(_lacking(store, _VERBS))}"
        raise TypeError(f"store must be {words.store}, not {what}; {instead}")
    if _is_awaited(store, _VERBS) is (not awaited):
        how = "are not coroutine functions" if awaited else "must be awaited"
        other = f"{words.other}{name.removeprefix('Async')}"
        raise TypeError(f"store must be {words.store}, but the methods of {what} {how}; {instead}, or use {other}")


def check_client(client: object, name: str, *, awaited: bool) -> None:
    """Raise `TypeError` if *client* cannot be the low-level client of the store class *name*.

    *awaited*: the class awaits the client's calls.

    >>> import boto3
    >>> check_client(boto3.client("dynamodb", region_name="eu-central-1"), "DynamoStore", awaited=False)
    >>> check_client(boto3.resource("dynamodb", region_name="eu-central-1"), "DynamoStore", awaited=False)
    Traceback (most recent call last):
    TypeError: client must be a low-level client of DynamoDB, not a boto3 resource (dynamodb.ServiceResource); pass boto3.client("dynamodb") or a WireClient
    """
    words = _WORDS[awaited]
    what = _name(client)
    instead = f"pass {words.client}"
    wrong = "client must be a low-level client of DynamoDB, not "
    if isinstance(client, type):
        raise TypeError(f"{wrong}the class {what}; {instead}")
    if _is_of(client, "boto3.resources.base"):
        # A boto3 Table resource also has get_item, but with other arguments.
        raise TypeError(f"{wrong}a boto3 resource ({what}); {instead}")
    service = _dig(client, "meta", "service_model", "service_name")
    if isinstance(service, str) and service != "dynamodb":
        raise TypeError(f"{wrong}one of {service}; {instead}")
    if missing := _lacking(client, _CALLS):
        if not _lacking(client, _VERBS):
            instead = "it is already a store, so use it directly"
        elif not _lacking(client, ("client", "resource")) and not awaited:
            instead = 'pass its client("dynamodb")'
        elif not _lacking(client, ("create_client",)) and _is_of(client, "aiobotocore") is awaited:
            instead = f'pass its create_client("dynamodb"){", once it is entered" if awaited else ""}'
        elif hasattr(type(client), "__aenter__"):
            instead = "enter it first: async with ... as client"
        elif inspect.isawaitable(client):
            instead = "await it first"
        elif len(missing) < len(_CALLS):
            instead = f"it has no {', '.join(missing)}"
        raise TypeError(f"{wrong}{what}; {instead}")
    if _is_awaited(client, _CALLS) is (not awaited):
        how = "are not awaited" if awaited else "must be awaited"
        other = f"{words.other}{name.removeprefix('Async')}"
        raise TypeError(f"the methods of {what} {how}; {instead}, or use {other}")
    if _converts(client):
        raise TypeError(
            f"client must be a low-level client of DynamoDB, not a boto3 resource's .meta.client, which converts values; {instead}"
        )


def _name(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _lacking(value: object, names: Iterable[str]) -> list[str]:
    """Return the *names* for which *value* has no method, as far as that can be known."""
    if hasattr(type(value), "__getattr__") and not _is_of(value, "botocore.client"):
        # A proxy may create its methods on demand.
        return []
    return [name for name in names if not callable(_get(value, name))]


def _unknown() -> None:
    """Stand in for an attribute whose value cannot be known."""


def _get(value: object, name: str) -> object:
    """Return the attribute *name*, None if it is missing, or `_unknown` if that cannot be known."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 (any property may raise now and work later)
        return _unknown


def _is_awaited(value: object, names: Iterable[str]) -> bool | None:
    """Return True if the methods of *value* are awaited, False if they are not, None if that cannot be known."""
    if _is_of(value, "aiobotocore"):
        return True
    known = {_is_awaited_method(value, name) for name in names}
    return True if True in known else None if None in known else False


def _is_awaited_method(value: object, name: str) -> bool | None:
    method = _get(value, name)
    if inspect.iscoroutinefunction(method):
        return True
    # A proxy's generated method, or a method not written in Python, may return anything.
    written = method is not _unknown and inspect.getattr_static(value, name, None) is not None
    if not written or not (inspect.isfunction(method) or inspect.ismethod(method)):
        return None
    annotation = getattr(method, "__annotations__", {}).get("return")
    if _AWAITABLE.search(str(annotation)):
        return True
    # A decorator may await the result of the wrapped function, or return it.
    return None if hasattr(method, "__wrapped__") and not is_clearing(method) else False


def _is_of(value: object, module: str) -> bool:
    """Return True if a class of *value* is from *module* or a submodule. Compare names, to avoid an import."""
    return any(f"{each.__module__}.".startswith(f"{module}.") for each in type(value).__mro__)


def _dig(value: object, *names: str) -> object:
    for name in names:
        value = _get(value, name)
    return value


class _Emitter(Protocol):
    def emit(self, event: str, **arguments: object) -> object: ...


class _ServiceModel(Protocol):
    operation_model: Callable[[str], object]


def _converts(client: object) -> bool:
    """Return True if *client* is a boto3 resource's client, which takes ``{"S": "x"}`` for a Python dict and converts it.

    To find out, have its handlers prepare the arguments of a call that is never made.
    """
    if not _is_of(client, "botocore.client") or _is_of(client, "aiobotocore"):
        return False
    key: MutableMapping[str, object] = {"token": {"S": "token"}}
    events: _Emitter = client.meta.events  # type: ignore[attr-defined]  # checked above: it is a botocore client
    model: _ServiceModel = client.meta.service_model  # type: ignore[attr-defined]  # as above
    try:
        events.emit(
            "before-parameter-build.dynamodb",
            params={"TableName": "table", "Key": key},
            model=model.operation_model("GetItem"),
            context={},
        )
    except Exception:  # noqa: BLE001 (another handler may expect a real call)
        return False
    return key["token"] != {"S": "token"}
