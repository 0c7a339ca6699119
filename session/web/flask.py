"""Sessions of a Flask app: `SessionInterface`, `FlaskSession`, and `session`, Flask's own proxy with its types.

>>> from dynamostore import MemoryStore
>>> from session import SessionManager
>>> app = flask.Flask("shop")
>>> SessionInterface(SessionManager(MemoryStore())).init_app(app)
>>> @app.get("/visit")
... def visit() -> str:
...     session.increment("visits")
...     return f"visit {session.get_int('visits')}"
>>> client = app.test_client()
>>> client.get("/visit").text, client.get("/visit").text
('visit 1', 'visit 2')
"""

# ruff: noqa: ARG002 (Flask hands its interface the app, whether it is needed or not)

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar

import flask
import flask.sessions
from flask import globals as flask_globals
from flask.sessions import SessionMixin

from dynamostore import StoreError
from session import _state
from session._policy import Policy
from session._state import State, Status
from session.errors import SessionConflict
from session.manager import SessionManager, note_failed_destroy
from session.mergeable import Merge
from session.session import Session
from session.web._conflicts import conflict_body, conflict_headers, find_conflict, masked_path, report_conflict
from session.web._exchange import OUTAGE, commits, is_outage, outage_headers, report
from session.web._flask_runs import runs_of, wrap
from session.web._reruns import Rerun, begin_answer, begin_run, check_rerun, look_again

__all__ = ["FlaskSession", "SessionInterface", "session"]

R = TypeVar("R")

MERGEABLE: Final[dict[str, Merge]] = {"_flashes": "merge"}
"""Flask's own key that two requests may both change: the messages that are flashed."""

LOGIN_KEYS: Final = ("_user_id", "_fresh", "_id", "_remember", "_remember_seconds", "next", "csrf_token")
"""The keys that Flask-Login and Flask-WTF read and write at a login."""


class FlaskSession(Session, SessionMixin):
    """A `session.session.Session` with the attributes that Flask's sessions have; ``flask.session`` is one.

    Read when its data, `new` or `permanent` are first accessed; stored before the response goes out.
    """

    def __init__(self, manager: SessionManager, state: State, policy: Policy) -> None:
        super().__init__(state, policy, manager._drive)
        self._persist = manager.cookie.persist
        self._accessed = False
        self._failed = False
        self._answers = False

    @property
    def new(self) -> bool:  # type: ignore[override]  # a plain attribute in SessionMixin; nobody is to set it
        """True if no session is stored for this client. It loads the session, and does not count as a read."""
        self._reading()
        return self._state.record is None or self._state.destroying

    @property
    def modified(self) -> bool:
        """True if it was changed or destroyed in this request. Setting it does nothing.

        Changes are noticed by themselves, those within a list or dict, too; what was changed back is no change.
        """
        return self.status is not Status.UNMODIFIED

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """True if it was loaded, or used at all, which Flask notes from 3.1.3 on."""
        return self._accessed or self._state.looked

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._accessed = value

    @property
    def permanent(self) -> bool:
        """True if the cookie outlives the browser: the last argument of `remember`, or the manager's ``Cookie(persist=...)``.

        Setting it calls `remember`, if that makes a difference. It has no effect on how long the session lives: that
        is the manager's *lifetime*. To get it loads the session, and does not count as a read.
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
    """The sessions of a Flask app, kept by *manager*: ``SessionInterface(manager).init_app(app)``.

    A session is committed before the response goes out, after all ``after_request`` functions. With a response of 500 or
    above it is discarded (unless *commit_errors*), but for a `destroy <session.Session.destroy>`, which counts. The cookie's
    settings are the manager's: ``SESSION_COOKIE_...``, ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST`` and
    ``SECRET_KEY`` of the app's configuration are not used.

    A stale request (`SessionConflict <session.SessionConflict>`) is run again if that is safe: *rerun* is "safe" (GET, HEAD and
    OPTIONS), "never", or a function of the `flask.Request`; a request with a body never is. Otherwise an error handler of the
    app's for `SessionConflict <session.SessionConflict>` answers, with a fresh session that keeps what it flashes, or a 409 does.

    Raises `TypeError` for anything but a `SessionManager`, `ValueError` for another *rerun*.
    """

    def __init__(
        self, manager: SessionManager, *, commit_errors: bool = False, rerun: Rerun[flask.Request] = "safe"
    ) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        check_rerun(rerun)
        self.manager = manager
        self.commit_errors = commit_errors
        self.rerun = rerun
        # A request that can be run again may as well be stale for a message: so none is shown twice.
        self._checking = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=True)
        self._policy = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=False)

    def init_app(self, app: flask.Flask) -> None:
        """Have *app* use these sessions, run stale requests again, and answer conflicts with 409 and outages with 503.

        Those answers are error handlers for `SessionConflict <session.SessionConflict>` and `dynamostore.StoreError`; those that
        the app has itself, now or later, take precedence. Call it once, before the first request. With
        ``app.session_interface = SessionInterface(manager)`` alone, no request is run again.
        """
        app.session_interface = self
        for kind, handler in ((StoreError, _unavailable), (SessionConflict, _refused)):
            if kind not in app.error_handler_spec[None][None]:
                app.register_error_handler(kind, handler)
        wrap(app, self.rerun, self._meets)
        app.teardown_request(self._finish)

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession:
        """Return the session of a request's client; nothing is read, unless the last run found that it had ended."""
        runs = runs_of(request.environ)
        policy = self._policy if runs is None else self._checking
        if runs is None or runs.last is None:
            state = _state.begin(self.manager.token(request.environ.get("HTTP_COOKIE")), policy)
        else:
            state = begin_run(runs.last, policy, runs.course.attempt)
            if runs.ended:
                self.manager._drive(look_again(state, policy))
        if policy.on_conflict == "report":
            state.route = lambda: f"{request.method} {_route(request)}"
        return FlaskSession(self.manager, state, policy)

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Commit or discard *session*, and give *response* its headers.

        If the commit fails, *response* becomes the answer of the app's own error handler for that, and has passed the
        ``after_request`` functions like any other. Without a handler it becomes a 409 if the request is stale, a 503 if the store
        cannot be reached; any other error is raised, and Flask answers with 500. Nothing is stored then, and the client keeps its
        cookie. A stale request that is run again gets no answer yet.
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
            if self._is_run_again(error, session):
                # Flask's own error handling ends this run.
                _close(response.response)
                raise
            _become(response, self._answer(app, session, error))

    def _meets(self, error: BaseException) -> bool:
        """Return True if the request is to be run again for *error*; else have the handlers of a conflict find a fresh session."""
        current = _current()
        if current is None or find_conflict(error) is None:
            return False
        if self._is_run_again(error, current):
            return True
        self._begin_answer(error, current)
        return False

    def _is_run_again(self, error: BaseException, session: FlaskSession) -> bool:
        conflict = find_conflict(error)
        runs = runs_of(flask.request.environ)
        return conflict is not None and runs is not None and runs.go_on_after(conflict, session._state)

    def _begin_answer(self, error: BaseException, session: FlaskSession) -> None:
        """Give the request a fresh session, for what the answer to a conflict puts into it."""
        conflict = find_conflict(error)
        if conflict is None or session._answers:
            return
        report_conflict(conflict, flask.request.method, _route(flask.request))
        self._discard(session, error)
        state = begin_answer(session._state, self._policy)
        if conflict.ended:
            self.manager._drive(look_again(state, self._policy))
        fresh = FlaskSession(self.manager, state, self._policy)
        fresh._answers = True
        _replace_current(fresh)

    def _finish(self, error: BaseException | None = None) -> None:
        """Close a session whose request ended without a response, as in debug mode: a logout counts all the same."""
        session = _current()
        if session is not None and not session._state.closed:
            self._discard(session, error)

    def _discard(self, session: FlaskSession, error: BaseException | None) -> None:
        try:
            self.manager.discard(session)
        except StoreError as failure:
            note_failed_destroy(error or failure, failure)

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
        """Return the response to an *error* of a commit, finished; raise the error if there is none. Called as it is handled."""
        answer: flask.Response
        try:
            # Without `init_app` nobody has done so yet.
            self._begin_answer(error, session)
            answer = app.make_response(_call(app.handle_user_exception, error))
        except Exception as unhandled:
            conflict = find_conflict(error)
            if conflict is not None:
                answer = _refused(conflict)
            elif is_outage(error):
                # The error itself, or what a handler of the app's made of it.
                report(unhandled)
                answer = app.response_class(OUTAGE, 503, headers=outage_headers())
            else:
                raise
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


def _refused(error: SessionConflict) -> flask.Response:  # noqa: ARG001 (an error handler)
    """Answer a conflict with 409; the error handler of `SessionInterface.init_app`."""
    accept = flask.request.headers.get("Accept")
    return flask.current_app.response_class(conflict_body(accept), 409, headers=conflict_headers(accept))


def _route(request: flask.Request) -> str:
    return request.url_rule.rule if request.url_rule is not None else masked_path(request.path)


def _context() -> object:
    """Return the context that holds the session: the request's, and from Flask 3.2 on the app's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        local: Any = getattr(flask_globals, "request_ctx", flask_globals.app_ctx)
    context: object = local._get_current_object()
    return context


def _current() -> FlaskSession | None:
    """Return the session of the request that is being answered, without counting as its use; None if it is another kind."""
    if not flask.has_request_context():
        return None
    held = vars(_context())
    # An attribute until Flask 3.1.2, behind a property since.
    found = held.get("_session", held.get("session"))
    return found if isinstance(found, FlaskSession) else None


def _replace_current(session: FlaskSession) -> None:
    context = _context()
    setattr(context, "_session" if "_session" in vars(context) else "session", session)


def _is_current(session: FlaskSession) -> bool:
    return _current() is session


def _call(method: Callable[..., R], argument: object) -> R:
    """Call a method of the app; from Flask 3.2 on these take the context first."""
    return method(_context(), argument) if _takes_context() else method(argument)


@cache
def _takes_context() -> bool:
    return "ctx" in inspect.signature(flask.Flask.handle_user_exception).parameters


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


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
