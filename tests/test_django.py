"""The session engine for Django as Django's own code sees it: one test for each behaviour of a back end.

In requests, with auth, messages and the admin, and under real servers: tests/django_site/test_requests.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import django
import pytest
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import CommandError, ManagementUtility, call_command
from django.http import HttpRequest
from django.test import override_settings
from django.utils import timezone

import dynamostore
from dynamostore import StoreError, TableNotFoundError, ThrottledError, UnavailableError
from dynamostore.batch import Batch, BatchIncompleteError, Tally
from dynamostore.testing import FakeClock
from session import SessionConflict, SessionManager, SessionTypeError, Status
from session.web.django import SessionStore, get_manager, get_session
from session.web.django._manager import get_site

from . import django_site  # noqa: F401 (importing it sets Django up)
from .awaited import busy_executor
from .backends import Backends
from .counting import CountingStore

UNKNOWN = "A" * 43
AGE = timedelta(weeks=2)
HOUR = timedelta(hours=1)
S = timedelta(seconds=1)


@pytest.fixture
def clock() -> FakeClock:
    """Stands still now, as Django has no clock to be given."""
    return FakeClock(datetime.now(UTC))


@pytest.fixture(params=["memory", "ministack"])
def counted(request: pytest.FixtureRequest, backends: Backends, clock: FakeClock) -> CountingStore:
    return CountingStore(backends.store(request.param, clock))


@pytest.fixture
def manager(counted: CountingStore, clock: FakeClock) -> Iterator[SessionManager]:
    manager = SessionManager(counted, clock=clock)
    with override_settings(SESSION_MANAGER=manager):
        yield manager


@pytest.fixture
def session(manager: SessionManager) -> SessionStore:
    """A new session."""
    return SessionStore()


@pytest.fixture
def key(session: SessionStore, counted: CountingStore) -> str:
    """The key of a session that is stored."""
    session.update({"a": 1, "cart": ["apple"]})
    session.save()
    counted.taken()
    assert session.session_key is not None
    return session.session_key


def reset(session: SessionStore) -> None:
    session.accessed = session.modified = False


def change(key: str | None, **values: object) -> None:
    """Do what another request does."""
    session = SessionStore(key)
    session.update(values)
    session.save()


def stored(key: str | None) -> dict[str, object]:
    return dict(SessionStore(key).items())


def test_get_session_is_request_session_and_reads_nothing(
    manager: SessionManager, counted: CountingStore, key: str
) -> None:
    request = HttpRequest()
    request.session = SessionStore(key)
    assert get_session(request) is request.session
    assert not request.session.accessed
    assert counted.taken() == []


def test_get_session_says_why_there_is_no_session() -> None:
    request = HttpRequest()
    with pytest.raises(RuntimeError, match=r'no session: add "session.web.django.SessionMiddleware" to MIDDLEWARE'):
        get_session(request)
    request.session = {"secret": 1}  # type: ignore[assignment]  # a view may do so
    with pytest.raises(RuntimeError, match=r"is a builtins\.dict: get the session before you replace it") as caught:
        get_session(request)
    assert "secret" not in str(caught.value)
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        request.session = SessionBase()
        with pytest.raises(
            RuntimeError, match=r"set SESSION_ENGINE to 'session.web.django', instead of 'django.contrib"
        ):
            get_session(request)


# A mapping that knows whether it was looked at and changed


def test_a_new_session_is_neither_accessed_nor_modified(session: SessionStore) -> None:
    assert not session.accessed
    assert not session.modified
    assert session.session_key is None
    assert session.is_empty()


def test_get_of_what_is_missing_is_none_and_counts_as_access(session: SessionStore) -> None:
    assert session.get("cat") is None
    assert session.get("cat", "none") == "none"
    assert session.accessed
    assert not session.modified


def test_a_missing_key_is_a_key_error(session: SessionStore) -> None:
    for look in (lambda: session["cat"], lambda: session.pop("cat"), lambda: session.__delitem__("cat")):
        with pytest.raises(KeyError):
            look()
    assert not session.modified


def test_what_is_set_is_there_and_modifies(session: SessionStore) -> None:
    session["cat"] = "dog"
    assert session.modified
    assert session.accessed
    assert session["cat"] == "dog"
    assert not session.is_empty()


def test_what_is_deleted_is_gone_and_modifies(key: str) -> None:
    session = SessionStore(key)
    del session["a"]
    assert session.modified
    assert "a" not in session


def test_pop_returns_and_removes_and_modifies(key: str) -> None:
    session = SessionStore(key)
    assert session.pop("a") == 1
    assert session.accessed
    assert session.modified
    assert session.get("a") is None


@pytest.mark.parametrize("default", [None, "something else"])
def test_pop_with_a_default_does_not_modify(session: SessionStore, default: str | None) -> None:
    assert session.pop("a", default) == default
    assert session.accessed
    assert not session.modified


def test_setdefault_sets_only_what_is_missing(session: SessionStore) -> None:
    assert session.setdefault("a", "first") == "first"
    assert session.setdefault("a", "second") == "first"
    assert session.modified


def test_what_setdefault_returns_is_the_sessions_own(session: SessionStore) -> None:
    session.setdefault("cart", []).append("apple")  # type: ignore[union-attr]  # that it is a list is what is tested
    assert session["cart"] == ["apple"]


@pytest.mark.parametrize("given", [{"a": 1}, [("a", 1)]])
def test_update_takes_a_mapping_or_pairs(session: SessionStore, given: Any) -> None:
    session.update(given)
    assert session.accessed
    assert session.modified
    assert session["a"] == 1


@pytest.mark.parametrize(
    ("look", "seen"),
    [
        (lambda s: s.has_key("a"), True),
        (lambda s: "b" in s, False),
        (lambda s: list(s.keys()), ["a", "cart"]),
        (lambda s: list(s.values()), [1, ["apple"]]),
        (lambda s: list(s.items()), [("a", 1), ("cart", ["apple"])]),
        (lambda s: s.get_int("a"), 1),
        (lambda s: s.get_object("cart", list), ["apple"]),
    ],
)
def test_to_look_is_access_and_no_modification(key: str, look: Callable[[SessionStore], object], seen: object) -> None:
    session = SessionStore(key)
    assert look(session) == seen
    assert session.accessed
    assert not session.modified


def test_clear_removes_all_and_keeps_the_key(key: str) -> None:
    session = SessionStore(key)
    session.clear()
    assert list(session.items()) == []
    assert session.accessed
    assert session.modified
    session.save()
    assert session.session_key == key
    assert session.exists(key)
    assert stored(key) == {}


def test_the_test_cookie_is_set_and_worked_and_goes(session: SessionStore) -> None:
    assert not session.test_cookie_worked()
    session.set_test_cookie()
    assert session.test_cookie_worked()
    session.delete_test_cookie()
    assert not session.test_cookie_worked()


def test_the_key_is_read_only(session: SessionStore) -> None:
    with pytest.raises(AttributeError):
        session.session_key = UNKNOWN  # type: ignore[misc]  # that is what is tested


# What this one has beside


def test_a_change_within_a_list_needs_no_modified_flag(key: str) -> None:
    session = SessionStore(key)
    session["cart"].append("pear")
    assert session.modified
    session.save()
    assert stored(key)["cart"] == ["apple", "pear"]


def test_a_save_stores_a_list_as_it_is_then(key: str) -> None:
    session = SessionStore(key)
    cart = ["fig"]
    session["cart"] = cart
    cart.append("plum")
    session.save()
    assert stored(key)["cart"] == ["fig", "plum"]


# To put what is there already


SAME: dict[str, Callable[[SessionStore], object]] = {
    "an item": lambda s: s.__setitem__("a", 1),
    "update": lambda s: s.update({"cart": ["apple"]}),
    "update of nothing": lambda s: s.update({}),
    "an item that comes and goes": lambda s: (s.setdefault("new"), s.pop("new")),
    "put_int": lambda s: s.put_int("a", 1),
    "increment by 0": lambda s: s.increment("a", 0),
    "set_expiry": lambda s: s.set_expiry(60),
    "the test cookie": lambda s: s.set_test_cookie(),
}
ASAME: dict[str, Callable[[SessionStore], Awaitable[object]]] = {
    "aset": lambda s: s.aset("a", 1),
    "aupdate": lambda s: s.aupdate({"cart": ["apple"]}),
    "aset_expiry": lambda s: s.aset_expiry(60),
    "the test cookie": lambda s: s.aset_test_cookie(),
}


@pytest.fixture
def brief(key: str, counted: CountingStore) -> str:
    """The key of a session that expires after 60 s."""
    session = SessionStore(key)
    session.set_expiry(60)
    session.set_test_cookie()
    session.save()
    counted.taken()
    return key


@pytest.mark.parametrize("put", SAME.values(), ids=SAME)
def test_what_is_put_as_it_was_modifies_and_moves_the_expiry(
    brief: str, counted: CountingStore, clock: FakeClock, put: Callable[[SessionStore], object]
) -> None:
    before = stored(brief)
    for _ in range(3):
        clock.advance(40 * S)
        session = SessionStore(brief)
        put(session)
        assert session.modified
        counted.taken()
        session.save()
        assert counted.taken() == ["replace"]
    assert stored(brief) == before
    clock.advance(61 * S)
    assert stored(brief) == {}


@pytest.mark.parametrize("method", ["save", "asave"])
def test_a_save_moves_the_expiry_though_nothing_was_changed(
    brief: str, counted: CountingStore, clock: FakeClock, method: str
) -> None:
    session = SessionStore(brief)
    for _ in range(3):
        clock.advance(40 * S)
        session.save() if method == "save" else asyncio.run(session.asave())
        assert not session.modified
    assert counted.taken() == ["find", "replace", "replace", "replace"]
    clock.advance(61 * S)
    with pytest.raises(UpdateError):
        session.save()


def test_with_an_idle_timeout_a_save_of_nothing_moves_only_that(counted: CountingStore, clock: FakeClock) -> None:
    with override_settings(SESSION_MANAGER=SessionManager(counted, idle_timeout=HOUR, clock=clock)):
        session = SessionStore()
        session.set_expiry(2 * 3600)
        session.save()
        for _ in range(2):
            clock.advance(0.9 * HOUR)
            session = SessionStore(session.session_key)
            session.save()
            assert session.session_key is not None
        clock.advance(0.3 * HOUR)
        assert stored(session.session_key) == {}


def test_pop_and_remove_of_what_is_missing_do_not_modify(key: str, counted: CountingStore) -> None:
    session = SessionStore(key)
    session.pop("missing", None)
    session.remove("missing")
    session.set_expiry(None)
    session.setdefault("a", 7)
    assert not session.modified
    assert counted.taken() == ["find"]


def test_load_is_no_access(key: str) -> None:
    session = SessionStore(key)
    assert session.load() == {"a": 1, "cart": ["apple"]}
    assert not session.accessed


def test_what_was_changed_can_be_dismissed(session: SessionStore) -> None:
    session["a"] = 1
    session.modified = False
    assert session.get("a") == 1
    assert session.pop("b", None) is None
    assert not session.modified
    session["b"] = 2
    assert session.modified


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.__setitem__("b", 2),
        lambda s: s.__delitem__("a"),
        lambda s: s.pop("a"),
        lambda s: s.setdefault("b", 2),
        lambda s: s.update({"b": 2}),
        lambda s: s.clear(),
        lambda s: s.remove("a"),
        lambda s: s.increment("a"),
        lambda s: s.put_int("a", 2),
        lambda s: s.set_expiry(60),
        lambda s: s.cycle_key(),
        lambda s: s.flush(),
    ],
)
def test_whatever_is_changed_after_that_modifies(key: str, change: Callable[[SessionStore], object]) -> None:
    session = SessionStore(key)
    session["dismissed"] = True
    session.modified = False
    change(session)
    assert session.modified


def test_typed_access_is_there_too(session: SessionStore) -> None:
    session.put_time("seen", datetime(2030, 1, 1, tzinfo=UTC))
    session.increment("visits", 2)
    session.remove("missing")
    session.save()
    again = SessionStore(session.session_key)
    assert again.get_time("seen") == datetime(2030, 1, 1, tzinfo=UTC)
    assert again.pop_int("visits") == 2
    again.remove("seen")
    assert list(again.keys()) == []
    with pytest.raises(SessionTypeError):
        session.get_string("visits")


@pytest.mark.parametrize("value", [object(), {1, 2}, datetime(2030, 1, 1, tzinfo=UTC), 1j, b"", {1: "a"}])
def test_what_json_cannot_say_is_refused_when_it_is_put(session: SessionStore, value: Any) -> None:
    with pytest.raises(SessionTypeError):
        session["a"] = value
    with pytest.raises(SessionTypeError):
        session.update({"b": 1, "a": value})
    assert list(session.items()) == []
    assert not session.modified


def test_what_json_cannot_say_within_a_list_is_refused_when_it_is_saved(key: str) -> None:
    session = SessionStore(key)
    session["cart"].append(object())
    assert session.modified
    with pytest.raises(SessionTypeError):
        session.save()
    assert stored(key)["cart"] == ["apple"]


# Keys


def test_save_of_an_empty_new_session_stores_it(session: SessionStore) -> None:
    session.save()
    assert session.session_key is not None
    assert session.exists(session.session_key)
    assert not session.is_empty()


def test_create_stores_at_once_under_a_new_key(session: SessionStore, counted: CountingStore) -> None:
    session.create()
    assert counted.taken() == ["create"]
    assert session.modified
    assert SessionStore().exists(session.session_key)


def test_create_leaves_what_was_stored_where_it_is(key: str) -> None:
    session = SessionStore(key)
    session["a"] = 2
    session.create()
    assert session.session_key != key
    assert stored(session.session_key) == {"a": 2, "cart": ["apple"]}
    assert stored(key) == {"a": 1, "cart": ["apple"]}


def test_must_create_is_refused_for_what_is_stored(key: str) -> None:
    session = SessionStore(key)
    with pytest.raises(CreateError):
        session.save(must_create=True)
    assert stored(key) == {"a": 1, "cart": ["apple"]}


def test_must_create_under_an_unknown_key_makes_a_new_one(manager: SessionManager) -> None:
    session = SessionStore(UNKNOWN)
    session.save(must_create=True)
    assert session.session_key not in (None, UNKNOWN)
    assert not session.exists(UNKNOWN)


def test_exists_is_true_for_what_is_stored_only(key: str, session: SessionStore) -> None:
    assert session.exists(key)
    assert not session.exists(UNKNOWN)
    assert not session.exists("1")
    assert not session.exists(None)
    assert not session.exists("")


def test_delete_of_a_key_deletes_that_session(key: str) -> None:
    other = SessionStore()
    other["b"] = 2
    other.save()
    other.delete(key)
    assert not other.exists(key)
    assert stored(other.session_key) == {"b": 2}


def test_delete_without_a_key_deletes_this_session_and_leaves_its_data(key: str) -> None:
    session = SessionStore(key)
    assert session["a"] == 1
    session.delete()
    assert session["a"] == 1
    assert not session.exists(key)
    session["a"] = 2
    with pytest.raises(UpdateError):
        session.save()
    assert not session.exists(key)


def test_delete_of_nothing_is_no_error(session: SessionStore, counted: CountingStore) -> None:
    session.delete()
    session.delete("1")
    assert counted.taken() == []
    session.delete(UNKNOWN)
    assert counted.taken() == ["delete"]


def test_flush_deletes_the_session_and_its_key(key: str) -> None:
    session = SessionStore(key)
    session.flush()
    assert not session.exists(key)
    assert session.session_key is None
    assert session.modified
    assert session.accessed
    assert session.is_empty()
    assert list(session.items()) == []


def test_a_flush_that_fails_leaves_all_as_it_was(key: str, counted: CountingStore) -> None:
    session = SessionStore(key)
    session["a"] = 2
    counted.failure = UnavailableError("down")
    with pytest.raises(UnavailableError):
        session.flush()
    counted.failure = None
    assert session.session_key == key
    assert not session.is_empty()
    session.save()
    assert stored(key)["a"] == 2


def test_a_flush_under_the_old_key_of_a_renewed_session_deletes_that(counted: CountingStore, clock: FakeClock) -> None:
    with override_settings(SESSION_MANAGER=SessionManager(counted, renewal_grace=5 * S, clock=clock)):
        session = SessionStore()
        session.save()
        old = session.session_key
        session.cycle_key(grace=True)
        session.save()
        late = SessionStore(old)
        assert late.get("a") is None
        clock.advance(6 * S)
        late.flush()
        assert not SessionStore().exists(session.session_key)


def test_what_is_put_after_a_flush_gets_a_new_key(key: str) -> None:
    session = SessionStore(key)
    session.flush()
    session["farewell"] = "bye"
    session.save()
    assert session.session_key not in (None, key)
    assert stored(session.session_key) == {"farewell": "bye"}
    assert not session.exists(key)


def test_cycle_key_gives_a_new_key_and_keeps_the_data(key: str) -> None:
    session = SessionStore(key)
    data = list(session.items())
    session.cycle_key()
    assert session.session_key not in (None, key)
    assert session.modified
    assert list(session.items()) == data
    new = session.session_key
    session.save()
    assert session.session_key == new
    assert stored(new) == dict(data)


def test_after_cycle_key_the_old_key_is_none_and_the_new_one_there_even_before_the_save(key: str) -> None:
    session = SessionStore(key)
    session.cycle_key()
    new = session.session_key
    for _ in range(2):
        assert not session.exists(key)
        assert session.exists(new)
        session.save()
    assert not SessionStore().exists(key)
    assert SessionStore().exists(new)


def test_a_session_whose_cycled_key_is_deleted_is_gone(key: str) -> None:
    session = SessionStore(key)
    session.cycle_key()
    session.delete(key)  # replaced already, for all that can be seen
    assert SessionStore().exists(key)
    session.delete(session.session_key)
    assert not SessionStore().exists(key)
    with pytest.raises(UpdateError):
        session.save()


def test_cycle_key_of_a_new_session_gives_it_a_key_at_once(session: SessionStore, counted: CountingStore) -> None:
    session.cycle_key()
    key = session.session_key
    assert key is not None
    assert session.modified
    assert not session.is_empty()
    session.save()
    assert session.session_key == key
    assert counted.taken() == ["create"]
    assert session.exists(key)


def test_a_key_fits_into_a_column_of_40_characters(key: str, session: SessionStore) -> None:
    cycled, created = SessionStore(key), SessionStore(key)
    cycled.cycle_key()
    created.create()
    session.cycle_key()
    for each in (key, cycled.session_key, created.session_key, session.session_key):
        assert each is not None
        assert len(each) == 40
        assert each.isascii()


def test_a_key_of_an_earlier_version_is_read_until_it_is_renewed(manager: SessionManager) -> None:
    with manager.session(None) as s:
        s.put_int("n", 1)
    assert s.token is not None
    assert len(s.token) == 43
    session = SessionStore(s.token)
    session.increment("n")
    session.save()
    assert session.session_key == s.token
    session.cycle_key()
    session.save()
    assert len(session.session_key or "") == 40
    assert stored(session.session_key) == {"n": 2}
    assert not SessionStore().exists(s.token)
    SessionStore(session.session_key).flush()
    assert stored(session.session_key) == {}


def test_another_adapter_reads_a_key_of_djangos(key: str, manager: SessionManager) -> None:
    assert manager.token(f"session=other; session={key}") == key
    with manager.session(key) as s:
        assert s.get_int("a") == 1
        s.renew_token()
    assert len(s.token or "") == 43


@pytest.mark.parametrize(
    "bad", ["", "1", "12345678", *("x" * n for n in (39, 41, 42, 44)), "é" * 40, "é" * 43, "../" * 14 + "x", None]
)
def test_a_key_that_could_not_be_ours_is_none_and_costs_nothing(
    manager: SessionManager, counted: CountingStore, bad: str | None
) -> None:
    session = SessionStore(bad)
    assert session.session_key is None
    assert session.get("cat") is None
    assert session.load() == {}
    assert not session.exists(bad)
    assert counted.taken() == []
    session.save()
    assert session.session_key not in (bad, None)


def test_an_unknown_key_is_dropped_when_it_is_looked_up_and_never_adopted(manager: SessionManager) -> None:
    session = SessionStore(UNKNOWN)
    assert session.session_key == UNKNOWN
    assert not session.is_empty()
    assert session.get("cat") is None
    assert session.session_key is None
    assert session.is_empty()
    session["a"] = 1
    session.save()
    assert session.session_key not in (UNKNOWN, None)


def test_load_does_not_create_a_session(manager: SessionManager) -> None:
    session = SessionStore(UNKNOWN)
    assert session.load() == {}
    assert session.session_key is None
    assert not session.exists(UNKNOWN)


def test_load_reads_what_is_stored_now(key: str) -> None:
    session = SessionStore(key)
    session["a"] = 2
    assert session.load() == {"a": 1, "cart": ["apple"]}
    assert session["a"] == 2


# Saving when others do


def test_saving_does_not_bring_back_what_was_logged_out_elsewhere(key: str) -> None:
    session = SessionStore(key)
    session["a"] = 2
    SessionStore(key).flush()
    with pytest.raises(UpdateError):
        session.save()
    assert session.load() == {}
    assert not SessionStore().exists(key)
    assert session.is_empty()


def test_a_login_does_not_bring_back_what_was_logged_out_elsewhere(key: str) -> None:
    session = SessionStore(key)
    session.cycle_key()
    new = session.session_key
    SessionStore(key).flush()
    with pytest.raises(UpdateError):
        session.save()
    assert not SessionStore().exists(new)


def test_saving_what_was_never_there_is_an_update_error(manager: SessionManager) -> None:
    session = SessionStore(UNKNOWN)
    with pytest.raises(UpdateError):
        session.save()
    assert not session.exists(UNKNOWN)


def test_two_that_change_one_session_keep_both_changes(key: str) -> None:
    one, other = SessionStore(key), SessionStore(key)
    one["one"] = 1
    one.increment("a")
    other["other"] = 2
    other.increment("a")
    one.save()
    other.save()
    assert stored(key) == {"a": 3, "cart": ["apple"], "one": 1, "other": 2}


def test_the_key_that_cycle_key_gave_stands_even_if_another_changes_the_session_meanwhile(key: str) -> None:
    session, other = SessionStore(key), SessionStore(key)
    session.cycle_key()
    new = session.session_key
    for _ in range(2):
        other.increment("a")
        other.save()
    session.save()
    assert session.session_key == new
    assert stored(new) == {"a": 3, "cart": ["apple"]}
    assert not SessionStore().exists(key)


# What counts as read


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.get("a"),
        lambda s: s["a"],
        lambda s: s.pop("a"),
        lambda s: s.pop("a", None),
        lambda s: s.setdefault("a", 0),
        lambda s: s.get_int("a"),
        lambda s: s.pop_int("a"),
        lambda s: list(s.values()),
        lambda s: list(s.items()),
    ],
)
def test_who_read_what_another_changed_is_refused(key: str, look: Callable[[SessionStore], object]) -> None:
    session = SessionStore(key)
    look(session)
    session["b"] = 2
    change(key, a=5)
    with pytest.raises(SessionConflict, match="'a'"):
        session.save()
    assert stored(key) == {"a": 5, "cart": ["apple"]}


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.peek("a"),
        lambda s: s.increment("a", 0),
        lambda s: s.update({"c": 1}),
        lambda s: s.__setitem__("a", 5),
        lambda s: s.update({"a": 5}),
        lambda s: s.remove("a"),
        lambda s: "a" in s,
        lambda s: s.has_key("a"),
        lambda s: list(s.keys()),
        lambda s: s.get("cart"),
        lambda s: s.set_test_cookie(),
        lambda s: s.is_empty(),
        lambda s: s.modified,
        # Read and overwritten: the later wins, as everywhere.
        lambda s: (s.get("a"), s.__setitem__("a", 5)),
    ],
)
def test_who_did_not_read_it_is_not(key: str, look: Callable[[SessionStore], object]) -> None:
    session = SessionStore(key)
    look(session)
    session["b"] = 2
    change(key, a=5)
    session.save()
    assert stored(key)["b"] == 2


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.get_expiry_age(),
        lambda s: s.get_expiry_date(),
        lambda s: s.get_expire_at_browser_close(),
        lambda s: s.set_expiry(None),
        lambda s: s.set_expiry(60),
        lambda s: s.save(),
    ],
)
def test_what_djangos_middleware_looks_at_is_not_read(key: str, look: Callable[[SessionStore], object]) -> None:
    change(key, _session_expiry=60)
    session = SessionStore(key)
    look(session)
    session["b"] = 2
    change(key, _session_expiry=3600)
    session.save()
    assert stored(key)["b"] == 2


@pytest.mark.parametrize(
    "look", [lambda s: "new" in s, lambda s: s.has_key("new"), lambda s: list(s.keys()), lambda s: s.pop("new", 1)]
)
def test_who_saw_that_a_key_is_missing_is_refused_once_it_is_there(
    key: str, look: Callable[[SessionStore], object]
) -> None:
    session = SessionStore(key)
    look(session)
    session["b"] = 2
    change(key, new=1)
    with pytest.raises(SessionConflict, match="'new'"):
        session.save()


def test_who_only_read_is_never_refused(key: str, counted: CountingStore) -> None:
    session = SessionStore(key)
    assert session["a"] == 1
    change(key, a=5)
    session.save()
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        session.save()
    session.modified = True
    session.save()
    assert stored(key)["a"] == 5


@pytest.mark.parametrize("on_conflict", ["merge", "serialize", "raise"])
def test_save_every_request_makes_no_request_stale(counted: CountingStore, clock: FakeClock, on_conflict: Any) -> None:
    manager = SessionManager(counted, clock=clock, on_conflict=on_conflict)
    with override_settings(SESSION_MANAGER=manager, SESSION_SAVE_EVERY_REQUEST=True):
        session = SessionStore()
        session["a"] = 1
        session.save()
        key = session.session_key
        reader, late = SessionStore(key), SessionStore(key)
        assert reader["a"] == late["a"] == 1
        clock.advance(S)
        change(key, a=5)
        counted.taken()
        reader.save()
        assert counted.taken() == ["replace", "replace"]
        assert reader["a"] == stored(key)["a"] == 5
        SessionStore(key).flush()
        with pytest.raises(UpdateError):
            late.save()


def test_the_expiry_that_moves_with_each_change_does_not_make_mergeable_keys_count(
    counted: CountingStore, clock: FakeClock
) -> None:
    manager = SessionManager(counted, clock=clock, on_conflict="serialize", mergeable={"cart": "merge", "hits": "add"})
    with override_settings(SESSION_MANAGER=manager):
        session = SessionStore()
        session.update({"cart": ["apple"], "hits": 1})
        session.save()
        one, other = SessionStore(session.session_key), SessionStore(session.session_key)
        for each, item in ((one, "pear"), (other, "plum")):
            assert each["hits"] == 1
            each["cart"].append(item)
            each["hits"] = 2
        one.save()
        other.save()
        assert stored(session.session_key) == {"cart": ["apple", "pear", "plum"], "hits": 3}


def test_a_refused_save_can_be_made_by_a_new_request_only(key: str) -> None:
    session = SessionStore(key)
    session["b"] = session["a"]
    change(key, a=5)
    for _ in range(2):
        with pytest.raises(SessionConflict):
            session.save()
    assert session.session_key == key
    assert session["a"] == 1


# Atomic steps


def test_an_atomic_step_is_stored_at_once(key: str, counted: CountingStore, clock: FakeClock) -> None:
    session = SessionStore(key)
    assert session.peek("a") == 1
    change(key, a=5)
    clock.advance(HOUR)
    counted.taken()
    assert session.atomic(lambda s: s.pop_int("a")) == 5
    assert counted.taken() == ["replace", "replace"]
    assert stored(key) == {"cart": ["apple"]}
    assert session.modified
    session["b"] = 2
    session.save()
    assert stored(key) == {"b": 2, "cart": ["apple"]}


@override_settings(SESSION_COOKIE_AGE=60)
def test_an_atomic_step_begins_the_lifetime_anew(key: str, clock: FakeClock) -> None:
    session = SessionStore()
    for _ in range(3):
        session.atomic(lambda s: s.increment("n"))
        clock.advance(50 * S)
        session = SessionStore(session.session_key)
    assert session["n"] == 3
    clock.advance(11 * S)
    assert "n" not in SessionStore(session.session_key)


def test_an_atomic_step_checks_what_was_read(key: str) -> None:
    session = SessionStore(key)
    assert session["a"] == 1
    change(key, a=5)
    with pytest.raises(SessionConflict, match="'a'"):
        session.atomic(lambda s: s.put_int("b", 1))
    assert "b" not in stored(key)


def test_an_atomic_step_on_a_session_that_has_ended_is_refused(key: str) -> None:
    session = SessionStore(key)
    assert session.peek("a") == 1
    SessionStore(key).flush()
    with pytest.raises(SessionConflict, match="ended"):
        session.atomic(lambda s: s.put_int("b", 1))
    assert not SessionStore().exists(key)


# A session that ended meanwhile


def test_after_an_update_error_nothing_is_begun(key: str, counted: CountingStore) -> None:
    session = SessionStore(key)
    session["a"] = 2
    SessionStore(key).flush()
    for _ in range(2):
        session["b"] = 2
        counted.taken()
        with pytest.raises(UpdateError):
            session.save()
        assert "create" not in counted.taken()
    session.cycle_key()
    assert session.status is Status.DESTROYED
    assert not session.modified or session.session_key == key


def test_who_popped_a_value_of_a_session_that_ended_is_refused(key: str) -> None:
    session = SessionStore(key)
    assert session.pop("a") == 1
    SessionStore(key).flush()
    with pytest.raises(SessionConflict, match="'a'"):
        session.save()


def test_after_a_flush_what_is_put_begins_a_session_even_if_the_old_one_had_ended(key: str) -> None:
    session = SessionStore(key)
    session["a"] = 2
    SessionStore(key).flush()
    with pytest.raises(UpdateError):
        session.save()
    session.flush()
    session["farewell"] = "bye"
    session.save()
    assert stored(session.session_key) == {"farewell": "bye"}


# Messages and logins


MESSAGES = "_messages"


@pytest.mark.parametrize("checked", [False, True])
def test_messages_are_merged_and_checked_where_a_request_can_be_run_again(
    manager: SessionManager, checked: bool
) -> None:
    session = SessionStore()
    session[MESSAGES] = '["old"]'
    session.save()
    key = session.session_key
    site = get_site()
    showing = SessionStore(key)
    showing._enter(site.checked if checked else site.unchecked)
    assert showing.pop(MESSAGES) == '["old"]'
    change(key, **{MESSAGES: '["old","new"]'})
    if checked:
        with pytest.raises(SessionConflict, match=MESSAGES):
            showing.save()
    else:
        showing.save()
    assert stored(key)[MESSAGES] == ('["old","new"]' if checked else '["new"]')


def test_what_has_stored_or_forbidden_it_is_not_run_again_whatever_begins_after(key: str) -> None:
    for end in (SessionStore.flush, SessionStore.create, SessionStore.delete):
        session = SessionStore(key)
        end(session)
        assert not session._core._state.rerun or session._core._state.stored
    session = SessionStore()
    session.forbid_rerun()
    session.flush()
    assert not session._core._state.rerun


def test_a_flush_ends_the_session_that_another_request_has_renewed(key: str) -> None:
    session, other = SessionStore(key), SessionStore(key)
    session["a"] = 2
    other.cycle_key()
    other.save()
    with pytest.raises(UpdateError):
        session.save()
    session.flush()
    assert not SessionStore().exists(other.session_key)


def test_the_policies_are_made_once(manager: SessionManager) -> None:
    assert get_site() is get_site()
    assert SessionStore()._core._policy is SessionStore()._core._policy is get_site().unchecked


def test_the_loser_of_two_logins_lives_as_long_as_the_settings_say(key: str, clock: FakeClock) -> None:
    one, other = SessionStore(key), SessionStore(key)
    for each in (one, other):
        assert "_auth_user_id" not in each
    for each in (one, other):
        each.cycle_key()
        each["_auth_user_id"] = "7"
        each.save()
    assert other.session_key not in (key, one.session_key)
    assert stored(other.session_key) == {"_auth_user_id": "7"}
    clock.advance(AGE - S)
    assert SessionStore(other.session_key)["_auth_user_id"] == "7"


def test_the_loser_of_two_renewals_that_read_more_is_refused(key: str) -> None:
    one, other = SessionStore(key), SessionStore(key)
    for each in (one, other):
        assert each["a"] == 1
        each.cycle_key()
    one.save()
    with pytest.raises(SessionConflict, match="'a'"):
        other.save()
    assert not SessionStore().exists(key)


# Expiry


def test_the_default_expiry_is_the_settings(session: SessionStore) -> None:
    assert session.get_expiry_age() == AGE.total_seconds()
    session.set_expiry(0)
    assert session.get_expiry_age() == AGE.total_seconds()


@pytest.mark.parametrize("form", ["seconds", "timedelta", "datetime"])
def test_a_custom_expiry_in_every_form(
    session: SessionStore, clock: FakeClock, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: clock.now)
    forms: dict[str, Any] = {"seconds": 10, "timedelta": timedelta(seconds=10), "datetime": clock.now + 10 * S}
    session.set_expiry(forms[form])
    assert session.get_expiry_age() == 10
    assert session.get_expiry_date() == clock.now + 10 * S
    session.save()
    key = session.session_key
    clock.advance(10 * S)
    assert SessionStore(key).exists(key)
    clock.advance(timedelta(microseconds=1))
    assert not SessionStore(key).exists(key)


def test_an_expiry_is_reset_by_none(session: SessionStore) -> None:
    session.set_expiry(None)
    session.set_expiry(10)
    session.set_expiry(None)
    assert session.get_expiry_age() == AGE.total_seconds()
    assert "_session_expiry" not in session


@pytest.mark.parametrize("default", [True, False])
def test_expire_at_browser_close_is_the_setting_unless_the_session_says(session: SessionStore, default: bool) -> None:
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=default):
        assert session.get_expire_at_browser_close() is default
        session.set_expiry(10)
        assert session.get_expire_at_browser_close() is False
        session.set_expiry(0)
        assert session.get_expire_at_browser_close() is True
        session.set_expiry(None)
        assert session.get_expire_at_browser_close() is default


@pytest.mark.parametrize("form", [-10, -timedelta(seconds=10), datetime(2001, 1, 1, tzinfo=UTC)])
def test_an_expiry_in_the_past_ends_the_session(session: SessionStore, key: str, form: Any) -> None:
    new = SessionStore()
    for ended in (new, SessionStore(key)):
        ended["a"] = 1
        ended.set_expiry(form)
        ended.save()
        assert "a" not in SessionStore(ended.session_key)


def test_an_expiry_beyond_all_time_is_the_latest_there_is(session: SessionStore) -> None:
    session.set_expiry(datetime(9999, 12, 31, tzinfo=UTC))
    session.save()
    with get_manager().session(session.session_key) as s:
        assert s.deadline.year == 2262


@override_settings(USE_TZ=False, TIME_ZONE="Pacific/Honolulu")
def test_without_time_zones_a_datetime_is_local(session: SessionStore, clock: FakeClock) -> None:
    local = (clock.now - timedelta(hours=10)).replace(tzinfo=None)
    session.set_expiry(local + HOUR)
    session.save()
    with get_manager().session(session.session_key) as s:
        assert s.deadline == clock.now + HOUR


@override_settings(SESSION_COOKIE_AGE=60)
def test_each_change_begins_the_lifetime_anew_and_looking_does_not(session: SessionStore, clock: FakeClock) -> None:
    session["n"] = 0
    session.save()
    for n in range(1, 4):
        clock.advance(40 * S)
        session = SessionStore(session.session_key)
        session.increment("n")
        assert session["n"] == n
        session.save()
    clock.advance(40 * S)
    assert SessionStore(session.session_key)["n"] == 3
    clock.advance(21 * S)
    assert "n" not in SessionStore(session.session_key)


@override_settings(SESSION_COOKIE_AGE=60)
def test_modified_set_by_hand_begins_the_lifetime_anew(key: str, clock: FakeClock, counted: CountingStore) -> None:
    session = SessionStore(key)
    session.modified = True
    session.save()
    assert counted.taken() == ["find", "replace"]
    clock.advance(60 * S)
    assert SessionStore(key)["a"] == 1
    clock.advance(S)
    assert "a" not in SessionStore(key)


def test_an_idle_timeout_is_moved_on_by_looking(counted: CountingStore, clock: FakeClock) -> None:
    with override_settings(SESSION_MANAGER=SessionManager(counted, idle_timeout=HOUR, clock=clock)):
        session = SessionStore()
        session["a"] = 1
        session.save()
        clock.advance(HOUR / 20)
        again = SessionStore(session.session_key)
        assert again["a"] == 1
        assert not again.modified
        clock.advance(HOUR / 2)
        again = SessionStore(session.session_key)
        assert not again.modified  # nobody has looked
        assert again["a"] == 1
        assert again.modified
        counted.taken()
        again.save()
        assert counted.taken() == ["touch"]
        clock.advance(HOUR)
        assert SessionStore(session.session_key)["a"] == 1
        clock.advance(2 * HOUR)
        assert "a" not in SessionStore(session.session_key)


def test_remember_me_for_a_month_outlives_the_idle_timeout(counted: CountingStore, clock: FakeClock) -> None:
    with override_settings(SESSION_MANAGER=SessionManager(counted, idle_timeout=HOUR, clock=clock)):
        session = SessionStore()
        session["a"] = 1
        session.set_expiry(timedelta(days=30))
        session.save()
        session.set_idle_timeout(None)
        assert session.modified
        session.save()
        session.cycle_key()
        session.save()
        session.create()
        clock.advance(timedelta(days=29))
        again = SessionStore(session.session_key)
        assert again["a"] == 1
        assert not again.modified
        clock.advance(timedelta(days=2))
        assert "a" not in SessionStore(session.session_key)


def test_a_sessions_own_settings_are_no_keys(counted: CountingStore, clock: FakeClock) -> None:
    manager = SessionManager(counted, clock=clock)
    with override_settings(SESSION_MANAGER=manager):
        # As another framework's adapter on the same table stores it.
        with manager.session(None) as s:
            s.put_int("a", 1)
            s.remember()
            s.set_idle_timeout(HOUR)
        session = SessionStore(s.token)
        assert list(session.keys()) == ["a"]
        assert dict(session.items()) == session.load() == {"a": 1}
        assert not session.has_key("__rememberMe")
        with pytest.raises(ValueError, match=r"'__rememberMe' is reserved: call remember\(\) instead"):
            session["__rememberMe"] = True
        session.clear()
        session.save()
        with manager.session(s.token) as s:
            assert (dict(s), s.remembered, s.idle_timeout) == ({}, True, HOUR)


def test_a_logged_in_session_has_its_new_key_at_once(counted: CountingStore, clock: FakeClock) -> None:
    """As after a change of password: by the old key another request would find a hash that no longer fits, and flush it."""
    with override_settings(SESSION_MANAGER=SessionManager(counted, clock=clock)):
        session = SessionStore()
        session["_auth_user_hash"] = "old"
        session.save()
        old = session.session_key
        session.cycle_key()
        assert SessionStore(old).get("_auth_user_hash") is None
        assert SessionStore(session.session_key)["_auth_user_hash"] == "old"
        session["_auth_user_hash"] = "new"
        session.save()
        assert SessionStore(session.session_key)["_auth_user_hash"] == "new"


def test_clearsessions_leaves_what_lives(key: str) -> None:
    call_command("clearsessions")
    asyncio.run(SessionStore.aclear_expired())
    assert SessionStore().exists(key)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["clearsessions", "aclear_expired"])
def test_clearsessions_deletes_what_has_expired(backends: Backends, clock: FakeClock, asynchronous: bool) -> None:
    store = backends.server("ministack").store(clock)
    with override_settings(SESSION_MANAGER=SessionManager(store, clock=clock)):
        old, new = SessionStore(), SessionStore()
        for session, seconds in ((old, 60), (new, 6000)):
            session.set_expiry(seconds)
            session.save()
        clock.advance(timedelta(seconds=120))
        if asynchronous:
            asyncio.run(SessionStore.aclear_expired())
        else:
            call_command("clearsessions")
        keys = [get_manager()._policy.key(session.session_key or "") for session in (old, new)]
        there = [store.client.get_item(TableName=store.table.name, Key={"token": {"S": key}}) for key in keys]
        assert ["Item" in reply for reply in there] == [False, True]


@pytest.mark.parametrize("failing", ["server", "table"])
def test_a_clearsessions_that_fails_says_it_in_a_line(
    backends: Backends, failing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No need to wait for a server that will not come.
    monkeypatch.setattr("session.web.django._clearing.Batch", partial(Batch, attempts=1))
    where = backends.server("ministack").url if failing == "table" else "http://127.0.0.1:9"
    store = dynamostore.connect("no_such_table", region="us-east-1", endpoint_url=where, attempts=1)
    with override_settings(SESSION_MANAGER=SessionManager(store)):
        with pytest.raises(SystemExit) as ended:
            ManagementUtility(["manage.py", "clearsessions"]).execute()
        assert ended.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("ClearExpiredError: the expired sessions were not deleted: ")
        assert ("create it with store.create_table()" if failing == "table" else "no reply") in line
        assert "resume" not in line
        # For callers it is the store's own.
        expected = TableNotFoundError if failing == "table" else BatchIncompleteError
        for clear in (SessionStore.clear_expired, lambda: asyncio.run(SessionStore.aclear_expired())):
            with pytest.raises(StoreError) as raised:
                clear()
            assert isinstance(raised.value.__cause__, expected)


def test_expired_sessions_that_could_not_be_deleted_are_an_error(
    backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally(done=1, failed={"a": ThrottledError("slow down"), "b": ThrottledError("slow down")})
    monkeypatch.setattr(Batch, "purge_expired", lambda _: tally)
    manager = SessionManager(backends.server("ministack").store())
    with (
        override_settings(SESSION_MANAGER=manager),
        pytest.raises(CommandError, match="2 expired sessions were not deleted: slow down"),
    ):
        call_command("clearsessions")


def test_encode_and_decode_are_djangos(session: SessionStore) -> None:
    assert session.decode(session.encode({"a": 1})) == {"a": 1}
    assert session.decode("nonsense") == {}


# Async


has_async = pytest.mark.skipif(django.VERSION < (5, 1), reason="Django has the async methods since 5.1")


@has_async
def test_no_async_method_waits_for_what_blocks_the_executor_of_the_app(manager: SessionManager) -> None:
    async def main() -> None:
        async with busy_executor(), asyncio.timeout(5):
            session = SessionStore()
            await session.aset("a", 1)
            await session.asave()
            key = session.session_key
            assert await SessionStore(key).aget("a") == 1
            assert list(await SessionStore(key).akeys()) == ["a"]
            assert await session.aload() == {"a": 1}
            assert await session.aatomic(lambda s: s.get_int("a")) == 1
            assert await session.aexists(key)
            await session.acycle_key()
            await session.acreate()
            await session.aflush()
            await session.adelete(key)
            await SessionStore.aclear_expired()

    asyncio.run(main())


@has_async
def test_every_async_method_does_what_the_other_does(manager: SessionManager, counted: CountingStore) -> None:
    async def main() -> None:
        session = SessionStore()
        await session.aset("a", 1)
        await session.aupdate({"b": 2})
        assert await session.asetdefault("c", 3) == 3
        assert await session.asetdefault("c", 4) == 3
        assert await session.apop("c") == 3
        assert await session.apop("c", None) is None
        with pytest.raises(KeyError):
            await session.apop("c")
        await session.aset_test_cookie()
        assert await session.atest_cookie_worked()
        await session.adelete_test_cookie()
        await session.asave()
        first = session.session_key
        assert counted.taken() == ["create"]
        assert await session.aexists(first)
        session = SessionStore(first)
        assert sorted(await session.akeys()) == ["a", "b"]
        assert sorted(await session.avalues()) == [1, 2]
        assert await session.aload() == dict(await session.aitems()) == {"a": 1, "b": 2}
        assert await session.aget("a") == 1
        assert await session.apeek("a") == 1
        assert await session.aatomic(lambda s: s.get_int("b")) == 2
        assert await session.ahas_key("b")
        assert await session.aget_expiry_date() > datetime.now(UTC)
        await session.aset_expiry(10)
        assert await session.aget_expiry_age() == 10
        await session.aset_expiry(None)
        await session.aset_idle_timeout(HOUR)
        assert not await session.aget_expire_at_browser_close()
        await session.acycle_key()
        second = session.session_key
        assert second != first
        await session.asave()
        assert not await session.aexists(first)
        await session.acreate()
        third = session.session_key
        assert third not in (first, second)
        await session.adelete(second)
        assert not await session.aexists(second)
        await session.aflush()
        assert session.session_key is None
        assert not await session.aexists(third)

    asyncio.run(main())


@has_async
@pytest.mark.parametrize("put", ASAME.values(), ids=ASAME)
def test_what_is_put_as_it_was_moves_the_expiry_by_the_async_methods(
    brief: str, counted: CountingStore, clock: FakeClock, put: Callable[[SessionStore], Awaitable[object]]
) -> None:
    async def change() -> None:
        session = SessionStore(brief)
        await put(session)
        assert session.modified
        await session.asave()

    clock.advance(40 * S)
    asyncio.run(change())
    assert counted.taken() == ["find", "replace"]
    clock.advance(40 * S)
    assert stored(brief)["a"] == 1


@has_async
def test_what_would_hold_up_the_event_loop_is_refused(key: str) -> None:
    async def main() -> None:
        session = SessionStore(key)
        waiting: list[Callable[[], object]] = [
            lambda: session.get("a"),
            session.save,
            session.create,
            session.load,
            session.delete,
            session.flush,
            session.cycle_key,
            lambda: session.exists(key),
        ]
        for wait in waiting:
            with pytest.raises(SynchronousOnlyOperation, match="await the async method"):
                wait()
        assert await session.aget("a") == 1
        # In memory now.
        assert session.get_int("a") == 1
        session.increment("a")
        session.cycle_key()
        await session.asave()

    asyncio.run(main())
