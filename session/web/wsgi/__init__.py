"""`SessionMiddleware` for WSGI: the session of each request in its environ, committed before the headers go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dynamostore.hidden import Hidden
from session.manager import SessionManager
from session.session import Session
from session.web._exchange import TAKEN
from session.web._reruns import Rerun, check_rerun
from session.web._slots import SLOTS, find_slot

from ._exchange import Exchange, Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware", "get_session"]


class SessionMiddleware:
    """A WSGI app whose requests have their session in ``environ["session"]``, read when it is first accessed.

    It is committed before the headers go out: when the app has returned its body, or, for a body that is made while it is
    sent, with its first bytes. A change after that raises `SessionClosedError <session.SessionClosedError>`. Nothing but a
    `destroy <session.Session.destroy>` is committed if the app raises, or answers with 500 and over (unless *commit_errors*).
    *key* is the session's in the environ; one without a dot is there with the prefix ``dynamostore.``, too. Two managers, with
    cookies of two names, need two keys. A mapping that the app puts there replaces the session's data, None destroys the session;
    anything else is a `SessionTypeError <session.SessionTypeError>`, and nothing is stored.

    A stale request (`SessionConflict <session.SessionConflict>`) is run again if that is safe: up to three times, within 5
    seconds, and only if it has no body, no byte of its response is out and it has stored nothing. *rerun*: "safe" for GET, HEAD
    and OPTIONS; "never"; or a function of the environ. Otherwise the answer is a 409, or what *conflict* answers: a WSGI app,
    which finds a new session in the environ, and the error under ``environ["session.conflict"]``.

    If the store fails, the app sees the `StoreError <dynamostore.StoreError>` where it reads or saves. If the app does not
    catch it, or has returned already, the client gets a 503 with ``Retry-After``, and keeps its cookie.

    *sleep* and *clock* are for tests: how to wait between two runs, and seconds that only grow.

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
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        if key.isupper() or key.startswith("wsgi.") or key == SLOTS:
            raise ValueError(f"key {key!r} is reserved by WSGI; choose another key")
        check_rerun(rerun)
        if conflict is not None and not callable(conflict):
            raise TypeError(f"conflict must be a WSGI app, not {type(conflict).__name__}")
        self._app = app
        self._settings = Settings(app, manager, _keys(key), commit_errors, rerun, conflict, sleep, clock)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it (PEP 3333)."""
        # The app runs within this frame, and a cookie is in it.
        request = Hidden(environ)
        del environ
        settings = self._settings
        there = find_slot(request.reveal(), settings.keys)
        if there is not None:
            if there.session._policy.manager is not settings.manager._policy.manager:
                raise RuntimeError(TAKEN.format(settings.keys[0]))
            # This middleware is around the app twice.
            return self._app(request.reveal(), start_response)
        return Exchange(settings, request, start_response).run()


def get_session(environ: WSGIEnvironment, key: str = "session") -> Session:
    """Return the session of a request; raise `RuntimeError` if no `SessionMiddleware` with that *key* is around the app."""
    found = [environ[name] for name in _keys(key) if name in environ]
    if found and isinstance(found[0], Session):
        return found[0]
    kind = type(found[0]).__name__ if found else None
    del environ, found
    raise RuntimeError(
        f"there is no session in environ[{key!r}]"
        + (
            f", but a {kind}: get the session before you replace it"
            if kind is not None
            else ": is the app in a session.web.wsgi.SessionMiddleware?"
        )
    )


def _keys(key: str) -> tuple[str, ...]:
    return (key,) if "." in key else (key, f"dynamostore.{key}")
