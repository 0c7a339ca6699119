"""The system checks of the session engine. They report wrong settings, and contact no service."""

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

from dynamostore import MemoryStore
from session.manager import SessionManager

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
    """Return the problems of the project's session settings, each with a hint."""
    kinds = _session_middleware()
    ours = [kind for kind in kinds if issubclass(kind, SessionMiddleware)]
    if not _is_engine():
        return [_other_engine()] if ours else []
    found = _check_manager(renewable=bool(ours) or not kinds)
    if not isinstance(conf.settings.SESSION_COOKIE_AGE, int | float):
        found.append(_age(type(conf.settings.SESSION_COOKIE_AGE).__name__))
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
    """Return the classes in MIDDLEWARE that set ``request.session``."""
    kinds: list[type[DjangoSessionMiddleware]] = []
    for path in conf.settings.MIDDLEWARE:
        try:
            kind = import_string(path)
        except ImportError:
            continue  # Django reports the ImportError at the first request
        if isinstance(kind, type) and issubclass(kind, DjangoSessionMiddleware):
            kinds.append(kind)
    return kinds


def _is_engine() -> bool:
    """Return True if SESSION_ENGINE is this engine, or its SessionStore is a subclass of this engine's."""
    try:
        store = getattr(import_module(conf.settings.SESSION_ENGINE), "SessionStore", None)
    except ImportError:
        return False  # Django reports the ImportError when it loads the middleware
    return isinstance(store, type) and issubclass(store, BaseSessionStore)


def _check_manager(*, renewable: bool) -> list[CheckMessage]:
    try:
        site = get_site()
    except ImproperlyConfigured as error:
        return [_no_manager(str(error))]
    except Exception as error:  # noqa: BLE001 (the project's own code makes the manager, and may raise anything)
        return [_no_manager(f"making SESSION_MANAGER failed: {type(error).__name__}: {error}")]
    found = [_grace()] if site.manager._policy.renewal_grace and not renewable else []
    default = SessionManager(MemoryStore())
    ignored = [
        name
        for name, differs in (
            ("lifetime", site.manager._policy.lifetime_ns != default._policy.lifetime_ns),
            ("cookie", site.manager.cookie != default.cookie),
        )
        if differs
    ]
    return found + ([_ignored(ignored)] if ignored else [])


def _check_setting(name: str, get: Callable[[], object]) -> list[CheckMessage]:
    try:
        get()
    except ImproperlyConfigured as error:
        hint = {
            "SESSION_RERUN": 'Set SESSION_RERUN to "safe" (the default), "never", a function, or the dotted path of one.',
            "SESSION_CONFLICT_VIEW": "Set SESSION_CONFLICT_VIEW to the dotted path of a view that takes the request and the "
            "SessionConflict, or remove it.",
        }
        return [checks.Error(str(error), hint=hint[name], id="dynamostore.E005")]
    return []


def _no_manager(what: str) -> CheckMessage:
    if "no region is configured" in what:
        return _no_region(what)
    return checks.Error(
        what,
        hint='Set SESSION_MANAGER to the dotted path of a session.SessionManager, such as "mysite.sessions.manager", or '
        'SESSION_TABLE to the name of a table, such as "scs_session".',
        id="dynamostore.E001",
    )


def _no_region(what: str) -> CheckMessage:
    # Not an error: it would also stop migrate and test, which need no session, in builds without an AWS configuration.
    return checks.Warning(
        f"requests that use the session will fail: {what}",
        hint="Set AWS_DEFAULT_REGION in the environment, or region in ~/.aws/config, or write "
        'SESSION_MANAGER = SessionManager(dynamostore.connect("scs_session", region="eu-central-1")).',
        id="dynamostore.W005",
    )


def _grace() -> CheckMessage:
    return checks.Error(
        "the manager has a renewal_grace, but Django's own SessionMiddleware sends the old key again, which logs the user "
        "out when the grace period ends",
        hint=f"In MIDDLEWARE, replace {_DJANGOS} by {_OURS}, or make the manager without renewal_grace.",
        id="dynamostore.E003",
    )


def _several(number: int) -> CheckMessage:
    return checks.Error(
        f"MIDDLEWARE has {number} session middlewares: the inner one replaces the session of the outer one, and both set the "
        "cookie",
        hint=f"In MIDDLEWARE, keep {_OURS} and remove the others.",
        id="dynamostore.E004",
    )


def _age(kind: str) -> CheckMessage:
    return checks.Error(
        f"SESSION_COOKIE_AGE must be a number of seconds, not {kind}",
        hint="Set SESSION_COOKIE_AGE to an int, such as 60 * 60 * 24 * 14 for two weeks.",
        id="dynamostore.E006",
    )


def _djangos_middleware() -> CheckMessage:
    return checks.Warning(
        "Django's own SessionMiddleware answers outages and stale requests with 500, and a session that ended during the "
        "request with 400",
        hint=f"In MIDDLEWARE, replace {_DJANGOS} by {_OURS}.",
        id="dynamostore.W001",
    )


def _no_middleware() -> CheckMessage:
    return checks.Warning(
        "MIDDLEWARE has no session middleware, so requests have no session",
        hint=f"Add {_OURS} to MIDDLEWARE, above every middleware that uses the session.",
        id="dynamostore.W002",
    )


def _other_engine() -> CheckMessage:
    return checks.Warning(
        f"session.web.django.SessionMiddleware is in MIDDLEWARE, but SESSION_ENGINE is {conf.settings.SESSION_ENGINE!r}: "
        "sessions are not stored in DynamoDB",
        hint='Set SESSION_ENGINE = "session.web.django".',
        id="dynamostore.W003",
    )


def _serializer() -> CheckMessage:
    return checks.Warning(
        "SESSION_SERIALIZER is not used: this engine stores JSON values only",
        hint="Remove SESSION_SERIALIZER. Store other objects with put_object and put_time.",
        id="dynamostore.W004",
    )


def _ignored(names: list[str]) -> CheckMessage:
    verb = "is" if len(names) == 1 else "are"
    return checks.Warning(
        f"the {' and '.join(names)} of SESSION_MANAGER {verb} ignored: Django has settings of its own for this",
        hint="Make the manager without lifetime and cookie, and set SESSION_COOKIE_AGE and the other SESSION_COOKIE_* settings.",
        id="dynamostore.W006",
    )
