"""The shop in Django, with `session.web.django` and Django's messages."""

from __future__ import annotations

import os
from collections.abc import Callable

import django
from django.conf import settings
from django.contrib import messages
from django.contrib.sessions.backends.base import UpdateError
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.urls import path

from benchmarks.notice.handlers import LOGIN_KEYS, MERGEABLE
from benchmarks.notice.handling import handle
from benchmarks.notice.slow import SlowStore
from benchmarks.notice.traces import Trace, current
from session import SessionManager
from session._policy import OnConflict
from session.web.django import SessionStore

from .wsgi import WSGIProcess

__all__ = ["make"]


class _Visit:
    """A request."""

    def __init__(self, request: HttpRequest, session: SessionStore, trace: Trace) -> None:
        self.session = session
        self.query = request.GET
        self.trace = trace
        self._request = request

    def flash(self, message: str) -> None:
        """Have the next page show *message*."""
        messages.success(self._request, message)

    def messages(self) -> list[str]:
        """Return the messages that are to be shown."""
        return [message.message for message in messages.get_messages(self._request)]

    def renew(self) -> None:
        """Give the session a new key, as Django's login does."""
        self.session.cycle_key()

    def end(self) -> None:
        """End the session, as Django's logout does."""
        self.session.flush()


def _session(request: HttpRequest) -> SessionStore:
    assert isinstance(request.session, SessionStore)
    return request.session


def hooked(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Return a middleware with the hook in it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        session, trace = _session(request), current()
        trace.begin(lambda: session._core._state)
        trace.hook(session, trace.now)
        return get_response(request)

    return middleware


def _answer(request: HttpRequest, name: str) -> HttpResponse:
    session = _session(request)
    try:
        answer = handle(name, _Visit(request, session, current()), save=session.save, atomic=session.atomic)
    except UpdateError:
        # What Django's `save` raises if the session has ended meanwhile: the transaction is rolled back.
        return HttpResponseBadRequest()
    return HttpResponse(status=answer.status)


urlpatterns = [path("<str:name>", _answer)]


def make(level: OnConflict, clock: Callable[[], int]) -> WSGIProcess:
    """Return a process. The manager is of the settings, for all processes: it holds no state."""
    manager = SessionManager(SlowStore(), on_conflict=level, mergeable=MERGEABLE, login_keys=LOGIN_KEYS, clock=clock)
    # Its greenlets wait in virtual time: the event loop, which is there, goes on.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            ROOT_URLCONF=__name__,
            SECRET_KEY="a secret of nobody's",
            MIDDLEWARE=[
                "session.web.django.SessionMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
                f"{__name__}.hooked",
            ],
            MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
            SESSION_ENGINE="session.web.django",
            SESSION_COOKIE_NAME="session",
            USE_I18N=False,
        )
        django.setup()
    settings.SESSION_MANAGER = manager
    return WSGIProcess(WSGIHandler())
