"""Views whose requests meet others on one session: sync and async, with decisions, messages, users and orders."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from io import BytesIO

from django.contrib import messages
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.base import UpdateError
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.urls import path

from session import SessionConflict

from .urls import meanwhile, session_of

__all__ = ["ORDER", "PASSWORDS", "File", "seen", "urlpatterns"]

ORDER = "order "
CODES = {"attacker": "123456", "victim": "999999"}
PASSWORDS: dict[str, str] = {}
seen: list[object] = []
"""What the runs of a request saw, in order."""


class File(BytesIO):
    """A file that is the body of a response."""


def decide(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    if "forbid" in request.GET:
        session.forbid_rerun()
    if "save" in request.GET:
        session["saved"] = True
        session.save()
    if "token" in request.GET:
        get_token(request)
    role = session.get_string("role")
    seen.append((session.attempt, role))
    meanwhile.happens()
    session["right"] = f"of {role}"
    if "flush" in request.GET:
        session.save()
    response = HttpResponse(f"{role}, run {session.attempt}")
    response.set_cookie("run", str(session.attempt))
    return response


async def adecide(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    role = await session.aget("role")
    seen.append((session.attempt, role))
    await asyncio.to_thread(meanwhile.happens)
    session["right"] = f"of {role}"
    if "flush" in request.GET:
        await session.asave()
    return HttpResponse(f"{role}, run {session.attempt}")


def handled(request: HttpRequest) -> HttpResponse:
    """Answer a conflict in the view itself."""
    session = session_of(request)
    session["right"] = session.get_string("role")
    meanwhile.happens()
    try:
        session.save()
    except SessionConflict:
        return HttpResponse("the view's own", status=int(request.GET["status"]))
    return HttpResponse("saved")


def body(request: HttpRequest) -> HttpResponse:
    decide(request)
    shown = {**request.POST.dict(), **{name: file.read().decode() for name, file in request.FILES.items()}}  # type: ignore[union-attr]
    seen.append(shown)
    seen.append(request.read())
    return HttpResponse(str(shown))


def traces(request: HttpRequest) -> HttpResponse:
    """Leave traces everywhere in the request, and tell which there were."""
    names = ("trace", "_cached_user", "urlconf")
    seen.append(
        [
            *(name for name in names if name in request.__dict__),
            *(name for name in ("trace",) if name in request.META or name in request.COOKIES),
            str(request.user),
            [str(message) for message in messages.get_messages(request)],
        ]
    )
    request.trace = request.META["trace"] = request.COOKIES["trace"] = "of the run before"  # type: ignore[attr-defined]
    messages.info(request, "of the run before")
    return decide(request)


def whoami(request: HttpRequest) -> HttpResponse:
    user = str(request.user)
    seen.append(user)
    meanwhile.happens()
    session_of(request)["greeted"] = user
    return HttpResponse(user)


async def awhoami(request: HttpRequest) -> HttpResponse:
    user = str(await request.auser())
    seen.append(user)
    await asyncio.to_thread(meanwhile.happens)
    session_of(request)["greeted"] = user
    return HttpResponse(user)


def file(request: HttpRequest) -> FileResponse:
    decide(request)
    content = File(b"content")
    seen.append(content)
    return FileResponse(content)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    session = session_of(request)
    if "decide" in request.GET:
        decide(request)

    def parts() -> Iterator[str]:
        seen.append("streamed")
        yield session.get_string("role")

    return StreamingHttpResponse(parts())


def place_order(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    cart = session.pop("cart", None)
    meanwhile.happens()
    if not cart:
        return HttpResponse("nothing to order", status=400)
    Group.objects.create(name=f"{ORDER}{uuid.uuid4()}")
    session.save()
    return HttpResponse("ordered")


def order_in_a_block(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        return place_order(request)


def order_without(request: HttpRequest) -> HttpResponse:
    """Place an order without saving the session before the transaction ends."""
    request.session.pop("cart", None)
    meanwhile.happens()
    Group.objects.create(name=f"{ORDER}{uuid.uuid4()}")
    return HttpResponse("ordered")


def save_ended(request: HttpRequest) -> HttpResponse:
    """Save a session that has ended meanwhile, and go on as if nothing had happened."""
    session = session_of(request)
    session["a"] = session.get("role")
    meanwhile.happens()
    try:
        session.save()
    except UpdateError as error:
        session["b"] = 1
        return HttpResponse(f"{type(error).__name__} {session.status.value}")
    return HttpResponse("saved")


def say(request: HttpRequest) -> HttpResponse:
    messages.success(request, request.POST["what"])
    meanwhile.happens()
    return HttpResponse()


def hear(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string("{% for message in messages %}{{ message }};{% endfor %}")
    page = template.render({}, request)
    meanwhile.happens()
    return HttpResponse(page)


def log_in(request: HttpRequest) -> HttpResponse:
    if "first" in request.GET:
        request.session[request.GET["first"]] = "put before"
    if "look" in request.GET:
        request.session.get(request.GET["look"])
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    assert user is not None
    login(request, user)
    get_token(request)
    meanwhile.happens()
    return HttpResponse(str(request.user))


def log_out(request: HttpRequest) -> HttpResponse:
    request.session.get("role")
    meanwhile.happens()
    logout(request)
    request.session["farewell"] = "bye"
    return HttpResponse("bye")


def pop(request: HttpRequest) -> HttpResponse:
    if "save" in request.GET:
        request.session["saved"] = True
        request.session.save()
    request.session.pop("nonce", None)
    meanwhile.happens()
    request.session["done"] = True
    return HttpResponse("done")


def spend(request: HttpRequest) -> HttpResponse:
    meanwhile.happens()
    spent = session_of(request).atomic(lambda s: s.pop_string("nonce"))
    return HttpResponse("spent" if spent else "not there", status=200 if spent else 403)


async def aspend(request: HttpRequest) -> HttpResponse:
    await asyncio.to_thread(meanwhile.happens)
    spent = await session_of(request).aatomic(lambda s: s.pop_string("nonce"))
    return HttpResponse("spent" if spent else "not there", status=200 if spent else 403)


def reset_begin(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    session["reset_user"] = request.POST["user"]
    session["reset_ok"] = False
    meanwhile.happens()
    return HttpResponse("mailed")


def reset_code(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    user = session["reset_user"]
    meanwhile.happens()
    if request.POST["code"] != CODES[str(user)]:
        return HttpResponse("no")
    session["reset_ok"] = True
    return HttpResponse("ok")


def reset_password(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    if not session.get("reset_ok"):
        return HttpResponse("no")
    PASSWORDS[str(session["reset_user"])] = request.POST["password"]
    return HttpResponse("changed")


urlpatterns = [
    path("decide", decide),
    path("decide/<str:secret>/now", lambda request, secret: decide(request)),
    path("async/decide", adecide),
    path("handled", handled),
    path("body", body),
    path("traces", traces),
    path("whoami", whoami),
    path("async/whoami", awhoami),
    path("file", file),
    path("stream", stream),
    path("order", place_order),
    path("order/block", order_in_a_block),
    path("order/without", order_without),
    path("order/ended", save_ended),
    path("say", say),
    path("hear", hear),
    path("login", log_in),
    path("logout", log_out),
    path("pop", pop),
    path("spend", spend),
    path("async/spend", aspend),
    path("reset/begin", reset_begin),
    path("reset/code", reset_code),
    path("reset/password", reset_password),
]
