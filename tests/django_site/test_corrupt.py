"""A user whose stored session is corrupt can log in and log out with that cookie, whatever else it cannot do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import django
import httpx
import pytest
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test import Client, override_settings

from dynamostore import CorruptRecordError, DynamoStore
from dynamostore.digests import digest
from session import CorruptSessionError, SessionManager, _rarely
from session.web.django import SessionStore
from tests.backends import Backends
from tests.counting import CountingStore
from tests.django_site import PASSWORD
from tests.serving import on_uvicorn, on_waitress

COOKIE = "sessionid"
USER = "root-of-the-corrupt"
CREDENTIALS = {"username": USER, "password": PASSWORD}
PREFIXES = ["/", "/async/"] if django.VERSION >= (5, 1) else ["/"]
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    user = User.objects.create_superuser(USER, password=PASSWORD)
    yield
    user.delete()
    connections.close_all()


@pytest.fixture
def store(backends: Backends) -> DynamoStore:
    return backends.server("ministack").store()


@pytest.fixture
def counted(store: DynamoStore) -> CountingStore:
    return CountingStore(store)


@pytest.fixture(autouse=True)
def manager(counted: CountingStore) -> Iterator[SessionManager]:
    manager = SessionManager(counted)
    _rarely.forget()
    with override_settings(SESSION_MANAGER=manager):
        yield manager


@pytest.fixture(params=["payload", "record"])
def key(request: pytest.FixtureRequest, store: DynamoStore, manager: SessionManager) -> str:
    """The key of a session that was stored, and has become corrupt since."""
    session = SessionStore()
    session["n"] = 1
    session.save()
    assert session.session_key is not None
    stored = manager._policy.key(session.session_key)
    if request.param == "payload":
        store.save(stored, b"{no session", LATER)
    else:
        store.client.update_item(
            TableName=store.table.name, Key={"token": {"S": stored}}, UpdateExpression="REMOVE #d",
            ExpressionAttributeNames={"#d": "data"},
        )  # fmt: skip
    return session.session_key


@pytest.fixture
def client(key: str, counted: CountingStore) -> Client:
    client = Client(raise_request_exception=False)
    client.cookies[COOKIE] = key
    counted.taken()
    return client


def is_stored(store: DynamoStore, manager: SessionManager, key: str) -> bool:
    name = manager._policy.key(key)
    return "Item" in store.client.get_item(TableName=store.table.name, Key={"token": {"S": name}})


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_login_replaces_it(
    client: Client, key: str, prefix: str, store: DynamoStore, manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "session"):
        response = client.post(f"{prefix}login", CREDENTIALS)
    assert response.status_code == 200
    new = client.cookies[COOKIE].value
    assert new not in ("", key)
    assert client.get(f"{prefix}whoami").content == USER.encode()
    assert client.get("/count").content == b"1"
    assert not is_stored(store, manager, key)
    ours = [record.getMessage() for record in caplog.records if record.name == "session.web"]
    assert [line.partition(":")[0] for line in ours] == [
        "a corrupt session is treated as anonymous",
        "a corrupt session was deleted, and a new one was begun",
    ]
    for line in ours:
        assert digest(manager._policy.key(key)) in line
        assert key not in line


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_logout_deletes_it_and_its_cookie(
    client: Client, key: str, prefix: str, store: DynamoStore, manager: SessionManager
) -> None:
    response = client.get(f"{prefix}logout")
    assert (response.status_code, response.content) == (200, b"bye")
    assert response.cookies[COOKIE]["max-age"] == 0
    assert not is_stored(store, manager, key)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_nobody_is_logged_in_and_there_are_no_messages(client: Client, prefix: str, counted: CountingStore) -> None:
    assert client.get(f"{prefix}whoami").content == b"AnonymousUser"
    assert client.get("/hear").content == b""
    assert set(counted.taken()) == {"find"}


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_a_page_for_nobody_is_shown_where_every_request_is_saved(
    client: Client, key: str, store: DynamoStore, manager: SessionManager
) -> None:
    assert client.get("/whoami").content == b"AnonymousUser"
    assert client.get("/ignore").content == b"ignored"
    assert is_stored(store, manager, key)


def test_the_admins_login_page_is_shown(client: Client) -> None:
    assert client.get("/admin/login/").status_code == 200
    response = client.post("/admin/login/?next=/admin/", CREDENTIALS)
    assert (response.status_code, response["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("path", ["/read", "/count", "/append?item=apple", "/say?what=hello", "/expire?seconds=60"])
def test_the_apps_own_data_is_an_error_still(
    client: Client, key: str, path: str, store: DynamoStore, manager: SessionManager
) -> None:
    response = client.get(path)
    assert response.status_code == 500
    assert not response.cookies
    assert is_stored(store, manager, key)


@pytest.mark.parametrize("server", ["waitress", "uvicorn"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_over_a_socket(key: str, server: str, prefix: str) -> None:
    on = on_waitress(get_wsgi_application()) if server == "waitress" else on_uvicorn(get_asgi_application())
    with on as url, httpx.Client(base_url=url) as browser:
        browser.cookies.set(COOKIE, key, domain=httpx.URL(url).host, path="/")
        assert browser.get("/read").status_code == 500
        assert browser.post(f"{prefix}login", data=CREDENTIALS).status_code == 200
        assert browser.get(f"{prefix}whoami").text == USER
        assert browser.get(f"{prefix}logout").text == "bye"
        assert browser.get("/read").text == "0"


ENDS: dict[str, Callable[[SessionStore], object]] = {
    "flush": SessionStore.flush,
    "aflush": lambda s: asyncio.run(s.aflush()),
    "delete": SessionStore.delete,
    "cycle_key": SessionStore.cycle_key,
    "acycle_key": lambda s: asyncio.run(s.acycle_key()),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("looked", [False, True])
def test_what_ends_or_replaces_it_is_no_look_at_its_data(
    key: str, end: Callable[[SessionStore], object], looked: bool, store: DynamoStore, manager: SessionManager
) -> None:
    session = SessionStore(key)
    if looked:
        with pytest.raises((CorruptSessionError, CorruptRecordError)):
            session.get("n")
    end(session)
    assert not is_stored(store, manager, key)


def test_what_is_put_after_a_cycled_key_is_stored_under_it(key: str, counted: CountingStore) -> None:
    session = SessionStore(key)
    counted.taken()
    session.cycle_key()
    new = session.session_key
    assert new not in (None, key)
    assert session.modified
    session["n"] = 2
    session.save()
    assert counted.taken() == ["find", "delete", "create"]
    assert session.session_key == new
    assert dict(SessionStore(new).items()) == {"n": 2}


def test_it_exists(key: str) -> None:
    assert SessionStore().exists(key)


def test_two_logins_at_once_are_both_logged_in(key: str) -> None:
    one, other = SessionStore(key), SessionStore(key)
    for each in (one, other):
        assert "_auth_user_id" not in each
    for each in (one, other):
        each.cycle_key()
        each["_auth_user_id"] = "7"
        each.save()
    assert one.session_key != other.session_key
    for each in (one, other):
        assert SessionStore(each.session_key)["_auth_user_id"] == "7"
