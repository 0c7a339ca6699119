"""Settings that make no sense, cookies from strangers, and sessions whose block is over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import Cookie, Session, SessionClosedError, SessionManager, Status

HOUR = timedelta(hours=1)

# The cookie's settings

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "a name is"),
    "a name with a space": ({"name": "my session"}, "a name is"),
    "a name with =": ({"name": "a=b"}, "a name is"),
    "a name with ;": ({"name": "a; HttpOnly"}, "a name is"),
    "a name with a comma": ({"name": "a,b"}, "a name is"),
    "a name with quotes": ({"name": '"a"'}, "a name is"),
    "a name with a line break": ({"name": "a\r\nX-Evil: 1"}, "a name is"),
    "a name with a newline at the end": ({"name": "session\n"}, "a name is"),
    "a name with a NUL": ({"name": "a\0"}, "a name is"),
    "a name of other letters": ({"name": "séance"}, "a name is"),
    "a path without a slash": ({"path": "app"}, "a path begins"),
    "no path": ({"path": ""}, "a path begins"),
    "a path with ;": ({"path": "/; Domain=evil.example"}, "a path begins"),
    "a path with a line break": ({"path": "/\r\nX-Evil: 1"}, "a path begins"),
    "a path with a newline at the end": ({"path": "/\n"}, "a path begins"),
    "a path with a tab": ({"path": "/\t"}, "a path begins"),
    "a path of other letters": ({"path": "/séance"}, "a path begins"),
    "no domain, but a string": ({"domain": ""}, "not a valid domain name"),
    "a domain with ;": ({"domain": "example.org; Path=/"}, "not a valid domain name"),
    "a domain with a line break": ({"domain": "example.org\r\nX-Evil: 1"}, "not a valid domain name"),
    "a domain with a newline at the end": ({"domain": "example.org\n"}, "not a valid domain name"),
    "a domain with a space": ({"domain": "example .org"}, "not a valid domain name"),
    "a domain with a port": ({"domain": "example.org:80"}, "not a valid domain name"),
    "a URL for a domain": ({"domain": "https://example.org"}, "not a valid domain name"),
    "a domain with an empty part": ({"domain": "example..org"}, "not a valid domain name"),
    "a domain of dots": ({"domain": ".."}, "not a valid domain name"),
    "a domain that is not in punycode": ({"domain": "bücher.example"}, "not a valid domain name"),
    "another same_site": ({"same_site": "lax"}, "same_site is"),
    "no same_site": ({"same_site": None}, "same_site is"),
    "a same_site with ;": ({"same_site": "Lax; Domain=x"}, "same_site is"),
    "None without secure": ({"same_site": "None", "secure": False}, "needs secure=True"),
    "partitioned without secure": ({"partitioned": True, "secure": False}, "needs secure=True"),
    "__Host- with a domain": ({"name": "__Host-s", "domain": "example.org"}, "must have no domain"),
    "__Host- with a path": ({"name": "__Host-s", "path": "/app"}, 'must have path="/"'),
    "__Host- without secure": ({"name": "__Host-s", "secure": False}, "must be secure"),
    "__Secure- without secure": ({"name": "__Secure-s", "secure": False}, "must be secure"),
    "__HOST- in capitals": ({"name": "__HOST-s", "domain": "example.org"}, "must have no domain"),
    "__secure- in small letters": ({"name": "__secure-s", "secure": False}, "must be secure"),
}


@pytest.mark.parametrize(("settings", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_cookie_that_a_browser_would_refuse_is_a_mistake(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Cookie(**settings)
    # A line break in it is shown, not made.
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "bad"), [("name", None), ("name", b"s"), ("path", None), ("domain", b"a.example")])
def test_a_setting_of_another_type_is_a_mistake(name: str, bad: Any) -> None:
    settings: dict[str, Any] = {name: bad}
    with pytest.raises((TypeError, ValueError), match=name):
        Cookie(**settings)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20) | st.none())
def test_whatever_the_settings_are_there_is_one_header_with_our_attributes(
    name: str, path: str, domain: str | None
) -> None:
    try:
        cookie = Cookie(name=name, path=path, domain=domain)
    except ValueError:
        return
    header = cookie.clear()
    assert header.isascii()
    assert header.isprintable()
    assert header.count(";") == 6 + (domain is not None)


# What it is asked to set

UNFIT = ["a;b", "a b", "a,b", 'a"b', "a\\b", "a\r\nSet-Cookie: x=y", "a\n", "a\0", "a\x7f", "é", "\ud800", "a;Domain=x"]


@pytest.mark.parametrize("value", UNFIT, ids=repr)
def test_a_value_that_may_not_stand_in_a_header_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match="not allowed in a cookie") as caught:
        Cookie().set(value, datetime(2030, 1, 1, tzinfo=UTC), 0)
    assert value not in str(caught.value)
    assert repr(value)[1:-1] not in str(caught.value)


def test_an_expiry_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="expiry must be timezone-aware"):
        Cookie().set("abc", datetime(2030, 1, 1), 0)  # noqa: DTZ001 (that is the point)


def test_an_expiry_in_another_zone_is_the_same_instant() -> None:
    there = datetime(2030, 1, 1, 1, tzinfo=timezone(HOUR))
    assert Cookie().set("abc", there, 0) == Cookie().set("abc", datetime(2030, 1, 1, tzinfo=UTC), 0)


def test_an_expiry_in_the_past_is_no_negative_age() -> None:
    header = Cookie().set("abc", datetime(1970, 1, 1, tzinfo=UTC), 10**18)
    assert "; Max-Age=0;" in header


# What it reads

READ: dict[str, tuple[str | None, str | None]] = {
    "no header": (None, None),
    "an empty header": ("", None),
    "white space": (" \t ", None),
    "only separators": (";;; ; =;==", None),
    "no =": ("session", None),
    "no name": ("=abc", None),
    "no value": ("session=", ""),
    "another name": ("sessions=abc", None),
    "a name that ends so": ("mysession=abc", None),
    "other capitals": ("Session=abc", None),
    "spaces around": ("  session = abc ; x=y", "abc"),
    "quotes": ('session="abc"', "abc"),
    "one quote": ('session="abc', '"abc'),
    "nothing but quotes": ('session=""', ""),
    "two of one name": ("session=first; session=second", "first"),
    "= in the value": ("session=a=b==", "a=b=="),
    "a comma": ("session=abc, session=def", "abc, session=def"),
    "Latin-1": ("café=crème; session=abc", "abc"),
    "a value of other letters": ("session=naïve", "naïve"),
    "a lone surrogate": ("session=\ud800; x=\udfff", "\ud800"),
    "a NUL": ("session=\0", "\0"),
    "a line break": ("session=abc\r\nX-Evil: 1", "abc\r\nX-Evil: 1"),
}


@pytest.mark.parametrize(("header", "value"), READ.values(), ids=READ)
def test_any_header_is_read(header: str | None, value: str | None) -> None:
    assert Cookie().read(header) == value


@pytest.mark.parametrize("header", ["session=" + "A" * 10_240, "x=y; " * 2048, ";" * 10_240, "=" * 10_240], ids=len)
def test_a_header_of_ten_kilobytes_is_read(header: str) -> None:
    assert Cookie().read(header) in (None, "A" * 10_240)


@given(st.text(max_size=200) | st.text('session=; ",', max_size=80))
def test_no_header_whatever_makes_it_raise_or_adopts_anything(header: str) -> None:
    manager = SessionManager(MemoryStore())
    token = manager.cookie.read(header)
    with manager.session(token) as s:
        s.put_int("n", 1)
    assert s.token != token


@given(st.text("AZaz09-_", min_size=43, max_size=43))
def test_what_is_set_is_what_is_read(token: str) -> None:
    header = Cookie().set(token, datetime(2030, 1, 1, tzinfo=UTC), 0)
    assert Cookie().read(header.partition(";")[0]) == token
    assert SimpleCookie(header)["session"].value == token


# The manager's settings

SENSELESS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no lifetime": ({"lifetime": None}, TypeError, "lifetime must be a timedelta"),
    "a lifetime in seconds": ({"lifetime": 3600}, TypeError, "lifetime must be a timedelta"),
    "a lifetime in words": ({"lifetime": "1h"}, TypeError, "lifetime must be a timedelta"),
    "a lifetime of zero": ({"lifetime": timedelta(0)}, ValueError, "lifetime must be more than zero"),
    "a negative lifetime": ({"lifetime": -HOUR}, ValueError, "lifetime must be more than zero"),
    "an idle timeout in seconds": ({"idle_timeout": 1200.0}, TypeError, "idle_timeout must be a timedelta"),
    "an idle timeout of zero": ({"idle_timeout": timedelta(0)}, ValueError, "idle_timeout must be more than zero"),
    "a negative idle timeout": ({"idle_timeout": -HOUR}, ValueError, "idle_timeout must be more than zero"),
    "touch_after alone": ({"touch_after": HOUR}, ValueError, "requires an idle_timeout"),
    "touch_after in seconds": ({"idle_timeout": HOUR, "touch_after": 60}, TypeError, "touch_after must be a timedelta"),
    "a negative touch_after": (
        {"idle_timeout": HOUR, "touch_after": -HOUR},
        ValueError,
        "touch_after must be zero or more",
    ),
    "touch_after as long as the idle timeout": (
        {"idle_timeout": HOUR, "touch_after": HOUR},
        ValueError,
        "must be shorter than it",
    ),
    "a grace in seconds": ({"renewal_grace": 10}, TypeError, "renewal_grace must be a timedelta"),
    "a negative grace": ({"renewal_grace": -HOUR}, ValueError, "renewal_grace must be"),
    "another way with conflicts": ({"on_conflict": "ignore"}, ValueError, "on_conflict must be"),
    "no way with conflicts": ({"on_conflict": None}, ValueError, "on_conflict must be"),
    "ways with conflicts": ({"on_conflict": ["merge"]}, ValueError, "on_conflict must be"),
    "another way with corruption": ({"on_corrupt": "delete"}, ValueError, 'on_corrupt must be "raise" or "reset", not'),
    "no way with corruption": ({"on_corrupt": None}, ValueError, "on_corrupt must be"),
    "a cookie's name for a cookie": ({"cookie": "sid"}, TypeError, "cookie"),
}


@pytest.mark.parametrize(("settings", "error", "reason"), SENSELESS.values(), ids=SENSELESS)
def test_settings_that_make_no_sense_are_a_mistake(
    settings: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        SessionManager(MemoryStore(), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"lifetime": timedelta.max},
        {"lifetime": timedelta(microseconds=1)},
        {"idle_timeout": timedelta.max},
        {"idle_timeout": timedelta(microseconds=1)},
        {"idle_timeout": HOUR, "touch_after": timedelta(0)},
        {"lifetime": HOUR, "idle_timeout": 2 * HOUR},
        {"renewal_grace": timedelta(0)},
        {"renewal_grace": timedelta.max},
    ],
    ids=str,
)
def test_extreme_settings_work(clock: FakeClock, settings: dict[str, Any]) -> None:
    manager = SessionManager(MemoryStore(clock=clock), clock=clock, **settings)
    with manager.session(None) as s:
        s.put_int("n", 1)
    header = manager.set_cookie(s)
    assert header is not None
    assert header.isprintable()
    with manager.session(s.token) as again:
        assert again.get_int("n") == 1
        assert again.deadline > clock.now


@pytest.mark.parametrize("attempts", [0, -1])
def test_an_update_is_attempted_at_least_once(attempts: int) -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        SessionManager(MemoryStore()).update(None, lambda s: s.increment("n"), attempts=attempts)


# After the block

CHANGES: dict[str, Callable[[Session], object]] = {
    "put_string": lambda s: s.put_string("k", "x"),
    "put_int": lambda s: s.put_int("k", 1),
    "put_float": lambda s: s.put_float("k", 1.5),
    "put_bool": lambda s: s.put_bool("k", True),
    "put_bytes": lambda s: s.put_bytes("k", b"x"),
    "put_time": lambda s: s.put_time("k", datetime(2030, 1, 1, tzinfo=UTC)),
    "put_object": lambda s: s.put_object("k", ["x"]),
    "pop_string": lambda s: s.pop_string("name"),
    "pop_object": lambda s: s.pop_object("name", str),
    "setitem": lambda s: s.__setitem__("k", 1),
    "delitem": lambda s: s.__delitem__("name"),
    "pop": lambda s: s.pop("name"),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("k", 1),
    "update": lambda s: s.update(k=1),
    "clear": lambda s: s.clear(),
    "remove": lambda s: s.remove("name"),
    "remove what is not there": lambda s: s.remove("k"),
    "increment": lambda s: s.increment("k"),
    "renew_token": lambda s: s.renew_token(),
    "destroy": lambda s: s.destroy(),
    "save": lambda s: s.save(),
}
changes = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@pytest.fixture
def memory(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def manager(memory: MemoryStore, clock: FakeClock) -> SessionManager:
    return SessionManager(memory, clock=clock)


@pytest.fixture
def token(manager: SessionManager) -> str:
    """The token of a session that is stored."""
    with manager.session(None) as s:
        s.put_string("name", "ada")
    assert s.token is not None
    return s.token


@changes
def test_a_change_after_committing_or_discarding_is_an_error(
    manager: SessionManager, token: str, change: Callable[[Session], object]
) -> None:
    for close in (manager.commit, manager.discard):
        s = manager.load(token)
        close(s)
        with pytest.raises(SessionClosedError, match="session is closed"):
            change(s)
    with manager.session(token) as again:
        assert dict(again) == {"name": "ada"}


def test_a_session_is_committed_once_and_discarded_as_often_as_one_likes(manager: SessionManager, token: str) -> None:
    s = manager.load(token)
    manager.commit(s)
    with pytest.raises(SessionClosedError):
        manager.commit(s)
    manager.discard(s)
    manager.discard(s)
    assert s.token == token


@changes
@pytest.mark.parametrize("loaded", [True, False], ids=["read", "not read"])
def test_a_change_after_the_block_is_an_error(
    manager: SessionManager, token: str, loaded: bool, change: Callable[[Session], object]
) -> None:
    with manager.session(token) as s:
        if loaded:
            assert s.get_string("name") == "ada"
    with pytest.raises(SessionClosedError, match="session is closed"):
        change(s)
    with manager.session(token) as again:
        assert dict(again) == {"name": "ada"}
    assert s.status is Status.UNMODIFIED


# After an exception there may be nothing left to take out; what puts something in must not seem to.
@pytest.mark.parametrize("name", [name for name in CHANGES if not name.startswith(("pop", "delitem"))])
@pytest.mark.parametrize("loaded", [True, False], ids=["read", "not read"])
def test_a_change_after_an_exception_is_an_error(manager: SessionManager, token: str, loaded: bool, name: str) -> None:
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        if loaded:
            s.put_int("n", 1)
        raise ZeroDivisionError
    with pytest.raises(SessionClosedError, match="session is closed"):
        CHANGES[name](s)
    with manager.session(token) as again:
        assert dict(again) == {"name": "ada"}


def test_what_was_read_in_the_block_can_be_read_after_it(manager: SessionManager, token: str, clock: FakeClock) -> None:
    with manager.session(token) as s:
        s.put_int("n", 1)
    assert s.get_string("name") == "ada"
    assert s.get_int("missing") == 0
    assert dict(s) == {"n": 1, "name": "ada"}
    assert "n" in s
    assert len(s) == 2
    assert s.token == token
    assert s.deadline == s.expiry == clock.now + 24 * HOUR
    assert s.status is Status.MODIFIED


def test_a_session_that_was_not_read_in_the_block_is_read_after_it(manager: SessionManager, token: str) -> None:
    reads: tuple[Callable[[Session], object], ...] = (
        lambda s: s.get_string("name"),
        lambda s: s["name"],
        lambda s: dict(s)["name"],
        lambda s: "ada" if len(s) == 1 else "",
        lambda s: "ada" if "name" in s else "",
        lambda s: "ada" if s.deadline == s.expiry else "",
    )
    for read in reads:
        with manager.session(token) as s:
            pass
        assert read(s) == "ada"
        assert (s.token, s.status, manager.set_cookie(s)) == (token, Status.UNMODIFIED, None)


def test_after_an_exception_what_is_stored_does_not_seem_to_be_missing(manager: SessionManager, token: str) -> None:
    # An error page that shows who is logged in: it may be told, or refused, but not that nobody is.
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        assert s.get_string("name") == "ada"
        raise ZeroDivisionError
    with suppress(SessionClosedError):
        assert s.get_string("name") == "ada"


def test_a_session_that_is_discarded_changes_nothing_for_the_client(
    manager: SessionManager, memory: MemoryStore, token: str
) -> None:
    before = dict(memory._records)
    with pytest.raises(ZeroDivisionError), manager.session(token) as s:
        s.put_int("n", 1)
        s.renew_token()
        raise ZeroDivisionError
    assert memory._records == before
    assert s.token == token
    assert manager.set_cookie(s) is None
