"""Logins through a provider: from the redirect to the callback the session keeps Authlib's state, nonce and verifier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dynamostore import MemoryStore
from session import Cookie, SessionManager

from .apps import SHOPS
from .provider import Provider

_WAIT = 20.0


@dataclass
class World:
    """A shop, its provider, and a clock that only the test moves."""

    shop: str
    quiet: bool
    provider: Provider
    url: str
    client: Any
    clock: Clock

    @contextmanager
    def browser(self) -> Iterator[Browser]:
        with httpx.Client(timeout=_WAIT) as client:
            yield Browser(self.url, client)


@dataclass
class Clock:
    now: int = field(default_factory=lambda: 1_900_000_000 * 10**9)

    def __call__(self) -> int:
        return self.now

    def advance(self, duration: timedelta) -> None:
        self.now += round(duration.total_seconds() * 10**9)


@dataclass
class Browser:
    """A browser that follows no redirect by itself."""

    url: str
    client: httpx.Client

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path if path.startswith("http") else f"{self.url}{path}")

    def begin(self) -> str:
        """Go to the provider, log in there, and return the callback's URL."""
        answer = self.get("/login")
        assert answer.status_code == 302
        answer = self.get(answer.headers["Location"])
        assert answer.status_code == 302
        return str(answer.headers["Location"])

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200
        return answer.text


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider.serve() as provider:
        yield provider


@pytest.fixture(params=[f"{shop}{quiet}" for shop in SHOPS for quiet in ("", "-quiet")])
def world(request: pytest.FixtureRequest, provider: Provider) -> Iterator[World]:
    clock = Clock()
    manager = SessionManager(
        MemoryStore(clock=clock), clock=clock, lifetime=timedelta(hours=1), cookie=Cookie(secure=False, persist=False)
    )
    provider.user, provider.before_token = "ada", None
    provider.exchanged.clear()
    shop, _, quiet = request.param.partition("-")
    with SHOPS[shop](manager, provider.url, bool(quiet)) as (url, client):
        yield World(shop, bool(quiet), provider, url, client, clock)


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    with world.browser() as browser:
        yield browser


def test_a_login_there_and_back(world: World, browser: Browser) -> None:
    callback = browser.begin()
    assert browser.text("/states") == "1"
    assert browser.text(callback) == "ada"
    assert browser.text("/me") == "ada"
    assert browser.text("/states") == "0"


def test_the_session_is_another_after_the_login(world: World, browser: Browser) -> None:
    callback = browser.begin()
    before = dict(browser.client.cookies)
    browser.get(callback)
    with world.browser() as planted:
        planted.client.cookies.update(before)
        assert planted.text("/me") == ""
    assert browser.text("/me") == "ada"


def test_what_was_there_before_the_login_stays(world: World, browser: Browser) -> None:
    browser.get("/count")
    browser.get(browser.begin())
    assert browser.text("/count") == "2"


def test_two_logins_that_are_under_way_in_one_browser(world: World, browser: Browser) -> None:
    needs_many_states(world)
    world.provider.user = "ada"
    first = browser.begin()
    world.provider.user = "grace"
    second = browser.begin()
    assert browser.text("/states") == "2"
    assert browser.text(second) == "grace"
    assert browser.text(first) == "ada"
    assert browser.text("/states") == "0"
    assert len(world.provider.exchanged) == 2


def test_a_state_works_once(world: World, browser: Browser) -> None:
    callback = browser.begin()
    browser.get(callback)
    answer = browser.get(callback)
    assert (answer.status_code, answer.text) == (400, "mismatching_state")
    assert browser.text("/me") == "ada"
    assert len(world.provider.exchanged) == 1


def test_a_foreign_state_is_refused_before_the_provider_is_asked(world: World, browser: Browser) -> None:
    callback = browser.begin()
    with world.browser() as victim:
        victim.begin()
        answer = victim.get(callback)
        assert (answer.status_code, answer.text) == (400, "mismatching_state")
        assert victim.text("/me") == ""
    assert world.provider.exchanged == []


def test_a_browser_without_a_session_is_refused(world: World, browser: Browser) -> None:
    callback = browser.begin()
    with world.browser() as nobody:
        assert nobody.get(callback).status_code == 400
    assert world.provider.exchanged == []
    assert browser.text(callback) == "ada"


def test_a_state_ends_with_its_session(world: World, browser: Browser) -> None:
    callback = browser.begin()
    world.clock.advance(timedelta(hours=1, seconds=1))
    answer = browser.get(callback)
    assert (answer.status_code, answer.text) == (400, "mismatching_state")
    assert world.provider.exchanged == []
    # And the browser can begin anew.
    assert browser.text(browser.begin()) == "ada"


def test_a_state_that_has_expired_is_dropped_with_the_next_login(world: World, browser: Browser) -> None:
    needs_many_states(world)
    if world.quiet:
        pytest.skip("it stays until the session ends")
    world.client.framework.expires_in = -1
    browser.begin()
    world.client.framework.expires_in = 3600
    callback = browser.begin()
    assert browser.text("/states") == "2"
    browser.get(callback)
    assert browser.text("/states") == "0"


def test_a_refusal_of_the_provider_leaves_the_session_as_it_was(world: World, browser: Browser) -> None:
    browser.get("/count")
    callback = browser.begin()
    answer = browser.get(f"{callback.partition('?')[0]}?error=access_denied")
    assert (answer.status_code, answer.text) == (400, "access_denied")
    assert browser.text("/count") == "2"
    assert browser.text(callback) == "ada"


def test_a_change_during_the_callback_is_kept(world: World, browser: Browser) -> None:
    browser.get("/count")
    callback = browser.begin()
    world.provider.before_token = lambda: browser.get("/count")
    assert browser.text(callback) == "ada"
    assert len(world.provider.exchanged) == 1
    assert browser.text("/count") == "3"


def test_a_callback_that_may_not_run_again_sends_its_code_once(world: World, browser: Browser) -> None:
    browser.get("/count")
    callback = browser.begin()
    world.provider.before_token = lambda: browser.get("/count")
    # 409 if Authlib has read what the other request changed.
    assert browser.get(f"{callback}&once=1").status_code == (200 if world.quiet else 409)
    assert len(world.provider.exchanged) == 1
    assert browser.text("/count") == "3"


def test_of_two_callbacks_at_once_one_logs_in(world: World, browser: Browser) -> None:
    needs_many_states(world)
    first, second = browser.begin(), browser.begin()
    met: list[httpx.Response] = []
    world.provider.before_token = lambda: met.append(browser.get(second))
    answer = browser.get(first)
    # The other one is stale, and not run again: the provider takes its code once.
    assert (answer.status_code, met[0].status_code) == (409, 200)
    assert browser.text("/me") == "ada"
    # No code is sent twice.
    assert len(set(world.provider.exchanged)) == len(world.provider.exchanged) == 2


def needs_many_states(world: World) -> None:
    """Skip what Authlib's client for Starlette cannot do with any sessions."""
    if world.shop == "starlette":
        pytest.skip("it keeps the state of the last login only")
