"""A Django request that another one has made stale: run again from the start, or refused with a 409."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings

from dynamostore import MemoryStore, UnavailableError
from session import SessionConflict, SessionManager, _rarely
from session.web import _reruns
from session.web.django import SessionMiddleware, SessionStore
from tests.counting import CountingStore
from tests.django_site import PASSWORD, SETTINGS
from tests.django_site.race_urls import File, seen
from tests.django_site.urls import meanwhile, session_of

COOKIE = "sessionid"
OURS = "session.web.django.SessionMiddleware"
HERE = __name__


@pytest.fixture(scope="module", autouse=True)
def users() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    for name in ("rerun-eve", "rerun-bob"):
        User.objects.create_user(name, password=PASSWORD)
    yield
    connections.close_all()


@pytest.fixture
def counted() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture(autouse=True)
def site(counted: CountingStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_reruns, "_FIRST_PAUSE_S", 0)
    monkeypatch.setattr(_rarely, "_told", {})
    seen.clear()
    with override_settings(SESSION_MANAGER=SessionManager(counted), ROOT_URLCONF="tests.django_site.race_urls"):
        yield
    meanwhile.happens = lambda: None


@pytest.fixture
def key() -> str:
    """The key of a session that has a role."""
    session = SessionStore()
    session["role"] = "user"
    session.save()
    assert session.session_key is not None
    return session.session_key


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, key: str) -> Ask:
    """Make a request with the session's cookie, through Django's sync or async handler."""

    def ask(path: str, method: str = "get", **arguments: Any) -> Any:
        if request.param == "sync":
            return send(Client, key, path, method, **arguments)
        client = AsyncClient(raise_request_exception=False)
        client.cookies[COOKIE] = key
        return async_to_sync(aask_with)(client, method, path, **arguments)

    return ask


def send(kind: type[Client], key: str, path: str, method: str = "get", **arguments: Any) -> Any:
    client = kind(raise_request_exception=False)
    client.cookies[COOKIE] = key
    return ask_with(client, method, path, **arguments)


def ask_with(client: Any, method: str, path: str, **arguments: Any) -> Any:
    verb = arguments.pop("verb", None)
    return client.generic(verb, path, **arguments) if verb else getattr(client, method)(path, **arguments)


async def aask_with(client: Any, method: str, path: str, **arguments: Any) -> Any:
    return await ask_with(client, method, path, **arguments)


def change(key: str | None, **values: object) -> None:
    """Do what another request does."""
    session = SessionStore(key)
    session.update(values)
    session.save()


def stored(key: str | None) -> dict[str, object]:
    return dict(SessionStore(key).items())


def times(n: int, do: Callable[[int], object]) -> None:
    """Have that happen in the first *n* runs, and be told the number."""
    left = iter(range(1, n + 1))

    def happens() -> None:
        if (run := next(left, None)) is not None:
            do(run)

    meanwhile.happens = happens


def with_middleware(*middleware: str) -> override_settings:
    return override_settings(MIDDLEWARE=[*middleware, *SETTINGS["MIDDLEWARE"][1:]])  # type: ignore[index]  # it is a list


# Run again


@pytest.mark.parametrize("path", ["/decide", "/async/decide", "/decide?flush", "/async/decide?flush"])
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_stale_safe_request_is_run_again(ask: Ask, key: str, path: str, method: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    response = ask(path, method)
    assert response.status_code == 200
    assert seen == [(1, "user"), (2, "admin")]
    assert stored(key) == {"role": "admin", "right": "of admin"}
    if method == "get":
        assert response.content == b"admin, run 2"


def test_it_is_run_again_three_times_and_then_refused(ask: Ask, key: str) -> None:
    times(9, lambda run: change(key, role=f"of run {run}"))
    assert ask("/decide").status_code == 409
    assert seen == [(1, "user"), (2, "of run 1"), (3, "of run 2"), (4, "of run 3")]
    assert stored(key) == {"role": "of run 4"}


def test_it_is_not_run_again_after_five_seconds(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(_: int) -> None:
        change(key, role="admin")
        monkeypatch.setattr(_reruns, "WITHIN_S", 0.0)

    times(1, late)
    assert send(Client, key, "/decide").status_code == 409


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_stale_unsafe_request_is_refused(ask: Ask, key: str, method: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    response = ask("/decide", method)
    assert response.status_code == 409
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert not response.cookies
    assert seen == [(1, "user")]
    assert stored(key) == {"role": "admin"}


def test_a_browser_is_told_in_html(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    response = ask("/decide", "post", headers={"Accept": "text/html,*/*;q=0.8"})
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert response.content.startswith(b"<!doctype html>")


def test_a_get_with_a_body_is_refused(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    assert ask("/decide", "generic", verb="GET", data=b"body").status_code == 409


def test_a_view_may_forbid_it(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    assert ask("/decide?forbid").status_code == 409


def test_what_has_stored_something_is_not_run_again(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    assert ask("/decide?save").status_code == 409
    assert stored(key) == {"role": "admin", "saved": True}


def test_never(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_RERUN="never"):
        assert ask("/decide").status_code == 409


def only_posts(request: HttpRequest) -> bool:
    return request.method == "POST"


@pytest.mark.parametrize("setting", [only_posts, f"{HERE}.only_posts"])
def test_a_function_says_what_is_run_again(ask: Ask, key: str, setting: object) -> None:
    with override_settings(SESSION_RERUN=setting):
        times(1, lambda _: change(key, role="admin"))
        assert ask("/decide").status_code == 409
        times(1, lambda _: change(key, role="root"))
        assert ask("/decide", "post").status_code == 200
    assert stored(key) == {"role": "root", "right": "of root"}


@pytest.mark.parametrize("form", ["multipart", "urlencoded"])
def test_each_run_has_the_body(ask: Ask, key: str, form: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    sent: dict[str, Any] = {"data": "a=1", "content_type": "application/x-www-form-urlencoded"}
    if form == "multipart":
        sent = {"data": {"a": "1", "file": SimpleUploadedFile("file.txt", b"uploaded")}}
    with override_settings(SESSION_RERUN=only_posts):
        response = ask("/body", "post", **sent)
    assert response.status_code == 200
    first, second = [said for said in seen if isinstance(said, dict)]
    assert first == second == ({"a": "1", "file": "uploaded"} if form == "multipart" else {"a": "1"})
    first_read, second_read = [said for said in seen if isinstance(said, bytes)]
    assert first_read == second_read != b""


def test_a_body_that_is_too_large_to_be_kept_is_for_one_run(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_RERUN=only_posts, DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        data = {"a": "1", "file": SimpleUploadedFile("file.txt", b"x" * 2000)}
        assert ask("/body", "post", data=data).status_code == 409
    assert seen.count((1, "user")) == 1
    assert len(seen) == 3


@pytest.mark.parametrize("setting", ["sometimes", 7, "no.such.function", f"{HERE}.COOKIE"])
def test_a_wrong_setting_is_improperly_configured(setting: object) -> None:
    with override_settings(SESSION_RERUN=setting), pytest.raises(ImproperlyConfigured, match="SESSION_RERUN"):
        SessionMiddleware(lambda _: HttpResponse())


@pytest.mark.parametrize("setting", [7, "no.such.function", f"{HERE}.COOKIE"])
def test_a_wrong_view_is_improperly_configured(setting: object) -> None:
    with (
        override_settings(SESSION_CONFLICT_VIEW=setting),
        pytest.raises(ImproperlyConfigured, match="SESSION_CONFLICT"),
    ):
        SessionMiddleware(lambda _: HttpResponse())


# From the start


def test_nothing_of_the_run_before_is_left_in_the_request(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    assert ask("/traces").status_code == 200
    assert [said for said in seen if isinstance(said, list)] == [["AnonymousUser", []]] * 2


def trace(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.outer = request.META["outer"] = "as it was"  # type: ignore[attr-defined]
        response: HttpResponse = get_response(request)
        seen.append((request.outer, request.META["outer"], "run" in response.cookies))  # type: ignore[attr-defined]
        return response

    return middleware


def overwrite(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        seen.append((request.outer, request.META["outer"]))  # type: ignore[attr-defined]
        request.outer = request.META["outer"] = "changed"  # type: ignore[attr-defined]
        response: HttpResponse = get_response(request)
        return response

    return middleware


def test_what_outer_middleware_put_into_the_request_is_there_again(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with with_middleware(f"{HERE}.trace", OURS, f"{HERE}.overwrite"):
        assert ask("/decide").cookies["run"].value == "2"
    as_it_was = ("as it was", "as it was")
    assert [said for said in seen if isinstance(said[0], str)] == [as_it_was, as_it_was, ("changed", "changed", True)]  # type: ignore[index]


@pytest.mark.parametrize("path", ["/whoami", "/async/whoami"])
def test_the_next_run_sees_who_has_logged_in_meanwhile(ask: Ask, key: str, path: str) -> None:
    as_user = {name: auth_keys(f"rerun-{name}") for name in ("eve", "bob")}
    change(key, **as_user["eve"])
    times(1, lambda _: change(key, **as_user["bob"]))
    response = ask(path)
    assert response.content == b"rerun-bob"
    assert seen == ["rerun-eve", "rerun-bob"]
    assert stored(key)["greeted"] == "rerun-bob"


def auth_keys(name: str) -> dict[str, str]:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return {name: value for name, value in client.session.items() if name.startswith("_auth")}


def test_resources_of_the_stale_response_are_closed_and_the_request_goes_on(key: str) -> None:
    finished = []
    request_finished.connect(receiver := lambda **_: finished.append(len(seen)))
    times(1, lambda _: change(key, role="admin"))
    User.objects.count()
    used = connection.connection
    try:
        response = send(Client, key, "/file")
        assert connection.connection is used
    finally:
        request_finished.disconnect(receiver)
    stale, sent = (said for said in seen if isinstance(said, File))
    assert stale.closed
    assert b"".join(response.streaming_content) == b"content"
    assert sent is not stale
    assert finished == []


def test_the_body_of_a_stale_response_is_not_generated(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    response = ask("/stream?decide")
    assert response.status_code == 200
    assert "streamed" not in seen


# Wherever the conflict comes from


def saving(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        request.session.save()
        return response

    return middleware


@pytest.mark.parametrize("debug", [False, True])
def test_another_middleware_that_saves(ask: Ask, key: str, debug: bool) -> None:
    with with_middleware(OURS, f"{HERE}.saving"), override_settings(DEBUG=debug):
        times(1, lambda _: change(key, role="admin"))
        assert ask("/decide", "post").status_code == 409
        assert stored(key) == {"role": "admin"}
        times(1, lambda _: change(key, role="root"))
        assert ask("/decide").content == b"root, run 2"
    assert stored(key) == {"role": "root", "right": "of root"}


@pytest.mark.parametrize("debug", [False, True])
def test_a_view_that_saves(ask: Ask, key: str, debug: bool) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(DEBUG=debug):
        assert ask("/decide?flush", "post").status_code == 409
    assert stored(key) == {"role": "admin"}


@pytest.mark.parametrize("status", [200, 303, 412])
def test_a_view_may_answer_itself(ask: Ask, key: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    times(1, lambda _: change(key, role="admin"))
    response = ask(f"/handled?status={status}")
    assert (response.status_code, response.content) == (status, b"the view's own")
    assert not response.cookies
    assert response["Vary"] == "Cookie"
    assert stored(key) == {"role": "admin"}
    assert f"GET /handled answered with {status} by the view, and nothing was stored" in caplog.text


def test_a_session_that_ends_between_two_runs_is_not_begun_anew(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with with_middleware(OURS, f"{HERE}.ending"):
        response = ask("/decide")
    assert response.status_code == 200
    assert seen == [(1, "user"), (2, "")]
    assert COOKIE not in response.cookies


def test_an_outage_in_the_next_run_is_a_503(
    ask: Ask, key: str, counted: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(token: str) -> None:
        raise UnavailableError("down")

    def fail(_: int) -> None:
        change(key, role="admin")
        monkeypatch.setattr(counted, "find", find)

    times(1, fail)
    assert ask("/decide").status_code == 503


@pytest.mark.parametrize(("nonce", "status", "answer"), [("abc", 200, b"spent"), (None, 403, b"not there")])
@pytest.mark.parametrize("path", ["/spend", "/async/spend"])
def test_atomic_spends_once(ask: Ask, key: str, path: str, nonce: str | None, status: int, answer: bytes) -> None:
    if nonce:
        change(key, nonce=nonce)
    response = ask(path, "post")
    assert (response.status_code, response.content) == (status, answer)
    assert ask(path, "post").status_code == 403
    assert stored(key) == {"role": "user"}


def test_with_djangos_own_middleware_a_conflict_is_a_500(key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with with_middleware("django.contrib.sessions.middleware.SessionMiddleware"):
        assert send(Client, key, "/decide").status_code == 500
    assert stored(key) == {"role": "admin"}


# The answer


def test_the_log_names_the_route_and_the_keys_and_nothing_else(key: str, caplog: pytest.LogCaptureFixture) -> None:
    times(1, lambda _: change(key, role="very-secret"))
    with caplog.at_level(logging.WARNING, "session.web"):
        send(Client, key, "/decide/8f3a91c0/now", "post")
    (line,) = (record.message for record in caplog.records if record.name == "session.web")
    assert line.startswith("POST /decide/<str:secret>/now answered with 409: ")
    assert "'role'" in line
    assert "very-secret" not in line
    assert key not in line


def test_without_a_route_the_path_is_masked(key: str, caplog: pytest.LogCaptureFixture) -> None:
    times(1, lambda _: change(key, role="admin"))
    with (
        with_middleware(OURS, f"{HERE}.deciding"),
        caplog.at_level(logging.WARNING, "session.web"),
    ):
        send(Client, key, "/no/8f3a91c0/such", "post")
    assert "POST /no/*/such answered with 409" in caplog.text


def deciding(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        request.session["right"] = request.session.get("role")
        meanwhile.happens()
        return HttpResponse()

    return middleware


def test_report_stores_and_logs_the_route(key: str, counted: CountingStore, caplog: pytest.LogCaptureFixture) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_MANAGER=SessionManager(counted, on_conflict="report")):
        assert send(Client, key, "/decide", "post").status_code == 200
    assert "POST /decide" in caplog.text
    assert stored(key) == {"role": "admin", "right": "of user"}


PAGE = """{% load i18n %}{{ user }}|{{ error.keys.0 }}|{% for message in messages %}{{ message }};{% endfor %}"""


def ending(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        if session_of(request).attempt == 2:
            SessionStore(request.COOKIES[COOKIE]).flush()
        response: HttpResponse = get_response(request)
        return response

    return middleware


def page(request: HttpRequest, error: SessionConflict) -> HttpResponse:
    from django.contrib import messages
    from django.template import engines

    messages.error(request, "please try again")
    request.session["refused"] = True
    html = engines["django"].from_string(PAGE).render({"error": error}, request) if "show" in request.GET else "own"
    return HttpResponse(html, status=418)


async def apage(request: HttpRequest, error: SessionConflict) -> HttpResponse:
    return HttpResponse(f"{type(request).__name__} {error.keys}", status=418)


def broken(request: HttpRequest, error: SessionConflict) -> str:
    return "a str"


class OwnPage(SessionMiddleware):
    def conflict(self, request: HttpRequest, error: SessionConflict) -> HttpResponse:
        return page(request, error)


@pytest.mark.parametrize("setting", [page, f"{HERE}.page", None])
def test_the_answer_can_be_ones_own_and_keeps_what_it_says(ask: Ask, key: str, setting: object) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_CONFLICT_VIEW=setting), with_middleware(OURS if setting else f"{HERE}.OwnPage"):
        response = ask("/decide", "post")
    assert (response.status_code, response.content) == (418, b"own")
    assert response["Cache-Control"] == "no-store"
    assert "run" not in response.cookies
    assert "right" not in stored(key)
    assert stored(key)["refused"] is True
    assert ask("/hear").content == b"please try again;"
    assert ask("/hear").content == b""


def test_a_page_shows_the_user_and_the_messages_of_now(ask: Ask, key: str) -> None:
    change(key, **auth_keys("rerun-eve"))

    def other(_: int) -> None:
        send(Client, key, "/say", "post", data={"what": "hello"})
        change(key, role="admin", **auth_keys("rerun-bob"))

    times(1, other)
    with override_settings(SESSION_CONFLICT_VIEW=page):
        response = ask("/traces?show", "post")
    assert response.content == b"rerun-bob|_auth_user_hash|hello;please try again;"
    assert ask("/hear").content == b""


def test_a_page_may_be_a_coroutine_function(ask: Ask, key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_CONFLICT_VIEW=apage):
        assert b"role" in ask("/decide", "post").content


def test_a_page_that_is_no_response_is_told(key: str) -> None:
    times(1, lambda _: change(key, role="admin"))
    client = Client()
    client.cookies[COOKIE] = key
    with override_settings(SESSION_CONFLICT_VIEW=broken), pytest.raises(TypeError, match="SESSION_CONFLICT_VIEW"):
        client.post("/decide")


def form(request: HttpRequest, error: SessionConflict) -> HttpResponse:
    from django.middleware.csrf import get_token

    return HttpResponse(get_token(request), status=409)


@pytest.mark.parametrize("in_session", [False, True])
def test_a_form_in_the_page_has_a_token_that_holds(key: str, in_session: bool) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies[COOKIE] = key
    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_CONFLICT_VIEW=form, CSRF_USE_SESSIONS=in_session, SESSION_RERUN="never"):
        token = client.get("/decide?token").content.decode()
        assert client.post("/decide", {"csrfmiddlewaretoken": token}).status_code == 200


def test_a_form_in_the_page_of_a_login_has_a_token_that_holds(key: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies[COOKIE] = key
    with override_settings(SESSION_CONFLICT_VIEW=form):
        client.cookies["csrftoken"] = before = "a" * 32
        data = {"username": "rerun-eve", "password": PASSWORD, "csrfmiddlewaretoken": before}
        times(1, lambda _: change(key, role="admin"))
        response = client.post("/login?look=role&first=right", data)
        assert response.status_code == 409
        token = response.content.decode()
        assert client.post("/decide", {"csrfmiddlewaretoken": token}).status_code == 200


def test_a_page_that_meets_another_request_stores_nothing(key: str) -> None:
    def meeting(request: HttpRequest, error: SessionConflict) -> HttpResponse:
        request.session["copy"] = request.session["role"]
        change(key, role="root")
        return HttpResponse("own", status=418)

    times(1, lambda _: change(key, role="admin"))
    with override_settings(SESSION_CONFLICT_VIEW=meeting):
        assert send(Client, key, "/decide", "post").status_code == 409
    assert stored(key) == {"role": "root"}


def test_an_outage_in_the_page_is_a_503(key: str, counted: CountingStore) -> None:
    times(1, lambda _: change(key, role="admin"))

    def failing(request: HttpRequest, error: SessionConflict) -> HttpResponse:
        counted.failure = UnavailableError("down")
        request.session.get("role")
        raise AssertionError

    with override_settings(SESSION_CONFLICT_VIEW=failing):
        assert send(Client, key, "/decide", "post").status_code == 503


def test_a_page_begins_no_session_where_the_session_has_ended(ask: Ask, key: str, counted: CountingStore) -> None:
    change(key, nonce="abc")
    times(1, lambda _: SessionStore(key).flush())
    with override_settings(SESSION_CONFLICT_VIEW=page):
        response = ask("/pop", "post")
    assert response.status_code == 418
    assert not response.cookies
    assert "create" not in counted.taken()[1:]


def test_a_page_begins_no_session_where_it_ends_just_then(key: str, counted: CountingStore) -> None:
    def ending(request: HttpRequest, error: SessionConflict) -> HttpResponse:
        SessionStore(key).flush()
        return page(request, error)

    times(1, lambda _: change(key, role="admin"))
    counted.taken()
    with override_settings(SESSION_CONFLICT_VIEW=ending):
        response = send(Client, key, "/decide", "post")
    assert response.status_code == 418
    assert not response.cookies
    assert "create" not in counted.taken()


def test_a_key_that_was_stored_before_the_conflict_is_handed_out(key: str) -> None:
    def renewing(get_response: Any) -> Any:
        def view(request: HttpRequest) -> HttpResponse:
            request.session["role"] = "admin"
            request.session.cycle_key()
            request.session.save()
            request.session["right"] = request.session["role"]
            change(request.session.session_key, role="root")
            return HttpResponse()

        return view

    middleware = SessionMiddleware(renewing(None))
    request = HttpRequest()
    request.method, request.COOKIES = "POST", {COOKIE: key}
    response = middleware(request)
    assert isinstance(response, HttpResponse)
    assert response.status_code == 409
    new = response.cookies[COOKIE].value
    assert new != key
    assert stored(new) == {"role": "root"}


# Two tabs, each of its own session or none


def test_the_middleware_can_be_called_by_its_parts(key: str) -> None:
    request = HttpRequest()
    request.COOKIES[COOKIE] = key
    middleware = SessionMiddleware(lambda _: HttpResponse())
    middleware.process_request(request)
    request.session["right"] = request.session["role"]
    change(key, role="admin")
    assert middleware.process_response(request, HttpResponse()).status_code == 409


# After the end


def logging_middleware(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        seen.append(f"log: {request.session.get('role')}")
        return response

    return middleware


@pytest.mark.parametrize("path", ["/decide", "/decide?flush", "/stream", "/missing"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("stale", [False, True])
def test_a_middleware_outside_may_log_the_session(ask: Ask, key: str, path: str, method: str, stale: bool) -> None:
    if stale:
        times(1, lambda _: change(key, role="admin"))
    with with_middleware(f"{HERE}.logging_middleware", OURS):
        response = ask(path, method)
    assert response.status_code == (
        404 if path == "/missing" else 409 if stale and method == "post" and "decide" in path else 200
    )
    assert seen[-1] == ("log: admin" if stale and "decide" in path else "log: user")


def test_a_stream_may_read_the_session(key: str) -> None:
    response = send(Client, key, "/stream")
    assert isinstance(response, StreamingHttpResponse)
    assert b"".join(response.streaming_content) == b"user"  # type: ignore[arg-type]  # a sync one
