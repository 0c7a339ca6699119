"""The conformance suite for anybody's store: what `dynamostore.Store` promises, as tests.

Subclass `StoreContract` in a test module of yours, with a ``store`` fixture; pytest does the rest. Needs
``pip install dynamostore[testing]``.

    from dynamostore.testing import FakeClock, StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock: FakeClock) -> Store:
            return MyStore(clock=clock)

`StoreAgreement` is a hypothesis state machine that runs all verbs against several stores in lockstep, yours
and `MemoryStore`, say, and asserts that they agree.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ClassVar, TypeAlias

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from . import items
from ._instants import INT64_MAX, from_ns
from .contract import Record, Store
from .errors import Conflict, ItemTooLargeError, StoreError
from .table import Table

__all__ = ["FakeClock", "StoreAgreement", "StoreContract", "expiries", "tokens"]

Write: TypeAlias = Callable[[], Record]
Outcome: TypeAlias = tuple[str, object]
Answers: TypeAlias = dict[str, Record]
Bundled: TypeAlias = Answers | MultipleResults[Answers]

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

# The fixtures are made once for all examples of a test: each example takes tokens of its own.
examples = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


class FakeClock:
    """A clock that stands still until it is moved; *now_ns* is Unix nanoseconds.

    >>> clock = FakeClock()
    >>> clock.advance(timedelta(seconds=1))
    >>> clock.now
    datetime.datetime(2030, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self.now_ns = int(start.timestamp()) * 10**9

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, by: timedelta) -> None:
        """Move the clock, forwards or backwards."""
        self.now_ns += by // MICROSECOND * 1000

    @property
    def now(self) -> datetime:
        """The time as an aware UTC datetime, cut off to the microsecond."""
        return from_ns(self.now_ns)


def tokens() -> st.SearchStrategy[str]:
    """Tokens that nothing else uses: of printable characters of all kinds, up to 2048 bytes of UTF-8."""
    text = st.text(st.characters(codec="utf-8"), max_size=40)
    return st.builds(lambda tail: secrets.token_urlsafe(16) + tail, text | st.just("x" * (items.MAX_TOKEN - 22)))


def expiries() -> st.SearchStrategy[datetime]:
    """Expiries that a `FakeClock` does not reach soon, up to the last one there is."""
    first = datetime(2030, 1, 2)  # noqa: DTZ001 (the strategy wants its bounds naive)
    last = from_ns(INT64_MAX).replace(tzinfo=None)
    return st.datetimes(first, last, timezones=st.timezones() | st.just(UTC)).map(_clamped)


def _clamped(instant: datetime) -> datetime:
    """*instant*, unless its offset takes it beyond 64-bit nanoseconds."""
    return min(instant, from_ns(INT64_MAX))


class StoreContract:
    """What any store promises, as tests; give it a ``store`` fixture.

    The ``clock`` fixture is a `FakeClock`, for the store to read and the tests to move. A store that cannot
    be given a clock may override it with a fixture that skips.
    """

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def token(self) -> str:
        return secrets.token_urlsafe(32)

    @pytest.fixture
    def later(self, clock: FakeClock) -> datetime:
        return clock.now + HOUR

    # find, save

    def test_what_is_not_there_is_none(self, store: Store, token: str) -> None:
        assert store.find(token) is None

    @examples
    @given(token=tokens(), data=st.binary(max_size=2000), expiry=expiries())
    def test_what_was_saved_is_found(self, store: Store, token: str, data: bytes, expiry: datetime) -> None:
        saved = store.save(token, data, expiry)
        assert (saved.token, saved.data, saved.expiry) == (token, data, expiry.astimezone(UTC))
        assert saved.expiry.tzinfo is UTC
        assert saved.version > 0
        assert store.find(token) == saved

    def test_save_overwrites_with_a_new_version(self, store: Store, token: str, later: datetime) -> None:
        first = store.save(token, b"first", later)
        second = store.save(token, b"first", later)
        assert second.version != first.version
        assert store.find(token) == second

    # expiry

    def test_a_record_lives_to_the_very_nanosecond_of_its_expiry(
        self, store: Store, token: str, clock: FakeClock
    ) -> None:
        record = store.save(token, b"data", clock.now + HOUR)
        clock.advance(HOUR)
        assert store.find(token) == record
        clock.now_ns += 1
        assert store.find(token) is None

    def test_a_record_may_be_saved_expired_and_is_gone(self, store: Store, token: str, clock: FakeClock) -> None:
        store.save(token, b"data", clock.now - HOUR)
        assert store.find(token) is None

    def test_an_expired_record_is_gone_for_every_verb(self, store: Store, token: str, clock: FakeClock) -> None:
        record = store.save(token, b"data", clock.now + HOUR)
        clock.advance(HOUR + MICROSECOND)
        later = clock.now + HOUR
        verbs: tuple[Write, ...] = (
            lambda: store.replace(record, b"new", later),
            lambda: store.touch(record, later),
            lambda: store.rename(record, token + "2", b"new", later),
        )
        for late in verbs:
            with pytest.raises(Conflict) as caught:
                late()
            assert caught.value.current is None
        assert store.find(token) is None
        assert store.find(token + "2") is None

    # create

    def test_create_does_not_overwrite(self, store: Store, token: str, later: datetime) -> None:
        first = store.create(token, b"first", later)
        with pytest.raises(Conflict) as caught:
            store.create(token, b"second", later)
        assert caught.value.current == first
        assert store.find(token) == first

    def test_an_expired_record_does_not_keep_its_token(self, store: Store, token: str, clock: FakeClock) -> None:
        store.create(token, b"first", clock.now + HOUR)
        clock.advance(HOUR + MICROSECOND)
        second = store.create(token, b"second", clock.now + HOUR)
        assert store.find(token) == second

    # replace

    def test_replace_writes_where_it_was_read(self, store: Store, token: str, later: datetime) -> None:
        first = store.create(token, b"first", later)
        second = store.replace(first, b"second", later + HOUR)
        assert (second.token, second.data, second.expiry) == (token, b"second", later + HOUR)
        assert second.version != first.version
        assert store.find(token) == second

    def test_replace_by_the_slower_of_two_is_a_conflict(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        winner = store.replace(read, b"winner", later)
        with pytest.raises(Conflict) as caught:
            store.replace(read, b"loser", later)
        assert caught.value.current == winner
        assert store.find(token) == winner

    def test_replace_does_not_resurrect(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        store.delete(token)
        with pytest.raises(Conflict) as caught:
            store.replace(read, b"second", later)
        assert caught.value.current is None
        assert store.find(token) is None

    def test_replace_after_a_touch_is_no_conflict(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        store.touch(read, later + HOUR)
        second = store.replace(read, b"second", later + HOUR)
        assert store.find(token) == second

    def test_replace_cannot_take_back_a_touch(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        touched = store.touch(read, later + HOUR)
        with pytest.raises(Conflict) as caught:
            store.replace(read, b"second", later)
        assert caught.value.current == touched
        second = store.replace(touched, b"second", later)
        assert store.find(token) == second

    # touch

    def test_touch_moves_the_expiry_and_nothing_else(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"data", later)
        for expiry in (later + HOUR, later - HOUR / 2):
            touched = store.touch(read, expiry)
            assert (touched.token, touched.data, touched.version) == (token, b"data", read.version)
            assert touched.expiry == expiry
            assert store.find(token) == touched
            read = touched

    def test_touch_leaves_no_ghost(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"data", later)
        store.delete(token)
        with pytest.raises(Conflict) as caught:
            store.touch(read, later + HOUR)
        assert caught.value.current is None
        assert store.find(token) is None

    def test_touch_of_a_newer_record_only_ever_prolongs_it(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        newer = store.replace(read, b"second", later + HOUR)
        assert store.touch(read, later + HOUR / 2).expiry == later + HOUR
        assert store.find(token) == newer
        assert store.touch(read, later + 2 * HOUR).expiry == later + 2 * HOUR
        found = store.find(token)
        assert found is not None
        assert (found.data, found.version, found.expiry) == (b"second", newer.version, later + 2 * HOUR)

    # rename

    def test_rename_is_new_one_in_and_old_one_out(self, store: Store, token: str, later: datetime) -> None:
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later + HOUR)
        assert (new.token, new.data, new.expiry) == (token + "2", b"new", later + HOUR)
        assert store.find(token) is None
        assert store.find(token + "2") == new

    def test_rename_by_the_slower_of_two_is_a_conflict(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        winner = store.replace(read, b"winner", later)
        with pytest.raises(Conflict) as caught:
            store.rename(read, token + "2", b"loser", later)
        assert caught.value.current == winner
        assert store.find(token) == winner
        assert store.find(token + "2") is None

    def test_rename_cannot_take_back_a_touch(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        touched = store.touch(read, later + HOUR)
        with pytest.raises(Conflict) as caught:
            store.rename(read, token + "2", b"new", later)
        assert caught.value.current == touched
        assert store.find(token) == touched
        assert store.find(token + "2") is None

    def test_rename_does_not_resurrect(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"first", later)
        store.delete(token)
        with pytest.raises(Conflict) as caught:
            store.rename(read, token + "2", b"new", later)
        assert caught.value.current is None
        assert store.find(token + "2") is None

    def test_rename_does_not_overwrite(self, store: Store, token: str, later: datetime) -> None:
        old = store.create(token, b"old", later)
        taken = store.create(token + "2", b"taken", later)
        with pytest.raises(Conflict) as caught:
            store.rename(old, token + "2", b"new", later)
        assert caught.value.current == taken
        assert store.find(token) == old
        assert store.find(token + "2") == taken

    def test_within_its_grace_the_old_token_leads_to_the_new_record(
        self, store: Store, token: str, later: datetime, clock: FakeClock
    ) -> None:
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later, grace=HOUR / 4)
        assert store.find(token) == store.find(token + "2") == new
        verbs: tuple[Write, ...] = (
            lambda: store.replace(old, b"late", later),
            lambda: store.touch(old, later + HOUR),
            lambda: store.touch(old, later - MICROSECOND),
            lambda: store.rename(old, token + "3", b"late", later),
        )
        for late in verbs:
            with pytest.raises(Conflict) as caught:
                late()
            assert caught.value.current == new
        newer = store.replace(new, b"newer", later)
        assert store.find(token) == newer
        newest = store.rename(newer, token + "4", b"newest", later, grace=HOUR / 4)
        assert store.find(token) == store.find(token + "2") == store.find(token + "4") == newest
        for n in range(5, 12):
            newest = store.rename(newest, token + str(n), b"newest", later, grace=HOUR / 4)
        assert store.find(token) == newest
        clock.advance(HOUR / 4 + MICROSECOND)
        assert store.find(token) is None
        assert store.find(token + "2") is None
        store.delete(token)
        assert store.find(token + "11") == newest

    def test_within_its_grace_deleting_the_old_one_deletes_the_new_one(
        self, store: Store, token: str, later: datetime
    ) -> None:
        old = store.create(token, b"old", later)
        store.rename(old, token + "2", b"new", later, grace=HOUR)
        store.delete(token)
        assert store.find(token) is None
        assert store.find(token + "2") is None

    def test_a_new_record_under_an_old_token_ends_its_grace(self, store: Store, token: str, later: datetime) -> None:
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later, grace=HOUR)
        other = store.save(token, b"other", later)
        assert store.find(token) == other
        store.delete(token)
        assert store.find(token + "2") == new

    def test_a_negative_grace_is_refused(self, store: Store, token: str, later: datetime) -> None:
        record = store.create(token, b"data", later)
        with pytest.raises(ValueError, match="grace"):
            store.rename(record, token + "2", b"new", later, grace=-HOUR)
        assert store.find(token) == record

    # delete, ping

    def test_delete_removes_and_does_not_mind(self, store: Store, token: str, later: datetime) -> None:
        store.save(token, b"data", later)
        store.delete(token)
        assert store.find(token) is None
        store.delete(token)

    def test_ping_returns(self, store: Store) -> None:
        store.ping()

    # bad input

    @pytest.mark.parametrize("bad", ["", "x" * 2049, "é" * 1025, "\ud800"], ids=["empty", "long", "wide", "surrogate"])
    def test_a_malformed_token_is_not_found_and_not_written(
        self, store: Store, token: str, later: datetime, bad: str
    ) -> None:
        assert store.find(bad) is None
        store.delete(bad)
        record = store.create(token, b"data", later)
        writes: tuple[Write, ...] = (
            lambda: store.save(bad, b"data", later),
            lambda: store.create(bad, b"data", later),
            lambda: store.rename(record, bad, b"data", later),
        )
        for write in writes:
            with pytest.raises(ValueError, match="token"):
                write()
        assert store.find(token) == record

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (datetime(2030, 1, 1), ValueError),  # noqa: DTZ001 (that is the point)
            (datetime(1, 1, 1, tzinfo=UTC), ValueError),
            (datetime(9999, 12, 31, tzinfo=UTC), ValueError),
            (datetime(2262, 4, 12, tzinfo=UTC), ValueError),
            ("2030-01-01T00:00:00Z", TypeError),
            (1893456000, TypeError),
        ],
        ids=["naive", "year 1", "year 9999", "year 2262", "text", "seconds"],
    )
    def test_an_expiry_that_is_none_is_refused(
        self, store: Store, token: str, later: datetime, bad: datetime, error: type[Exception]
    ) -> None:
        record = store.create(token, b"data", later)
        writes: tuple[Write, ...] = (
            lambda: store.save(token, b"new", bad),
            lambda: store.create(token + "2", b"new", bad),
            lambda: store.replace(record, b"new", bad),
            lambda: store.touch(record, bad),
            lambda: store.rename(record, token + "2", b"new", bad),
        )
        for write in writes:
            with pytest.raises(error, match="expiry"):
                write()
        assert store.find(token) == record
        assert store.find(token + "2") is None

    def test_a_token_cannot_be_renamed_to_itself(self, store: Store, token: str, later: datetime) -> None:
        record = store.create(token, b"data", later)
        with pytest.raises(ValueError, match="token"):
            store.rename(record, token, b"new", later)
        assert store.find(token) == record

    def test_data_is_as_large_as_an_item_may_be_and_no_larger(self, store: Store, token: str, later: datetime) -> None:
        record = store.save(token, b"", later)
        room = items.MAX_ITEM - items.item_size(items.encode(Table(), record))
        writes: tuple[Callable[[int], Record], ...] = (
            lambda size: store.save(token, b"x" * size, later),
            lambda size: store.create(secrets.token_urlsafe(32), b"x" * size, later),
            lambda size: store.replace(record, b"x" * size, later),
            lambda size: store.rename(record, secrets.token_urlsafe(32), b"x" * size, later),
        )
        for write in writes:
            # A version has 19 digits, or seldom fewer; 100 bytes are more than it takes.
            with pytest.raises(ItemTooLargeError) as caught:
                write(room + 100)
            assert caught.value.size > caught.value.limit == items.MAX_ITEM
            assert store.find(token) == record
        large = store.replace(record, b"x" * (room - 100), later)
        assert store.find(token) == large

    # at once

    def test_of_many_at_once_one_creates_and_one_replaces(self, store: Store, token: str, later: datetime) -> None:
        def attempt(write: Callable[[bytes], Record]) -> tuple[list[Record], list[Conflict]]:
            won, lost = [], []
            with ThreadPoolExecutor(8) as pool:
                for future in [pool.submit(write, str(i).encode()) for i in range(8)]:
                    try:
                        won.append(future.result())
                    except Conflict as conflict:
                        lost.append(conflict)
            return won, lost

        (created,), lost = attempt(lambda data: store.create(token, data, later))
        assert [conflict.current for conflict in lost] == [created] * 7
        (replaced,), lost = attempt(lambda data: store.replace(created, data, later))
        assert [conflict.current for conflict in lost] == [replaced] * 7
        assert store.find(token) == replaced


class StoreAgreement(RuleBasedStateMachine):
    """All verbs against several stores in lockstep, with a clock that moves: all must answer the same.

    Subclass it, say in `stores` which ones (the first is what the others are compared with), and hand its
    ``TestCase`` to pytest:

        class Agreement(StoreAgreement):
            def stores(self, clock):
                return {"memory": MemoryStore(clock=clock), "mine": MyStore(clock=clock)}

        TestAgreement = Agreement.TestCase
    """

    records: ClassVar[Bundle[Answers]] = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self._stores = self.stores(self.clock)
        # The stores outlive an example: its tokens are its own.
        self._prefix = secrets.token_urlsafe(12)

    def stores(self, clock: FakeClock) -> Mapping[str, Store]:
        """The stores by name, on *clock*."""
        raise NotImplementedError

    names = st.sampled_from("abc")
    data = st.binary(max_size=20)
    seconds = st.integers(-3, 30).map(lambda n: timedelta(seconds=n))
    graces = st.sampled_from([timedelta(0), timedelta(0), timedelta(seconds=10)])
    shifts = seconds | st.integers(-2, 2).map(lambda n: n * MICROSECOND)

    @initialize(target=records, name=names, data=data)
    def begin(self, name: str, data: bytes) -> Bundled:
        note("a first record")
        return self._agree(lambda store, _: store.create(self._token(name), data, self.clock.now + HOUR))

    @rule(by=st.integers(0, 30).map(lambda n: timedelta(seconds=n)), ns=st.integers(0, 2))
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
        """Act on all stores, compare what they said, and return the records they gave (or met), by store."""
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
    """What a store answered, without what differs by right (versions), and the record in it."""
    try:
        record = act(store, name)
        said = "answer"
    except Conflict as conflict:
        record = conflict.current
        said = "Conflict"
    except (StoreError, ValueError, TypeError) as error:
        return (type(error).__name__, str(error)), None
    return (said, record and (record.token, record.data, record.expiry_ns, record.version > 0)), record
