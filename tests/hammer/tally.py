"""What an operation cost and met, counted in front of the client and in front of the store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from dynamostore import Conflict, DynamoStore

__all__ = ["Current", "count"]


class Current(threading.local):
    """The operation that a thread is in: its name, and its counts."""

    def __init__(self) -> None:
        self.op = ""
        self.counts: Counter[str] = Counter()

    def begin(self, op: str) -> None:
        self.op, self.counts = op, Counter()


class _Counting:
    """An object whose methods are watched by *watch*, which makes the call."""

    def __init__(self, inner: object, watch: Callable[[Callable[[], object]], object]) -> None:
        self._inner = inner
        self._watch = watch

    def __getattr__(self, name: str) -> object:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute
        return lambda *args, **arguments: self._watch(lambda: attribute(*args, **arguments))


def count(store: DynamoStore, current: Current) -> DynamoStore:
    """*store*, with its calls, retries, refusals and conflicts counted in *current*."""

    def call(make: Callable[[], object]) -> object:
        current.counts["calls"] += 1
        try:
            reply = make()
        except Exception as error:
            response = getattr(error, "response", None) or {}
            if response.get("Error", {}).get("Code") in (
                "ConditionalCheckFailedException",
                "TransactionCanceledException",
            ):
                current.counts["refusals"] += 1
            current.counts["retries"] += response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
            raise
        if isinstance(reply, dict):
            current.counts["retries"] += reply.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return reply

    def verb(make: Callable[[], object]) -> object:
        try:
            return make()
        except Conflict:
            current.counts["conflicts"] += 1
            raise

    # Anything with the methods will do; the protocols cannot see them behind __getattr__.
    store.client = _Counting(store.client, call)  # type: ignore[assignment]
    return _Counting(store, verb)  # type: ignore[return-value]
