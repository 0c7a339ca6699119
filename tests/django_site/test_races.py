"""Django requests that meet on one session, in threads and on servers: orders, messages, logins, logouts, a takeover."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from itertools import cycle
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connections
from django.test import AsyncClient, Client, override_settings

from session import SessionManager
from session.web import _reruns
from session.web.django import SessionStore
from tests.backends import Backends
from tests.django_site import PASSWORD
from tests.django_site.race_urls import ORDER, PASSWORDS
from tests.django_site.urls import meanwhile

COOKIE = "sessionid"


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    for name in ("race-eve", "race-bob"):
        User.objects.create_user(name, password=PASSWORD)
    yield
    connections.close_all()


# Not moto: in this process its conditional writes are not atomic between threads.
@pytest.fixture(params=["memory", "ministack"])
def manager(request: pytest.FixtureRequest, backends: Backends) -> SessionManager:
    return SessionManager(backends.store(request.param, time.time_ns))


@pytest.fixture(autouse=True)
def site(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_reruns, "_FIRST_PAUSE_S", 0)
    with override_settings(SESSION_MANAGER=manager, ROOT_URLCONF="tests.django_site.race_urls"):
        yield
    meanwhile.happens = lambda: None


@pytest.fixture
def orders() -> Iterator[Callable[[], int]]:
    placed = Group.objects.filter(name__startswith=ORDER)
    placed.delete()
    yield placed.count
    placed.delete()


def begin(**values: object) -> str:
    """Store a session, and return its key."""
    session = SessionStore()
    session.update({"role": "user", **values})
    session.save()
    assert session.session_key is not None
    return session.session_key


def stored(key: str | None) -> dict[str, object]:
    return dict(SessionStore(key).items())


def browser(key: str | None, **settings: Any) -> Client:
    client = Client(raise_request_exception=False, **settings)
    if key is not None:
        client.cookies[COOKIE] = key
    return client


def send(key: str | None, path: str, method: str = "post", **arguments: Any) -> Any:
    return getattr(browser(key), method)(path, **arguments)


# A view runs in other threads than its request, but in a context that is made from that.
to_wait: ContextVar[dict[str, bool]] = ContextVar("to_wait")


def together(*requests: Callable[[], Any]) -> list[Any]:
    """Make the requests at once: each waits, when it has read its session, for the others to have read theirs."""
    barrier = threading.Barrier(len(requests))

    def meet() -> None:
        # Not in a run that follows.
        if to_wait.get().pop("first", False):
            barrier.wait(10)

    def run(request: Callable[[], Any]) -> Any:
        to_wait.set({"first": True})
        try:
            return request()
        finally:
            connections.close_all()

    meanwhile.happens = meet
    try:
        with ThreadPoolExecutor(len(requests)) as pool:
            return [future.result(30) for future in [pool.submit(run, request) for request in requests]]
    finally:
        meanwhile.happens = lambda: None


# Orders


@pytest.mark.parametrize("path", ["/order/block", "/order"])
@pytest.mark.parametrize("method", ["post", "get"])
def test_two_orders_at_once_are_one(orders: Callable[[], int], path: str, method: str) -> None:
    key = begin(cart=["apple"])
    with atomic_requests(path == "/order"):
        answers = together(*(lambda: send(key, path, method),) * 2)
    refused = 409 if method == "post" else 400
    assert sorted(answer.status_code for answer in answers) == [200, refused]
    assert orders() == 1
    assert stored(key) == {"role": "user"}


def test_without_the_save_in_the_transaction_both_orders_stay(orders: Callable[[], int]) -> None:
    key = begin(cart=["apple"])
    with atomic_requests(True):
        answers = together(*(lambda: send(key, "/order/without"),) * 2)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert orders() == 2


class atomic_requests:
    """ATOMIC_REQUESTS, for a while; django.test.override_settings does not reach it."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before = connections.settings["default"]["ATOMIC_REQUESTS"]
        connections.settings["default"]["ATOMIC_REQUESTS"] = self.on

    def __exit__(self, *_: object) -> None:
        connections.settings["default"]["ATOMIC_REQUESTS"] = self.before


# Messages


def test_no_message_is_lost_or_shown_twice() -> None:
    key = begin()
    said = [f"message {n}" for n in range(24)]
    shown: list[str] = []
    left = iter(said)
    lock = threading.Lock()

    def speak() -> None:
        while True:
            with lock:
                what = next(left, None)
            if what is None:
                return
            assert send(key, "/say", data={"what": what}).status_code == 200

    def listen() -> None:
        for _ in range(12):
            answer = send(key, "/hear", "get")
            if answer.status_code == 200:
                with lock:
                    shown.extend(answer.content.decode().split(";")[:-1])

    meanwhile.happens = lambda: None
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(do) for do in (speak, listen, speak, listen)]:
            future.result(60)
    shown += send(key, "/hear", "get").content.decode().split(";")[:-1]
    assert sorted(shown) == sorted(said)


def test_two_pages_at_once_show_a_message_once() -> None:
    key = begin()
    send(key, "/say", data={"what": "hello"})
    answers = together(*(lambda: send(key, "/hear", "get"),) * 2)
    assert sorted(answer.content for answer in answers) == [b"", b"hello;"]


def test_posts_that_add_and_show_messages_at_once_are_not_refused() -> None:
    key = begin()
    send(key, "/say", data={"what": "old"})
    answers = together(
        lambda: send(key, "/say", data={"what": "new"}),
        lambda: send(key, "/say", data={"what": "newer"}),
        lambda: send(key, "/hear"),
    )
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[2].content == b"old;"
    assert sorted(send(key, "/hear", "get").content.split(b";")) == [b"", b"new", b"newer"]


# Logins and logouts


@pytest.mark.parametrize("csrf_in_session", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_double_click_on_log_in_is_a_login_for_both(csrf_in_session: bool, kind: str) -> None:
    key = begin()
    form = {"username": "race-eve", "password": PASSWORD}
    browsers = [browser(key), browser(key)]

    def log_in(client: Client) -> Any:
        if kind == "sync":
            return client.post("/login", form)
        asynchronous = AsyncClient(raise_request_exception=False)
        asynchronous.cookies[COOKIE] = key
        answer = async_to_sync(asynchronous.post)("/login", form)
        client.cookies[COOKIE] = asynchronous.cookies[COOKIE].value
        return answer

    with override_settings(CSRF_USE_SESSIONS=csrf_in_session):
        answers = together(*(lambda client=client: log_in(client) for client in browsers))
        assert [answer.status_code for answer in answers] == [200, 200]
        keys = [client.cookies[COOKIE].value for client in browsers]
        assert key not in keys
        assert [client.post("/whoami").content for client in browsers] == [b"race-eve"] * 2
    assert not SessionStore().exists(key)
    roles = [stored(key).get("role") for key in keys]
    assert sorted(roles, key=str) == [None, "user"]
    for key in keys:
        with manager_of().session(key) as s:
            assert s.deadline.timestamp() - s._policy.clock() / 1e9 > 13 * 24 * 3600


def manager_of() -> SessionManager:
    return SessionStore()._manager


def test_a_login_that_read_more_and_lost_is_refused() -> None:
    key = begin()
    form = {"username": "race-eve", "password": PASSWORD}
    answers = together(*(lambda: send(key, "/login?look=role", data=form),) * 2)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (refused,) = (answer for answer in answers if answer.status_code == 409)
    assert not refused.cookies


def test_a_login_that_put_something_keeps_it() -> None:
    key = begin()
    form = {"username": "race-eve", "password": PASSWORD}
    browsers = [browser(key), browser(key)]
    together(*(lambda n=n: browsers[n].post(f"/login?first=of-{n}", form) for n in range(2)))
    both = [stored(client.cookies[COOKIE].value) for client in browsers]
    assert all(f"of-{n}" in data for n, data in enumerate(both))


def test_a_logout_is_never_refused() -> None:
    key = begin()
    tab = browser(key)

    def change() -> None:
        meanwhile.happens = lambda: None
        send(key, "/decide")

    meanwhile.happens = change
    assert tab.post("/logout").content == b"bye"
    assert not SessionStore().exists(key)
    new = tab.cookies[COOKIE].value
    assert new != key
    assert stored(new) == {"farewell": "bye"}


@pytest.mark.parametrize("path", ["/decide", "/async/decide"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_session_that_ended_meanwhile_is_not_brought_back(path: str, method: str) -> None:
    key = begin()
    tab = browser(key)
    meanwhile.happens = lambda: SessionStore(key).flush()
    response = getattr(tab, method)(path)
    assert response.status_code == 200
    assert COOKIE not in response.cookies
    assert stored(key) == {}


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_value_that_was_popped_of_a_session_that_ended_is_a_conflict(method: str) -> None:
    key = begin(nonce="abc")

    def end() -> None:
        meanwhile.happens = lambda: None
        SessionStore(key).flush()

    meanwhile.happens = end
    response = send(key, "/pop", method)
    # Run again, it has no session, and begins none: its cookie could replace that of a new login.
    assert response.status_code == (200 if method == "get" else 409)
    assert not response.cookies


def test_what_was_saved_before_the_session_ended_is_not_done_again() -> None:
    key = begin(nonce="abc")
    meanwhile.happens = lambda: SessionStore(key).flush()
    assert send(key, "/pop?save", "get").status_code == 409


def test_a_post_that_showed_messages_of_a_session_that_ended_is_no_conflict() -> None:
    key = begin()
    send(key, "/say", data={"what": "hello"})
    meanwhile.happens = lambda: SessionStore(key).flush()
    response = send(key, "/hear")
    assert (response.status_code, response.content) == (200, b"hello;")
    assert not response.cookies


def test_after_a_save_that_found_the_session_ended_nothing_is_begun() -> None:
    key = begin()
    meanwhile.happens = lambda: SessionStore(key).flush()
    response = send(key, "/order/ended")
    assert response.content == b"UpdateError destroyed"
    assert not response.cookies


# A takeover


def test_no_race_ends_with_the_victims_password_changed() -> None:
    races = cycle(range(2))
    won = 0
    for _ in range(20):
        PASSWORDS["victim"] = "v"
        key = begin()
        send(key, "/reset/begin", data={"user": "attacker"})
        calls = [
            lambda key=key: send(key, "/reset/code", data={"code": "123456"}),
            lambda key=key: send(key, "/reset/begin", data={"user": "victim"}),
        ]
        together(*(calls if next(races) else reversed(calls)))
        send(key, "/reset/password", data={"password": secrets.token_hex()})
        won += PASSWORDS["victim"] != "v"
    assert won == 0


@pytest.mark.parametrize("path", ["/spend", "/async/spend"])
def test_a_nonce_is_spent_once(path: str) -> None:
    key = begin(nonce="abc")
    answers = together(*(lambda: send(key, path),) * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    assert stored(key) == {"role": "user"}
