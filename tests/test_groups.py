"""Exception groups: an outage or a conflict in one is found, whatever the shape of the group, and hides no other error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import Conflict, CorruptRecordError, ItemTooLargeError, ThrottledError, UnavailableError
from session import SessionConflict
from session.web._conflicts import find_conflict
from session.web._exchange import find_outage, is_outage

LEAVES = st.sampled_from(
    [UnavailableError, ThrottledError, SessionConflict, Conflict, CorruptRecordError, ItemTooLargeError, LookupError]
).map(lambda kind: kind("made up"))
ERRORS: st.SearchStrategy[Exception] = st.recursive(
    LEAVES, lambda errors: st.lists(errors, min_size=1, max_size=4).map(lambda some: ExceptionGroup("tasks", some))
)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


@given(ERRORS)
def test_a_group_is_what_all_of_it_is(error: Exception) -> None:
    alone = list(leaves(error))
    outages = [one for one in alone if isinstance(one, UnavailableError | ThrottledError)]
    conflicts = [one for one in alone if isinstance(one, SessionConflict)]
    assert find_outage(error) is (outages[0] if len(outages) == len(alone) else None)
    assert is_outage(error) == (len(outages) == len(alone))
    understood = len(outages) + len(conflicts) == len(alone)
    assert find_conflict(error) is (conflicts[0] if conflicts and understood else None)


def test_what_a_conflict_in_a_group_was_raised_as_is_one_too() -> None:
    conflict = SessionConflict("stale")
    try:
        try:
            raise ExceptionGroup("tasks", [conflict])
        except* SessionConflict as group:
            raise LookupError("not placed") from group
    except* LookupError as error:
        assert find_conflict(error) is conflict


def test_a_circle_has_an_end() -> None:
    leaf = LookupError("a mistake")
    group = ExceptionGroup("tasks", [leaf])
    leaf.__cause__ = group
    assert find_conflict(group) is None
    assert find_outage(group) is None


@pytest.mark.parametrize("other", [KeyboardInterrupt(), SystemExit()], ids=repr)
def test_an_exit_beside_it_is_no_outage(other: BaseException) -> None:
    group = BaseExceptionGroup("tasks", [UnavailableError("no answer"), SessionConflict("stale"), other])
    assert not is_outage(group)
    assert find_conflict(group) is None
