"""The settings that Django's tests run with on SQLite, with the session engine swapped (unless ``PEERS_UNSWAPPED`` is set).

With ``PEERS_MIDDLEWARE`` its middleware is swapped, too.
"""

import os
from importlib import import_module

globals().update(vars(import_module("test_sqlite")))

TEST_RUNNER = "peers_swap.django_runner.Runner"
if "PEERS_UNSWAPPED" not in os.environ:
    SESSION_ENGINE = "session.web.django"
    SESSION_MANAGER = "peers_swap.store.manager"
    if "PEERS_MIDDLEWARE" in os.environ:
        from django.contrib.sessions import middleware

        from session.web.django import SessionMiddleware

        # Tests name it in settings of their own, and import it.
        middleware.SessionMiddleware = SessionMiddleware  # type: ignore[misc]  # that is the swap
