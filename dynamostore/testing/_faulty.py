"""`FaultyStore` and `AsyncFaultyStore`: any store, with calls that fail and requests that meet when a test says so."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from inspect import isawaitable
from threading import Lock
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeAlias, TypeVar, get_args

from dynamostore.contract import AsyncStore, Record, Store
from dynamostore.misuse import check_store
from dynamostore.process_bound import ProcessBound
from dynamostore.steps import Call, Plan, arun, asleep, issue, run

__all__ = ["AsyncFaultyStore", "BaseFaultyStore", "FaultyStore", "Verb"]

R = TypeVar("R")
S = TypeVar("S")

Verb: TypeAlias = Literal["find", "save", "create", "replace", "touch", "rename", "remove", "delete", "ping"]
"""A verb of a store."""

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
WRITES: Final[tuple[Verb, ...]] = ("save", "create", "replace", "touch", "rename", "remove", "delete")

_ASYNC: Final = "change must be a plain function; use AsyncFaultyStore for coroutine functions"


@dataclass(slots=True)
class _Fault:
    """What is to happen to the next *times* calls of *verbs* (None: to all)."""

    error: Exception
    verbs: Sequence[Verb]
    times: int | None
    applied: bool


@dataclass(slots=True)
class _Meeting:
    """What is to be done before the next call of one of *verbs*."""

    change: Callable[[], object]
    verbs: Sequence[Verb]


class BaseFaultyStore(ProcessBound, Generic[S]):
    """What is to go wrong, and what was called: all but the calls themselves. *store* is the one that this is in front of."""

    def __init__(self, store: S) -> None:
        self.store = store
        self.calls: list[Verb] = []
        """The verbs that were called, in their order, those that failed too."""
        self._faults: list[_Fault] = []
        self._meetings: list[_Meeting] = []
        self._lock = Lock()

    def fail(self, error: Exception, *verbs: Verb, times: int | None = None, applied: bool = False) -> None:
        """Have calls of *verbs* (without any: all calls) raise a copy of *error*, *times* times (None: until `heal`).

        *applied*: the store does what it was asked, and then the call raises, as when a reply is lost. Faults of one verb
        come to pass one after the other. Raises `TypeError` or `ValueError` for what makes no sense.

        >>> from dynamostore import MemoryStore, UnavailableError
        >>> store = FaultyStore(MemoryStore())
        >>> store.fail(UnavailableError("the table is down"), "find", times=1)
        >>> store.find("token")
        Traceback (most recent call last):
        dynamostore.errors.UnavailableError: the table is down
        >>> store.find("token")
        """
        if not isinstance(error, Exception):
            raise TypeError('error must be an exception, such as UnavailableError("why")')
        if times is not None and times < 1:
            raise ValueError("times must be at least 1, or None: until heal()")
        with self._lock:
            self._faults.append(_Fault(error, _checked(verbs) or VERBS, times, applied))

    @contextmanager
    def failing(self, error: Exception, *verbs: Verb, applied: bool = False) -> Iterator[None]:
        """Have calls fail as `fail` does, within a ``with`` block."""
        self.fail(error, *verbs, applied=applied)
        fault = self._faults[-1]
        try:
            yield
        finally:
            with self._lock:
                self._faults = [each for each in self._faults if each is not fault]

    def before(self, change: Callable[[], object], *verbs: Verb) -> None:
        """Call *change* once, just before the next call of one of *verbs* (without any: of those that write).

        It may call this store, and so be another request that is faster. An `AsyncFaultyStore` also takes a coroutine
        function.

        >>> from dynamostore import MemoryStore
        >>> from session import SessionManager
        >>> store = FaultyStore(MemoryStore())
        >>> manager = SessionManager(store)
        >>> with manager.session(None) as s:
        ...     s["visits"] = 1
        >>> store.before(lambda: manager.update(s.token, lambda other: other.increment("visits")))
        >>> with manager.session(s.token) as s:
        ...     s.increment("visits")
        >>> with manager.session(s.token) as s:
        ...     s.get_int("visits")
        3
        """
        if not callable(change):
            raise TypeError(f"change must be a function, not {type(change).__name__}")
        with self._lock:
            self._meetings.append(_Meeting(change, _checked(verbs) or WRITES))

    def heal(self) -> None:
        """Forget what was to happen."""
        with self._lock:
            self._faults.clear()
            self._meetings.clear()

    def _call(self, call: Call[R]) -> Plan[R]:
        verb = _verb(call.operation)
        with self._lock:
            self.calls.append(verb)
            due = [each for each in self._meetings if verb in each.verbs]
            self._meetings = [each for each in self._meetings if verb not in each.verbs]
        for meeting in due:
            yield from issue(Call[None]("meet", {"change": meeting.change}))
        fault = self._next_fault(verb)
        if fault is not None and not fault.applied:
            raise copy.copy(fault.error)
        reply = yield from issue(call)
        if fault is not None:
            raise copy.copy(fault.error)
        return reply

    def _next_fault(self, verb: Verb) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if verb in fault.verbs:
                    if fault.times is not None:
                        fault.times -= 1
                        self._faults = [each for each in self._faults if each.times != 0]
                    return fault
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in front of {self.store!r}>"


class FaultyStore(BaseFaultyStore[Store]):
    """A `Store` in front of another, whose calls fail and meet when a test says so: `fail`, `before`. It needs no extra."""

    def __init__(self, store: Store) -> None:
        check_store(store, "FaultyStore", awaited=False)
        super().__init__(store)

    def find(self, token: str) -> Record | None:
        """As `Store.find`."""
        return self._run(Call("find", {"token": token}))

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.save`."""
        return self._run(Call("save", {"token": token, "data": data, "expiry": expiry}))

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.create`."""
        return self._run(Call("create", {"token": token, "data": data, "expiry": expiry}))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """As `Store.replace`."""
        return self._run(Call("replace", {"record": record, "data": data, "expiry": expiry}))

    def touch(self, record: Record, expiry: datetime) -> Record:
        """As `Store.touch`."""
        return self._run(Call("touch", {"record": record, "expiry": expiry}))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """As `Store.rename`."""
        return self._run(
            Call("rename", {"record": record, "token": token, "data": data, "expiry": expiry, "grace": grace})
        )

    def remove(self, record: Record) -> None:
        """As `Store.remove`."""
        self._run(Call("remove", {"record": record}))

    def delete(self, token: str) -> None:
        """As `Store.delete`."""
        self._run(Call("delete", {"token": token}))

    def ping(self) -> None:
        """As `Store.ping`."""
        self._run(Call("ping", {}))

    def close(self) -> None:
        """Close the store, if it can be closed."""
        _method(self.store, "close")()

    def __enter__(self) -> Self:
        _method(self.store, "__enter__")()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Call[R]) -> R:
        return run(self._call(call), _Target(self.store), sleep=time.sleep)


class AsyncFaultyStore(BaseFaultyStore[AsyncStore]):
    """`FaultyStore`, awaited: an `AsyncStore` in front of another."""

    def __init__(self, store: AsyncStore) -> None:
        check_store(store, "AsyncFaultyStore", awaited=True)
        super().__init__(store)

    async def find(self, token: str) -> Record | None:
        """As `Store.find`."""
        return await self._run(Call("find", {"token": token}))

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.save`."""
        return await self._run(Call("save", {"token": token, "data": data, "expiry": expiry}))

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """As `Store.create`."""
        return await self._run(Call("create", {"token": token, "data": data, "expiry": expiry}))

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """As `Store.replace`."""
        return await self._run(Call("replace", {"record": record, "data": data, "expiry": expiry}))

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """As `Store.touch`."""
        return await self._run(Call("touch", {"record": record, "expiry": expiry}))

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """As `Store.rename`."""
        return await self._run(
            Call("rename", {"record": record, "token": token, "data": data, "expiry": expiry, "grace": grace})
        )

    async def remove(self, record: Record) -> None:
        """As `Store.remove`."""
        await self._run(Call("remove", {"record": record}))

    async def delete(self, token: str) -> None:
        """As `Store.delete`."""
        await self._run(Call("delete", {"token": token}))

    async def ping(self) -> None:
        """As `Store.ping`."""
        await self._run(Call("ping", {}))

    async def close(self) -> None:
        """Close the store, if it can be closed."""
        await _awaited(_method(self.store, "close")())

    async def __aenter__(self) -> Self:
        await _awaited(_method(self.store, "__aenter__")())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: Call[R]) -> R:
        return await arun(self._call(call), _AsyncTarget(self.store), sleep=asleep)


class _Target:
    """What the plan of a call asks for: a verb of the store, or a meeting."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def meet(self, change: Callable[[], object]) -> None:
        made = change()
        if isawaitable(made):
            if hasattr(made, "close"):
                made.close()
            raise TypeError(_ASYNC)

    def __getattr__(self, verb: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._store, verb)
        return method


class _AsyncTarget:
    """As `_Target`, awaited."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    async def meet(self, change: Callable[[], object]) -> None:
        await _awaited(change())

    def __getattr__(self, verb: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._store, verb)
        return method


async def _awaited(made: object) -> None:
    if isinstance(made, Awaitable):
        await made


def _method(store: object, name: str) -> Callable[[], object]:
    """Return a method of *store*, or one that does nothing."""
    method: Callable[[], object] = getattr(store, name, lambda: None)
    return method


def _checked(verbs: Sequence[Verb]) -> Sequence[Verb]:
    for verb in verbs:
        _verb(verb)
    return verbs


def _verb(name: str) -> Verb:
    for verb in VERBS:
        if verb == name:
            return verb
    raise ValueError(f"{name!r} is no verb of a store; these are: {', '.join(VERBS)}")
