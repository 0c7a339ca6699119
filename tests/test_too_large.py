"""Sessions that would be too large for an item: told with their largest keys, and the store stays as it was."""

from __future__ import annotations

from typing import Literal

import pytest

from dynamostore import ItemTooLargeError
from session import SessionManager

from .counting import CountingStore
from .fakes import StoredSession, assert_discreet


def test_a_session_that_is_too_large_names_its_largest_keys_and_is_not_stored(
    manager: SessionManager, stored: StoredSession, counted: CountingStore
) -> None:
    sizes = {"third": 90_000, "first": 200_000, "second": 100_000, "fourth": 40_000, "fifth": 30_000, "sixth": 20_000}
    with pytest.raises(ItemTooLargeError) as caught, manager.session(stored.token) as s:
        for key, size in sizes.items():
            s.put_string(key, "x" * (size - 2))
    error = caught.value
    assert error.size > error.limit == 400 * 1024
    assert error.largest == tuple((key, sizes[key]) for key in ("first", "second", "third", "fourth", "fifth"))
    positions = [str(error).index(part) for part in ("'first' (200,000 bytes)", "'second'", "'third' (90,000 bytes)")]
    assert positions == sorted(positions)
    assert f"{error.size:,}" in str(error)
    assert f"{error.limit:,}" in str(error)
    assert_discreet(error, "x" * 100)
    assert stored.now() == stored.record
    assert counted.taken() == ["find", "replace"]


@pytest.mark.parametrize("act", ["create", "renew"])
def test_a_session_that_is_too_large_is_not_begun_nor_renewed(
    manager: SessionManager, stored: StoredSession, act: Literal["create", "renew"]
) -> None:
    token = stored.token if act == "renew" else None
    with pytest.raises(ItemTooLargeError, match=r"'huge' \(500,002 bytes\)"), manager.session(token) as s:
        s.put_string("huge", "x" * 500_000)
        if act == "renew":
            s.renew_token()
    assert stored.now() == stored.record
    assert s.token == token


def test_a_session_that_is_too_large_can_be_made_smaller_and_saved(
    manager: SessionManager, stored: StoredSession
) -> None:
    with manager.session(stored.token) as s:
        s.put_string("huge", "x" * 500_000)
        with pytest.raises(ItemTooLargeError):
            s.save()
        s.remove("huge")
        s.put_int("n", 2)
    with manager.session(stored.token) as s:
        assert dict(s) == {"k": "before", "n": 2, "cart": ["apple"]}
