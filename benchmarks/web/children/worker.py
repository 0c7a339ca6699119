"""A process that has one app and asks it when told: ``... worker APP URL``. It is idle until the next line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar

import msgspec

from benchmarks.speed.messages import Failed, Ready, Timed
from benchmarks.web.apps import APPS, AsyncSite, Counting, Site
from benchmarks.web.messages import Ask, Asked, Check, Checked, Command, Prepare, Reply, Time
from benchmarks.web.routes import ROUTES, VISITS, Route

from .browser import Answer, AsgiBrowser, Browser, WsgiBrowser

R = TypeVar("R")

_WARM = 5
"""Requests before each measurement: connections are there again, and caches warm, after the idle time."""
_BATCH = 10
"""How many sessions are made at a time for requests that need one each."""


class Worker:
    """Does what it is told, with one app."""

    def __init__(self, browser: Browser, counting: Counting, *, has_session: bool) -> None:
        self._browser = browser
        self._counting = counting
        self._has_session = has_session
        self._cookie: str | None = None
        self._prepared: tuple[Route, list[str | None]] | None = None

    async def work(self, command: Command) -> Reply:
        match command:
            case Check():
                return Checked(await self._check())
            case Prepare(route, requests):
                self._prepared = ROUTES[route], await self._cookies(ROUTES[route], requests)
                return Ready()
            case Ask():
                return await self._ask()
            case Time(route, seconds):
                return await self._time(ROUTES[route], seconds)

    async def _check(self) -> bool:
        """Whether the cookie from before a login works after it; AssertionError if the app does not do what it should."""
        first = await self._expect("/fill", None, "ok")
        await self._expect("/ignore", first, "ok")
        await self._expect("/read", first, str(VISITS))
        visits = int(str(VISITS))
        latest = first
        for more in (1, 2):
            latest = await self._expect("/change", latest, str(visits + more))
        # Another client has another session.
        await self._expect("/read", await self._expect("/fill", None, "ok"), str(VISITS))
        if not self._has_session:
            return False
        if first is None or latest is None:
            raise AssertionError("no cookie was set")
        await self._expect("/read", None, "none")
        await self._expect("/read", latest, str(visits + 2))
        new = await self._expect("/login", latest, "ok")
        if new == latest:
            raise AssertionError("the login did not change the cookie")
        await self._expect("/read", new, str(visits + 2))
        await self._expect("/who", new, "31415926")
        return (await self._get("/read", latest)).body != b"none"

    async def _expect(self, path: str, cookie: str | None, body: str) -> str | None:
        """The cookie after a request that is answered as expected."""
        answer = await self._get(path, cookie)
        if answer.body != body.encode():
            raise AssertionError(f"{path} answered {answer.body[:40]!r}, not {body!r}")
        return answer.cookie or cookie

    async def _get(self, path: str, cookie: str | None) -> Answer:
        answer = await self._browser.get(path, cookie)
        if answer.status != 200:
            raise AssertionError(f"{path} answered with {answer.status}")
        return answer

    async def _cookies(self, route: Route, requests: int) -> list[str | None]:
        """What so many requests bring along: new sessions, or always the one session, or nothing."""
        if route.once:
            return [await self._expect("/fill", None, "ok") for _ in range(requests)]
        if self._cookie is None:
            self._cookie = await self._expect("/fill", None, "ok")
        return [self._cookie if route.cookie else None] * requests

    async def _ask(self) -> Asked:
        assert self._prepared is not None
        route, cookies = self._prepared
        # It was opened by the requests before, if it is opened at all.
        with self._counting() as statements:
            await self._send(route, cookies)
        return Asked(dict(statements))

    async def _send(self, route: Route, cookies: list[str | None]) -> None:
        """A request for each cookie; a cookie that is always the same one is kept up to date."""
        get, path, keep = self._browser.get, route.path, route.cookie and not route.once
        for cookie in cookies:
            answer = await get(path, self._cookie if keep else cookie)
            if answer.status != 200:
                raise AssertionError(f"{path} answered with {answer.status}")
            if keep and answer.cookie is not None:
                self._cookie = answer.cookie

    async def _time(self, route: Route, seconds: float) -> Timed:
        await self._send(route, await self._cookies(route, _WARM))
        requests, wall, cpu = 0, 0.0, 0.0
        while wall < seconds:
            cookies = await self._cookies(route, _BATCH)
            cpu_before, began = time.process_time(), time.perf_counter()
            await self._send(route, cookies)
            wall += time.perf_counter() - began
            cpu += time.process_time() - cpu_before
            requests += len(cookies)
        return Timed(requests, wall, cpu)


def at_once(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that awaits nothing, without an event loop: synchronous apps refuse to wait in one."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    raise AssertionError("it waited")


def main() -> None:
    name, url = sys.argv[1:]
    app = APPS[name]
    run: Callable[[Coroutine[Any, Any, Reply]], Reply] = asyncio.Runner().run if app.asynchronous else at_once
    worker: Worker | None = None

    async def start() -> Reply:
        nonlocal worker
        made = getattr(import_module(f"benchmarks.web.apps.{app.module}"), app.maker)(url)
        site: Site | AsyncSite = await made if app.asynchronous else made
        browser = AsgiBrowser(site.app) if isinstance(site, AsyncSite) else WsgiBrowser(site.app)
        worker = Worker(browser, site.counting, has_session=bool(app.base))
        return Ready()

    def answer(work: Coroutine[Any, Any, Reply]) -> None:
        try:
            reply = run(work)
        except Exception as error:  # noqa: BLE001 (the driver notes what an app cannot do, and goes on)
            reply = Failed(f"{type(error).__name__}: {error}".splitlines()[0][:200])
        sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
        sys.stdout.buffer.flush()

    answer(start())
    decoder = msgspec.json.Decoder(Command)
    for line in sys.stdin.buffer:
        assert worker is not None
        answer(worker.work(decoder.decode(line)))
    # Whatever an app has left to close, the process's end does.
    with contextlib.suppress(OSError):
        sys.stdout.close()
    os._exit(0)


if __name__ == "__main__":
    main()
