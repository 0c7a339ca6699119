"""The session manager of a Django project: what its settings say, made once."""

from __future__ import annotations

import threading

from django import conf
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from dynamostore import Table, connect
from session.manager import SessionManager

__all__ = ["get_manager"]

_lock = threading.Lock()
_made: tuple[object, object, SessionManager] | None = None


def get_manager() -> SessionManager:
    """The manager of the settings SESSION_MANAGER or SESSION_TABLE, made when it is first asked for, for all threads.

    Raises ``ImproperlyConfigured``, which says what to do.
    """
    global _made  # noqa: PLW0603 (one for the process, as the settings are)
    setting, table = getattr(conf.settings, "SESSION_MANAGER", None), getattr(conf.settings, "SESSION_TABLE", None)
    made = _made
    if made is None or made[0] is not setting or made[1] is not table:
        with _lock:
            made = _made
            # Tests override settings.
            if made is None or made[0] is not setting or made[1] is not table:
                made = _made = (setting, table, _make_manager(setting, table))
    return made[2]


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
