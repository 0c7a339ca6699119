"""The middlewares, as applications of plain WSGI and ASGI and of Starlette (so, FastAPI) type them."""

from collections.abc import Iterable, MutableMapping
from typing import Any, assert_type
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from session import AsyncSession, AsyncSessionManager, Session, SessionManager
from session.web import asgi, wsgi


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    session = wsgi.get_session(environ)
    assert_type(session, Session)
    assert_type(wsgi.get_session(environ, "admin"), Session)
    session.increment("visits")
    session.forbid_rerun()
    assert_type(session.attempt, int)
    session.get_int("visits").lower()  # type: ignore[attr-defined]
    start_response("200 OK", [])
    return [session.get_string("message").encode()]


def on_wsgi(manager: SessionManager, amanager: AsyncSessionManager) -> WSGIApplication:
    wrapped: WSGIApplication = wsgi.SessionMiddleware(plain, manager)
    wsgi.SessionMiddleware(wrapped, manager, key="admin", commit_errors=True)
    wsgi.SessionMiddleware(plain, amanager)  # type: ignore[arg-type]
    wsgi.SessionMiddleware(plain)  # type: ignore[call-arg]
    wsgi.SessionMiddleware(plain, manager, "admin")  # type: ignore[call-arg]
    wsgi.SessionMiddleware(plain, manager, autoload=True)  # type: ignore[call-arg]
    wsgi.SessionMiddleware(plain, manager, rerun="never", conflict=plain)
    wsgi.SessionMiddleware(plain, manager, rerun=lambda environ: bool(environ["PATH_INFO"] == "/search"))
    wsgi.SessionMiddleware(plain, manager, rerun="always")  # type: ignore[arg-type]
    wsgi.SessionMiddleware(plain, manager, rerun=lambda: True)  # type: ignore[arg-type, misc]
    wsgi.SessionMiddleware(plain, manager, conflict="sorry")  # type: ignore[arg-type]
    wsgi.SessionMiddleware(plain, manager, unavailable=plain)
    wsgi.SessionMiddleware(plain, manager, unavailable="sorry")  # type: ignore[arg-type]
    return wrapped


def is_search(scope: MutableMapping[str, Any]) -> bool:
    return bool(scope["path"] == "/search")


async def bare(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    session = asgi.get_session(scope)
    assert_type(session, AsyncSession)
    await session.load()
    await session.save()


async def endpoint(request: Request) -> None:
    assert_type(asgi.get_session(request.scope), AsyncSession)
    request.session["message"] = "Hello world!"


def on_asgi(manager: SessionManager, amanager: AsyncSessionManager) -> ASGIApp:
    wrapped: ASGIApp = asgi.SessionMiddleware(bare, amanager)
    asgi.SessionMiddleware(Starlette(), manager, key="admin", autoload=True, commit_errors=True)
    asgi.SessionMiddleware(plain, amanager)  # type: ignore[arg-type]
    asgi.SessionMiddleware(bare, amanager.store)  # type: ignore[arg-type]
    Starlette(middleware=[Middleware(asgi.SessionMiddleware, manager=amanager)])
    asgi.SessionMiddleware(bare, amanager, rerun="safe", conflict=PlainTextResponse("sorry", 409))
    asgi.SessionMiddleware(bare, amanager, rerun=is_search, conflict=bare)
    asgi.SessionMiddleware(bare, amanager, rerun="always")  # type: ignore[arg-type]
    asgi.SessionMiddleware(bare, amanager, conflict=plain)  # type: ignore[arg-type]
    asgi.SessionMiddleware(bare, amanager, unavailable=PlainTextResponse("sorry", 503))
    asgi.SessionMiddleware(bare, amanager, unavailable=plain)  # type: ignore[arg-type]
    Middleware(asgi.SessionMiddleware, manager=manager, rerun="never", conflict=bare)
    Middleware(asgi.SessionMiddleware)  # type: ignore[call-arg]
    Middleware(asgi.SessionMiddleware, manager=amanager, autload=True)  # type: ignore[call-arg]
    app = Starlette()
    app.add_middleware(asgi.SessionMiddleware, manager=manager)
    app.add_middleware(asgi.SessionMiddleware, manager=7)  # type: ignore[arg-type]
    return wrapped
