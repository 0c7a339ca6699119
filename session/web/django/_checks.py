"""The system checks of the session engine: what is wrong with a project's settings, and what to write instead. Contacts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from django import conf
from django.apps import AppConfig
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ._manager import get_conflict_view, get_rerun, get_site
from ._middleware import SessionMiddleware
from ._store import BaseSessionStore

__all__ = ["check_sessions"]

_OURS = '"session.web.django.SessionMiddleware"'
_DJANGOS = '"django.contrib.sessions.middleware.SessionMiddleware"'
_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"


def check_sessions(
    app_configs: Sequence[AppConfig] | None = None,  # noqa: ARG001 (Django's signature)
    **_: object,
) -> list[CheckMessage]:
    """Return what is wrong with the settings of the session engine, each with what to write instead."""
    kinds = _session_middleware()
    ours = [kind for kind in kinds if issubclass(kind, SessionMiddleware)]
    if not _is_engine():
        return [_other_engine()] if ours else []
    found = _check_manager(renewable=bool(ours) or not kinds)
    for name, get in (("SESSION_RERUN", get_rerun), ("SESSION_CONFLICT_VIEW", get_conflict_view)):
        found += _check_setting(name, get)
    if len(kinds) > 1:
        found.append(_several(len(kinds)))
    elif not kinds:
        found.append(_no_middleware())
    elif not ours:
        found.append(_djangos_middleware())
    if conf.settings.SESSION_SERIALIZER != _SERIALIZER:
        found.append(_serializer())
    return found


def _session_middleware() -> list[type[DjangoSessionMiddleware]]:
    """Return the classes in MIDDLEWARE that make ``request.session``."""
    kinds: list[type[DjangoSessionMiddleware]] = []
    for path in conf.settings.MIDDLEWARE:
        try:
            kind = import_string(path)
        except ImportError:
            continue  # Django says so itself, with its first request
        if isinstance(kind, type) and issubclass(kind, DjangoSessionMiddleware):
            kinds.append(kind)
    return kinds


def _is_engine() -> bool:
    """Return True if SESSION_ENGINE is this one, or has a SessionStore that is one of this one's."""
    try:
        store = getattr(import_module(conf.settings.SESSION_ENGINE), "SessionStore", None)
    except ImportError:
        return False  # Django says so itself, when it loads the middleware
    return isinstance(store, type) and issubclass(store, BaseSessionStore)


def _check_manager(*, renewable: bool) -> list[CheckMessage]:
    try:
        site = get_site()
    except ImproperlyConfigured as error:
        return [_no_manager(str(error))]
    except Exception as error:  # noqa: BLE001 (the project's own code makes it, and may raise anything)
        return [_no_manager(f"SESSION_MANAGER cannot be made: {type(error).__name__}: {error}")]
    if site.manager._policy.renewal_grace and not renewable:
        return [_grace()]
    return []


def _check_setting(name: str, get: Callable[[], object]) -> list[CheckMessage]:
    try:
        get()
    except ImproperlyConfigured as error:
        hint = {
            "SESSION_RERUN": 'Write SESSION_RERUN = "safe", which is the default, or "never".',
            "SESSION_CONFLICT_VIEW": "Write the dotted path of a function of the request and the SessionConflict, or leave it out.",
        }
        return [checks.Error(str(error), hint=hint[name], id="dynamostore.E005")]
    return []


def _no_manager(what: str) -> CheckMessage:
    if "no region is configured" in what:
        return _no_region(what)
    return checks.Error(
        what,
        hint='Write SESSION_MANAGER = "mysite.sessions.manager", the dotted path of a session.SessionManager, or '
        'SESSION_TABLE = "scs_session", the name of a table.',
        id="dynamostore.E001",
    )


def _no_region(what: str) -> CheckMessage:
    return checks.Error(
        what,
        hint="Set AWS_DEFAULT_REGION in the environment, or region in ~/.aws/config; or write "
        'SESSION_MANAGER = SessionManager(dynamostore.connect("scs_session", region="eu-central-1")).',
        id="dynamostore.E002",
    )


def _grace() -> CheckMessage:
    return checks.Error(
        "the manager has a renewal_grace, and Django's own SessionMiddleware would hand out the old key again: the user would "
        "be logged out when the grace is over",
        hint=f"Write {_OURS} in MIDDLEWARE in place of {_DJANGOS}, or make the manager without renewal_grace.",
        id="dynamostore.E003",
    )


def _several(number: int) -> CheckMessage:
    return checks.Error(
        f"there are {number} session middlewares in MIDDLEWARE: the inner one replaces the session of the outer one, and both "
        "set the cookie",
        hint=f"Leave {_OURS} in MIDDLEWARE, and remove the others.",
        id="dynamostore.E004",
    )


def _djangos_middleware() -> CheckMessage:
    return checks.Warning(
        "with Django's own SessionMiddleware an outage and a stale request are a 500, and a session that ended meanwhile a 400",
        hint=f"Write {_OURS} in MIDDLEWARE in place of {_DJANGOS}.",
        id="dynamostore.W001",
    )


def _no_middleware() -> CheckMessage:
    return checks.Warning(
        "there is no session middleware in MIDDLEWARE, so requests have no session",
        hint=f"Write {_OURS} in MIDDLEWARE, above all that uses the session.",
        id="dynamostore.W002",
    )


def _other_engine() -> CheckMessage:
    return checks.Warning(
        f"session.web.django.SessionMiddleware is in MIDDLEWARE, but SESSION_ENGINE is {conf.settings.SESSION_ENGINE!r}: "
        "sessions are not kept in DynamoDB",
        hint='Write SESSION_ENGINE = "session.web.django".',
        id="dynamostore.W003",
    )


def _serializer() -> CheckMessage:
    return checks.Warning(
        "SESSION_SERIALIZER is not used: sessions hold what JSON can say",
        hint="Remove SESSION_SERIALIZER; put other objects with put_object and put_time.",
        id="dynamostore.W004",
    )
