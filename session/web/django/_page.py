"""The answers of the middleware: to an outage; and to a stale request, as a page with a session, a user and messages of its own."""

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

# Those of Django's middleware on which a page may rest, and that hold what the stale run left.
_RESTED_ON = frozenset(
    (
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    )
)


class _Middleware(Protocol):
    def process_request(self, request: HttpRequest, /) -> object: ...


class Page:
    """Makes the answers to stale requests."""

    def make(self, request: HttpRequest, answer: Callable[[], HttpResponse]) -> HttpResponse:
        """Return what *answer* returns, with what Django's own middleware puts into *request* made anew, too."""
        for name in ("_cached_user", "_acached_user"):
            request.__dict__.pop(name, None)
        for middleware in self._rested_on:
            middleware.process_request(request)
        response = answer()
        render = getattr(response, "render", None)
        if callable(render):
            response = render()
        for middleware in reversed(self._rested_on):
            process_response = getattr(middleware, "process_response", None)
            if process_response is not None:
                response = process_response(request, response)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = "no-store"
        return response

    @cached_property
    def _rested_on(self) -> list[_Middleware]:
        made: list[_Middleware] = []
        for path in conf.settings.MIDDLEWARE:
            kind = import_string(path)
            # Not by importing them here: those of apps that are not installed could not be.
            names = {f"{base.__module__}.{base.__qualname__}" for base in getattr(kind, "__mro__", ())}
            if names & _RESTED_ON:
                made.append(kind(lambda _: HttpResponse()))
        return made


def unavailable(error: StoreError) -> HttpResponse:
    """Return the 503 of a project without an answer of its own; with DEBUG it says why."""
    why = f"\nDEBUG is on, so here is why: {type(error).__name__}: {error}\n" if conf.settings.DEBUG else ""
    headers = {**dict(outage_headers()), "Content-Length": str(len(OUTAGE) + len(why.encode()))}
    return HttpResponse(OUTAGE + why.encode(), status=503, headers=headers)


def refusal(request: HttpRequest) -> HttpResponse:
    """Return the 409 of a project without an answer of its own."""
    accept = request.META.get("HTTP_ACCEPT")
    return HttpResponse(conflict_body(accept), status=409, headers=dict(conflict_headers(accept)))


def begin_anew(stale: BaseSessionStore) -> BaseSessionStore:
    """Return the session as it is stored now, for a request whose own view of it was stale."""
    state = stale._core._state
    anew = type(stale)(None if state.ended else state.token)
    # Not to be run again: there is no conflict about what is shown in this answer.
    anew._enter(anew._site.unchecked, attempt=state.attempt, route=state.route)
    anew.forbid_rerun()
    if state.ended:
        anew._begin_ended()
    elif state.token is not None:
        anew._core._state.only_if_there = True
        # Saved under a new key before the conflict: the client must learn that key.
        anew._modified = state.token != state.presented
    anew._core._state.sent = state.sent
    return anew
