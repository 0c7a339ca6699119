"""Many processes make one table at once, on a model of DynamoDB's control plane: each ends in time, and the table is there."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamostore import Table, UnavailableError
from dynamostore.plans import faults
from dynamostore.plans.create_table import create_table
from dynamostore.steps import Call, Plan

TABLE = Table(name="sessions")
TIMEOUT = 60.0


class RefusedError(Exception):
    """A refusal in the shape of botocore's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": message}}


@dataclass
class ControlPlane:
    """One table: changes take their time, are seen late, and some calls are throttled."""

    status: str | None
    until: float
    """When what is under way is through."""
    lag: float
    throttled: frozenset[int]
    ttl: bool = False
    now: float = 0.0
    calls: int = 0
    created: int = 0
    seen_from: float = 0.0

    def answer(self, operation: str, arguments: Mapping[str, object]) -> Any:
        del arguments
        self.calls += 1
        if self.calls in self.throttled:
            raise RefusedError("ThrottlingException", "Rate exceeded")
        if self.now >= self.until:
            self.status = {"DELETING": None, "CREATING": "ACTIVE", "UPDATING": "ACTIVE"}.get(
                str(self.status), self.status
            )
        return getattr(self, operation)()

    def describe_table(self) -> object:
        self._check_there()
        key = [{"AttributeName": "token", "KeyType": "HASH"}]
        types = [{"AttributeName": "token", "AttributeType": "S"}]
        return {"Table": {"TableStatus": self.status, "KeySchema": key, "AttributeDefinitions": types}}

    def create_table(self) -> object:
        if self.status is not None:
            raise RefusedError("ResourceInUseException", f"Table is {self.status}")
        self.status, self.until, self.ttl = "CREATING", self.now + 3, False
        self.seen_from = self.now + self.lag
        self.created += 1
        return {}

    def describe_time_to_live(self) -> object:
        self._check_there()
        shown = (
            {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"} if self.ttl else {"TimeToLiveStatus": "DISABLED"}
        )
        return {"TimeToLiveDescription": shown}

    def update_time_to_live(self) -> object:
        self._check_there()
        if self.status != "ACTIVE":
            raise RefusedError("ResourceInUseException", f"Table is {self.status}")
        if self.ttl:
            raise RefusedError("ValidationException", "TimeToLive is already enabled")
        self.ttl = True
        return {}

    def _check_there(self) -> None:
        if self.status is None or self.now < self.seen_from:
            raise RefusedError("ResourceNotFoundException", "Requested resource not found")


def start_together(plane: ControlPlane, starts: list[float]) -> list[float]:
    """Run `create_table` from each of *starts* on, a call at a time; how long each took."""
    took = []
    queue: list[tuple[float, int, Plan[None], Any]] = []
    for number, start in enumerate(starts):
        plan = create_table(TABLE, timeout=TIMEOUT, monotonic=lambda: plane.now)
        heapq.heappush(queue, (start, number, plan, None))
    while queue:
        plane.now, number, plan, outcome = heapq.heappop(queue)
        try:
            step = plan.throw(outcome) if isinstance(outcome, Exception) else plan.send(outcome)
        except StopIteration:
            took.append(plane.now - starts[number])
            continue
        after, answer = 0.01, None
        if isinstance(step, Call):
            try:
                answer = plane.answer(step.operation, step.arguments)
            except RefusedError as error:
                answer = faults.explain(error, step.operation, TABLE.name)
        else:
            after = step.seconds
        heapq.heappush(queue, (plane.now + after, number, plan, answer))
    return took


@settings(max_examples=40, deadline=None)
@given(
    status=st.sampled_from([None, "CREATING", "DELETING", "UPDATING", "ACTIVE"]),
    until=st.floats(0, 20),
    lag=st.floats(0, 10),
    throttled=st.frozensets(st.integers(1, 60), max_size=30),
    ttl=st.booleans(),
    starts=st.lists(st.floats(0, 5), min_size=1, max_size=6),
)
def test_however_many_start_at_whatever_moment_the_table_is_there(
    status: str | None, until: float, lag: float, throttled: frozenset[int], ttl: bool, starts: list[float]
) -> None:
    plane = ControlPlane(status, until, lag, throttled, ttl)
    took = start_together(plane, starts)
    assert len(took) == len(starts)
    assert max(took) < TIMEOUT
    # A table that is being updated is in use all the while.
    assert plane.status in ("ACTIVE", "UPDATING")
    assert plane.ttl
    assert plane.created == (status in (None, "DELETING"))


@pytest.mark.parametrize("status", ["CREATING", "DELETING"])
def test_what_is_never_through_ends_in_time(status: str) -> None:
    plane = ControlPlane(status, float("inf"), 0, frozenset())
    with pytest.raises(UnavailableError, match=f"still {status} after 60 s"):
        start_together(plane, [0.0])
    assert TIMEOUT <= plane.now < TIMEOUT + 1
