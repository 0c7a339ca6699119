"""The sessions of a Flask app, as a view types them."""

from datetime import datetime
from typing import assert_type

import flask

from dynamostore import MemoryStore
from session import AsyncSessionManager, JSONValue, Session, SessionConflict, SessionManager
from session.web.flask import FlaskSession, SessionInterface, session


def interfaces(app: flask.Flask, manager: SessionManager) -> None:
    app.session_interface = SessionInterface(manager)
    SessionInterface(manager, commit_errors=True).init_app(app)
    assert_type(SessionInterface(manager).manager, SessionManager)
    SessionInterface(manager, rerun="never").init_app(app)
    SessionInterface(manager, rerun=lambda request: request.path == "/search")
    SessionInterface(manager, rerun=is_search)


def is_search(request: flask.Request) -> bool:
    return request.path == "/search"


def conflict(error: SessionConflict) -> tuple[str, int]:
    assert_type(error.keys, tuple[str, ...])
    flask.flash("Please try again.")
    return "", 409


def handlers(app: flask.Flask) -> None:
    app.register_error_handler(SessionConflict, conflict)


def interfaces_refused(manager: SessionManager, other: AsyncSessionManager) -> None:
    SessionInterface()  # type: ignore[call-arg]
    SessionInterface(other)  # type: ignore[arg-type]
    SessionInterface(MemoryStore())  # type: ignore[arg-type]
    SessionInterface(manager, True)  # type: ignore[call-arg]
    SessionInterface(manager, rerun="always")  # type: ignore[arg-type]
    SessionInterface(manager, rerun=lambda: True)  # type: ignore[arg-type, misc]
    SessionInterface(manager, rerun=lambda request: request.no_such)  # type: ignore[attr-defined]


def views() -> str:
    plain: Session = session
    assert_type(session, FlaskSession)
    assert_type(session.get_int("n"), int)
    assert_type(session.get_time("at"), datetime | None)
    assert_type(session["k"], JSONValue)
    assert_type(session.get("k"), JSONValue | None)
    assert_type(session.permanent, bool)
    assert_type(session.new, bool)
    assert_type(session.modified, bool)
    assert_type(session.accessed, bool)
    assert_type(session.token, str | None)
    assert_type(session.attempt, int)
    assert_type(session.atomic(lambda stored: stored.pop_string("nonce")), str)
    assert_type(session.peek("k"), JSONValue)
    session.forbid_rerun()
    session.permanent = True
    return session.get_string("message")


def views_refused() -> None:
    session.get_integer("n")  # type: ignore[attr-defined]
    session["k"] = object()  # type: ignore[assignment]
    session.get_int("n").lower()  # type: ignore[attr-defined]
    session.new = True  # type: ignore[misc]
    session.attempt = 2  # type: ignore[misc]
    visits = session.increment("n")  # type: ignore[func-returns-value]
    # Flask types its own name of it as a plain mapping.
    flask.session.get_int("n")  # type: ignore[attr-defined]
