"""A WSGI app as a server's process, each request in a strand of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from io import BytesIO
from typing import TYPE_CHECKING

from benchmarks.notice.clock import in_strand
from benchmarks.notice.traces import Trace, enter

from . import Wire

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = ["WSGIProcess"]


class WSGIProcess:
    """A `Process` around a WSGI app."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    async def answer(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request, in virtual time."""
        return await in_strand(lambda: self._in_context(trace, method, path, query, cookie))

    def replay(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        """Answer a request whose trace says that nothing takes time."""
        return self._in_context(trace, method, path, query, cookie)

    def _in_context(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        return Context().run(self._serve, trace, method, path, query, cookie)

    def _serve(self, trace: Trace, method: str, path: str, query: str, cookie: str | None) -> Wire:
        enter(trace)
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "shop.test",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "shop.test",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(),
            "wsgi.errors": None,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        if method == "POST":
            environ["CONTENT_LENGTH"] = "0"
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        wire = Wire(0, [])

        def start(
            status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
        ) -> Callable[[bytes], object]:
            nonlocal wire
            wire = Wire(int(status[:3]), list(headers))
            return lambda _: None

        body = self._app(environ, start)
        try:
            for _ in body:
                pass
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return wire
