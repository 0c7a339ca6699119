"""The SDK's client and the network between a plan and the server: retries, lost replies, late deliveries.

A plan's call is tried up to three times, as the SDKs' standard mode does; what becomes of each try is a choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from dynamostore.steps import Call

from .choices import Choices
from .intent import Commit
from .model import NS, Server, ServerError, Transaction
from .trace import Trace

TRIES = 3
TIMEOUT_NS = 2 * NS
"""How long a client waits for a reply that does not come."""
SIGNED_NS = 300 * NS
"""How long a request may be under way: its signature is good for five minutes, then the service refuses it."""
BACKOFFS_NS = (0, 50_000_000, NS)
"""Before another try: no time to speak of, a moment, a while."""


class Fate(Enum):
    """What becomes of one try."""

    FINE = "fine"
    THROTTLED = "throttled"
    FAILED = "500"
    FAILED_APPLIED = "the reply a 500"
    RESET = "reset before it arrived"
    LOST = "the reply lost"
    LATE = "timed out, still under way"
    SLOW = "begun"
    """A transaction that holds its items until the request's next turn."""


FAULTS: Sequence[Fate] = tuple(fate for fate in Fate if fate is not Fate.FINE)


class Sender(Protocol):
    """A request, as far as the network knows it."""

    name: str
    foreign: bool
    commit: Commit | None
    tries: int
    wake_ns: int
    issued_ns: int
    held: Attempt | None
    last_read: tuple[int, Any] | None


@dataclass(slots=True, eq=False)
class Attempt:
    """One try of a call, on its way. *issued_ns*: when the plan made it, and asked what time it was."""

    sender: Sender
    commit: Commit | None
    call: Call[Any]
    number: int
    sent_ns: int
    issued_ns: int
    transaction: Transaction | None = None
    late: bool = False


class Watcher(Protocol):
    def applied(self, attempt: Attempt) -> None: ...


class Pending:
    """What `Network.attempt` returns when the call is not over: it will be tried again."""


PENDING = Pending()


class Network:
    """Everything between the requests and the server; *now_ns* is the server's clock, and the truth."""

    def __init__(
        self,
        choices: Choices,
        watcher: Watcher,
        trace: Trace | None,
        counts: Counter[str],
        server: type[Server] = Server,
    ) -> None:
        self.now_ns = 1_800_000_000 * NS
        self.server = server(lambda: self.now_ns)
        self.under_way: list[Attempt] = []
        self.late_creates = False
        """Whether a create may arrive once more after a later try of it has been applied: see `Options`."""
        self.fates: Sequence[Fate] = (Fate.FINE,)
        self.slow = False
        """Whether transactions may take their time."""
        self._draw = choices.draw
        self._watcher = watcher
        self._trace = trace
        self._counts = counts

    def attempt(self, sender: Sender, call: Call[Any]) -> dict[str, Any] | Pending:
        """Try a call once; return the reply, raise what the plan is to see, or leave it `PENDING`."""
        if sender.held is not None:
            attempt, sender.held = sender.held, None
        else:
            sender.tries += 1
            attempt = Attempt(sender, sender.commit, call, sender.tries, self.now_ns, sender.issued_ns)
        fate = self.fates[self._draw(len(self.fates))]
        if self.slow and call.operation == "transact_write_items" and attempt.transaction is None and self._draw(2):
            fate = Fate.SLOW
        if fate is not Fate.FINE:
            self._counts[fate.value] += 1
        try:
            return self._meet(attempt, fate)
        except ServerError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = attempt.number - 1
            failure: Exception = error
            again = error.code in _TRIED_AGAIN
        except OSError as error:
            failure, again = error, True
        if again and attempt.number < TRIES:
            sender.wake_ns = max(sender.wake_ns, self.now_ns + BACKOFFS_NS[self._draw(len(BACKOFFS_NS))])
            return PENDING
        raise failure

    def _meet(self, attempt: Attempt, fate: Fate) -> dict[str, Any] | Pending:
        match fate:
            case Fate.FINE:
                return self.apply(attempt)
            case Fate.SLOW:
                self._begin(attempt)
                return PENDING
            case Fate.LATE:
                self._tell(attempt, fate.value)
                attempt.late = True
                attempt.sender.wake_ns = self.now_ns + TIMEOUT_NS
                if attempt.call.operation != "get_item":
                    self.under_way.append(attempt)
                raise TimeoutError("read timed out")
        if fate in (Fate.FAILED_APPLIED, Fate.LOST):
            with suppress(ServerError):
                self.apply(attempt, but=f", {fate.value}")
            raise _failure(fate)
        if attempt.transaction is not None:
            # It was begun, so the service ends it, whatever the client gets to see.
            self.under_way.append(attempt)
        self._tell(attempt, fate.value)
        raise _failure(fate)

    def apply(self, attempt: Attempt, but: str = "") -> dict[str, Any]:
        """Have the server do it, now; and have it watched."""
        server = self.server
        try:
            call = attempt.call
            if attempt.transaction is not None:
                reply = server.finish(attempt.transaction)
            elif call.operation == "get_item":
                stale = 0 if call.arguments["ConsistentRead"] else self._draw(3)
                reply = server.get_item(call.arguments, stale=stale)
                attempt.sender.last_read = (self.now_ns, reply.get("Item"))
            else:
                reply = server.call(call.operation, call.arguments)
        except ServerError as error:
            self._tell(attempt, error.code + but)
            raise
        self._tell(attempt, "ok" + but)
        if server.changes:
            self._watcher.applied(attempt)
            server.changes.clear()
        return reply

    def deliver(self, attempt: Attempt) -> None:
        """Apply what was under way since some earlier moment; nobody waits for the reply any more."""
        self.under_way.remove(attempt)
        self._counts["delivered late"] += 1
        if attempt.transaction is None and self.now_ns - attempt.sent_ns > SIGNED_NS:
            self._tell(attempt, "too old, refused")
            return
        if attempt.call.operation == "put_item" and attempt.commit and attempt.commit.applied and not self.late_creates:
            return
        with suppress(ServerError):
            self.apply(attempt)

    def abandon(self, sender: Sender) -> None:
        """The process of *sender* died: what the server has begun for it, it will finish."""
        if sender.held is not None:
            self.under_way.append(sender.held)
            sender.held = None

    def _begin(self, attempt: Attempt) -> None:
        try:
            attempt.transaction = self.server.begin(attempt.call.arguments)
        except ServerError as error:
            self._tell(attempt, error.code)
            raise
        # None: it was done before; the next turn gets the same answer once more.
        attempt.sender.held = attempt
        self._tell(attempt, Fate.SLOW.value)

    def _tell(self, attempt: Attempt, outcome: str) -> None:
        if self._trace is not None:
            self._trace.attempt(attempt, outcome, self.now_ns)


def _failure(fate: Fate) -> Exception:
    """What the client gets to see of it."""
    match fate:
        case Fate.THROTTLED:
            return ServerError("ProvisionedThroughputExceededException", "slow down")
        case Fate.FAILED | Fate.FAILED_APPLIED:
            return ServerError("InternalServerError", "internal error", status=500)
    return ConnectionResetError("connection reset by peer")


_TRIED_AGAIN = {"ProvisionedThroughputExceededException", "InternalServerError", "TransactionInProgressException"}
