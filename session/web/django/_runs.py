"""Run a stale Django request again: keep the original request, restore it, and close the stale response."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from django import conf
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.urls import set_urlconf

from dynamostore.hidden import Hidden
from session._state import State
from session.web._conflicts import masked_path
from session.web._reruns import Rerun, RerunBudget, may_rerun

__all__ = ["Runs", "close_stale", "route_of"]


class Runs:
    """The runs of one request. Keeps the original request if it may run again."""

    def __init__(self, request: HttpRequest, rerun: Rerun[HttpRequest]) -> None:
        """Copy the attributes of *request* if it may run again. A body is then read now, so that each run has it."""
        self.request = request
        # A session that begins with this request cannot be stale.
        allowed = conf.settings.SESSION_COOKIE_NAME in request.COOKIES and may_rerun(
            rerun,
            Hidden(request),
            request.method or "",
            request.META.get("QUERY_STRING", ""),
            has_body=_has_body(request),
        )
        if allowed and _has_body(request):
            allowed = _read_body(request)
        self.budget = RerunBudget(allowed)
        # True if another run follows the current one, which is stale.
        self.again = False
        self.last: State | None = None
        """The state of the session of the previous run, which was stale."""
        if allowed:
            # Copy the cookies first: reading them stores them in the attributes.
            self._cookies = dict(request.COOKIES)
            self._meta = dict(request.META)
            self._attributes = dict(request.__dict__)

    @property
    def may_rerun(self) -> bool:
        """True if the request may run again."""
        return self.budget.allowed

    def start_rerun(self, state: State) -> bool:
        """Return True if another run follows the stale one, whose session ended with *state*."""
        self.again = self.budget.allows_rerun(state)
        self.last = state
        return self.again

    def restore(self) -> None:
        """Restore the request as this middleware got it, without the user, messages and session of the stale run."""
        request = self.request
        # This closes uploaded files. The method of a subclass would close the body, too.
        HttpRequest.close(request)
        for live, kept in (
            (request.__dict__, self._attributes),
            (request.META, self._meta),
            (request.COOKIES, self._cookies),
        ):
            live.clear()
            live.update(kept)
        if "_body" in request.__dict__:
            request._stream = BytesIO(request.body)
        elif (stream := request.__dict__.get("_stream")) is not None:
            # Under ASGI the stream is a file. Under WSGI it was empty.
            with suppress(OSError):
                stream.seek(0)
        # Django's handler sets it before it calls any middleware.
        set_urlconf(conf.settings.ROOT_URLCONF)
        self.again = False


def close_stale(response: HttpResponseBase) -> None:
    """Close a stale response without sending ``request_finished``, because database connections must stay open."""
    closers: list[Callable[[], object]] = getattr(response, "_resource_closers", [])
    for closer in closers:
        # Django's own close ignores errors, too.
        with suppress(Exception):
            closer()
    closers.clear()
    response.closed = True


def route_of(request: HttpRequest) -> str:
    """Return the template of a request's path for a log, or the path with its ids masked if no template is known."""
    match = request.resolver_match
    return masked_path(request.path) if match is None or match.route is None else f"/{match.route}"


def described(request: HttpRequest) -> Callable[[], str]:
    """Return a function that describes a request for a log. Call it later, because the route is not known yet."""
    return lambda: f"{request.method} {route_of(request)}"


def _has_body(request: HttpRequest) -> bool:
    meta = request.META
    return meta.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in meta


def _read_body(request: HttpRequest) -> bool:
    """Read a request's body and keep it for each run. Return False if it is too large or cannot be read."""
    try:
        _ = request.body
    except (RequestDataTooBig, UnreadablePostError):
        # A view that reads the body gets the same error.
        return False
    return True
