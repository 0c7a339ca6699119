"""Attempts at a call, as a plan: what is tried again and when, as the SDKs' "standard" mode has it.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html. No I/O and no clock of its own: a plan asks
its driver to exchange a request for a reply, to fetch credentials, and to pause.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from dynamostore.hidden import Hidden
from dynamostore.instants import NS_PER_S, http_date_ns
from dynamostore.steps import Call, Plan, issue, pause

from ._invocations import Invocations
from .errors import CertificateError, CredentialsUnavailableError, ServiceError, TransportError
from .types import Operation, Reply

if TYPE_CHECKING:
    from ._access import Access
    from ._core import Core, Endpoint
    from ._http import RawReply
    from ._sigv4 import Credentials

__all__ = ["Caller", "Limits", "Quota"]

R = TypeVar("R", bound=Reply)

logger = logging.getLogger("dynamostore.wire")

_DIGITS: Final = re.compile(r"[0-9]+")

THROTTLING: Final = frozenset(
    (
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    )
)
# The last of them: another Region writes the item, too. botocore's model of DynamoDB says that it can be tried again.
TRANSIENT: Final = frozenset(
    ("InternalServerError", "RequestTimeout", "RequestTimeoutException", "ReplicatedWriteConflictException")
)
# DynamoDB answers so to a request whose time is off, too.
SKEWED: Final = frozenset(
    (
        "AuthFailure",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    )
)
# Credentials that are not good any more: after the first two AWS's SDK for Go, too, fetches others; the last one is said of a
# token that expired long ago, and DynamoDB's documentation has it among what may be tried again.
EXPIRED: Final = frozenset(("ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException"))
MOST_SKEW: Final = 240.0
"""From how many seconds on a refusal may be due to the clock: the service allows five minutes."""

FIRST_BACKOFF: Final = 0.025
FIRST_BACKOFF_THROTTLED: Final = 1.0
MOST_BACKOFF: Final = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How often is tried (*attempts*), and how long at most, in seconds, for all that belongs to one call."""

    attempts: int
    call_timeout: float


class Quota:
    """How many retries a client may still make: when a service is down, it stops doubling the load on it.

    A retry costs, and a success gives back what it cost; so a few failures among many successes are always retried.
    Threads that count at once may miscount by one of them; a lock could be left locked by a fork.
    """

    CAPACITY: Final = 500
    COST: Final = 14
    COST_THROTTLED: Final = 5
    REFILL: Final = 1

    def __init__(self) -> None:
        self.available = self.CAPACITY

    def take(self, cost: int) -> bool:
        """Whether there is enough for a retry, which then is taken."""
        if self.available < cost:
            return False
        self.available -= cost
        return True

    def give(self, amount: int) -> None:
        """Give back, after a success."""
        if self.available < self.CAPACITY:
            self.available = min(self.CAPACITY, self.available + amount)


class Caller:
    """Makes calls, and again where that may help. *clock* gives Unix seconds, *monotonic* seconds, *random* 0 to 1."""

    def __init__(
        self,
        core: Core,
        access: Access,
        limits: Limits,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._core = core
        self._access = access
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._invocations = Invocations(limits.attempts)
        self.quota = Quota()
        self.skew = 0.0
        """What is added to the clock, in seconds, since the service said what time it is."""

    def call(self, operation: Operation[R], body: Hidden[bytes], elsewhere: Endpoint | None = None) -> Plan[R]:
        """One call of *operation*: its reply, or the last attempt's failure. It goes *elsewhere* than to the caller's endpoint."""
        # In one piece, and what it yields as it is: this is on the way of every call.
        deadline = self._monotonic() + self._limits.call_timeout
        left = self._limits.call_timeout
        retries = cost = 0
        fresh = False
        first = unsigned = ""
        while True:
            mended = False
            try:
                access = self._access.current()
                if access is None:
                    access = yield from issue(_fetch(left))
                    left = deadline - self._monotonic()
                credentials, endpoint = access
                endpoint = elsewhere or endpoint
                here, skew = self._clock(), self.skew
                if not first:
                    first = unsigned = self._invocations.begin(int(here))
                if retries:
                    unsigned = self._invocations.again(first, retries + 1)
                request = Hidden(
                    self._core.request(operation, body.reveal(), endpoint, credentials, here + skew, unsigned=unsigned)
                )
                reply: R | ServiceError = yield Call(
                    "exchange",
                    {
                        "endpoint": endpoint,
                        "request": request,
                        "timeout": left,
                        # The pool calls it before it keeps the connection: a damaged reply ends the connection.
                        "read": partial(self._read, operation, retries, here, skew),
                        "fresh": fresh,
                    },
                )
                if isinstance(reply, ServiceError):
                    mended = self._is_mended(reply, access, skew)
                    raise reply
            except (ServiceError, TransportError) as error:
                retries += 1
                failure = error
                # An idle connection may be as dead as this one was.
                fresh = isinstance(error, TransportError)
                cost, delay = (0, 0.0) if mended else self._judge(error, retries)
            else:
                self.quota.give(cost or Quota.REFILL)
                return reply
            left = deadline - self._monotonic()
            if delay is None or retries >= self._limits.attempts or delay >= left or not self.quota.take(cost):
                raise failure
            logger.debug("%s: %s; attempt %d in %.3f s", operation.name, _kind(failure), retries + 1, delay)
            if delay:
                yield from pause(delay)
                # It may have been longer: the process was frozen, or the loop is busy.
                left = deadline - self._monotonic()
                if left <= 0:
                    raise failure

    def _read(self, operation: Operation[R], retries: int, here: float, skew: float, raw: RawReply) -> R | ServiceError:
        """Return what DynamoDB replied, be it a refusal; raise `DamagedReplyError` for what it did not reply."""
        try:
            return self._core.reply(operation, raw, retries)
        except ServiceError as refusal:
            if refusal.code == str(raw.status):
                # It has no code of DynamoDB's, as the 502 of a proxy: nobody knows what is behind this connection.
                raw.reusable = False
            if refusal.code in SKEWED:
                self._look_at_the_clock(raw, here, skew)
            return refusal

    def _look_at_the_clock(self, raw: RawReply, here: float, skew: float) -> None:
        """Set the skew anew if that may be why a request was refused that was signed at *here* plus *skew*."""
        there = _date(raw)
        if there is None or abs(there - here - skew) < MOST_SKEW:
            return
        self.skew = there - here
        logger.warning("the clock is off by %.0f s: requests are signed with DynamoDB's time", self.skew)

    def _is_mended(self, refusal: ServiceError, access: tuple[Credentials, Endpoint], skew: float) -> bool:
        """Return True if the next attempt has a time, or credentials, other than those that were refused."""
        if refusal.code in SKEWED:
            return self.skew != skew
        return refusal.code in EXPIRED and self._access.refuse(access)

    def _judge(self, error: ServiceError | TransportError, retries: int) -> tuple[int, float | None]:
        """What a retry after *error* costs, and how many seconds it waits; None: it would not help."""
        first, cost = FIRST_BACKOFF, Quota.COST
        if isinstance(error, ServiceError):
            if error.code in THROTTLING or error.status == 429:
                first, cost = FIRST_BACKOFF_THROTTLED, Quota.COST_THROTTLED
            elif error.status not in (500, 502, 503, 504) and error.code not in TRANSIENT:
                return cost, None
        elif isinstance(error, CertificateError | CredentialsUnavailableError):
            return cost, None
        delay = self._random() * min(first * 2 ** (retries - 1), MOST_BACKOFF)
        if isinstance(error, ServiceError) and (wanted := _retry_after(error)) is not None:
            delay = max(delay, min(wanted, delay + 5))
        return cost, delay


def _fetch(timeout: float) -> Call[tuple[Credentials, Endpoint]]:
    return Call("fetch", {"timeout": timeout})


def _date(raw: RawReply) -> float | None:
    """The service's time, in Unix seconds, as its reply has it."""
    there_ns = http_date_ns(raw.headers.get("date", ""))
    return None if there_ns is None else there_ns / NS_PER_S


def _retry_after(error: ServiceError) -> float | None:
    """How long the service wants to be left alone, in seconds."""
    metadata = error.response.get("ResponseMetadata")
    headers = metadata.get("HTTPHeaders", {}) if isinstance(metadata, dict) else {}
    text = headers.get("x-amz-retry-after", "")
    if not _DIGITS.fullmatch(text):
        return None
    return int(text) / 1000 if len(text) < 10 else float("inf")


def _kind(error: ServiceError | TransportError) -> str:
    return error.code if isinstance(error, ServiceError) else type(error).__name__
