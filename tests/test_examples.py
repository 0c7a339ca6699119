"""The examples, as they are run: each under its real server, over sockets, on ministack."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator
from types import ModuleType

import httpx
import pytest
from starlette.testclient import TestClient
from websockets.sync.client import connect as connect_websocket

from dynamostore import DynamoStore, Table, connect
from session import Cookie, Session, SessionManager

from .backends import Backends
from .serving import BIN, EXAMPLES, environment, serving

PYTHON = [sys.executable]
GUNICORN = [str(BIN / "gunicorn"), "--bind={listen}", "--workers=2", "--threads=2", f"--chdir={EXAMPLES}"]
UVICORN = [str(BIN / "uvicorn"), "--port={port}", "--log-level=warning", f"--app-dir={EXAMPLES}"]
SERVERS = {
    "WSGI on waitress": [*PYTHON, str(EXAMPLES / "hello.py")],
    "WSGI on gunicorn": [*GUNICORN, "hello:app"],
    "Starlette": [*PYTHON, str(EXAMPLES / "starlette_app.py")],
    "Starlette on the command line": [*UVICORN, "starlette_app:app"],
    "FastAPI": [*PYTHON, str(EXAMPLES / "fastapi_app.py")],
    "FastAPI on the command line": [*UVICORN, "fastapi_app:app"],
}
TABLE = "examples"


@pytest.fixture(scope="module")
def url(backends: Backends) -> str:
    """A ministack with the examples' table."""
    backend = backends.server("ministack")
    assert backend.url is not None
    DynamoStore(backend.client, Table(name=TABLE)).create_table()
    return backend.url


@pytest.fixture(scope="module", params=SERVERS)
def client(request: pytest.FixtureRequest, url: str) -> Iterator[httpx.Client]:
    with (
        serving(*SERVERS[request.param], **environment(url, TABLE)) as app,
        httpx.Client(base_url=app, trust_env=False) as client,
    ):
        yield client


def test_it_stores_a_message_gives_it_back_and_forgets_it(client: httpx.Client) -> None:
    assert "Hello world!" not in client.get("/get").text
    response = client.get("/put")
    assert response.status_code == 200
    assert response.headers["set-cookie"].startswith("session=")
    assert "Hello world!" in client.get("/get").text
    assert client.get("/logout").headers["set-cookie"].startswith("session=; ")
    assert "Hello world!" not in client.get("/get").text
    assert client.get("/elsewhere").status_code == 404


def test_a_session_is_the_same_in_every_one_of_them(url: str) -> None:
    jar = httpx.Cookies()
    for i, command in enumerate((SERVERS["WSGI on waitress"], SERVERS["Starlette"], SERVERS["FastAPI"])):
        with (
            serving(*command, **environment(url, TABLE)) as app,
            httpx.Client(base_url=app, trust_env=False, cookies=jar) as client,
        ):
            if i == 0:
                client.get("/put")
                jar = client.cookies
            assert "Hello world!" in client.get("/get").text


def test_fastapi_logs_in_with_a_new_token(url: str) -> None:
    with (
        serving(*SERVERS["FastAPI"], **environment(url, TABLE)) as app,
        httpx.Client(base_url=app, trust_env=False) as client,
    ):
        client.get("/put")
        before = client.cookies["session"]
        assert client.post("/login?user_id=7").json() == 7
        assert client.cookies["session"] != before
        assert client.get("/get").json() == "Hello world!"


def test_a_websocket_sees_the_session(url: str) -> None:
    with (
        serving(*SERVERS["Starlette"], **environment(url, TABLE)) as app,
        httpx.Client(base_url=app, trust_env=False) as client,
    ):
        client.get("/put")
        cookie = {"Cookie": f"session={client.cookies['session']}"}
        with connect_websocket(f"ws{app[4:]}/greet", additional_headers=cookie, proxy=None) as ws:
            assert ws.recv() == "Hello world!"


# Tested, as apps are


@pytest.mark.parametrize("name", ["starlette_app", "fastapi_app"])
def test_an_example_can_be_started_again(url: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each test of an app starts it anew, and its event loop with it; its store was made when it was imported."""
    module = imported(name, url, monkeypatch)
    cookies = None
    for _ in range(3):
        with TestClient(module.app, cookies=cookies) as client:
            client.get("/put")
            assert "Hello world!" in client.get("/get").text
            cookies = client.cookies
        with TestClient(module.app, cookies=cookies) as client:
            assert "Hello world!" in client.get("/get").text
    with pytest.raises(RuntimeError, match="the client is closed"):
        TestClient(module.app).get("/put")


# Lambda


@pytest.fixture
def function(url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported("lambda_function", url, monkeypatch)


def imported(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return an example, imported anew in this process."""
    for variable, value in environment(url, TABLE).items():
        monkeypatch.setenv(variable, value)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lambda_function_takes_its_cookies_from_the_event_and_gives_them_back(function: ModuleType) -> None:
    # As API Gateway has it (payload 2.0), and function URLs.
    event = {"version": "2.0", "rawPath": "/put", "requestContext": {"http": {"method": "GET", "path": "/put"}}}
    put = function.handler(event, None)
    assert put["statusCode"] == 200
    assert put["headers"]["Cache-Control"] == 'no-cache="Set-Cookie"'
    (cookie,) = put["cookies"]
    assert "; Secure; HttpOnly; SameSite=Lax" in cookie
    jar = ["theme=dark", cookie.partition(";")[0]]
    got = function.handler({"rawPath": "/get", "cookies": jar}, None)
    assert got == {
        "statusCode": 200,
        "headers": {"Content-Type": "text/plain; charset=utf-8", "Vary": "Cookie"},
        "cookies": [],
        "body": "Hello world!",
    }
    (cleared,) = function.handler({"rawPath": "/logout", "cookies": jar}, None)["cookies"]
    assert cleared.startswith("session=; ")
    assert function.handler({"rawPath": "/get", "cookies": jar}, None)["body"] == ""
    assert function.handler({"rawPath": "/elsewhere", "cookies": []}, None)["statusCode"] == 404


@pytest.mark.parametrize("space", ["\xa0", "\x85", "\u2000", "\u3000", "\x1f"])
def test_the_lambda_function_takes_no_cookie_that_another_host_planted(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    monkeypatch.setattr(function, "manager", SessionManager(function.store, cookie=Cookie(name="__Host-session")))
    mine, theirs = (function.handler({"rawPath": "/put"}, None)["cookies"][0].partition(";")[0] for _ in range(2))
    # It is given text, which Lambda has decoded as UTF-8.
    for jar in ([space + theirs], [theirs.replace("=", f"{space}=")], [theirs[1:], f"a=b, {theirs}"]):
        assert function.handler({"rawPath": "/get", "cookies": jar}, None)["body"] == ""
        assert function.handler({"rawPath": "/get", "cookies": [*jar, mine]}, None)["body"] == "Hello world!"


def test_the_lambda_function_finds_the_session_that_an_old_cookie_hides_and_ends_all(function: ModuleType) -> None:
    old, new, other = (function.handler({"rawPath": "/put"}, None)["cookies"][0].partition(";")[0] for _ in range(3))
    function.handler({"rawPath": "/logout", "cookies": [old]}, None)
    assert function.handler({"rawPath": "/get", "cookies": [old, new]}, None)["body"] == "Hello world!"
    function.handler({"rawPath": "/logout", "cookies": [old, new, other]}, None)
    assert function.handler({"rawPath": "/get", "cookies": [new, other]}, None)["body"] == ""


def test_the_lambda_function_answers_an_outage_with_503_and_leaves_the_cookie(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = function.handler({"rawPath": "/put"}, None)["cookies"][0].partition(";")[0]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = connect(TABLE, endpoint_url=f"http://127.0.0.1:{closed.getsockname()[1]}", attempts=1)
    monkeypatch.setattr(function, "manager", SessionManager(store))
    response = function.handler({"rawPath": "/get", "cookies": [cookie]}, None)
    assert response["statusCode"] == 503
    assert "cookies" not in response


def test_the_lambda_function_answers_a_stale_request_with_409_and_leaves_the_cookie(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(path: str, s: Session) -> tuple[int, str]:
        s.get_string("message")
        with function.manager.session(s.token) as other:
            other.put_string("message", "Hello again!")
        s.put_int("n", 1)
        return 200, ""

    cookie = function.handler({"rawPath": "/put"}, None)["cookies"][0].partition(";")[0]
    monkeypatch.setattr(function, "respond", respond)
    response = function.handler({"rawPath": "/", "cookies": [cookie]}, None)
    assert response == {"statusCode": 409, "headers": {"cache-control": "no-store"}, "body": "please try again"}
