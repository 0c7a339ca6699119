"""`SessionMiddleware` for WSGI: the session of each request in its environ, committed before the headers go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from session._headers import Headers
from session.manager import SessionManager
from session.session import BaseSession, Session

from ._exchange import OUTAGE, TAKEN, commits, is_outage, outage_headers, report

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware", "get_session"]

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None"
Write: TypeAlias = Callable[[bytes], object]


class SessionMiddleware:
    """A WSGI app whose requests have their session in ``environ["session"]``, read when it is first looked at.

    It is committed before the headers go out: when the app has returned its body, or, for a body that is made while it is
    sent, with its first bytes (the session may be changed until then; after that a change raises `SessionClosedError
    <session.SessionClosedError>`). Nothing is committed if the app raises, or answers with 500 and over (unless
    *commit_errors*). *key* is the session's in the environ: two managers, with cookies of two names, need two keys.

    Where the store fails, the app sees the `StoreError <dynamostore.StoreError>` if it looks or writes while the store is
    down; if it lets it pass, or was through, the client gets a 503 with ``Retry-After``, and keeps its cookie.

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
        self, app: WSGIApplication, manager: SessionManager, *, key: str = "session", commit_errors: bool = False
    ) -> None:
        if not isinstance(manager, SessionManager):
            raise TypeError(f"manager must be a SessionManager, not {type(manager).__name__}")
        if key.isupper() or key.startswith("wsgi."):
            raise ValueError(f"key {key!r} is WSGI's own, or CGI's: take another")
        self._app = app
        self._manager = manager
        self._key = key
        self._commit_errors = commit_errors

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it (PEP 3333)."""
        there = environ.get(self._key)
        if isinstance(there, BaseSession):
            if there._policy is not self._manager._policy:
                raise RuntimeError(TAKEN.format(self._key))
            # This middleware is around the app twice.
            return self._app(environ, start_response)
        session = self._manager.load(self._manager.token(environ.get("HTTP_COOKIE")))
        environ[self._key] = session
        response = _Response(self._manager, session, environ, start_response, commit_errors=self._commit_errors)
        try:
            body = self._app(environ, response.start)
        except BaseException as error:
            if not response.refuses(error):
                raise
            return response.refusal()
        return response.deliver(body)


def get_session(environ: WSGIEnvironment, key: str = "session") -> Session:
    """The session of a request, typed; `RuntimeError` if no `SessionMiddleware` with that *key* is around the app."""
    session = environ.get(key)
    if not isinstance(session, Session):
        raise RuntimeError(  # noqa: TRY004 (it is the app's set-up that is wrong)
            f"there is no session in environ[{key!r}]: is the app in a session.web.wsgi.SessionMiddleware?"
        )
    return session


class _Response:
    """One response on its way to the server: what the app says of its start is held back until the session is stored."""

    def __init__(
        self,
        manager: SessionManager,
        session: Session,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        *,
        commit_errors: bool,
    ) -> None:
        self._manager = manager
        self._session = session
        self._environ = environ
        self._start_response = start_response
        self._commit_errors = commit_errors
        self._said: tuple[str, Headers] | None = None
        self._write: Write | None = None

    @property
    def begun(self) -> bool:
        """Whether the server has the headers."""
        return self._write is not None

    def start(self, status: str, headers: Headers, exc_info: ExcInfo = None, /) -> Write:
        """The app's ``start_response``."""
        if exc_info is None and self._said is not None:
            raise AssertionError("start_response was called twice, the second time without exc_info")
        if self.begun:
            # It raises what is in exc_info if the headers are out.
            return self._start_response(status, list(headers), exc_info)
        self._said = (status, list(headers))
        return self._write_first

    def deliver(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The body that the server sends, the session committed before its first bytes."""
        if not self.begun and (self._said is None or self._is_made_while_sent(body)):
            return _Body(self, body)
        try:
            self.begin()
        except BaseException as error:
            _close(body)
            if not self.refuses(error):
                raise
            return self.refusal()
        # As it is: the server sees how long it is, or that it is a file.
        return body

    def begin(self) -> None:
        """Commit the session, or discard it, and give the server the status and the headers; nothing the second time."""
        if self.begun:
            return
        if self._said is None:
            raise AssertionError("the app did not call start_response before its body")
        status, headers = self._said
        # Whoever sends a status that is none hears it from the server.
        code = status.split(" ", 1)[0]
        if not commits(int(code) if code.isdecimal() else 200, commit_errors=self._commit_errors):
            self._manager.discard(self._session)
        elif not self._session._state.closed:
            try:
                self._manager.commit(self._session)
            except BaseException:
                self._manager.discard(self._session)
                raise
        self._write = self._start_response(status, self._manager.headers(self._session, headers))

    def refuses(self, error: BaseException) -> bool:
        """Whether *error*, raised by the app or the commit, is an outage that can still be answered; discards the session."""
        self._manager.discard(self._session)
        if self.begun or not is_outage(error):
            return False
        report(error)
        return True

    def refusal(self) -> Iterable[bytes]:
        """The answer to an outage."""
        self._write = self._start_response("503 Service Unavailable", outage_headers())
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [OUTAGE]

    def abandoned(self) -> None:
        """The server closes the body without having asked for any of it: nobody gets this response."""
        if not self.begun:
            self._manager.discard(self._session)

    def _write_first(self, data: bytes) -> object:
        self.begin()
        assert self._write is not None
        return self._write(data)

    def _is_made_while_sent(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        return not (isinstance(body, list | tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper)))


class _Body:
    """A body that is made while it is sent: what the app does for its first bytes still belongs to the request."""

    def __init__(self, response: _Response, body: Iterable[bytes]) -> None:
        self._response = response
        self._body = body
        self._chunks: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = iter(self._first())
        return next(self._chunks)

    def close(self) -> None:
        """The server is done with the response."""
        try:
            self._response.abandoned()
        finally:
            _close(self._body)

    def _first(self) -> Iterable[bytes]:
        """Make the first bytes, and commit."""
        try:
            chunks = iter(self._body)
            # Empty ones send no headers.
            first = next(filter(None, chunks), None)
            self._response.begin()
        except BaseException as error:
            if not self._response.refuses(error):
                raise
            return self._response.refusal()
        return chunks if first is None else _chain(first, chunks)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
