"""Flask's sessions kept by a `SessionManager`: what an app, a template, a test and an extension expect of ``flask.session``."""

from __future__ import annotations

import copy
import logging
import re
import secrets
import socket
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from importlib import metadata
from typing import TYPE_CHECKING, Any, assert_type
from wsgiref.types import WSGIApplication

import flask
import httpx
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from werkzeug.debug import DebuggedApplication
from werkzeug.routing import BaseConverter
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from dynamostore import (
    AccessDeniedError,
    AsyncDynamoStore,
    DynamoStore,
    ItemTooLargeError,
    MemoryStore,
    Record,
    StoreError,
    TableNotFoundError,
    UnavailableError,
)
from dynamostore.testing import FakeClock
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
from session import (
    AsyncSessionManager,
    Cookie,
    JSONValue,
    SessionClosedError,
    SessionConflict,
    SessionManager,
    SessionTypeError,
)
from session.web._exchange import OUTAGE
from session.web.flask import FlaskSession, SessionInterface, session
from session.web.flask._context import current_session
from session.web.wsgi import SessionMiddleware, get_session

from .backends import Backends
from .counting import CountingStore
from .fakes import StoredSession
from .serving import EXAMPLES, environment, on_waitress, serving

HOUR = timedelta(hours=1)
FLASK = tuple(int(part) for part in metadata.version("flask").split(".")[:3] if part.isdecimal())


class Outage:
    """A store that can be reached but for the verbs in *down*: those are asked of a port where nobody listens."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.down: set[str] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        keys = Credentials("key", "secret")
        client = WireClient("us-east-1", f"http://127.0.0.1:{port}", credentials=keys, attempts=1, connect_timeout=1)
        self._nobody = DynamoStore(client)

    def find(self, token: str) -> Record | None:
        return self._for("find").find(token)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        return self._for("save").save(token, data, expiry)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        return self._for("create").create(token, data, expiry)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        return self._for("replace").replace(record, data, expiry)

    def touch(self, record: Record, expiry: datetime) -> Record:
        return self._for("touch").touch(record, expiry)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        return self._for("rename").rename(record, token, data, expiry, grace=grace)

    def remove(self, record: Record) -> None:
        self._for("remove").remove(record)

    def delete(self, token: str) -> None:
        self._for("delete").delete(token)

    def ping(self) -> None:
        self._for("ping").ping()

    def _for(self, verb: str) -> DynamoStore | MemoryStore:
        return self._nobody if verb in self.down else self._store


def make_app(manager: SessionManager, *, commit_errors: bool = False, init: bool = True) -> flask.Flask:
    """An app as in production: what its views raise is answered, not raised to the test."""
    app = flask.Flask(__name__, static_folder=str(EXAMPLES), static_url_path="/static")
    interface = SessionInterface(manager, commit_errors=commit_errors)
    if init:
        interface.init_app(app)
    else:
        app.session_interface = interface

    @app.get("/")
    def ignore() -> str:
        return "nothing of it"

    @app.get("/get/<key>")
    def get(key: str) -> dict[str, Any]:
        return {"value": flask.session.get(key)}

    @app.get("/put/<key>/<value>")
    def put(key: str, value: str) -> str:
        flask.session[key] = value
        return "put"

    @app.get("/login")
    def login() -> str:
        session.renew_token()
        session.put_int("user_id", 7)
        return "in"

    @app.get("/logout")
    def logout() -> str:
        session.destroy()
        return "out"

    @app.get("/all")
    def everything() -> dict[str, JSONValue]:
        return dict(session)

    return app


@pytest.fixture
def app(manager: SessionManager) -> flask.Flask:
    return make_app(manager)


@pytest.fixture
def client(app: flask.Flask) -> FlaskClient:
    return app.test_client()


def cookie_of(client: FlaskClient) -> str | None:
    cookie = client.get_cookie("session")
    return None if cookie is None else cookie.value


def known(app: flask.Flask, stored: StoredSession) -> FlaskClient:
    """A client that has a session."""
    client = app.test_client()
    client.set_cookie("session", stored.token)
    return client


def inside(app: flask.Flask, view: Callable[[], Any]) -> None:
    """Serve *view* under /view; one that returns nothing answers with nothing."""

    def viewed() -> Any:
        result = view()
        return "" if result is None else result

    app.add_url_rule("/view", "view", viewed)


def changing() -> Iterator[str]:
    """A stream that changes the session."""
    try:
        flask.session["color"] = "red"
    except SessionClosedError as error:
        yield str(error)


@contextmanager
def on_the_development_server(app: WSGIApplication) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestWhatFlasksSessionsDo:
    def test_what_was_put_is_there_in_the_next_request(self, client: FlaskClient) -> None:
        assert client.get("/get/color").json == {"value": None}
        assert client.get("/put/color/red").text == "put"
        assert client.get("/get/color").json == {"value": "red"}

    def test_another_client_has_a_session_of_its_own(self, app: flask.Flask, client: FlaskClient) -> None:
        client.get("/put/color/red")
        assert app.test_client().get("/get/color").json == {"value": None}

    def test_no_secret_key_is_needed(self, app: flask.Flask, client: FlaskClient) -> None:
        assert app.secret_key is None
        client.get("/put/color/red")
        with app.test_request_context():
            flask.flash("no key needed for that either")

    def test_a_request_that_does_not_use_it_leaves_no_trace(self, app: flask.Flask, stored: StoredSession) -> None:
        with known(app, stored) as client:
            reply = client.get("/")
            used = current_session()
            assert isinstance(used, FlaskSession)
            assert not used.accessed
            assert not used.modified
        assert "Vary" not in reply.headers
        assert "Set-Cookie" not in reply.headers

    def test_a_read_is_accessed_and_not_modified(self, app: flask.Flask, stored: StoredSession) -> None:
        with known(app, stored) as client:
            reply = client.get("/get/k")
            used = current_session()
            assert isinstance(used, FlaskSession)
            assert used.accessed
            assert not used.modified
        assert reply.headers["Vary"] == "Cookie"
        assert "Set-Cookie" not in reply.headers

    def test_a_change_is_accessed_and_modified(self, client: FlaskClient) -> None:
        with client:
            reply = client.get("/put/color/red")
            assert flask.session.accessed
            assert flask.session.modified
        assert reply.headers["Vary"] == "Cookie"
        assert reply.headers["Set-Cookie"].startswith("session=")

    def test_setting_modified_forces_nothing(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        def view() -> None:
            flask.session.modified = True
            assert not flask.session.modified

        inside(app, view)
        known(app, stored).get("/view")
        assert counted.taken() == []

    def test_modified_false_does_not_lose_a_change(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> None:
            flask.session["color"] = "red"
            flask.session.modified = False

        inside(app, view)
        client.get("/view")
        assert client.get("/get/color").json == {"value": "red"}

    def test_a_change_within_a_list_is_noticed(self, app: flask.Flask, stored: StoredSession) -> None:
        def view() -> None:
            flask.session["cart"].append("pear")
            assert flask.session.modified

        inside(app, view)
        client = known(app, stored)
        client.get("/view")
        assert client.get("/get/cart").json == {"value": ["apple", "pear"]}

    def test_what_was_changed_back_is_not_modified(self, app: flask.Flask, stored: StoredSession) -> None:
        def view() -> None:
            flask.session["k"] = "other"
            assert flask.session.modified
            flask.session["k"] = "before"
            assert not flask.session.modified

        inside(app, view)
        assert "Set-Cookie" not in known(app, stored).get("/view").headers

    def test_destroyed_is_modified(self, app: flask.Flask, stored: StoredSession) -> None:
        with known(app, stored) as client:
            client.get("/logout")
            assert flask.session.modified

    def test_new_until_something_is_stored(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: {"new": flask.session.new})
        assert client.get("/view").json == {"new": True}
        client.get("/put/color/red")
        assert client.get("/view").json == {"new": False}
        client.get("/logout")
        assert client.get("/view").json == {"new": True}
        client.set_cookie("session", secrets.token_urlsafe(32))
        assert client.get("/view").json == {"new": True}

    def test_stored_after_the_after_request_functions(self, app: flask.Flask, client: FlaskClient) -> None:
        @app.after_request
        def bump(response: flask.Response) -> flask.Response:
            session.increment("requests")
            return response

        assert client.get("/get/requests").json == {"value": None}
        assert client.get("/get/requests").json == {"value": 1}

    def test_open_before_the_url_is_matched(self, app: flask.Flask, client: FlaskClient) -> None:
        class Mine(BaseConverter):
            def to_python(self, value: str) -> str:
                return f"{value} of {session.get_string('user')}"

        app.url_map.converters["mine"] = Mine
        app.add_url_rule("/list/<mine:name>", "list", lambda name: name)
        client.get("/put/user/ada")
        assert client.get("/list/books").text == "books of ada"

    def test_an_emptied_session_is_empty_and_stays(self, app: flask.Flask, stored: StoredSession) -> None:
        inside(app, lambda: session.clear())  # noqa: PLW0108 (there is no session yet)
        client = known(app, stored)
        assert "Set-Cookie" not in client.get("/view").headers
        assert client.get("/all").json == {}
        assert cookie_of(client) == stored.token

    def test_destroy_takes_the_cookie_away(self, client: FlaskClient) -> None:
        client.get("/put/color/red")
        token = cookie_of(client)
        reply = client.get("/logout")
        assert reply.headers["Set-Cookie"].startswith("session=; Path=/; Expires=Thu, 01 Jan 1970")
        assert cookie_of(client) is None
        client.set_cookie("session", token or "")
        assert client.get("/get/color").json == {"value": None}

    def test_a_login_changes_the_token_and_keeps_the_data(self, client: FlaskClient) -> None:
        client.get("/put/color/red")
        before = cookie_of(client)
        client.get("/login")
        assert cookie_of(client) != before
        assert client.get("/all").json == {"color": "red", "user_id": 7}

    def test_tuples_become_lists_and_strings_plain(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> None:
            flask.session.update(t=(1, (2, 3)), m=Markup("<b>"), d={"t": ()})

        inside(app, view)
        client.get("/view")
        assert client.get("/all").json == {"t": [1, [2, 3]], "m": "<b>", "d": {"t": []}}

    @pytest.mark.parametrize(
        "value", [b"\xff", datetime.now(UTC), uuid.uuid4(), {1}, object()], ids=lambda value: type(value).__name__
    )
    def test_what_json_cannot_say_is_refused_where_it_is_put(self, app: flask.Flask, value: Any) -> None:
        with app.test_request_context():
            with pytest.raises(SessionTypeError, match="'k'"):
                flask.session["k"] = value
            assert "k" not in flask.session

    def test_typed_values_come_back(self, app: flask.Flask, client: FlaskClient) -> None:
        now = datetime(2030, 1, 2, 3, 4, 5, 678, UTC)

        def view() -> None:
            session.put_time("at", now)
            session.put_bytes("raw", b"\xff")

        inside(app, view)
        client.get("/view")
        with client.session_transaction() as s:
            assert isinstance(s, FlaskSession)
            assert s.get_time("at") == now
            assert s.get_bytes("raw") == b"\xff"

    def test_the_apps_cookie_settings_are_not_used_and_the_managers_are(self, counted: CountingStore) -> None:
        cookie = Cookie(name="id", path="/shop", domain="example.org", same_site="Strict", partitioned=True)
        app = make_app(SessionManager(counted, cookie=cookie))
        app.config.update(
            SESSION_COOKIE_NAME="other",
            SESSION_COOKIE_PATH="/other",
            SESSION_COOKIE_DOMAIN="other.example",
            SESSION_COOKIE_SECURE=False,
            SESSION_COOKIE_HTTPONLY=False,
            SESSION_COOKIE_SAMESITE="Lax",
            PERMANENT_SESSION_LIFETIME=timedelta(seconds=1),
            APPLICATION_ROOT="/elsewhere",
        )
        with pytest.warns(UserWarning, match="does not use PERMANENT_SESSION_LIFETIME"):
            said = app.test_client().get("/put/color/red").headers["Set-Cookie"]
        assert said.startswith("id=")
        assert "; Path=/shop; Domain=example.org; Expires=" in said
        assert "Max-Age=86400; Secure; HttpOnly; SameSite=Strict; Partitioned" in said
        interface = app.session_interface
        assert interface.get_cookie_name(app) == "id"
        assert interface.get_cookie_path(app) == "/shop"
        assert interface.get_cookie_domain(app) == "example.org"
        assert interface.get_cookie_secure(app) is True
        assert interface.get_cookie_httponly(app) is True
        assert interface.get_cookie_samesite(app) == "Strict"
        assert interface.get_cookie_partitioned(app) is True

    def test_a_second_manager_goes_around_the_app(
        self, app: flask.Flask, counted: CountingStore, clock: FakeClock
    ) -> None:
        admins = SessionManager(counted, clock=clock, cookie=Cookie(name="admin"))

        def view() -> dict[str, JSONValue]:
            get_session(flask.request.environ, "admin")["who"] = "root"
            return dict(session)

        inside(app, view)
        app.wsgi_app = SessionMiddleware(app.wsgi_app, admins, key="admin")  # type: ignore[method-assign]  # as Flask has it
        client = app.test_client()
        client.get("/put/color/red")
        assert client.get("/view").json == {"color": "red"}
        admin = client.get_cookie("admin")
        assert admin is not None
        with admins.session(admin.value) as s:
            assert dict(s) == {"who": "root"}
        counted.taken()
        client.get("/")
        assert counted.taken() == []

    def test_only_a_session_manager_will_do(self) -> None:
        asynchronous = AsyncSessionManager(AsyncDynamoStore(AsyncWireClient()))
        with pytest.raises(TypeError, match="must be a SessionManager, not AsyncSessionManager"):
            SessionInterface(asynchronous)  # type: ignore[arg-type]  # what is tested
        with pytest.raises(TypeError, match="must be a SessionManager, not MemoryStore"):
            SessionInterface(MemoryStore())  # type: ignore[arg-type]  # what is tested

    def test_only_a_session_of_its_own_is_saved(self, app: flask.Flask) -> None:
        other = flask.sessions.SecureCookieSession()
        with app.test_request_context(), pytest.raises(TypeError, match="not SecureCookieSession"):
            app.session_interface.save_session(app, other, app.response_class())

    @pytest.mark.parametrize("value", [{}, None, {"color": "red"}], ids=repr)
    def test_another_object_in_its_place_is_a_500_and_nothing_is_stored(
        self, app: flask.Flask, stored: StoredSession, value: object
    ) -> None:
        def replace() -> str:
            flask.session["k"] = "other"
            # There is no public way to do so in Flask 3.1.3 and later; until then the attribute is "session".
            context: Any = flask.globals._cv_request.get()
            setattr(context, "_session" if "_session" in vars(context) else "session", value)
            return "replaced"

        app.add_url_rule("/replace", "replace", replace)
        app.testing = False
        assert known(app, stored).get("/replace").status_code == 500
        assert stored.now() == stored.record


class TestVary:
    USES: Mapping[str, Callable[[], object]] = {
        "get": lambda: flask.session.get("k"),
        "subscript": lambda: flask.session["k"],
        "in": lambda: "missing" in flask.session,
        "len": lambda: len(flask.session),
        "bool": lambda: bool(flask.session),
        "iteration": lambda: list(flask.session),
        "setdefault": lambda: flask.session.setdefault("k", "default"),
        "put": lambda: flask.session.update(k="other"),
        "pop": lambda: flask.session.pop("k"),
        "clear": lambda: session.clear(),  # noqa: PLW0108 (there is no session yet)
        "permanent": lambda: flask.session.permanent,
        "new": lambda: flask.session.new,
        "typed": lambda: session.get_string("k"),
        "token": lambda: session.token,
        "destroy": lambda: session.destroy(),  # noqa: PLW0108 (as above)
    }

    @pytest.mark.parametrize("use", USES)
    def test_whatever_uses_the_session_varies_by_the_cookie(
        self, app: flask.Flask, stored: StoredSession, use: str
    ) -> None:
        inside(app, lambda: str(self.USES[use]()))
        assert known(app, stored).get("/view").headers.getlist("Vary") == ["Cookie"]

    @pytest.mark.parametrize(
        ("own", "then"),
        [
            (["Accept-Encoding"], ["Accept-Encoding, Cookie"]),
            (["Accept-Encoding", "Accept-Language"], ["Accept-Encoding", "Accept-Language, Cookie"]),
            (["accept, cookie"], ["accept, cookie"]),
            (["*"], ["*"]),
            (["Accept", "COOKIE", "*"], ["Accept", "COOKIE", "*"]),
        ],
    )
    def test_the_apps_own_vary_stands(
        self, app: flask.Flask, client: FlaskClient, own: list[str], then: list[str]
    ) -> None:
        def view() -> Response:
            session["k"] = "v"
            reply = flask.make_response("")
            for item in own:
                reply.headers.add("Vary", item)
            return reply

        inside(app, view)
        assert client.get("/view").headers.getlist("Vary") == then

    def test_a_cookie_is_not_for_shared_caches(self, app: flask.Flask, client: FlaskClient) -> None:
        reply = client.get("/put/color/red")
        assert reply.headers["Cache-Control"] == 'no-cache="Set-Cookie"'
        assert "Cache-Control" not in client.get("/get/color").headers

    def test_the_apps_own_cookies_and_headers_stand(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> Response:
            session["k"] = "v"
            reply = flask.make_response("")
            reply.set_cookie("theme", "dark")
            reply.headers.add("Link", "</a>")
            reply.headers.add("Link", "</b>")
            return reply

        inside(app, view)
        reply = client.get("/view")
        assert reply.headers.getlist("Link") == ["</a>", "</b>"]
        theme, ours = reply.headers.getlist("Set-Cookie")
        assert theme == "theme=dark; Path=/"
        assert ours.startswith("session=")


class TestUnusedSettings:
    # What a setting is to be, what the warning says to write instead, and what the manager has already.
    DIFFERENT: Mapping[str, tuple[object, str, object]] = {
        "PERMANENT_SESSION_LIFETIME": (timedelta(days=7), "lifetime=timedelta(days=7)", timedelta(days=14)),
        "SESSION_REFRESH_EACH_REQUEST": (False, "idle_timeout=None", True),
        "SESSION_COOKIE_NAME": ("sid", "cookie=Cookie(name='sid')", "id"),
        "SESSION_COOKIE_DOMAIN": ("example.org", "cookie=Cookie(domain='example.org')", None),
        "SESSION_COOKIE_PATH": ("/cart", "cookie=Cookie(path='/cart')", "/shop"),
        "SESSION_COOKIE_HTTPONLY": (False, "cookie=Cookie(http_only=False)", True),
        "SESSION_COOKIE_SAMESITE": ("lax", "cookie=Cookie(same_site='Lax')", "strict"),
        "APPLICATION_ROOT": ("/cart", "cookie=Cookie(path='/cart')", "/shop"),
    }

    def manager(self, **cookie: Any) -> SessionManager:
        cookie = {"name": "id", "path": "/shop", "same_site": "Strict", **cookie}
        return SessionManager(MemoryStore(), lifetime=timedelta(days=14), idle_timeout=HOUR, cookie=Cookie(**cookie))

    def warned(self, act: Callable[[], object]) -> list[warnings.WarningMessage]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            act()
        return caught

    @pytest.mark.parametrize("name", DIFFERENT)
    @pytest.mark.parametrize("when", ["before", "after", "alone"])
    def test_one_that_differs_is_named_with_what_to_write_instead(self, name: str, when: str) -> None:
        value, instead, _ = self.DIFFERENT[name]
        app = flask.Flask("shop")
        interface = SessionInterface(self.manager())
        at_first: list[warnings.WarningMessage] = []
        if when == "alone":
            app.session_interface = interface
        elif when == "before":
            app.config[name] = value
        if when != "alone":
            at_first = self.warned(lambda: interface.init_app(app))
            assert len(at_first) == (when == "before")
        app.config[name] = value
        caught = self.warned(lambda: app.test_client().get("/"))
        (warning,) = at_first if when == "before" else caught
        assert warning.category is UserWarning
        said = str(warning.message)
        assert name in said
        assert f"SessionManager(..., {instead})" in said
        assert self.warned(lambda: app.test_client().get("/")) == []
        if when == "before":
            assert caught == []
            assert warning.filename == __file__

    @pytest.mark.parametrize("name", DIFFERENT)
    def test_one_that_the_manager_has_is_not_named(self, name: str) -> None:
        app = flask.Flask("shop")
        app.config[name] = self.DIFFERENT[name][2]
        assert self.warned(lambda: SessionInterface(self.manager()).init_app(app)) == []

    def test_those_that_no_manager_has_by_default(self) -> None:
        app = flask.Flask("shop")
        app.config.update(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_PARTITIONED=True, SESSION_COOKIE_SAMESITE="None")
        strict = self.manager(secure=True, partitioned=True, same_site="None")
        assert self.warned(lambda: SessionInterface(strict).init_app(app)) == []
        (warning,) = self.warned(lambda: SessionInterface(self.manager(secure=False)).init_app(app))
        # A setting of Flask since 3.1.
        partitioned = ", partitioned=True" if FLASK >= (3, 1) else ""
        assert f"Cookie(secure=True, same_site='None'{partitioned})" in str(warning.message)

    def test_an_app_that_sets_nothing_is_not_warned(self) -> None:
        assert self.warned(lambda: SessionInterface(self.manager()).init_app(flask.Flask("shop"))) == []

    @pytest.mark.parametrize("lifetime", [3600, HOUR, timedelta(days=14), 14 * 86_400])
    def test_the_lifetime_may_be_the_managers_or_the_idle_timeout_in_seconds(self, lifetime: object) -> None:
        app = flask.Flask("shop")
        app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
        assert self.warned(lambda: SessionInterface(self.manager()).init_app(app)) == []

    @pytest.mark.parametrize(
        ("lifetime", "instead"),
        [(60, "timedelta(seconds=60)"), (10**30, f"timedelta(seconds={10**30})"), (float("inf"), "timedelta(...)")],
    )
    def test_a_lifetime_of_any_kind_is_only_named(self, lifetime: object, instead: str) -> None:
        app = flask.Flask("shop")
        app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
        with pytest.warns(UserWarning, match=re.escape(f"SessionManager(..., lifetime={instead})")):
            SessionInterface(self.manager()).init_app(app)

    def test_without_an_idle_timeout_nothing_is_refreshed(self) -> None:
        app = flask.Flask("shop")
        app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        assert self.warned(lambda: SessionInterface(SessionManager(MemoryStore())).init_app(app)) == []

    def test_each_app_is_warned_once_for_each_setting(self) -> None:
        interface = SessionInterface(self.manager())
        apps = [flask.Flask("shop"), flask.Flask("blog")]
        for app in apps:
            app.config["SESSION_COOKIE_NAME"] = "sid"
            assert len(self.warned(lambda: interface.init_app(app))) == 1  # noqa: B023 (called at once)
            app.config["APPLICATION_ROOT"] = "/cart"
            (warning,) = self.warned(lambda: app.test_client().get("/"))  # noqa: B023 (as above)
            assert "use APPLICATION_ROOT of" in str(warning.message)
            assert self.warned(lambda: app.test_client().get("/")) == []  # noqa: B023 (as above)


class TestPermanent:
    @pytest.mark.parametrize("persist", [True, False])
    @pytest.mark.parametrize("said", [True, False, None])
    def test_it_is_what_the_app_said_and_the_cookie_follows(
        self, counted: CountingStore, clock: FakeClock, persist: bool, said: bool | None
    ) -> None:
        app = make_app(SessionManager(counted, clock=clock, cookie=Cookie(persist=persist)))

        def view() -> None:
            session.put_int("user_id", 7)
            if said is not None:
                flask.session.permanent = said
            assert flask.session.permanent is (said is True)

        inside(app, view)
        client = app.test_client()
        lasting = persist if said is None else said
        assert ("Expires=" in client.get("/view").headers["Set-Cookie"]) is lasting
        with client.session_transaction() as s:
            assert s.permanent is (said is True)

    @given(persist=st.booleans(), said=st.lists(st.lists(st.booleans() | st.none() | st.text("pdcr", max_size=1))))
    def test_any_words_over_requests(self, persist: bool, said: list[list[bool | str | None]]) -> None:
        """As Flask has it for the last word, which lasts until the session goes; and the cookie follows it."""
        manager = SessionManager(MemoryStore(), cookie=Cookie(persist=persist))
        app = make_app(manager)
        app.testing = True
        words: list[bool | str | None] = []
        last: bool | None = None

        def view() -> None:
            nonlocal last
            for word in words:
                match word:
                    case bool():
                        flask.session.permanent = last = word
                    case "p":
                        session.put_string("k", secrets.token_hex())
                    case "d":
                        session.destroy()
                        last = None
                    case "c":
                        session.clear()
                    case "r":
                        session.remember()
                        last = True
                assert flask.session.permanent is (last is True)

        inside(app, view)
        client = app.test_client()
        for words in said:  # noqa: B007 (the view reads it)
            client.get("/view")
            cookie = client.get_cookie("session")
            if cookie is None:
                # Nothing was put: a word alone begins no session.
                last = None
            else:
                assert (cookie.expires is not None) is (persist if last is None else last)
            with client.session_transaction() as s:
                assert s.permanent is (last is True)

    def test_changing_it_changes_the_cookie(self, app: flask.Flask, stored: StoredSession) -> None:
        said: list[bool] = [False, True, True]

        def view() -> None:
            flask.session.permanent = said.pop(0)

        inside(app, view)
        client = known(app, stored)
        answer = client.get("/view").headers["Set-Cookie"]
        assert answer.startswith(f"session={stored.token};")
        assert "Expires" not in answer
        assert "Expires" in client.get("/view").headers["Set-Cookie"]
        assert "Set-Cookie" not in client.get("/view").headers
        assert "Set-Cookie" not in client.get("/get/k").headers

    @pytest.mark.parametrize("persist", [True, False])
    @pytest.mark.parametrize("said", [True, False])
    def test_an_app_that_always_says_so_stores_no_session_for_a_visitor(
        self, counted: CountingStore, persist: bool, said: bool
    ) -> None:
        app = make_app(SessionManager(counted, cookie=Cookie(persist=persist)))

        @app.before_request
        def lasting() -> None:
            flask.session.permanent = said
            assert flask.session.permanent is said
            assert not flask.session.modified

        client = app.test_client()
        assert "Set-Cookie" not in client.get("/").headers
        assert counted.taken() == []
        # What is stored then has it.
        assert ("Expires" in client.get("/put/k/v").headers["Set-Cookie"]) is said
        assert counted.taken() == ["create"]
        client.get("/get/k")
        assert counted.taken() == ["find"]

    def test_an_app_that_says_what_is_so_already_stores_nothing(
        self, counted: CountingStore, stored: StoredSession
    ) -> None:
        app = make_app(SessionManager(counted, cookie=Cookie(persist=False)))

        @app.before_request
        def short() -> None:
            flask.session.permanent = False

        known(app, stored).get("/get/k")
        assert counted.taken() == ["find"]

    def test_a_word_is_stored_with_what_an_atomic_step_stored(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> None:
            flask.session.permanent = True
            session.atomic(lambda stored: stored.put_string("k", "v"))

        inside(app, view)
        client.get("/view")
        with client.session_transaction() as s:
            assert s.permanent is True

    def test_a_session_of_before_the_app_said_so_is_stored_once(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        @app.before_request
        def lasting() -> None:
            flask.session.permanent = True

        client = known(app, stored)
        client.get("/get/k")
        assert counted.taken() == ["find", "replace"]
        client.get("/get/k")
        assert counted.taken() == ["find"]

    def test_the_answer_to_a_conflict_knows_no_word_of_the_stale_request(
        self, manager: SessionManager, stored: StoredSession
    ) -> None:
        app = make_app(manager)

        @app.post("/order")
        def order() -> str:
            session.destroy()
            flask.session.permanent = True
            raise SessionConflict("stale", keys=())

        @app.errorhandler(SessionConflict)
        def conflict(error: SessionConflict) -> str:
            return str(flask.session.permanent)

        assert known(app, stored).post("/order").text == "False"

    def test_any_true_value_will_do(self, app: flask.Flask) -> None:
        with app.test_request_context():
            flask.session.permanent = ""  # type: ignore[assignment]  # Flask takes it
            assert flask.session.permanent is False

    def test_asking_breaks_no_session_that_is_over(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        with known(app, stored) as client:
            client.get("/")
            assert flask.session.permanent is False
        assert counted.taken() == ["find"]

    def test_a_prolonged_session_prolongs_its_cookie(self, counted: CountingStore, clock: FakeClock) -> None:
        app = make_app(SessionManager(counted, clock=clock, idle_timeout=HOUR))
        client = app.test_client()
        client.get("/put/color/red")
        clock.advance(HOUR / 2)
        assert "Set-Cookie" not in client.get("/").headers
        assert "Max-Age=3600;" in client.get("/get/color").headers["Set-Cookie"]


class TestFlashing:
    @pytest.fixture
    def app(self, app: flask.Flask) -> flask.Flask:
        @app.get("/flash")
        def flash() -> Response:
            flask.flash("Hello world!")
            flask.flash("Oh no", "error")
            flask.flash(Markup("<em>look</em>"), "warning")
            return flask.redirect("/show")

        @app.get("/show")
        def show() -> str:
            return flask.render_template_string(
                "{% for category, message in get_flashed_messages(with_categories=true) %}"
                "{{ category }}: {{ message }}. {% endfor %}"
            )

        return app

    def test_messages_are_shown_once_in_the_next_request(self, client: FlaskClient) -> None:
        reply = client.get("/flash", follow_redirects=True)
        assert reply.text == "message: Hello world!. error: Oh no. warning: &lt;em&gt;look&lt;/em&gt;. "
        assert client.get("/show").text == ""

    def test_more_messages_are_added(self, client: FlaskClient) -> None:
        client.get("/flash")
        client.get("/flash")
        assert client.get("/show").text.count("Hello world!") == 2

    def test_without_categories(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, flask.get_flashed_messages)
        client.get("/flash")
        assert client.get("/view").json == ["Hello world!", "Oh no", "<em>look</em>"]

    def test_of_some_categories(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: flask.get_flashed_messages(category_filter=["message", "error"]))
        client.get("/flash")
        assert client.get("/view").json == ["Hello world!", "Oh no"]

    def test_pairs_unpack_like_flasks(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> list[str]:
            # Not the tuples that the annotation of Flask speaks of only for this case.
            pairs: Any = flask.get_flashed_messages(with_categories=True)
            return [f"{category}: {message}" for category, message in pairs]

        inside(app, view)
        client.get("/flash")
        assert client.get("/view").json == ["message: Hello world!", "error: Oh no", "warning: <em>look</em>"]

    def test_the_same_messages_however_often_a_request_asks(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: [flask.get_flashed_messages() == flask.get_flashed_messages()])
        client.get("/flash")
        assert client.get("/view").json == [True]

    def test_in_the_request_that_flashes(self, app: flask.Flask) -> None:
        with app.test_request_context():
            flask.flash("Zap")
            flask.session.modified = False
            flask.flash("Zip")
            assert flask.session.modified
            assert flask.get_flashed_messages() == ["Zap", "Zip"]
            assert "_flashes" not in flask.session

    def test_nothing_flashed_costs_no_write(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        known(app, stored).get("/show")
        assert counted.taken() == ["find"]


class TestTemplates:
    def test_the_session_is_there(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: flask.render_template_string("{{ session.color }}{{ session['color'] }}{{ session.none }}"))
        client.get("/put/color/red")
        assert client.get("/view").text == "redred"

    def test_attributes_stand_before_keys(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: flask.render_template_string("{{ session.new }}, {{ session['new'] }}"))
        client.get("/put/new/mine")
        assert client.get("/view").text == "False, mine"

    def test_a_template_that_ignores_it_costs_nothing(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        inside(app, lambda: flask.render_template_string("{{ request.path }}"))
        reply = known(app, stored).get("/view")
        assert counted.taken() == []
        assert "Vary" not in reply.headers


class TestTheTestClient:
    def test_a_transaction_reads_and_changes(self, client: FlaskClient) -> None:
        with client.session_transaction() as s:
            assert len(s) == 0
            s["color"] = "red"
        with client.session_transaction() as s:
            assert s["color"] == "red"
            s["color"] = "blue"
        assert client.get("/get/color").json == {"value": "blue"}

    def test_a_transaction_that_changes_nothing_stores_nothing(
        self, client: FlaskClient, counted: CountingStore
    ) -> None:
        with client.session_transaction():
            pass
        assert counted.taken() == []
        assert cookie_of(client) is None

    def test_a_transaction_keeps_the_context_around_it(self, app: flask.Flask, client: FlaskClient) -> None:
        with app.test_request_context("/around"):
            flask.session["color"] = "around"
            with client.session_transaction() as s:
                s["color"] = "inside"
            assert flask.request.path == "/around"
            assert flask.session["color"] == "around"

    def test_a_transaction_needs_cookies(self, app: flask.Flask) -> None:
        client = app.test_client(use_cookies=False)
        with pytest.raises(TypeError, match="Cookies are disabled"), client.session_transaction():
            pass

    @pytest.mark.parametrize("init", [True, False])
    def test_what_the_request_had_can_be_looked_at_after_it(
        self, manager: SessionManager, counted: CountingStore, init: bool
    ) -> None:
        app = make_app(manager, init=init)
        inside(app, lambda: flask.flash("Hello"))
        with app.test_client() as client:
            client.get("/put/color/red")
            assert flask.session["color"] == "red"
            client.get("/view")
            counted.taken()
            # Takes them out of the session.
            assert flask.get_flashed_messages() == ["Hello"]
            assert "_flashes" not in flask.session
        assert counted.taken() == []
        with app.test_client() as another:
            another.set_cookie("session", cookie_of(client) or "")
            another.get("/")
            assert counted.taken() == []
            # As it was never looked at, this reads it.
            assert flask.get_flashed_messages() == ["Hello"]
            assert counted.taken() == ["find"]

    @pytest.mark.parametrize("path", ["/", "/get/k", "/put/k/other", "/logout"])
    def test_a_change_after_it_is_seen_there_and_not_stored(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore, path: str
    ) -> None:
        with known(app, stored) as client:
            client.get(path)
            before = session.modified, session.status, session.token
            record = stored._memory._records.get(stored._key)
            counted.taken()
            session["late"] = [1]
            session.setdefault("cart", ["pear"])
            session.setdefault("later", [])
            assert session.pop("late") == [1]
            session.increment("m", 2)
            assert (session.get_int("m"), session.get("later")) == (2, [])
            session["k"] = "late"
            assert session.peek("k") == "late"
            session.clear()
            assert dict(session) == {}
            assert (session.modified, session.status, session.token) == before
            client.get("/")
            assert counted.taken() in ([], ["find"])
            assert stored._memory._records.get(stored._key) == record

    def test_a_view_sets_when_its_session_ends(self, app: flask.Flask, stored: StoredSession, clock: FakeClock) -> None:
        def view() -> None:
            session.set_deadline(session.deadline - HOUR)
            session.set_idle_timeout(HOUR / 2)

        inside(app, view)
        with known(app, stored) as client:
            client.get("/get/k")
            before = session.deadline
            client.get("/view")
            client.get("/get/k")
            assert session.deadline == before - HOUR
            assert session.expiry == datetime.fromtimestamp(clock() / 1e9, UTC) + HOUR / 2

    ENDS: Mapping[str, Callable[[], object]] = {
        "save": lambda: session.save(),  # noqa: PLW0108 (there is no session yet)
        "destroy": lambda: session.destroy(),  # noqa: PLW0108 (as above)
        "renew_token": lambda: session.renew_token(),  # noqa: PLW0108 (as above)
        "set_deadline": lambda: session.set_deadline(datetime(2100, 1, 1, tzinfo=UTC)),
        "set_idle_timeout": lambda: session.set_idle_timeout(HOUR),
        "atomic": lambda: session.atomic(lambda stored: stored.pop("k")),
    }

    @pytest.mark.parametrize("end", ENDS)
    def test_what_would_have_to_be_stored_is_refused_after_it(
        self, app: flask.Flask, stored: StoredSession, end: str
    ) -> None:
        with known(app, stored) as client:
            client.get("/get/k")
            session["k"] = "late"
            with pytest.raises(SessionClosedError):
                self.ENDS[end]()
        assert stored.now() == stored.record

    def test_a_teardown_function_may_not_change_it(self, app: flask.Flask, client: FlaskClient) -> None:
        """It runs in production, too, where a change would be lost."""
        refused: list[str] = []

        def teardown(error: BaseException | None) -> None:
            if not refused:
                with pytest.raises(SessionClosedError) as caught:
                    flask.session["color"] = "blue"
                refused.append(str(caught.value))

        app.teardown_request_funcs.setdefault(None, []).insert(0, teardown)
        with client:
            client.get("/put/color/red")
            assert refused == ["the session is closed, so a change would be lost; change it inside its block"]
            assert flask.session["color"] == "red"

    def test_a_list_that_the_request_took_is_the_requests_own(self, app: flask.Flask, stored: StoredSession) -> None:
        with known(app, stored) as client:
            client.get("/get/cart")
            cart = session["cart"]
            assert isinstance(cart, list)
            cart.append("pear")
            assert session["cart"] == ["apple", "pear"]
            assert not session.modified

    def test_a_copied_context_that_ends_earlier_ends_no_request(self, app: flask.Flask, stored: StoredSession) -> None:
        def view() -> None:
            thread = threading.Thread(target=flask.copy_current_request_context(lambda: flask.session.get("k")))
            thread.start()
            thread.join()
            flask.session["k"] = "after"

        inside(app, view)
        with known(app, stored) as client:
            client.get("/view")
        assert client.get("/get/k").json == {"value": "after"}

    def test_a_development_server_with_the_debugger_is_strict(self, app: flask.Flask) -> None:
        """It keeps contexts, too; and what is lost in production must not go unnoticed there."""
        inside(app, lambda: flask.stream_with_context(changing()))
        with on_the_development_server(DebuggedApplication(app, evalex=True)) as url:
            assert (
                httpx.get(f"{url}/view").text
                == "the session is closed, so a change would be lost; change it inside its block"
            )

    def test_a_transaction_within_a_look(self, app: flask.Flask, client: FlaskClient) -> None:
        with client:
            client.get("/put/color/red")
            flask.session["color"] = "late"
            with client.session_transaction() as s:
                assert s["color"] == "red"
                s["color"] = "blue"
                s.permanent = True
            assert flask.session["color"] == "late"
            client.get("/")
            assert flask.session["color"] == "blue"
            assert flask.session.permanent

    def test_a_transaction_may_renew_and_destroy(self, client: FlaskClient) -> None:
        client.get("/put/color/red")
        before = cookie_of(client)
        with client.session_transaction() as s:
            assert isinstance(s, FlaskSession)
            s.renew_token()
        assert cookie_of(client) not in (None, before)
        assert client.get("/get/color").json == {"value": "red"}
        with client.session_transaction() as s:
            assert isinstance(s, FlaskSession)
            s.destroy()
        assert cookie_of(client) is None

    def test_messages_of_a_transaction_are_shown(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, flask.get_flashed_messages)
        with client.session_transaction() as s:
            s["_flashes"] = [("message", "Hello")]
        assert client.get("/view").json == ["Hello"]
        with client.session_transaction() as s:
            assert dict(s) == {}

    @pytest.mark.skipif(
        FLASK < (3, 1, 2), reason="Flask's test client keeps the context of the last request since 3.1.2"
    )
    def test_a_redirect_that_is_followed_has_the_session_too(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> Response:
            flask.session["first"] = 1
            return flask.redirect("/put/second/2")

        inside(app, view)
        with client:
            assert client.get("/view", follow_redirects=True).text == "put"
            assert dict(flask.session) == {"first": 1, "second": "2"}

    def test_a_request_context_reads_nothing_until_it_is_asked(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore
    ) -> None:
        with app.test_request_context(headers={"Cookie": f"session={stored.token}"}):
            assert counted.taken() == []
            assert session.get_string("k") == "before"
            flask.session["k"] = "after"
        # Nobody made a response, so nobody stored it.
        assert counted.taken() == ["find"]
        assert stored.now() == stored.record

    def test_each_of_nested_contexts_has_its_own(self, app: flask.Flask, stored: StoredSession) -> None:
        with app.test_request_context(headers={"Cookie": f"session={stored.token}"}):
            assert session.get_string("k") == "before"
            with app.test_request_context():
                assert not flask.session
            assert session.get_string("k") == "before"

    def test_a_view_that_makes_a_request_of_its_own_loses_neither_change(
        self, app: flask.Flask, stored: StoredSession
    ) -> None:
        def view() -> None:
            flask.session["outer"] = 1
            known(app, stored).get("/put/inner/2")

        inside(app, view)
        client = known(app, stored)
        client.get("/view")
        reply = client.get("/all").json
        assert reply is not None
        assert (reply["outer"], reply["inner"]) == (1, "2")

    def test_a_copied_context_has_the_same_session(self, app: flask.Flask, client: FlaskClient) -> None:
        read: list[str] = []

        def view() -> None:
            flask.session["color"] = "red"

            @flask.copy_current_request_context
            def beside() -> None:
                read.append(flask.session["color"])

            thread = threading.Thread(target=beside)
            thread.start()
            thread.join()

        inside(app, view)
        client.get("/view")
        assert read == ["red"]


class TestCalls:
    REQUESTS: Mapping[str, tuple[str, list[str]]] = {
        "one that ignores it": ("/", []),
        "a static file": ("/static/hello.py", []),
        "a page that is not there": ("/nowhere", []),
        "a read": ("/get/k", ["find"]),
        "a change": ("/put/k/v", ["find", "replace"]),
        "a value that is as it was": ("/put/k/before", ["find"]),
        "a login": ("/login", ["find", "rename"]),
        "a logout": ("/logout", ["delete"]),
    }

    @pytest.mark.parametrize("kind", REQUESTS)
    def test_of_a_client_with_a_session(
        self, app: flask.Flask, stored: StoredSession, counted: CountingStore, kind: str
    ) -> None:
        path, calls = self.REQUESTS[kind]
        known(app, stored).get(path).close()
        assert counted.taken() == calls

    @pytest.mark.parametrize(
        ("path", "calls"),
        [("/", []), ("/get/k", []), ("/put/k/v", ["create"]), ("/login", ["create"]), ("/logout", [])],
    )
    def test_of_a_client_without_one(
        self, client: FlaskClient, counted: CountingStore, path: str, calls: list[str]
    ) -> None:
        client.get(path)
        assert counted.taken() == calls


class TestResponsesThatAreErrors:
    @pytest.mark.parametrize("status", [500, 503])
    def test_a_response_of_500_and_over_stores_nothing(
        self, app: flask.Flask, stored: StoredSession, status: int
    ) -> None:
        def view() -> tuple[str, int]:
            session["k"] = "changed"
            session.renew_token()
            return "sorry", status

        inside(app, view)
        reply = known(app, stored).get("/view")
        assert (reply.text, reply.status_code) == ("sorry", status)
        assert "Set-Cookie" not in reply.headers
        assert stored.now() == stored.record

    def test_a_view_that_raises_stores_nothing(self, app: flask.Flask, stored: StoredSession) -> None:
        def view() -> None:
            session["k"] = "changed"
            raise ZeroDivisionError

        inside(app, view)
        assert known(app, stored).get("/view").status_code == 500
        assert stored.now() == stored.record

    def test_an_error_that_is_handled_with_less_stores_what_was_changed(
        self, app: flask.Flask, client: FlaskClient
    ) -> None:
        def view() -> None:
            session["k"] = "changed"
            flask.abort(404)

        inside(app, view)
        assert client.get("/view").status_code == 404
        assert client.get("/get/k").json == {"value": "changed"}

    def test_commit_errors_stores_all_the_same(self, manager: SessionManager) -> None:
        app = make_app(manager, commit_errors=True)

        def view() -> None:
            session.increment("failures")
            raise ZeroDivisionError

        inside(app, view)
        client = app.test_client()
        client.get("/view")
        assert client.get("/view").status_code == 500
        assert client.get("/get/failures").json == {"value": 2}

    def test_an_error_after_the_commit_undoes_nothing(self, manager: SessionManager) -> None:
        app = make_app(manager, commit_errors=True)

        def fail(sender: flask.Flask, response: flask.Response) -> None:
            if response.status_code == 200:
                raise ZeroDivisionError

        client = app.test_client()
        with flask.request_finished.connected_to(fail, app):
            reply = client.get("/put/k/v")
        assert reply.status_code == 500
        assert client.get("/get/k").json == {"value": "v"}


class TestStreaming:
    def test_a_stream_can_read_what_was_read(self, app: flask.Flask, client: FlaskClient) -> None:
        def view() -> Iterator[str]:
            flask.session["color"] = "red"

            def generate() -> Iterator[str]:
                yield "it is "
                yield flask.session["color"]

            return flask.stream_with_context(generate())

        inside(app, view)
        assert client.get("/view").text == "it is red"

    def test_it_is_stored_before_the_headers_go_out(
        self, app: flask.Flask, client: FlaskClient, counted: CountingStore
    ) -> None:
        stored: list[list[str]] = []

        def view() -> Iterator[str]:
            flask.session["color"] = "red"

            def generate() -> Iterator[str]:
                stored.append(counted.taken())
                yield "streamed"

            return flask.stream_with_context(generate())

        inside(app, view)
        reply = client.get("/view")
        assert (reply.text, stored) == ("streamed", [["create"]])
        assert cookie_of(client) is not None

    def test_a_change_while_streaming_is_refused(self, app: flask.Flask, client: FlaskClient) -> None:
        inside(app, lambda: flask.stream_with_context(changing()))
        assert (
            client.get("/view").text == "the session is closed, so a change would be lost; change it inside its block"
        )


class TestBadInput:
    COOKIES: Mapping[str, str] = {
        "empty": "",
        "no value": "session=",
        "no name": "=abc",
        "not ours": "session=admin",
        "too long": "session=" + "A" * 10_000,
        "many": "; ".join(f"c{n}=x" for n in range(2000)),
        "invalid UTF-8": "session=\xff\xfe\x80",
        "quoted": 'session="\\"',
        "a header in it": "session=x\r\nSet-Cookie: admin=1",
        "a null": "session=\x00",
        "only separators": ";;;===;",
    }

    @pytest.mark.parametrize("kind", COOKIES)
    def test_a_cookie_that_is_none_of_ours_is_no_session(
        self, app: flask.Flask, counted: CountingStore, kind: str
    ) -> None:
        client = app.test_client(use_cookies=False)
        reply = client.get("/get/k", environ_overrides={"HTTP_COOKIE": self.COOKIES[kind]})
        assert reply.json == {"value": None}
        assert counted.taken() == []
        assert "Set-Cookie" not in reply.headers
        reply = client.get("/put/k/v", environ_overrides={"HTTP_COOKIE": self.COOKIES[kind]})
        assert reply.status_code == 200
        (said,) = reply.headers.getlist("Set-Cookie")
        assert said.startswith("session=")
        assert "admin" not in said

    def test_of_several_cookies_the_first_well_formed_token_counts(
        self, app: flask.Flask, stored: StoredSession
    ) -> None:
        client = app.test_client(use_cookies=False)
        cookies = f"session=7; theme=dark; session={stored.token}; session={secrets.token_urlsafe(32)}"
        assert client.get("/get/k", headers={"Cookie": cookies}).json == {"value": "before"}

    def test_a_token_from_outside_is_never_adopted(self, app: flask.Flask, client: FlaskClient) -> None:
        planted = secrets.token_urlsafe(32)
        client.set_cookie("session", planted)
        client.get("/put/k/v")
        assert cookie_of(client) not in (None, planted)

    def test_bytes_on_the_wire(self, app: flask.Flask) -> None:
        with on_waitress(app) as url:
            for cookie in (b"session=\xff\xfe", b'session="; x="', b"session=" + b"A" * 10_000, b"\xc3\x28=1"):
                connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
                connection.putrequest("GET", "/get/k")
                connection.putheader("Cookie", cookie)
                connection.endheaders()
                reply = connection.getresponse()
                assert (reply.status, reply.read()) == (200, b'{"value":null}\n')
                connection.close()

    def test_a_record_that_is_no_session_is_an_error_of_the_server_and_says_nothing(
        self, app: flask.Flask, stored: StoredSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        stored.put(b"{secret")
        reply = known(app, stored).get("/get/k")
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert "Set-Cookie" not in reply.headers
        assert stored.token not in caplog.text


class TestOutage:
    @pytest.fixture
    def outage(self, memory: MemoryStore) -> Outage:
        return Outage(memory)

    @pytest.fixture
    def manager(self, outage: Outage, clock: FakeClock) -> SessionManager:
        return SessionManager(outage, clock=clock)

    def refused(self, reply: Response) -> bool:
        assert (reply.status_code, reply.data) == (503, OUTAGE)
        assert reply.headers["Retry-After"] == "5"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        return "Set-Cookie" not in reply.headers

    # In a view

    def test_in_a_view_it_is_a_503_and_logged(
        self, app: flask.Flask, outage: Outage, stored: StoredSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = known(app, stored)
        outage.down = {"find"}
        assert self.refused(client.get("/get/k"))
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("session.web", logging.ERROR)
        assert stored.token not in caplog.text
        outage.down.clear()
        assert client.get("/get/k").json == {"value": "before"}

    def test_what_ignores_the_session_works_on(self, app: flask.Flask, outage: Outage, stored: StoredSession) -> None:
        outage.down = {"find", "create", "replace", "delete", "rename", "touch"}
        assert known(app, stored).get("/").text == "nothing of it"

    @pytest.mark.parametrize("kind", [UnavailableError, ExceptionGroup])
    def test_the_apps_own_handler_is_asked_about_a_group_and_what_is_in_it(
        self, app: flask.Flask, outage: Outage, stored: StoredSession, kind: type[Exception]
    ) -> None:
        @app.get("/tasks")
        def tasks() -> str:
            try:
                return str(session["k"])
            except UnavailableError as error:
                raise ExceptionGroup("in tasks", [error]) from None

        @app.errorhandler(kind)
        def mine(error: Exception) -> tuple[str, int]:
            return type(error).__name__, 504

        outage.down = {"find"}
        reply = known(app, stored).get("/tasks")
        assert (reply.status_code, reply.text) == (504, kind.__name__)

    @pytest.mark.parametrize("early", [True, False])
    @pytest.mark.parametrize("kind", [StoreError, UnavailableError])
    def test_the_apps_own_handler_comes_first(
        self, manager: SessionManager, outage: Outage, stored: StoredSession, early: bool, kind: type[StoreError]
    ) -> None:
        app = make_app(manager, init=False)
        if not early:
            SessionInterface(manager).init_app(app)

        @app.errorhandler(kind)
        def mine(error: StoreError) -> tuple[str, int]:
            assert isinstance(error, UnavailableError)
            return "mine", 504

        if early:
            SessionInterface(manager).init_app(app)
        outage.down = {"find"}
        reply = known(app, stored).get("/get/k")
        assert (reply.text, reply.status_code) == ("mine", 504)

    def test_without_init_app_it_is_flasks_500(
        self, manager: SessionManager, outage: Outage, stored: StoredSession
    ) -> None:
        outage.down = {"find"}
        reply = known(make_app(manager, init=False), stored).get("/get/k")
        assert reply.status_code == 500
        assert "Traceback" not in reply.text
        assert "Set-Cookie" not in reply.headers

    def test_what_is_no_outage_is_no_503(
        self, app: flask.Flask, stored: StoredSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        def view() -> None:
            session["big"] = "x" * 500_000
            session.save()

        inside(app, view)
        client = known(app, stored)
        assert client.get("/view").status_code == 500
        app.testing = True
        with pytest.raises(ItemTooLargeError, match="'big'"):
            client.get("/view")

    # Where Flask asks no error handlers

    @pytest.mark.parametrize("testing", [True, False])
    def test_in_an_after_request_function_it_is_a_503_too(
        self,
        app: flask.Flask,
        outage: Outage,
        stored: StoredSession,
        caplog: pytest.LogCaptureFixture,
        testing: bool,
    ) -> None:
        app.testing = testing

        @app.after_request
        def who(response: flask.Response) -> flask.Response:
            response.headers["X-Value"] = session.get_string("k")
            return response

        client = known(app, stored)
        outage.down = {"find"}
        # A page that ignores the session, one that looks at it first, and one that is not there.
        for path in ("/", "/get/k", "/nowhere"):
            reply = client.get(path)
            assert self.refused(reply), path
            assert "X-Value" not in reply.headers
            (record,) = caplog.records[-1:]
            assert (record.name, record.levelno) == ("session.web", logging.ERROR)
        outage.down.clear()
        assert client.get("/").headers["X-Value"] == "before"
        assert client.get("/all").json == {"k": "before", "n": 1, "cart": ["apple"]}

    def test_the_store_and_the_handler_are_asked_once(self, manager: SessionManager, stored: StoredSession) -> None:
        store = CountingStore(MemoryStore())
        app = make_app(SessionManager(store))
        asked: list[StoreError] = []

        @app.errorhandler(StoreError)
        def mine(error: StoreError) -> Response:
            asked.append(error)
            return flask.Response("mine", 504)

        @app.after_request
        def look(response: flask.Response) -> flask.Response:
            response.headers.add("X-Run", "1")
            session.get("k")
            return response

        client = known(app, stored)
        store.failure = UnavailableError("no answer", operation="GetItem")
        for path in ("/", "/get/k"):
            reply = client.get(path)
            assert (reply.text, reply.status_code) == ("mine", 504)
            assert reply.headers.getlist("X-Run") == ["1"]
            assert reply.headers["Vary"] == "Cookie"
            assert store.taken() == ["find"]
            assert len(asked) == 1
            asked.clear()

    def test_a_view_may_ask_again(self, manager: SessionManager, stored: StoredSession) -> None:
        store = CountingStore(MemoryStore())
        app = make_app(SessionManager(store))

        def view() -> str:
            store.failure = UnavailableError("no answer", operation="GetItem")
            with pytest.raises(UnavailableError):
                session.get("k")
            store.failure = None
            return session.get_string("k", default="nothing")

        inside(app, view)
        assert known(app, stored).get("/view").text == "nothing"
        assert store.taken() == ["find", "find"]

    def test_an_outage_of_another_store_leaves_the_session_to_be_read(
        self, app: flask.Flask, stored: StoredSession
    ) -> None:
        def view() -> None:
            raise UnavailableError("the orders", operation="GetItem")

        @app.after_request
        def look(response: flask.Response) -> flask.Response:
            response.headers["X-Value"] = session.get_string("k")
            return response

        inside(app, view)
        reply = known(app, stored).get("/view")
        assert self.refused(reply)
        assert reply.headers["X-Value"] == "before"

    def test_a_logout_counts_where_another_store_fails_then(
        self, app: flask.Flask, stored: StoredSession, memory: MemoryStore
    ) -> None:
        @app.after_request
        def audit(response: flask.Response) -> flask.Response:
            raise UnavailableError("the audit log", operation="PutItem")

        client = known(app, stored)
        reply = client.get("/logout")
        assert (reply.status_code, reply.data) == (503, OUTAGE)
        assert cookie_of(client) is None
        assert memory._records == {}

    def test_an_outage_after_the_commit_undoes_nothing(self, app: flask.Flask, client: FlaskClient) -> None:
        def fail(sender: flask.Flask, response: flask.Response) -> None:
            if response.status_code == 200:
                raise UnavailableError("the audit log", operation="PutItem")

        with flask.request_finished.connected_to(fail, app):
            assert client.get("/put/k/v").status_code == 500
        assert client.get("/get/k").json == {"value": "v"}

    def test_in_a_url_converter_it_is_a_503_too(self, app: flask.Flask, outage: Outage, stored: StoredSession) -> None:
        class Mine(BaseConverter):
            def to_python(self, value: str) -> str:
                return f"{value} of {session.get_string('k')}"

        app.url_map.converters["mine"] = Mine
        app.add_url_rule("/list/<mine:name>", "list", lambda name: name)
        client = known(app, stored)
        outage.down = {"find"}
        assert self.refused(client.get("/list/books"))
        outage.down.clear()
        assert client.get("/list/books").text == "books of before"

    def test_a_handler_that_raises_it_again_has_its_way(
        self, app: flask.Flask, outage: Outage, stored: StoredSession
    ) -> None:
        asked: list[StoreError] = []

        @app.errorhandler(StoreError)
        def mine(error: StoreError) -> str:
            asked.append(error)
            raise error

        outage.down = {"find"}
        assert known(app, stored).get("/get/k").status_code == 500
        assert len(asked) == 1

    def test_a_session_that_is_none_is_no_outage_there_either(self, app: flask.Flask, stored: StoredSession) -> None:
        @app.after_request
        def look(response: flask.Response) -> flask.Response:
            session.get("k")
            return response

        stored.put(b"{secret")
        reply = known(app, stored).get("/")
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert "Set-Cookie" not in reply.headers

    # At the commit, when the view has answered already

    @pytest.mark.parametrize("init", [True, False])
    @pytest.mark.parametrize("testing", [True, False])
    def test_at_the_commit_it_is_a_503_however_it_is_set_up(
        self,
        manager: SessionManager,
        outage: Outage,
        stored: StoredSession,
        caplog: pytest.LogCaptureFixture,
        init: bool,
        testing: bool,
    ) -> None:
        app = make_app(manager, init=init)
        app.testing = testing
        client = known(app, stored)
        outage.down = {"replace"}
        assert self.refused(client.get("/put/k/v"))
        assert [record.name for record in caplog.records] == ["session.web"]
        assert stored.token not in caplog.text
        outage.down.clear()
        assert client.get("/get/k").json == {"value": "before"}

    @pytest.mark.parametrize(("path", "verb"), [("/login", "rename"), ("/logout", "delete"), ("/put/k/v", "replace")])
    def test_nobody_is_logged_out_by_it(
        self,
        app: flask.Flask,
        outage: Outage,
        stored: StoredSession,
        path: str,
        verb: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        client = known(app, stored)
        outage.down = {verb}
        assert self.refused(client.get(path))
        # The store is not asked twice.
        assert [record.name for record in caplog.records] == ["session.web"]
        assert cookie_of(client) == stored.token
        outage.down.clear()
        assert client.get("/all").json == {"k": "before", "n": 1, "cart": ["apple"]}

    def test_nothing_is_left_of_the_response_that_was_not_to_be(
        self, app: flask.Flask, outage: Outage, stored: StoredSession
    ) -> None:
        closed: list[str] = []

        def view() -> Response:
            session["k"] = "v"

            def generate() -> Iterator[bytes]:
                try:
                    yield b"body"
                finally:
                    closed.append("generator")

            body = generate()
            next(body)
            reply = flask.Response(body, 201, {"Location": "/made", "ETag": '"1"', "Content-Disposition": "attachment"})
            reply.call_on_close(lambda: closed.append("response"))
            reply.set_cookie("made", "yes")
            return reply

        inside(app, view)
        outage.down = {"replace"}
        reply = known(app, stored).get("/view")
        assert self.refused(reply)
        assert not {"Location", "ETag", "Content-Disposition"} & set(reply.headers.keys())
        assert reply.headers["Content-Length"] == str(len(OUTAGE))
        reply.close()
        assert sorted(closed) == ["generator", "response"]

    def test_a_file_that_was_to_be_sent_is_replaced(
        self, app: flask.Flask, outage: Outage, stored: StoredSession
    ) -> None:
        def view() -> Response:
            session["k"] = "v"
            return flask.send_file(EXAMPLES / "hello.py")

        inside(app, view)
        outage.down = {"replace"}
        with known(app, stored).get("/view") as reply:
            assert self.refused(reply)

    def test_to_a_head_request_it_has_no_body(self, app: flask.Flask, outage: Outage, stored: StoredSession) -> None:
        outage.down = {"replace"}
        reply = known(app, stored).head("/put/k/v")
        assert (reply.status_code, reply.data) == (503, b"")

    def test_the_after_request_functions_see_the_answer(
        self, app: flask.Flask, outage: Outage, stored: StoredSession
    ) -> None:
        @app.after_request
        def cors(response: flask.Response) -> flask.Response:
            response.headers["Access-Control-Allow-Origin"] = "https://example.org"
            session.increment("requests")
            return response

        outage.down = {"replace"}
        reply = known(app, stored).get("/put/k/v")
        assert self.refused(reply)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://example.org"
        assert reply.headers["Vary"] == "Cookie"

    @pytest.mark.parametrize(("path", "verb"), [("/put/k/v", "replace"), ("/logout", "delete")])
    def test_one_that_fails_then_does_no_harm(
        self,
        app: flask.Flask,
        outage: Outage,
        stored: StoredSession,
        caplog: pytest.LogCaptureFixture,
        path: str,
        verb: str,
    ) -> None:
        @app.after_request
        def picky(response: flask.Response) -> flask.Response:
            assert response.status_code == 200
            return response

        outage.down = {verb}
        reply = known(app, stored).get(path)
        assert self.refused(reply)
        assert "an after_request function failed" in caplog.text
        # The store is not asked twice.
        assert "could not be destroyed" not in caplog.text
        # Since 3.1.3 Flask notes a use that reads nothing, as of `destroy`.
        noted = verb != "delete" or FLASK >= (3, 1, 3)
        assert reply.headers.get("Vary") == ("Cookie" if noted else None)

    @pytest.mark.parametrize("kind", [UnavailableError, StoreError, Exception])
    @pytest.mark.parametrize("of", ["app", "blueprint"])
    def test_the_apps_own_handler_answers_that_too(
        self,
        manager: SessionManager,
        outage: Outage,
        stored: StoredSession,
        kind: type[Exception],
        of: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        app = make_app(manager, init=False)
        blueprint = flask.Blueprint("shop", __name__)
        scope: flask.Flask | flask.Blueprint = app if of == "app" else blueprint

        @blueprint.get("/buy")
        def buy() -> str:
            session["k"] = "bought"
            return "thank you"

        @scope.errorhandler(kind)
        def mine(error: Exception) -> tuple[str, int, dict[str, str]]:
            assert isinstance(error, UnavailableError)
            # A page knows who is there, and what it does to the session is dropped with the rest.
            session.increment("errors")
            return f"sorry, {session.get_string('k')}", 504, {"X-Mine": "yes"}

        app.register_blueprint(blueprint)
        outage.down = {"replace"}
        client = known(app, stored)
        reply = client.get("/buy")
        assert (reply.text, reply.status_code, reply.headers["X-Mine"]) == ("sorry, bought", 504, "yes")
        assert "Set-Cookie" not in reply.headers
        assert caplog.records == []
        assert stored.now() == stored.record

    def test_what_the_handler_opened_is_closed(self, app: flask.Flask, outage: Outage, stored: StoredSession) -> None:
        closed: list[str] = []

        @app.errorhandler(StoreError)
        def mine(error: StoreError) -> Response:
            reply = flask.Response(iter(["so", "rry"]), 503)
            reply.call_on_close(lambda: closed.append("answer"))
            return reply

        outage.down = {"replace"}
        with known(app, stored).get("/put/k/v") as reply:
            assert reply.data == b"sorry"
        assert closed == ["answer"]

    def test_a_handler_that_fails_itself_is_a_503(
        self, manager: SessionManager, outage: Outage, stored: StoredSession, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = make_app(manager, init=False)

        @app.errorhandler(StoreError)
        def broken(error: StoreError) -> str:
            raise ZeroDivisionError("in the handler")

        outage.down = {"replace"}
        assert self.refused(known(app, stored).get("/put/k/v"))
        assert "ZeroDivisionError: in the handler" in caplog.text

    def test_what_was_stored_before_it_is_handed_out(
        self, app: flask.Flask, outage: Outage, stored: StoredSession
    ) -> None:
        def view() -> None:
            session.renew_token()
            session.save()
            session["k"] = "lost"
            outage.down = {"replace"}

        inside(app, view)
        client = known(app, stored)
        reply = client.get("/view")
        assert (reply.status_code, reply.data) == (503, OUTAGE)
        outage.down.clear()
        assert cookie_of(client) != stored.token
        assert client.get("/get/k").json == {"value": "before"}

    def test_a_transaction_of_the_test_client_raises_it(self, app: flask.Flask, outage: Outage) -> None:
        outage.down = {"create"}
        with pytest.raises(UnavailableError), app.test_client().session_transaction() as s:
            s["k"] = "v"

    @pytest.mark.parametrize("kind", [AccessDeniedError, TableNotFoundError])
    def test_a_table_that_is_closed_or_missing_is_no_logout_either(
        self, memory: MemoryStore, stored: StoredSession, kind: type[StoreError]
    ) -> None:
        class Closed(CountingStore):
            def find(self, token: str) -> Record | None:
                raise kind("not for you")

        client = known(make_app(SessionManager(Closed(memory))), stored)
        assert self.refused(client.get("/get/k"))


class TestOtherErrorsAtTheCommit:
    @pytest.fixture
    def manager(self, counted: CountingStore, clock: FakeClock) -> SessionManager:
        return SessionManager(counted, clock=clock, on_conflict="raise")

    @pytest.fixture
    def app(self, manager: SessionManager, stored: StoredSession) -> flask.Flask:
        app = make_app(manager)

        @app.post("/slow")
        def slow() -> str:
            session["k"] = "slow"
            with manager.session(stored.token) as faster:
                faster["k"] = "fast"
            return "done"

        return app

    @pytest.mark.parametrize("testing", [False, True])
    def test_a_conflict_is_a_409(
        self,
        app: flask.Flask,
        manager: SessionManager,
        stored: StoredSession,
        caplog: pytest.LogCaptureFixture,
        testing: bool,
    ) -> None:
        app.testing = testing
        client = known(app, stored)
        reply = client.post("/slow", headers={"Accept": "text/html"})
        assert reply.status_code == 409
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.mimetype == "text/html"
        assert "done" not in reply.text
        assert "Set-Cookie" not in reply.headers
        assert "POST /slow answered with 409" in caplog.text
        assert stored.token not in caplog.text
        assert client.get("/get/k").json == {"value": "fast"}

    def test_a_conflict_reaches_the_apps_handler(self, app: flask.Flask, stored: StoredSession) -> None:
        @app.errorhandler(SessionConflict)
        def conflict(error: SessionConflict) -> tuple[dict[str, Any], int]:
            return {"ours": error.ours["k"], "theirs": error.theirs["k"]}, 409

        client = known(app, stored)
        reply = client.post("/slow")
        assert (reply.json, reply.status_code) == ({"ours": "slow", "theirs": "fast"}, 409)
        assert client.get("/get/k").json == {"value": "fast"}

    def test_without_init_app_a_conflict_of_the_commit_is_a_409_too(
        self, manager: SessionManager, stored: StoredSession
    ) -> None:
        app = flask.Flask("plain")
        app.session_interface = SessionInterface(manager)

        @app.get("/slow")
        def slow() -> str:
            session["k"] = "slow"
            with manager.session(stored.token) as faster:
                faster["k"] = "fast"
            return "done"

        assert known(app, stored).get("/slow").status_code == 409

    def test_it_is_not_committed_again_for_the_500(self, manager: SessionManager, stored: StoredSession) -> None:
        app = make_app(manager, commit_errors=True)
        inside(app, lambda: session["cart"].append(object()))  # type: ignore[union-attr, arg-type]  # what is tested
        client = known(app, stored)
        assert client.get("/view").status_code == 500
        assert stored.now() == stored.record

    @pytest.mark.parametrize(
        ("value", "kind"), [(object(), SessionTypeError), (float("nan"), ValueError)], ids=["object", "nan"]
    )
    def test_what_json_cannot_say_within_a_list_is_told_at_the_commit(
        self, app: flask.Flask, stored: StoredSession, value: Any, kind: type[Exception]
    ) -> None:
        inside(app, lambda: flask.session["cart"].append(value))
        app.testing = True
        with pytest.raises(kind, match="'cart'"):
            known(app, stored).get("/view")

    def test_an_item_that_is_too_large(self, app: flask.Flask, stored: StoredSession) -> None:
        @app.errorhandler(ItemTooLargeError)
        def full(error: ItemTooLargeError) -> tuple[dict[str, Any], int]:
            return {"largest": [key for key, _ in error.largest]}, 413

        inside(app, lambda: flask.session.update(big="x" * 500_000))
        reply = known(app, stored).get("/view")
        assert reply.status_code == 413
        assert reply.json is not None
        assert reply.json["largest"][0] == "big"

    def test_an_item_that_is_too_large_is_a_500_without_a_handler(
        self, app: flask.Flask, stored: StoredSession
    ) -> None:
        inside(app, lambda: flask.session.update(big="x" * 500_000))
        assert known(app, stored).get("/view").status_code == 500
        assert stored.now() == stored.record


class TestOnServers:
    @pytest.fixture
    def dynamodb(self, backends: Backends) -> DynamoStore:
        return backends.server("ministack").store()

    def test_two_requests_at_once_both_keep_their_changes(self, dynamodb: DynamoStore) -> None:
        app = make_app(SessionManager(dynamodb, cookie=Cookie(secure=False)))
        both_have_read = threading.Barrier(2)

        @app.get("/meet/<key>")
        def meet(key: str) -> str:
            session.increment("requests")
            both_have_read.wait(timeout=10)
            flask.session[key] = "here"
            return "met"

        with on_waitress(app) as url, httpx.Client(base_url=url) as client:
            client.get("/put/color/red")
            threads = [threading.Thread(target=client.get, args=(f"/meet/{key}",)) for key in ("a", "b")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert client.get("/all").json() == {"a": "here", "b": "here", "color": "red", "requests": 2}

    def test_a_logout_ends_a_request_that_is_under_way(self, dynamodb: DynamoStore) -> None:
        app = make_app(SessionManager(dynamodb, cookie=Cookie(secure=False)))
        has_read, may_go_on = threading.Event(), threading.Event()

        @app.get("/slow")
        def slow() -> str:
            session.increment("requests")
            has_read.set()
            may_go_on.wait(timeout=10)
            return "slow"

        with on_waitress(app) as url, httpx.Client(base_url=url) as client:
            client.get("/put/color/red")
            cookies = dict(client.cookies)
            replies: list[httpx.Response] = []
            thread = threading.Thread(target=lambda: replies.append(httpx.get(f"{url}/slow", cookies=cookies)))
            thread.start()
            has_read.wait(timeout=10)
            client.get("/logout")
            may_go_on.set()
            thread.join()
            assert "Set-Cookie" not in replies[0].headers
            assert httpx.get(f"{url}/all", cookies=cookies).json() == {}

    @pytest.mark.parametrize("server", ["waitress", "gunicorn"])
    def test_the_example(self, backends: Backends, server: str) -> None:
        command = {
            "waitress": [sys.executable, str(EXAMPLES / "flask_app.py")],
            "gunicorn": [
                *(sys.executable, "-m", "gunicorn", "--chdir", str(EXAMPLES), "--bind", "{listen}"),
                *("--worker-class", "gthread", "--workers", "2", "--threads", "2", "--log-level", "warning"),
                "flask_app:app",
            ],
        }[server]
        dynamodb = backends.server("ministack")
        assert dynamodb.url is not None
        variables = environment(dynamodb.url, dynamodb.store().table.name)
        with serving(*command, **variables) as url, httpx.Client(base_url=url, follow_redirects=True) as client:
            assert client.get("/get").text == ""
            assert "set-cookie" not in client.get("/").headers
            assert client.get("/put").text == ""
            assert client.get("/get").text == "Hello world!"
            before = client.cookies["session"]
            welcomed = client.post("/login", data={"user": "<Ada>", "remember": "yes"})
            assert "Expires=" in welcomed.history[0].headers["Set-Cookie"]
            assert "<p>Welcome!</p>" in welcomed.text
            assert "You are &lt;Ada&gt;." in welcomed.text
            assert client.cookies["session"] != before
            assert "Welcome" not in client.get("/").text
            assert client.get("/get").text == "Hello world!"
            assert client.get("/logout").headers["Set-Cookie"].startswith("session=; ")
            assert client.get("/get").text == ""
            assert "Who are you?" in client.get("/").text


# Any sequence of changes, spread over requests, against a plain dict.

KEYS = st.sampled_from(["a", "b", "c"])
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TYPED: Mapping[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "int": INT64,
    "float": FLOATS,
    "bool": st.booleans(),
    "bytes": st.binary(max_size=5),
    "time": st.datetimes(timezones=st.just(UTC)),
}
Step = Callable[[MutableMapping[str, Any]], object]


def put(key: str, value: Any) -> Step:
    return lambda mapping: mapping.update({key: copy.deepcopy(value)})


def put_typed(key: str, kind: str, value: Any) -> Step:
    def step(mapping: MutableMapping[str, Any]) -> None:
        if isinstance(mapping, FlaskSession):
            getattr(mapping, f"put_{kind}")(key, value)
        else:
            mapping[key] = (kind, value)

    return step


def append(key: str, value: Any) -> Step:
    def step(mapping: MutableMapping[str, Any]) -> None:
        if isinstance(mapping.get(key), list):
            mapping[key].append(value)

    return step


STEPS = st.one_of(
    st.builds(put, KEYS, JSON),
    st.one_of([st.builds(put_typed, KEYS, st.just(kind), values) for kind, values in TYPED.items()]),
    st.builds(append, KEYS, JSON),
    KEYS.map(lambda key: lambda mapping: mapping.pop(key, None)),
    st.tuples(KEYS, JSON).map(lambda pair: lambda mapping: mapping.setdefault(*copy.deepcopy(pair))),
    st.just(lambda mapping: mapping.clear()),
    st.just(lambda mapping: mapping.renew_token() if isinstance(mapping, FlaskSession) else None),
)


def shown(mapping: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is in a session, read by the getters of what is *wanted*."""
    typed = {key: value[0] for key, value in wanted.items() if isinstance(value, tuple)}
    return {
        key: (typed[key], getattr(mapping, f"get_{typed[key]}")(key)) if key in typed else mapping[key]
        for key in mapping
    }


@given(requests=st.lists(st.lists(STEPS, max_size=5), max_size=5))
def test_a_session_over_requests_is_a_dict(requests: list[list[Step]]) -> None:
    app = make_app(SessionManager(MemoryStore()))
    app.testing = True
    steps: list[Step] = []
    wanted: dict[str, Any] = {}

    def view() -> None:
        for step in steps:
            step(session)
        assert shown(session, wanted) == wanted

    inside(app, view)
    client = app.test_client()
    for steps in requests:
        for step in steps:
            # Each has a list of its own, as each is a copy in a session.
            step(wanted)
        assert client.get("/view").status_code == 200
        with client.session_transaction() as s:
            assert shown(s, wanted) == wanted


if TYPE_CHECKING:

    def typed_access() -> None:
        """``session`` has the types that ``flask.session`` has not; each wrong line is one."""
        assert_type(session, FlaskSession)
        assert_type(session.get_int("n"), int)
        assert_type(session.get_time("at"), datetime | None)
        assert_type(session["k"], JSONValue)
        assert_type(session.permanent, bool)
        assert_type(session.new, bool)
        assert_type(session.modified, bool)
        assert_type(session.accessed, bool)
        assert_type(session.token, str | None)
        session.permanent = True
        session.get_integer("n")  # type: ignore[attr-defined]
        session["k"] = object()  # type: ignore[assignment]
        session.get_int("n").lower()  # type: ignore[attr-defined]
        flask.session.get_int("n")  # type: ignore[attr-defined]
