"""Stale requests in Flask, where runs and answers meet the rest of it: error handlers, contexts, bodies, other sessions."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from dynamostore import MemoryStore, Record, UnavailableError
from session import Cookie, SessionClosedError, SessionConflict, SessionManager, Status
from session.web._exchange import OUTAGE
from session.web.flask import FlaskSession, SessionInterface, session
from session.web.wsgi import SessionMiddleware, get_session

from .counting import CountingStore


class Shop:
    """An app whose view ``/`` greets the user, and is overtaken by a request of its own in its first *stale* runs."""

    def __init__(self, stale: int = 1, *, init: bool = True, on_conflict: Any = "merge", **settings: Any) -> None:
        self.store = CountingStore(MemoryStore())
        self.manager = SessionManager(self.store, cookie=Cookie(secure=False), on_conflict=on_conflict)
        with self.manager.session(None) as s:
            s.put_string("user", "ada")
        assert s.token is not None
        self.token = s.token
        self.stale = stale
        self.runs: list[int] = []
        self.pauses: list[float] = []
        self.app = flask.Flask("shop")
        settings.setdefault("sleep", self.pauses.append)
        interface = SessionInterface(self.manager, **settings)
        if init:
            interface.init_app(self.app)
        else:
            self.app.session_interface = interface
        # What the view does when it has read.
        self.act: Callable[[], Any] = lambda: None
        self.app.add_url_rule("/", "view", self.view, methods=["GET", "POST"])

    def view(self) -> Any:
        self.runs.append(session.attempt)
        user = session["user"]
        self.overtake()
        session["greeted"] = user
        # Also if that is as it was: each run changes something.
        session.increment("greetings")
        answer = self.act()
        return f"hello {user}" if answer is None else answer

    def overtake(self) -> None:
        if len(self.runs) <= self.stale:
            with self.manager.session(self.token) as s:
                s.put_string("user", s.get_string("user") + "'")

    def client(self) -> FlaskClient:
        client = self.app.test_client()
        client.set_cookie("session", self.token)
        return client

    def held(self) -> dict[str, Any]:
        with self.manager.session(self.token) as s:
            return {key: value for key, value in s.items() if key != "greetings"}


# Error handlers, and what Flask is told to do with exceptions


CONFIG = [
    {},
    {"TESTING": True},
    {"DEBUG": True},
    {"PROPAGATE_EXCEPTIONS": True},
    {"TRAP_HTTP_EXCEPTIONS": True, "TRAP_BAD_REQUEST_ERRORS": True},
]


def save() -> None:
    session.save()


def raise_wrapped() -> None:
    try:
        session.save()
    except SessionConflict as error:
        raise RuntimeError("a library's") from error


def save_after(shop: Shop) -> None:
    @shop.app.after_request
    def after(response: flask.Response) -> flask.Response:
        if flask.request.endpoint == "view" and session.status is Status.MODIFIED:
            session.save()
        return response


WAYS: dict[str, Callable[[Shop], object]] = {
    "at the commit": lambda _: None,
    "in the view": lambda shop: setattr(shop, "act", save),
    "wrapped": lambda shop: setattr(shop, "act", raise_wrapped),
    "in an after_request function": save_after,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("config", CONFIG)
@pytest.mark.parametrize("kind", [SessionConflict, Exception, None])
def test_a_handler_is_asked_only_if_the_request_is_not_run_again(
    way: str, config: dict[str, bool], kind: type[Exception] | None
) -> None:
    shop = Shop()
    shop.app.config.update(config)
    WAYS[way](shop)
    told: list[type[Exception]] = []
    signalled: list[object] = []

    if kind is not None:

        @shop.app.errorhandler(kind)
        def handler(error: Exception) -> tuple[str, int]:
            told.append(type(error))
            return f"{session['user']}, again?", 409

    def note(_: flask.Flask, exception: Exception) -> None:
        signalled.append(exception)

    with flask.got_request_exception.connected_to(note, shop.app):
        reply = shop.client().get("/")
        assert (reply.status_code, reply.text, shop.runs) == (200, "hello ada'", [1, 2])
        assert (told, signalled) == ([], [])
        shop.runs.clear()
        reply = shop.client().post("/")
    assert (reply.status_code, shop.runs, signalled) == (409, [1], [])
    # That the answer is the app's own, as Flask looks its handlers up: `init_app` has registered one for the conflict.
    if kind is SessionConflict or (kind is Exception and way == "wrapped"):
        assert reply.text == "ada'', again?"
        assert len(told) == 1
    else:
        assert "try again" in reply.text
    assert shop.held() == {"user": "ada''", "greeted": "ada'"}


def test_a_blueprints_handler_for_anything_is_asked_only_then() -> None:
    shop = Shop()
    blueprint = flask.Blueprint("part", __name__)
    told: list[Exception] = []
    blueprint.add_url_rule("/part", "view", shop.view, methods=["GET", "POST"])

    @blueprint.errorhandler(Exception)
    def handler(error: Exception) -> tuple[str, int]:
        told.append(error)
        return "the part's", 409

    shop.app.register_blueprint(blueprint)
    for act in (None, save):
        shop.act = act or (lambda: None)
        shop.runs.clear()
        assert shop.client().get("/part").status_code == 200
        assert told == []
        shop.runs.clear()
        assert shop.client().post("/part").text == "the part's"
        assert isinstance(told.pop(), SessionConflict)


@pytest.mark.parametrize("way", ["at the commit", "in the view", "wrapped"])
def test_without_init_app_it_is_not_run_again(way: str) -> None:
    shop = Shop(init=False)
    WAYS[way](shop)
    reply = shop.client().get("/")
    assert (reply.status_code, shop.runs) == (409, [1])
    assert reply.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in reply.headers
    assert shop.held() == {"user": "ada'"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("text/html,*/*;q=0.8", "text/html"), ("application/json", "text/plain"), (None, "text/plain")],
)
def test_the_409_says_what_to_do(accept: str | None, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    with shop.manager.session(shop.token) as s:
        # A name that no digest contains.
        s["user"] = "Grace"
    reply = shop.client().post("/", headers={} if accept is None else {"Accept": accept})
    assert reply.status_code == 409
    assert reply.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Vary"] == "Accept, Cookie"
    assert "try again" in reply.text
    assert "Set-Cookie" not in reply.headers
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("session.web", logging.WARNING)
    assert record.getMessage().startswith("POST / answered with 409: session ")
    assert "'user'" in record.getMessage()
    assert "Grace" not in caplog.text
    assert shop.token not in caplog.text


def test_the_log_names_the_route_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.app.add_url_rule("/reset/<token>", "reset", lambda token: shop.view(), methods=["POST"])

    @shop.app.errorhandler(404)
    def lost(_: Exception) -> Any:
        return shop.view(), 404

    assert shop.client().post("/reset/8f3a91c0").status_code == 409
    assert "POST /reset/<token> answered with 409" in caplog.text
    shop.runs.clear()
    assert shop.client().post("/lost/8f3a91c0").status_code == 409
    assert "POST /lost/* answered with 409" in caplog.text


def test_report_stores_all_the_same_and_names_the_route(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(on_conflict="report")
    assert shop.client().post("/").status_code == 200
    assert shop.held() == {"user": "ada'", "greeted": "ada"}
    assert "(POST /)" in caplog.text


def test_an_answer_that_the_view_gives_to_a_conflict_stands(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()

    def act() -> Any:
        try:
            session.save()
        except SessionConflict as error:
            return f"{error.keys}", 303
        return None

    shop.act = act
    reply = shop.client().get("/")
    assert (reply.status_code, reply.text, shop.runs) == (303, "('user',)", [1])
    assert shop.held() == {"user": "ada'"}
    assert "GET / answered with 303 by the app, and nothing was stored" in caplog.text


def test_a_handler_that_fails_is_a_500() -> None:
    shop = Shop()

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> str:
        raise LookupError

    for act in (None, save):
        shop.act = act or (lambda: None)
        shop.runs.clear()
        assert shop.client().post("/").status_code == 500
    assert "greeted" not in shop.held()


@pytest.mark.parametrize("act", [None, save])
def test_a_handler_may_answer_with_500(act: Callable[[], None] | None) -> None:
    shop = Shop()
    shop.act = act or (lambda: None)

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> tuple[str, int]:
        session["sorry"] = True
        return "mine", 500

    reply = shop.client().post("/")
    assert (reply.status_code, reply.text) == (500, "mine")
    assert shop.held() == {"user": "ada'"}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_may_flash_while_another_request_does(method: str) -> None:
    shop = Shop(stale=99)

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> tuple[str, int]:
        flask.flash("mine")
        with shop.manager.session(shop.token) as s:
            s["_flashes"] = [["message", "theirs"]]
        return "sorry", 409

    reply = shop.client().open("/", method=method)
    assert (reply.status_code, reply.text) == (409, "sorry")
    assert shop.held()["_flashes"] == [["message", "theirs"], ["message", "mine"]]


def test_a_handler_that_does_not_want_it_leaves_it_to_the_409() -> None:
    shop = Shop()

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> str:
        raise error

    for act in (None, save):
        shop.act = act or (lambda: None)
        shop.runs.clear()
        assert shop.client().post("/").status_code == 409


@pytest.mark.parametrize("act", [None, save])
def test_an_answer_that_is_stale_itself_is_replaced_by_the_409(
    act: Callable[[], None] | None, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(stale=99)
    shop.act = act or (lambda: None)
    asked: list[str] = []

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> tuple[str, int]:
        asked.append(session.get_string("user"))
        shop.overtake()
        flask.flash("try again")
        session["sorry"] = asked[-1]
        return "mine", 409

    reply = shop.client().post("/")
    assert (reply.status_code, asked) == (409, ["ada'"])
    assert reply.text != "mine"
    assert shop.held() == {"user": "ada''"}
    assert "by the app" not in caplog.text


@pytest.mark.parametrize("mine", [False, True])
def test_what_was_stored_before_stays_and_its_cookie_is_sent(mine: bool) -> None:
    """A `save` before the conflict is not undone, so the client must learn its new token."""
    shop = Shop(stale=0)

    def act() -> None:
        session.renew_token()
        session.save()
        renewed = session.token
        seen = session["user"]
        with shop.manager.session(renewed) as s:
            s["user"] = "eve"
        session["decided"] = seen

    shop.act = act

    if mine:

        @shop.app.errorhandler(SessionConflict)
        def handler(error: SessionConflict) -> tuple[str, int]:
            flask.flash("try again")
            return "mine", 409

    client = shop.client()
    assert client.get("/").status_code == 409
    assert shop.runs == [1]
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.value != shop.token
    shop.token = cookie.value
    held = shop.held()
    assert (held["user"], held["greeted"]) == ("eve", "ada")
    assert "decided" not in held
    assert ("_flashes" in held) is mine


def test_a_logout_before_the_conflict_counts_and_forbids_another_run() -> None:
    shop = Shop()

    def act() -> None:
        try:
            session.save()
        except SessionConflict:
            session.destroy()
            raise

    shop.act = act
    reply = shop.client().get("/")
    assert (reply.status_code, shop.runs) == (409, [1])
    assert reply.headers["Set-Cookie"].startswith("session=; ")
    assert shop.held() == {}


# What a stale run leaves


def test_an_answer_to_an_error_goes_out_once_if_it_is_committed() -> None:
    """With `commit_errors`, Flask answers an error with a response whose commit may be stale."""
    shop = Shop(commit_errors=True)

    def act() -> None:
        raise ZeroDivisionError

    shop.act = act
    started: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], None]:
        started.append(status)
        return lambda data: None

    environ = flask.testing.EnvironBuilder(shop.app, "/", headers={"Cookie": f"session={shop.token}"}).get_environ()
    body = b"".join(shop.app(environ, start_response))
    assert started == ["500 INTERNAL SERVER ERROR"]
    assert body.count(b"<!doctype") == 1
    assert shop.runs == [1, 2]
    assert shop.held() == {"user": "ada'", "greeted": "ada'"}


def test_a_test_client_keeps_the_context_of_the_last_run() -> None:
    shop = Shop()
    torn_down: list[int] = []

    @shop.app.teardown_request
    def note(_: BaseException | None) -> None:
        torn_down.append(session.attempt)

    with shop.client() as client:
        client.get("/")
        assert session.attempt == 2
        assert session["greeted"] == "ada'"
        assert torn_down == [1, 2]
    # Flask tears it down again when it is no longer kept.
    assert torn_down == [1, 2, 2]
    gc.collect()
    assert not flask.has_request_context()


def test_a_body_that_streams_is_closed_and_its_context_left() -> None:
    shop = Shop()
    closed: list[int] = []
    torn_down: list[object] = []

    @shop.app.teardown_request
    def note(error: BaseException | None) -> None:
        torn_down.append(type(error))

    def act() -> Any:
        run = len(shop.runs)

        def body() -> Iterator[str]:
            try:
                yield "a"
                yield session.get_string("user")
            finally:
                closed.append(run)

        chunks = body()
        if run == 1:
            # It is under way already, so that closing it shows.
            next(chunks)
        return flask.Response(flask.stream_with_context(chunks))

    shop.act = act
    assert shop.client().get("/").text == "aada'"
    # Flask does not close a body that it has not begun. On Python 3.13 it ends with the next garbage collection.
    gc.collect()
    assert sorted(closed) == [1, 2]
    assert torn_down[0] is SessionConflict
    assert not flask.has_request_context()


def test_a_body_that_cannot_be_closed_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()

    class Broken(list[bytes]):
        def close(self) -> None:
            if len(shop.runs) == 1:
                raise LookupError

    shop.act = lambda: flask.Response(Broken([b"x"]))
    assert shop.client().get("/").text == "x"
    assert "could not close the body" in caplog.text


def test_what_a_refused_request_left_to_be_done_is_not_done() -> None:
    shop = Shop()
    done: list[str] = []

    def act() -> flask.Response:
        response = flask.Response(iter([b"x"]))
        response.call_on_close(lambda: done.append("mail sent"))
        return response

    shop.act = act
    reply = shop.client().post("/")
    reply.close()
    assert (reply.status_code, done) == (409, [])


def test_an_answer_knows_nothing_of_what_the_stale_run_kept() -> None:
    """Messages, Flask-Login's user and Flask-WTF's token are kept beside the session."""
    shop = Shop()
    with shop.manager.session(shop.token) as s:
        s["_flashes"] = [["message", "hello"]]

    def act() -> None:
        flask.g._login_user, flask.g.csrf_token = "ada", "signed"
        assert flask.get_flashed_messages() == ["hello"]

    shop.act = act

    @shop.app.errorhandler(SessionConflict)
    def handler(error: SessionConflict) -> tuple[list[str], int]:
        assert "_login_user" not in flask.g
        assert "csrf_token" not in flask.g
        return [str(message) for message in flask.get_flashed_messages()], 409

    # Shown once: with the answer, which is committed.
    assert shop.client().post("/").json == ["hello"]
    assert "_flashes" not in shop.held()


def test_without_an_answer_of_the_apps_the_messages_stay() -> None:
    shop = Shop()
    with shop.manager.session(shop.token) as s:
        s["_flashes"] = [["message", "hello"]]
    shop.act = flask.get_flashed_messages
    assert shop.client().post("/").status_code == 409
    assert shop.held()["_flashes"] == [["message", "hello"]]


# Between two runs


def test_the_second_run_knows_nothing_of_the_first() -> None:
    """Another request logs in as somebody else between the two."""
    shop = Shop()
    seen: list[tuple[str, str, bool]] = []
    left: list[object] = []

    @shop.app.before_request
    def load_user() -> None:
        # As Flask-Login does it: once a request.
        assert "user" not in flask.g
        assert "mark" not in flask.request.environ
        flask.request.environ["mark"] = True
        flask.g.user = session["user"]

    @shop.app.teardown_request
    def leave(_: BaseException | None) -> None:
        # What a stale run has put is not there any more.
        left.append(session.get("greeted"))
        with pytest.raises(SessionClosedError):
            session["late"] = 1

    def act() -> str:
        answer = flask.render_template_string(
            "{{ g.user|safe }} {{ session['user']|safe }} {{ get_flashed_messages() }}"
        )
        flask.flash(f"for {flask.g.user}")
        seen.append((flask.g.user, session.get_string("user"), "greeted" in session))
        return answer

    shop.act = act
    client = shop.client()
    assert client.get("/").text == "ada' ada' []"
    assert seen == [("ada", "ada", True), ("ada'", "ada'", True)]
    assert left == [None, "ada'"]
    assert shop.held()["_flashes"] == [["message", "for ada'"]]


def test_a_body_of_unknown_length_is_a_body() -> None:
    shop = Shop()
    reply = shop.client().get("/", headers={"Transfer-Encoding": "chunked"})
    assert (reply.status_code, shop.runs) == (409, [1])


def test_it_waits_at_random_before_each_run() -> None:
    shop = Shop(stale=99)
    assert shop.client().get("/").status_code == 409
    assert shop.runs == [1, 2, 3, 4]
    assert len(set(shop.pauses)) == 3
    assert all(0 <= pause <= 0.02 * 2 ** (i + 1) for i, pause in enumerate(shop.pauses))


def test_no_run_begins_after_five_seconds() -> None:
    now = [0.0]

    def sleep(_: float) -> None:
        now[0] += 2.5

    shop = Shop(stale=99, clock=lambda: now[0], sleep=sleep)
    assert shop.client().get("/").status_code == 409
    assert shop.runs == [1, 2, 3]


def test_an_outage_in_the_next_run_is_a_503() -> None:
    """Also if that run has to look for a session that may have ended."""
    shop = Shop(stale=0)

    def act() -> None:
        if session.attempt == 1:
            session.pop("user")
            with shop.manager.session(shop.token) as s:
                s.destroy()
            shop.store.failure = UnavailableError("no answer")

    # The first run, whose commit is the last call that is answered.
    class Failing(CountingStore):
        def replace(self, record: Record, data: bytes, expiry: Any) -> Record:
            self.failure = None
            try:
                return super().replace(record, data, expiry)
            finally:
                self.failure = UnavailableError("no answer")

    store = Failing(shop.store._store)
    shop.store = store
    shop.manager.store = store
    shop.act = act
    reply = shop.client().get("/")
    assert (reply.status_code, reply.data, shop.runs) == (503, OUTAGE, [1, 2])
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_that_ends_after_a_stale_run_is_not_begun_anew(method: str) -> None:
    """By the next run, or by the handler that answers the conflict."""

    def log_in(_: float = 0) -> None:
        with shop.manager.session(shop.token) as s:
            s.renew_token()
        new.append(s.token)

    def view() -> str:
        user = session.get("user")
        shop.runs.append(session.attempt)
        shop.overtake()
        session["greeted"] = user
        return ""

    def answer(_: Exception) -> str:
        log_in()
        session["refused"] = True
        return ""

    new: list[str | None] = []
    shop = Shop(sleep=log_in)
    shop.app.view_functions["view"] = view
    shop.app.register_error_handler(SessionConflict, answer)
    reply = shop.client().open("/", method=method)
    assert reply.status_code == 200
    assert "Set-Cookie" not in reply.headers
    with shop.manager.session(new[0]) as s:
        assert dict(s) == {"user": "ada'"}


@pytest.mark.parametrize("act", ["forbid", "save"])
def test_a_request_that_is_not_run_again_may_flash_while_another_does(act: str) -> None:
    """The return from a login at another site, or from a payment, is not refused for a message."""
    shop = Shop(stale=0)
    with shop.manager.session(shop.token) as s:
        s["_flashes"] = [["message", "old"]]

    def view() -> None:
        if act == "forbid":
            session.forbid_rerun()
        else:
            session.atomic(lambda s: s.increment("paid"))
        flask.flash("welcome")
        with shop.manager.session(shop.token) as s:
            assert s.pop("_flashes") == [["message", "old"]]

    shop.act = view
    assert shop.client().get("/").status_code == 200
    assert shop.held()["_flashes"] == [["message", "welcome"]]


# Sessions of other managers around the app


class TestAnotherManagersSession:
    @pytest.fixture
    def shop(self) -> Shop:
        shop = Shop()
        self.admins = SessionManager(MemoryStore(), cookie=Cookie(name="admin", secure=False))
        with self.admins.session(None) as s:
            s["n"] = 0
        self.admin_token = s.token or ""
        shop.app.wsgi_app = SessionMiddleware(shop.app.wsgi_app, self.admins, key="admin")  # type: ignore[method-assign]  # as Flask has it
        return shop

    def ask(self, shop: Shop, method: str) -> int:
        client = shop.client()
        client.set_cookie("admin", self.admin_token)
        return client.open("/", method=method).status_code

    def held(self) -> dict[str, Any]:
        with self.admins.session(self.admin_token) as s:
            return dict(s)

    def test_is_changed_once(self, shop: Shop) -> None:
        def act() -> None:
            get_session(flask.request.environ, "admin").increment("n")
            get_session(flask.request.environ, "admin")["run"] = session.attempt

        shop.act = act
        assert self.ask(shop, "GET") == 200
        assert shop.runs == [1, 2]
        assert self.held() == {"n": 1, "run": 2}

    def test_is_not_changed_by_a_refused_request(self, shop: Shop) -> None:
        shop.act = lambda: get_session(flask.request.environ, "admin").increment("n")
        assert self.ask(shop, "POST") == 409
        assert self.held() == {"n": 0}

    def test_is_destroyed_by_a_refused_request(self, shop: Shop) -> None:
        shop.act = lambda: get_session(flask.request.environ, "admin").destroy()
        assert self.ask(shop, "POST") == 409
        assert self.held() == {}

    def test_that_was_stored_already_forbids_another_run(self, shop: Shop) -> None:
        def act() -> None:
            get_session(flask.request.environ, "admin").increment("n")
            get_session(flask.request.environ, "admin").save()

        shop.act = act
        assert self.ask(shop, "GET") == 409
        assert (shop.runs, self.held()) == ([1], {"n": 1})

    def test_that_is_stale_itself_does_not_repeat_what_is_stored(self, shop: Shop) -> None:
        shop.stale = 0

        def act() -> None:
            admin = get_session(flask.request.environ, "admin")
            seen = admin["n"]
            with self.admins.session(self.admin_token) as s:
                s["n"] = 7
            admin["decided"] = seen

        shop.act = act
        assert self.ask(shop, "GET") == 409
        assert (shop.runs, self.held()) == ([1], {"n": 7})
        assert shop.held() == {"user": "ada", "greeted": "ada"}


@pytest.mark.parametrize("init", [True, False])
def test_an_app_within_the_app_has_runs_of_its_own(init: bool) -> None:
    """A view may answer with another WSGI app, which Flask calls at once, with the same environ."""
    shop, inner = Shop(), Shop(init=init)
    inner.manager.store = shop.manager.store
    inner.token = shop.token
    shop.act = lambda: inner.app.wsgi_app
    reply = shop.client().get("/")
    assert (reply.status_code, reply.text.startswith("hello ada")) == (200, True)
    assert shop.runs == [1, 2]
    assert inner.runs == ([1, 2, 1] if init else [1, 1])


def test_an_environ_that_is_dispatched_again_otherwise_has_no_runs() -> None:
    shop = Shop()
    environ = flask.testing.EnvironBuilder(shop.app, "/", headers={"Cookie": f"session={shop.token}"}).get_environ()

    def ask() -> str:
        started: list[str] = []
        list(shop.app(environ, lambda status, headers, exc_info=None: started.append(status)))  # type: ignore[arg-type]  # nothing is written
        return started[-1]

    assert ask() == "200 OK"
    shop.runs.clear()
    environ["REQUEST_METHOD"] = "POST"
    assert ask() == "409 CONFLICT"


# Logouts


@pytest.mark.parametrize("raises", [KeyboardInterrupt, ZeroDivisionError])
def test_a_logout_counts_whatever_ends_the_request(raises: type[BaseException]) -> None:
    shop = Shop(stale=0)
    shop.app.config["PROPAGATE_EXCEPTIONS"] = True

    def act() -> None:
        session.destroy()
        raise raises

    shop.act = act
    with pytest.raises(raises):
        shop.client().post("/")
    assert shop.held() == {}


def test_a_context_that_is_left_without_an_error_stores_nothing() -> None:
    shop = Shop()
    with shop.app.test_request_context(headers={"Cookie": f"session={shop.token}"}):
        session.destroy()
    assert shop.held() == {"user": "ada"}


# What the adapter looks at itself


LOOKS: dict[str, Callable[[FlaskSession], object]] = {
    "permanent": lambda s: s.permanent,
    "set permanent": lambda s: setattr(s, "permanent", True),
    "new": lambda s: s.new,
    "modified": lambda s: s.modified,
    "accessed": lambda s: s.accessed,
    "remembered": lambda s: s.remembered,
    "expiry": lambda s: s.expiry,
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
def test_no_look_of_the_adapters_makes_a_request_stale(look: str, on_conflict: str) -> None:
    shop = Shop(on_conflict=on_conflict)

    @shop.app.post("/look")
    def looking() -> str:
        LOOKS[look](session)
        with shop.manager.session(shop.token) as s:
            s.remember(False)
            s["user"] = "eve"
        session["seen"] = 1
        LOOKS[look](session)
        return ""

    assert shop.client().post("/look").status_code == 200
    assert shop.held()["seen"] == 1


@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
def test_permanent_before_each_request_makes_no_request_stale(on_conflict: str) -> None:
    shop = Shop(stale=0, on_conflict=on_conflict)

    @shop.app.before_request
    def permanent() -> None:
        flask.session.permanent = True

    @shop.app.post("/bump")
    def bump() -> str:
        session.increment("n")
        with shop.manager.session(shop.token) as s:
            s.remember(False)
            s.increment("n")
        return ""

    assert shop.client().post("/bump").status_code == 200
    assert shop.held()["n"] == 2


@pytest.mark.parametrize("held", [{"csrf_token": "t"}, {"csrf_token": "t", "color": "red"}, {"color": "red"}])
def test_to_ask_if_there_is_anything_is_a_read(held: dict[str, str]) -> None:
    """Also where one of Flask-Login's or Flask-WTF's keys is all that was seen for it."""
    shop = Shop()
    with shop.manager.session(shop.token) as s:
        s.clear()
        s.update(held)

    @shop.app.post("/ask")
    def ask() -> str:
        if session:
            with shop.manager.session(shop.token) as s:
                s.clear()
            session["seen"] = 1
        return ""

    assert shop.client().post("/ask").status_code == 409
    assert shop.held() == {}
