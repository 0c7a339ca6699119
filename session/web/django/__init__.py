"""A session engine for Django. `SessionStore` is ``request.session``; `SessionMiddleware` answers stale requests and outages.

::

    SESSION_ENGINE = "session.web.django"
    SESSION_MANAGER = "mysite.sessions.manager"  # a SessionManager; or set SESSION_TABLE = "scs_session"
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar, overload

from django import conf
from django.http import HttpRequest

from dynamostore.hidden import Hidden
from dynamostore.workers import in_worker
from session.data import SessionData
from session.typed import MISSING
from session.types import JSONValue

from ._data import Updates
from ._manager import get_manager
from ._middleware import SessionMiddleware
from ._store import BaseSessionStore

__all__ = ["SessionMiddleware", "SessionStore", "get_manager", "get_session"]

D = TypeVar("D")
T = TypeVar("T")


class SessionStore(BaseSessionStore):
    """The type of ``request.session``: Django's API, plus the typed getters of `TypedAccess <session.typed.TypedAccess>`.

    The first access reads the session. The middleware stores it if it was changed, also within a list or dict. Changes of
    concurrent requests are merged. A request is stale if it read a value that another request changed; it then runs again or
    is refused. Values are JSON values.

    Errors:

    - putting any other value raises `SessionTypeError <session.SessionTypeError>` or `ValueError`;
    - reading and saving raise the errors of the store, such as a `StoreError <dynamostore.StoreError>`;
    - a synchronous method that would block an event loop raises ``SynchronousOnlyOperation``. Await the async method instead.

    The async methods call the store in the library's own threads. They use neither the thread that Django reserves for code
    that is not thread-safe, nor asyncio's default executor.

    ::

        session = request.session
        assert isinstance(session, SessionStore)  # for the type checker
        session.increment("visits")
    """

    async def ahas_key(self, key: str) -> bool:
        """Async version of `has_key`."""
        return await self._when_read(lambda: key in self)

    async def aset(self, key: str, value: JSONValue) -> None:
        """Async version of ``session[key] = value``."""
        hidden = Hidden(value)
        del value
        await self._when_read(lambda: self.update({key: hidden.reveal()}))

    @overload
    async def apop(self, key: str) -> JSONValue: ...
    @overload
    async def apop(self, key: str, default: D) -> JSONValue | D: ...
    async def apop(self, key: str, default: object = MISSING) -> object:
        """Async version of `pop`."""
        hidden = Hidden(default)
        del default
        return await self._when_read(lambda: self.pop(key, hidden.reveal()))

    async def asetdefault(self, key: str, value: JSONValue = None) -> JSONValue:
        """Async version of `setdefault`."""
        hidden = Hidden(value)
        del value
        return await self._when_read(lambda: self.setdefault(key, hidden.reveal()))

    async def aupdate(self, dict_: Updates) -> None:  # type: ignore[override]  # as update
        """Async version of `update`."""
        hidden = Hidden(dict_)
        del dict_
        await self._when_read(lambda: self.update(hidden.reveal()))

    async def asave(self, must_create: bool = False) -> None:
        """Async version of `save`."""
        await in_worker(lambda: self.save(must_create))

    async def acreate(self) -> None:
        """Async version of `create`."""
        await in_worker(self.create)

    async def aload(self) -> dict[str, JSONValue]:
        """Async version of `load`."""
        return await in_worker(self.load)

    async def aexists(self, session_key: str | None) -> bool:
        """Async version of `exists`."""
        hidden = Hidden(session_key)
        del session_key
        return await in_worker(lambda: self.exists(hidden.reveal()))

    async def adelete(self, session_key: str | None = None) -> None:
        """Async version of `delete`."""
        hidden = Hidden(session_key)
        del session_key
        await in_worker(lambda: self.delete(hidden.reveal()))

    async def aflush(self) -> None:
        """Async version of `flush`."""
        await in_worker(self.flush)

    async def acycle_key(self, *, grace: bool = False) -> None:
        """Async version of `cycle_key`."""
        await self._when_read(lambda: self.cycle_key(grace=grace))

    async def apeek(self, key: str, default: JSONValue = None) -> JSONValue:
        """Async version of `peek`."""
        hidden = Hidden(default)
        del default
        return await self._when_read(lambda: self.peek(key, hidden.reveal()))

    @classmethod
    async def aclear_expired(cls) -> None:
        """Async version of `clear_expired`."""
        await in_worker(cls.clear_expired)

    async def aatomic(self, change: Callable[[SessionData], T]) -> T:
        """Async version of `atomic`. *change* must be a plain function.

        It runs in one of the library's own threads, so do not use Django's database in it.
        """
        return await in_worker(lambda: self.atomic(change))

    async def aget_expiry_age(self, **kwargs: object) -> int:
        """Async version of `get_expiry_age`."""
        return await self._when_read(lambda: self.get_expiry_age(**kwargs))

    async def aget_expiry_date(self, **kwargs: object) -> datetime:
        """Async version of `get_expiry_date`."""
        return await self._when_read(lambda: self.get_expiry_date(**kwargs))

    async def aget_expire_at_browser_close(self) -> bool:
        """Async version of `get_expire_at_browser_close`."""
        return await self._when_read(self.get_expire_at_browser_close)

    async def aset_expiry(self, value: datetime | timedelta | int | None) -> None:
        """Async version of `set_expiry`."""
        await self._when_read(lambda: self.set_expiry(value))

    async def aset_idle_timeout(self, idle_timeout: timedelta | None) -> None:
        """Async version of `set_idle_timeout`."""
        await self._when_read(lambda: self.set_idle_timeout(idle_timeout))


def get_session(request: HttpRequest) -> SessionStore:
    """Return ``request.session``, typed; raise `RuntimeError` if it is not a session of this engine.

    Reads nothing, so it works in sync and async views alike.
    """
    session: object = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        return session
    kind = f"{type(session).__module__}.{type(session).__qualname__}"
    engine = conf.settings.SESSION_ENGINE
    del request, session
    if kind == "builtins.NoneType":
        raise RuntimeError('the request has no session: add "session.web.django.SessionMiddleware" to MIDDLEWARE')
    if engine != __name__:
        raise RuntimeError(f"request.session is a {kind}: set SESSION_ENGINE to {__name__!r}, instead of {engine!r}")
    raise RuntimeError(f"request.session is a {kind}: get the session before you replace it")
