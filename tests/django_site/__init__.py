"""A Django site on the session engine, with auth, messages and the admin, for the tests; importing it sets Django up."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path

import django
from django.conf import settings

__all__ = ["PASSWORD", "SETTINGS", "USER"]

USER, PASSWORD = "ada", "Lovelace-1815"

_directory = tempfile.TemporaryDirectory(prefix="django-site-")
atexit.register(_directory.cleanup)

SETTINGS: dict[str, object] = {
    "SECRET_KEY": "for tests only",
    "ALLOWED_HOSTS": ["*"],
    "ROOT_URLCONF": f"{__name__}.urls",
    "USE_TZ": True,
    "SESSION_ENGINE": "session.web.django",
    "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
    "INSTALLED_APPS": [
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "session.web.django",
    ],
    "MIDDLEWARE": [
        "session.web.django.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    # In a file: each thread of a server has a connection of its own.
    "DATABASES": {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(_directory.name) / "site.sqlite3")}
    },
    "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    # What goes wrong here is meant to.
    # The other tests' loggers are left as they are.
    "LOGGING_CONFIG": None,
    "STATIC_URL": "/static/",
}

if not settings.configured:
    settings.configure(**SETTINGS)
    django.setup()
