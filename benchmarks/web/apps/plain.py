"""WSGI without a framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from benchmarks.web.routes import VIEWS, Data, ignore

from . import Site
from .managers import manager

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["none", "ours"]


def none(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """A dict instead of a session."""
    data: Data = dict[str, object]()
    return Site(_app(lambda _: data, lambda _: None))


def ours(url: str) -> Site:
    """In our middleware."""
    from session.web.wsgi import SessionMiddleware, get_session

    app = _app(
        get_session,  # type: ignore[arg-type]  # its values are JSON's
        lambda environ: get_session(environ).renew_token(),
    )
    return Site(SessionMiddleware(app, manager(url)))


def _app(session: Callable[[WSGIEnvironment], Data], renew: Callable[[WSGIEnvironment], None]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        body = VIEWS[path](session(environ)) if path != "/ignore" else ignore()
        if path == "/login":
            renew(environ)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body.encode()]

    return app
