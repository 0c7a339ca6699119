"""Credentials that are fetched and renewed. One fetch at a time, in its own thread, serves all threads and tasks that wait.

`Renewed` decides when a fetch begins and how its outcome is used. If several callers arrive at once, an atomic operation of
dict decides which of them begins the fetch. There is no lock that a fork, a signal handler or a finalizer could find locked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ._core import Endpoint
from ._sigv4 import Credentials
from .errors import CredentialsError, CredentialsUnavailableError, WireError

if TYPE_CHECKING:
    import asyncio

__all__ = ["Found", "Load", "Renewed"]

LOOK_EVERY: Final = 1.0
"""Seconds between two checks whether a renewal is due, and seconds for which a failed fetch is the result for all callers."""
RENEW_EVERY: Final = 30.0
"""Seconds between two attempts at a renewal while the credentials are still valid."""
SLOW: Final = 60.0
"""Seconds after which a fetch counts as hanging. Then another may begin beside it."""
MOST: Final = 3
"""The most fetches, and threads, at the same time, including those that hang."""

_Pair: TypeAlias = tuple[Credentials, Endpoint]


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials and their endpoint.

    *is_due* returns True if they should be renewed, and *is_good* if they are still valid. Neither blocks.
    """

    access: _Pair
    is_due: Callable[[], bool]
    is_good: Callable[[], bool]


class Load(Protocol):
    """A source of credentials. It blocks, and may raise `WireError`."""

    def __call__(self, *, anew: bool) -> Found:
        """Find or renew the credentials. *anew*: use nothing found or begun before, because that may be stale or hang."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Do *work* in a daemon thread: the interpreter does not wait for it when it ends."""
    threading.Thread(target=work, name="dynamostore-credentials", daemon=True).start()


class Fetch:
    """One fetch, under way or over, and the callers that wait for it."""

    __slots__ = ("__weakref__", "_next", "_outcome", "_waiting", "began", "ended")

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended: float | None = None
        self._outcome: Found | WireError | None = None
        # Maps each waiting caller to the function that wakes it. Not a threading.Event, because that contains a lock.
        self._waiting: dict[object, Callable[[], object]] = {}
        self._next: dict[None, Fetch] = {}

    @property
    def has_failed(self) -> bool:
        return isinstance(self._outcome, WireError)

    def then(self, next_: Fetch) -> Fetch:
        """Return the fetch that follows this one: *next_*, unless another caller has already set one."""
        return self._next.setdefault(None, next_)

    def skip_to(self, latest: Fetch) -> None:
        """Make *latest* follow this fetch, which is still running, so that the fetches in between can be freed."""
        if self is not latest:
            self._next[None] = latest

    def end(self, outcome: Found | WireError, now: float) -> None:
        """Record the outcome and wake all waiting callers. Only the first call has an effect."""
        if self.ended is not None:
            return
        self._outcome = outcome
        self.ended = now
        while True:
            try:
                _, wake = self._waiting.popitem()
            except KeyError:
                return
            wake()

    def wait(self, timeout: float) -> _Pair:
        """Wait for the end, at most *timeout* seconds. Return the credentials, or raise as `Access.fetch` does."""
        turn = threading.Lock()
        turn.acquire()
        self._waiting[turn] = turn.release
        try:
            # Check only after registering: `end` sets the outcome before it wakes the registered callers.
            if self._outcome is None:
                turn.acquire(timeout=max(timeout, 0))
        finally:
            self._waiting.pop(turn, None)
        return self._result(timeout)

    async def awaited(self, timeout: float) -> _Pair:  # noqa: ASYNC109 (the time left for the call)
        """Wait as `wait` does, on the running loop."""
        import asyncio  # not at the top: a synchronous program does not need it

        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting[turn] = lambda: _wake(turn, loop)
        try:
            if self._outcome is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await turn
        finally:
            self._waiting.pop(turn, None)
        return self._result(timeout)

    def _result(self, timeout: float) -> _Pair:
        outcome = self._outcome
        if outcome is None:
            raise CredentialsUnavailableError(f"no credentials were found within {timeout:.3g} s")
        if isinstance(outcome, Found):
            return outcome.access
        # Raise a separate exception for each caller, because raising sets its traceback and context.
        raise type(outcome)(*outcome.args) from outcome.__cause__


def _wake(turn: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
    """Wake a task, from another thread. If the loop is closed, no task waits."""

    def wake() -> None:
        if not turn.done():
            turn.set_result(None)

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(wake)


class _Process:
    """The fetches of one process.

    A fetch continues only in the process that began it, not in a child that was forked meanwhile.
    """

    __slots__ = ("anew", "latest", "running")

    def __init__(self, *, anew: bool) -> None:
        self.anew = anew
        self.running: set[Fetch] = set()
        self.latest = Fetch(float("-inf"))
        self.latest.ended = float("-inf")


class Renewed:
    """An `Access` to the credentials from *load*. It fetches them when first needed, and renews them before they expire.

    Valid credentials are used while their renewal runs in the background. If there are no valid credentials, all callers
    wait for the same fetch, each up to its own timeout. *start* runs a function in a thread. *monotonic* returns seconds.
    """

    def __init__(
        self,
        load: Load,
        *,
        start: Callable[[Callable[[], None]], None] = in_a_thread,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._start = start
        self._monotonic = monotonic
        self._found: Found | None = None
        # When the credentials arrived, and when the fetch that brought them began.
        self._found_at = self._asked_at = float("-inf")
        # When to check next. A check takes longer than reading the clock.
        self._look_at = 0.0
        self._processes: dict[int, _Process] = {}

    def current(self) -> _Pair | None:
        found = self._found
        if found is None:
            return None
        if self._monotonic() >= self._look_at:
            return self._look(found)
        return found.access

    def fetch(self, timeout: float) -> _Pair:
        latest = self._here().latest
        return self.current() or self._after(latest).wait(timeout)

    async def afetch(self, timeout: float) -> _Pair:  # noqa: ASYNC109 (the time left for the call)
        latest = self._here().latest
        return self.current() or await self._after(latest).awaited(timeout)

    def refuse(self, access: _Pair) -> bool:
        found = self._found
        if found is not None and found.access is access:
            if self._monotonic() - self._found_at < LOOK_EVERY:
                # They were fetched just now, so a new fetch would return the same.
                return False
            self._here().anew = True
            self._found = None
        return True

    def _look(self, found: Found) -> _Pair | None:
        """Return the credentials in *found* if they are still valid, else None. Begin a renewal if one is due."""
        now = self._monotonic()
        if found.is_due():
            if not found.is_good():
                return None
            here = self._here()
            latest = here.latest
            if self._hangs(latest, now) if latest.ended is None else now - latest.ended >= RENEW_EVERY:
                self._begin(here, latest, now)
        self._look_at = now + LOOK_EVERY
        return found.access

    def _after(self, latest: Fetch) -> Fetch:
        """Return the fetch to wait for: *latest* if it is under way or has just failed, else a new one."""
        now = self._monotonic()
        if latest.ended is None:
            return latest if not self._hangs(latest, now) else self._begin(self._here(), latest, now)
        if latest.has_failed and now - latest.ended < LOOK_EVERY:
            return latest
        return self._begin(self._here(), latest, now)

    def _hangs(self, fetch: Fetch, now: float) -> bool:
        """Return True if *fetch* hangs and another one may begin beside it."""
        return now - fetch.began >= SLOW and len(self._here().running) < MOST

    def _begin(self, here: _Process, latest: Fetch, now: float) -> Fetch:
        """Return the fetch after *latest*. Begin it, unless another caller already has."""
        mine = Fetch(now)
        fetch = here.latest = latest.then(mine)
        if fetch is mine:
            # A hanging fetch may hold botocore's locks or a connection, so reuse nothing of it.
            anew = here.anew or latest.ended is None
            for hanging in list(here.running):
                hanging.skip_to(mine)
            here.running.add(mine)
            try:
                self._start(lambda: self._work(here, mine, anew=anew))
            except BaseException as error:
                here.running.discard(mine)
                mine.end(
                    CredentialsUnavailableError(f"could not start a thread to fetch the AWS credentials: {error}"), now
                )
                # A RuntimeError means that no thread could be started, or that the interpreter is shutting down.
                if not isinstance(error, RuntimeError):
                    raise
        return fetch

    def _work(self, here: _Process, fetch: Fetch, *, anew: bool) -> None:
        """Run *fetch*. This runs in its own thread."""
        outcome: Found | WireError
        try:
            outcome = self._load(anew=anew)
        except WireError as error:
            outcome = error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001 (otherwise the callers would wait for ever)
            outcome = CredentialsError(f"no usable AWS credentials: {type(error).__name__}")
        now = self._monotonic()
        # A fetch that hung may end after its successor. Do not go back to older credentials.
        if isinstance(outcome, Found) and fetch.began >= self._asked_at:
            self._found = outcome
            self._found_at = now
            self._asked_at = fetch.began
            self._look_at = now
            here.anew = False
        here.running.discard(fetch)
        fetch.end(outcome, now)

    def _here(self) -> _Process:
        here = self._processes.get(_forks)
        if here is None:
            # In a forked child, botocore's objects may hold locks of a thread that no longer exists.
            here = self._processes.setdefault(_forks, _Process(anew=bool(self._processes)))
        return here


_forks = 0
"""The number of forks between the first process and this one."""


def _count() -> None:
    global _forks  # noqa: PLW0603 (the count belongs to the process)
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count)
