"""Sessions for a Flask app: `SessionInterface`, `FlaskSession`, and `session`, a typed ``flask.session``.

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

# ruff: noqa: ARG002 (Flask passes the app to every method of its interface)

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
from session.web._exchange import OUTAGE, find_outage, is_outage, outage_headers, report, should_commit
from session.web._reruns import Rerun, begin_answer, begin_run, check_rerun
from session.web._slots import forbid_reruns

from ._config import warn_of_unused
from ._context import call, current_session, forget_session
from ._runs import Settings, drop_changes_of_others, is_kept_for_a_test, runs_of, send_nothing, wrap
from ._session import Answer, FlaskSession

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

__all__ = ["FlaskSession", "SessionInterface", "session"]

MERGEABLE: Final[dict[str, Merge]] = {"_flashes": "merge"}
"""The mergeable key of Flask itself: flashed messages."""

LOGIN_KEYS: Final = ("_user_id", "_fresh", "_id", "_remember", "_remember_seconds", "next", "csrf_token")
"""The login keys: Flask-Login and Flask-WTF read and write them at a login."""


session: FlaskSession = flask.session  # type: ignore[assignment]  # the same proxy; Flask types it as SessionMixin
"""``flask.session``, typed as a `FlaskSession`. Use it in an app with this `SessionInterface`."""


class SessionInterface(flask.sessions.SessionInterface):
    """Store the sessions of a Flask app with *manager*: ``SessionInterface(manager).init_app(app)``.

    The session is committed after all ``after_request`` functions, before the response is sent. If the response is a 500 or
    above, only a `destroy <session.Session.destroy>` is carried out. Raises `TypeError` or `ValueError` for invalid settings:

    - *manager* (SessionManager): opens and commits the sessions, and has the settings of the cookie.
    - *commit_errors* (bool): commit the changes of a request with a response of 500 or above, too. Default: False.
    - *rerun*: which stale requests run again. "safe" (default): GET, HEAD and OPTIONS, except OAuth callbacks. "never": none.
      Or a function of the `flask.Request` that returns a bool; it is called before the URL is matched. A request with a body
      never runs again.
    - *sleep*, *clock*: for tests. *sleep* pauses for a number of seconds between two runs; *clock* returns monotonic seconds.

    The app's configuration of ``SESSION_COOKIE_...``, ``PERMANENT_SESSION_LIFETIME``, ``SESSION_REFRESH_EACH_REQUEST`` and
    ``SECRET_KEY`` is not used. If one of them, except ``SECRET_KEY``, differs from the manager's setting, a
    `UserWarning` says so at `init_app` or at the first request.

    A stale request (`SessionConflict <session.SessionConflict>`) runs again at most three times, within 5 seconds, if it
    has stored nothing. Otherwise the app's error handler for `SessionConflict <session.SessionConflict>` answers,
    with a fresh session that stores what the handler puts, such as flashed messages. Without a handler the answer is a 409.
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
        # A request that may run again is stale even if it read only flashed messages, so that no message is shown twice.
        self._checked = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=True)
        self._unchecked = manager._policy.knowing(MERGEABLE, LOGIN_KEYS, checked=False)
        # For each app, the settings that were reported; and the apps that have served a request.
        self._warned: WeakKeyDictionary[flask.Flask, frozenset[str]] = WeakKeyDictionary()
        self._serving: WeakSet[flask.Flask] = WeakSet()

    def init_app(self, app: flask.Flask) -> None:
        """Use these sessions in *app*, run stale requests again, and answer conflicts with 409 and outages with 503.

        Call it once, before the first request. It registers error handlers for `SessionConflict <session.SessionConflict>` and
        `dynamostore.StoreError`; the app's own handlers, registered before or after, take precedence. If you only set
        ``app.session_interface = SessionInterface(manager)``, no request runs again.
        """
        app.session_interface = self
        for kind, handler in ((StoreError, _unavailable), (SessionConflict, _refused)):
            if kind not in app.error_handler_spec[None][None]:
                app.register_error_handler(kind, handler)
        wrap(app, self._settings, self)
        app.teardown_request(self._finish)
        self._warned[app] = warn_of_unused(app, self.manager)

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession:
        """Return the session of a request. This does not read the session."""
        if app not in self._serving:
            self._serving.add(app)
            # The configuration may have changed since init_app.
            warn_of_unused(app, self.manager, self._warned.get(app, frozenset()))
        runs = runs_of(app, request.environ)
        policy = self._unchecked if runs is None else self._checked
        if runs is None or runs.last is None:
            state = _state.begin(Hidden(self.manager.token(request.environ.get("HTTP_COOKIE"))), policy)
        else:
            state = begin_run(runs.last, policy, runs.budget.attempt)
        if policy.on_conflict == "report":
            state.route = lambda: f"{request.method} {_route(request)}"
        return FlaskSession(self.manager, state, policy, unchecked=self._unchecked, runs=runs)

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Commit or discard *session*, and add its headers to *response*.

        If the commit fails, nothing is stored and the client keeps its cookie. The app's error handler for the error then makes
        the answer, which passes the ``after_request`` functions and replaces *response*. Without a handler, a stale request
        gets a 409 and an outage a 503. Any other error propagates, and Flask answers 500. If a stale request runs again, the
        conflict is raised to end this run.
        """
        if not isinstance(session, FlaskSession):
            raise TypeError(f"session must be a FlaskSession, not {type(session).__name__}")
        try:
            self._close(session, response)
        except Exception as error:
            if current_session() is not session:
                # In the test client's session_transaction() there is no response to replace.
                raise
            conflict = find_conflict(error)
            if conflict is not None and self._prepare_rerun(session, conflict, error):
                # Close the stale body, but skip its call_on_close functions. Flask's error handling ends this run.
                _close_body(app, response)
                raise
            _replace_response(response, self._answer(app, session, error), stale=conflict is not None)

    def on_user_exception(self, error: Exception, handle: Callable[[Exception], Answer]) -> Answer:
        """Return the answer to an error of a view. Installed by `init_app`."""
        session, conflict = current_session(), find_conflict(error)
        outage = find_outage(error) if conflict is None else None
        if outage is not None and isinstance(session, FlaskSession):
            session._outage, session._outage_answer = error, None
            # Flask looks handlers up by class, and would find none for a group of outages.
            session._outage_answer = handle(error) if outage is error else _handled(handle, error, outage)
            return session._outage_answer
        if conflict is None or not isinstance(session, FlaskSession) or session._answers or session._state.closed:
            return handle(error)
        if self._prepare_rerun(session, conflict, error):
            raise error
        self._begin_answer(session, conflict, error)
        return _handled(handle, error, conflict)

    def on_exception(self, app: flask.Flask, error: Exception) -> WSGIApplication | None:
        """Return the response to an unhandled conflict or outage; None if Flask must make it. Installed by `init_app`."""
        session, conflict = current_session(), find_conflict(error)
        if not isinstance(session, FlaskSession):
            return None
        if session._runs is not None and session._runs.stale is not None:
            return send_nothing
        if session._state.closed:
            return None
        if conflict is None:
            return self._answer_outage(app, session, error) if is_outage(error) else None
        return send_nothing if self._prepare_rerun(session, conflict, error) else self._answer(app, session, error)

    def _answer_outage(self, app: flask.Flask, session: FlaskSession, error: Exception) -> flask.Response | None:
        """Return the response to an outage where Flask calls no error handlers, such as in an ``after_request`` function."""
        if error is not session._outage:
            return self._answer(app, session, error)
        if session._outage_answer is None:
            return None  # the handlers were called, and raised it
        # The outage occurred again while the answer was made.
        answer = app.make_response(session._outage_answer)
        self._discard(session, error)
        self._close(session, answer)
        return answer

    def _prepare_rerun(self, session: FlaskSession, conflict: SessionConflict, error: Exception) -> bool:
        """Discard the session, and return True if another run follows this one, which *conflict* ends."""
        environ, runs = flask.request.environ, session._runs
        if session._answers:
            return False
        self._discard(session, error)
        again = runs is not None and runs.rerun_after(conflict, session._state, environ)
        drop_changes_of_others(environ)
        return again

    def _begin_answer(self, session: FlaskSession, conflict: SessionConflict, error: Exception) -> None:
        """Reset *session* to the stored state, so that the answer to *conflict* can read and change it."""
        report_conflict(conflict, flask.request.method, _route(flask.request))
        self._discard(session, error)
        state = session._state
        if state.stored:
            # It was saved before the conflict. Only this state has the new token that the client may need.
            state.closed = state.read_deadline = False
            state.looked = True
        else:
            session._state = begin_answer(state, self._unchecked)
        session._answers, session._failed, session._shown = True, False, False
        forget_session()

    def _answer(self, app: flask.Flask, session: FlaskSession, error: Exception) -> flask.Response:
        """Return the complete response to an *error* of a commit, or raise the error. Call it while the error is handled."""
        conflict = find_conflict(error)
        answer: flask.Response
        try:
            if conflict is None:
                answer = app.make_response(call(app.handle_user_exception, error))
            elif session._answers:
                # Another request changed the session again while the app made its answer.
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
            # This is the error itself, or an error of the app's handler.
            report(unhandled)
            answer = app.response_class(OUTAGE, 503, headers=outage_headers())
        try:
            # This calls save_session again. It commits the changes that the answer to a conflict made, or discards the session.
            return call(app.process_response, answer)
        except Exception as failure:
            if failure is not session._outage:
                # Flask, too, logs an error that occurs during the answer to another error.
                app.logger.exception("an after_request function failed on the response to a failed commit")
            if conflict is None and not session._failed:
                # The commit did not fail, so a logout takes effect.
                self._discard(session, error)
            session._failed = True
            self._close(session, answer)
            return answer

    def _close(self, session: FlaskSession, response: flask.Response) -> None:
        if not session._state.closed:
            self._commit_or_discard(session, response.status_code)
        # As in Flask, any use counts as access, even if it does not read the data.
        session._state.looked = session.accessed
        after = Hidden(self.manager.headers(session, list(response.headers)))
        if after.reveal() != list(response.headers):
            response.headers.clear()
            response.headers.extend(after.reveal())

    def _commit_or_discard(self, session: FlaskSession, status: int) -> None:
        """Commit or discard *session*, depending on the *status* of its response."""
        shown = session._shown
        if session._failed:
            self.manager._drop(session)
        elif not should_commit(status, commit_errors=self.commit_errors):
            self.manager.discard(session)
            # Without `init_app`, Flask is answering the view's conflict with a 500 now.
            conflict = None if session._answers else find_conflict(sys.exc_info()[1])
            if conflict is not None:
                raise conflict
        else:
            try:
                self.manager.commit(session)
            except SessionConflict as error:
                if not shown:
                    raise
                # The view saw a conflict before, and this response is its answer to it.
                outcome = f"answered with {status} by the app, and nothing was stored"
                report_conflict(error, flask.request.method, _route(flask.request), outcome=outcome)
                self.manager.discard(session)
            except BaseException:
                session._failed = True
                raise
        if session._state.stored and flask.has_request_context():
            forbid_reruns(flask.request.environ)

    def _finish(self, error: BaseException | None = None) -> None:
        """Close the session of a request that ended with an error and no response, as in debug mode. Carry out a logout."""
        session = current_session()
        if error is not None and isinstance(session, FlaskSession) and not session._state.closed:
            self._discard(session, error)

    def _discard(self, session: FlaskSession, error: BaseException) -> None:
        try:
            self.manager.discard(session)
        except StoreError as failure:
            note_failed_destroy(error, failure)

    # Flask and its extensions may call these.

    def get_cookie_name(self, app: flask.Flask) -> str:
        """Return the name of the manager's cookie."""
        return self.manager.cookie.name

    def get_cookie_domain(self, app: flask.Flask) -> str | None:
        """Return the domain of the manager's cookie."""
        return self.manager.cookie.domain

    def get_cookie_path(self, app: flask.Flask) -> str:
        """Return the path of the manager's cookie."""
        return self.manager.cookie.path

    def get_cookie_httponly(self, app: flask.Flask) -> bool:
        """Return True if scripts cannot read the manager's cookie."""
        return self.manager.cookie.http_only

    def get_cookie_secure(self, app: flask.Flask) -> bool:
        """Return True if browsers send the manager's cookie over HTTPS only."""
        return self.manager.cookie.secure

    def get_cookie_samesite(self, app: flask.Flask) -> str | None:
        """Return the ``SameSite`` attribute of the manager's cookie."""
        return self.manager.cookie.same_site

    def get_cookie_partitioned(self, app: flask.Flask) -> bool:
        """Return True if the manager's cookie is partitioned."""
        return self.manager.cookie.partitioned


@flask.request_tearing_down.connect
def _end(_app: flask.Flask, **_: object) -> None:
    """Tell the session that its request is over, if the test client keeps the context. Runs after all teardown functions."""
    session = current_session()
    if isinstance(session, FlaskSession) and is_kept_for_a_test(flask.request.environ):
        session._end_request()


def _unavailable(error: StoreError) -> flask.Response:
    """Answer an outage with 503: the error handler that `SessionInterface.init_app` registers."""
    if not is_outage(error):
        raise error
    report(error)
    return flask.current_app.response_class(OUTAGE, 503, headers=outage_headers())


def _refused(error: SessionConflict) -> flask.Response:  # noqa: ARG001 (an error handler)
    """Answer a conflict with 409: the error handler that `SessionInterface.init_app` registers."""
    accept = flask.request.headers.get("Accept")
    return flask.current_app.response_class(conflict_body(accept), 409, headers=conflict_headers(accept))


def _handled(handle: Callable[[Exception], Answer], error: Exception, within: SessionConflict | StoreError) -> Answer:
    """Return the answer of the app's handler for *error*, or else for the error *within* it, or else the 409 or 503."""
    for one in (error, within):
        try:
            return handle(one)
        except Exception as unhandled:
            # Without a handler, Flask raises the same error again.
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
            app.logger.exception("could not close the body of a stale response")


def _replace_response(response: flask.Response, answer: flask.Response, *, stale: bool) -> None:
    """Turn *response*, which Flask already holds, into *answer*. Drop the ``call_on_close`` functions of a *stale* one."""
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
