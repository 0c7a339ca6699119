"""Clients that meddle with the calls that pass through them, sync and async: count, throttle, leave undone, kill."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["AsyncThrough", "Failing", "Killing", "Meddler", "RefusedError", "Through", "Unsteady"]

Arguments: TypeAlias = dict[str, Any]
Reply: TypeAlias = dict[str, Any]


class RefusedError(Exception):
    """A refusal with a *code*, in the shape that DynamoDB's have."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": "so says the test"}, "ResponseMetadata": {}}


class Meddler:
    """Does nothing but count the calls, by operation, and give them pages of at most *page* items."""

    def __init__(self, *, page: int | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.sizes: list[int] = []
        """How many keys or writes were in each batch."""
        self.segments: set[int] = set()
        self._page = page
        self._lock = threading.Lock()

    def meddle(self, operation: str, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        """What to send in place of *arguments*, and what to make of the reply; may raise."""
        with self._lock:
            self.calls[operation] += 1
            for batch in arguments.get("RequestItems", {}).values():
                self.sizes.append(len(batch["Keys"] if isinstance(batch, Mapping) else batch))
            if operation == "scan":
                self.segments.add(arguments.get("Segment", 0))
                if self._page is not None:
                    arguments = {"Limit": self._page, **arguments}
            return self.hinder(operation, arguments)

    def hinder(self, operation: str, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        """As `meddle`; one call at a time."""
        return arguments, lambda reply: reply


class Unsteady(Meddler):
    """Throttles, loses replies, and leaves a part of batches undone, each with some probability."""

    def __init__(
        self,
        seed: int,
        *,
        throttled: float = 0.3,
        lost: float = 0.0,
        unprocessed: float = 0.0,
        page: int | None = None,
    ) -> None:
        super().__init__(page=page)
        self._dice = random.Random(seed)
        self._throttled = throttled
        self._lost = lost
        self._unprocessed = unprocessed
        self.hindered: Counter[str] = Counter()

    def hinder(self, operation: str, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        if self._dice.random() < self._throttled:
            self.hindered["throttled"] += 1
            raise RefusedError(self._dice.choice(["ThrottlingException", "ProvisionedThroughputExceededException"]))
        if self._dice.random() < self._lost:
            self.hindered["lost"] += 1
            return arguments, _lose
        if "RequestItems" in arguments and self._dice.random() < self._unprocessed:
            return self._in_part(arguments)
        return arguments, lambda reply: reply

    def _in_part(self, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        ((table, batch),) = arguments["RequestItems"].items()
        reading = isinstance(batch, Mapping)
        entries = list(batch["Keys"] if reading else batch)
        self._dice.shuffle(entries)
        # One at least is done: DynamoDB would else refuse the call.
        number = self._dice.randint(1, len(entries))
        self.hindered["unprocessed"] += len(entries) - number

        def wrapped(some: list[Any]) -> dict[str, Any]:
            return {table: {**batch, "Keys": some} if reading else some} if some else {}

        def reply(reply: Reply) -> Reply:
            return {**reply, "UnprocessedKeys" if reading else "UnprocessedItems": wrapped(entries[number:])}

        return {**arguments, "RequestItems": wrapped(entries[:number])}, reply


class Failing(Meddler):
    """Refuses every call that is *to be refused*."""

    def __init__(
        self, refused: Callable[[str, Arguments], bool], code: str = "ThrottlingException", *, page: int | None = None
    ) -> None:
        super().__init__(page=page)
        self._refused = refused
        self._code = code

    def hinder(self, operation: str, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        if self._refused(operation, arguments):
            raise RefusedError(self._code)
        return arguments, lambda reply: reply


class Killing(Meddler):
    """Kills its own process (SIGKILL), some *seconds* after a number of *calls*; never, if that is 0."""

    def __init__(self, calls: int, seconds: float, *, page: int | None = None) -> None:
        super().__init__(page=page)
        self._left = calls
        self._seconds = seconds

    def hinder(self, operation: str, arguments: Arguments) -> tuple[Arguments, Callable[[Reply], Reply]]:
        self._left -= 1
        if self._left == 0:
            threading.Timer(self._seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return arguments, lambda reply: reply


def _lose(reply: Reply) -> Reply:
    raise ConnectionResetError("the reply is lost")


class Through:
    """A client with a *meddler* in front."""

    def __init__(self, client: object, meddler: Meddler) -> None:
        self._client = client
        self._meddler = meddler

    def __getattr__(self, name: str) -> Callable[..., Reply]:
        method = getattr(self._client, name)
        if not callable(method):
            return method  # type: ignore[no-any-return]  # where it sends its calls

        def call(**arguments: Any) -> Reply:
            sent, then = self._meddler.meddle(name, arguments)
            return then(method(**sent))

        return call


class AsyncThrough:
    """`Through`, for a client whose calls are awaited."""

    def __init__(self, client: object, meddler: Meddler) -> None:
        self._client = client
        self._meddler = meddler

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if not callable(method):
            return method  # type: ignore[no-any-return]  # where it sends its calls

        async def call(**arguments: Any) -> Reply:
            sent, then = self._meddler.meddle(name, arguments)
            return then(await method(**sent))

        return call
