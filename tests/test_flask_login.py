"""Flask-Login on these sessions: logging in and out, "remember me", fresh logins, and the protection of a session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import flask
import flask_login
import pytest
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import MemoryStore, UnavailableError
from session import Cookie, JSONValue, SessionManager
from session.web._exchange import OUTAGE
from session.web.flask import SessionInterface, session

from .counting import CountingStore

REMEMBER = "remember_token"


class User(UserMixin):
    def __init__(self, id: str) -> None:
        self.id = id


class Site:
    """An app with Flask-Login, where ``/who`` says who is logged in, and ``/act`` does what a test wants."""

    def __init__(self, protection: str | None = "basic", cookie: Cookie | None = None, *, init: bool = True) -> None:
        self.memory = MemoryStore()
        self.store = CountingStore(self.memory)
        self.manager = SessionManager(self.store, cookie=cookie)
        self.app = app = flask.Flask("site")
        app.secret_key = "for the remember-me cookie"
        if init:
            SessionInterface(self.manager).init_app(app)
        else:
            app.session_interface = SessionInterface(self.manager)
        self.logins = LoginManager(app)
        self.logins.session_protection = protection
        self.logins.user_loader(User)
        self.act: Callable[[], object] = lambda: None

        @app.get("/who")
        def who() -> dict[str, object]:
            named = current_user.id if current_user.is_authenticated else None
            return {"user": named, "fresh": flask_login.login_fresh()}

        @app.get("/members")
        @flask_login.login_required
        def members() -> str:
            return current_user.id

        @app.get("/password")
        @flask_login.fresh_login_required
        def password() -> str:
            return current_user.id

        @app.post("/login")
        def login() -> str:
            session.renew_token()
            login_user(User("ada"), remember="remember" in flask.request.form)
            return "in"

        @app.post("/confirm")
        def confirm() -> str:
            flask_login.confirm_login()
            return "confirmed"

        @app.route("/act", methods=["GET", "POST"])
        def acting() -> str:
            answer = self.act()
            return answer if isinstance(answer, str) else ""

        @app.get("/ignore")
        def ignore() -> str:
            return "nothing of it"

    def member(self, *, remember: bool = False) -> FlaskClient:
        """A client that has logged in."""
        client = self.app.test_client()
        client.post("/login", data={"remember": "yes"} if remember else {})
        assert who(client) == "ada"
        return client

    def held(self, client: FlaskClient) -> dict[str, object]:
        """What is stored for a client."""
        cookie = client.get_cookie("session")
        with self.manager.session(cookie.value if cookie else None) as s:
            return dict(s)


def who(client: FlaskClient, **headers: str) -> object:
    reply = client.get("/who", headers=headers).json
    assert reply is not None
    return reply["user"]


def fresh(client: FlaskClient, **headers: str) -> object:
    reply = client.get("/who", headers=headers).json
    assert reply is not None
    return reply["fresh"]


def restarted(client: FlaskClient) -> FlaskClient:
    """The client after its browser was closed, which had a session cookie."""
    client.delete_cookie("session")
    return client


# Logging in


def test_a_login_keeps_the_data_and_changes_the_token() -> None:
    site = Site()
    client = site.app.test_client()
    with client.session_transaction() as s:
        s["cart"] = ["apple"]
    before = client.get_cookie("session")
    client.post("/login")
    after = client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert who(client) == "ada"
    assert fresh(client) is True
    assert site.held(client)["cart"] == ["apple"]
    planted = site.app.test_client()
    planted.set_cookie("session", before.value)
    assert who(planted) is None


GUESTS: dict[str, dict[str, JSONValue]] = {
    "has no session": {},
    "has a form's token": {"csrf_token": "t"},
    "has a cart": {"cart": ["apple"]},
}


@pytest.mark.parametrize("guest", GUESTS)
@pytest.mark.parametrize("protection", ["basic", None])
def test_a_double_click_on_log_in_is_a_login(guest: str, protection: str | None) -> None:
    """Of a guest who has seen a page before, where Flask-Login has left its mark."""
    site = Site(protection)
    client = site.app.test_client()
    with client.session_transaction() as s:
        s.update(GUESTS[guest])
    assert who(client) is None
    token = client.get_cookie("session")
    both = threading.Barrier(2)

    def act() -> None:
        assert not current_user.is_authenticated
        both.wait(timeout=10)
        session.renew_token()
        login_user(User("ada"))

    site.act = act

    def click(_: int) -> tuple[int, object]:
        tab = site.app.test_client()
        if token is not None:
            tab.set_cookie("session", token.value)
        return tab.post("/act").status_code, who(tab)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(click, range(2))) == [(200, "ada")] * 2


def test_who_is_not_logged_in_is_refused() -> None:
    site = Site()
    assert site.app.test_client().get("/members").status_code == 401
    assert site.member().get("/members").text == "ada"


def test_the_login_view_is_told_where_to_go_next() -> None:
    site = Site()
    site.logins.login_view = "/login"
    site.app.config["USE_SESSION_FOR_NEXT"] = True
    client = site.app.test_client()
    assert client.get("/members").location == "/login"
    held = site.held(client)
    assert held["next"] == "/members"
    assert held["_flashes"] == [["message", "Please log in to access this page."]]


def test_a_request_that_is_not_for_the_session_reads_it_all_the_same() -> None:
    """Flask-Login looks after each request if there is a cookie to be set: so says the documentation."""
    site = Site()
    client = site.member()
    site.store.taken()
    client.get("/ignore")
    assert site.store.taken() == ["find"]


@pytest.mark.parametrize("duration", [None, timedelta(days=3)])
def test_a_remembered_user_is_back_when_the_browser_was_closed(duration: timedelta | None) -> None:
    site = Site()
    site.act = lambda: login_user(User("ada"), remember=True, duration=duration)
    client = site.app.test_client()
    client.post("/act")
    assert client.get_cookie(REMEMBER) is not None
    assert "_remember" not in site.held(client)
    assert who(client) == "ada"
    restarted(client)
    assert who(client) == "ada"
    assert fresh(client) is False
    assert client.get("/members").text == "ada"
    assert client.get("/password").status_code == 401
    client.post("/confirm")
    assert fresh(client) is True
    assert client.get("/password").text == "ada"


def test_a_remembered_login_is_given_a_token_of_its_own() -> None:
    """As the documentation has it: Flask-Login itself logs in whoever has the token, too."""
    site = Site()

    @flask_login.user_loaded_from_cookie.connect_via(site.app)
    def remembered(app: flask.Flask, user: User) -> None:
        session.renew_token()

    client = restarted(site.member(remember=True))
    with client.session_transaction() as s:
        s["cart"] = ["apple"]
    planted = client.get_cookie("session")
    assert planted is not None
    assert who(client) == "ada"
    assert site.held(client)["cart"] == ["apple"]
    thief = site.app.test_client()
    thief.set_cookie("session", planted.value)
    assert who(thief) is None


def test_their_own_test_client_logs_in() -> None:
    site = Site(None)
    site.app.test_client_class = flask_login.FlaskLoginClient
    client = site.app.test_client(user=User("ada"))
    assert client.get("/password").text == "ada"
    stale = site.app.test_client(user=User("ada"), fresh_login=False)
    assert stale.get("/members").text == "ada"
    assert stale.get("/password").status_code == 401


# Logging out ends both: our session with all copies of its cookie, and the "remember me" cookie.


def flashes() -> None:
    flask.flash("Goodbye")


def looks() -> None:
    # As a page that names the user.
    str(current_user.is_authenticated)


LOGOUTS: dict[str, Sequence[Callable[[], object]]] = {
    "logout_user, destroy": [logout_user, lambda: session.destroy()],  # noqa: PLW0108 (there is no session yet)
    "destroy, logout_user": [lambda: session.destroy(), logout_user],  # noqa: PLW0108 (as above)
    "logout_user, destroy, save": [logout_user, lambda: session.destroy(), lambda: session.save()],  # noqa: PLW0108
    "destroy, save, logout_user": [lambda: session.destroy(), lambda: session.save(), logout_user],  # noqa: PLW0108
    "logout_user, save, destroy": [logout_user, lambda: session.save(), lambda: session.destroy()],  # noqa: PLW0108
    "twice": [logout_user, lambda: session.destroy(), lambda: session.destroy(), logout_user],  # noqa: PLW0108
}


@pytest.mark.parametrize("look", [True, False])
@pytest.mark.parametrize("remember", [True, False])
@pytest.mark.parametrize("order", LOGOUTS)
def test_a_logout_in_any_order_ends_both(order: str, remember: bool, look: bool) -> None:
    site = Site()
    client = site.member(remember=remember)
    copied = client.get_cookie("session")
    assert copied is not None

    def act() -> None:
        steps = LOGOUTS[order]
        for step in [looks, *steps, looks] if look else steps:
            step()
        assert not current_user.is_authenticated
        assert "_user_id" not in session

    site.act = act
    assert client.post("/act").status_code == 200
    assert client.get_cookie("session") is None
    assert client.get_cookie(REMEMBER) is None
    assert list(site.memory._records) == []
    assert who(client) is None
    thief = site.app.test_client()
    thief.set_cookie("session", copied.value)
    assert who(thief) is None


STEPS: dict[str, Callable[[], object]] = {
    "logout_user": logout_user,
    "destroy": lambda: session.destroy(),  # noqa: PLW0108 (there is no session yet)
    "save": lambda: session.save(),  # noqa: PLW0108 (as above)
    "flash": flashes,
    "look": looks,
    "put": lambda: session.update(color="red"),
}


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=6), remember=st.booleans())
def test_whatever_a_logout_does_beside(steps: list[str], remember: bool) -> None:
    """Nobody is logged in after it, whatever is flashed or stored on the way."""
    site = Site()
    client = site.member(remember=remember)
    if not {"logout_user", "destroy"} <= set(steps):
        steps = ["logout_user", *steps, "destroy"]
    site.act = lambda: [STEPS[step]() for step in steps]
    assert client.post("/act").status_code == 200
    assert client.get_cookie(REMEMBER) is None
    assert who(client) is None
    assert "_remember" not in site.held(client)
    # What was put after the end is kept, as in a session of its own.
    since = steps[len(steps) - steps[::-1].index("destroy") :]
    assert ("_flashes" in site.held(client)) is ("flash" in since)
    assert (site.held(client).get("color") == "red") is ("put" in since)


@pytest.mark.parametrize("order", ["logout_user, destroy", "destroy, logout_user"])
@pytest.mark.parametrize("fails", [True, False])
def test_a_page_that_fails_after_the_logout_undoes_nothing(order: str, fails: bool) -> None:
    site = Site()
    client = site.member(remember=True)

    def act() -> None:
        for step in LOGOUTS[order]:
            step()
        if fails:
            raise ZeroDivisionError("in the template")
        flask.abort(500)

    site.act = act
    assert client.post("/act").status_code == 500
    assert client.get_cookie(REMEMBER) is None
    assert client.get_cookie("session") is None
    assert who(client) is None


def test_destroy_alone_leaves_the_user_remembered() -> None:
    """Flask-Login's cookie is its own: its `logout_user` takes it away."""
    site = Site()
    client = site.member(remember=True)
    site.act = lambda: session.destroy()  # noqa: PLW0108 (there is no session yet)
    client.post("/act")
    assert client.get_cookie("session") is None
    assert who(client) == "ada"
    assert fresh(client) is False


@pytest.mark.parametrize("order", ["logout_user, destroy", "destroy, logout_user"])
def test_a_logout_whose_delete_fails_is_a_503_and_logs_nobody_out(order: str) -> None:
    site = Site()
    client = site.member(remember=True)

    def act() -> None:
        for step in LOGOUTS[order]:
            step()
        site.store.failure = UnavailableError("no answer", operation="DeleteItem")

    site.act = act
    reply = client.post("/act")
    assert (reply.status_code, reply.data) == (503, OUTAGE)
    site.store.failure = None
    assert who(client) == "ada"


# The protection of a session


def test_basic_protection_makes_a_login_of_elsewhere_stale() -> None:
    site = Site("basic")
    client = site.member()
    assert who(client, **{"User-Agent": "another"}) == "ada"
    assert fresh(client) is False


@pytest.mark.parametrize("change", [{"User-Agent": "another"}, {"X-Forwarded-For": "192.0.2.7"}])
@pytest.mark.parametrize("persist", [True, False])
def test_strong_protection_ends_the_login(change: dict[str, str], persist: bool) -> None:
    """Also if the cookie outlives the browser by the manager's settings, which say nothing about this session."""
    site = Site("strong", Cookie(persist=persist))
    client = site.member(remember=True)
    with client.session_transaction() as s:
        s["cart"] = ["apple"]
    assert who(client, **change) is None
    assert client.get_cookie(REMEMBER) is None
    assert who(client) is None
    assert site.held(client) == {"cart": ["apple"]}


@pytest.mark.parametrize("said", ["remember", "permanent"])
def test_strong_protection_of_a_permanent_session_is_basic(said: str) -> None:
    """As Flask-Login has it: ``session.permanent`` says that the app wants it so."""
    site = Site("strong")
    client = site.app.test_client()

    def act() -> None:
        login_user(User("ada"))
        if said == "remember":
            session.remember()
        else:
            session.permanent = True

    site.act = act
    client.post("/act")
    assert who(client, **{"User-Agent": "another"}) == "ada"
    assert fresh(client) is False


def test_a_session_that_is_ended_as_flask_login_ends_the_login() -> None:
    site = Site("strong")

    @flask_login.session_protected.connect_via(site.app)
    def end(app: flask.Flask, **_: object) -> None:
        session.destroy()

    client = site.member(remember=True)
    assert who(client, **{"User-Agent": "another"}) is None
    assert client.get_cookie(REMEMBER) is None
    assert client.get_cookie("session") is None
    assert list(site.memory._records) == []


@pytest.mark.parametrize("protection", ["basic", "strong"])
def test_a_guest_is_not_logged_out_of_anything(protection: str) -> None:
    site = Site(protection)
    client = site.app.test_client()
    with client.session_transaction() as s:
        s["cart"] = ["apple"]
    for _ in range(2):
        assert who(client) is None
        assert site.held(client)["cart"] == ["apple"]


# Outages


@pytest.mark.parametrize("path", ["/ignore", "/who", "/members"])
def test_an_outage_is_a_503_on_every_page(path: str) -> None:
    """Flask-Login looks at the session after each request, and so also after the answer to an outage."""
    site = Site()
    client = site.member(remember=True)
    site.store.failure = UnavailableError("no answer", operation="GetItem")
    reply = client.get(path)
    assert (reply.status_code, reply.data) == (503, OUTAGE)
    assert "Set-Cookie" not in reply.headers
    site.store.failure = None
    assert who(client) == "ada"


# Tests of the app


def test_the_user_can_be_looked_at_after_the_response() -> None:
    site = Site()
    client = site.member(remember=True)
    restarted(client)
    with client:
        client.get("/ignore")
        # Logs in from the cookie, which changes the session; but its request is over.
        assert current_user.id == "ada"
        assert session.get("_user_id") == "ada"
    assert site.held(client) == {}
