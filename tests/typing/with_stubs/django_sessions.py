"""The session of a Django app, as a view types it; for checkers that have django-stubs."""

from typing import assert_type

from django.http import HttpRequest, HttpResponse

from session import JSONValue, SessionManager
from session.web.django import SessionStore, get_manager, get_session


def view(request: HttpRequest) -> HttpResponse:
    session = get_session(request)
    assert_type(session, SessionStore)
    assert_type(session.get_int("visits"), int)
    assert_type(session.peek("visits"), JSONValue)
    assert_type(session.session_key, str | None)
    session.increment("visits")
    return HttpResponse(session.get_string("message"))


async def async_view(request: HttpRequest) -> HttpResponse:
    session = get_session(request)
    await session.aset("message", "Hello world!")
    return HttpResponse(str(await session.aget("message")))


def managers() -> None:
    assert_type(get_manager(), SessionManager)


def refused(request: HttpRequest) -> None:
    get_session(request.path)  # type: ignore[arg-type]
    get_session(request).get_integer("n")  # type: ignore[attr-defined]
    get_session(request).put_string("n", 7)  # type: ignore[arg-type]
    visits = get_session(request).increment("n")  # type: ignore[func-returns-value]
