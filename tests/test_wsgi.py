"""The WSGI middleware: whatever an app does, and in whatever order, its session is committed before the headers go out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import MemoryStore, UnavailableError
from session import AsyncSessionManager, Cookie, Session, SessionClosedError, SessionManager, SessionTypeError
from session.web.wsgi import SessionMiddleware, get_session

from .awaited import AwaitedStore
from .counting import CountingStore
from .serving import on_waitress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


@dataclass
class Response:
    """What a server has been given."""

    started: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    body: bytes = b""
    returned: object = None

    @property
    def status(self) -> int:
        ((status, _),) = self.started
        return int(status.split()[0])

    def header(self, name: str) -> list[str]:
        ((_, headers),) = self.started
        return [value for other, value in headers if other.lower() == name.lower()]

    @property
    def token(self) -> str | None:
        """The token in the session's cookie, if one is set."""
        for cookie in self.header("Set-Cookie"):
            return cookie.partition(";")[0].partition("=")[2]
        return None


def call(app: WSGIApplication, cookie: str | None = None, *, chunks: int | None = None) -> Response:
    """Serve one request as strictly as WSGI has it, or only so many *chunks* of its body."""
    response = Response()
    environ: WSGIEnvironment = {"QUERY_STRING": "", "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    if cookie is not None:
        environ["HTTP_COOKIE"] = cookie

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info and response.body:
            raise exc_info[1].with_traceback(exc_info[2])
        response.started.append((status, headers))
        return write

    def write(data: bytes) -> None:
        response.body += data

    response.returned = body = app(environ, start_response)
    try:
        for i, chunk in enumerate(body):
            if i == chunks:
                break
            assert response.started or not chunk
            response.body += chunk
    finally:
        if hasattr(body, "close"):
            body.close()
    return response


def held(manager: SessionManager, token: str | None) -> dict[str, object]:
    with manager.session(token) as s:
        return dict(s)


# Any app


@dataclass
class Script:
    """An app that does these steps: the first so many when it is called, the rest while its body is sent."""

    steps: list[str]
    status: int
    at_once: int
    stale: int = 0
    """How many runs read what another request changes before they end."""
    interfere: Callable[[], None] = lambda: None
    runs: int = 0
    bodies: int = 0
    closes: int = 0
    refused: int = 0
    changed: int = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        session = get_session(environ)
        self.runs += 1
        if self.stale:
            session.get_int("role")
            if self.runs <= self.stale:
                self.interfere()
        now = self.steps[: self.at_once]
        chunks = list(self._do(session, start_response, now))
        if self.at_once == len(self.steps):
            return chunks
        # What was to be sent already would be out of its order.
        assert chunks == []
        self.bodies += 1
        return Body(self, self._do(session, start_response, self.steps[self.at_once :]))

    def _do(self, session: Session, start_response: StartResponse, steps: list[str]) -> Iterator[bytes]:
        write: Callable[[bytes], object] = lambda _: None  # noqa: E731
        for step in steps:
            match step:
                case "change":
                    try:
                        session.increment("n")
                    except SessionClosedError:
                        self.refused += 1
                    else:
                        self.changed += 1
                case "start":
                    write = start_response(f"{self.status} Said So", [("Content-Type", "text/plain")])
                case "start again":
                    try:
                        self._fail()
                    except LookupError:
                        start_response(f"{self.status} Again", [("Content-Type", "text/plain")], sys.exc_info())
                case "write":
                    write(b"w")
                case "raise":
                    self._fail()
                case "empty":
                    yield b""
                case _:
                    yield b"c"

    def _fail(self) -> None:
        raise LookupError


class Body:
    def __init__(self, script: Script, chunks: Iterator[bytes]) -> None:
        self._script = script
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        self._script.closes += 1


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    before = draw(st.lists(st.sampled_from(["change", "empty"]), max_size=3))
    after = draw(st.lists(st.sampled_from(["change", "empty", "chunk", "chunk", "start again"]), max_size=5))
    if draw(st.booleans()):
        after.insert(draw(st.integers(0, len(after))), "raise")
    steps = [*before, "start", *after]
    if draw(st.booleans()):
        at_once = len(steps)
    else:
        # What is sent belongs into the body, then.
        sent = [i for i, step in enumerate(steps) if step in ("empty", "chunk")]
        at_once = draw(st.integers(0, min([*sent, len(steps) - 1])))
    if draw(st.booleans()) and at_once:
        # PEP 3333 has write() for the call alone.
        place = draw(st.integers(0, at_once))
        if "start" in steps[:place]:
            steps.insert(place, "write")
            at_once += 1
    return Script(
        steps, draw(st.sampled_from([200, 302, 404, 500, 503])), at_once, draw(st.sampled_from([0, 0, 1, 3, 4]))
    )


def expected(script: Script) -> tuple[int, int, bool]:
    """How many changes are made and how many refused, and whether the app's error gets through before the headers went out."""
    made = refused = 0
    begun = False
    for i, step in enumerate(script.steps):
        lazily = i >= script.at_once
        match step:
            case "change" if begun:
                refused += 1
            case "change":
                made += 1
            case "chunk":
                begun |= lazily
            case "write":
                begun = True
            case "start again" if begun:
                return made, refused, False  # the server raises
            case "raise":
                return made, refused, not begun
    return made, refused, False


@given(scripts())
def test_whatever_an_app_does_its_session_is_committed_before_the_headers_go_out(script: Script) -> None:
    manager = SessionManager(MemoryStore(), cookie=Cookie(secure=False))
    with manager.session(None) as s:
        s.put_int("n", 100)

    def interfere() -> None:
        with manager.session(s.token) as other:
            other.put_int("role", other.get_int("role") + 1)

    script.interfere = interfere
    app = SessionMiddleware(script, manager, sleep=lambda _: None)
    made, refused, lost = expected(script)
    # A run that changes nothing, or is not committed, is not stale.
    stale = script.stale if made and script.status < 500 and not lost else 0
    response = Response()
    raised = False
    try:
        response = call(validator(app), f"session={s.token}")
    except LookupError:
        raised = True
        assert {"raise", "start again"} & set(script.steps)
    assert script.runs == min(stale + 1, 4)
    assert (script.changed, script.refused) == (made * script.runs, 0 if stale == 4 else refused)
    stored = held(manager, s.token)["n"] == 100 + made
    assert stored == (made == 0 or (script.status < 500 and not lost and stale < 4))
    assert script.closes <= script.bodies
    if not raised:
        assert script.closes == script.bodies
        assert len(response.started) == 1
        assert response.status == (409 if stale == 4 else script.status)


@given(scripts().filter(lambda script: not script.stale), st.booleans())
def test_a_new_session_has_its_cookie_in_the_same_response_or_is_not_stored(script: Script, asked: bool) -> None:
    store = MemoryStore()
    manager = SessionManager(store, cookie=Cookie(secure=False))
    app = SessionMiddleware(script, manager, commit_errors=asked)
    try:
        response = call(app)
    except LookupError:
        return
    if response.token is None:
        assert len(store._records) == 0
    else:
        assert held(manager, response.token) == {"n": script.changed}


# What the server sees


def simple(body: object) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        get_session(environ).increment("n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return app


def test_a_list_and_a_file_reach_the_server_as_they_are(manager: SessionManager) -> None:
    # It tells their length, and sends the file by itself.
    for body in ([b"one"], (b"one",), FileWrapper(io.BytesIO(b"one"))):
        response = call(SessionMiddleware(simple(body), manager))
        assert response.returned is body
        assert response.body == b"one"
        assert response.token is not None


def test_a_response_that_nobody_asks_for_commits_nothing(manager: SessionManager, counted: CountingStore) -> None:
    closed = []

    class Unread:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one"

        def close(self) -> None:
            closed.append(1)

    response = call(SessionMiddleware(simple(Unread()), manager), chunks=0)
    # The first chunk was asked for, so it is on its way; what is closed before that is not.
    assert response.token is not None
    counted.taken()
    body: Any = SessionMiddleware(simple(Unread()), manager)({}, lambda *_: lambda _: None)
    body.close()  # as a server does whose client is gone
    assert counted.taken() == []
    assert len(closed) == 2


def test_a_body_of_nothing_has_its_headers_too(manager: SessionManager) -> None:
    bodies: list[Iterable[bytes]] = [[], iter([]), iter([b"", b""])]
    for body in bodies:
        response = call(SessionMiddleware(simple(body), manager))
        assert response.status == 200
        assert response.token is not None


FIVE_HUNDRED = "\N{ARABIC-INDIC DIGIT FIVE}" + "\N{ARABIC-INDIC DIGIT ZERO}" * 2


@pytest.mark.parametrize(
    ("status", "commits"),
    [
        ("200 OK", True),
        ("500", False),
        ("503 Busy", False),
        (FIVE_HUNDRED, True),
        ("5_00", True),
        ("", True),
        pytest.param("5" * 5000, True, id="long"),
    ],
)
def test_a_status_is_three_digits_of_ascii(manager: SessionManager, status: str, commits: bool) -> None:
    # Another one is the server's to refuse.
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).put_int("n", 1)
        start_response(status, [])
        return []

    assert (call(SessionMiddleware(app, manager)).token is not None) == commits


def test_an_app_that_never_starts_is_told(manager: SessionManager) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return [b"one"]

    with pytest.raises(AssertionError, match="did not call start_response"):
        call(SessionMiddleware(app, manager))


def test_an_app_that_starts_twice_is_told(manager: SessionManager) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(AssertionError, match="twice"):
        call(SessionMiddleware(app, manager))


def test_an_error_page_in_place_of_what_was_begun_commits_by_its_own_status(
    manager: SessionManager, counted: CountingStore
) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).increment("n")
        start_response("200 OK", [("X-A", "b")])
        try:
            environ["no such thing"]
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    response = call(SessionMiddleware(app, manager))
    assert (response.status, response.header("X-A"), response.token) == (500, [], None)
    assert counted.taken() == []


def test_an_outage_while_the_first_bytes_are_made_is_a_503(manager: SessionManager, counted: CountingStore) -> None:
    counted.failure = UnavailableError("no answer")
    response = call(SessionMiddleware(simple(iter([b"one"])), manager))
    assert (response.status, response.header("Retry-After")) == (503, ["5"])


def test_an_outage_that_write_meets_can_be_answered_by_the_app(manager: SessionManager, counted: CountingStore) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        get_session(environ).increment("n")
        write = start_response("200 OK", [])
        try:
            write(b"one")
        except UnavailableError:
            start_response("200 As A Guest", [], sys.exc_info())
        return [b"two"]

    counted.failure = UnavailableError("no answer")
    response = call(SessionMiddleware(app, manager))
    assert response.started[0][0] == "200 As A Guest"
    assert (response.body, response.token) == (b"two", None)


@pytest.mark.parametrize("way", ["yield", "write"])
def test_an_error_after_the_headers_goes_to_the_server(manager: SessionManager, way: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        if way == "write":
            write(b"one")
            raise UnavailableError("something else's")
        return lazily()

    def lazily() -> Iterator[bytes]:
        yield b"one"
        raise UnavailableError("something else's")

    with pytest.raises(UnavailableError):
        call(SessionMiddleware(app, manager))


# Several sessions, and mistakes


def test_two_managers_have_two_cookies_and_two_sessions() -> None:
    stores = CountingStore(MemoryStore()), CountingStore(MemoryStore())
    shop = SessionManager(stores[0], cookie=Cookie(secure=False))
    admin = SessionManager(stores[1], cookie=Cookie(name="admin", path="/admin", same_site="Strict", secure=False))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/admin/login":
            get_session(environ, "admin").put_string("who", "root")
        elif environ["PATH_INFO"] == "/buy":
            get_session(environ).increment("cart")
        start_response("200 OK", [])
        both = dict(get_session(environ)), dict(get_session(environ, "admin"))
        return [repr(both).encode()]

    both = SessionMiddleware(SessionMiddleware(app, shop), admin, key="admin")
    with on_waitress(both) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/buy").text == "({'cart': 1}, {})"
        assert client.get("/admin/login").text == "({'cart': 1}, {'who': 'root'})"
        assert client.get("/admin").text == "({'cart': 1}, {'who': 'root'})"
        assert client.get("/").text == "({'cart': 1}, {})"
        assert {cookie.name: cookie.path for cookie in client.cookies.jar} == {"session": "/", "admin": "/admin"}
    assert [store.taken().count("create") for store in stores] == [1, 1]


def test_an_app_that_is_in_no_middleware_is_told(manager: SessionManager) -> None:
    with pytest.raises(RuntimeError, match=r"no session in environ\['admin'\]"):
        call(SessionMiddleware(lambda environ, _: [get_session(environ, "admin").token or b""], manager))  # type: ignore[list-item]  # it never gets there


def test_a_key_that_is_taken_is_refused(manager: SessionManager) -> None:
    for key in ("REQUEST_METHOD", "wsgi.input", "dynamostore.sessions"):
        with pytest.raises(ValueError, match="reserved by WSGI"):
            SessionMiddleware(simple([]), manager, key=key)
    other = SessionManager(MemoryStore())
    with pytest.raises(RuntimeError, match="another manager's session is already under key='session'"):
        call(SessionMiddleware(SessionMiddleware(simple([]), manager), other))
    # The same one twice is one.
    assert call(SessionMiddleware(SessionMiddleware(simple([]), manager), manager)).token is not None


# The keys


def test_it_is_there_under_a_dotted_key_too(manager: SessionManager) -> None:
    seen: list[tuple[object, object]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append((environ["session"], environ["dynamostore.session"]))
        seen.append((get_session(environ), get_session(environ, "dynamostore.session")))
        start_response("200 OK", [])
        return []

    call(SessionMiddleware(app, manager))
    ((plain, dotted), (got, got_dotted)) = seen
    assert plain is dotted is got is got_dotted
    admins = SessionManager(MemoryStore(), cookie=Cookie(name="admin"))

    def two(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert get_session(environ, "admin") is environ["dynamostore.admin"] is not environ["dynamostore.session"]
        start_response("200 OK", [])
        return []

    assert call(SessionMiddleware(SessionMiddleware(two, manager), admins, key="admin")).status == 200


@pytest.mark.parametrize("served", [True, False], ids=["waitress", "in process"])
def test_with_a_dotted_key_alone_the_environ_is_valid(manager: SessionManager, served: bool) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert "session" not in environ
        session = get_session(environ)
        assert session is environ["dynamostore.session"]
        session.increment("n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(session.get_int("n")).encode()]

    # Around the app, too: it is there that the session is in the environ.
    valid = validator(SessionMiddleware(validator(app), manager, key="dynamostore.session"))
    if not served:
        assert call(valid).body == b"1"
        return
    with on_waitress(valid) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/").text == "1"


def test_the_plain_key_is_what_the_validator_refuses(manager: SessionManager) -> None:
    with pytest.raises(AssertionError, match=r"session"):
        call(SessionMiddleware(validator(simple([b"one"])), manager))


def test_a_dotted_key_is_taken_by_the_plain_one(manager: SessionManager) -> None:
    other = SessionManager(MemoryStore())
    app = SessionMiddleware(SessionMiddleware(simple([]), manager), other, key="dynamostore.session")
    with pytest.raises(RuntimeError, match="another manager's session is already under key='session'"):
        call(app)


@pytest.mark.parametrize("key", ["session", "dynamostore.session"])
def test_what_is_put_under_either_key_is_the_sessions_data(manager: SessionManager, key: str) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[key] = {"a": 1}
        start_response("200 OK", [])
        return []

    assert held(manager, call(SessionMiddleware(app, manager)).token) == {"a": 1}


def test_two_objects_under_the_two_keys_are_refused(manager: SessionManager, counted: CountingStore) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["session"], environ["dynamostore.session"] = others
        start_response("200 OK", [])
        return []

    others: list[object] = [{"a": 1}, None]
    with pytest.raises(
        SessionTypeError, match=r"'session' and 'dynamostore.session' were replaced by two different objects"
    ):
        call(SessionMiddleware(app, manager))
    assert counted.taken() == []
    others = [None, None]
    assert call(SessionMiddleware(app, manager)).status == 200


def test_an_async_manager_is_refused(memory: MemoryStore) -> None:
    manager: Any = AsyncSessionManager(AwaitedStore(memory))
    with pytest.raises(TypeError, match="must be a SessionManager, not AsyncSessionManager"):
        SessionMiddleware(simple([]), manager)
