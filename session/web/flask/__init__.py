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

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, WeakSet

import flask
import flask.sessions
from flask.sessions import SessionMixin

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from session import _state
from session.errors import SessionConflict
from session.manager import SessionManager, note_failed_destroy
from session.mergeable import Merge
from session.web._conflicts import conflict_body, conflict_headers, find_conflict, masked_path, report_conflict
from session.web._exchange import OUTAGE, commits, find_outage, is_outage, outage_headers, report
from session.web._reruns import Rerun, begin_answer, begin_run, check_rerun
from session.web._slots import forbid_reruns

from ._config import warn_of_unused
from ._context import call, current_session, forget_session
from ._runs import Settings, drop_changes_of_others, is_kept_for_a_test, runs_of, unsent, wrap
from ._session import Answer, FlaskSession

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["FlaskSession", "SessionInterface", "session"]

MERGEABLE: Final[dict[str, Merge]] = {"_flashes": "merge"}
"""Flask's own key that two requests may both change: the messages that are flashed."""

LOGIN_KEYS: Final = ("_user_id", "_fresh", "_id", "_remember", "_remember_seconds", "next", "csrf_token")
"""The keys that Flask-Login and Flask-WTF read and write at a login."""


session: FlaskSession = flask.session  # type: ignore[assignment]  # the same proxy; Flask knows only of SessionMixin
"""``flask.session`` itself, with the types of a `FlaskSession`, for an app whose sessions are a `SessionInterface`'s."""


class SessionInterface(flask.sessions.SessionInterface):
    """The sessions of a Flask app, kept by *manager*: ``SessionInterface(manager).init_app(app)``.

    A session is committed before the response goes out, after all ``after_request`` functions. With a response of 500 or
    above it is discarded (unless *commit_errors*), but for a `destroy <session.Session.destroy>`, which counts. The cookie's
    settings are the manager's: ``SESSION_COOKIE_...``, ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST`` and
    ``SECRET_KEY`` of the app's configuration are not used; a `UserWarning` says so where they differ from the manager's, at
    `init_app` and once more at the first request.

    A stale request (`SessionConflict <session.SessionConflict>`) is run again if that is safe: up to three times, within 5
    seconds, and only if it has no body and has stored nothing. *rerun*: "safe" for GET, HEAD and OPTIONS; "never"; or a function
    of the `flask.Request`, whose URL is not matched yet. Otherwise an error handler of the app's for `SessionConflict
    <session.SessionConflict>` answers, with a fresh session that keeps what it flashes, or a 409 does.

    *sleep* and *clock* are for tests: how to wait between two runs, and seconds that only grow.

    Raises `TypeError` for anything but a `SessionManager`, `ValueError` for another *rerun*.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        commit_errors: bool = False,
        rerun: Rerun[flask.Request] = "safe",
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        check_rerun(rerun)
        self.manager = manager
        self.commit_errors = commit_errors
        self._settings = Settings(manager.cookie.name, rerun, sleep, clock)
        # A request that can be run again is stale also for a message that it showed: so none is shown twice.
        self._checked = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=True)
        self._unchecked = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=False)
        # The settings of each app that were warned of, and the apps that have served a request.
        self._warned: WeakKeyDictionary[flask.Flask, frozenset[str]] = WeakKeyDictionary()
        self._serving: WeakSet[flask.Flask] = WeakSet()

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
        wrap(app, self._settings, self)
        app.teardown_request(self._finish)
        self._warned[app] = warn_of_unused(app, self.manager)

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession:
        """Return the session of a request's client; nothing is read."""
        if app not in self._serving:
            self._serving.add(app)
            # The app may have been configured since.
            warn_of_unused(app, self.manager, self._warned.get(app, frozenset()))
        runs = runs_of(app, request.environ)
        policy = self._unchecked if runs is None else self._checked
        if runs is None or runs.last is None:
            state = _state.begin(Hidden(self.manager.token(request.environ.get("HTTP_COOKIE"))), policy)
        else:
            state = begin_run(runs.last, policy, runs.course.attempt)
        if policy.on_conflict == "report":
            state.route = lambda: f"{request.method} {_route(request)}"
        return FlaskSession(self.manager, state, policy, unchecked=self._unchecked, runs=runs)

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
            if current_session() is not session:
                # Of the test client's session_transaction(): there is no response to be told by.
                raise
            conflict = find_conflict(error)
            if conflict is not None and self._is_run_again(session, conflict, error):
                # What the view has opened is closed, what it has left to be done afterwards is not done. Flask's own error
                # handling ends this run.
                _close_body(app, response)
                raise
            _become(response, self._answer(app, session, error), stale=conflict is not None)

    # Errors, before the app's handlers see them

    def on_user_exception(self, error: Exception, handle: Callable[[Exception], Answer]) -> Answer:
        """Return the answer to an error of a view. A part of `init_app`."""
        session, conflict = current_session(), find_conflict(error)
        outage = find_outage(error) if conflict is None else None
        if outage is not None and isinstance(session, FlaskSession):
            session._outage, session._outage_answer = error, None
            # Of a group of them, Flask would know no handler.
            session._outage_answer = handle(error) if outage is error else _handled(handle, error, outage)
            return session._outage_answer
        if conflict is None or not isinstance(session, FlaskSession) or session._answers or session._state.closed:
            return handle(error)
        if self._is_run_again(session, conflict, error):
            raise error
        self._begin_answer(session, conflict, error)
        return _handled(handle, error, conflict)

    def on_exception(self, app: flask.Flask, error: Exception) -> WSGIApplication | None:
        """Return the response to a conflict or an outage that nobody has handled; None if it is Flask's to make. A part of `init_app`."""
        session, conflict = current_session(), find_conflict(error)
        if not isinstance(session, FlaskSession):
            return None
        if session._runs is not None and session._runs.stale is not None:
            return unsent
        if session._state.closed:
            return None
        if conflict is None:
            return self._answer_outage(app, session, error) if is_outage(error) else None
        return unsent if self._is_run_again(session, conflict, error) else self._answer(app, session, error)

    def _answer_outage(self, app: flask.Flask, session: FlaskSession, error: Exception) -> flask.Response | None:
        """Return the response to an outage that was met where Flask asks no error handlers, as in an ``after_request`` function."""
        if error is not session._outage:
            return self._answer(app, session, error)
        if session._outage_answer is None:
            return None  # The handlers were asked, and raised it.
        # Its answer met it again.
        answer = app.make_response(session._outage_answer)
        self._discard(session, error)
        self._close(session, answer)
        return answer

    def _is_run_again(self, session: FlaskSession, conflict: SessionConflict, error: Exception) -> bool:
        """Return True if another run follows the one that *conflict* ends; discards the session."""
        environ, runs = flask.request.environ, session._runs
        if session._answers:
            return False
        self._discard(session, error)
        again = runs is not None and runs.go_on_after(conflict, session._state, environ)
        drop_changes_of_others(environ)
        return again

    def _begin_answer(self, session: FlaskSession, conflict: SessionConflict, error: Exception) -> None:
        """Begin *session* anew, as it is stored now, for what the answer to *conflict* puts into it."""
        report_conflict(conflict, flask.request.method, _route(flask.request))
        self._discard(session, error)
        state = session._state
        if state.stored:
            # By a `save` before: the client may need a new token, which only this state knows.
            state.closed = state.read_deadline = False
            state.looked = True
        else:
            session._state = begin_answer(state, self._unchecked)
        session._answers, session._failed, session._shown = True, False, False
        forget_session()

    def _answer(self, app: flask.Flask, session: FlaskSession, error: Exception) -> flask.Response:
        """Return the response to an *error* of a commit, finished; raise the error if there is none. Called as it is handled."""
        conflict = find_conflict(error)
        answer: flask.Response
        try:
            if conflict is None:
                answer = app.make_response(call(app.handle_user_exception, error))
            elif session._answers:
                # What the app answered rests on what was changed again.
                session._failed = True
                answer = _refused(conflict)
            else:
                self._begin_answer(session, conflict, error)
                answer = app.make_response(
                    _handled(lambda error: call(app.handle_user_exception, error), error, conflict)
                )
        except Exception as unhandled:
            if not is_outage(error):
                session._failed = True
                raise
            # The error itself, or what a handler of the app's made of it.
            report(unhandled)
            answer = app.response_class(OUTAGE, 503, headers=outage_headers())
        try:
            # Comes back to save_session, which commits what the answer to a conflict has put, or discards the session now.
            return call(app.process_response, answer)
        except Exception as failure:
            if failure is not session._outage:
                # As Flask does with an error while it answers an error.
                app.logger.exception("an after_request function failed on the answer to a session that was not stored")
            if conflict is None and not session._failed:
                # It was not the commit that failed: a logout counts.
                self._discard(session, error)
            session._failed = True
            self._close(session, answer)
            return answer

    def _close(self, session: FlaskSession, response: flask.Response) -> None:
        if not session._state.closed:
            self._settle(session, response.status_code)
        # As Flask has it: to use it at all is enough. Its status, say, is known without looking.
        session._state.looked = session.accessed
        after = Hidden(self.manager.headers(session, list(response.headers)))
        if after.reveal() != list(response.headers):
            response.headers.clear()
            response.headers.extend(after.reveal())

    def _settle(self, session: FlaskSession, status: int) -> None:
        """Commit or discard *session*, as the *status* of its response has it."""
        shown = session._shown
        if session._failed:
            self.manager._drop(session)
        elif not commits(status, commit_errors=self.commit_errors):
            self.manager.discard(session)
            # Without `init_app`, Flask makes a 500 of what a view has raised, and is at it.
            conflict = None if session._answers else find_conflict(sys.exc_info()[1])
            if conflict is not None:
                raise conflict
        else:
            try:
                self.manager.commit(session)
            except SessionConflict as error:
                if not shown:
                    raise
                # The view was shown it before, and this is its answer.
                outcome = f"answered with {status} by the app, and nothing stored"
                report_conflict(error, flask.request.method, _route(flask.request), outcome=outcome)
                self.manager.discard(session)
            except BaseException:
                session._failed = True
                raise
        if session._state.stored and flask.has_request_context():
            forbid_reruns(flask.request.environ)

    def _finish(self, error: BaseException | None = None) -> None:
        """Close a session whose request ended with an error and no response, as in debug mode: a logout counts all the same."""
        session = current_session()
        if error is not None and isinstance(session, FlaskSession) and not session._state.closed:
            self._discard(session, error)

    def _discard(self, session: FlaskSession, error: BaseException) -> None:
        try:
            self.manager.discard(session)
        except StoreError as failure:
            note_failed_destroy(error, failure)

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


@flask.request_tearing_down.connect
def _end(_app: flask.Flask, **_: object) -> None:
    """Note the end of a request of the test client, which keeps its context, after all teardown functions."""
    session = current_session()
    if isinstance(session, FlaskSession) and is_kept_for_a_test(flask.request.environ):
        session._end()


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


def _handled(handle: Callable[[Exception], Answer], error: Exception, within: SessionConflict | StoreError) -> Answer:
    """Return the answer of the app's error handlers to *error*, or to the conflict or outage in it, or the 409 or 503."""
    for one in (error, within):
        try:
            return handle(one)
        except Exception as unhandled:
            # Flask raises the error that is being handled if there is no handler for it.
            if unhandled is not error and unhandled is not within:
                raise
    return _refused(within) if isinstance(within, SessionConflict) else _unavailable(within)


def _route(request: flask.Request) -> str:
    return masked_path(request.path) if request.url_rule is None else request.url_rule.rule


def _close_body(app: flask.Flask, response: flask.Response) -> None:
    close = getattr(response.response, "close", None)
    if close is not None:
        try:
            close()
        except Exception:
            app.logger.exception("the body of a stale response could not be closed")


def _become(response: flask.Response, answer: flask.Response, *, stale: bool) -> None:
    """Turn a response, which Flask holds already, into another; of a *stale* one nothing is to be done afterwards."""
    if stale:
        response._on_close.clear()
    close = getattr(response.response, "close", None)
    if close is not None:
        response.call_on_close(close)
    response.call_on_close(answer.close)
    response.status = answer.status
    response.headers.clear()
    response.headers.extend(answer.headers)
    response.response = answer.response
    response.direct_passthrough = answer.direct_passthrough
