"""The runs of one Flask request: a stale one is run again, with a request context of its own, and nobody sees its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ._reruns import Course, Rerun, may_rerun

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    import flask

    from session._state import State
    from session.errors import SessionConflict

__all__ = ["Runs", "is_rerunnable", "runs_of", "wrap"]

_RUNS = "dynamostore.runs"


class Runs:
    """The runs of a request, one after the other."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.stale: SessionConflict | None = None
        """The conflict that this run has met, if it is to be followed by another one."""
        self.last: State | None = None
        """The session of the run before, which was stale."""
        self.ended = False
        """True if that session had ended."""

    def go_on_after(self, conflict: SessionConflict, state: State) -> bool:
        """Return True if the run that met *conflict* is to be followed by another one, so its answer does not matter."""
        if self.stale is None:
            if not self.course.goes_on(state):
                return False
            self.stale, self.last, self.ended = conflict, state, conflict.ended
        return True


def runs_of(environ: WSGIEnvironment) -> Runs | None:
    """Return the runs of a request; None if it is never run again."""
    runs = environ.get(_RUNS)
    return runs if isinstance(runs, Runs) else None


def is_rerunnable(environ: WSGIEnvironment, rerun: Rerun[flask.Request], request: Callable[[], flask.Request]) -> bool:
    """Return True if the setting *rerun* allows a request to be run again, and it has no body, which could not be read again."""
    has_body = environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ
    if has_body or rerun == "never":
        return False
    if callable(rerun):
        return rerun(request())
    return may_rerun(rerun, None, environ.get("REQUEST_METHOD", "GET"), has_body=False)


def wrap(
    app: flask.Flask,
    rerun: Rerun[flask.Request],
    meets: Callable[[BaseException], bool],
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Have *app* run its requests again as *rerun* says.

    *meets* is told of each error of a request before the app's error handlers are, and returns True if the request is to be run
    again. Flask hands an error of a view to ``handle_user_exception``, and an error of that to ``handle_exception``, whose
    response it sends; then it tears the request down with the error.
    """
    inner: WSGIApplication = app.wsgi_app
    # From Flask 3.2 on both take the context first.
    handle_user_exception: Callable[..., Any] = app.handle_user_exception
    handle_exception: Callable[..., Any] = app.handle_exception

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.pop(_RUNS, None)
        if not is_rerunnable(environ, rerun, lambda: app.request_class(environ)):
            return inner(environ, start_response)
        before = dict(environ)
        runs = Runs(Course(True, clock))
        while True:
            environ[_RUNS] = runs
            body = inner(environ, start_response)
            if runs.stale is None:
                return body
            runs.stale = None
            # The server has this very dict.
            environ.clear()
            environ.update(before)
            sleep(runs.course.pause())

    def user_exception(*arguments: Any) -> Any:
        if meets(arguments[-1]):
            raise arguments[-1]
        return handle_user_exception(*arguments)

    def exception(*arguments: Any) -> Any:
        return _unsent if meets(arguments[-1]) else handle_exception(*arguments)

    # The first as Flask's docs have it for middleware; for the others there is no hook before the handlers.
    methods: Any = app
    methods.wsgi_app, methods.handle_user_exception, methods.handle_exception = wsgi_app, user_exception, exception


def _unsent(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001 (a WSGI app)
    """The response of a run that is to be followed by another one."""
    return []
