"""Flask: with our session interface, Flask-Session on DynamoDB, and its own signed cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.speed.stored import REGION
from benchmarks.web.routes import VIEWS, Data, ignore

from . import Site
from .managers import manager

if TYPE_CHECKING:
    from flask import Flask

    from session import SessionManager

__all__ = ["flask_session", "flask_session_no_refresh", "none", "on_boto3", "ours", "signed_cookie"]


def none(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """A dict instead of a session: without a secret key, Flask makes none."""
    return Site(_app({}, lambda: None))


def ours(url: str) -> Site:
    """Our interface, on the wire client."""
    return _ours(manager(url))


def on_boto3(url: str) -> Site:
    """Our interface, on boto3: what is left of the difference is not the client's."""
    return _ours(manager(url, "boto3"))


def _ours(manager: SessionManager) -> Site:
    from session.web.flask import SessionInterface, session

    app = _app(session, lambda: session.renew_token())  # noqa: PLW0108 (not before there is a session)
    SessionInterface(manager).init_app(app)
    return Site(app)


def flask_session(url: str) -> Site:
    """Flask-Session with ``SESSION_TYPE = "dynamodb"`` and a resource of boto3's; it makes its table itself."""
    return _flask_session(url)


def flask_session_no_refresh(url: str) -> Site:
    """The same, but told to write what was changed and no more: expiries do not move on then."""
    return _flask_session(url, SESSION_REFRESH_EACH_REQUEST=False)


def _flask_session(url: str, **settings: object) -> Site:
    import boto3
    from flask import session
    from flask_session import Session

    app = _app(session, lambda: app.session_interface.regenerate(session))  # type: ignore[attr-defined]  # it is theirs
    dynamodb = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url)
    app.config.update(SESSION_TYPE="dynamodb", SESSION_DYNAMODB=dynamodb, **settings)
    Session(app)
    return Site(app)


def signed_cookie(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """Flask's own: the data is in the cookie, so there is no id to be renewed."""
    from flask import session

    app = _app(session, lambda: None)
    app.secret_key = "a secret of the benchmark's"
    return Site(app)


def _app(session: Any, renew: Callable[[], None]) -> Flask:
    """*session* is whatever the views are to have: Flask's proxy does not say what it is."""
    from flask import Flask

    app = Flask("benchmark")
    data: Data = session
    app.add_url_rule("/ignore", "/ignore", ignore)
    for path, view in VIEWS.items():
        if path != "/login":
            app.add_url_rule(path, path, lambda view=view: view(data))

    @app.get("/login")
    def login() -> str:
        body = VIEWS["/login"](data)
        renew()
        return body

    return app
