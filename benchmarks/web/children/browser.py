"""A client without a network: calls a WSGI or ASGI app with the requests of a browser, and keeps its cookie."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, Protocol
from wsgiref.util import setup_testing_defaults

from benchmarks.web.apps import ASGIApp, Message, Scope

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["Answer", "AsgiBrowser", "Browser", "WsgiBrowser"]


class Answer(NamedTuple):
    """A response. *cookie*: the one it sets, as it is to be sent; None if it sets none."""

    status: int
    body: bytes
    cookie: str | None


class Browser(Protocol):
    """Sends one request at a time."""

    async def get(self, path: str, cookie: str | None) -> Answer:
        """The answer to a GET with that cookie. A WSGI app's is there at once: nothing is awaited."""


class WsgiBrowser:
    """A browser in front of a WSGI app."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._environ: dict[str, object] = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https", "QUERY_STRING": ""}
        setup_testing_defaults(self._environ)
        self._environ["wsgi.input"] = BytesIO()

    async def get(self, path: str, cookie: str | None) -> Answer:
        environ = {**self._environ, "PATH_INFO": path}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> object:  # noqa: ARG001
            started.append((status, headers))
            return None

        chunks = self._app(environ, start_response)  # type: ignore[arg-type]  # nobody calls what it returns
        body = b"".join(chunks)
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
        status, headers = started[-1]
        set_cookie = next((value for name, value in headers if name.lower() == "set-cookie"), None)
        return Answer(int(status[:3]), body, None if set_cookie is None else set_cookie.partition(";")[0])


class AsgiBrowser:
    """A browser in front of an ASGI app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._scope: dict[str, object] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "query_string": b"",
            "root_path": "",
            "client": ("127.0.0.1", 50000),
            "server": ("localhost", 443),
        }

    async def get(self, path: str, cookie: str | None) -> Answer:
        headers = [(b"host", b"localhost")]
        if cookie is not None:
            headers.append((b"cookie", cookie.encode("latin-1")))
        scope: Scope = {**self._scope, "path": path, "raw_path": path.encode(), "headers": headers}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *bodies = sent
        body = b"".join(_bytes(message.get("body", b"")) for message in bodies)
        status, received = start["status"], start["headers"]
        assert isinstance(status, int)
        assert isinstance(received, Iterable)
        set_cookie: bytes | None = next((value for name, value in received if name == b"set-cookie"), None)
        return Answer(status, body, None if set_cookie is None else set_cookie.decode("latin-1").partition(";")[0])


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
