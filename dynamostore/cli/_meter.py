"""`Meter`, between a store and its client: what was written so far, and a stop between two calls; and `connect`."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from dynamostore import connecting
from dynamostore._texts import without_userinfo
from dynamostore.admin.where import Where
from dynamostore.client import DynamoClient
from dynamostore.store import DynamoStore
from dynamostore.table import Table
from dynamostore.wire import WireClient

from ._errors import came_from, spoken
from ._options import ATTRIBUTES
from ._state import State, WrongUsageError

__all__ = ["Meter", "MeteredStore", "Stopped", "connect", "place", "region_of"]

# A job has more time than a request.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
CALL_TIMEOUT = 60.0
ATTEMPTS = 3


class Stopped(KeyboardInterrupt):
    """The job is to end: raised before the next call, in whichever thread."""


class Meter:
    """Counts what calls have written, in all threads, and ends them between two calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.read = 0
        self.deleted = 0
        self.put = 0

    @property
    def stopping(self) -> bool:
        """Whether it is to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Let calls that are under way finish, and none begin."""
        self._stopping.set()

    def sleep(self, seconds: float) -> None:
        """Wait, or until it is to end."""
        if self._stopping.wait(seconds):
            raise Stopped

    def call(self, method: Callable[..., object], operation: str, arguments: Mapping[str, Any]) -> object:
        """Make a call, and count what it did."""
        if self._stopping.is_set():
            raise Stopped
        reply = method(**arguments)
        with self._lock:
            if operation == "scan" and isinstance(reply, Mapping):
                self.read += reply.get("ScannedCount", 0)
            elif operation == "delete_item":
                self.deleted += 1
            elif operation == "batch_write_item":
                asked = sum(map(len, arguments["RequestItems"].values()))
                self.put += asked - _unprocessed(reply)
        return reply


def _unprocessed(reply: object) -> int:
    left: Mapping[str, Sequence[object]] = reply.get("UnprocessedItems") or {} if isinstance(reply, Mapping) else {}
    return sum(map(len, left.values()))


class _Metered:
    """A client whose calls go through a meter; all else of it is as it was."""

    def __init__(self, client: DynamoClient, meter: Meter) -> None:
        self._client = client
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "close" or not callable(found):
            return found
        return lambda **arguments: self._meter.call(found, name, arguments)


class MeteredStore(DynamoStore):
    """A `DynamoStore` whose calls go through a meter; what it reads it never clears away. *options*: how it was connected."""

    def __init__(self, store: DynamoStore, meter: Meter, options: str) -> None:
        client = cast("DynamoClient", _Metered(store.client, meter))  # it has whatever that client has
        super().__init__(client, store.table, evict_expired=False, sleep=meter.sleep)
        self.meter = meter
        self.options = options

    def _explain(self, error: Exception, operation: str) -> Exception:
        explained = super()._explain(error, operation)
        came_from(explained, self.options)
        return explained


def connect(state: State, table: Table | None = None, where: Mapping[str, str] | None = None) -> MeteredStore:
    """A store for a job, where the options say."""
    where = state.where if where is None else where
    table = state.table if table is None else table
    region, endpoint_url, profile = where.get("region"), where.get("endpoint_url"), where.get("profile")
    try:
        if state.where.get("via") == "boto3":
            store = connecting.connect(
                table,
                region=region,
                endpoint_url=endpoint_url,
                profile=profile,
                via="boto3",
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                attempts=ATTEMPTS,
            )
        else:
            client = WireClient(
                region,
                endpoint_url,
                profile=profile,
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                call_timeout=CALL_TIMEOUT,
                attempts=ATTEMPTS,
            )
            store = DynamoStore(client, table)
    except ValueError as error:
        raise WrongUsageError(spoken(str(error))) from error
    more = {"profile": profile, "via": state.where.get("via")}
    return MeteredStore(store, Meter(), _options(store, more))


def _options(store: DynamoStore, more: Mapping[str, str | None]) -> str:
    """What leads a command to the same table, each option after a space."""
    usual, table = Table(), store.table
    words = [] if table.name == usual.name else ["--table", table.name]
    for name in ATTRIBUTES:
        if getattr(table, name) != getattr(usual, name):
            words += ["--attribute", f"{name}={getattr(table, name)}"]
    options = "".join(f" {shlex.quote(word)}" for word in words) + Where.of(store.client, ()).options
    return options + "".join(f" --{name} {shlex.quote(value)}" for name, value in more.items() if value)


def region_of(state: State) -> str | None:
    """The region that a client would be for; None if none is configured. It asks nobody."""
    if given := state.where.get("region"):
        return given
    import botocore.session  # which takes a while, and the other commands do without it
    from botocore.exceptions import BotoCoreError

    try:
        session = botocore.session.Session(profile=state.where.get("profile"))
        # In the order of the wire client.
        return session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
    except BotoCoreError as error:
        raise WrongUsageError(f"{error} (--profile or AWS_PROFILE)") from None


def place(store: DynamoStore) -> str:
    """Which table, and where, in words."""
    meta = getattr(store.client, "meta", None)
    region, url = str(getattr(meta, "region_name", "?")), str(getattr(meta, "endpoint_url", "?"))
    url = without_userinfo(url)
    usual = url == f"https://dynamodb.{region}.amazonaws.com"
    return f"table {store.table.name!r} in {region}{'' if usual else f' ({url})'}"
