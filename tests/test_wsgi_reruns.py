"""WSGI: a stale request is run again from the request as it came, or refused; reads after the end; logouts that count."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest

from dynamostore import MemoryStore, UnavailableError
from session import Cookie, Session, SessionConflict, SessionManager
from session.web.wsgi import SessionMiddleware, get_session

from .counting import CountingStore
from .test_wsgi import Response, call, held

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture
def token(manager: SessionManager) -> str:
    with manager.session(None) as s:
        s.put_string("user", "ada")
    assert s.token is not None
    return s.token


class Shop:
    """An app that greets the user, and is overtaken by a request of its own in its first *stale* runs."""

    def __init__(self, manager: SessionManager, token: str, stale: int = 1, **settings: Any) -> None:
        self.token = token
        self.stale = stale
        self.seen: list[tuple[str, int]] = []
        self.environs: list[dict[str, Any]] = []
        self.pauses: list[float] = []
        settings.setdefault("sleep", self.pauses.append)
        self.app = SessionMiddleware(self.respond, manager, **settings)

    def __call__(self, **environ: Any) -> Response:
        return ask(validator(self.app), self.token, **environ)

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        if environ["PATH_INFO"] == "/switch":
            session.put_string("user", session.get_string("user") + "'")
            start_response("204 No Content", [])
            return []
        self.environs.append({key: value for key, value in environ.items() if "session" not in key})
        environ["app.mark"] = len(self.environs)
        environ.pop("QUERY_STRING")
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = environ["PATH_INFO"], ""
        return self.greet(session, start_response)

    def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
        body = self.meet(session)
        start_response("200 OK", TEXT)
        return [body]

    def meet(self, session: Session) -> bytes:
        user = session.get_string("user")
        self.seen.append((user, session.attempt))
        if len(self.seen) <= self.stale:
            assert ask(self.app, self.token, PATH_INFO="/switch").status == 204
        session.increment("greetings")
        return user.encode()


def ask(app: WSGIApplication, token: str | None, **environ: Any) -> Response:
    def with_environ(given: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given.update(environ)
        return app(given, start_response)

    return call(with_environ, None if token is None else f"session={token}")


# Run again


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_stale_request_is_run_again_from_the_request_as_it_came(
    manager: SessionManager, token: str, method: str
) -> None:
    shop = Shop(manager, token)
    shop.app._app = shop.respond
    response = ask(shop.app, token, PATH_INFO="/hello", REQUEST_METHOD=method, QUERY_STRING="a=b")
    assert (response.status, response.body) == (200, b"ada'")
    assert shop.seen == [("ada", 1), ("ada'", 2)]
    first, second = shop.environs
    assert first == second
    assert (second["PATH_INFO"], second["QUERY_STRING"]) == ("/hello", "a=b")
    assert held(manager, token) == {"user": "ada'", "greetings": 1}
    assert response.header("Set-Cookie") == []


def test_the_environ_stays_the_object_that_it_is(manager: SessionManager, token: str) -> None:
    shop = Shop(manager, token)
    outer: list[object] = []

    def log(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = shop.app(environ, start_response)
        outer.extend((environ["app.mark"], get_session(environ)["greetings"]))
        return body

    assert ask(log, token).status == 200
    assert outer == [2, 1]


class Lazy(Shop):
    """A shop whose body is made while it is sent."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sent = 0
        self.closed = 0

    def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
        return self._greet(session, start_response)

    def _greet(self, session: Session, start_response: StartResponse) -> Iterator[bytes]:
        try:
            start_response("200 OK", TEXT)
            yield b""
            yield self.meet(session)
            self.sent += 1
            yield b"!"
        finally:
            self.closed += 1


@pytest.mark.parametrize("stale", [0, 1, 3])
def test_of_a_body_that_is_made_while_it_is_sent_only_the_last_is_sent_and_each_is_closed(
    manager: SessionManager, token: str, stale: int
) -> None:
    shop = Lazy(manager, token, stale)
    response = shop()
    assert (response.status, response.body) == (200, f"ada{chr(39) * stale}!".encode())
    assert (shop.sent, shop.closed) == (1, stale + 1)
    # By the time that the next run begins.
    assert len(shop.pauses) == stale


def test_a_response_with_close_is_closed_and_never_sent(manager: SessionManager, token: str) -> None:
    closed: list[int] = []

    class Closing(list[bytes]):
        def close(self) -> None:
            closed.append(len(shop.seen))

    class Listed(Shop):
        def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
            return Closing(super().greet(session, start_response))

    shop = Listed(manager, token)
    assert shop().body == b"ada'"
    assert closed == [1, 2]


def test_what_write_sends_is_sent_once(manager: SessionManager, token: str) -> None:
    class Writing(Shop):
        def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
            body = self.meet(session)
            start_response("200 OK", TEXT)(body)
            return [b"!"]

    response = Writing(manager, token)()
    assert (len(response.started), response.body) == (1, b"ada'!")


@pytest.mark.parametrize("lazily", [False, True])
def test_a_request_is_run_four_times_at_most_after_random_pauses(
    manager: SessionManager, token: str, lazily: bool
) -> None:
    shop = (Lazy if lazily else Shop)(manager, token, stale=99)
    assert shop().status == 409
    assert [attempt for _, attempt in shop.seen] == [1, 2, 3, 4]
    assert len(set(shop.pauses)) == 3
    assert all(0 <= pause <= 0.02 * 2 ** (i + 1) for i, pause in enumerate(shop.pauses))


def test_no_run_begins_after_five_seconds(manager: SessionManager, token: str) -> None:
    now = [0.0]

    def sleep(_: float) -> None:
        now[0] += 2.5

    shop = Shop(manager, token, stale=99, clock=lambda: now[0], sleep=sleep)
    assert shop().status == 409
    assert len(shop.seen) == 3


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "POST"},
        {"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": "0"},
        {"CONTENT_LENGTH": "3", "wsgi.input": io.BytesIO(b"a=b")},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
)
def test_what_may_change_something_is_refused(manager: SessionManager, token: str, environ: dict[str, Any]) -> None:
    shop = Shop(manager, token)
    response = ask(shop.app, token, **environ)
    assert response.status == 409
    assert len(shop.seen) == 1
    assert held(manager, token) == {"user": "ada'"}


def test_a_get_with_an_empty_body_is_run_again(manager: SessionManager, token: str) -> None:
    for length in ("", "0"):
        assert Shop(manager, token)(CONTENT_LENGTH=length).status == 200


def test_the_setting_decides(manager: SessionManager, token: str) -> None:
    assert Shop(manager, token, rerun="never")().status == 409
    asked: list[str] = []

    def searches(environ: WSGIEnvironment) -> bool:
        asked.append(environ["PATH_INFO"])
        return bool(environ["PATH_INFO"] == "/search")

    shop = Shop(manager, token, rerun=searches)
    assert ask(shop.app, token, PATH_INFO="/search", REQUEST_METHOD="POST").status == 200
    assert asked == ["/search", "/switch"]
    shop = Shop(manager, token, rerun=searches)
    assert ask(shop.app, token, PATH_INFO="/order").status == 409
    # A body is gone once it is read.
    shop = Shop(manager, token, rerun=searches)
    assert ask(shop.app, token, PATH_INFO="/search", REQUEST_METHOD="POST", CONTENT_LENGTH="3").status == 409


def forbid(session: Session) -> None:
    session.forbid_rerun()


def save(session: Session) -> None:
    session.increment("saved")
    session.save()


def decide(session: Session) -> None:
    session.atomic(lambda s: s.increment("saved"))


@pytest.mark.parametrize("act", [forbid, save, decide])
def test_a_handler_that_forbids_it_or_has_stored_something_is_not_run_again(
    manager: SessionManager, token: str, act: Callable[[Session], None]
) -> None:
    class Acting(Shop):
        def meet(self, session: Session) -> bytes:
            act(session)
            return super().meet(session)

    shop = Acting(manager, token)
    assert shop().status == 409
    assert len(shop.seen) == 1
    assert "greetings" not in held(manager, token)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_conflict_that_the_app_raises_is_one_too(manager: SessionManager, token: str, wrapped: bool) -> None:
    class Saving(Shop):
        def meet(self, session: Session) -> bytes:
            body = super().meet(session)
            try:
                session.save()
            except SessionConflict as error:
                if wrapped:
                    raise RuntimeError("a framework's") from error
                raise
            return body

    shop = Saving(manager, token)
    assert shop().body == b"ada'"
    shop = Saving(manager, token)
    assert ask(shop.app, token, REQUEST_METHOD="POST").status == 409


def test_an_app_that_answers_a_conflict_itself_is_left_alone(
    manager: SessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Saving(Shop):
        def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
            try:
                self.meet(session)
                session.save()
            except SessionConflict as error:
                start_response("303 See Other", [*TEXT, ("Location", "/cart")])
                return [",".join(error.keys).encode()]
            raise AssertionError

    response = Saving(manager, token)()
    assert (response.status, response.body) == (303, b"user")
    assert held(manager, token) == {"user": "ada'"}
    assert "GET / answered with 303 by the app, and nothing was stored: session" in caplog.text


def test_a_later_run_that_fails_has_its_error_raised(manager: SessionManager, token: str) -> None:
    class Failing(Shop):
        def meet(self, session: Session) -> bytes:
            if session.attempt == 2:
                raise LookupError
            return super().meet(session)

    with pytest.raises(LookupError):
        Failing(manager, token)()


def test_an_outage_in_a_later_run_is_a_503(
    manager: SessionManager, counted: CountingStore, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Shop):
        def meet(self, session: Session) -> bytes:
            if session.attempt == 2:
                counted.failure = UnavailableError("no answer")
            return super().meet(session)

    assert Failing(manager, token)().status == 503


# Sessions that have ended


def login(manager: SessionManager, token: str | None) -> str:
    with manager.session(token) as s:
        s.renew_token()
        s.put_string("user", "eve")
    assert s.token is not None
    return s.token


def test_a_run_after_the_session_has_ended_is_a_guests_and_begins_none(
    manager: SessionManager, memory: MemoryStore, token: str
) -> None:
    new: list[str] = []
    seen: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        seen.append(session.pop_string("user"))
        if not new:
            new.append(login(manager, token))
        session.put_string("last", "here")
        start_response("200 OK", TEXT)
        return [b""]

    response = ask(SessionMiddleware(app, manager, sleep=lambda _: None), token)
    assert seen == ["ada", ""]
    # A cookie of its own would replace the new login's.
    assert (response.status, response.header("Set-Cookie")) == (200, [])
    assert held(manager, new[0]) == {"user": "eve"}
    assert sum(bool(record.data) for record in memory._records.values()) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_that_ends_after_a_stale_run_is_not_begun_anew(
    manager: SessionManager, token: str, method: str
) -> None:
    """By the next run, or by the app that answers the conflict."""
    new: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        if "session.conflict" in environ:
            new.append(login(manager, token))
        user = session.get_string("user")
        if session.attempt == 1:
            with manager.session(token) as s:
                s.put_string("user", "bob")
        session.put_string("last", user)
        start_response("200 OK", TEXT)
        return [b""]

    middleware = SessionMiddleware(app, manager, conflict=app, sleep=lambda _: new.append(login(manager, token)))
    response = ask(middleware, token, REQUEST_METHOD=method)
    assert (response.status, response.header("Set-Cookie")) == (200, [])
    assert held(manager, new[0]) == {"user": "eve"}


# The answer


def test_the_409_says_nothing_of_the_session_and_leaves_the_cookie(
    manager: SessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(manager, token)
    path = f"/reset/{token}/confirm"
    response = ask(shop.app, token, REQUEST_METHOD="POST", PATH_INFO=path, QUERY_STRING="secret=1")
    assert response.started[0][0] == "409 Conflict"
    assert response.header("Cache-Control") == ["no-store"]
    assert response.header("Vary") == ["Accept, Cookie"]
    assert response.header("Set-Cookie") == []
    assert response.header("Content-Length") == [str(len(response.body))]
    assert b"Please try again" in response.body
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("session.web", logging.WARNING)
    assert record.getMessage().startswith("POST /reset/*/confirm answered with 409: session ")
    assert "'user'" in caplog.text
    for secret in (token, "secret", "ada"):
        assert secret not in caplog.text
        assert secret.encode() not in response.body


def test_a_browser_gets_html_and_a_head_no_body(manager: SessionManager, token: str) -> None:
    shop = Shop(manager, token, rerun="never")
    response = ask(shop.app, token, HTTP_ACCEPT="text/html,*/*;q=0.8")
    assert response.header("Content-Type") == ["text/html; charset=utf-8"]
    assert b"<h1>" in response.body
    response = ask(Shop(manager, token, rerun="never").app, token, REQUEST_METHOD="HEAD")
    assert (response.status, response.body) == (409, b"")
    assert response.header("Content-Length") != ["0"]


def test_a_token_that_was_saved_before_the_conflict_reaches_the_client(manager: SessionManager, token: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        session.renew_token()
        session.save()
        session.get_string("user")
        with manager.session(session.token) as other:
            other.put_string("user", other.get_string("user") + "'")
        session.put_int("n", 1)
        start_response("200 OK", [])
        return []

    answered: list[str] = []

    def conflict(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answered.append(get_session(environ).get_string("user"))
        start_response("303 See Other", [])
        return []

    new = ask(SessionMiddleware(app, manager), token).token
    assert held(manager, new) == {"user": "ada'"}
    newer = ask(SessionMiddleware(app, manager, conflict=conflict), new).token
    assert held(manager, newer) == {"user": "ada''"}
    assert answered == ["ada''"]
    assert newer != new


def test_an_app_may_answer_conflicts_with_a_session_to_flash_in(manager: SessionManager, token: str) -> None:
    errors: list[SessionConflict] = []

    def conflict(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        errors.append(environ["session.conflict"])
        session = get_session(environ)
        assert "app.mark" not in environ
        assert "greetings" not in session
        session.put_string("flash", f"{session.get_string('user')}, please try again")
        start_response("303 See Other", [("Location", environ["PATH_INFO"])])
        return [b""]

    shop = Shop(manager, token, conflict=conflict)
    response = ask(shop.app, token, REQUEST_METHOD="POST", PATH_INFO="/order")
    assert (response.status, response.header("Location")) == (303, ["/order"])
    assert errors[0].keys == ("user",)
    assert held(manager, token) == {"user": "ada'", "flash": "ada', please try again"}


@pytest.mark.parametrize("lazily", [False, True])
def test_a_conflict_of_the_app_for_conflicts_is_a_409(manager: SessionManager, token: str, lazily: bool) -> None:
    class Stale(Shop):
        def greet(self, session: Session, start_response: StartResponse) -> Iterable[bytes]:
            body = super().greet(session, start_response)
            return iter(body) if lazily else body

    shop = Stale(manager, token, stale=99)
    shop.app = SessionMiddleware(shop.respond, manager, conflict=shop.respond, rerun="never")
    assert shop().status == 409
    other = Stale(manager, token, stale=99)
    shop.app = SessionMiddleware(shop.respond, manager, conflict=other.respond, rerun="never")
    other.app = shop.app
    assert shop().status == 409
    assert len(other.seen) == 1


def test_no_session_is_begun_for_an_answer_after_the_end(manager: SessionManager, token: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        if environ["REQUEST_METHOD"] == "POST" and "session.conflict" not in environ:
            session.pop_string("user")
            login(manager, token)
        session.put_string("flash", "sorry")
        start_response("200 OK", [])
        return []

    response = ask(SessionMiddleware(app, manager, conflict=app), token, REQUEST_METHOD="POST")
    assert (response.status, response.header("Set-Cookie")) == (200, [])


# Several sessions


@pytest.mark.parametrize("stale", ["session", "admin"])
def test_with_two_sessions_the_request_is_run_again_as_a_whole(stale: str) -> None:
    managers = {name: SessionManager(MemoryStore(), cookie=Cookie(name=name)) for name in ("session", "admin")}
    tokens = {}
    for name, manager in managers.items():
        with manager.session(None) as s:
            s.put_int("read", 1)
        tokens[name] = s.token
    runs: list[int] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        sessions = {name: get_session(environ, name) for name in managers}
        runs.append(sum(sessions[name].get_int("read") for name in changed))
        if len(runs) == 1:
            with managers[stale].session(tokens[stale]) as other:
                other.increment("read")
        for name in changed:
            sessions[name].increment("n")
        start_response("200 OK", [])
        return []

    both = SessionMiddleware(
        SessionMiddleware(app, managers["session"], sleep=lambda _: None),
        managers["admin"],
        key="admin",
        sleep=lambda _: None,
    )
    jar = "; ".join(f"{name}={token}" for name, token in tokens.items())
    changed = ["session", "admin"]
    response = call(both, jar)
    if stale == "session":
        # The inner one is committed first.
        assert (response.status, len(runs)) == (200, 2)
        assert [held(managers[name], tokens[name])["n"] for name in managers] == [1, 1]
    else:
        # The inner one is stored already, so another run would count twice.
        assert (response.status, len(runs)) == (409, 1)
        assert held(managers["session"], tokens["session"])["n"] == 1
        assert "n" not in held(managers["admin"], tokens["admin"])
        runs.clear()
        changed = ["admin"]
        assert call(both, jar).status == 200
        assert len(runs) == 2


# After the end


def test_reading_after_the_end_is_harmless(manager: SessionManager, counted: CountingStore, token: str) -> None:
    logged: list[object] = []
    looks = True

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if looks:
            get_session(environ).put_string("page", "home")
        if environ["PATH_INFO"] == "/boom":
            raise LookupError
        start_response("500 Oops" if environ["PATH_INFO"] == "/oops" else "200 OK", [])
        return []

    inner = SessionMiddleware(app, manager)

    def log(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return inner(environ, start_response)
        finally:
            session = get_session(environ)
            logged.append((session.get("user"), session.get("page")))

    assert ask(log, token, PATH_INFO="/oops").status == 500
    with pytest.raises(LookupError):
        ask(log, token, PATH_INFO="/boom")
    # As they are stored.
    assert logged == [("ada", None), ("ada", None)]
    assert ask(log, token).status == 200
    assert logged.pop() == ("ada", "home")
    looks = False
    counted.taken()
    assert ask(log, token).status == 200
    assert logged.pop() == ("ada", "home")
    assert counted.taken() == ["find"]


def test_an_environ_that_is_dispatched_twice_begins_anew(manager: SessionManager) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).increment("n")
        start_response("404 Not Found" if environ["PATH_INFO"] == "/" else "200 OK", [])
        return [b"%d" % get_session(environ).get_int("n")]

    for second in (manager, SessionManager(MemoryStore())):
        apps = [SessionMiddleware(app, manager), SessionMiddleware(app, second)]
        environ: dict[str, Any] = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
        started: list[Any] = []

        def cascade(
            app: WSGIApplication, environ: dict[str, Any] = environ, started: list[Any] = started
        ) -> list[bytes]:
            return list(app(environ, lambda *said: started.append(said)))  # type: ignore[arg-type]  # a server's

        assert [cascade(app) for app in apps] == [[b"1"], [b"1"]]
        assert [len([1 for name, _ in headers if name == "Set-Cookie"]) for _, headers in started] == [1, 1]


# Logouts


@pytest.mark.parametrize("mode", ["raise", "500", "503, lazily", "unread"])
def test_a_logout_counts_also_if_the_request_fails(manager: SessionManager, token: str, mode: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).destroy()
        if mode == "raise":
            raise LookupError
        start_response("500 Oops", [])
        return iter([b"oops"]) if mode != "500" else [b"oops"]

    app_ = SessionMiddleware(app, manager)
    if mode == "raise":
        with pytest.raises(LookupError):
            ask(app_, token)
    elif mode == "unread":
        body: Any = app_({"HTTP_COOKIE": f"session={token}"}, lambda *_: lambda _: None)
        body.close()
    else:
        response = ask(app_, token)
        assert response.status == 500
        (cookie,) = response.header("Set-Cookie")
        assert cookie.startswith("session=; ")
    assert held(manager, token) == {}


def test_a_logout_that_fails_after_a_500_is_a_503(manager: SessionManager, counted: CountingStore, token: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).destroy()
        counted.failure = UnavailableError("no answer")
        start_response("500 Oops", [])
        return [b"oops"]

    response = ask(SessionMiddleware(app, manager), token)
    assert (response.status, response.header("Set-Cookie")) == (503, [])
    counted.failure = None
    assert held(manager, token) == {"user": "ada"}


def test_a_logout_that_fails_after_the_app_has_raised_is_logged(
    manager: SessionManager, counted: CountingStore, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).destroy()
        counted.failure = UnavailableError("no answer")
        raise LookupError

    with pytest.raises(LookupError) as caught:
        ask(SessionMiddleware(app, manager), token)
    assert caught.value.__notes__ == ["the session could not be destroyed: no answer"]
    assert "the session could not be destroyed" in caplog.text


# Settings


def test_settings_that_make_no_sense_are_refused(manager: SessionManager) -> None:
    app: Any = lambda *_: []  # noqa: E731
    with pytest.raises(ValueError, match='rerun must be "safe", "never" or a function'):
        SessionMiddleware(app, manager, rerun="always")  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(TypeError, match="conflict must be a WSGI app, not str"):
        SessionMiddleware(app, manager, conflict="sorry")  # type: ignore[arg-type]  # that is the mistake


def test_a_report_names_the_route(counted: CountingStore, token: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = SessionManager(counted, on_conflict="report", cookie=Cookie(secure=False))
    shop = Shop(manager, token)
    assert ask(shop.app, token, PATH_INFO="/orders/8f3a91c0").status == 200
    assert (
        "a stale request was stored (GET /orders/*): another request had changed 'user', which it read" in caplog.text
    )
