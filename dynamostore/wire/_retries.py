"""A call and its retries, as a plan. It retries like the "standard" mode of the AWS SDKs.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html. No I/O: the plan asks its driver to exchange a
request for a reply, to fetch credentials, and to pause. It reads the clocks that it is given.
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
# The last means that another Region writes the item, too. botocore's model of DynamoDB marks it as retryable.
TRANSIENT: Final = frozenset(
    ("InternalServerError", "RequestTimeout", "RequestTimeoutException", "ReplicatedWriteConflictException")
)
# DynamoDB also returns these codes if the time of a request is wrong.
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
# The credentials are no longer valid. AWS's SDK for Go fetches new ones after the first two as well. DynamoDB returns the last
# one for a token that expired long ago, and its documentation lists it as retryable.
EXPIRED: Final = frozenset(("ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException"))
MOST_SKEW: Final = 240.0
"""Seconds of clock skew from which a refusal may be due to the clock. The service allows five minutes."""

FIRST_BACKOFF: Final = 0.025
FIRST_BACKOFF_THROTTLED: Final = 1.0
MOST_BACKOFF: Final = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one call: the number of *attempts*, and the seconds for all of them together (*call_timeout*)."""

    attempts: int
    call_timeout: float


class Quota:
    """A budget for a client's retries. If the service is down, the client stops retrying and does not double the load.

    A retry takes from the budget, and its success gives the same amount back. So a few failures among many successes are
    always retried. There is no lock, because a fork could leave it locked; threads that count at once may lose an update.
    """

    CAPACITY: Final = 500
    COST: Final = 14
    COST_THROTTLED: Final = 5
    REFILL: Final = 1

    def __init__(self) -> None:
        self.available = self.CAPACITY

    def take(self, cost: int) -> bool:
        """Take *cost* for a retry and return True, or return False if the budget is too low."""
        if self.available < cost:
            return False
        self.available -= cost
        return True

    def give(self, amount: int) -> None:
        """Give *amount* back after a success."""
        if self.available < self.CAPACITY:
            self.available = min(self.CAPACITY, self.available + amount)


class Caller:
    """Makes calls, and retries them if that may help.

    *clock* returns Unix seconds, *monotonic* monotonic seconds, and *random* a number from 0 to 1.
    """

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
        """Seconds to add to the clock, learned from the service's ``Date`` header."""

    def call(self, operation: Operation[R], body: Hidden[bytes], elsewhere: Endpoint | None = None) -> Plan[R]:
        """Call *operation*. Return its reply, or raise the last attempt's failure.

        *elsewhere*: an endpoint to use in place of the caller's own.
        """
        # Every call runs this, so it is one long function and yields its calls directly.
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
                        # The pool runs this before it keeps the connection, so that a damaged reply closes the connection.
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
                # The other idle connections may be dead too, so retry on a new one.
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
                # The pause may have taken longer, if the process was frozen or the loop was busy.
                left = deadline - self._monotonic()
                if left <= 0:
                    raise failure

    def _read(self, operation: Operation[R], retries: int, here: float, skew: float, raw: RawReply) -> R | ServiceError:
        """Return DynamoDB's reply or refusal. Raise `DamagedReplyError` if it does not come from DynamoDB."""
        try:
            return self._core.reply(operation, raw, retries)
        except ServiceError as refusal:
            if refusal.code == str(raw.status):
                # There is no error code of DynamoDB, so it may be the 502 of a proxy. Do not reuse the connection.
                raw.reusable = False
            if refusal.code in SKEWED:
                self._look_at_the_clock(raw, here, skew)
            return refusal

    def _look_at_the_clock(self, raw: RawReply, here: float, skew: float) -> None:
        """Update the skew if the clock may be the reason why a request was refused. It was signed at *here* plus *skew*."""
        there = _date(raw)
        if there is None or abs(there - here - skew) < MOST_SKEW:
            return
        self.skew = there - here
        logger.warning(
            "this host's clock is off by %.0f s: requests are now signed with DynamoDB's time; correct the clock",
            self.skew,
        )

    def _is_mended(self, refusal: ServiceError, access: tuple[Credentials, Endpoint], skew: float) -> bool:
        """Return True if the next attempt will use another time, or other credentials, than the refused attempt."""
        if refusal.code in SKEWED:
            return self.skew != skew
        return refusal.code in EXPIRED and self._access.refuse(access)

    def _judge(self, error: ServiceError | TransportError, retries: int) -> tuple[int, float | None]:
        """Return the cost of a retry after *error* and the seconds to wait before it. None: a retry would not help."""
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
    """Return the service's time from the reply's ``Date`` header, in Unix seconds."""
    there_ns = http_date_ns(raw.headers.get("date", ""))
    return None if there_ns is None else there_ns / NS_PER_S


def _retry_after(error: ServiceError) -> float | None:
    """Return for how many seconds the service asks to wait before a retry, or None."""
    metadata = error.response.get("ResponseMetadata")
    headers = metadata.get("HTTPHeaders", {}) if isinstance(metadata, dict) else {}
    text = headers.get("x-amz-retry-after", "")
    if not _DIGITS.fullmatch(text):
        return None
    return int(text) / 1000 if len(text) < 10 else float("inf")


def _kind(error: ServiceError | TransportError) -> str:
    return error.code if isinstance(error, ServiceError) else type(error).__name__
