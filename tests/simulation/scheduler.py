"""One run: a few requests on a few sessions, and every turn of it a choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal
from unittest.mock import patch

from dynamostore import StoreError, Table, UnavailableError, items
from dynamostore.errors import ThrottledError
from dynamostore.instants import duration_ns
from dynamostore.plans import faults
from dynamostore.plans.verbs import Plans
from dynamostore.steps import Call, Pause
from session._policy import OnConflict, Policy
from session.codecs import JSONCodec
from session.errors import SessionConflict
from session.mergeable import Merge
from session.merging import Rules

from .choices import Choices
from .drivers import DRIVERS, DriverName
from .intent import Commit, Promises, describe_events
from .model import NS, Server, ServerError
from .network import FAULTS, PENDING, Fate, Network
from .oracle import SKEW_NS, Oracle, Violation
from .requests import Boom, Process, Request
from .trace import Trace, describe_item, short
from .two_steps import ServerWithoutTransactions

CLIENTS: Final = 2
AT_ONCE: Final = 4
TURN_NS: Final = 1_000_000
"""What a turn takes."""
PASSING_NS: Final = (NS // 10, NS, 3 * NS, 10 * NS, 30 * NS, 400 * NS, 1000 * NS)
LIFETIMES_NS: Final = (3600 * NS, 20 * NS)
IDLE_NS: Final = (None, 8 * NS, 600 * NS)
GRACES: Final = (timedelta(0), timedelta(0), timedelta(seconds=5))
REMEMBERED: Final = (items.RECENT, items.RECENT, 2, 1)
SKEWS_NS: Final = (0, SKEW_NS, -SKEW_NS, SKEW_NS // 7)
MOST_TURNS: Final = 400
LEVELS: Final[Sequence[OnConflict]] = ("merge", "serialize")
MERGEABLE: Final[Sequence[Mapping[str, Merge]]] = ({}, {"list": "merge", "sum": "add"})
LOGIN_KEYS: Final = frozenset(("user",))

_TABLE: Final = Table()
_CODEC: Final = JSONCodec()


class Stuck(Violation):
    """A run that does not end."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated beside the ordinary.

    *scs*: SCS for Go writes the same sessions, and less is promised. *late_creates*: the first try of a create may
    arrive after the second was applied and the session destroyed or renewed. It then stores the session again:
    a PutItem of what is not there has nothing to hold on to. That is known, and not promised. *driver*: what the sessions
    run on, which changes nothing else. *level*: the managers' ``on_conflict``; "both" draws "merge" or "serialize".
    *transactions*: False: the table has none, as a global table with strong consistency, and a renewal takes two steps. To know
    its own first step again, it goes by the versions that records remember: those are as many as in earnest.
    """

    scs: bool = False
    late_creates: bool = False
    driver: DriverName = "plans"
    level: OnConflict | Literal["both"] = "both"
    transactions: bool = True


class Tags:
    """Versions and tokens, counted and not drawn by lot: one run's, so that it can be played again."""

    versions = 0
    tokens = 0

    @classmethod
    def version(cls) -> int:
        cls.versions += 1
        return cls.versions

    @classmethod
    def token(cls, policy: object) -> str:
        cls.tokens += 1
        return f"token{cls.tokens}".ljust(43, "-")

    @classmethod
    def forgotten(cls, *refusal: object) -> None:
        """Nothing is remembered beyond a call: a run is the same on every driver."""

    @classmethod
    def longest(cls, least: float, most: float) -> float:
        """In the place of jitter: who goes first is the scheduler's choice anyway."""
        return most


@contextmanager
def determinism() -> Iterator[None]:
    """For the time of a simulation, the packages draw no lots of their own, and log nothing."""
    with ExitStack() as stack:
        for target, replacement in (
            ("dynamostore.items.new_version", Tags.version),
            ("session._state.new_token", Tags.token),
            ("dynamostore.plans.parts.uniform", Tags.longest),
            ("session.plans.calls.uniform", Tags.longest),
            # How many versions an item remembers: a run's setting, so that some runs forget.
            ("dynamostore.items.RECENT", items.RECENT),
        ):
            stack.enter_context(patch(target, replacement))
        stack.enter_context(patch("dynamostore.plans.parts.logger.disabled", True))
        stack.enter_context(patch("dynamostore.plans.transactions.Transactions.note_refusal", Tags.forgotten))
        stack.enter_context(patch("session.plans.meeting._log.disabled", True))
        yield


class World:
    """A run. It draws its settings first, then who does what, until all requests have ended."""

    def __init__(self, choices: Choices, counts: Counter[str], options: Options, trace: Trace | None = None) -> None:
        Tags.versions = Tags.tokens = 0
        self.draw: Callable[[int], int] = choices.draw
        self.counts = counts
        self.options = options
        self.trace = trace
        self.turns = 0
        self.weight = 0
        self.oracle = Oracle(counts)
        self.goes_on = False
        server = Server if options.transactions else ServerWithoutTransactions
        self.network = Network(choices, self.oracle, trace, counts, server)
        self.network.late_creates = options.late_creates
        self.oracle.attach(self.network)
        self.active: list[Request] = []
        self._names = 0
        self._jars: list[str | None] = [None] * CLIENTS
        self._handed_out: list[str] = []
        self._left = 0
        self._settle()

    def _settle(self) -> None:
        """Draw the settings of the run; few faults of few kinds find what many of all kinds hide."""
        draw = self.draw
        self._left = 2 + draw(7)
        faults = [fault for fault in FAULTS if draw(2)]
        self._slow = Fate.SLOW in faults
        faults = [fault for fault in faults if fault is not Fate.SLOW]
        rate = (0, 12, 4, 1)[draw(4)]
        self._fates: Sequence[Fate] = (*(Fate.FINE,) * max(rate * len(faults), 1), *(faults if rate else ()))
        quiet = (12, 4)[draw(2)]
        self._happenings: Sequence[Callable[[], None]] = (
            *(self._advance,) * quiet,
            *(self._start,) * 2,
            *(happening for happening in (self._pass_time, self._deliver, self._sweep, self._die) if draw(2)),
        )
        items.RECENT = REMEMBERED[draw(len(REMEMBERED))] if self.options.transactions else REMEMBERED[0]
        lifetime_ns, idle_ns = LIFETIMES_NS[draw(len(LIFETIMES_NS))], IDLE_NS[draw(len(IDLE_NS))]
        grace = GRACES[draw(len(GRACES))]
        self.oracle.grace_ns = duration_ns(grace)
        level: OnConflict = self.options.level if self.options.level != "both" else LEVELS[draw(2)]
        mergeable: Mapping[str, Merge] = MERGEABLE[draw(2)]
        rules = Rules("serialize" if level == "serialize" else "merge", mergeable)
        self.oracle.promises = Promises(rules.level, level in ("merge", "serialize"), frozenset(mergeable), LOGIN_KEYS)
        # What is forgotten is not known again.
        self.goes_on = REMEMBERED[0] == items.RECENT
        consistent = draw(8) < 7
        self.oracle.stale_reads = self.network.server.remember_versions = not consistent
        self._processes = []
        for name in ("p", "q"):
            skew_ns = SKEWS_NS[draw(len(SKEWS_NS))]
            clock = self._clock(skew_ns)
            policy = Policy(
                codec=_CODEC,
                clock=clock,
                lifetime_ns=lifetime_ns,
                idle_ns=idle_ns,
                touch_after_ns=(idle_ns or 0) // 10 or 1000,
                hash_tokens=False,
                on_conflict=level,
                renewal_grace=grace,
                rules=rules,
                login_keys=LOGIN_KEYS,
            )
            plans = Plans(_TABLE, clock, consistent_read=consistent)
            self._processes.append(Process(name, DRIVERS[self.options.driver](plans, policy)))
            self.say(name, f"clock {skew_ns / NS:+.3f}s")
        self.say("-", f"on_conflict {level}, mergeable {', '.join(mergeable) or 'nothing'}")
        idle = "none" if idle_ns is None else f"{idle_ns / NS:.0f}s"
        self.say(
            "-",
            f"lifetime {lifetime_ns / NS:.0f}s, idle timeout {idle}, renewal grace {grace}, {items.RECENT} versions remembered, consistent reads: {consistent}",
        )

    def _clock(self, skew_ns: int) -> Callable[[], int]:
        network = self.network
        return lambda: network.now_ns + skew_ns

    def run(self) -> None:
        """Run to the end; `Violation` if a promise was broken, or an exception came out that nobody expects."""
        try:
            self._run()
        except Violation:
            raise
        except Exception as error:
            raise Violation("run", f"{type(error).__name__}: {error}") from error

    def _run(self) -> None:
        self._begin()
        self.network.fates, self.network.slow = self._fates, self._slow
        happenings = self._happenings
        while self.active or self._left:
            self.turns += 1
            self.network.now_ns += TURN_NS
            if self.turns > MOST_TURNS:
                raise Stuck("run", f"not over after {MOST_TURNS} turns")
            if self.active:
                happenings[self.draw(len(happenings))]()
            else:
                self._start()
        self._drain()
        self.oracle.finished()

    def _begin(self) -> None:
        """Most runs begin with a session that is there already, and was made without trouble."""
        if self.draw(8) == 7:
            return
        process = self._processes[0]
        request = Request(self, "setup", process, 0, None)
        request.plan.close()
        request.plan = request.found()
        self._enter(request)
        while self.active:
            self._advance()

    def _drain(self) -> None:
        """What is still under way arrives, or does not; what was begun is ended."""
        network = self.network
        while network.under_way:
            attempt = network.under_way[self.draw(len(network.under_way))]
            if attempt.transaction is not None or self.draw(2):
                network.deliver(attempt)
            else:
                network.under_way.remove(attempt)

    # What may happen

    def _advance(self) -> None:
        """A request goes on by one try of one call, or wakes from a pause."""
        active = self.active
        request = active[self.draw(len(active))] if len(active) > 1 else active[0]
        network = self.network
        if request.wake_ns > network.now_ns:
            network.now_ns = request.wake_ns
        step = request.step
        if isinstance(step, Call):
            try:
                reply = network.attempt(request, step)
            except (ServerError, OSError) as error:
                self._throw(request, faults.explain(error, step.operation, _TABLE.name))
            else:
                if reply is not PENDING:
                    self._send(request, reply)
        else:
            self._send(request, None)

    def _start(self) -> None:
        """A new request comes in, with the token its client has, or with one that somebody had once."""
        if not self._left or len(self.active) >= AT_ONCE:
            if self.active:
                self._advance()
            return
        self._left -= 1
        draw = self.draw
        process = self._processes[draw(2)]
        client = (0, 0, 0, 1)[draw(4)]
        presented = self._jars[client]
        if self._handed_out and draw(6) == 5:
            presented = self._handed_out[draw(len(self._handed_out))]
        self._names += 1
        request = Request(self, f"r{self._names}", process, client, presented)
        if self.options.scs and draw(3) == 2:
            request.plan.close()
            request.plan = request.overwrite()
        self.say(request.name, f"starts on {process.name}, with {short(presented) if presented else 'no token'}")
        self.counts["requests"] += 1
        self._enter(request)

    def _pass_time(self) -> None:
        passing_ns = PASSING_NS[self.draw(len(PASSING_NS))]
        self.network.now_ns += passing_ns
        self.counts["time passed"] += 1
        self.say("-", f"{passing_ns / NS}s pass")

    def _deliver(self) -> None:
        under_way = self.network.under_way
        if under_way:
            self.network.deliver(under_way[self.draw(len(under_way))])
        else:
            self._advance()

    def _sweep(self) -> None:
        server = self.network.server
        keys = server.sweepable()
        if not keys:
            self._advance()
            return
        key = keys[self.draw(len(keys))]
        old = server.items[key]
        self.oracle.swept(key, old)
        server.sweep(key)
        server.changes.clear()
        self.counts["sweeps"] += 1
        self.say("-", f"{describe_item(old)}: swept")

    def _die(self) -> None:
        """A process dies with all its requests, between two of their calls."""
        process = self._processes[self.draw(2)]
        for request in [request for request in self.active if request.process is process]:
            self.active.remove(request)
            request.plan.close()
            self.network.abandon(request)
            self.counts["requests that died"] += 1
        self.counts["deaths"] += 1
        self.say(process.name, "dies")

    # A request goes on

    def _enter(self, request: Request) -> None:
        self.active.append(request)
        self._send(request, None)

    def _send(self, request: Request, reply: object) -> None:
        request.refused = False
        try:
            self._next(request, request.plan.send(reply))
        except StopIteration:
            self._left_by(request)

    def _throw(self, request: Request, error: Exception) -> None:
        request.refused = isinstance(error, faults.ConditionFailed | faults.TransactionRefused)
        if request.refused and request.commit is not None:
            request.commit.conflicts += 1
        try:
            self._next(request, request.plan.throw(error))
        except StopIteration:
            self._left_by(request)
        except StoreError as left:
            # SCS for Go leaves that to its callers.
            if not request.foreign:
                raise
            request.outcome = type(left).__name__
            self._left_by(request)

    def _next(self, request: Request, step: object) -> None:
        request.step = step
        request.tries = 0
        if step is not request.call and isinstance(step, Call):
            # Made anew; a call that met a transaction is made once more as it was.
            request.call, request.issued_ns = step, self.network.now_ns
        if isinstance(step, Pause):
            request.wake_ns = self.network.now_ns + int(step.seconds * NS)

    def _left_by(self, request: Request) -> None:
        self.active.remove(request)
        self.say(request.name, f"ends: {request.outcome}, status {request.session.status.value}")
        if request.outcome == "done" and not request.foreign and self._jars[request.client] == request.presented:
            self._jars[request.client] = request.session.token

    def acknowledged(self, request: Request, commit: Commit) -> None:
        """A commit ended without an error."""
        state, counts = request.state, self.counts
        if self.trace is not None:
            told = describe_events(commit.all_events())
            kind = "atomic step" if commit.atomic else "commit"
            self.say(request.name, f"{kind} {commit.number} ({told}): acknowledged, {state.status.value}")
        self.oracle.acknowledged(commit, state, request.presented)
        counts["atomic steps"] += commit.atomic
        counts["commits"] += 1
        counts["conflicts"] += commit.conflicts
        if commit.applied and request.refused:
            counts["retries recognised as success"] += 1
        elif commit.applied and commit.conflicts:
            counts["merges"] += 1
        counts["renewals"] += commit.renews and commit.applied
        counts["destroys"] += commit.destroys is not None
        counts["gone"] += commit.destroys is None and state.gone
        if state.token is not None and state.token not in self._handed_out:
            self._handed_out.append(state.token)

    def failed(self, request: Request, error: Exception) -> None:
        """A request ended by an error: which ones may it be?"""
        self.counts["requests that failed"] += 1
        if not isinstance(error, Boom | UnavailableError | ThrottledError | SessionConflict):
            raise Violation("failed", f"{request.name} ended by {type(error).__name__}: {error}") from error
        if isinstance(error, StoreError) and self.network.fates == (Fate.FINE,) and not self.network.slow:
            raise Violation("failed", f"{request.name} ended by {type(error).__name__} without a fault: {error}")
        self.counts["stale"] += isinstance(error, SessionConflict)

    # For the trace, and for values that are told apart

    def unique(self, what: str) -> str:
        self._names += 1
        return f"{what}{self._names}"

    def tell(self, request: Request, what: str) -> None:
        self.say(request.name, what)

    def say(self, who: str, what: str) -> None:
        if self.trace is not None:
            self.trace.say(self.network.now_ns, who, what)
