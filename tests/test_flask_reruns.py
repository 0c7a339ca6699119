"""Stale requests in Flask: run again where that is safe, otherwise refused; and logouts that count."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flask
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.orm import Session as Database

from dynamostore import MemoryStore, UnavailableError
from session import Cookie, OnConflict, SessionClosedError, SessionConflict, SessionManager
from session.web import _reruns
from session.web.flask import SessionInterface, session

from .counting import CountingStore

THREADS = 8


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reruns, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture
def counted() -> CountingStore:
    return CountingStore(MemoryStore())


@pytest.fixture
def manager(counted: CountingStore) -> SessionManager:
    return SessionManager(counted, cookie=Cookie(secure=False))


@pytest.fixture
def app(manager: SessionManager) -> flask.Flask:
    app = flask.Flask("shop")
    SessionInterface(manager).init_app(app)
    return app


@pytest.fixture
def token(manager: SessionManager) -> str:
    with manager.session(None) as s:
        s.update(user="ada", n=1)
    assert s.token is not None
    return s.token


def client_of(app: flask.Flask, token: str) -> FlaskClient:
    client = app.test_client()
    client.set_cookie("session", token)
    return client


class Meddler:
    """Another request that is faster, for a number of times: logs in as somebody else."""

    def __init__(self, manager: SessionManager, token: str, times: int) -> None:
        self.manager = manager
        self.token = token
        self.left = times

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            with self.manager.session(self.token) as s:
                s.put_string("user", f"eve{self.left}")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_stale_request_is_run_again(
    app: flask.Flask, manager: SessionManager, token: str, method: str, times: int
) -> None:
    meddle = Meddler(manager, token, times)
    torn_down: list[BaseException | None] = []
    attempts: list[int] = []

    @app.route("/", methods=[method], provide_automatic_options=False)
    def view() -> str:
        assert "user" not in flask.g
        flask.g.user = session["user"]
        attempts.append(session.attempt)
        meddle()
        session["seen"] = flask.g.user
        return str(flask.g.user)

    @app.teardown_request
    def note(error: BaseException | None) -> None:
        torn_down.append(error)

    reply = client_of(app, token).open("/", method=method)
    assert reply.status_code == 200
    assert reply.text == ("" if method == "HEAD" else "eve0")
    assert attempts == list(range(1, times + 2))
    assert [type(error) for error in torn_down] == [SessionConflict] * times + [type(None)]
    with manager.session(token) as s:
        assert s["seen"] == "eve0"


def refusing(app: flask.Flask, manager: SessionManager, token: str, times: int = 99) -> list[int]:
    """Add routes whose views are stale for so many times; return the list of their attempts."""
    meddle = Meddler(manager, token, times)
    attempts: list[int] = []

    @app.route("/", methods=["GET", "POST"])
    def view() -> str:
        attempts.append(session.attempt)
        if flask.request.args.get("forbid"):
            session.forbid_rerun()
        if flask.request.args.get("save"):
            session["saved"] = len(attempts)
            session.save()
        seen = session["user"]
        meddle()
        session["seen"] = seen
        return "done"

    return attempts


@pytest.mark.parametrize(
    ("method", "query", "data"),
    [("POST", "", None), ("GET", "", b"body"), ("GET", "?forbid=1", None), ("GET", "?save=1", None)],
)
def test_a_request_that_is_not_safe_to_run_again_is_refused(
    app: flask.Flask, manager: SessionManager, token: str, method: str, query: str, data: bytes | None
) -> None:
    attempts = refusing(app, manager, token)
    reply = client_of(app, token).open(f"/{query}", method=method, data=data)
    assert (reply.status_code, attempts) == (409, [1])
    assert "Set-Cookie" not in reply.headers or query == "?save=1"
    assert reply.headers["Cache-Control"] == "no-store"
    with manager.session(token) as s:
        assert "seen" not in s


def test_it_is_run_again_three_times_at_most(app: flask.Flask, manager: SessionManager, token: str) -> None:
    attempts = refusing(app, manager, token)
    assert client_of(app, token).get("/").status_code == 409
    assert attempts == [1, 2, 3, 4]


@pytest.mark.parametrize(("rerun", "runs"), [("never", 1), (lambda request: request.method == "POST", 2)])
def test_the_app_says_what_is_run_again(
    manager: SessionManager, token: str, rerun: Callable[[flask.Request], bool], runs: int
) -> None:
    app = flask.Flask("shop")
    SessionInterface(manager, rerun=rerun).init_app(app)
    attempts = refusing(app, manager, token, times=1)
    assert client_of(app, token).post("/").status_code == (200 if runs == 2 else 409)
    assert len(attempts) == runs
    with pytest.raises(ValueError, match='"safe", "never" or a function'):
        SessionInterface(manager, rerun="always")  # type: ignore[arg-type]  # that is the point


def test_the_apps_own_answer_keeps_what_it_flashes(app: flask.Flask, manager: SessionManager, token: str) -> None:
    refusing(app, manager, token)

    @app.errorhandler(SessionConflict)
    def conflict(error: SessionConflict) -> tuple[str, int]:
        assert "seen" not in session
        flask.flash("Please try again")
        return f"{session['user']}: {', '.join(error.keys)}", 409

    client = client_of(app, token)
    reply = client.post("/")
    assert (reply.status_code, reply.text) == (409, "eve98: user")
    with client.session_transaction() as s:
        assert s["_flashes"] == [["message", "Please try again"]]
        assert "seen" not in s


def test_a_conflict_that_the_view_raises_is_treated_alike(
    app: flask.Flask, manager: SessionManager, token: str
) -> None:
    meddle = Meddler(manager, token, 1)

    @app.route("/", methods=["GET", "POST"])
    def view() -> str:
        session["seen"] = [session["user"], meddle.left]
        meddle()
        session.save()
        return f"{session.attempt}"

    assert client_of(app, token).get("/").text == "2"
    meddle.left = 2
    assert client_of(app, token).post("/").status_code == 409


def test_the_answer_of_a_view_that_catches_the_conflict_stands(
    app: flask.Flask, manager: SessionManager, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    meddle = Meddler(manager, token, 1)

    @app.get("/")
    def view() -> tuple[str, int]:
        session["seen"] = session["user"]
        meddle()
        try:
            session.save()
        except SessionConflict as conflict:
            return f"{session.attempt}: {conflict.keys[0]}", 202
        return "stored", 200

    reply = client_of(app, token).get("/")
    assert (reply.status_code, reply.text) == (202, "1: user")
    assert "Set-Cookie" not in reply.headers
    assert "GET / answered with 202 by the app, and nothing was stored" in caplog.text
    with manager.session(token) as s:
        assert "seen" not in s


def test_what_a_response_does_when_it_is_closed_is_done_once(
    app: flask.Flask, manager: SessionManager, token: str
) -> None:
    meddle = Meddler(manager, token, 1)
    done: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            done.append("made")
            return iter([b"x"])

        def close(self) -> None:
            done.append("closed")

    @app.get("/")
    def view() -> flask.Response:
        session["seen"] = session["user"]
        meddle()
        response = flask.Response(Body())
        response.call_on_close(lambda: done.append("background work"))
        return response

    reply = client_of(app, token).get("/")
    assert reply.text == "x"
    reply.close()
    assert Counter(done) == {"closed": 2, "made": 1, "background work": 1}
    assert done[0] == "closed"


def test_each_message_is_shown_once(app: flask.Flask, token: str) -> None:
    """Two pages show messages, while a form flashes one."""
    meet = threading.Barrier(3)

    @app.post("/flash/<message>")
    def flash(message: str) -> str:
        flask.flash(message)
        meet.wait(timeout=10)
        return ""

    @app.get("/")
    def show() -> list[str]:
        messages = [str(message) for message in flask.get_flashed_messages()]
        if session.attempt == 1:
            # All three have read by now.
            meet.wait(timeout=10)
        return messages

    def get() -> list[str]:
        reply = client_of(app, token).get("/")
        assert reply.status_code == 200
        shown: list[str] = reply.get_json()
        return shown

    shown: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        for n in range(20):
            posted = pool.submit(client_of(app, token).post, f"/flash/m{n}")
            pages = [pool.submit(get) for _ in range(2)]
            assert posted.result().status_code == 200
            shown += [message for page in pages for message in page.result()]
    with client_of(app, token).session_transaction() as s:
        shown += [message for _, message in s.get("_flashes", [])]
    assert sorted(shown) == sorted(f"m{n}" for n in range(20))


def test_permanent_makes_no_request_stale(app: flask.Flask, manager: SessionManager, token: str) -> None:
    meddle = Meddler(manager, token, 1)

    @app.before_request
    def permanent() -> None:
        session.permanent = True
        assert not session.new

    @app.post("/")
    def view() -> str:
        meddle()
        with manager.session(token) as s:
            s.remember(False)
        session["seen"] = 1
        return ""

    assert client_of(app, token).post("/").status_code == 200


@pytest.mark.parametrize("read_more", [False, True])
def test_a_double_click_on_log_in_is_a_login(
    app: flask.Flask, manager: SessionManager, token: str, read_more: bool
) -> None:
    both = threading.Barrier(2)

    @app.post("/login")
    def login() -> str:
        # As Flask-WTF and Flask-Login do.
        assert session.get("csrf_token") is None
        assert not [
            key for key in ("_user_id", "_fresh", "_id", "_remember", "_remember_seconds", "next") if key in session
        ]
        if read_more:
            session.get("user")
        both.wait()
        session.renew_token()
        session["_user_id"] = "7"
        session["_fresh"] = True
        flask.flash("Welcome")
        return ""

    def click(_: int) -> tuple[int, str]:
        client = client_of(app, token)
        status = client.post("/login").status_code
        cookie = client.get_cookie("session")
        assert cookie is not None
        return status, cookie.value

    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(click, range(2)))
    if read_more:
        assert sorted(status for status, _ in replies) == [200, 409]
        return
    assert [status for status, _ in replies] == [200, 200]
    for _, own in replies:
        with manager.session(own) as s:
            assert (s["_user_id"], s["_flashes"]) == ("7", [["message", "Welcome"]])


def test_a_nonce_is_spent_once(app: flask.Flask, manager: SessionManager, token: str) -> None:
    with manager.session(token) as s:
        s["nonce"] = "x"

    @app.post("/pay")
    def pay() -> tuple[str, int]:
        return ("paid", 200) if session.atomic(lambda stored: stored.pop_string("nonce")) == "x" else ("no", 403)

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = list(pool.map(lambda _: client_of(app, token).post("/pay").status_code, range(THREADS)))
    assert Counter(statuses) == {200: 1, 403: THREADS - 1}


class Reset:
    """The usual password reset in three requests: who, the code that was mailed, the new password."""

    CODES: Mapping[str, str] = {"attacker": "123456", "victim": "999999"}

    def __init__(self, on_conflict: OnConflict) -> None:
        self.manager = SessionManager(MemoryStore(), on_conflict=on_conflict)
        self.app = flask.Flask("reset")
        SessionInterface(self.manager).init_app(self.app)
        self.passwords: dict[str, str] = {}
        self.pause: Callable[[], object] = lambda: None
        for rule in ("/begin/<user>", "/code/<code>", "/password"):
            self.app.add_url_rule(rule, view_func=getattr(self, rule.split("/")[1]), methods=["POST"])

    def begin(self, user: str) -> str:
        session["reset_user"], session["reset_ok"] = user, False
        self.pause()
        return ""

    def code(self, code: str) -> str:
        user = session.get_string("reset_user")
        self.pause()
        if self.CODES.get(user) == code:
            session["reset_ok"] = True
        return ""

    def password(self) -> str:
        if session.get_bool("reset_ok"):
            self.passwords[session.get_string("reset_user")] = "pwned"
        return ""

    def attack(self) -> bool:
        """Return True if the attacker has changed the victim's password, with two requests at once."""
        with self.manager.session(None) as s:
            s["x"] = "y"
        token = s.token or ""

        def post(path: str) -> int:
            return client_of(self.app, token).post(path).status_code

        self.pause = lambda: None
        post("/begin/attacker")
        # Both have read before either stores.
        self.pause = threading.Barrier(2).wait
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(post, ["/code/123456", "/begin/victim"]))
        post("/password")
        return "victim" in self.passwords


@pytest.mark.parametrize("on_conflict", ["merge", "serialize"])
def test_an_attacker_does_not_get_at_the_reset_of_another(on_conflict: OnConflict) -> None:
    assert not any(Reset(on_conflict).attack() for _ in range(30))


def test_without_the_check_of_reads_he_does() -> None:
    """So the test above can fail."""
    assert any(Reset("merge_unchecked").attack() for _ in range(100))


def test_reads_after_the_end_are_harmless(app: flask.Flask, counted: CountingStore, token: str) -> None:
    seen: list[object] = []

    @app.get("/page")
    def page() -> str:
        return "page"

    @app.get("/stream")
    def stream() -> flask.Response:
        def body() -> Iterator[str]:
            yield str(session.get("user"))
            with pytest.raises(SessionClosedError):
                session["late"] = 1

        return flask.Response(flask.stream_with_context(body()))

    @app.get("/boom")
    def boom() -> str:
        session["user"] = "eve"
        raise ZeroDivisionError

    @app.errorhandler(500)
    def sorry(_: Exception) -> tuple[str, int]:
        return f"Sorry, {session['user']}", 500

    @app.teardown_request
    def log(_: BaseException | None) -> None:
        seen.append(session.get("user"))

    client = client_of(app, token)
    assert client.get("/page").status_code == 200
    assert client.get("/stream").text == "ada"
    assert client.get("/boom").text == "Sorry, eve"
    # Some versions of Flask tear a request that streams down twice.
    assert set(seen) == {"ada"}
    assert len(seen) in (3, 4)
    counted.taken()
    client.get("/page")
    assert counted.taken() == ["find"]


@pytest.mark.parametrize("way", ["raises", "raises to a test", "answers 500"])
@pytest.mark.parametrize("outage", [False, True])
def test_a_logout_counts_though_its_page_fails(
    app: flask.Flask, manager: SessionManager, counted: CountingStore, token: str, way: str, outage: bool
) -> None:
    app.testing = way == "raises to a test"

    @app.post("/logout")
    def logout() -> tuple[str, int]:
        session.destroy()
        if outage:
            counted.failure = UnavailableError("no answer", operation="DeleteItem")
        if way != "answers 500":
            raise ZeroDivisionError("the goodbye template")
        return "oops", 500

    client = client_of(app, token)
    if app.testing:
        with pytest.raises(ZeroDivisionError):
            client.post("/logout")
    else:
        reply = client.post("/logout")
        assert reply.status_code == (503 if outage else 500)
        assert reply.headers.get("Set-Cookie", "").startswith("session=; ") is not outage
    counted.failure = None
    with manager.session(token) as s:
        assert s.get_string("user") == ("ada" if outage else "")


def test_a_session_that_has_ended_gets_no_new_cookie(app: flask.Flask, manager: SessionManager, token: str) -> None:
    @app.route("/", methods=["GET", "POST"])
    def view() -> str:
        taken = session.pop("user", None)
        if session.attempt == 1:
            with manager.session(token) as s:
                s.destroy()
        session["mine"] = 1
        return f"{taken} {session.status.value}"

    reply = client_of(app, token).get("/")
    assert (reply.status_code, reply.text) == (200, "None destroyed")
    assert "Set-Cookie" not in reply.headers


def test_a_transaction_of_the_apps_is_rolled_back(
    app: flask.Flask, manager: SessionManager, token: str, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    orders = sa.Table("orders", sa.MetaData(), sa.Column("item", sa.String))
    orders.metadata.create_all(engine)
    with manager.session(token) as s:
        s["cart"] = ["apple"]
    faster = iter([True, False])

    @app.post("/order")
    def order() -> tuple[str, int]:
        cart = session.pop("cart", None)
        if next(faster):
            # The other click of a double click, from its beginning to its end.
            assert client_of(app, token).post("/order").status_code == 200
        with Database(engine) as database, database.begin():
            database.execute(orders.insert().values(item=str(cart)))
            # The last line of the transaction: it raises here, and the order is rolled back.
            session.save()
        return "ordered", 200

    assert client_of(app, token).post("/order").status_code == 409
    with engine.connect() as connection:
        assert connection.execute(sa.select(orders)).all() == [("['apple']",)]
    engine.dispose()


def test_one_order_is_placed_by_two_clicks_at_once(
    app: flask.Flask, manager: SessionManager, token: str, tmp_path: Path
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    orders = sa.Table("orders", sa.MetaData(), sa.Column("item", sa.String))
    orders.metadata.create_all(engine)
    both_have_read = threading.Barrier(2)

    @app.post("/order")
    def order() -> tuple[str, int]:
        cart = session.pop("cart", None)
        both_have_read.wait(timeout=10)
        with Database(engine) as database, database.begin():
            database.execute(orders.insert().values(item=str(cart)))
            session.save()
        return "ordered", 200

    for _ in range(10):
        with manager.session(token) as s:
            s["cart"] = ["apple"]
        with engine.begin() as connection:
            connection.execute(orders.delete())
        with ThreadPoolExecutor(2) as pool:
            statuses = list(pool.map(lambda _: client_of(app, token).post("/order").status_code, range(2)))
        assert sorted(statuses) == [200, 409]
        with engine.connect() as connection:
            assert connection.execute(sa.select(orders)).all() == [("['apple']",)]
    engine.dispose()


@pytest.mark.parametrize("renewed", [False, True])
def test_a_login_as_somebody_else_between_two_runs(
    app: flask.Flask, manager: SessionManager, token: str, renewed: bool
) -> None:
    """The second run is the new user's; or nobody's, if the login renewed the token, and it begins no session."""
    with manager.session(token) as s:
        s["nonce"] = "x"

    @app.before_request
    def load_user() -> None:
        assert "user" not in flask.g
        flask.g.user = session.get_string("user")

    @app.get("/")
    def view() -> str:
        nonce = session.pop("nonce", "spent")
        if session.attempt == 1:
            with manager.session(token) as s:
                s.update(user="eve", nonce="y")
                if renewed:
                    s.renew_token()
        session["done_by"] = flask.g.user
        flask.flash(f"done by {flask.g.user}")
        return f"{flask.g.user} {nonce} {flask.get_flashed_messages()}"

    client = client_of(app, token)
    reply = client.get("/")
    assert reply.text == (" spent ['done by ']" if renewed else "eve y ['done by eve']")
    assert "Set-Cookie" not in reply.headers
    if not renewed:
        with manager.session(token) as s:
            assert dict(s) == {"user": "eve", "done_by": "eve", "n": 1}


def test_an_environ_that_is_dispatched_twice_begins_anew(app: flask.Flask, token: str) -> None:
    @app.get("/")
    def view() -> str:
        session.increment("n")
        return str(session.get_int("n"))

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": f"session={token}", "SERVER_NAME": "x"}
    environ |= {"SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    bodies = [b"".join(app(environ, lambda *_: lambda _: None)) for _ in range(2)]
    assert bodies == [b"2", b"3"]
