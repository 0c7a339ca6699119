"""The contract of a store as tests: finding, writing, expiry, and invalid input."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamostore import items
from dynamostore.contract import Record, Store
from dynamostore.errors import Conflict, ItemTooLargeError
from dynamostore.instants import INT64_MAX, from_ns
from dynamostore.table import Table

from ._clock import HOUR, MICROSECOND, FakeClock
from ._fixtures import Write
from ._renaming import RenamingContract

__all__ = ["StoreContract", "expiries", "tokens"]

# All examples of a test share the fixtures, so each example uses its own tokens.
examples = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    deadline=None,
    max_examples=25,
)


def tokens() -> st.SearchStrategy[str]:
    """Return a strategy for unique tokens of any characters, up to 2048 bytes of UTF-8."""
    text = st.text(st.characters(codec="utf-8"), max_size=40)
    return st.builds(lambda tail: secrets.token_urlsafe(16) + tail, text | st.just("x" * (items.MAX_TOKEN - 22)))


def expiries() -> st.SearchStrategy[datetime]:
    """Return a strategy for expiries later than a new `FakeClock`, up to the latest possible one."""
    first = datetime(2030, 1, 2)  # noqa: DTZ001 (the strategy wants its bounds naive)
    last = from_ns(INT64_MAX).replace(tzinfo=None)
    return st.datetimes(first, last, timezones=st.timezones() | st.just(UTC)).map(_clamped)


def _clamped(instant: datetime) -> datetime:
    """Return *instant*, or the latest possible expiry if its offset takes it beyond 64-bit nanoseconds."""
    return min(instant, from_ns(INT64_MAX))


class StoreContract(RenamingContract):
    """Tests of the contract of `Store <dynamostore.Store>`. Subclass it and define a ``store`` fixture.

    The ``clock`` fixture is a `FakeClock`: the store reads it, and the tests move it. If your store does not take a clock,
    override the fixture with a fixture that skips.
    """

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
            (datetime(2030, 1, 1), ValueError),  # noqa: DTZ001 (this tests a naive datetime)
            (datetime(1, 1, 1, tzinfo=UTC), ValueError),
            (datetime(9999, 12, 31, tzinfo=UTC), ValueError),
            (datetime(2262, 4, 12, tzinfo=UTC), ValueError),
            ("2030-01-01T00:00:00Z", TypeError),
            (1893456000, TypeError),
        ],
        ids=["naive", "year 1", "year 9999", "year 2262", "text", "seconds"],
    )
    def test_an_invalid_expiry_is_refused(
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
            # A version has up to 19 digits; 100 bytes are more than its attribute takes.
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
