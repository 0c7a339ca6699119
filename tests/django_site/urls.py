"""The views of the site, sync and async, and where they are."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, auth, messages
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from session.web.django import SessionStore

__all__ = ["Meanwhile", "meanwhile", "urlpatterns"]


class Meanwhile:
    """What happens while a view that was asked with ``?meanwhile`` is under way, after it has read its session."""

    def __init__(self) -> None:
        self.happens: Callable[[], object] = lambda: None


meanwhile = Meanwhile()


def session_of(request: HttpRequest) -> SessionStore:
    assert isinstance(request.session, SessionStore)
    return request.session


def ignore(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ignored")


def read(request: HttpRequest) -> HttpResponse:
    n = session_of(request).get_int("n")
    if "meanwhile" in request.GET:
        meanwhile.happens()
    return HttpResponse(str(n))


def double(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    n = session.get_int("n")
    if "meanwhile" in request.GET:
        meanwhile.happens()
    if n:
        session["doubled"] = n * 2
    return HttpResponse(str(n))


def count(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    session.peek("n")
    if "meanwhile" in request.GET:
        meanwhile.happens()
    session.increment("n")
    return HttpResponse(str(session.peek("n")), status=int(request.GET.get("status", 200)))


def append(request: HttpRequest) -> HttpResponse:
    cart = request.session.setdefault("cart", [])
    cart.append(request.GET["item"])
    return HttpResponse(",".join(cart))


def renew(request: HttpRequest) -> HttpResponse:
    session_of(request).cycle_key(grace=True)
    return HttpResponse()


def expire(request: HttpRequest) -> HttpResponse:
    request.session.set_expiry(int(request.GET["seconds"]))
    return HttpResponse()


def save(request: HttpRequest) -> HttpResponse:
    session_of(request).increment("n")
    request.session.save()
    return HttpResponse()


def fail(request: HttpRequest) -> HttpResponse:
    session_of(request).increment("n")
    raise ZeroDivisionError


def renew_and_fail(request: HttpRequest) -> HttpResponse:
    session_of(request).cycle_key()
    meanwhile.happens()
    session_of(request).increment("n")
    return HttpResponse(status=int(request.GET["status"]))


@csrf_exempt
def log_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("wrong", status=403)
    login(request, user)
    return HttpResponse(request.session.session_key or "")


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


def whoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


def say(request: HttpRequest) -> HttpResponse:
    messages.success(request, request.GET["what"])
    return HttpResponse()


def hear(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string(
        "{% for message in messages %}{{ message.tags }}: {{ message }};{% endfor %}"
    )
    return HttpResponse(template.render({}, request))


async def acount(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    await session.apeek("n")
    if "meanwhile" in request.GET:
        meanwhile.happens()
    session.increment("n")
    return HttpResponse(str(session.peek("n")))


async def ablock(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(session_of(request).get_int("n")))


@csrf_exempt
async def alog_in(request: HttpRequest) -> HttpResponse:
    # By the module's name: Django 4.2 has none of the three.
    user = await auth.aauthenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("wrong", status=403)
    await auth.alogin(request, user)
    return HttpResponse(request.session.session_key or "")


async def alog_out(request: HttpRequest) -> HttpResponse:
    await auth.alogout(request)
    return HttpResponse("bye")


async def awhoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.auser()))


urlpatterns = [
    path("ignore", ignore),
    path("read", read),
    path("count", count),
    path("double", double),
    path("append", append),
    path("renew", renew),
    path("expire", expire),
    path("save", save),
    path("fail", fail),
    path("renew-and-fail", renew_and_fail),
    path("login", log_in),
    path("logout", log_out),
    path("whoami", whoami),
    path("say", say),
    path("hear", hear),
    path("async/count", acount),
    path("async/block", ablock),
    path("async/login", alog_in),
    path("async/logout", alog_out),
    path("async/whoami", awhoami),
    path("admin/", admin.site.urls),
]
