"""Lookups of host names in a few threads of the library. Concurrent callers share a lookup, and answers are cached for seconds.

The timeout of the system's resolver cannot be set. So a thread runs the lookup, and the caller waits for the thread, at most
for its own timeout. `Names.find` is a plan (see ``dynamostore.steps``) with one kind of call, ``wait``. `Waiting` executes it
in threads, and `AsyncWaiting` on an event loop.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from dynamostore.steps import Call, Plan, issue

from .errors import ConnectError

__all__ = ["Address", "AsyncWaiting", "Name", "Names", "Waiting", "address_of_literal", "interleaved", "names"]

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Address: TypeAlias = tuple[socket.AddressFamily, SocketAddress]
Answer: TypeAlias = tuple[Address, ...]

THREADS: Final = 4
"""The most lookups at the same time, of all names together. Others wait in a queue."""
FRESH: Final = 5.0
"""Seconds for which an answer is used without a new lookup. The resolver does not report the TTL, which is 5 s for DynamoDB."""
OUTDATED: Final = 600.0
"""Seconds for which an answer may be used if no newer one can be found."""
FAILED: Final = 0.1
"""Seconds for which a failure is the result for all callers."""
PATIENCE: Final = 0.25
"""The share of a caller's timeout that it waits for a lookup if it has an outdated answer."""
SILENT: Final = 5.0
"""Seconds without an answer after which a second lookup of the name may begin. The resolver may have recovered."""

_DIGITS: Final = re.compile(r"[0-9]+")

_AT_ONCE = 2  # the most concurrent lookups of one name
_MOST = 64  # the number of cached names

# The name does not exist. Any other failure may be a problem of the resolver.
_NO_SUCH_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))


class Name:
    """A host and port, with their cached answer or failure. Read and write the fields only under the lock of `Names`."""

    __slots__ = (
        "answer", "failed_at", "failure", "fresh_until", "host", "lock", "outcomes", "port", "queued", "running", "usable_until", "waiting",
    )  # fmt: skip

    def __init__(self, host: str, port: int, lock: threading.RLock) -> None:
        self.host = host
        self.port = port
        self.lock = lock
        self.answer: Answer = ()
        self.fresh_until = self.usable_until = float("-inf")
        self.failure = ""
        self.failed_at = float("-inf")
        self.outcomes = 0
        """The number of lookups that have ended."""
        self.queued = False
        self.running: list[float] = []
        """When each lookup that is under way began."""
        self.waiting: dict[object, Callable[[], None]] = {}

    def watch(self, seen: int, key: object, tell: Callable[[], None]) -> bool:
        """Call *tell* at the next outcome, in another thread. Return False if `outcomes` is no longer *seen*."""
        with self.lock:
            if self.outcomes != seen:
                return False
            self.waiting[key] = tell
            return True

    def unwatch(self, key: object) -> None:
        """Stop the watch registered as *key*."""
        with self.lock:
            self.waiting.pop(key, None)

    @property
    def is_idle(self) -> bool:
        """True if no caller waits for the name and no lookup is under way or queued."""
        return not (self.waiting or self.running or self.queued)


class Names:
    """The cached names of a process. *ask* looks up a name, *start* starts a thread, and *clock* returns monotonic seconds."""

    def __init__(
        self,
        *,
        ask: Callable[[str, int], Sequence[Address]] | None = None,
        start: Callable[[Callable[[], None]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask or _ask
        self._start_thread = start or _start_thread
        self._clock = clock
        # Reentrant, because a signal handler or a finalizer may make a call while this thread holds the lock.
        self._lock = threading.RLock()
        self._names: dict[tuple[str, int], Name] = {}
        self._queue: deque[Name] = deque()
        self.threads = 0
        """The number of running threads."""

    def find(self, host: str, port: int, timeout: float) -> Plan[Answer]:
        """Return the addresses of *host*, at least one.

        Raise `ConnectError` if it has no address, or if none is found within *timeout* seconds.
        """
        literal = address_of_literal(host, port)
        if literal is not None:
            return (literal,)
        start = self._clock()
        name = self._name(host, port)
        asked: int | None = None
        while True:
            with self._lock:
                now = self._clock()
                if now < name.fresh_until:
                    return name.answer
                usable = name.answer if now < name.usable_until else ()
                if name.failure and (now - name.failed_at < FAILED or asked not in (None, name.outcomes)):
                    if usable:
                        return usable
                    raise ConnectError(name.failure)
                asked = name.outcomes
                # With an outdated answer, count from the start of the lookup. If the resolver is down, later callers do not wait.
                left = min((start, *name.running)) + timeout * PATIENCE - now if usable else start + timeout - now
                refused = self._look_up(name, now) if usable or left > 0 else None
            if usable and (left <= 0 or refused):
                return usable
            if left <= 0:
                raise ConnectError(f"the address of {host} was not found within {timeout:.3g} s")
            if refused:
                raise ConnectError(f"the address of {host} was not found: {refused}") from refused
            yield from issue(_wait(name, asked, left))

    def distrust(self, host: str, port: int, answer: Answer) -> None:
        """Look the name up again at the next call, because no address of *answer* accepted a connection."""
        with self._lock:
            name = self._names.get((host, port))
            if name is not None and name.answer is answer:
                name.fresh_until = float("-inf")

    def prefer(self, host: str, port: int, answer: Answer, best: Address) -> None:
        """Move *best* to the front of the answer, and the addresses before it to the end."""
        if answer[0] == best:
            return
        with self._lock:
            name = self._names.get((host, port))
            if name is not None and name.answer is answer:
                place = answer.index(best)
                name.answer = answer[place:] + answer[:place]

    def _name(self, host: str, port: int) -> Name:
        with self._lock:
            name = self._names.get((host, port))
            if name is None:
                if len(self._names) >= _MOST:
                    self._names = {key: name for key, name in self._names.items() if not name.is_idle}
                name = self._names[host, port] = Name(host, port, self._lock)
            return name

    def _look_up(self, name: Name, now: float) -> RuntimeError | None:
        """Make sure that a lookup of *name* is queued or under way. Return the error if no thread can be started for it."""
        running = name.running
        if name.queued or len(running) >= _AT_ONCE or (running and now - running[-1] < SILENT):
            return None
        name.queued = True
        self._queue.append(name)
        if self.threads >= THREADS:
            return None
        self.threads += 1
        try:
            self._start_thread(self._work)
        except RuntimeError as error:
            # The system's limit of threads is reached, or (since Python 3.12) the interpreter is shutting down.
            self.threads -= 1
            if self.threads:
                return None
            self._queue.remove(name)
            name.queued = False
            return error
        return None

    def _work(self) -> None:
        """Look up the queued names, and return when the queue is empty. This runs in a thread."""
        while True:
            with self._lock:
                if not self._queue:
                    self.threads -= 1
                    return
                name = self._queue.popleft()
                name.queued = False
                begun = self._clock()
                name.running.append(begun)
            addresses: Answer = ()
            failure: BaseException | None = None
            try:
                addresses = interleaved(self._ask(name.host, name.port))
            except BaseException as error:  # noqa: BLE001 (the waiting callers must be told of any failure)
                failure = error
            with self._lock:
                name.running.remove(begun)
                self._record(name, addresses, failure)
                waiting = list(name.waiting.values())
                name.waiting.clear()
            for tell in waiting:
                tell()

    def _record(self, name: Name, addresses: Answer, failure: BaseException | None) -> None:
        now = self._clock()
        name.outcomes += 1
        if addresses:
            name.answer = addresses
            name.fresh_until, name.usable_until = now + FRESH, now + OUTDATED
            name.failure = ""
            return
        if now < name.fresh_until:
            # There were two lookups, and the other one has succeeded.
            return
        name.failure = f"the address of {name.host} was not found: {failure or 'the resolver returned no address'}"
        name.failed_at = now
        if isinstance(failure, socket.gaierror) and failure.errno in _NO_SUCH_NAME:
            name.usable_until = float("-inf")


def _wait(name: Name, seen: int, seconds: float) -> Call[None]:
    return Call("wait", {"name": name, "seen": seen, "seconds": seconds})


class Waiting:
    """Waits for the outcome of a lookup, in the calling thread."""

    def wait(self, name: Name, seen: int, seconds: float) -> None:
        """Wait for the next outcome after the number of outcomes that the caller has *seen*, at most *seconds*."""
        told = threading.Event()
        if name.watch(seen, told, told.set):
            try:
                told.wait(seconds)
            finally:
                name.unwatch(told)


class AsyncWaiting:
    """Waits for the outcome of a lookup on the event loop."""

    async def wait(self, name: Name, seen: int, seconds: float) -> None:
        """Wait as `Waiting.wait` does."""
        import asyncio  # not at the top: a synchronous program does not need it

        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            # The loop may be closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(told.set)

        if name.watch(seen, told, tell):
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await told.wait()
            finally:
                name.unwatch(told)


def address_of_literal(host: str, port: int) -> Address | None:
    """Return the address in *host*, or None if *host* is a name. Raise `ConnectError` if its IPv6 scope does not exist.

    >>> address_of_literal("127.0.0.1", 8000)
    (<AddressFamily.AF_INET: 2>, ('127.0.0.1', 8000))
    >>> address_of_literal("localhost", 8000)
    """
    if _is_address(socket.AF_INET, host):
        return socket.AF_INET, (host, port)
    address, percent, scope = host.partition("%")
    if _is_address(socket.AF_INET6, address):
        return socket.AF_INET6, (address, port, 0, _index_of(scope) if percent else 0)
    return None


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True


def _index_of(scope: str) -> int:
    if _DIGITS.fullmatch(scope):
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except OSError:
        raise ConnectError(
            f"the endpoint's address names the network interface {scope!r}, which does not exist"
        ) from None


def interleaved(addresses: Sequence[Address]) -> Answer:
    """Return *addresses* without duplicates, in their order, but alternating between the families (RFC 8305, section 4).

    >>> v4, v6 = socket.AF_INET, socket.AF_INET6
    >>> [address for _, address in interleaved([(v6, ("a", 1)), (v6, ("b", 1)), (v4, ("c", 1))])]
    [('a', 1), ('c', 1), ('b', 1)]
    """
    families: dict[socket.AddressFamily, deque[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address[0], deque()).append(address)
    taken: list[Address] = []
    while families:
        for family, rest in list(families.items()):
            taken.append(rest.popleft())
            if not rest:
                del families[family]
    return tuple(taken)


def _ask(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="dynamostore-resolver", daemon=True).start()


_of_this_process = Names()


def names() -> Names:
    """Return the `Names` of this process."""
    return _of_this_process


def forget() -> None:
    """Start with an empty cache. This runs in a forked child, which does not have its parent's threads."""
    global _of_this_process  # noqa: PLW0603 (each process has one)
    _of_this_process = Names()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
