"""The same shop in Flask, Starlette and Django, as Authlib's documentation has it: log in, come back, see who you are.

| | |
|---|---|
| ``/login`` | sends the browser to the provider |
| ``/callback`` | gets the token, renews the session and notes the user; 400 with the error's name if it does not |
| ``/me`` | who is logged in |
| ``/count`` | changes another key |
| ``/states`` | how many logins are under way |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

import django
import flask
from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import DjangoIntegration
from authlib.integrations.django_client import OAuth as DjangoOAuth
from authlib.integrations.flask_client import FlaskIntegration
from authlib.integrations.flask_client import OAuth as FlaskOAuth
from authlib.integrations.starlette_client import OAuth as StarletteOAuth
from authlib.integrations.starlette_client import StarletteIntegration
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from session import SessionManager
from session.web.asgi import SessionMiddleware, get_session
from session.web.django import SessionStore
from session.web.flask import SessionInterface, session
from tests.serving import on_uvicorn, on_waitress

from .provider import CLIENT, SECRET

__all__ = ["SHOPS", "Shop"]

Shop: TypeAlias = Callable[[SessionManager, str, bool], AbstractContextManager[tuple[str, Any]]]
"""Serves a shop with the sessions of a manager and the provider at a URL. Yields its own URL, and Authlib's client.

If the last argument is True, Authlib deletes the state of a login without reading all other keys: docs/background/peers.md.
"""


class QuietFlask(FlaskIntegration):  # type: ignore[misc]  # Authlib has no types
    """Delete one state, and read no other key: docs/background/peers.md."""

    def clear_state_data(self, session: Any, state: str) -> None:
        session.pop(f"_state_{self.name}_{state}", None)


class QuietDjango(DjangoIntegration):  # type: ignore[misc]  # the same
    """As `QuietFlask`."""

    def clear_state_data(self, session: Any, state: str) -> None:
        session.pop(f"_state_{self.name}_{state}", None)


class QuietStarlette(StarletteIntegration):  # type: ignore[misc]  # the same
    """As `QuietFlask`."""

    async def clear_state_data(self, session: Any, state: str) -> None:
        session.pop(f"_state_{self.name}_{state}", None)


def _registration(provider: str) -> dict[str, object]:
    return {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "server_metadata_url": f"{provider}/.well-known/openid-configuration",
        "client_kwargs": {"scope": "openid", "code_challenge_method": "S256"},
    }


def _count_states(keys: Iterable[str]) -> str:
    return str(sum(key.startswith("_state_") for key in keys))


@contextmanager
def _serve_flask(manager: SessionManager, provider: str, quiet: bool) -> Iterator[tuple[str, Any]]:
    app = flask.Flask("shop")
    SessionInterface(manager).init_app(app)
    oauth = FlaskOAuth(app)
    if quiet:
        oauth.framework_integration_cls = QuietFlask
    client = oauth.register("idp", **_registration(provider))

    @app.get("/login")
    def login() -> flask.typing.ResponseReturnValue:
        answer: flask.typing.ResponseReturnValue = client.authorize_redirect(flask.url_for("callback", _external=True))
        return answer

    @app.get("/callback")
    def callback() -> flask.typing.ResponseReturnValue:
        if "once" in flask.request.args:
            session.forbid_rerun()
        try:
            token = client.authorize_access_token()
        except OAuthError as error:
            return str(error.error), 400
        session.renew_token()
        session["user"] = token["userinfo"]["sub"]
        return str(session["user"])

    @app.get("/me")
    def me() -> str:
        return session.get_string("user")

    @app.get("/count")
    def count() -> str:
        session.increment("count")
        return str(session.peek("count"))

    @app.get("/states")
    def states() -> str:
        return _count_states(session)

    with on_waitress(app) as url:
        yield url, client


@contextmanager
def _serve_starlette(manager: SessionManager, provider: str, quiet: bool) -> Iterator[tuple[str, Any]]:
    oauth = StarletteOAuth()
    if quiet:
        oauth.framework_integration_cls = QuietStarlette
    client = oauth.register("idp", **_registration(provider))

    async def login(request: Request) -> Response:
        answer: Response = await client.authorize_redirect(request, request.url_for("callback"))
        return answer

    async def callback(request: Request) -> Response:
        session = get_session(request.scope)
        if "once" in request.query_params:
            session.forbid_rerun()
        try:
            token = await client.authorize_access_token(request)
        except OAuthError as error:
            return PlainTextResponse(str(error.error), 400)
        session.renew_token()
        session["user"] = token["userinfo"]["sub"]
        return PlainTextResponse(session.get_string("user"))

    async def me(request: Request) -> Response:
        return PlainTextResponse(get_session(request.scope).get_string("user"))

    async def count(request: Request) -> Response:
        session = get_session(request.scope)
        session.increment("count")
        return PlainTextResponse(str(session.peek("count")))

    async def states(request: Request) -> Response:
        return PlainTextResponse(_count_states(get_session(request.scope)))

    app = Starlette(routes=[Route(f"/{view.__name__}", view) for view in (login, callback, me, count, states)])
    with on_uvicorn(SessionMiddleware(app, manager)) as url:
        yield url, client


_django: dict[str, Any] = {}


def _login(request: HttpRequest) -> HttpResponse:
    answer: HttpResponse = _django["client"].authorize_redirect(request, request.build_absolute_uri("/callback"))
    return answer


def _callback(request: HttpRequest) -> HttpResponse:
    session = _session(request)
    if "once" in request.GET:
        session.forbid_rerun()
    try:
        token = _django["client"].authorize_access_token(request)
    except OAuthError as error:
        return HttpResponse(str(error.error), status=400)
    session.cycle_key()
    session["user"] = token["userinfo"]["sub"]
    return HttpResponse(session.get_string("user"))


def _me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_session(request).get_string("user"))


def _count(request: HttpRequest) -> HttpResponse:
    session = _session(request)
    session.increment("count")
    return HttpResponse(str(session.peek("count")))


def _states(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_count_states(_session(request).keys()))


def _session(request: HttpRequest) -> SessionStore:
    assert isinstance(request.session, SessionStore)
    return request.session


urlpatterns = [
    path("login", _login),
    path("callback", _callback),
    path("me", _me),
    path("count", _count),
    path("states", _states),
]


@contextmanager
def _serve_django(manager: SessionManager, provider: str, quiet: bool) -> Iterator[tuple[str, Any]]:
    if not settings.configured:
        settings.configure(
            SECRET_KEY="for tests only",
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            # As the manager's lifetime is in the tests.
            SESSION_COOKIE_AGE=3600,
            SESSION_ENGINE="session.web.django",
            MIDDLEWARE=["session.web.django.SessionMiddleware"],
            LOGGING_CONFIG=None,
        )
        django.setup()
    oauth = DjangoOAuth()
    if quiet:
        oauth.framework_integration_cls = QuietDjango
    _django["client"] = oauth.register("idp", **_registration(provider))
    with override_settings(SESSION_MANAGER=manager), on_waitress(get_wsgi_application()) as url:
        yield url, _django["client"]


SHOPS: Final[dict[str, Shop]] = {"flask": _serve_flask, "starlette": _serve_starlette, "django": _serve_django}
