"""Django: with our engine, its cache sessions on DynamoDB, its db sessions on SQLite, and its signed cookie."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.stored import REGION
from benchmarks.web.routes import VIEWS, Data, ignore

from . import Site
from .managers import manager

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = ["dynamodb_cache", "none", "ours", "signed_cookie", "sqlite"]

_TABLE = "django_cache"


def none(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """A dict instead of a session, and no middleware."""
    return _site(MIDDLEWARE=[])


def ours(url: str) -> Site:
    """Our engine and middleware."""
    return _site(
        MIDDLEWARE=["session.web.django.SessionMiddleware"],
        SESSION_ENGINE="session.web.django",
        SESSION_MANAGER=manager(url),
    )


def dynamodb_cache(url: str) -> Site:
    """``backends.cache`` on django-dynamodb-cache; ``createcachetable`` makes its table."""
    # It has no setting for that; boto3 has.
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = url
    backend = "django_dynamodb_cache.backend.DjangoCacheBackend"
    site = _site(
        INSTALLED_APPS=["django_dynamodb_cache"],
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        CACHES={"default": {"BACKEND": backend, "LOCATION": _TABLE, "OPTIONS": {"aws_region_name": REGION}}},
    )
    _command("createcachetable")
    return site


def sqlite(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """``backends.db`` on a file of SQLite's, which stays open between requests."""
    file = Path(os.environ["HOME"]) / f"django-{os.getpid()}.sqlite3"
    site = _site(
        INSTALLED_APPS=["django.contrib.sessions"],
        SESSION_ENGINE="django.contrib.sessions.backends.db",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "CONN_MAX_AGE": None}},
    )
    _command("migrate")
    return Site(site.app, _statements)


def signed_cookie(url: str) -> Site:  # noqa: ARG001 (it has no use for it)
    """``backends.signed_cookies``: the data is in the cookie, so there is no id to be renewed."""
    return _site(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")


def _site(**settings: object) -> Site:
    import django
    from django.conf import settings as all_settings
    from django.core.handlers.wsgi import WSGIHandler

    middleware = ["django.contrib.sessions.middleware.SessionMiddleware"]
    all_settings.configure(
        **{
            "ALLOWED_HOSTS": ["*"],
            "MIDDLEWARE": middleware,
            "ROOT_URLCONF": _urls(has_session=settings.get("MIDDLEWARE") != []),
            "SECRET_KEY": "a secret of the benchmark's",
            "USE_TZ": True,
            **settings,
        }
    )
    django.setup(set_prefix=False)
    return Site(WSGIHandler())


def _command(name: str) -> None:
    """A management command; what it says is for the log: standard output is the driver's."""
    from django.core.management import call_command

    call_command(name, stdout=sys.stderr)


def _urls(*, has_session: bool) -> tuple[Any, ...]:
    """A URLconf. With the settings not made yet, nothing of Django's is asked for more than its classes."""
    from django.http import HttpResponse
    from django.urls import path

    nobodys: dict[str, object] = {}

    def data(request: HttpRequest) -> Data:
        return request.session if has_session else nobodys

    def view_of(where: str) -> Any:
        view, is_login = VIEWS[where], where == "/login"

        def view_of_session(request: HttpRequest) -> HttpResponse:
            body = view(data(request))
            if is_login and has_session:
                request.session.cycle_key()
            return HttpResponse(body)

        return view_of_session

    views = [path(where[1:], view_of(where)) for where in VIEWS]
    return (path("ignore", lambda _: HttpResponse(ignore())), *views)


@contextmanager
def _statements() -> Iterator[Counter[str]]:
    """What SQLite is told, by first word."""
    from django.db import connection

    connection.ensure_connection()
    counted: Counter[str] = Counter()
    connection.connection.set_trace_callback(lambda statement: counted.update([statement.split(None, 1)[0].upper()]))
    try:
        yield counted
    finally:
        connection.connection.set_trace_callback(None)
