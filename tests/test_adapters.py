"""What every adapter promises, over sockets: counts of calls, cookies, errors, and what comes from strange clients."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import TypeAlias

import httpx
import pytest

from dynamostore import Record, StoreError, TableNotFoundError, ThrottledError, UnavailableError, connect
from dynamostore.digests import digest
from dynamostore.testing import FakeClock
from session import Cookie, SessionConflict, SessionManager
from session.session import BaseSession

from .adapters import ON_ASGI, ON_WSGI, Action, Answer, Hosts, Site
from .backends import Backends
from .counting import CountingStore

HOUR = timedelta(hours=1)
BLANKS = " \t"
Serve: TypeAlias = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(stack)


@pytest.fixture(params=(*ON_WSGI, *ON_ASGI))
def serve(request: pytest.FixtureRequest, hosts: Hosts, counted: CountingStore, clock: FakeClock) -> Iterator[Serve]:
    """Serve actions on an adapter; what it returns is a client that keeps cookies."""
    with ExitStack() as stack:

        def serve(
            actions: Mapping[str, Action], settings: Mapping[str, object] | None = None, *, commit_errors: bool = False
        ) -> httpx.Client:
            site = Site(
                store=counted, actions=actions, clock=clock, settings=settings or {}, commit_errors=commit_errors
            )
            url = hosts.serve(request.param, site)
            return stack.enter_context(httpx.Client(base_url=url, trust_env=False))

        yield serve


# Actions


def ignore(_: BaseSession) -> str:
    return "nothing"


def read(s: BaseSession) -> str:
    return str(s.get_int("n"))


def change(s: BaseSession) -> str:
    s.increment("n")
    return str(s.get_int("n"))


def login(s: BaseSession) -> None:
    s.renew_token()
    s.put_int("user_id", 7)


def logout(s: BaseSession) -> None:
    s.destroy()


def whole(s: BaseSession) -> str:
    return ",".join(f"{key}={value}" for key, value in s.items())


ACTIONS: dict[str, Action] = {
    "/ignore": ignore,
    "/read": read,
    "/change": change,
    "/login": login,
    "/logout": logout,
    "/whole": whole,
}


def cookies(response: httpx.Response) -> list[str]:
    return response.headers.get_list("set-cookie")


def with_a_session(client: httpx.Client, counted: CountingStore) -> str:
    client.get("/change")
    assert counted.taken() == ["create"]
    return client.cookies["session"]


# What a request costs


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("/ignore", []),
        ("/read", ["find"]),
        ("/change", ["find", "replace"]),
        ("/login", ["find", "rename"]),
        ("/logout", ["delete"]),
    ],
)
def test_a_request_costs_no_more_calls_than_it_must(
    serve: Serve, counted: CountingStore, path: str, calls: list[str]
) -> None:
    client = serve(ACTIONS)
    with_a_session(client, counted)
    assert client.get(path).status_code == 200
    assert counted.taken() == calls


@pytest.mark.parametrize(("path", "calls"), [("/ignore", []), ("/read", []), ("/login", ["create"]), ("/logout", [])])
def test_a_first_request_costs_no_read(serve: Serve, counted: CountingStore, path: str, calls: list[str]) -> None:
    assert serve(ACTIONS).get(path).status_code == 200
    assert counted.taken() == calls


# The cookie, and the headers that go with it


def test_a_cookie_is_set_when_the_client_needs_another_value_and_only_then(serve: Serve) -> None:
    client = serve(ACTIONS)
    assert cookies(client.get("/read")) == []
    (created,) = cookies(client.get("/change"))
    first = client.cookies["session"]
    assert created.startswith(f"session={first}; Path=/; Expires=")
    assert created.endswith("; HttpOnly; SameSite=Lax")
    assert cookies(client.get("/change")) == []
    assert cookies(client.get("/read")) == []
    (renewed,) = cookies(client.get("/login"))
    second = client.cookies["session"]
    assert renewed.startswith(f"session={second}; ")
    assert first != second
    assert client.get("/whole").text == "n=2,user_id=7"
    (cleared,) = cookies(client.get("/logout"))
    assert cleared.startswith("session=; Path=/; Expires=Thu, 01 Jan 1970")
    assert "session" not in client.cookies
    assert client.get("/whole").text == ""


def test_a_token_that_was_renewed_or_destroyed_leads_nowhere(serve: Serve) -> None:
    client = serve(ACTIONS)
    client.get("/change")
    old = client.cookies["session"]
    client.get("/login")
    new = client.cookies["session"]
    client.get("/logout")
    for token in (old, new):
        assert client.get("/whole", headers={"Cookie": f"session={token}"}).text == ""


@pytest.mark.parametrize("persist", [True, False], ids=["persistent", "session cookie"])
def test_a_session_that_is_extended_moves_only_a_persistent_cookie(
    serve: Serve, clock: FakeClock, persist: bool
) -> None:
    client = serve(ACTIONS, {"idle_timeout": HOUR, "cookie": Cookie(secure=False, persist=persist)})
    token = cookies(client.get("/change"))[0].partition(";")[0]
    clock.advance(HOUR / 2)
    moved = cookies(client.get("/read", headers={"Cookie": token}))
    if persist:
        assert moved[0].startswith(f"{token}; Path=/; Expires=")
        assert "; Max-Age=3600; " in moved[0]
    else:
        assert moved == []
    clock.advance(HOUR * 0.9)
    assert client.get("/read", headers={"Cookie": token}).text == "1"
    clock.advance(HOUR * 1.1)
    assert client.get("/read", headers={"Cookie": token}).text == "0"


def test_remember_me_makes_one_cookie_persistent_and_forgetting_it_another_not(serve: Serve) -> None:
    actions = {**ACTIONS, "/remember": lambda s: s.remember(), "/forget": lambda s: s.remember(False)}
    client = serve(actions, {"cookie": Cookie(secure=False, persist=False)})
    assert "Expires" not in cookies(client.get("/change"))[0]
    assert "; Max-Age=86400; " in cookies(client.get("/remember"))[0]
    assert cookies(client.get("/remember")) == []
    assert "Expires" in cookies(client.get("/login"))[0]
    (forgotten,) = cookies(client.get("/forget"))
    assert "Expires" not in forgotten
    assert client.get("/read").text == "1"


def test_caches_are_told_what_they_must_know(serve: Serve) -> None:
    client = serve(ACTIONS)
    ignoring = client.get("/ignore").headers
    assert "vary" not in ignoring
    assert "cache-control" not in ignoring
    reading = client.get("/read").headers
    assert reading["vary"] == "Cookie"
    assert "cache-control" not in reading
    changing = client.get("/change").headers
    assert changing["vary"] == "Cookie"
    assert changing["cache-control"] == 'no-cache="Set-Cookie"'


def test_what_is_made_of_the_token_depends_on_the_cookie(serve: Serve, counted: CountingStore) -> None:
    """A form with the token in it is not for the cache of another client; and it costs no call."""
    client = serve({**ACTIONS, "/": lambda s: str(s.token)})
    response = client.get("/")
    assert (response.text, response.headers["vary"]) == ("None", "Cookie")
    token = with_a_session(client, counted)
    response = client.get("/")
    assert (response.text, response.headers["vary"]) == (token, "Cookie")
    assert cookies(response) == []
    assert counted.taken() == []


@pytest.mark.parametrize(
    ("own", "whole"),
    [
        ({"Vary": "Accept-Encoding"}, {"Vary": "Accept-Encoding, Cookie"}),
        ({"vary": "accept, COOKIE"}, {"Vary": "accept, COOKIE"}),
        ({"Vary": "*"}, {"Vary": "*"}),
        ({"Cache-Control": "max-age=60"}, {"Cache-Control": 'max-age=60, no-cache="Set-Cookie"'}),
        ({"Cache-Control": "private, max-age=60"}, {"Cache-Control": "private, max-age=60"}),
        ({"cache-control": "No-Store"}, {"Cache-Control": "No-Store"}),
        ({"Set-Cookie": "theme=dark"}, {}),
    ],
)
def test_what_the_app_says_itself_stands(serve: Serve, own: dict[str, str], whole: dict[str, str]) -> None:
    def action(s: BaseSession) -> Answer:
        s.increment("n")
        return Answer(headers=tuple(own.items()))

    response = serve({"/": action}).get("/")
    for name, value in whole.items():
        assert response.headers[name] == value
    assert sorted(header.partition("=")[0] for header in cookies(response)) == sorted(
        ["session", *(["theme"] if "Set-Cookie" in own else [])]
    )


# Errors


@pytest.mark.parametrize("status", [200, 204, 303, 404, 499])
def test_an_answer_below_500_commits(serve: Serve, status: int) -> None:
    def action(s: BaseSession) -> Answer:
        s.increment("n")
        return Answer(status=status)

    client = serve({"/": action, **ACTIONS})
    assert client.get("/").status_code == status
    assert client.get("/read").text == "1"


@pytest.mark.parametrize("status", [500, 503])
def test_an_answer_of_500_and_over_commits_nothing_unless_it_is_asked_to(
    serve: Serve, counted: CountingStore, status: int
) -> None:
    def action(s: BaseSession) -> Answer:
        s.increment("n")
        return Answer(status=status)

    for asked in (False, True):
        client = serve({"/": action, **ACTIONS}, commit_errors=asked)
        with_a_session(client, counted)
        response = client.get("/")
        assert response.status_code == status
        assert cookies(response) == []
        assert client.get("/read").text == ("2" if asked else "1")
        counted.taken()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_app_that_raises_commits_nothing_and_says_nothing_of_it(serve: Serve, counted: CountingStore) -> None:
    def action(s: BaseSession) -> str:
        s.put_string("n", "what nobody is to know")
        raise LookupError("what nobody is to know")

    client = serve({**ACTIONS, "/": action})
    token = with_a_session(client, counted)
    # For some servers close it afterwards, and the next request would be lost on it.
    response = client.get("/", headers={"Connection": "close"})
    assert response.status_code == 500
    assert cookies(response) == []
    assert "nobody is to know" not in response.text
    assert "Traceback" not in response.text
    assert token not in response.text
    assert client.get("/read").text == "1"


@pytest.mark.parametrize("kind", [UnavailableError, ThrottledError, TableNotFoundError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("when", ["reading", "writing"])
def test_an_outage_is_a_503_and_no_logout(
    serve: Serve, counted: CountingStore, kind: type[StoreError], when: str, caplog: pytest.LogCaptureFixture
) -> None:
    def action(s: BaseSession) -> str:
        if when == "reading":
            counted.failure = kind("no answer")
        s.increment("n")
        counted.failure = kind("no answer")
        return ""

    client = serve({**ACTIONS, "/": action})
    token = with_a_session(client, counted)
    with caplog.at_level(logging.ERROR, "session.web"):
        response = client.get("/")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.text == "The session store cannot be reached. Please try again soon.\n"
    assert cookies(response) == []
    assert "no answer" in caplog.text
    assert token not in caplog.text
    counted.failure = None
    assert client.get("/read").text == "1"


def failing(counted: CountingStore, *others: Exception, at: Callable[[BaseSession], object]) -> Action:
    """A handler whose session fails in a task group, beside the *others*, and in one of a library's around that."""

    def action(s: BaseSession) -> str:
        counted.failure = UnavailableError("no answer")
        try:
            at(s)
        except UnavailableError as error:
            raise ExceptionGroup("of a library", [ExceptionGroup("in tasks", [error]), *others]) from None
        finally:
            counted.failure = None
        return ""

    return action


def test_an_outage_in_a_task_group_is_a_503(
    serve: Serve, counted: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve({**ACTIONS, "/": failing(counted, UnavailableError("nor here"), at=read)})
    with_a_session(client, counted)
    response = client.get("/")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert cookies(response) == []
    assert "answered with 503: no answer" in caplog.text
    assert client.get("/read").text == "1"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_apps_beside_an_outage_is_a_500(serve: Serve, counted: CountingStore) -> None:
    client = serve({**ACTIONS, "/": failing(counted, LookupError("a mistake"), at=read)})
    with_a_session(client, counted)
    assert client.get("/", headers={"Connection": "close"}).status_code == 500
    assert client.get("/read").text == "1"


@pytest.mark.parametrize("others", [[], [UnavailableError("no answer")]], ids=["alone", "beside an outage"])
def test_a_conflict_in_a_task_group_is_run_again_or_a_409(
    serve: Serve, counted: CountingStore, others: list[Exception]
) -> None:
    def action(s: BaseSession) -> str:
        if s.attempt == 1:
            raise ExceptionGroup("in tasks", [*others, SessionConflict("in a task")])
        return change(s)

    client = serve({**ACTIONS, "/": action})
    with_a_session(client, counted)
    assert client.post("/").status_code == 409
    assert client.get("/read").text == "1"
    assert client.get("/").text == "2"


def test_a_missing_table_is_named_in_the_first_line_of_the_log(
    serve: Serve,
    counted: CountingStore,
    backends: Backends,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = connect("no_such_table", region="us-east-1", endpoint_url=backends.server("ministack").url)
    monkeypatch.setattr(counted, "_store", there)
    client = serve(ACTIONS)
    for path, sent in (("/read", {"Cookie": f"session={'A' * 43}"}), ("/change", {})):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            response = client.get(path, headers=sent)
        assert (response.status_code, "no_such_table" in response.text) == (503, False)
        first = caplog.records[0].getMessage()
        assert "table 'no_such_table'" in first
        assert "create it with store.create_table()" in first


def test_an_app_may_answer_an_outage_itself(serve: Serve, counted: CountingStore) -> None:
    def action(s: BaseSession) -> Answer:
        try:
            s.increment("n")
        except StoreError as error:
            return Answer(f"{type(error).__name__}: as a guest", 200)
        raise AssertionError

    client = serve({**ACTIONS, "/": action})
    token = with_a_session(client, counted)
    counted.failure = UnavailableError("no answer")
    response = client.get("/")
    assert (response.status_code, response.text) == (200, "UnavailableError: as a guest")
    assert cookies(response) == []
    counted.failure = None
    assert client.get("/read").text == "1"
    assert client.cookies["session"] == token


def test_a_session_that_ended_meanwhile_is_not_brought_back(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    manager = SessionManager(counted, clock=clock)

    def action(s: BaseSession) -> str:
        s.increment("n")
        with manager.session(s.token) as other:
            other.destroy()
        return "too late"

    client = serve({**ACTIONS, "/": action})
    with_a_session(client, counted)
    response = client.get("/")
    assert response.status_code == 200
    assert cookies(response) == []
    assert client.get("/whole").text == ""


def test_a_late_answer_does_not_log_out_who_has_logged_in_meanwhile(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    manager = SessionManager(counted, clock=clock, idle_timeout=HOUR)

    def slow(s: BaseSession) -> str:
        clock.advance(HOUR / 2)
        s.get_int("n")
        with manager.session(s.token) as other:
            other.renew_token()
            other.put_int("user_id", 7)
        client.cookies.set("session", other.token or "", domain=client.base_url.host, path="/")
        return ""

    client = serve({**ACTIONS, "/slow": slow}, {"idle_timeout": HOUR})
    with_a_session(client, counted)
    assert cookies(client.get("/slow")) == []
    assert client.get("/whole").text == "n=1,user_id=7"


# Strange clients


def test_a_cookie_that_cannot_be_ours_is_no_session_and_no_call(serve: Serve, counted: CountingStore) -> None:
    client = serve(ACTIONS)
    for cookie in (
        b"session=admin",
        b"session=",
        b"session",
        b"=; ;;session;=session",
        b'session="; Path=/; Domain=x"',
        b"session=\xff\xfe\x80",
        b"session=" + "schlüssel".encode(),
        b"session=" + b"A" * 10_000,
        b"session=%00%0d%0aSet-Cookie:%20a=b",
        b"session=" + b"A" * 42 + b"\t",
        b"\xe2\x28\xa1=1; session=x",
    ):
        response = raw(client, cookie)
        assert response.startswith(b"HTTP/1.1 200"), (cookie, response)
        assert response.endswith(b"\r\n\r\n0") or b"\r\n1\r\n0\r\n" in response, (cookie, response)
        assert b"set-cookie" not in response.lower()
    assert counted.taken() == []


def test_a_token_is_never_adopted(serve: Serve) -> None:
    client = serve(ACTIONS)
    forged = secrets.token_urlsafe(32)
    (header,) = cookies(client.get("/change", headers={"Cookie": f"session={forged}"}))
    assert forged not in header


def test_of_several_cookies_of_one_name_the_first_well_formed_token_counts(
    serve: Serve, counted: CountingStore
) -> None:
    client = serve(ACTIONS)
    token = with_a_session(client, counted)
    for jar in (
        f"session={token}; session=other",
        f"session=set-by-another-path; session={token}",
        f"a=b; session=; session={'x' * 44}; xsession={secrets.token_urlsafe(32)}; session={token}",
    ):
        assert raw(client, jar.encode()).partition(b"\r\n\r\n")[2].strip(b"\r\n01") == b"", jar
        assert counted.taken() == ["find"]


def begin(counted: CountingStore, clock: FakeClock, **data: int) -> str:
    """Begin a session that the client knows nothing of; returns its token."""
    with SessionManager(counted, clock=clock).session(None) as s:
        s.update(data)
    counted.taken()
    assert s.token is not None
    return s.token


def asked(client: httpx.Client, path: str, cookie: str) -> str:
    """What the app answers to a GET with that cookie, each character a byte."""
    response = client.get(path, headers=[(b"Cookie", cookie.encode("latin-1"))])
    assert response.status_code == 200
    return response.text


def test_a_cookie_whose_name_has_odd_white_space_is_not_ours(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    # Browsers let any host of the domain set it, and anybody over plain HTTP: it has not the prefix that they look for.
    client = serve(ACTIONS, {"cookie": Cookie(name="__Host-session")})
    attackers, ours = begin(counted, clock, n=666), begin(counted, clock, n=1)
    for space in ("\xa0", "\x85", "\xc2\xa0", "\xc2\x85", "\xe2\x80\x80", "\xe3\x80\x80", " \xa0", "\xa0\t"):
        for planted in (
            f"a=b; {space}__Host-session={attackers}",
            f"{space.lstrip(BLANKS)}__Host-session={attackers}",
            f"__Host-session{space}={attackers}",
        ):
            assert asked(client, "/read", planted) == "0", planted
            assert counted.taken() == [], planted
            for both in (f"{planted}; __Host-session={ours}", f"__Host-session={ours}; {planted}"):
                assert asked(client, "/read", both) == "1", both
                assert counted.taken() == ["find"], both


def test_a_cookie_that_leads_nowhere_does_not_hide_another(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    client = serve(ACTIONS)
    dead, live = begin(counted, clock, n=1), begin(counted, clock, n=2)
    client.get("/logout", headers={"Cookie": f"session={dead}"})
    counted.taken()
    for jar, calls in (
        (f"session={dead}; session={live}", ["find", "find"]),
        (f"session={live}; session={dead}", ["find"]),
        (f"session=x; session={dead}; session={dead}; a=b; session={live}", ["find", "find"]),
    ):
        assert asked(client, "/read", jar) == "2"
        assert counted.taken() == calls
    assert asked(client, "/ignore", f"session={dead}; session={live}") == "nothing"
    assert counted.taken() == []


def test_a_logout_ends_the_sessions_of_all_cookies_of_the_name(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    client = serve(ACTIONS)
    first, second = begin(counted, clock, n=1), begin(counted, clock, n=2)
    client.get("/logout", headers={"Cookie": f"session={first}; session={second}"})
    assert counted.taken() == ["delete", "delete"]
    for jar in (f"session={first}; session={second}", f"session={first}", f"session={second}"):
        assert asked(client, "/whole", jar) == ""


def test_a_stale_request_that_is_run_again_does_not_go_on_with_another_session(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    manager = SessionManager(counted, clock=clock)
    runs: list[int] = []

    def action(s: BaseSession) -> str:
        n = s.get_int("n")
        runs.append(n)
        if len(runs) == 1:
            with manager.session(s.token) as other:
                other.put_int("n", 2)
            hold.append(ours)
        s.put_int("doubled", n * 2)
        return str(n)

    hold: list[str] = []
    find = counted.find

    def find_after_the_end(token: str) -> Record | None:
        # The session ends before the second run reads it.
        if hold:
            with manager.session(hold.pop()) as other:
                other.destroy()
        return find(token)

    client = serve({**ACTIONS, "/": action})
    dead, ours, planted = "A" * 43, begin(counted, clock, n=1), begin(counted, clock, n=666)
    counted.find = find_after_the_end  # type: ignore[method-assign]  # for this test
    response = client.get("/", headers={"Cookie": f"session={dead}; session={ours}; session={planted}"})
    assert (response.status_code, response.text) == (200, "0")
    assert cookies(response) == []
    assert runs == [1, 0]
    assert asked(client, "/whole", f"session={planted}") == "n=666"


def test_nothing_in_the_session_gets_into_a_header(serve: Serve) -> None:
    def action(s: BaseSession) -> None:
        s["x\r\nSet-Cookie: a=b"] = "y\r\nSet-Cookie: c=d"

    client = serve({**ACTIONS, "/": action})
    assert len(cookies(client.get("/"))) == 1
    assert "c=d" in client.get("/whole").text


def test_head_is_as_get_without_the_body(serve: Serve, counted: CountingStore) -> None:
    client = serve(ACTIONS)
    response = client.head("/change")
    assert (response.status_code, response.text) == (200, "")
    assert len(cookies(response)) == 1
    assert client.get("/read").text == "1"
    counted.failure = UnavailableError("no answer")
    response = client.head("/read")
    assert (response.status_code, response.text) == (503, "")


def raw(client: httpx.Client, cookie: bytes) -> bytes:
    """The response, to the byte, to a GET of /read with that cookie, to the byte."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=5) as sock:
        sock.sendall(b"GET /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: " + cookie + b"\r\n\r\n")
        with sock.makefile("rb") as reply:
            return reply.read()


# Two at once


def test_two_requests_at_once_both_keep_their_changes(serve: Serve, counted: CountingStore, clock: FakeClock) -> None:
    manager = SessionManager(counted, clock=clock)

    def action(s: BaseSession) -> None:
        s.increment("n")
        with manager.session(s.token) as other:
            other.increment("n")
            other.put_string("other", "kept")

    client = serve({**ACTIONS, "/": action})
    with_a_session(client, counted)
    client.get("/")
    assert client.get("/whole").text == "n=3,other=kept"


def overtaken(manager: SessionManager) -> Action:
    """An action that reads the user, and in its first run is overtaken by a login as another one."""

    def action(s: BaseSession) -> str:
        user = s.get_string("user")
        if s.attempt == 1:
            with manager.session(s.token) as other:
                other.put_string("user", f"{user}eve")
        s.increment("greetings")
        return f"{user}, run {s.attempt}"

    return action


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_a_stale_request_is_run_again_where_that_is_safe(
    serve: Serve,
    counted: CountingStore,
    clock: FakeClock,
    method: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing has been logged of this route in this minute.
    client = serve({**ACTIONS, "/": overtaken(SessionManager(counted, clock=clock))})
    with_a_session(client, counted)
    if method == "OPTIONS" and client.options("/ignore").status_code == 405:
        pytest.skip("the framework answers it")
    response = client.request(method, "/?secret=1", headers={"Accept": "text/html"})
    assert cookies(response) == []
    if method == "POST":
        assert (response.status_code, response.headers["cache-control"]) == (409, "no-store")
        assert response.headers["content-type"].startswith("text/html")
        assert client.get("/whole").text == "n=1,user=eve"
        assert "POST / answered with 409" in caplog.text
        assert "secret" not in caplog.text
    else:
        assert response.status_code == 200
        assert response.text == ("" if method == "HEAD" else "eve, run 2")
        assert client.get("/whole").text == "greetings=1,n=1,user=eve"


@pytest.mark.parametrize(
    ("query", "status"), [("code=x&state=y", 409), ("code=x", 200), ("state=y&code", 409), ("", 200)]
)
def test_a_redirect_back_from_a_login_elsewhere_is_not_run_again(
    serve: Serve, counted: CountingStore, clock: FakeClock, query: str, status: int
) -> None:
    """Its code can be used once."""
    client = serve({**ACTIONS, "/": overtaken(SessionManager(counted, clock=clock))})
    with_a_session(client, counted)
    assert client.get(f"/?{query}").status_code == status


def test_a_logout_counts_also_if_its_page_fails(serve: Serve, counted: CountingStore) -> None:
    def action(s: BaseSession) -> Answer:
        s.destroy()
        return Answer(status=500)

    client = serve({**ACTIONS, "/": action})
    token = with_a_session(client, counted)
    response = client.get("/")
    assert response.status_code == 500
    assert cookies(response)[0].startswith("session=; ")
    assert counted.taken() == ["delete"]
    assert client.get("/whole", headers={"Cookie": f"session={token}"}).text == ""


# Corrupt sessions


def spoil(counted: CountingStore, clock: FakeClock, token: str) -> Record:
    """Have what is stored under a token be no session; return it."""
    key = SessionManager(counted, clock=clock)._policy.key(token)
    record = counted.save(key, b"a newer release wrote this", clock.now + HOUR)
    counted.taken()
    return record


def test_a_corrupt_session_that_is_reset_lets_the_user_log_in_again(
    serve: Serve, counted: CountingStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(ACTIONS, {"on_corrupt": "reset", "cookie": Cookie(secure=False)})
    token = with_a_session(client, counted)
    spoilt = spoil(counted, clock, token)
    # Who only looks keeps the cookie: what is wrong may yet be put right.
    seen = client.get("/read")
    assert (seen.status_code, seen.text, cookies(seen)) == (200, "0", [])
    assert f"session {digest(spoilt.token)} is corrupt" in caplog.text
    logged_in = client.get("/login")
    assert logged_in.status_code == 200
    assert client.cookies["session"] != token
    assert client.get("/whole").text == "user_id=7"
    assert counted.find(spoilt.token) == spoilt


@pytest.mark.parametrize("settings", [{}, {"on_corrupt": "reset"}], ids=["raise", "reset"])
def test_a_corrupt_session_can_be_logged_out(
    serve: Serve, counted: CountingStore, clock: FakeClock, settings: Mapping[str, object]
) -> None:
    client = serve(ACTIONS, {**settings, "cookie": Cookie(secure=False)})
    spoilt = spoil(counted, clock, with_a_session(client, counted))
    response = client.get("/logout")
    assert response.status_code == 200
    assert cookies(response)[0].startswith("session=; ")
    assert counted.find(spoilt.token) is None
    assert client.get("/login").status_code == 200


def test_a_corrupt_session_is_an_error_if_it_is_not_reset(
    serve: Serve, counted: CountingStore, clock: FakeClock
) -> None:
    client = serve(ACTIONS)
    spoil(counted, clock, with_a_session(client, counted))
    response = client.get("/read")
    assert response.status_code == 500
    assert cookies(response) == []
