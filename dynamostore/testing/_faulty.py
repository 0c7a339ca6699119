"""`FaultyStore` and `AsyncFaultyStore`: wrap a store so that a test can make calls fail and requests conflict."""

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
"""The name of a method of a store."""

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
WRITES: Final[tuple[Verb, ...]] = ("save", "create", "replace", "touch", "rename", "remove", "delete")

_ASYNC: Final = "change must be a plain function; use AsyncFaultyStore for coroutine functions"


@dataclass(slots=True)
class _Fault:
    """An error that the next *times* calls of *verbs* raise (None: all calls)."""

    error: Exception
    verbs: Sequence[Verb]
    times: int | None
    applied: bool


@dataclass(slots=True)
class _Hook:
    """A function to call before the next call of one of *verbs*."""

    change: Callable[[], object]
    verbs: Sequence[Verb]


class BaseFaultyStore(ProcessBound, Generic[S]):
    """The planned faults and the recorded calls that sync and async stores share. *store* is the wrapped store."""

    def __init__(self, store: S) -> None:
        self.store: S = store
        self.calls: list[Verb] = []
        """The methods that were called, in order, including calls that failed."""
        self._faults: list[_Fault] = []
        self._hooks: list[_Hook] = []
        self._lock = Lock()

    def fail(self, error: Exception, *verbs: Verb, times: int | None = None, applied: bool = False) -> None:
        """Make the next *times* calls of *verbs* raise a copy of *error*.

        Without *verbs*, all methods fail. Without *times*, calls fail until `heal`. If *applied*, the store performs the
        call before it raises, as if the reply were lost. Several faults of a method take effect one after the other. Raises
        `TypeError` or `ValueError` for invalid arguments.

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
            raise ValueError("times must be at least 1, or None to fail until heal() is called")
        with self._lock:
            self._faults.append(_Fault(error, _checked(verbs) or VERBS, times, applied))

    @contextmanager
    def failing(self, error: Exception, *verbs: Verb, applied: bool = False) -> Iterator[None]:
        """Make calls fail as `fail` does, for the length of a ``with`` block."""
        self.fail(error, *verbs, applied=applied)
        fault = self._faults[-1]
        try:
            yield
        finally:
            with self._lock:
                self._faults = [each for each in self._faults if each is not fault]

    def before(self, change: Callable[[], object], *verbs: Verb) -> None:
        """Call *change* once, just before the next call of one of *verbs* (default: any method that writes).

        *change* may use this store, to act as another request that is faster. An `AsyncFaultyStore` also accepts a coroutine
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
            self._hooks.append(_Hook(change, _checked(verbs) or WRITES))

    def heal(self) -> None:
        """Cancel all faults and changes that have not taken effect yet."""
        with self._lock:
            self._faults.clear()
            self._hooks.clear()

    def _call(self, call: Call[R]) -> Plan[R]:
        verb = _verb(call.operation)
        with self._lock:
            self.calls.append(verb)
            due = [each for each in self._hooks if verb in each.verbs]
            self._hooks = [each for each in self._hooks if verb not in each.verbs]
        for hook in due:
            yield from issue(Call[None]("run_hook", {"change": hook.change}))
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
    """Wrap a `Store` so that a test can make its calls fail (`fail`) or conflict (`before`). Needs no extra."""

    def __init__(self, store: Store) -> None:
        check_store(store, "FaultyStore", awaited=False)
        super().__init__(store)

    def find(self, token: str) -> Record | None:
        """See `Store.find`."""
        return self._run(Call("find", {"token": token}))

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.save`."""
        return self._run(Call("save", {"token": token, "data": data, "expiry": expiry}))

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.create`."""
        return self._run(Call("create", {"token": token, "data": data, "expiry": expiry}))

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """See `Store.replace`."""
        return self._run(Call("replace", {"record": record, "data": data, "expiry": expiry}))

    def touch(self, record: Record, expiry: datetime) -> Record:
        """See `Store.touch`."""
        return self._run(Call("touch", {"record": record, "expiry": expiry}))

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """See `Store.rename`."""
        return self._run(
            Call("rename", {"record": record, "token": token, "data": data, "expiry": expiry, "grace": grace})
        )

    def remove(self, record: Record) -> None:
        """See `Store.remove`."""
        self._run(Call("remove", {"record": record}))

    def delete(self, token: str) -> None:
        """See `Store.delete`."""
        self._run(Call("delete", {"token": token}))

    def ping(self) -> None:
        """See `Store.ping`."""
        self._run(Call("ping", {}))

    def close(self) -> None:
        """Close the wrapped store, if it has a ``close`` method."""
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
    """Wrap an `AsyncStore` so that a test can make its calls fail or conflict, as `FaultyStore` does."""

    def __init__(self, store: AsyncStore) -> None:
        check_store(store, "AsyncFaultyStore", awaited=True)
        super().__init__(store)

    async def find(self, token: str) -> Record | None:
        """See `Store.find`."""
        return await self._run(Call("find", {"token": token}))

    async def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.save`."""
        return await self._run(Call("save", {"token": token, "data": data, "expiry": expiry}))

    async def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        """See `Store.create`."""
        return await self._run(Call("create", {"token": token, "data": data, "expiry": expiry}))

    async def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        """See `Store.replace`."""
        return await self._run(Call("replace", {"record": record, "data": data, "expiry": expiry}))

    async def touch(self, record: Record, expiry: datetime) -> Record:
        """See `Store.touch`."""
        return await self._run(Call("touch", {"record": record, "expiry": expiry}))

    async def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        """See `Store.rename`."""
        return await self._run(
            Call("rename", {"record": record, "token": token, "data": data, "expiry": expiry, "grace": grace})
        )

    async def remove(self, record: Record) -> None:
        """See `Store.remove`."""
        await self._run(Call("remove", {"record": record}))

    async def delete(self, token: str) -> None:
        """See `Store.delete`."""
        await self._run(Call("delete", {"token": token}))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._run(Call("ping", {}))

    async def close(self) -> None:
        """Close the wrapped store, if it has a ``close`` method."""
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
    """Performs the calls of a plan: a method of the store, or a change before it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def run_hook(self, change: Callable[[], object]) -> None:
        made = change()
        if isawaitable(made):
            if hasattr(made, "close"):
                made.close()
            raise TypeError(_ASYNC)

    def __getattr__(self, verb: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._store, verb)
        return method


class _AsyncTarget:
    """The async version of `_Target`."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    async def run_hook(self, change: Callable[[], object]) -> None:
        await _awaited(change())

    def __getattr__(self, verb: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._store, verb)
        return method


async def _awaited(made: object) -> None:
    if isinstance(made, Awaitable):
        await made


def _method(store: object, name: str) -> Callable[[], object]:
    """Return a method of *store*, or a function that does nothing if the store does not have it."""
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
    raise ValueError(f"{name!r} is not a method of a store; choose from {', '.join(VERBS)}")
