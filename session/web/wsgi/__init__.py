"""`SessionMiddleware` for WSGI: puts each request's session into the environ, and commits it before the headers are sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dynamostore.hidden import Hidden
from session.manager import SessionManager
from session.session import Session
from session.web._exchange import TAKEN, check_app
from session.web._reruns import Rerun, check_rerun
from session.web._slots import SLOTS, find_slot

from ._exchange import Exchange, Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware", "get_session"]


class SessionMiddleware:
    """Wrap a WSGI app so that each request has its session in ``environ["session"]``.

    The first access reads the session. The session is committed before the headers are sent: when the app returns its body,
    or with the first bytes if the body is a generator. A later change raises `SessionClosedError
    <session.SessionClosedError>`. If the app raises, or answers 500 or above, only a `destroy <session.Session.destroy>` is
    carried out. Raises `TypeError` or `ValueError` for invalid settings:

    - *app*: the WSGI app.
    - *manager* (SessionManager): opens and commits the sessions. Two managers need two cookie names and two keys.
    - *key* (str): the session's key in the environ. Default: "session". A key without a dot also gets an alias with the
      prefix ``dynamostore.``.
    - *commit_errors* (bool): commit the changes of a request that the app answers with 500 or above, too. Default: False.
    - *rerun*: which stale requests run again. "safe" (default): GET, HEAD and OPTIONS, except OAuth callbacks. "never": none.
      Or a function of the environ that returns a bool. A request with a body never runs again.
    - *conflict*: a WSGI app that answers stale requests. It finds a new session in the environ, and the error in
      ``environ["session.conflict"]``. Default: a 409.
    - *unavailable*: a WSGI app that answers in place of the 503 if the store fails. It finds the error in
      ``environ["session.unavailable"]``, and must not access the session. Default: a 503 with ``Retry-After``.
    - *sleep*, *clock*: for tests. *sleep* pauses for a number of seconds between two runs; *clock* returns monotonic seconds.

    A stale request (`SessionConflict <session.SessionConflict>`) runs again at most three times, within 5 seconds. It must
    have stored nothing, and no byte of its response may have been sent.

    If the store fails, the app sees the `StoreError <dynamostore.StoreError>` where it reads or saves. If the app does not
    catch it, or has already returned, the client gets a 503 and keeps its cookie.

    The app may replace the session in the environ: a mapping replaces its data, and None destroys it. Any other object raises
    `SessionTypeError <session.SessionTypeError>`, and nothing is stored.

    >>> from dynamostore import MemoryStore
    >>> def app(environ, start_response):
    ...     session = get_session(environ)
    ...     session.increment("visits")
    ...     start_response("200 OK", [("Content-Type", "text/plain")])
    ...     return [b"visits: %d" % session.get_int("visits")]
    >>> app = SessionMiddleware(app, SessionManager(MemoryStore()))
    >>> app({"REQUEST_METHOD": "GET"}, lambda status, headers: print(status, [name for name, _ in headers]))
    200 OK ['Content-Type', 'Vary', 'Cache-Control', 'Set-Cookie']
    [b'visits: 1']
    """

    def __init__(
        self,
        app: WSGIApplication,
        manager: SessionManager,
        *,
        key: str = "session",
        commit_errors: bool = False,
        rerun: Rerun[WSGIEnvironment] = "safe",
        conflict: WSGIApplication | None = None,
        unavailable: WSGIApplication | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        if key.isupper() or key.startswith("wsgi.") or key == SLOTS:
            raise ValueError(f"key {key!r} is reserved by WSGI; choose another key")
        check_rerun(rerun)
        check_app("conflict", conflict, "a WSGI")
        check_app("unavailable", unavailable, "a WSGI")
        self._app = app
        self._settings = Settings(
            app=app,
            manager=manager,
            drive=manager._drive,
            keys=_keys(key),
            commit_errors=commit_errors,
            rerun=rerun,
            conflict=conflict,
            unavailable=unavailable,
            sleep=sleep,
            clock=clock,
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        # Hide the environ: it contains the cookie, and this frame is in the traceback of each error of the app.
        request = Hidden(environ)
        del environ
        settings = self._settings
        there = find_slot(request.reveal(), settings.keys)
        if there is not None:
            if there.session._policy.manager is not settings.manager._policy.manager:
                raise RuntimeError(TAKEN.format(settings.keys[0]))
            # This middleware wraps the app twice, and the outer one has opened the session.
            return self._app(request.reveal(), start_response)
        return Exchange(settings, request, start_response).run()


def get_session(environ: WSGIEnvironment, key: str = "session") -> Session:
    """Return the session of a request, typed.

    Raises `RuntimeError` if no `SessionMiddleware` with this *key* wraps the app, or if the app has put another object in the
    session's place.
    """
    found = [environ[name] for name in _keys(key) if name in environ]
    if found and isinstance(found[0], Session):
        return found[0]
    kind = type(found[0]).__name__ if found else None
    del environ, found
    raise RuntimeError(
        f"there is no session in environ[{key!r}]"
        + (
            f", but an object of type {kind}; get the session before you replace it"
            if kind is not None
            else "; wrap the app in session.web.wsgi.SessionMiddleware"
        )
    )


def _keys(key: str) -> tuple[str, ...]:
    return (key,) if "." in key else (key, f"dynamostore.{key}")
