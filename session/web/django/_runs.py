"""The runs of one Django request: the request as our middleware got it, to begin anew from, and the end of a stale response."""

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
from session.web._reruns import Course, Rerun, may_rerun

__all__ = ["Runs", "close_stale", "route_of"]


class Runs:
    """The runs of one request, and the request as it was before the first, if there may be another one."""

    def __init__(self, request: HttpRequest, rerun: Rerun[HttpRequest]) -> None:
        """Keep what is needed to begin anew; a body that may be needed again is read now."""
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
        self.course = Course(allowed)
        # A run to come, after a stale one.
        self.again = False
        self.last: State | None = None
        """The session of the run before, which was stale."""
        if allowed:
            # First, as reading the cookies puts them into the attributes.
            self._cookies = dict(request.COOKIES)
            self._meta = dict(request.META)
            self._attributes = dict(request.__dict__)

    @property
    def may_rerun(self) -> bool:
        """True if the request may be run more than once."""
        return self.course.allowed

    def goes_on(self, state: State) -> bool:
        """Return True if another run is to follow the one that ended stale, with the session in *state*."""
        self.again = self.course.goes_on(state)
        self.last = state
        return self.again

    def restore(self) -> None:
        """Have the request as our middleware got it: no user, messages or session of the stale run are left."""
        request = self.request
        # Closes what was uploaded; a subclass's own would close the body, too.
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
            # Under ASGI it is a file; under WSGI there was nothing in it.
            with suppress(OSError):
                stream.seek(0)
        # The handler has set it before all middleware.
        set_urlconf(conf.settings.ROOT_URLCONF)
        self.again = False


def close_stale(response: HttpResponseBase) -> None:
    """Free what a response holds, without ``request_finished``: the request goes on, and its database connections stay."""
    closers: list[Callable[[], object]] = getattr(response, "_resource_closers", [])
    for closer in closers:
        # As in Django's own close.
        with suppress(Exception):
            closer()
    closers.clear()
    response.closed = True


def route_of(request: HttpRequest) -> str:
    """Return the template of a request's path, for a log; if it is not known, its path with anything like an id masked."""
    match = request.resolver_match
    return masked_path(request.path) if match is None or match.route is None else f"/{match.route}"


def described(request: HttpRequest) -> Callable[[], str]:
    """Return a function that names a request for a log: its method and its route, once that is known."""
    return lambda: f"{request.method} {route_of(request)}"


def _has_body(request: HttpRequest) -> bool:
    meta = request.META
    return meta.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in meta


def _read_body(request: HttpRequest) -> bool:
    """Read a request's body, to have it for each run; False if it cannot be kept."""
    try:
        _ = request.body
    except (RequestDataTooBig, UnreadablePostError):
        # The view that needs it sees the same.
        return False
    return True
