"""`StoreAgreement`: run the same calls against several stores and assert that the results are the same."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import ClassVar, TypeAlias

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from dynamostore.contract import Record, Store
from dynamostore.errors import Conflict, StoreError

from ._clock import HOUR, MICROSECOND, QUARTER, FakeClock

__all__ = ["StoreAgreement"]

Outcome: TypeAlias = tuple[str, object]
Answers: TypeAlias = dict[str, Record]
Bundled: TypeAlias = Answers | MultipleResults[Answers]


class StoreAgreement(RuleBasedStateMachine):
    """Run the same calls against several stores, with a clock that moves, and assert that the results are the same.

    Subclass it, return the stores from `stores` (the others are compared with the first), and give its ``TestCase`` to
    pytest::

        class Agreement(StoreAgreement):
            def stores(self, clock):
                return {"memory": MemoryStore(clock=clock), "mine": MyStore(clock=clock)}

        TestAgreement = Agreement.TestCase
    """

    records: ClassVar[Bundle[Answers]] = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.clock: FakeClock = FakeClock()
        self._stores = self.stores(self.clock)
        # Several examples may use the same stores, so each uses its own tokens.
        self._prefix = secrets.token_urlsafe(12)

    def stores(self, clock: FakeClock) -> Mapping[str, Store]:
        """Return the stores by name. They must use *clock*."""
        raise NotImplementedError

    names: ClassVar[st.SearchStrategy[str]] = st.sampled_from("abc")
    data: ClassVar[st.SearchStrategy[bytes]] = st.binary(max_size=20)
    seconds: ClassVar[st.SearchStrategy[timedelta]] = st.integers(-3, 30).map(lambda n: timedelta(seconds=n))
    graces: ClassVar[st.SearchStrategy[timedelta]] = st.sampled_from(
        [timedelta(0), timedelta(0), timedelta(seconds=10), timedelta(minutes=20)]
    )
    shifts: ClassVar[st.SearchStrategy[timedelta]] = seconds | st.integers(-2, 2).map(lambda n: n * MICROSECOND)

    @initialize(target=records, name=names, data=data)
    def begin(self, name: str, data: bytes) -> Bundled:
        note("a first record")
        return self._agree(lambda store, _: store.create(self._token(name), data, self.clock.now + HOUR))

    @rule(
        by=st.integers(0, 30).map(lambda n: timedelta(seconds=n)) | st.sampled_from([QUARTER / 2, QUARTER]),
        ns=st.integers(0, 2),
    )
    def time_passes(self, by: timedelta, ns: int) -> None:
        self.clock.advance(by)
        self.clock.now_ns += ns

    @rule(target=records, name=names)
    def find(self, name: str) -> Bundled:
        return self._agree(lambda store, _: store.find(self._token(name)))

    @rule(target=records, name=names, data=data, shift=shifts)
    def save(self, name: str, data: bytes, shift: timedelta) -> Bundled:
        return self._agree(lambda store, _: store.save(self._token(name), data, self.clock.now + shift))

    @rule(target=records, name=names, data=data, shift=shifts)
    def create(self, name: str, data: bytes, shift: timedelta) -> Bundled:
        return self._agree(lambda store, _: store.create(self._token(name), data, self.clock.now + shift))

    @rule(target=records, answers=records, data=data, shift=shifts)
    def replace(self, answers: Answers, data: bytes, shift: timedelta) -> Bundled:
        return self._agree(lambda store, n: store.replace(answers[n], data, self.clock.now + shift))

    @rule(target=records, answers=records, shift=shifts)
    def touch(self, answers: Answers, shift: timedelta) -> Bundled:
        return self._agree(lambda store, n: store.touch(answers[n], self.clock.now + shift))

    @rule(target=records, answers=records, name=names, data=data, shift=shifts, grace=graces)
    def rename(self, answers: Answers, name: str, data: bytes, shift: timedelta, grace: timedelta) -> Bundled:
        expiry = self.clock.now + shift
        return self._agree(lambda store, n: store.rename(answers[n], self._token(name), data, expiry, grace=grace))

    @rule(answers=records)
    def remove(self, answers: Answers) -> None:
        self._agree(lambda store, n: store.remove(answers[n]))

    @rule(name=names)
    def delete(self, name: str) -> None:
        self._agree(lambda store, _: store.delete(self._token(name)))

    @rule(bad=st.sampled_from(["", "x" * 2049, "\ud800"]))
    def find_malformed(self, bad: str) -> None:
        self._agree(lambda store, _: store.find(bad))

    @invariant()
    def the_same_is_there(self) -> None:
        for name in "abc":
            self._agree(partial(_find, token=self._token(name)))

    def _token(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _agree(self, act: Callable[[Store, str], Record | None]) -> Bundled:
        """Run *act* on all stores, assert that the outcomes are equal, and return the records in them, by store."""
        outcomes: dict[str, Outcome] = {}
        records: Answers = {}
        for name, store in self._stores.items():
            outcome, record = _outcome(store, name, act)
            outcomes[name] = outcome
            if record is not None:
                records[name] = record
        expected = next(iter(outcomes.values()))
        assert all(outcome == expected for outcome in outcomes.values()), outcomes
        return records or multiple()


def _find(store: Store, _: str, token: str) -> Record | None:
    return store.find(token)


def _outcome(store: Store, name: str, act: Callable[[Store, str], Record | None]) -> tuple[Outcome, Record | None]:
    """Return the outcome of *act* without versions, which may differ between stores, and the record in it."""
    try:
        record = act(store, name)
        said = "answer"
    except Conflict as conflict:
        record = conflict.current
        said = "Conflict, renamed" if conflict.renamed else "Conflict"
    except (StoreError, ValueError, TypeError) as error:
        return (type(error).__name__, str(error)), None
    return (said, record and (record.token, record.data, record.expiry_ns, record.version > 0)), record
