"""Lookups of host names: in a few threads of the library's own, one for all who ask at once, remembered for seconds.

The system's resolver has no time-out that could be set, so a caller waits for a thread, and no longer than its own time-out.
`Names.find` is a plan (see ``dynamostore.steps``): its one call, ``wait``, is made by `Waiting` in threads, and by
`AsyncWaiting` on an event loop.
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
"""Lookups at once, of all names together; more wait for one to end."""
FRESH: Final = 5.0
"""For how many seconds an answer is used without asking again. DynamoDB's own TTL is 5 s, but the resolver does not tell it."""
OUTDATED: Final = 600.0
"""For how many seconds an answer may be used at all, where no newer one is to be had."""
FAILED: Final = 0.1
"""For how many seconds a failure is the answer for all who ask."""
PATIENCE: Final = 0.25
"""The share of a caller's time that a lookup has if there is an outdated answer."""
SILENT: Final = 5.0
"""After so many seconds without an answer, the same name may be asked for once more: the resolver may be back."""

_DIGITS: Final = re.compile(r"[0-9]+")

_AT_ONCE = 2  # lookups of one name
_MOST = 64  # names that are remembered

# The name does not exist. All other failures may be the resolver's own.
_NO_SUCH_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))


class Name:
    """A host and port, and what is known of it. Its fields are read and written under the lock of its `Names`."""

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
        """How many lookups have ended."""
        self.queued = False
        self.running: list[float] = []
        """When the lookups that are under way were begun."""
        self.waiting: dict[object, Callable[[], None]] = {}

    def watch(self, seen: int, key: object, tell: Callable[[], None]) -> bool:
        """Have *tell* called, in another thread, at the next outcome. Return False if there are more than *seen* already."""
        with self.lock:
            if self.outcomes != seen:
                return False
            self.waiting[key] = tell
            return True

    def unwatch(self, key: object) -> None:
        """Forget who watches as *key*."""
        with self.lock:
            self.waiting.pop(key, None)

    @property
    def is_idle(self) -> bool:
        """True if nobody waits for it and nothing asks for it."""
        return not (self.waiting or self.running or self.queued)


class Names:
    """The names of a process. *ask* looks one up, *start* begins a thread, *clock* gives seconds that only grow."""

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
        # Reentrant: a signal handler, or a finalizer, may make a call where this one stands.
        self._lock = threading.RLock()
        self._names: dict[tuple[str, int], Name] = {}
        self._queue: deque[Name] = deque()
        self.threads = 0
        """How many are running."""

    def find(self, host: str, port: int, timeout: float) -> Plan[Answer]:
        """The addresses of *host*, at least one, within *timeout* seconds.

        Raise `ConnectError` if there are none, or none are known in time.
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
                # While the resolver is down, only the first one waits for it.
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
        """Ask anew the next time: no address of *answer* could be connected to."""
        with self._lock:
            name = self._names.get((host, port))
            if name is not None and name.answer is answer:
                name.fresh_until = float("-inf")

    def prefer(self, host: str, port: int, answer: Answer, best: Address) -> None:
        """Put *best* first, and those that it has overtaken last."""
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
        """See to it that *name* is looked up. Return the error if that takes a thread and none can be had."""
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
            # At the limit of the system, or (since Python 3.12) when the interpreter is about to end.
            self.threads -= 1
            if self.threads:
                return None
            self._queue.remove(name)
            name.queued = False
            return error
        return None

    def _work(self) -> None:
        """A thread's: look up what is in line, and end when nothing is."""
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
            except BaseException as error:  # noqa: BLE001 (whatever it is, those who wait are told)
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
            # It was asked for twice, and the other was quicker.
            return
        name.failure = f"the address of {name.host} was not found: {failure or 'it has none'}"
        name.failed_at = now
        if isinstance(failure, socket.gaierror) and failure.errno in _NO_SUCH_NAME:
            name.usable_until = float("-inf")


def _wait(name: Name, seen: int, seconds: float) -> Call[None]:
    return Call("wait", {"name": name, "seen": seen, "seconds": seconds})


class Waiting:
    """Waits for the outcome of a lookup in the thread that asks."""

    def wait(self, name: Name, seen: int, seconds: float) -> None:
        """Return at the next outcome after those that were *seen*, or after *seconds*."""
        told = threading.Event()
        if name.watch(seen, told, told.set):
            try:
                told.wait(seconds)
            finally:
                name.unwatch(told)


class AsyncWaiting:
    """Waits for the outcome of a lookup on the event loop."""

    async def wait(self, name: Name, seen: int, seconds: float) -> None:
        """`Waiting.wait`."""
        import asyncio  # a synchronous program has no use for it

        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            # The loop may be closed by now.
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
    """The address that *host* is, if it is one and not a name. Raise `ConnectError` if its IPv6 scope does not exist.

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
    """*addresses*, each once, in their order, but the families by turns (RFC 8305, 4).

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
    """The names of this process."""
    return _of_this_process


def forget() -> None:
    """Begin anew: in the child after a fork, whose parent's threads and locks it has not."""
    global _of_this_process  # noqa: PLW0603 (there is one for each process)
    _of_this_process = Names()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
