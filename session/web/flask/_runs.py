"""The runs of one Flask request: a stale one is run again, with a request context of its own, and nobody sees its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dynamostore.hidden import Hidden
from session.web._reruns import Course, Rerun, may_rerun
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
    "unsent",
    "wrap",
]

_RUNS = "dynamostore.runs"
# Werkzeug's: the test client and the debugger collect the contexts of a request by it.
_PRESERVE = "werkzeug.debug.preserve_context"


@dataclass(frozen=True, slots=True)
class Settings:
    """Which requests of which cookie are run again, and how to wait in between."""

    cookie: str
    rerun: Rerun[flask.Request]
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


class ErrorHooks(Protocol):
    """The interface's part in the errors of a request, before and instead of Flask's."""

    def on_user_exception(self, error: Exception, handle: Callable[[Exception], Any]) -> Any:
        """Return the answer to an error of a view; *handle* asks the app's error handlers. Raise *error* for another run."""

    def on_exception(self, app: flask.Flask, error: Exception) -> WSGIApplication | None:
        """Return the response to an error that nobody has handled; None if that is Flask's to make."""


class Runs:
    """The runs of a request, one after the other."""

    def __init__(self, app: flask.Flask, course: Course) -> None:
        self.app = app
        self.course = course
        self.stale: SessionConflict | None = None
        """The conflict that this run has met, if it is to be followed by another one."""
        self.last: State | None = None
        """The session of the run before, which was stale."""

    def go_on_after(self, conflict: SessionConflict, state: State, environ: WSGIEnvironment) -> bool:
        """Return True if the run that met *conflict* is to be followed by another one, so its answer does not matter."""
        if self.stale is None:
            if not self.course.goes_on(state) or any(slot.session._state.stored for slot in open_slots(environ)):
                return False
            self.stale, self.last = conflict, state
        return True


def runs_of(app: flask.Flask, environ: WSGIEnvironment) -> Runs | None:
    """Return the runs of a request to *app*; None if it is never run again."""
    runs = environ.get(_RUNS)
    return runs if isinstance(runs, Runs) and runs.app is app else None


def is_kept_for_a_test(environ: WSGIEnvironment) -> bool:
    """Return True if the test client keeps the context of a request when it is over, as in ``with client:``."""
    # The debugger keeps it, too, but for a request that came from a server. A development server must be as strict as any.
    return _PRESERVE in environ and "SERVER_SOFTWARE" not in environ


def drop_changes_of_others(environ: WSGIEnvironment) -> None:
    """Forget the changes that a stale run has made in sessions of middleware around the app; a pending `destroy` stays."""
    for slot in open_slots(environ):
        slot.drop(environ)


def _is_rerunnable(held: Hidden[WSGIEnvironment], settings: Settings, request: Callable[[], flask.Request]) -> bool:
    """Return True if a request may be run again: it has a session, and no body, which could not be read again."""
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
    """Have *app* run its requests again as *settings* say, and ask *hooks* about errors before its own error handlers.

    Flask hands an error of a view to ``handle_user_exception``, and an error of that or of the commit to ``handle_exception``,
    whose response it sends; then it tears the request down with the error.
    """
    inner: WSGIApplication = app.wsgi_app
    # From Flask 3.2 on both take the context first.
    handle_user_exception: Callable[..., Any] = app.handle_user_exception
    handle_exception: Callable[..., Any] = app.handle_exception

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # The app runs within this frame, and a cookie is in it.
        held = Hidden(environ)
        del environ
        held.reveal().pop(_RUNS, None)
        if not _is_rerunnable(held, settings, lambda: app.request_class(held.reveal())):
            return inner(held.reveal(), start_response)
        return _run(Runs(app, Course(True, settings.clock)), inner, held, start_response, settings.sleep)

    def user_exception(*arguments: Any) -> Any:
        *context, error = arguments
        return hooks.on_user_exception(error, lambda error: handle_user_exception(*context, error))

    def exception(*arguments: Any) -> Any:
        response = hooks.on_exception(app, arguments[-1])
        return handle_exception(*arguments) if response is None else response

    # The first as Flask's docs have it for middleware; for the others there is no hook before the handlers.
    methods: Any = app
    methods.wsgi_app, methods.handle_user_exception, methods.handle_exception = wsgi_app, user_exception, exception


def _run(
    runs: Runs,
    inner: WSGIApplication,
    environ: Hidden[WSGIEnvironment],
    start_response: StartResponse,
    sleep: Callable[[float], object],
) -> Iterable[bytes]:
    """Return the body of the first run that is not stale, or that is not to be followed by another one."""
    before = Hidden(dict(environ.reveal()))
    preserve = environ.reveal().get(_PRESERVE)

    def start(*arguments: Any) -> Any:
        # An answer to an error goes out even if its session could not be stored.
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
        sleep(runs.course.pause())
        runs.stale = None
        # The server has this very dict.
        environ.reveal().clear()
        environ.reveal().update(before.reveal())


def unsent(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001 (a WSGI app)
    """The response of a run that is to be followed by another one."""
    return []


def _write_nothing(data: bytes) -> None:
    """The ``write`` of such a response."""
