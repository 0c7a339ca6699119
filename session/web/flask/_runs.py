"""Run a stale Flask request again, with a new request context. The answers of stale runs are never sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dynamostore.hidden import Hidden
from session.web._reruns import Rerun, RerunBudget, may_rerun
from session.web._slots import open_slots

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    import flask

    from session._state import State
    from session.errors import SessionConflict

__all__ = [
    "ErrorHooks",
    "Runs",
    "Settings",
    "drop_changes_of_others",
    "is_kept_for_a_test",
    "runs_of",
    "send_nothing",
    "wrap",
]

_RUNS = "dynamostore.runs"
# Werkzeug's key: the test client and the debugger put a function there that keeps the contexts of a request.
_PRESERVE = "werkzeug.debug.preserve_context"


@dataclass(frozen=True, slots=True)
class Settings:
    """The name of the session's cookie, which requests run again, and how to wait between runs."""

    cookie: str
    rerun: Rerun[flask.Request]
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


class ErrorHooks(Protocol):
    """The error handling of `SessionInterface`, which runs before Flask's."""

    def on_user_exception(self, error: Exception, handle: Callable[[Exception], Any]) -> Any:
        """Return the answer to a view's *error*, or raise it to run again. *handle* calls the app's error handlers."""

    def on_exception(self, app: flask.Flask, error: Exception) -> WSGIApplication | None:
        """Return the response to an unhandled error, or None if Flask must make it."""


class Runs:
    """The runs of one request."""

    def __init__(self, app: flask.Flask, budget: RerunBudget) -> None:
        self.app = app
        self.budget = budget
        self.stale: SessionConflict | None = None
        """The conflict that ended this run, if another run follows."""
        self.last: State | None = None
        """The state of the session of the previous run, which was stale."""

    def rerun_after(self, conflict: SessionConflict, state: State, environ: WSGIEnvironment) -> bool:
        """Return True if another run follows this one, which *conflict* ended. The answer of this run is then not sent."""
        if self.stale is None:
            if not self.budget.allows_rerun(state) or any(slot.session._state.stored for slot in open_slots(environ)):
                return False
            self.stale, self.last = conflict, state
        return True


def runs_of(app: flask.Flask, environ: WSGIEnvironment) -> Runs | None:
    """Return the runs of a request to *app*, or None if the request may not run again."""
    runs = environ.get(_RUNS)
    return runs if isinstance(runs, Runs) and runs.app is app else None


def is_kept_for_a_test(environ: WSGIEnvironment) -> bool:
    """Return True if the test client keeps the request's context after the request, as in ``with client:``."""
    # The debugger keeps it, too, but there the request comes from a server, and changes must raise as in production.
    return _PRESERVE in environ and "SERVER_SOFTWARE" not in environ


def drop_changes_of_others(environ: WSGIEnvironment) -> None:
    """Discard the changes of a stale run in the sessions of middleware around the app, except for a `destroy`."""
    for slot in open_slots(environ):
        slot.drop(environ)


def _is_rerunnable(held: Hidden[WSGIEnvironment], settings: Settings, request: Callable[[], flask.Request]) -> bool:
    """Return True if a request may run again. It must have a session cookie, and no body, which could not be read twice."""
    # A session that begins with this request cannot be stale.
    if settings.cookie not in held.reveal().get("HTTP_COOKIE", "") or settings.rerun == "never":
        return False
    if held.reveal().get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in held.reveal():
        return False
    if callable(settings.rerun):
        return settings.rerun(request())
    method, query = held.reveal().get("REQUEST_METHOD", "GET"), held.reveal().get("QUERY_STRING", "")
    return may_rerun(settings.rerun, Hidden(None), method, query, has_body=False)


def wrap(app: flask.Flask, settings: Settings, hooks: ErrorHooks) -> None:
    """Wrap methods of *app* so that stale requests run again and errors go to *hooks* first.

    Flask passes an error of a view to ``handle_user_exception``. It passes an error of that method, or of the commit, to
    ``handle_exception`` and sends the response. Then it tears the request down with the error.
    """
    inner: WSGIApplication = app.wsgi_app
    # From Flask 3.2 on, both take the context as their first argument.
    handle_user_exception: Callable[..., Any] = app.handle_user_exception
    handle_exception: Callable[..., Any] = app.handle_exception

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Hide the environ: it contains the cookie, and this frame is in the traceback of each error of the app.
        held = Hidden(environ)
        del environ
        held.reveal().pop(_RUNS, None)
        if not _is_rerunnable(held, settings, lambda: app.request_class(held.reveal())):
            return inner(held.reveal(), start_response)
        return _run(Runs(app, RerunBudget(True, settings.clock)), inner, held, start_response, settings.sleep)

    def user_exception(*arguments: Any) -> Any:
        *context, error = arguments
        return hooks.on_user_exception(error, lambda error: handle_user_exception(*context, error))

    def exception(*arguments: Any) -> Any:
        response = hooks.on_exception(app, arguments[-1])
        return handle_exception(*arguments) if response is None else response

    # Flask documents replacing wsgi_app. For the other two, Flask has no hook that runs before the error handlers.
    methods: Any = app
    methods.wsgi_app, methods.handle_user_exception, methods.handle_exception = wsgi_app, user_exception, exception


def _run(
    runs: Runs,
    inner: WSGIApplication,
    environ: Hidden[WSGIEnvironment],
    start_response: StartResponse,
    sleep: Callable[[float], object],
) -> Iterable[bytes]:
    """Run the request until a run is not stale or no further run is allowed. Return the body of the last run."""
    before = Hidden(dict(environ.reveal()))
    preserve = environ.reveal().get(_PRESERVE)

    def start(*arguments: Any) -> Any:
        # If another run follows, do not send the response.
        given = Hidden(arguments)
        del arguments
        return start_response(*given.reveal()) if runs.stale is None else _write_nothing

    while True:
        environ.reveal()[_RUNS] = runs
        contexts: list[object] = []
        if preserve is not None:
            environ.reveal()[_PRESERVE] = contexts.append
        try:
            body = inner(environ.reveal(), start)
        finally:
            if preserve is not None and runs.stale is None:
                for context in contexts:
                    preserve(context)
        if runs.stale is None:
            return body
        sleep(runs.budget.pause())
        runs.stale = None
        # Restore the dict in place, because the server holds it.
        environ.reveal().clear()
        environ.reveal().update(before.reveal())


def send_nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001 (a WSGI app)
    """Return an empty body without calling *start_response*: the response of a run that another run follows."""
    return []


def _write_nothing(data: bytes) -> None:
    """Ignore *data*: the ``write`` of a response that is not sent."""
