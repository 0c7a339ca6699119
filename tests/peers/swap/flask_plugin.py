"""Gives each Flask app these sessions, unless its class or its test has chosen others."""

from __future__ import annotations

from typing import Any

import flask
from flask.sessions import SecureCookieSessionInterface

from session.web.flask import SessionInterface

from .store import manager

_init = flask.Flask.__init__


def _init_with_sessions(self: flask.Flask, *arguments: Any, **settings: Any) -> None:
    _init(self, *arguments, **settings)
    if type(self.session_interface) is SecureCookieSessionInterface:
        SessionInterface(manager).init_app(self)


flask.Flask.__init__ = _init_with_sessions  # type: ignore[method-assign]  # that is the swap
