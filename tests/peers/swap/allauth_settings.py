"""The settings that django-allauth's tests run with, with the session engine swapped (unless ``PEERS_UNSWAPPED`` is set)."""

import os
from importlib import import_module

globals().update(vars(import_module("tests.projects.regular.settings")))

if "PEERS_UNSWAPPED" not in os.environ:
    SESSION_ENGINE = "session.web.django"
    SESSION_MANAGER = "peers_swap.store.manager"
