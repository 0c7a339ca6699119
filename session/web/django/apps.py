"""The app for INSTALLED_APPS, ``"session.web.django"``. It adds checks of the session settings to ``manage.py check``."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from ._checks import check_sessions

__all__ = ["SessionsConfig"]


class SessionsConfig(AppConfig):
    """Registers the system checks. The label is ``dynamostore``, because Django uses ``sessions``. The app has no models."""

    name = "session.web.django"
    label = "dynamostore"
    verbose_name: str = "Sessions in DynamoDB"

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(check_sessions)
