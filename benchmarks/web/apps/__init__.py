"""The apps: each framework without sessions, with ours, and with what others have for it, as their documentation says.

Modules are named for the framework, and import packages only in functions: a process has just the app that it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["APPS", "ASGIApp", "App", "AsyncSite", "Message", "Receive", "Scope", "Send", "Site", "nothing"]

Scope: TypeAlias = MutableMapping[str, object]
Message: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Counting: TypeAlias = Callable[[], AbstractContextManager[Counter[str]]]


@contextmanager
def nothing() -> Iterator[Counter[str]]:
    """The statements of a back end that is not within the process."""
    yield Counter()


class Site(NamedTuple):
    """A WSGI app that is set up. *counting*: a block in which the statements of a back end in the process are counted."""

    app: WSGIApplication
    counting: Counting = nothing


class AsyncSite(NamedTuple):
    """An ASGI app that is set up."""

    app: ASGIApp
    counting: Counting = nothing


class App(NamedTuple):
    """One app, and how to make it: ``module.maker(url)``, awaited if it is *asynchronous*; *url* is DynamoDB's.

    *packages*: whose versions matter. *base*: the app without sessions; *ours*: the one with ours, which it is compared with.
    """

    label: str
    module: str
    maker: str
    base: str
    ours: str
    packages: tuple[str, ...] = ()
    asynchronous: bool = False


APPS: dict[str, App] = {
    "wsgi-none": App("WSGI, no session", "plain", "none", "", ""),
    "wsgi": App("session.web.wsgi", "plain", "ours", "wsgi-none", "wsgi", ("dynamostore",)),
    "flask-none": App("Flask, no session", "flask", "none", "", "", ("flask",)),
    "flask": App("session.web.flask", "flask", "ours", "flask-none", "flask"),
    "flask-boto3": App("session.web.flask, via boto3", "flask", "on_boto3", "flask-none", "flask", ("boto3",)),
    "flask-session": App(
        "Flask-Session, DynamoDB", "flask", "flask_session", "flask-none", "flask", ("flask-session",)
    ),
    "flask-session-no-refresh": App(
        "Flask-Session, not refreshing each request", "flask", "flask_session_no_refresh", "flask-none", "flask"
    ),
    "flask-cookie": App("(Flask's signed cookie)", "flask", "signed_cookie", "flask-none", "flask"),
    "django-none": App("Django, no session", "django", "none", "", "", ("django",)),
    "django": App("session.web.django", "django", "ours", "django-none", "django"),
    "django-cache": App(
        "Django's cache sessions, django-dynamodb-cache",
        "django",
        "dynamodb_cache",
        "django-none",
        "django",
        ("django-dynamodb-cache",),
    ),
    "django-db": App("(Django's db sessions, SQLite)", "django", "sqlite", "django-none", "django"),
    "django-cookie": App("(Django's signed cookie)", "django", "signed_cookie", "django-none", "django"),
    "starlette-none": App("Starlette, no session", "starlette", "none", "", "", ("starlette",), asynchronous=True),
    "starlette": App(
        "session.web.asgi, Starlette", "starlette", "ours", "starlette-none", "starlette", asynchronous=True
    ),
    "starsessions": App(
        "starsessions, aiobotocore",
        "starlette",
        "starsessions_dynamodb",
        "starlette-none",
        "starlette",
        ("starsessions", "aiobotocore"),
        asynchronous=True,
    ),
    "starsessions-memory": App(
        "(starsessions in memory)",
        "starlette",
        "starsessions_memory",
        "starlette-none",
        "starlette",
        asynchronous=True,
    ),
    "starlette-cookie": App(
        "(Starlette's signed cookie)", "starlette", "signed_cookie", "starlette-none", "starlette", asynchronous=True
    ),
}
"""By name, in the order of the tables. In brackets what needs no network."""
