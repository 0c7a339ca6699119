"""Puts a middleware of these sessions, which takes the arguments of Starlette's own, in the place of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import starlette.middleware.sessions

from session import Cookie, SessionManager
from session.web.asgi import ASGIApp, SessionMiddleware

from .store import store

_SAME_SITE: dict[str, Literal["Lax", "Strict", "None"]] = {"lax": "Lax", "strict": "Strict", "none": "None"}


class Swapped(SessionMiddleware):
    """This package's middleware, with a manager made of the arguments of Starlette's. *secret_key* has no use here."""

    def __init__(
        self,
        app: ASGIApp,
        secret_key: str,
        session_cookie: str = "session",
        max_age: int | None = 14 * 24 * 60 * 60,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        cookie = Cookie(
            name=session_cookie,
            path=path,
            domain=domain,
            secure=https_only,
            same_site=_SAME_SITE[same_site],
            persist=max_age is not None,
            partitioned=partitioned,
        )
        lifetime = timedelta(seconds=14 * 24 * 60 * 60 if max_age is None else max_age)
        super().__init__(app, SessionManager(store, cookie=cookie, lifetime=lifetime))


starlette.middleware.sessions.SessionMiddleware = Swapped  # type: ignore[misc,assignment]  # that is the swap
