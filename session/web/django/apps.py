"""The app ``"session.web.django"`` for INSTALLED_APPS: it has ``manage.py check`` look at the settings of the session engine."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from ._checks import check_sessions

__all__ = ["SessionsConfig"]


class SessionsConfig(AppConfig):
    """The app. Its label is ``dynamostore``, as ``sessions`` is Django's own; it has no models."""

    name = "session.web.django"
    label = "dynamostore"
    verbose_name: str = "Sessions in DynamoDB"

    def ready(self) -> None:
        """Register the checks."""
        checks.register(check_sessions)
