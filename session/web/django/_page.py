"""The middleware's answers to outages and stale requests. The answer to a stale request has its own session and user."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from django import conf
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from dynamostore import StoreError
from session.web._conflicts import conflict_body, conflict_headers
from session.web._exchange import OUTAGE, outage_headers

from ._store import BaseSessionStore

__all__ = ["Page", "begin_anew", "refusal", "unavailable"]

# These middlewares of Django put values into the request. Those of the stale run are outdated, and a page may need new ones.
_REFRESHED = frozenset(
    (
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    )
)


class _Middleware(Protocol):
    def process_request(self, request: HttpRequest, /) -> object: ...


class Page:
    """Makes the pages that answer stale requests."""

    def make(self, request: HttpRequest, answer: Callable[[], HttpResponse]) -> HttpResponse:
        """Return the response of *answer*. Run Django's own middlewares around it, so that it has a new user and messages."""
        for name in ("_cached_user", "_acached_user"):
            request.__dict__.pop(name, None)
        for middleware in self._refreshed:
            middleware.process_request(request)
        response = answer()
        render = getattr(response, "render", None)
        if callable(render):
            response = render()
        for middleware in reversed(self._refreshed):
            process_response = getattr(middleware, "process_response", None)
            if process_response is not None:
                response = process_response(request, response)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"
        return response

    @cached_property
    def _refreshed(self) -> list[_Middleware]:
        made: list[_Middleware] = []
        for path in conf.settings.MIDDLEWARE:
            kind = import_string(path)
            # Compare names: importing the middleware of an app that is not installed would fail.
            names = {f"{base.__module__}.{base.__qualname__}" for base in getattr(kind, "__mro__", ())}
            if names & _REFRESHED:
                made.append(kind(lambda _: HttpResponse()))
        return made


def unavailable(error: StoreError) -> HttpResponse:
    """Return the default 503. With DEBUG, its body gives the reason."""
    why = f"\nDEBUG is on, so here is the reason: {type(error).__name__}: {error}\n" if conf.settings.DEBUG else ""
    headers = {**dict(outage_headers()), "Content-Length": str(len(OUTAGE) + len(why.encode()))}
    return HttpResponse(OUTAGE + why.encode(), status=503, headers=headers)


def refusal(request: HttpRequest) -> HttpResponse:
    """Return the default 409."""
    accept = request.META.get("HTTP_ACCEPT")
    return HttpResponse(conflict_body(accept), status=409, headers=dict(conflict_headers(accept)))


def begin_anew(stale: BaseSessionStore) -> BaseSessionStore:
    """Return a session with the data that is stored now, for the answer to a request whose session was stale."""
    state = stale._core._state
    anew = type(stale)(None if state.ended else state.token)
    # The answer does not run again, so reading messages in it must not cause a conflict.
    anew._enter(anew._site.unchecked, attempt=state.attempt, route=state.route)
    anew.forbid_rerun()
    if state.ended:
        anew._begin_ended()
    elif state.token is not None:
        anew._core._state.only_if_there = True
        # The request saved the session under a new key before the conflict, and the client must get that key.
        anew._modified = state.token != state.presented
    anew._core._state.sent = state.sent
    return anew
