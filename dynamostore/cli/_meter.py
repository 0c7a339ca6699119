"""`connect`, and `Meter`, which counts a store's writes and can stop it between two calls."""

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

from ._errors import for_command_line, remember_options
from ._options import ATTRIBUTES
from ._state import State, WrongUsageError

__all__ = ["Meter", "MeteredStore", "Stopped", "connect", "place", "region_of"]

# Longer timeouts than the library's: no web request waits for a job.
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
CALL_TIMEOUT = 60.0
ATTEMPTS = 3


class Stopped(KeyboardInterrupt):
    """Raised before the next call, in any thread, when the job must stop."""


class Meter:
    """Counts the items that calls in all threads read and wrote, and stops the job between two calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.read = 0
        self.deleted = 0
        self.put = 0

    @property
    def stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Let running calls finish, but start no more."""
        self._stopping.set()

    def sleep(self, seconds: float) -> None:
        """Wait. Raise `Stopped` as soon as the job must stop."""
        if self._stopping.wait(seconds):
            raise Stopped

    def call(self, method: Callable[..., object], operation: str, arguments: Mapping[str, Any]) -> object:
        """Make a call, count its items, and return the reply."""
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
    """A client whose calls go through a meter. All other attributes are the client's own."""

    def __init__(self, client: DynamoClient, meter: Meter) -> None:
        self._client = client
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "close" or not callable(found):
            return found
        return lambda **arguments: self._meter.call(found, name, arguments)


class MeteredStore(DynamoStore):
    """A `DynamoStore` whose calls go through a meter, and which never deletes the expired records that it reads.

    *options* are the command-line options that lead to the same table.
    """

    def __init__(self, store: DynamoStore, meter: Meter, options: str) -> None:
        client = cast("DynamoClient", _Metered(store.client, meter))  # it forwards every attribute to the client
        super().__init__(client, store.table, evict_expired=False, sleep=meter.sleep)
        self.meter = meter
        self.options = options

    def _explain(self, error: Exception, operation: str) -> Exception:
        explained = super()._explain(error, operation)
        remember_options(explained, self.options)
        return explained


def connect(state: State, table: Table | None = None, where: Mapping[str, str] | None = None) -> MeteredStore:
    """Return a store for a job, on the table that the options name."""
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
        raise WrongUsageError(for_command_line(str(error))) from error
    more = {"profile": profile, "via": state.where.get("via")}
    return MeteredStore(store, Meter(), _options(store, more))


def _options(store: DynamoStore, more: Mapping[str, str | None]) -> str:
    """Return the options that lead a command to the same table, with a space before each."""
    usual, table = Table(), store.table
    words = [] if table.name == usual.name else ["--table", table.name]
    for name in ATTRIBUTES:
        if getattr(table, name) != getattr(usual, name):
            words += ["--attribute", f"{name}={getattr(table, name)}"]
    options = "".join(f" {shlex.quote(word)}" for word in words) + Where.of(store.client, ()).options
    return options + "".join(f" --{name} {shlex.quote(value)}" for name, value in more.items() if value)


def region_of(state: State) -> str | None:
    """Return the region that a client would use, or None if it is not configured. Makes no call."""
    if given := state.where.get("region"):
        return given
    import botocore.session  # imported here because it takes long, and the other commands do not use it
    from botocore.exceptions import BotoCoreError

    try:
        session = botocore.session.Session(profile=state.where.get("profile"))
        # The same order as in the wire client.
        return session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
    except BotoCoreError as error:
        raise WrongUsageError(f"{error} (--profile or AWS_PROFILE)") from None


def place(store: DynamoStore) -> str:
    """Return the table's name, region and unusual endpoint as a phrase for messages."""
    meta = getattr(store.client, "meta", None)
    region, url = str(getattr(meta, "region_name", "?")), str(getattr(meta, "endpoint_url", "?"))
    url = without_userinfo(url)
    usual = url == f"https://dynamodb.{region}.amazonaws.com"
    return f"table {store.table.name!r} in {region}{'' if usual else f' ({url})'}"
