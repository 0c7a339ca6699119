"""The contract of a store as tests: renaming, markers, and removing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from dynamostore.contract import Record, Store
from dynamostore.errors import Conflict

from ._clock import HOUR, MICROSECOND, QUARTER, FakeClock
from ._fixtures import ContractFixtures, Write

__all__ = ["RenamingContract"]

SECOND = timedelta(seconds=1)


class RenamingContract(ContractFixtures):
    """Tests of ``rename`` and ``remove``, and of ``find`` and ``delete`` after a renaming."""

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
            assert caught.value.renamed
        newer = store.replace(new, b"newer", later)
        assert store.find(token) == newer
        clock.advance(HOUR / 4 + MICROSECOND)
        assert store.find(token) is None
        assert store.find(token + "2") == newer

    def test_an_old_token_leads_over_two_markers_and_no_more(self, store: Store, token: str, later: datetime) -> None:
        first = store.create(token, b"first", later)
        second = store.rename(first, token + "2", b"second", later, grace=HOUR / 4)
        third = store.rename(second, token + "3", b"third", later, grace=HOUR / 4)
        assert store.find(token) == store.find(token + "2") == third
        fourth = store.rename(third, token + "4", b"fourth", later, grace=HOUR / 4)
        assert store.find(token) is None
        assert store.find(token + "2") == store.find(token + "3") == fourth
        for read, there in ((first, None), (second, fourth), (third, fourth)):
            with pytest.raises(Conflict) as caught:
                store.replace(read, b"late", later)
            assert (caught.value.current, caught.value.renamed) == (there, True)

    def test_without_a_grace_the_old_token_leads_nowhere_at_once(
        self, store: Store, token: str, later: datetime, clock: FakeClock
    ) -> None:
        old = store.create(token, b"old", later)
        store.rename(old, token + "2", b"new", later)
        # The same holds for a process whose clock is behind.
        clock.advance(-HOUR / 8)
        assert store.find(token) is None

    @pytest.mark.parametrize("grace", [HOUR * 0, MICROSECOND, HOUR / 8], ids=["none", "short", "long"])
    def test_deleting_the_old_token_deletes_the_renamed_record_for_fifteen_minutes(
        self, store: Store, token: str, clock: FakeClock, grace: timedelta
    ) -> None:
        later = clock.now + 24 * HOUR
        for n, wait in enumerate((MICROSECOND, QUARTER)):
            old = store.create(f"{token} {n}", b"old", later)
            store.rename(old, f"{token} {n} new", b"new", later, grace=grace)
            clock.advance(wait)
            store.find(old.token)
            store.delete(old.token)
            assert store.find(old.token) is None
            assert store.find(f"{token} {n} new") is None
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later, grace=grace)
        clock.advance(QUARTER + 2 * SECOND)
        store.delete(token)
        assert store.find(new.token) == new

    def test_a_grace_longer_than_that_holds_for_delete_too(self, store: Store, token: str, clock: FakeClock) -> None:
        later = clock.now + 24 * HOUR
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later, grace=HOUR)
        clock.advance(HOUR)
        assert store.find(token) == new
        store.delete(token)
        assert store.find(token + "2") is None

    def test_delete_follows_any_number_of_markers(
        self, store: Store, token: str, later: datetime, clock: FakeClock
    ) -> None:
        record = store.create(token, b"data", later)
        for n in range(9):
            record = store.rename(record, f"{token} {n}", b"data", later, grace=HOUR / 8 * (n % 2))
            clock.advance(QUARTER / 10)
        store.delete(token)
        assert store.find(record.token) is None

    def test_a_conflict_says_that_the_record_was_renamed(
        self, store: Store, token: str, later: datetime, clock: FakeClock
    ) -> None:
        later += 24 * HOUR
        old = store.create(token, b"old", later)
        changed = store.replace(old, b"changed", later)
        verbs: tuple[Callable[[Record], object], ...] = (
            lambda record: store.replace(record, b"late", later),
            lambda record: store.touch(record, later + HOUR),
            lambda record: store.touch(record, later - MICROSECOND),
            lambda record: store.rename(record, token + "3", b"late", later),
            store.remove,
        )

        def assert_conflicts(record: Record, *, renamed: bool) -> None:
            for verb in verbs:
                with pytest.raises(Conflict) as caught:
                    verb(record)
                assert (caught.value.current, caught.value.renamed) == (None, renamed)

        with pytest.raises(Conflict) as caught:
            store.replace(old, b"late", later)
        assert (caught.value.current, caught.value.renamed) == (changed, False)
        new = store.rename(changed, token + "2", b"new", later)
        assert_conflicts(changed, renamed=True)
        clock.advance(QUARTER)
        assert_conflicts(changed, renamed=True)
        clock.advance(2 * SECOND)
        assert_conflicts(changed, renamed=False)
        assert store.find(new.token) == new
        store.delete(new.token)
        assert_conflicts(new, renamed=False)

    def test_an_old_token_can_be_taken(self, store: Store, token: str, later: datetime) -> None:
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later)
        again = store.create(token, b"again", later)
        assert store.find(token) == again
        store.delete(token)
        assert store.find(new.token) == new
        back = store.rename(new, token, b"back", later)
        assert store.find(token) == back
        store.delete(new.token)
        assert store.find(token) is None

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

    def test_remove_deletes_what_was_read(self, store: Store, token: str, later: datetime) -> None:
        record = store.create(token, b"data", later)
        assert store.remove(record) is None  # type: ignore[func-returns-value]  # that is what is tested
        assert store.find(token) is None
        with pytest.raises(Conflict) as caught:
            store.remove(record)
        assert (caught.value.current, caught.value.renamed) == (None, False)
        touched = store.create(token, b"data", later)
        store.touch(touched, later + HOUR)
        store.remove(touched)
        assert store.find(token) is None

    def test_remove_leaves_what_was_written_since(self, store: Store, token: str, later: datetime) -> None:
        read = store.create(token, b"data", later)
        newer = store.replace(read, b"data", later)
        with pytest.raises(Conflict) as caught:
            store.remove(read)
        assert (caught.value.current, caught.value.renamed) == (newer, False)
        assert store.find(token) == newer

    def test_remove_leaves_what_the_record_was_renamed_to(self, store: Store, token: str, later: datetime) -> None:
        old = store.create(token, b"old", later)
        new = store.rename(old, token + "2", b"new", later, grace=HOUR)
        with pytest.raises(Conflict) as caught:
            store.remove(old)
        assert (caught.value.current, caught.value.renamed) == (new, True)
        assert store.find(token) == store.find(token + "2") == new
        store.delete(token)
        assert store.find(token + "2") is None

    def test_an_expired_record_may_be_removed(self, store: Store, token: str, clock: FakeClock) -> None:
        record = store.create(token, b"data", clock.now + HOUR)
        clock.advance(HOUR + MICROSECOND)
        with suppress(Conflict):
            store.remove(record)
        assert store.find(token) is None
