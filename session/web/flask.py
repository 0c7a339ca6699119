"""Sessions of a Flask app: `SessionInterface`, `FlaskSession`, and `session`, Flask's own proxy with its types.

>>> from dynamostore import MemoryStore
>>> from session import SessionManager
>>> app = flask.Flask("shop")
>>> SessionInterface(SessionManager(MemoryStore())).init_app(app)
>>> @app.get("/visit")
... def visit() -> str:
...     return f"visit {session.increment('visits')}"
>>> client = app.test_client()
>>> client.get("/visit").text, client.get("/visit").text
('visit 1', 'visit 2')
"""

# ruff: noqa: ARG002 (Flask hands its interface the app, whether it is needed or not)

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import flask
import flask.sessions
from flask.globals import app_ctx
from flask.sessions import SessionMixin

from dynamostore import StoreError
from session import _state
from session._state import Status
from session.manager import SessionManager
from session.session import Session
from session.web._exchange import OUTAGE, commits, is_outage, outage_headers, report

__all__ = ["FlaskSession", "SessionInterface", "session"]

R = TypeVar("R")


class FlaskSession(Session, SessionMixin):
    """A `session.session.Session` with the attributes that Flask's sessions have; ``flask.session`` is one.

    Read when it is first looked at, by its data, `new` or `permanent`; stored before the response goes out.
    """

    def __init__(self, manager: SessionManager, token: str | None) -> None:
        super().__init__(_state.begin(token, manager._policy), manager._policy, manager._drive)
        self._persist = manager.cookie.persist
        self._accessed = False
        self._failed = False

    @property
    def new(self) -> bool:  # type: ignore[override]  # a plain attribute in SessionMixin; nobody is to set it
        """Whether no session is stored for this client; to ask is to look at the session."""
        return self.expiry is None

    @property
    def modified(self) -> bool:
        """Whether it was changed or destroyed in this request. Setting it does nothing.

        Changes are noticed by themselves, those within a list or dict, too; what was changed back is no change.
        """
        return self.status is not Status.UNMODIFIED

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """Whether it was looked at, or used at all, which Flask notes from 3.1.3 on."""
        return self._accessed or self._state.looked

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._accessed = value

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser: what `remember` was told, else the manager's ``Cookie(persist=...)``.

        Setting it is to tell `remember` so, if it is not so already. It has no effect on how long the session lives: that
        is the manager's *lifetime*. To ask is to look at the session.
        """
        if self._state.closed and not self._state.loaded:
            return self._persist
        remembered = self.remembered
        return self._persist if remembered is None else remembered

    @permanent.setter
    def permanent(self, value: bool) -> None:
        # An app that says so before each request would otherwise store a session for each visitor.
        if self.permanent != bool(value):
            self.remember(bool(value))


session: FlaskSession = flask.session  # type: ignore[assignment]  # the same proxy; Flask knows only of SessionMixin
"""``flask.session`` itself, with the types of a `FlaskSession`, for an app whose sessions are a `SessionInterface`'s."""


class SessionInterface(flask.sessions.SessionInterface):
    """The sessions of a Flask app, kept by *manager*: ``app.session_interface = SessionInterface(manager)``, or `init_app`.

    A session is committed before the response goes out, after all ``after_request`` functions. With a response of 500 or
    above it is discarded, but for *commit_errors*. The cookie's settings are the manager's: ``SESSION_COOKIE_...``,
    ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST`` and ``SECRET_KEY`` of the app's configuration are not used.

    Raises `TypeError` for what is no `SessionManager`.
    """

    def __init__(self, manager: SessionManager, *, commit_errors: bool = False) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        self.manager = manager
        self.commit_errors = commit_errors

    def init_app(self, app: flask.Flask) -> None:
        """Have *app* use these sessions, and answer with 503 when a view finds that the store cannot be reached.

        That answer is an error handler for `dynamostore.StoreError`; one that the app has itself, now or later, stands
        before it. Call it before the first request.
        """
        app.session_interface = self
        if StoreError not in app.error_handler_spec[None][None]:
            app.register_error_handler(StoreError, _unavailable)

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession:
        """The session of a request's client; nothing is read."""
        return FlaskSession(self.manager, self.manager.token(request.environ.get("HTTP_COOKIE")))

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Commit or discard *session*, and give *response* its headers.

        If it cannot be committed, *response* becomes what the app's own error handler makes of that, and has passed the
        ``after_request`` functions like any other; without a handler a 503 if the store cannot be reached, else the error is
        raised, and Flask makes a 500 of it. Nothing is stored then, and the client keeps its cookie.
        """
        if not isinstance(session, FlaskSession):
            raise TypeError(f"session must be a FlaskSession, not {type(session).__name__}")
        try:
            self._close(session, response)
        except Exception as error:
            session._failed = True
            if not _is_current(session):
                # Of the test client's session_transaction(): there is no response to be told by.
                raise
            _become(response, self._answer(app, session, error))

    def _close(self, session: FlaskSession, response: flask.Response) -> None:
        if not session._state.closed:
            if not session._failed and commits(response.status_code, commit_errors=self.commit_errors):
                self.manager.commit(session)
            else:
                self.manager.discard(session)
        # As Flask has it: to use it at all is enough. Its token, say, is known without looking.
        session._state.looked = session.accessed
        before = list(response.headers)
        after = self.manager.headers(session, before)
        if after != before:
            response.headers.clear()
            response.headers.extend(after)

    def _answer(self, app: flask.Flask, session: FlaskSession, error: Exception) -> flask.Response:
        """The response to an *error* of a commit, finished; raises the error if there is none. Called as it is handled."""
        answer: flask.Response
        try:
            answer = app.make_response(_call(app.handle_user_exception, error))
        except Exception as unhandled:
            if not is_outage(error):
                raise
            # The error itself, or what a handler of the app's made of it.
            report(unhandled)
            answer = app.response_class(OUTAGE, 503, headers=outage_headers())
        try:
            # Comes back to save_session, which discards the session now.
            return _call(app.process_response, answer)
        except Exception:
            # As Flask does with an error while it answers an error.
            app.logger.exception("an after_request function failed on the answer to a session that was not stored")
            self._close(session, answer)
            return answer

    # What Flask and its extensions may ask of the cookie.

    def get_cookie_name(self, app: flask.Flask) -> str:
        """The name of the manager's cookie."""
        return self.manager.cookie.name

    def get_cookie_domain(self, app: flask.Flask) -> str | None:
        """The domain of the manager's cookie."""
        return self.manager.cookie.domain

    def get_cookie_path(self, app: flask.Flask) -> str:
        """The path of the manager's cookie."""
        return self.manager.cookie.path

    def get_cookie_httponly(self, app: flask.Flask) -> bool:
        """Whether the manager's cookie is kept from scripts."""
        return self.manager.cookie.http_only

    def get_cookie_secure(self, app: flask.Flask) -> bool:
        """Whether the manager's cookie is sent over HTTPS only."""
        return self.manager.cookie.secure

    def get_cookie_samesite(self, app: flask.Flask) -> str | None:
        """``SameSite`` of the manager's cookie."""
        return self.manager.cookie.same_site

    def get_cookie_partitioned(self, app: flask.Flask) -> bool:
        """Whether the manager's cookie is partitioned."""
        return self.manager.cookie.partitioned


def _unavailable(error: StoreError) -> flask.Response:
    """The error handler of `SessionInterface.init_app`."""
    if not is_outage(error):
        raise error
    report(error)
    return flask.current_app.response_class(OUTAGE, 503, headers=outage_headers())


def _is_current(session: FlaskSession) -> bool:
    """Whether it is the session of the request that is being answered."""
    proxy = flask.session
    return flask.has_request_context() and proxy._get_current_object() is session  # type: ignore[attr-defined]  # a LocalProxy


def _call(method: Callable[..., R], argument: object) -> R:
    """Call a method of the app; from Flask 3.2 on these take the context first."""
    if next(iter(inspect.signature(method).parameters), None) == "ctx":
        return method(app_ctx._get_current_object(), argument)  # type: ignore[attr-defined]  # a LocalProxy
    return method(argument)


def _become(response: flask.Response, answer: flask.Response) -> None:
    """Turn a response, which Flask holds already, into another."""
    close = getattr(response.response, "close", None)
    if close is not None:
        response.call_on_close(close)
    response.call_on_close(answer.close)
    response.status = answer.status
    response.headers.clear()
    response.headers.extend(answer.headers)
    response.response = answer.response
    response.direct_passthrough = answer.direct_passthrough
