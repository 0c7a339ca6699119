"""One app on every adapter, under its real server: what a path does is an *action*, which sees the session and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

import flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dynamostore import Store
from dynamostore.instants import Clock
from session import AsyncSessionManager, Cookie, SessionManager
from session.session import BaseSession
from session.web import asgi, wsgi
from session.web.flask import FlaskSession, SessionInterface
from session.web.flask._context import current_session

from .awaited import AwaitedStore
from .serving import on_uvicorn, on_waitress

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ON_ASGI", "ON_WSGI", "Action", "Answer", "Hosts", "Site"]


@dataclass(frozen=True)
class Answer:
    """A response."""

    body: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Action: TypeAlias = Callable[[BaseSession], Answer | str | None]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What an adapter is to serve: a store and the settings of a manager, and an action for each path."""

    store: Store
    actions: Mapping[str, Action]
    clock: Clock
    settings: Mapping[str, object] = field(default_factory=dict)
    commit_errors: bool = False

    def manager(self) -> SessionManager:
        return SessionManager(self.store, clock=self.clock, **self._settings)  # type: ignore[arg-type]  # what a test says

    def async_manager(self) -> AsyncSessionManager:
        store = AwaitedStore(self.store, lambda _: asyncio.sleep(0))
        return AsyncSessionManager(store, clock=self.clock, **self._settings)  # type: ignore[arg-type]  # what a test says

    @property
    def _settings(self) -> dict[str, object]:
        return {"cookie": Cookie(secure=False), **self.settings}

    def act(self, path: str, session: BaseSession) -> Answer:
        answer = self.actions[path](session)
        return answer if isinstance(answer, Answer) else Answer(answer or "")


def on_wsgi(site: Site) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = site.act(environ["PATH_INFO"], wsgi.get_session(environ))
        start_response(f"{answer.status} Said So", list(answer.headers))
        return [_body(answer, environ)]

    return wsgi.SessionMiddleware(app, site.manager(), commit_errors=site.commit_errors)


def on_wsgi_streaming(site: Site) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        yield b""
        answer = site.act(environ["PATH_INFO"], wsgi.get_session(environ))
        start_response(f"{answer.status} Said So", list(answer.headers))
        yield b""
        yield _body(answer, environ)

    return wsgi.SessionMiddleware(app, site.manager(), commit_errors=site.commit_errors)


def _body(answer: Answer, environ: WSGIEnvironment) -> bytes:
    return b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body.encode()


def on_flask(site: Site) -> WSGIApplication:
    app = flask.Flask("site", static_folder=None)

    def view() -> flask.Response:
        session = current_session()
        assert isinstance(session, FlaskSession)
        answer = site.act(flask.request.path, session)
        return flask.Response(answer.body, answer.status, list(answer.headers))

    for path in site.actions:
        methods = ["GET", "POST", "OPTIONS"]
        app.add_url_rule(path, path, view, methods=methods, provide_automatic_options=False)
    SessionInterface(site.manager(), commit_errors=site.commit_errors).init_app(app)
    return app


def on_asgi(site: Site, *, synchronous: bool = False) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = site.act(scope["path"], asgi.get_session(scope))
        headers = [(name.encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body.encode()})

    manager = site.manager() if synchronous else site.async_manager()
    return asgi.SessionMiddleware(app, manager, commit_errors=site.commit_errors)


def on_starlette(site: Site) -> ASGIApp:
    async def endpoint(request: Request) -> Response:
        await asyncio.sleep(0)
        return _respond(site, request)

    return _starlette(site, endpoint)


def on_starlette_in_threads(site: Site) -> ASGIApp:
    def endpoint(request: Request) -> Response:
        return _respond(site, request)

    return _starlette(site, endpoint)


def _respond(site: Site, request: Request) -> Response:
    answer = site.act(request.url.path, asgi.get_session(request.scope))
    return Response(answer.body, answer.status, dict(answer.headers))


def _starlette(site: Site, endpoint: Callable[..., object]) -> ASGIApp:
    manager = site.async_manager()
    middleware = Middleware(asgi.SessionMiddleware, manager=manager, commit_errors=site.commit_errors)
    return Starlette(
        routes=[Route(path, endpoint, methods=["GET", "POST"]) for path in site.actions], middleware=[middleware]
    )


ON_WSGI: dict[str, Callable[[Site], WSGIApplication]] = {
    "WSGI": on_wsgi,
    "WSGI, streaming": on_wsgi_streaming,
    "Flask": on_flask,
}
ON_ASGI: dict[str, Callable[[Site], ASGIApp]] = {
    "ASGI": on_asgi,
    "ASGI, synchronous manager": partial(on_asgi, synchronous=True),
    "Starlette": on_starlette,
    "Starlette, in threads": on_starlette_in_threads,
}


class Hosts:
    """A waitress and a uvicorn, started when they are needed, that serve one app after the other."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def serve(self, name: str, site: Site) -> str:
        """Serve *site* on the adapter *name* from now on; returns the URL."""
        if name in ON_WSGI:
            self._wsgi_app = ON_WSGI[name](site)
            return self._waitress
        self._asgi_app = ON_ASGI[name](site)
        return self._uvicorn

    @cached_property
    def _waitress(self) -> str:
        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return self._wsgi_app(environ, start_response)

        return self._stack.enter_context(on_waitress(app))

    @cached_property
    def _uvicorn(self) -> str:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._asgi_app(scope, receive, send)

        return self._stack.enter_context(on_uvicorn(app))
