"""A shop with a cart and a login, as an ASGI app and as a WSGI app: what it does with the session is the same code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from session import AsyncSessionManager, SessionManager
from session.session import BaseSession
from session.web import asgi, wsgi

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Shop", "echo", "page"]

PATIENCE = 10.0

PAGE = """<!doctype html><link rel=icon href="data:,"><title>Shop</title>
<p id=user>{user}</p><p id=cart>{cart}</p><p id=visits>{visits}</p>
<form id=login method=post action=/login><input name=user value=ann><input name=remember><button>Log in</button></form>
<form id=add method=post action=/add><input name=item><input name=hold><button>Add</button></form>
<form id=logout method=post action=/logout><button>Log out</button></form>
"""


class Held:
    """Requests that have read their session and wait, until *release*."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._released = threading.Event()

    def wait_for(self, requests: int) -> None:
        """Wait until so many are held."""
        for _ in range(requests):
            assert self._arrived.acquire(timeout=PATIENCE), "no request came to be held"

    def release(self) -> None:
        self._released.set()

    def hold(self) -> None:
        self._arrived.release()
        assert self._released.wait(PATIENCE), "nobody released the request"


@dataclass
class Shop:
    """Guests and users put items into their carts; *cache_control* is what its pages say of themselves.

    A path of ``/visit`` counts visits in the session, ``/about`` does not look at it; ``/buy`` is for users.
    """

    cache_control: str | None = "no-store"
    held: Held = field(default_factory=Held)

    def answer(self, path: str, form: dict[str, str], s: BaseSession) -> tuple[int, dict[str, str], str]:
        """Status, headers and body."""
        match path:
            case "/login":
                s.renew_token()
                s.put_string("user", form["user"])
                if form.get("remember"):
                    s.remember(form["remember"] == "yes")
            case "/logout":
                s.destroy()
            case "/add":
                s.put_bool(f"item {form['item']}", True)
                s.increment("items")
            case "/buy":
                if not s.get_string("user"):
                    return 403, {}, "<p id=user>guest</p>Log in first."
                s.put_bool("item bought", True)
            case "/about":
                return 200, {}, "<p id=about>We sell things.</p>"
            case "/visit":
                s.increment("visits")
                return self._page(s)
            case _:
                return self._page(s)
        return 303, {"Location": "/"}, ""

    def _page(self, s: BaseSession) -> tuple[int, dict[str, str], str]:
        cart = ", ".join(key.removeprefix("item ") for key in s if key.startswith("item "))
        user = s.get_string("user", default="guest")
        headers = {"Cache-Control": self.cache_control} if self.cache_control else {}
        return 200, headers, PAGE.format(user=escape(user), cart=escape(cart), visits=s.get_int("visits"))

    def asgi(self, manager: AsyncSessionManager | SessionManager) -> asgi.ASGIApp:
        """The shop, in Starlette, with its session."""

        async def handle(request: Request) -> Response:
            form = dict(parse_qsl((await request.body()).decode()))
            s = asgi.get_session(request.scope)
            if form.get("hold"):
                await s.load()
                await asyncio.to_thread(self.held.hold)
            status, headers, body = self.answer(request.url.path, form, s)
            return Response(body, status, headers, "text/html")

        # Within Starlette's own middleware, which answers with 500 whatever else is raised.
        session = Middleware(asgi.SessionMiddleware, manager)
        return Starlette(routes=[Route("/{path:path}", handle, methods=["GET", "POST"])], middleware=[session])

    def wsgi(self, manager: SessionManager) -> WSGIApplication:
        """The shop, in plain WSGI, with its session."""

        def handle(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            form = dict(parse_qsl(environ["wsgi.input"].read(length).decode()))
            s = wsgi.get_session(environ)
            if form.get("hold"):
                s.get_string("user")
                self.held.hold()
            status, headers, body = self.answer(environ["PATH_INFO"], form, s)
            start_response(f"{status} .", [("Content-Type", "text/html"), *headers.items()])
            return [body.encode()]

        return wsgi.SessionMiddleware(handle, manager)


def page(html: str, cookies: Sequence[str] = ()) -> asgi.ASGIApp:
    """A site of one page, which has no session, and sets cookies by their ``Set-Cookie`` headers."""
    head = [(b"content-type", b"text/html"), *((b"set-cookie", cookie.encode("latin-1")) for cookie in cookies)]

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": html.encode()})

    return app


async def echo(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """A site whose pages say which cookies they were sent."""
    headers = scope["headers"]
    assert isinstance(headers, Iterable)
    sent = b"; ".join(value for name, value in headers if name == b"cookie")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": sent})
