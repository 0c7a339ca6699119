"""The shop in Flask, with `session.web.flask` and Flask's flashed messages."""

from __future__ import annotations

from collections.abc import Callable

import flask

from benchmarks.notice.handlers import LOGIN_KEYS, MERGEABLE
from benchmarks.notice.handling import handle
from benchmarks.notice.slow import SlowStore
from benchmarks.notice.traces import Trace, current
from session import SessionManager
from session._policy import OnConflict
from session.web.flask import FlaskSession, SessionInterface

from .wsgi import WSGIProcess

__all__ = ["make"]


class _Visit:
    """A request."""

    def __init__(self, session: FlaskSession, trace: Trace) -> None:
        self.session = session
        self.query = flask.request.args
        self.trace = trace

    def flash(self, message: str) -> None:
        """Have the next page show *message*."""
        flask.flash(message)

    def messages(self) -> list[str]:
        """Return the messages that are to be shown."""
        return [str(message) for message in flask.get_flashed_messages()]

    def renew(self) -> None:
        """Give the session a new token."""
        self.session.renew_token()

    def end(self) -> None:
        """End the session."""
        self.session.destroy()


def _session() -> FlaskSession:
    proxy = flask.session
    session = proxy._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
    assert isinstance(session, FlaskSession)
    return session


def _hooked() -> None:
    session, trace = _session(), current()
    trace.begin(lambda: session._state)
    trace.hook(session, trace.now)


def _answer(name: str) -> tuple[str, int]:
    session = _session()
    answer = handle(name, _Visit(session, current()), save=session.save, atomic=session.atomic)
    return "", answer.status


def make(level: OnConflict, clock: Callable[[], int]) -> WSGIProcess:
    """Return a process."""
    manager = SessionManager(SlowStore(), on_conflict=level, mergeable=MERGEABLE, login_keys=LOGIN_KEYS, clock=clock)
    app = flask.Flask("shop")
    SessionInterface(manager).init_app(app)
    app.before_request(_hooked)
    app.add_url_rule("/<name>", "answer", _answer, methods=["GET", "POST"])
    return WSGIProcess(app)
