"""Serve one WSGI request: run the app, again if the request is stale, and pass on the last response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from dynamostore import StoreError
from dynamostore.hidden import Hidden
from dynamostore.steps import Plan
from session import _state
from session._headers import Headers
from session.errors import SessionConflict
from session.manager import SessionManager, note_failed_destroy
from session.session import Drive, Session
from session.web._conflicts import conflict_body, conflict_headers, find_conflict, masked_path, report_conflict
from session.web._exchange import OUTAGE, cookie_session, failing, find_outage, outage_headers, report, should_commit
from session.web._reruns import Rerun, RerunBudget, begin_answer, begin_run, may_rerun
from session.web._slots import Slot, begin_slot, forbid_reruns, open_slots, replace_data

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Exchange", "Settings"]

T = TypeVar("T")

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None"
Write: TypeAlias = Callable[[bytes], object]
Answer: TypeAlias = Callable[[], Iterable[bytes]]

_STATUS = re.compile(r"[0-9]{3}(?![^ ])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a `SessionMiddleware`."""

    app: WSGIApplication
    manager: SessionManager
    drive: Drive
    keys: tuple[str, ...]
    commit_errors: bool
    rerun: Rerun[WSGIEnvironment]
    conflict: WSGIApplication | None
    unavailable: WSGIApplication | None
    sleep: Callable[[float], object]
    clock: Callable[[], float]


class Exchange:
    """One request, with all its runs."""

    def __init__(self, settings: Settings, request: Hidden[WSGIEnvironment], start_response: StartResponse) -> None:
        manager = settings.manager
        self.settings = settings
        self.environ = request.reveal()
        self.start_response = start_response
        self.shown: SessionConflict | None = None
        """The last conflict that the session raised to the app in this run."""
        self.earlier: Session | None = None
        """The session of the failed run that another app answers, if that run stored something."""
        self._state = _state.begin(Hidden(manager.token(self.environ.get("HTTP_COOKIE"))), manager._policy)
        # When the first run began, if the request may run again. The budget is made only after a conflict.
        self._begun: float | None = None
        self._budget: RerunBudget | None = None
        if (
            # A session that begins with this request cannot be stale, and a WSGI body cannot be read twice.
            self._state.token is not None
            and not _has_body(self.environ)
            and may_rerun(
                settings.rerun,
                request,
                self.environ.get("REQUEST_METHOD", "GET"),
                self.environ.get("QUERY_STRING", ""),
                has_body=False,
            )
        ):
            self._begun = settings.clock()
        self._saved: dict[str, Any] | None = None
        if self._begun is not None or settings.conflict is not None or settings.unavailable is not None:
            self._saved = dict(self.environ)

    def run(self) -> Iterable[bytes]:
        """Run the app, again if the request is stale. Return the body of the response."""
        settings = self.settings
        policy = settings.manager._policy
        if policy.on_conflict == "report":
            self._state.route = self._route
        self.shown = None
        session = Session(self._state, policy, self._drive)
        response = _Response(self, session, begin_slot(self.environ, session, settings.keys))
        try:
            return response.deliver(settings.app(self.environ, response.start))
        except BaseException as error:
            answer = self.answer_to(error, response)
            if answer is None:
                raise
        return answer()

    def answer_to(self, error: BaseException, response: _Response) -> Answer | None:
        """Return a function that answers *error*, or None if the error must reach the server.

        The app or the commit raised *error*.
        """
        self._forget(error, response)
        if response.begun or not isinstance(error, Exception):
            return None
        conflict = find_conflict(error)
        if conflict is not None:
            return self._answer_to_conflict(conflict, response)
        outage = find_outage(error)
        if outage is not None:
            report(error)
            return self._answer_to_outage(outage, response)
        return None

    def forbid_reruns_if_stored(self, session: Session) -> None:
        """Forbid re-runs if *session*, which is now committed or discarded, has stored something."""
        if session._state.stored:
            forbid_reruns(self.environ)

    def report(self, conflict: SessionConflict, outcome: str = "answered with 409") -> None:
        """Log a conflict."""
        method, _, path = self._route().partition(" ")
        report_conflict(conflict, method, path, outcome=outcome)

    def _drive(self, plan: Plan[T], /) -> T:
        try:
            return self.settings.drive(plan)
        except SessionConflict as error:
            self.shown = error
            raise

    def _forget(self, error: BaseException, response: _Response) -> None:
        """Discard the session of a failed run, without replacing *error*, which is propagating."""
        try:
            response.discard()
        except StoreError as failure:
            note_failed_destroy(error, failure)
        self.forbid_reruns_if_stored(response.session)

    def _answer_to_conflict(self, conflict: SessionConflict, response: _Response) -> Answer | None:
        if self._budget is None and self._begun is not None:
            self._budget = RerunBudget.since(self._begun, self.settings.clock)
        again = self._budget is not None and self._budget.allows_rerun(self._state)
        others = [slot.session._state for slot in open_slots(self.environ) if slot.is_touched(self.environ)]
        if others:
            # The session of an outer middleware has changes of this run. So that middleware must run the request again or
            # refuse it.
            for other in others:
                other.rerun &= again
            return None
        if again:
            return self._run_again
        self.report(conflict)
        app = self.settings.conflict
        if app is None:
            return response.conflict
        settings = replace(self.settings, app=app, conflict=None)
        return partial(self._delegate, settings, response.session, "session.conflict", conflict)

    def _answer_to_outage(self, outage: StoreError, response: _Response) -> Answer:
        app = self.settings.unavailable
        if app is None:
            return response.outage
        settings = replace(self.settings, app=app, conflict=None, unavailable=None, drive=failing(outage))
        return partial(self._delegate, settings, response.session, "session.unavailable", outage)

    def _run_again(self) -> Iterable[bytes]:
        assert self._budget is not None
        self.settings.sleep(self._budget.pause())
        self._restore()
        self._state = begin_run(self._state, self.settings.manager._policy, self._budget.attempt)
        return self.run()

    def _delegate(self, settings: Settings, failed: Session, key: str, error: Exception) -> Iterable[bytes]:
        """Let the app in *settings* answer the *error* of the *failed* session. It finds the error under *key*."""
        self._restore()
        self.environ[key] = error
        if failed._state.stored:
            self.earlier = failed
        self._state = begin_answer(self._state, settings.manager._policy)
        self.settings, self._begun, self._budget = settings, None, None
        return self.run()

    def _restore(self) -> None:
        """Restore the environ as this middleware got it, in place, because other code may hold the same dict."""
        assert self._saved is not None
        self.environ.clear()
        self.environ.update(self._saved)

    def _route(self) -> str:
        environ = self.environ
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        return f"{environ.get('REQUEST_METHOD', 'GET')} {masked_path(path)}"


class _Response:
    """The response of one run. Its status and headers are held back until the session is stored."""

    def __init__(self, exchange: Exchange, session: Session, slot: Slot) -> None:
        self.session = session
        self._slot = slot
        self._exchange = exchange
        self._manager = exchange.settings.manager
        self._environ = exchange.environ
        self._start_response = exchange.start_response
        self._start_arguments: tuple[str, Hidden[Headers]] | None = None
        self._write: Write | None = None

    @property
    def _cookie_session(self) -> Session:
        return cookie_session(self.session, self._exchange.earlier)

    @property
    def begun(self) -> bool:
        """True if the server already has the status and headers."""
        return self._write is not None

    def start(self, status: str, headers: Headers, exc_info: ExcInfo = None, /) -> Write:
        """Record the status and headers: the ``start_response`` that the app gets."""
        if exc_info is None and self._start_arguments is not None:
            raise AssertionError("start_response was called twice; the second call must pass exc_info")
        hidden = Hidden(list(headers))
        del headers
        if self.begun:
            # The headers are sent, so the server raises the error in exc_info.
            return self._start_response(status, hidden.reveal(), exc_info)
        self._start_arguments = (status, hidden)
        return self._write_first

    def deliver(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body for the server. The session is committed before the first bytes."""
        if not self.begun and (self._start_arguments is None or self._is_generated(body)):
            return _Body(self, body)
        made = Hidden(body)
        del body
        try:
            self.begin()
        except BaseException:
            _close(made.reveal())
            raise
        # Return it unwrapped: the server may look at its length, or send it as a file.
        return made.reveal()

    def begin(self) -> None:
        """Commit or discard the session, and give the server the status and headers. Do nothing if that is done."""
        if self.begun:
            return
        if self._start_arguments is None:
            raise AssertionError("the app did not call start_response before it returned its body")
        status, headers = self._start_arguments
        # The server refuses an invalid status.
        code = _STATUS.match(status)
        self._commit_or_discard(int(code[0]) if code else 200)
        self._write = self._start_response(status, self._manager.headers(self._cookie_session, headers.reveal()))

    def answer_to(self, error: BaseException) -> Answer | None:
        """Return a function that answers *error*, or None."""
        return self._exchange.answer_to(error, self)

    def outage(self) -> Iterable[bytes]:
        """Answer an outage."""
        return self._refuse("503 Service Unavailable", outage_headers(), OUTAGE)

    def conflict(self) -> Iterable[bytes]:
        """Answer a conflict."""
        accept = self._environ.get("HTTP_ACCEPT")
        return self._refuse("409 Conflict", conflict_headers(accept), conflict_body(accept))

    def closed(self) -> None:
        """Handle the server's close of the body. If the server never read the body, discard the session."""
        if self.begun:
            # A replacement after the commit cannot be stored: raise an error.
            self._slot.take(self._environ)
        else:
            self.discard()

    def discard(self) -> None:
        """Discard the session. Do nothing if it is closed."""
        if not self.session._state.closed:
            self._slot.forget(self._environ)
            self._manager.discard(self.session)

    def _commit_or_discard(self, status: int) -> None:
        """Commit or discard the session, depending on the *status* of the response."""
        if self.session._state.closed:
            return
        shown = self._exchange.shown
        data = Hidden(self._slot.take(self._environ))
        if not should_commit(status, commit_errors=self._exchange.settings.commit_errors):
            self._manager.discard(self.session)
        else:
            try:
                if data.reveal() is not None:
                    replace_data(self.session, Hidden(data.reveal() or {}))
                self._manager.commit(self.session)
            except SessionConflict as error:
                if shown is None:
                    raise
                # The app saw a conflict before, and this response is its answer to it.
                self._exchange.report(error, f"answered with {status} by the app, and nothing was stored")
                self._manager.discard(self.session)
            except StoreError:
                self._manager._drop(self.session)
                raise
        self._exchange.forbid_reruns_if_stored(self.session)

    def _refuse(self, status: str, headers: Headers, body: bytes) -> Iterable[bytes]:
        if self.session._state.stored or self._exchange.earlier is not None:
            # The session was saved before the error, so the client may need its new token.
            self._write = self._start_response(status, self._manager.headers(self._cookie_session, headers))
        else:
            self._write = self._start_response(status, headers)
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _write_first(self, data: bytes) -> object:
        first = Hidden(data)
        del data
        self.begin()
        assert self._write is not None
        return self._write(first.reveal())

    def _is_generated(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        return not (isinstance(body, list | tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper)))


class _Body:
    """A body that the app generates while it is sent. The session is committed with the first bytes."""

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
        """Close the response: the server calls this at the end of the request."""
        try:
            self._response.closed()
        finally:
            _close(self._body)

    def _first(self) -> Iterable[bytes]:
        """Generate the first bytes and commit. On an error, return the body of the answer to it."""
        try:
            chunks = iter(self._body)
            # Skip empty chunks: servers send the headers with the first non-empty one.
            first = Hidden(next(filter(None, chunks), None))
            self._response.begin()
        except BaseException as error:
            answer = self._response.answer_to(error)
            if answer is None:
                raise
        else:
            return chunks if first.reveal() is None else _chain(first, chunks)
        stale, self._body = self._body, ()
        _close(stale)
        self._body = answer()
        return self._body


def _chain(first: Hidden[bytes | None], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first.reveal() or b""
    yield from rest


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ
