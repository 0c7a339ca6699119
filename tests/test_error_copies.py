"""Every public error can be pickled and copied, attributes and all, and shows no more than its message."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import dynamostore
import session
from dynamostore import (
    AccessDeniedError,
    Conflict,
    CorruptRecordError,
    ItemTooLargeError,
    MemoryStore,
    Record,
    StoreError,
    TableNotFoundError,
    TableSchemaError,
    ThrottledError,
    UnavailableError,
)
from dynamostore.testing import FakeClock
from session import (
    CorruptSessionError,
    SessionClosedError,
    SessionConflict,
    SessionError,
    SessionManager,
    SessionNotLoadedError,
    SessionStateError,
    SessionTypeError,
)

from .fakes import assert_discreet

RECORD = Record.at(
    "a token", b"some data", 1_893_456_000_123_456_789, 7, beside={"owner": {"S": "ada"}}, recent=bytes(8)
)

ERRORS: list[Exception] = [
    StoreError("why", operation="GetItem", code="SomethingNew"),
    TableNotFoundError("why", operation="GetItem", code="ResourceNotFoundException"),
    TableSchemaError("why", operation="GetItem", code="ValidationException"),
    AccessDeniedError("why", operation="GetItem", code="AccessDeniedException"),
    ThrottledError("why", operation="PutItem", code="ThrottlingException", version=7),
    UnavailableError("why", operation="PutItem", code="InternalServerError", version=7),
    ItemTooLargeError("why", size=410_000, limit=409_600, largest=[("cart", 400_000), ("n", 1)], operation="PutItem"),
    CorruptRecordError("why", digest="457cadca9a78", reason="data is missing"),
    Conflict("why", current=RECORD, operation="UpdateItem", code="ConditionalCheckFailedException"),
    Conflict("why", renamed=True),
    SessionError("why"),
    SessionTypeError(key="n", wanted="int", found="str"),
    SessionTypeError("in other words", key="n", wanted="int", found="str"),
    SessionClosedError("why"),
    SessionNotLoadedError("why"),
    SessionStateError("why"),
    SessionConflict("why", keys=["n"], ended=True, ours={"n": 1, "cart": ["apple"]}, theirs={"n": 2}),
    CorruptSessionError("why", digest="457cadca9a78", reason="nested too deeply"),
    CorruptSessionError(reason="nested too deeply"),
]
COPIES: dict[str, Callable[[Exception], Any]] = {
    **{
        f"pickle {protocol}": partial(lambda protocol, error: pickle.loads(pickle.dumps(error, protocol)), protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def test_no_public_error_is_forgotten_here() -> None:
    public = {
        each
        for module in (dynamostore, session)
        for name in module.__all__
        if isinstance(each := getattr(module, name), type) and issubclass(each, Exception)
    }
    assert {type(error) for error in ERRORS} == public


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_is_the_same_in_all_it_says(error: Exception, duplicate: Callable[[Exception], Any]) -> None:
    again = duplicate(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(again) == repr(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_can_be_made_of_nothing(error: Exception) -> None:
    # Whoever raises one in a test of their own need not know its attributes.
    assert vars(type(error)()).keys() == vars(error).keys()


def test_an_error_does_not_show_what_it_carries() -> None:
    conflict = Conflict("why", current=RECORD)
    assert_discreet(conflict, RECORD.token, RECORD.data)
    assert_discreet(SessionConflict("why", ours={"k": "a secret"}, theirs={"k": "another"}), "a secret", "another")


def test_an_error_that_was_raised_survives_the_way_home_from_another_process(clock: FakeClock) -> None:
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, on_conflict="raise", clock=clock)
    with manager.session(None) as s:
        s.put_string("name", "ada")
    with pytest.raises(SessionConflict) as caught, manager.session(s.token) as ours:
        ours.put_string("name", "grace")
        with manager.session(s.token) as theirs:
            theirs.put_string("name", "mary")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.ours, again.theirs) == ({"name": "grace"}, {"name": "mary"})

    record = store.create("token", b"data", clock.now + timedelta(hours=1))
    with pytest.raises(Conflict) as refused:
        store.create("token", b"data", datetime(2100, 1, 1, tzinfo=UTC))
    again = pickle.loads(pickle.dumps(refused.value))
    assert again.current == record
    assert again.current.expiry_ns == record.expiry_ns
