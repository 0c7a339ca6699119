"""Credentials that are fetched and renewed: one fetch at a time, in a thread of its own, for all threads and tasks that wait.

`Renewed` decides when a fetch begins and what its end means. It has no lock: of callers that come at once the first one begins,
by an operation of dict's that is atomic. So a fork, a signal handler or a finalizer cannot find one locked.
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
"""How often, in seconds, credentials are asked if they are due; and how long a failure to fetch them is the answer to all."""
RENEW_EVERY: Final = 30.0
"""How often, in seconds, a renewal is tried while the credentials are still good."""
SLOW: Final = 60.0
"""After how many seconds a fetch is taken to hang, so that another may begin beside it."""
MOST: Final = 3
"""How many fetches, and threads, there are at most: one, and those that hang."""

_Pair: TypeAlias = tuple[Credentials, Endpoint]


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials and their endpoint, and two questions that never block: are they due for renewal, are they still good."""

    access: _Pair
    is_due: Callable[[], bool]
    is_good: Callable[[], bool]


class Load(Protocol):
    """Where credentials come from: blocks, and raises `WireError`."""

    def __call__(self, *, anew: bool) -> Found:
        """Find or renew them. *anew*: with nothing that was found or begun before, which may be stale or hang."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Do *work* in a thread that nobody waits for when the interpreter ends."""
    threading.Thread(target=work, name="dynamostore-credentials", daemon=True).start()


class Fetch:
    """One fetch, under way or over, and who waits for it."""

    __slots__ = ("__weakref__", "_next", "_outcome", "_waiting", "began", "ended")

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended: float | None = None
        self._outcome: Found | WireError | None = None
        # Who waits, and what wakes them. A threading.Event would not do: there is a lock in it.
        self._waiting: dict[object, Callable[[], object]] = {}
        self._next: dict[None, Fetch] = {}

    @property
    def has_failed(self) -> bool:
        return isinstance(self._outcome, WireError)

    def then(self, next_: Fetch) -> Fetch:
        """The fetch that follows this one: *next_*, unless another was there first."""
        return self._next.setdefault(None, next_)

    def skip_to(self, latest: Fetch) -> None:
        """What follows this one, which still goes on, is *latest*: those between need not be kept."""
        if self is not latest:
            self._next[None] = latest

    def end(self, outcome: Found | WireError, now: float) -> None:
        """Tell all who wait. Only the first end counts."""
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
        """Wait for the end, at most *timeout* seconds; the credentials, or what `Access.fetch` raises."""
        turn = threading.Lock()
        turn.acquire()
        self._waiting[turn] = turn.release
        try:
            # Asked after it was entered: who ends it looks there afterwards.
            if self._outcome is None:
                turn.acquire(timeout=max(timeout, 0))
        finally:
            self._waiting.pop(turn, None)
        return self._result(timeout)

    async def awaited(self, timeout: float) -> _Pair:  # noqa: ASYNC109 (what is left of the call's)
        """`wait`, on the running loop."""
        import asyncio  # a synchronous program has no use for it

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
        # One of each caller's own: what they raise and chain is not shared.
        raise type(outcome)(*outcome.args) from outcome.__cause__


def _wake(turn: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
    """Wake a task, from another thread. A loop that is closed has nobody who waits."""

    def wake() -> None:
        if not turn.done():
            turn.set_result(None)

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(wake)


class _Process:
    """What is one process's own. A fetch goes on in the process that began it, and not in a child that was forked meanwhile."""

    __slots__ = ("anew", "latest", "running")

    def __init__(self, *, anew: bool) -> None:
        self.anew = anew
        self.running: set[Fetch] = set()
        self.latest = Fetch(float("-inf"))
        self.latest.ended = float("-inf")


class Renewed:
    """Credentials from *load*, fetched when they are first needed, and renewed before they expire; an `Access`.

    While they are good they are used, and renewed behind the callers' backs. Callers wait only if there are none that are good:
    all for the same fetch, each for as long as it has. *start* does some work later, in a thread; *monotonic* gives seconds.
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
        # When it came, and when the fetch had begun that brought it.
        self._found_at = self._asked_at = float("-inf")
        # Until then they need not be asked: to ask takes longer than to look at the clock.
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

    async def afetch(self, timeout: float) -> _Pair:  # noqa: ASYNC109 (what is left of the call's)
        latest = self._here().latest
        return self.current() or await self._after(latest).awaited(timeout)

    def refuse(self, access: _Pair) -> bool:
        found = self._found
        if found is not None and found.access is access:
            if self._monotonic() - self._found_at < LOOK_EVERY:
                # Just fetched: the same would come again.
                return False
            self._here().anew = True
            self._found = None
        return True

    def _look(self, found: Found) -> _Pair | None:
        """What is good, after a look at how long it will be; begins a renewal if it is due."""
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
        """The fetch to wait for: *latest*, if it is under way or has failed just now, else the next."""
        now = self._monotonic()
        if latest.ended is None:
            return latest if not self._hangs(latest, now) else self._begin(self._here(), latest, now)
        if latest.has_failed and now - latest.ended < LOOK_EVERY:
            return latest
        return self._begin(self._here(), latest, now)

    def _hangs(self, fetch: Fetch, now: float) -> bool:
        """Return True if another fetch may begin beside one that is under way."""
        return now - fetch.began >= SLOW and len(self._here().running) < MOST

    def _begin(self, here: _Process, latest: Fetch, now: float) -> Fetch:
        """The fetch after *latest*, begun by this caller or by one that was faster."""
        mine = Fetch(now)
        fetch = here.latest = latest.then(mine)
        if fetch is mine:
            # What a hanging fetch holds (locks of botocore's, a connection) is not waited for.
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
                # "can't start new thread", or "at interpreter shutdown".
                if not isinstance(error, RuntimeError):
                    raise
        return fetch

    def _work(self, here: _Process, fetch: Fetch, *, anew: bool) -> None:
        """Fetch, in a thread of its own."""
        outcome: Found | WireError
        try:
            outcome = self._load(anew=anew)
        except WireError as error:
            outcome = error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001 (or those who wait would do so for ever)
            outcome = CredentialsError(f"no usable AWS credentials: {type(error).__name__}")
        now = self._monotonic()
        # One that hung may end after the next.
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
            # In a child, botocore's objects may hold locks of a thread that is not there any more.
            here = self._processes.setdefault(_forks, _Process(anew=bool(self._processes)))
        return here


_forks = 0
"""How many forks this process is away from the one that was started."""


def _count() -> None:
    global _forks  # noqa: PLW0603 (it is the process's own)
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count)
