"""The session settings of a Django project: its manager, which is made once, SESSION_RERUN and SESSION_CONFLICT_VIEW."""

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

# The SessionStorage of django.contrib.messages stores its messages as JSON in a string.
_MERGEABLE = {"_messages": merge_json_list}
# A login reads and writes these keys of django.contrib.auth and of CSRF_USE_SESSIONS.
_LOGIN_KEYS = frozenset(("_auth_user_id", "_auth_user_backend", "_auth_user_hash", "_csrftoken"))
DJANGOS_KEYS = _LOGIN_KEYS | _MERGEABLE.keys() | {"_session_expiry"}
"""The keys that Django itself stores in a session."""


@dataclass(frozen=True, slots=True)
class Site:
    """The manager that the settings name, with a policy for re-runnable requests (*checked*) and one for others."""

    setting: object
    table: object
    manager: SessionManager
    checked: Policy
    unchecked: Policy


_lock = threading.Lock()
_site: Site | None = None


def get_manager() -> SessionManager:
    """Return the manager that the setting SESSION_MANAGER or SESSION_TABLE names.

    The first call makes the manager; all threads share it. Raises ``ImproperlyConfigured`` for an invalid setting.
    """
    return get_site().manager


def get_site() -> Site:
    """Return the manager and its policies. Raises ``ImproperlyConfigured`` like `get_manager`."""
    global _site  # noqa: PLW0603 (one per process, like the settings)
    setting, table = getattr(conf.settings, "SESSION_MANAGER", None), getattr(conf.settings, "SESSION_TABLE", None)
    site = _site
    if site is None or site.setting is not setting or site.table is not table:
        with _lock:
            site = _site
            # Another thread may have made it. Tests override settings, so compare them.
            if site is None or site.setting is not setting or site.table is not table:
                site = _site = _make_site(setting, table)
    return site


def _make_site(setting: object, table: object) -> Site:
    manager = _make_manager(setting, table)
    # Short tokens fit into the CharField(max_length=40) that other apps use for Django's session keys.
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
        raise ImproperlyConfigured(
            f'SESSION_RERUN must be "safe", "never", a function of the request, or the dotted path of one, not {made!r}'
        ) from error
    rerun: Rerun[HttpRequest] = made  # type: ignore[assignment]  # check_rerun has checked it
    return rerun


def get_conflict_view() -> ConflictView | None:
    """Return the function in the setting SESSION_CONFLICT_VIEW, or None."""
    setting = getattr(conf.settings, "SESSION_CONFLICT_VIEW", None)
    view = _imported("SESSION_CONFLICT_VIEW", setting) if isinstance(setting, str) else setting
    if view is not None and not callable(view):
        raise ImproperlyConfigured(
            "SESSION_CONFLICT_VIEW must be a view that takes the request and the SessionConflict, or its dotted path, not "
            f"{type(view).__name__}"
        )
    return view


@lru_cache(maxsize=16)
def _imported(name: str, path: str) -> object:
    try:
        made: object = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{name}, {path!r}, cannot be imported: {error}; correct the dotted path") from error
    return made


def _make_manager(setting: object, table: object) -> SessionManager:
    if setting is None:
        if table is not None and not isinstance(table, str | Table):
            raise ImproperlyConfigured(f"SESSION_TABLE must be the name of a table, not {type(table).__name__}")
        try:
            return SessionManager(connect("scs_session" if table is None else table))
        except ValueError as error:
            raise ImproperlyConfigured(f"SESSION_TABLE cannot be used: {error}") from error
    made, name = setting, "SESSION_MANAGER"
    if isinstance(setting, str):
        name = f"SESSION_MANAGER, {setting!r},"
        try:
            made = import_string(setting)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{name} cannot be imported: {error}; write the dotted path of a SessionManager, or of a function that "
                "returns one"
            ) from error
    if not isinstance(made, SessionManager) and callable(made):
        made = made()
    if not isinstance(made, SessionManager):
        raise ImproperlyConfigured(
            f"{name} must be a session.SessionManager, or the dotted path of a manager or of a function without arguments that "
            f"returns one, not {type(made).__name__}"
        )
    return made
