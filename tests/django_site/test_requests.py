"""Django's requests on the session engine: what they cost, auth, messages, the admin, outages, and real servers."""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from dynamostore import (
    AccessDeniedError,
    ItemTooLargeError,
    Record,
    StoreError,
    TableNotFoundError,
    ThrottledError,
    UnavailableError,
    connect,
)
from dynamostore.testing import FakeClock
from session import SessionConflict, SessionManager, SessionTypeError
from session.web.django import SessionMiddleware, SessionStore
from tests.backends import TABLE, Backends
from tests.counting import CountingStore
from tests.django_site import PASSWORD, SETTINGS, USER
from tests.django_site.urls import meanwhile
from tests.serving import EXAMPLES, on_uvicorn, on_waitress, serving

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

CREDENTIALS = {"username": USER, "password": PASSWORD}
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
COOKIE = "sessionid"


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    User.objects.create_superuser(USER, password=PASSWORD)
    User.objects.create_user("mary", password=PASSWORD)
    yield
    connections.close_all()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC))


@pytest.fixture
def counted(backends: Backends, clock: FakeClock) -> CountingStore:
    return CountingStore(backends.store("ministack", clock))


@pytest.fixture(autouse=True)
def manager(counted: CountingStore, clock: FakeClock) -> Iterator[SessionManager]:
    manager = SessionManager(counted, clock=clock)
    with override_settings(SESSION_MANAGER=manager):
        yield manager


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def visitor(client: Client, counted: CountingStore) -> Client:
    """A client with a session, in which n is 1."""
    assert client.get("/count").content == b"1"
    assert counted.taken() == ["create"]
    return client


@pytest.fixture
def with_meanwhile() -> Iterator[None]:
    yield
    meanwhile.happens = lambda: None


def key_of(client: Client) -> str:
    return client.cookies[COOKIE].value


def another(client: Client) -> Client:
    """Another tab of the same browser."""
    tab = Client(raise_request_exception=False)
    tab.cookies[COOKIE] = key_of(client)
    return tab


def with_middleware(*middleware: str) -> AbstractContextManager[object]:
    return override_settings(MIDDLEWARE=[*middleware, *SETTINGS["MIDDLEWARE"][1:]])  # type: ignore[index]  # it is a list


# What a request costs


def test_a_view_that_ignores_the_session_costs_nothing(visitor: Client, counted: CountingStore) -> None:
    response = visitor.get("/ignore")
    assert counted.taken() == []
    assert not response.cookies
    assert "Cookie" not in response.get("Vary", "")


def test_a_view_that_reads_costs_a_find(visitor: Client, counted: CountingStore) -> None:
    response = visitor.get("/read")
    assert response.content == b"1"
    assert counted.taken() == ["find"]
    assert not response.cookies
    assert response["Vary"] == "Cookie"


def test_a_view_that_changes_costs_a_find_and_a_replace(visitor: Client, counted: CountingStore) -> None:
    assert visitor.get("/count").content == b"2"
    assert counted.taken() == ["find", "replace"]


def test_a_change_within_a_list_is_stored(visitor: Client, counted: CountingStore) -> None:
    visitor.get("/append?item=apple")
    counted.taken()
    assert visitor.get("/append?item=pear").content == b"apple,pear"
    assert counted.taken() == ["find", "replace"]
    assert another(visitor).get("/append?item=fig").content == b"apple,pear,fig"


def test_a_login_of_who_has_no_session_costs_a_create(client: Client, counted: CountingStore) -> None:
    response = client.post("/login", CREDENTIALS)
    assert counted.taken() == ["create"]
    assert response.content.decode() == key_of(client)
    assert client.get("/whoami").content == USER.encode()


def test_a_login_costs_a_find_and_a_rename(visitor: Client, counted: CountingStore) -> None:
    before, tab = key_of(visitor), another(visitor)
    response = visitor.post("/login", CREDENTIALS)
    assert counted.taken() == ["find", "rename"]
    assert response.content.decode() == key_of(visitor) != before
    assert visitor.get("/read").content == b"1"
    assert tab.get("/read").content == b"0"
    assert tab.get("/whoami").content == b"AnonymousUser"


def test_a_logout_costs_a_find_and_a_delete(visitor: Client, counted: CountingStore) -> None:
    visitor.post("/login", CREDENTIALS)
    tab = another(visitor)
    counted.taken()
    response = visitor.get("/logout")
    assert counted.taken() == ["find", "delete"]
    assert response.cookies[COOKIE]["max-age"] == 0
    assert tab.get("/whoami").content == b"AnonymousUser"


def test_a_logout_of_nobody_costs_nothing(client: Client, counted: CountingStore) -> None:
    client.get("/logout")
    assert counted.taken() == []


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_save_every_request_saves_every_request(visitor: Client, counted: CountingStore, clock: FakeClock) -> None:
    clock.advance(timedelta(seconds=1))
    assert COOKIE in visitor.get("/ignore").cookies
    assert counted.taken() == ["find", "replace"]


@pytest.mark.parametrize("cookie", ["", "1", "x" * 44, "../" * 15, '"quoted"', "A" * 4000])
def test_a_malformed_cookie_is_no_session_and_costs_nothing(
    client: Client, counted: CountingStore, cookie: str
) -> None:
    client.cookies[COOKIE] = cookie
    assert client.get("/read").content == b"0"
    assert counted.taken() == []
    assert client.get("/count").content == b"1"
    assert counted.taken() == ["create"]
    assert len(key_of(client)) == 40


@pytest.mark.parametrize("jar", ["{0}={1}; {0}=garbage", "{0}=garbage; {0}={1}", "a=b; {0}=; {0}={1}; {0}=garbage"])
def test_of_several_cookies_of_one_name_the_first_well_formed_token_counts(visitor: Client, jar: str) -> None:
    response = Client().get("/read", HTTP_COOKIE=jar.format(COOKIE, key_of(visitor)))
    assert response.content == b"1"
    assert COOKIE not in response.cookies


Ask = Callable[..., HttpResponse]


@pytest.fixture(params=["WSGI", "ASGI"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Make a request with a ``Cookie`` header, each character a byte; in ASGI with several, split as HTTP/2 may do it."""

    def ask(path: str, cookie: str) -> HttpResponse:
        if request.param == "WSGI":
            return Client().get(path, HTTP_COOKIE=cookie)  # type: ignore[return-value]  # it is one, with more attributes
        crumbs = [(b"cookie", crumb.encode("latin-1")) for crumb in cookie.split("; ")]
        where, _, query = path.partition("?")

        async def answer() -> HttpResponse:
            scope = {"path": where, "query_string": query, "method": "GET", "headers": crumbs}
            return await AsyncClient().request(**scope)  # type: ignore[return-value]  # as above

        return async_to_sync(answer)()

    return ask


def begin(**data: int) -> str:
    session = SessionStore()
    session.update(data)
    session.save()
    assert session.session_key is not None
    return session.session_key


@override_settings(SESSION_COOKIE_NAME="__Host-sessionid", SESSION_COOKIE_SECURE=True)
def test_a_cookie_whose_name_has_odd_white_space_is_not_ours(ask: Ask, counted: CountingStore) -> None:
    # Django takes it off, and takes the last of several.
    attackers, ours = begin(n=666), begin(n=1)
    counted.taken()
    for space in ("\xa0", "\x85", "\xc2\xa0", "\xe2\x80\x80", "\xe3\x80\x80"):
        for planted in (f"{space}__Host-sessionid={attackers}", f"a=b; __Host-sessionid{space}={attackers}"):
            response = ask("/read", planted)
            assert (response.content, response.cookies) == (b"0", {})
            assert counted.taken() == []
            for both in (f"{planted}; __Host-sessionid={ours}", f"__Host-sessionid={ours}; {planted}"):
                assert ask("/read", both).content == b"1"
                assert counted.taken() == ["find"]


def test_a_cookie_that_leads_nowhere_does_not_hide_another(ask: Ask, counted: CountingStore) -> None:
    dead, live, other = begin(n=1), begin(n=2), begin(n=3)
    SessionStore(dead).flush()
    counted.taken()
    for cookie, finds in (
        (f"{COOKIE}={dead}; {COOKIE}={live}; {COOKIE}={other}", 2),
        (f"{COOKIE}={live}; {COOKIE}={other}; {COOKIE}={dead}", 1),
        (f"{COOKIE}=x; a=b; {COOKIE}={dead}; {COOKIE}={dead}; {COOKIE}={live}", 2),
    ):
        response = ask("/read", cookie)
        assert (response.content, response.cookies) == (b"2", {})
        assert counted.taken() == ["find"] * finds
        ask("/ignore", cookie)
        assert counted.taken() == []
    response = ask("/count", f"{COOKIE}={dead}; {COOKIE}={'A' * 43}")
    assert response.content == b"1"
    assert response.cookies[COOKIE].value not in (dead, "A" * 43)


def test_a_logout_ends_the_sessions_of_all_cookies_of_the_name(ask: Ask, counted: CountingStore) -> None:
    dead, first, second = "A" * 43, begin(n=1), begin(n=2)
    counted.taken()
    cookie = f"{COOKIE}={dead}; {COOKIE}={first}; {COOKIE}={second}"
    assert ask("/logout", cookie).content == b"bye"
    assert sorted(counted.taken()) == ["delete"] * 3 + ["find"] * 2
    assert ask("/read", cookie).content == ask("/read", f"{COOKIE}={second}").content == b"0"


def test_a_stale_request_that_is_run_again_does_not_go_on_with_another_session(
    ask: Ask, counted: CountingStore, monkeypatch: pytest.MonkeyPatch, with_meanwhile: None
) -> None:
    ours, planted = begin(n=1), begin(n=666)
    find, ended = counted.find, [False]

    def find_after_the_end(token: str) -> Record | None:
        if not ended[0]:
            # Before the second run reads it.
            ended[0] = True
            SessionStore(ours).delete()
        return find(token)

    def change() -> None:
        meanwhile.happens = lambda: None
        other = SessionStore(ours)
        other["n"] = 2
        other.save()
        monkeypatch.setattr(counted, "find", find_after_the_end)

    meanwhile.happens = change
    cookie = f"{COOKIE}={'A' * 43}; {COOKIE}={ours}; {COOKIE}={planted}"
    response = ask("/double?meanwhile", cookie)
    assert (response.content, response.cookies) == (b"0", {})
    assert ended == [True]
    monkeypatch.setattr(counted, "find", find)
    assert ask("/read", f"{COOKIE}={planted}").content == b"666"


def test_a_session_key_that_does_not_come_by_the_header_is_left_alone(manager: SessionManager) -> None:
    # A test of a view, or a middleware that takes it from elsewhere.
    request = RequestFactory().get("/read")
    request.COOKIES[COOKIE] = key = begin(n=1)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    assert request.session["n"] == 1
    assert request.session.session_key == key


def test_an_unknown_cookie_is_cleared_and_never_adopted(client: Client, counted: CountingStore) -> None:
    client.cookies[COOKIE] = "A" * 43
    assert client.get("/read").cookies[COOKIE]["max-age"] == 0
    client.cookies[COOKIE] = "A" * 43
    assert client.get("/count").content == b"1"
    assert key_of(client) != "A" * 43
    assert counted.taken() == ["find", "find", "create"]


# What is kept, and what is not


@pytest.mark.parametrize("path", ["/fail", "/count?status=500", "/count?status=503"])
def test_nothing_is_kept_of_a_request_that_fails(visitor: Client, counted: CountingStore, path: str) -> None:
    response = visitor.get(path)
    assert response.status_code >= 500
    assert not response.cookies
    assert counted.taken() == ["find"]
    assert visitor.get("/read").content == b"1"


@pytest.mark.parametrize("status", [500, 503])
def test_a_key_that_was_renewed_at_once_is_sent_even_with_an_error(client: Client, status: int) -> None:
    client.force_login(User.objects.get(username=USER))
    old = key_of(client)
    response = client.get(f"/renew-and-fail?status={status}")
    assert response.status_code == status
    assert key_of(client) != old
    cookie = response.cookies[COOKIE]
    assert (cookie["max-age"], cookie["path"], cookie["httponly"], cookie["samesite"]) == (1209600, "/", True, "Lax")
    assert "Cookie" in response["Vary"]
    assert client.get("/whoami").content == USER.encode()
    assert "n" not in SessionStore(key_of(client)).load()


@pytest.mark.parametrize("raised", [ZeroDivisionError(), UnavailableError("down")], ids=["500", "503"])
def test_a_view_that_renews_the_key_at_once_and_raises_logs_nobody_out(
    client: Client, raised: Exception, with_meanwhile: None
) -> None:
    def fail() -> None:
        raise raised

    client.force_login(User.objects.get(username=USER))
    old, meanwhile.happens = key_of(client), fail
    assert client.get("/renew-and-fail").status_code == (503 if isinstance(raised, StoreError) else 500)
    assert key_of(client) != old
    assert client.get("/whoami").content == USER.encode()


def test_a_key_that_is_renewed_at_the_save_is_not_sent_with_an_error(visitor: Client) -> None:
    old = key_of(visitor)
    assert not visitor.get("/renew-and-fail?status=500").cookies
    assert key_of(visitor) == old
    assert visitor.get("/read").content == b"1"


def test_an_error_of_the_clients_is_kept(visitor: Client) -> None:
    assert visitor.get("/count?status=404").status_code == 404
    assert visitor.get("/read").content == b"2"


def test_two_requests_at_once_both_keep_their_changes(
    visitor: Client, counted: CountingStore, with_meanwhile: None
) -> None:
    tab = another(visitor)

    def change() -> None:
        tab.get("/count")
        tab.get("/append?item=apple")

    meanwhile.happens = change
    visitor.get("/count?meanwhile")
    assert visitor.get("/read").content == b"3"
    assert visitor.get("/append?item=pear").content == b"apple,pear"


def test_a_session_that_is_logged_out_meanwhile_is_not_brought_back(visitor: Client, with_meanwhile: None) -> None:
    visitor.post("/login", CREDENTIALS)
    tab = another(visitor)
    meanwhile.happens = lambda: tab.get("/logout")
    before = key_of(visitor)
    response = visitor.get("/count?meanwhile")
    assert response.content == b"2"
    assert not response.cookies
    assert response["Vary"] == "Cookie"
    assert key_of(visitor) == before
    assert not SessionStore().exists(before)
    assert visitor.get("/whoami").content == b"AnonymousUser"


def test_who_only_reads_while_the_session_is_logged_out_is_not_bothered(
    counted: CountingStore, clock: FakeClock, with_meanwhile: None
) -> None:
    client = Client()
    with override_settings(SESSION_MANAGER=SessionManager(counted, idle_timeout=timedelta(hours=1), clock=clock)):
        client.get("/count")
        tab, key = another(client), key_of(client)
        meanwhile.happens = lambda: tab.get("/logout")
        clock.advance(timedelta(minutes=30))
        counted.taken()
        response = client.get("/read?meanwhile")
        assert response.content == b"1"
        assert not response.cookies
        assert counted.taken() == ["find", "find", "delete", "touch"]
        assert key_of(client) == key
        assert client.get("/read").cookies[COOKIE]["max-age"] == 0


def test_the_cookie_lasts_as_long_as_the_session(client: Client, clock: FakeClock) -> None:
    assert client.get("/count").cookies[COOKIE]["max-age"] == 14 * 24 * 3600
    assert client.get("/expire?seconds=60").cookies[COOKIE]["max-age"] == 60
    assert client.get("/expire?seconds=0").cookies[COOKIE]["max-age"] == ""
    client.get("/expire?seconds=60")
    clock.advance(timedelta(seconds=61))
    assert client.get("/read").content == b"0"


def test_an_expiry_that_is_set_anew_in_each_request_keeps_the_session(
    visitor: Client, counted: CountingStore, clock: FakeClock
) -> None:
    for _ in range(3):
        response = visitor.get("/expire?seconds=60")
        assert response.cookies[COOKIE]["max-age"] == 60
        clock.advance(timedelta(seconds=40))
    assert visitor.get("/read").content == b"1"
    clock.advance(timedelta(seconds=21))
    assert visitor.get("/read").content == b"0"


@pytest.mark.parametrize("save_every_request", [False, True])
def test_what_a_view_saves_is_not_saved_again_by_the_middleware(
    visitor: Client, counted: CountingStore, clock: FakeClock, save_every_request: bool
) -> None:
    clock.advance(timedelta(seconds=1))
    with override_settings(SESSION_SAVE_EVERY_REQUEST=save_every_request):
        assert COOKIE in visitor.get("/save").cookies
    assert counted.taken() == ["find", "replace"]


def test_within_a_renewals_grace_the_old_key_is_not_handed_out_again(counted: CountingStore, clock: FakeClock) -> None:
    client, late = Client(), Client()
    with override_settings(SESSION_MANAGER=SessionManager(counted, renewal_grace=timedelta(seconds=5), clock=clock)):
        client.get("/count")
        late.cookies[COOKIE] = key_of(client)
        client.get("/renew")
        response = late.get("/count")
        assert response.content == b"2"
        assert COOKIE not in response.cookies
        assert client.get("/read").content == b"2"
        late.get("/logout")
        assert client.get("/read").content == b"0"


# Auth, messages, the admin


def test_the_test_clients_login_works(client: Client) -> None:
    assert client.login(**CREDENTIALS)
    assert client.get("/whoami").content == USER.encode()
    client.logout()
    assert client.get("/whoami").content == b"AnonymousUser"
    client.force_login(User.objects.get(username="mary"))
    assert client.get("/whoami").content == b"mary"


def test_another_user_who_logs_in_does_not_see_the_first_ones_data(visitor: Client, counted: CountingStore) -> None:
    visitor.post("/login", CREDENTIALS)
    first = key_of(visitor)
    counted.taken()
    visitor.post("/login", {**CREDENTIALS, "username": "mary"})
    assert counted.taken() == ["find", "delete", "create"]
    assert visitor.get("/whoami").content == b"mary"
    assert visitor.get("/read").content == b"0"
    assert not SessionStore().exists(first)


def test_messages_are_kept_until_they_are_shown(client: Client, counted: CountingStore) -> None:
    client.get("/say?what=one")
    client.get("/say?what=two")
    assert client.get("/hear").content == b"success: one;success: two;"
    counted.taken()
    assert client.get("/hear").content == b""
    assert counted.taken() == ["find"]


@override_settings(CSRF_USE_SESSIONS=True)
def test_csrf_tokens_can_be_kept_in_the_session() -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post("/admin/login/", CREDENTIALS).status_code == 403
    page = client.get("/admin/login/").content.decode()
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
    form = {**CREDENTIALS, "csrfmiddlewaretoken": token, "next": "/whoami"}
    assert client.post("/admin/login/", form, follow=True).content == USER.encode()
    # A new one since the login.
    assert client.post("/admin/logout/", {"csrfmiddlewaretoken": token}).status_code == 403


def test_the_checks_of_auth_messages_and_the_admin_are_content() -> None:
    assert [str(message) for message in run_checks() if message.is_serious()] == []


# Outages


OUTAGES = [
    UnavailableError("down"),
    ThrottledError("slow down"),
    TableNotFoundError("no table"),
    AccessDeniedError("no"),
]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("path", ["/read", "/count", "/logout", "/whoami", "/hear", "/async/count", "/async/whoami"])
def test_an_outage_is_a_503_and_no_logout(
    visitor: Client, counted: CountingStore, outage: StoreError, path: str, debug: bool
) -> None:
    counted.failure = outage
    with override_settings(DEBUG=debug):
        response = visitor.get(path)
    assert_is_503(response, debug=debug)
    assert len(counted.taken()) == 1
    counted.failure = None
    assert visitor.get("/read").content == b"1"


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/count?meanwhile", "/async/count?meanwhile"])
def test_an_outage_that_begins_before_the_save_is_a_503(
    visitor: Client, counted: CountingStore, path: str, debug: bool, with_meanwhile: None
) -> None:
    def fail() -> None:
        counted.failure = UnavailableError("down")

    meanwhile.happens = fail
    with override_settings(DEBUG=debug):
        response = visitor.get(path)
    assert_is_503(response, debug=debug)
    assert counted.taken() == ["find", "replace"]
    counted.failure = None
    assert visitor.get("/read").content == b"1"


@override_settings(SESSION_SAVE_EVERY_REQUEST=True)
def test_an_outage_in_save_every_request_is_a_503(visitor: Client, counted: CountingStore) -> None:
    counted.failure = UnavailableError("down")
    assert_is_503(visitor.get("/ignore"))


def reading_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.session.get("n")
        response: HttpResponse = get_response(request)
        return response

    return middleware


@pytest.mark.parametrize("debug", [False, True])
def test_an_outage_in_another_middleware_is_a_503(visitor: Client, counted: CountingStore, debug: bool) -> None:
    counted.failure = UnavailableError("down")
    middleware = ["session.web.django.SessionMiddleware", f"{__name__}.reading_middleware"]
    with with_middleware(*middleware), override_settings(DEBUG=debug):
        assert_is_503(another(visitor).get("/ignore"), debug=debug)
        assert len(counted.taken()) == 1


@pytest.mark.parametrize("path", ["/ignore", "/async/whoami"])
def test_an_outage_in_another_middleware_over_a_socket(counted: CountingStore, path: str) -> None:
    middleware = ["session.web.django.SessionMiddleware", f"{__name__}.reading_middleware"]
    with (
        with_middleware(*middleware),
        on_uvicorn(get_asgi_application()) as url,
        httpx.Client(base_url=url) as browser,
    ):
        browser.get("/count")
        counted.failure = UnavailableError("down")
        response = browser.get(path)
        assert response.status_code == 503
        assert "Set-Cookie" not in response.headers


def test_what_another_middleware_made_of_an_outage_stands(visitor: Client, counted: CountingStore) -> None:
    counted.failure = UnavailableError("down")
    middleware = ["session.web.django.SessionMiddleware", f"{__name__}.healing_middleware"]
    with with_middleware(*middleware, f"{__name__}.reading_middleware"):
        assert another(visitor).get("/ignore").content == b"healed"


def healing_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        return HttpResponse("healed") if response.status_code == 500 else response

    return middleware


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/read", "/count"])
def test_with_djangos_own_middleware_an_outage_is_a_500_and_no_logout(
    visitor: Client, counted: CountingStore, path: str, debug: bool
) -> None:
    with with_middleware(DJANGOS), override_settings(DEBUG=debug):
        tab = another(visitor)
        counted.failure = UnavailableError("down")
        response = tab.get(path)
        assert response.status_code == 500
        assert not response.cookies
        counted.failure = None
        assert tab.get("/read").content == b"1"


def test_a_session_that_is_too_large_is_no_outage(visitor: Client, counted: CountingStore) -> None:
    assert visitor.get(f"/append?item={'x' * 500_000}").status_code == 500
    with pytest.raises(ItemTooLargeError, match="'cart'"):
        Client(headers={"Cookie": f"{COOKIE}={key_of(visitor)}"}).get(f"/append?item={'x' * 500_000}")
    assert visitor.get("/append?item=apple").content == b"apple"


def test_the_answer_to_an_outage_can_be_ones_own(visitor: Client, counted: CountingStore) -> None:
    counted.failure = UnavailableError("down")
    with with_middleware(f"{__name__}.OwnPage"):
        response = another(visitor).get("/read")
    assert (response.status_code, response.content) == (503, b"UnavailableError: come again")
    assert (response["Retry-After"], response["Cache-Control"]) == ("60", "no-store")


class OwnPage(SessionMiddleware):
    def unavailable(self, request: HttpRequest, error: StoreError) -> HttpResponse:
        return HttpResponse(f"{type(error).__name__}: come again", status=503, headers={"Retry-After": "60"})


def test_an_outage_is_logged_without_the_key(
    visitor: Client, counted: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    counted.failure = UnavailableError("down")
    with caplog.at_level(logging.ERROR, "session"):
        visitor.get("/read")
    assert [record.message for record in caplog.records if record.name == "session.web"] == [
        "GET /read answered with 503: down"
    ]
    assert key_of(visitor) not in caplog.text


@pytest.mark.parametrize("debug", [False, True])
def test_a_missing_table_is_named_in_the_first_line_of_the_log_and_with_debug_on_the_page(
    browser: httpx.Client, backends: Backends, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    store = connect("no_such_table", region="us-east-1", endpoint_url=backends.server("ministack").url)
    with caplog.at_level(logging.WARNING), override_settings(SESSION_MANAGER=SessionManager(store), DEBUG=debug):
        for path in ("/read", "/count", "/login", "/async/count"):
            caplog.clear()
            response = (
                browser.post(path, data=CREDENTIALS)
                if path == "/login"
                else browser.get(path, headers={"Cookie": f"{COOKIE}={'A' * 40}"})
            )
            assert response.status_code == 503
            first = caplog.records[0].getMessage()
            assert first.startswith(f"{'POST' if path == '/login' else 'GET'} {path} answered with 503: ")
            for text, expected in ((first, True), (response.text, debug)):
                assert ("table 'no_such_table'" in text) is expected
                assert ("create it with store.create_table()" in text) is expected


def assert_is_503(response: Response, *, debug: bool = False) -> None:
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response["Cache-Control"] == "no-store"
    body, _, why = response.content.partition(b"\n")
    assert body == b"The session store cannot be reached. Please try again soon."
    assert (b"DEBUG is on, so here is the reason: " in why) is debug
    assert response["Content-Length"] == str(len(response.content))
    assert not response.cookies


def test_an_outage_in_a_task_group_is_a_503(visitor: Client, counted: CountingStore) -> None:
    middleware = ["session.web.django.SessionMiddleware", f"{__name__}.grouping_middleware"]
    with with_middleware(*middleware):
        tab = another(visitor)
        counted.failure = UnavailableError("down")
        grouping.others = [ThrottledError("slow")]
        assert_is_503(tab.get("/ignore"))
        grouping.others = [LookupError("a mistake")]
        assert tab.get("/ignore").status_code == 500


def test_a_conflict_in_a_task_group_is_a_409(visitor: Client) -> None:
    middleware = ["session.web.django.SessionMiddleware", f"{__name__}.grouping_middleware"]
    with with_middleware(*middleware):
        grouping.others = [SessionConflict("in a task")]
        assert another(visitor).post("/ignore").status_code == 409


class Grouping:
    others: list[Exception]


grouping = Grouping()


def grouping_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        errors = list(grouping.others)
        try:
            request.session.get("n")
        except StoreError as error:
            errors.append(error)
        raise ExceptionGroup("in tasks", errors)

    return middleware


def test_what_is_made_of_the_key_depends_on_the_cookie(visitor: Client, counted: CountingStore) -> None:
    with with_middleware("session.web.django.SessionMiddleware", f"{__name__}.naming_middleware"):
        response = another(visitor).get("/ignore")
    assert (response.content, response["Vary"]) == (key_of(visitor).encode(), "Cookie")
    assert counted.taken() == []


def naming_middleware(get_response: Any) -> Any:
    return lambda request: HttpResponse(request.session.session_key)


# Real servers


@pytest.fixture(params=["waitress", "uvicorn"])
def browser(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    server = on_waitress(get_wsgi_application()) if request.param == "waitress" else on_uvicorn(get_asgi_application())
    with server as url, httpx.Client(base_url=url, follow_redirects=True) as browser:
        yield browser


@pytest.mark.parametrize("prefix", ["/", "/async/"])
def test_login_and_logout_over_a_socket(browser: httpx.Client, counted: CountingStore, prefix: str) -> None:
    assert browser.get(f"{prefix}count").text == "1"
    anonymous = browser.cookies[COOKIE]
    assert counted.taken() == ["create"]
    assert browser.post(f"{prefix}login", data={**CREDENTIALS, "password": "wrong"}).status_code == 403
    key = browser.post(f"{prefix}login", data=CREDENTIALS).text
    assert counted.taken() == ["find", "rename"]
    assert key == browser.cookies[COOKIE] != anonymous
    assert browser.get(f"{prefix}whoami").text == USER
    assert browser.get(f"{prefix}count").text == "2"
    counted.taken()
    assert browser.get(f"{prefix}logout").text == "bye"
    assert counted.taken() == ["find", "delete"]
    assert COOKIE not in browser.cookies
    assert browser.get(f"{prefix}whoami", headers={"Cookie": f"{COOKIE}={key}"}).text == "AnonymousUser"


def test_the_admin_over_a_socket(browser: httpx.Client) -> None:
    def token_in(page: httpx.Response) -> str:
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
        return str(token)

    def post(path: str, page: httpx.Response, **data: str) -> httpx.Response:
        return browser.post(path, data={**data, "csrfmiddlewaretoken": token_in(page)})

    assert browser.post("/admin/login/", data=CREDENTIALS).status_code == 403
    page = browser.get("/admin/")
    assert page.url.path == "/admin/login/"
    page = post("/admin/login/?next=/admin/", page, **CREDENTIALS)
    assert page.url.path == "/admin/"
    page = browser.get("/admin/auth/group/add/")
    name = f"group {secrets.token_hex()}"
    page = post("/admin/auth/group/add/", page, name=name)
    assert "was added successfully" in page.text
    assert "was added successfully" not in browser.get("/admin/auth/group/").text
    key = browser.cookies[COOKIE]
    page = browser.get("/admin/password_change/")
    passwords = {"old_password": PASSWORD, "new_password1": PASSWORD, "new_password2": PASSWORD}
    page = post("/admin/password_change/", page, **passwords)
    assert page.url.path == "/admin/password_change/done/"
    assert browser.cookies[COOKIE] != key
    page = post("/admin/logout/", browser.get("/admin/"))
    assert "Logged out" in page.text
    assert COOKIE not in browser.cookies
    assert browser.get("/admin/").url.path == "/admin/login/"


def test_a_planted_cookie_over_a_socket(browser: httpx.Client) -> None:
    attackers, ours = begin(n=666), begin(n=1)
    for space in (b"\xa0", b"\xc2\xa0", b"\xe2\x80\x80"):
        planted = space + f"{COOKIE}={attackers}".encode()
        for jar, n in ((planted, "0"), (planted + f"; {COOKIE}={ours}".encode(), "1")):
            assert browser.get("/read", headers=[(b"Cookie", jar)]).text == n


@pytest.mark.parametrize("path", ["/count", "/async/count", "/whoami", "/async/whoami"])
def test_an_outage_over_a_socket(browser: httpx.Client, counted: CountingStore, path: str) -> None:
    assert browser.get("/count").text == "1"
    counted.failure = UnavailableError("down")
    response = browser.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert "Set-Cookie" not in response.headers
    counted.failure = None
    assert browser.get("/read").text == "1"


def test_requests_that_come_together_all_count(browser: httpx.Client) -> None:
    paths = ["/count", "/async/count"] * 4
    browser.get("/count")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(browser.get, paths))
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    assert browser.get("/read").text == str(1 + len(paths))


def test_an_async_view_that_would_hold_up_the_event_loop_is_told(counted: CountingStore) -> None:
    with on_uvicorn(get_asgi_application()) as url, httpx.Client(base_url=url) as browser:
        browser.get("/count")
        assert browser.get("/async/block").status_code == 500
        assert counted.taken() == ["create"]


# The example


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, str(EXAMPLES / "django_app.py")),
        (
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            "{listen}",
            "--chdir",
            str(EXAMPLES),
            "--threads",
            "4",
            "django_app",
        ),
    ],
    ids=["waitress", "gunicorn"],
)
def test_the_example_app(backends: Backends, command: tuple[str, ...]) -> None:
    url = backends.server("ministack").url
    assert url is not None
    with (
        serving(*command, AWS_ENDPOINT_URL_DYNAMODB=url, SESSION_TABLE=TABLE.name) as app,
        httpx.Client(base_url=app) as browser,
    ):
        assert browser.get("/get").text == ""
        assert COOKIE not in browser.cookies
        assert browser.get("/put").text == ""
        assert browser.get("/get").text == "Hello world!"
        key = browser.cookies[COOKIE]
        assert browser.get("/logout").text == ""
        assert COOKIE not in browser.cookies
        assert browser.get("/get", headers={"Cookie": f"{COOKIE}={key}"}).text == ""
        assert browser.get("/elsewhere").status_code == 404


# Another object in the session's place


def putting_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        request.session = putting.made()
        response.status_code = putting.status
        return response

    return middleware


class Putting:
    """What a view puts into ``request.session``, and the status of its response."""

    made: Callable[[], Any]
    status = 200


putting = Putting()


@pytest.fixture
def replaced(visitor: Client) -> Iterator[Client]:
    """A client with a session in which n is 1, whose requests replace it."""
    putting.status = 200
    with with_middleware("session.web.django.SessionMiddleware", f"{__name__}.putting_middleware"):
        # A client keeps the middleware that it had first.
        yield another(visitor)


def test_a_mapping_in_the_sessions_place_becomes_its_data(replaced: Client, manager: SessionManager) -> None:
    putting.made = lambda: {"color": "red"}
    replaced.get("/read")
    assert SessionStore(key_of(replaced)).load() == {"color": "red"}
    putting.made = dict
    replaced.get("/ignore")
    assert SessionStore(key_of(replaced)).load() == {}


@pytest.mark.parametrize("status", [200, 500])
def test_none_in_the_sessions_place_flushes_it(replaced: Client, counted: CountingStore, status: int) -> None:
    key, putting.made, putting.status = key_of(replaced), lambda: None, status
    replaced.get("/ignore")
    assert counted.taken() == ["delete"]
    assert not SessionStore().exists(key)
    assert replaced.cookies[COOKIE]["max-age"] == 0


def test_another_store_in_the_sessions_place_is_saved_instead(replaced: Client) -> None:
    key = key_of(replaced)

    def made() -> SessionStore:
        session = SessionStore()
        session["color"] = "red"
        return session

    putting.made = made
    replaced.get("/read")
    assert SessionStore(key_of(replaced)).load() == {"color": "red"}
    assert key_of(replaced) != key


@pytest.mark.parametrize("value", [7, [], {"a": object()}, {7: 1}], ids=["int", "list", "object", "int key"])
def test_anything_else_in_the_sessions_place_is_a_500(replaced: Client, value: object) -> None:
    putting.made = lambda: value
    assert replaced.get("/count").status_code == 500
    with pytest.raises(SessionTypeError):
        Client(headers={"Cookie": f"{COOKIE}={key_of(replaced)}"}).get("/count")
    assert SessionStore(key_of(replaced)).load() == {"n": 1}


def test_a_mapping_beside_a_500_is_not_stored(replaced: Client) -> None:
    putting.made, putting.status = dict, 500
    replaced.get("/ignore")
    assert SessionStore(key_of(replaced)).load() == {"n": 1}


def test_a_session_that_was_taken_out_is_left_alone(visitor: Client) -> None:
    with with_middleware("session.web.django.SessionMiddleware", f"{__name__}.taking_middleware"):
        assert another(visitor).get("/count").status_code == 200
    assert SessionStore(key_of(visitor)).load() == {"n": 1}


def taking_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        del request.session
        return response

    return middleware
