"""The settings of a Django project: its session manager, made once, and how stale requests are run again and answered."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dynamostore import Table, connect
from session._policy import SHORT_TOKEN_BYTES, Policy
from session.errors import SessionConflict
from session.manager import SessionManager
from session.mergeable import merge_json_list
from session.web._reruns import Rerun, check_rerun

__all__ = ["DJANGOS_KEYS", "ConflictView", "Site", "get_conflict_view", "get_manager", "get_rerun", "get_site"]

ConflictView: TypeAlias = Callable[[HttpRequest, SessionConflict], HttpResponse | Awaitable[HttpResponse]]

# The messages of django.contrib.messages, in its SessionStorage: JSON in a string.
_MERGEABLE = {"_messages": merge_json_list}
# A login reads and writes these: django.contrib.auth, and CSRF_USE_SESSIONS.
_LOGIN_KEYS = frozenset(("_auth_user_id", "_auth_user_backend", "_auth_user_hash", "_csrftoken"))
DJANGOS_KEYS = _LOGIN_KEYS | _MERGEABLE.keys() | {"_session_expiry"}
"""What Django itself keeps in a session."""


@dataclass(frozen=True, slots=True)
class Site:
    """The manager of the settings, with the policies of requests that may be run again and of those that may not."""

    setting: object
    table: object
    manager: SessionManager
    checked: Policy
    unchecked: Policy


_lock = threading.Lock()
_site: Site | None = None


def get_manager() -> SessionManager:
    """Return the manager of the settings SESSION_MANAGER or SESSION_TABLE, made when it is first asked for, for all threads.

    Raises ``ImproperlyConfigured``, which says what to do.
    """
    return get_site().manager


def get_site() -> Site:
    """Return the manager of the settings and its policies; raise ``ImproperlyConfigured`` as `get_manager` does."""
    global _site  # noqa: PLW0603 (one for the process, as the settings are)
    setting, table = getattr(conf.settings, "SESSION_MANAGER", None), getattr(conf.settings, "SESSION_TABLE", None)
    site = _site
    if site is None or site.setting is not setting or site.table is not table:
        with _lock:
            site = _site
            # Tests override settings.
            if site is None or site.setting is not setting or site.table is not table:
                site = _site = _make_site(setting, table)
    return site


def _make_site(setting: object, table: object) -> Site:
    manager = _make_manager(setting, table)
    # As Django's own keys do, they fit into the columns of 40 characters that other apps have for them.
    policy = replace(manager._policy, token_bytes=SHORT_TOKEN_BYTES)
    return Site(
        setting,
        table,
        manager,
        checked=policy.knowing(_MERGEABLE, _LOGIN_KEYS, checked=True),
        unchecked=policy.knowing(_MERGEABLE, _LOGIN_KEYS, checked=False),
    )


def get_rerun() -> Rerun[HttpRequest]:
    """Return the setting SESSION_RERUN: "safe", "never", or a function of the request."""
    setting = getattr(conf.settings, "SESSION_RERUN", "safe")
    made = _imported("SESSION_RERUN", setting) if isinstance(setting, str) and "." in setting else setting
    try:
        check_rerun(made)
    except ValueError as error:
        raise ImproperlyConfigured(f"SESSION_RERUN: {error}, or the dotted path of one") from error
    rerun: Rerun[HttpRequest] = made  # type: ignore[assignment]  # checked, as far as it can be
    return rerun


def get_conflict_view() -> ConflictView | None:
    """Return the function in the setting SESSION_CONFLICT_VIEW, or None."""
    setting = getattr(conf.settings, "SESSION_CONFLICT_VIEW", None)
    view = _imported("SESSION_CONFLICT_VIEW", setting) if isinstance(setting, str) else setting
    if view is not None and not callable(view):
        raise ImproperlyConfigured(
            "SESSION_CONFLICT_VIEW must be a function of the request and the SessionConflict, or the dotted path of one, not "
            f"{type(view).__name__}"
        )
    return view


@lru_cache(maxsize=16)
def _imported(name: str, path: str) -> object:
    try:
        made: object = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{name}, {path!r}, cannot be imported: {error}") from error
    return made


def _make_manager(setting: object, table: object) -> SessionManager:
    if setting is None:
        if table is not None and not isinstance(table, str | Table):
            raise ImproperlyConfigured(f"SESSION_TABLE must be the name of a table, not {type(table).__name__}")
        try:
            return SessionManager(connect("scs_session" if table is None else table))
        except ValueError as error:
            raise ImproperlyConfigured(f"SESSION_TABLE: the store cannot be made: {error}") from error
    made, name = setting, "SESSION_MANAGER"
    if isinstance(setting, str):
        name = f"SESSION_MANAGER, {setting!r},"
        try:
            made = import_string(setting)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{name} cannot be imported: {error}. It is the dotted path of a SessionManager, or of a function that "
                "makes one."
            ) from error
    if not isinstance(made, SessionManager) and callable(made):
        made = made()
    if not isinstance(made, SessionManager):
        raise ImproperlyConfigured(
            f"{name} must be a session.SessionManager, the dotted path of one, or of a function without arguments that makes "
            f"one; this is of type {type(made).__name__}"
        )
    return made
