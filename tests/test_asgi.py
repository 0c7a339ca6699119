"""The ASGI middleware: reads that are waited for in synchronous code, WebSockets, tasks and threads, and outages."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest
import uvloop
from greenlet import getcurrent, greenlet
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dynamostore import ItemTooLargeError, MemoryStore, StoreError, UnavailableError
from dynamostore.testing import FakeClock
from session import (
    AsyncSession,
    AsyncSessionManager,
    Cookie,
    SessionClosedError,
    SessionError,
    SessionManager,
    SessionNotLoadedError,
)
from session.web.asgi import ASGIApp, Message, Receive, Scope, Send, SessionMiddleware, get_session
from session.web.asgi import _session as _asgi_session
from session.web.asgi._waiting import wait, waiting

from .awaited import AwaitedStore, busy_executor
from .counting import CountingStore
from .serving import on_uvicorn

T = TypeVar("T")
PLAIN = Cookie(secure=False)


@pytest.fixture
def amanager(counted: CountingStore, clock: FakeClock) -> AsyncSessionManager:
    return AsyncSessionManager(AwaitedStore(counted, lambda _: asyncio.sleep(0)), clock=clock, cookie=PLAIN)


@pytest.fixture
def token(manager: SessionManager, counted: CountingStore) -> str:
    with manager.session(None) as s:
        s.put_int("n", 1)
    assert s.token is not None
    counted.taken()
    return s.token


def held(manager: SessionManager, token: str | None) -> dict[str, object]:
    with manager.session(token) as s:
        return dict(s)


@dataclass
class Exchange:
    """One request without a server: what the app sent."""

    sent: list[MutableMapping[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    def header(self, name: str) -> list[str]:
        return [value.decode() for other, value in self.sent[0]["headers"] if other == name.encode()]

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def request(
    app: ASGIApp, token: str | None = None, *, exchange: Exchange | None = None, **scope: Any
) -> Exchange:
    exchange = Exchange() if exchange is None else exchange

    given: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not given:
            # Nobody disconnects.
            await asyncio.Event().wait()
        return given.pop()

    async def send(message: Message) -> None:
        exchange.sent.append(message)

    headers = [] if token is None else [(b"cookie", f"session={token}".encode())]
    whole: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": headers,
        "query_string": b"",
        **scope,
    }
    await app(whole, receive, send)
    return exchange


def responding(action: Callable[[AsyncSession], Coroutine[Any, Any, object]]) -> ASGIApp:
    """An app that answers with what *action* returns."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        body = str(await action(get_session(scope))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


# Looking at the session without an await


def bump(s: AsyncSession) -> int:
    s.increment("n")
    return s.get_int("n")


async def in_this_task(s: AsyncSession) -> object:
    await asyncio.sleep(0)
    s["n"] = s.get_int("n") + 1
    await asyncio.sleep(0)
    return s["n"]


async def deep_down(s: AsyncSession) -> object:
    async def deeper(depth: int) -> int:
        await asyncio.sleep(0)
        return bump(s) if depth == 0 else await deeper(depth - 1)

    async with asyncio.timeout(5):
        return await deeper(20)


async def in_an_async_generator(s: AsyncSession) -> object:
    async def numbers() -> AsyncIterator[int]:
        yield bump(s)

    return await anext(numbers())


async def in_a_thread(s: AsyncSession) -> object:
    return await asyncio.to_thread(bump, s)


async def on_a_greenlet_of_another_library(s: AsyncSession) -> object:
    """As SQLAlchemy's ``run_sync`` does it: synchronous code on a greenlet, that awaits on its own account, too."""
    driver = getcurrent()

    def synchronous() -> int:
        driver.switch(asyncio.sleep(0, "awaited"))
        n = bump(s)
        driver.switch(asyncio.sleep(0, "again"))
        return n

    strand = greenlet(synchronous)
    reply = strand.switch()
    while not strand.dead:
        reply = strand.switch(await reply)
    return reply


async def after_load(s: AsyncSession) -> object:
    await s.load()
    return await asyncio.create_task(in_this_task(s))


LOOKS = [in_this_task, deep_down, in_an_async_generator, in_a_thread, on_a_greenlet_of_another_library, after_load]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("synchronous", [False, True], ids=["AsyncSessionManager", "SessionManager"])
def test_the_session_is_read_where_it_is_first_looked_at(
    amanager: AsyncSessionManager,
    manager: SessionManager,
    counted: CountingStore,
    token: str,
    look: Callable[[AsyncSession], Coroutine[Any, Any, object]],
    loop: str,
    synchronous: bool,
) -> None:
    app = SessionMiddleware(responding(look), manager if synchronous else amanager)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        assert runner.run(request(app, token)).body == "2"
    assert counted.taken() == ["find", "replace"]


def test_another_session_is_merged_into_the_one_of_a_request(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    with manager.session(None) as other:
        other.put_string("cart", "pear")
    app = SessionMiddleware(responding(lambda s: s.merge_session(other.token)), amanager)
    assert run(request(app, token)).body == "True"
    assert held(manager, token) == {"n": 1, "cart": "pear"}


async def in_a_task_of_its_own(s: AsyncSession) -> object:
    return await asyncio.create_task(in_this_task(s))


async def in_another_loop(s: AsyncSession) -> object:
    return await asyncio.to_thread(lambda: asyncio.run(in_this_task(s)))


def test_as_many_threads_as_there_are_may_look_at_once(
    manager: SessionManager, counted: CountingStore, token: str
) -> None:
    async def main() -> list[Exchange]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        app = SessionMiddleware(responding(in_a_thread), manager)
        async with asyncio.timeout(10):
            return await asyncio.gather(*(request(app, token) for _ in range(20)))

    exchanges = run(main())
    # Of so many at once, one may be stale time and again.
    assert {exchange.status for exchange in exchanges} <= {200, 409}
    assert held(manager, token) == {"n": 1 + sum(exchange.status == 200 for exchange in exchanges)}


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.11 has no eager tasks")
def test_a_task_that_is_begun_eagerly_cannot_wait_either(amanager: AsyncSessionManager, token: str) -> None:
    async def look(s: AsyncSession) -> object:
        with pytest.raises(SessionNotLoadedError):
            await asyncio.create_task(in_this_task(s))
        return await in_this_task(s)

    async def main() -> str:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # not in 3.11
        async with asyncio.timeout(5):
            return (await request(SessionMiddleware(responding(look), amanager), token)).body

    assert run(main()) == "2"


def test_what_led_to_a_failed_read_is_in_its_traceback(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def look(s: AsyncSession) -> object:
        with pytest.raises(UnavailableError) as caught:
            s.get_int("n")
        return [entry.name for entry in caught.traceback]

    counted.failure = UnavailableError("no answer")
    body = run(request(SessionMiddleware(responding(look), amanager), token)).body
    assert "'find'" in body
    assert "'_count'" in body


def test_an_outage_that_autoload_meets_is_for_who_looks(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def ignore(_: AsyncSession) -> str:
        return "served"

    async def look(s: AsyncSession) -> object:
        with pytest.raises(UnavailableError):
            await asyncio.create_task(in_this_task(s))
        return "as a guest"

    counted.failure = UnavailableError("no answer")
    for action, body in ((ignore, "served"), (look, "as a guest")):
        app = SessionMiddleware(responding(action), amanager, autoload=True)
        assert run(request(app, token)).body == body


@pytest.mark.parametrize("look", [in_a_task_of_its_own, in_another_loop], ids=lambda look: look.__name__)
def test_where_it_cannot_be_waited_for_that_is_said_with_the_way_out(
    amanager: AsyncSessionManager, token: str, look: Callable[[AsyncSession], Coroutine[Any, Any, object]]
) -> None:
    with pytest.raises(SessionNotLoadedError, match=r"await session.load\(\) first, or .*innermost.*autoload=True"):
        run(request(SessionMiddleware(responding(look), amanager), token))
    # Nor where there is nothing to read: it would be the second request of each client that fails, and in production.
    with pytest.raises(SessionNotLoadedError, match=r"await session.load\(\) first, or .*innermost.*autoload=True"):
        run(request(SessionMiddleware(responding(look), amanager)))
    for sent, body in ((token, "2"), (None, "1")):
        assert run(request(SessionMiddleware(responding(look), amanager, autoload=True), sent)).body == body


async def put_in_a_task(s: AsyncSession) -> object:
    async def put() -> None:
        s["n"] = 7

    return await asyncio.create_task(put())


async def destroy_and_put_in_a_task(s: AsyncSession) -> object:
    s.destroy()
    return await put_in_a_task(s)


async def destroy_save_and_put_in_a_task(s: AsyncSession) -> object:
    s.destroy()
    await s.save()
    return await put_in_a_task(s)


async def atomic_and_then_in_a_task(s: AsyncSession) -> object:
    await s.atomic(lambda stored: stored.get_int("n"))
    return await put_in_a_task(s)


async def in_a_thread_and_then_in_a_task(s: AsyncSession) -> object:
    await asyncio.to_thread(s.get_int, "n")
    return await put_in_a_task(s)


async def here_and_then_in_a_task(s: AsyncSession) -> object:
    s.get_int("n")
    return await put_in_a_task(s)


async def no_look_in_a_task(s: AsyncSession) -> object:
    async def ask() -> object:
        return (s.token, s.status, s.attempt, repr(s))

    return await asyncio.create_task(ask())


WAYS = [
    in_this_task,
    in_a_thread,
    after_load,
    in_a_task_of_its_own,
    in_another_loop,
    put_in_a_task,
    destroy_and_put_in_a_task,
    destroy_save_and_put_in_a_task,
    atomic_and_then_in_a_task,
    in_a_thread_and_then_in_a_task,
    here_and_then_in_a_task,
    no_look_in_a_task,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("autoload", [False, True], ids=["", "autoload"])
@pytest.mark.parametrize("greenlets", [True, False], ids=["", "without greenlet"])
@pytest.mark.parametrize("synchronous", [False, True], ids=["AsyncSessionManager", "SessionManager"])
def test_the_first_request_of_a_client_fails_wherever_its_second_would(
    amanager: AsyncSessionManager,
    manager: SessionManager,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[AsyncSession], Coroutine[Any, Any, object]],
    autoload: bool,
    greenlets: bool,
    synchronous: bool,
) -> None:
    monkeypatch.setattr(_asgi_session, "GREENLETS", greenlets)
    app = SessionMiddleware(responding(way), manager if synchronous else amanager, autoload=autoload)
    with manager.session(None) as s:
        s["n"] = 1
    outcomes = []
    # No cookie, one of a session, one of no session any more, and one that is none of ours.
    for sent in (None, s.token, "A" * 43, "none of ours"):
        try:
            run(request(app, sent))
        except SessionNotLoadedError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("")
    assert len(set(outcomes)) == 1
    if greenlets and not autoload:
        assert bool(outcomes[0]) == (way in (in_a_task_of_its_own, in_another_loop, put_in_a_task))


def test_without_greenlet_load_is_awaited_and_the_error_says_so(
    amanager: AsyncSessionManager, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_session, "GREENLETS", False)
    with pytest.raises(SessionNotLoadedError, match=r"or install dynamostore\[asgi\]"):
        run(request(SessionMiddleware(responding(in_this_task), amanager), token))
    assert run(request(SessionMiddleware(responding(after_load), amanager), token)).body == "2"
    assert run(request(SessionMiddleware(responding(in_a_thread), amanager), token)).body == "3"


def test_it_is_imported_without_greenlet() -> None:
    from .distribution import ROOT
    from .distribution import run as run_program

    program = "import sys; sys.modules['greenlet'] = None; import session.web.asgi._session as a; print(a.GREENLETS)"
    assert run_program(sys.executable, "-c", program, cwd=ROOT).strip() == "False"


def test_autoload_reads_for_each_request_that_has_a_cookie(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def ignore(_: AsyncSession) -> None: ...

    app = SessionMiddleware(responding(ignore), amanager, autoload=True)
    run(request(app, token))
    assert counted.taken() == ["find"]
    run(request(app))
    run(request(app, "not ours"))
    assert counted.taken() == []


def test_what_is_set_in_the_context_is_seen_as_ever(amanager: AsyncSessionManager, token: str) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def look(s: AsyncSession) -> object:
        seen.append(variable.get())
        variable.set("by the app")
        s.get_int("n")
        seen.append(variable.get())
        await asyncio.sleep(0)
        seen.append(variable.get())
        return await asyncio.create_task(child())

    async def child() -> str:
        return variable.get()

    async def main() -> None:
        variable.set("by the server")
        exchange = await request(SessionMiddleware(responding(look), amanager), token)
        assert exchange.body == "by the app"
        # As it would be without the middleware: one task, one context.
        assert variable.get() == "by the app"

    run(main())
    assert seen == ["by the server", "by the app", "by the app"]


def test_a_failed_read_is_raised_where_the_session_is_looked_at(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def look(s: AsyncSession) -> object:
        try:
            return s.get_int("n")
        except StoreError as error:
            await asyncio.sleep(0)
            counted.failure = None
            return f"{type(error).__name__}, then {s.get_int('n')}"

    counted.failure = UnavailableError("no answer")
    assert run(request(SessionMiddleware(responding(look), amanager), token)).body == "UnavailableError, then 1"


def test_a_request_that_is_cancelled_while_it_reads_is_discarded(
    counted: CountingStore, manager: SessionManager, token: str
) -> None:
    seen: list[BaseException] = []

    async def look(s: AsyncSession) -> object:
        try:
            s.increment("n")
        except asyncio.CancelledError as error:
            seen.append(error)
            raise
        raise AssertionError

    async def main() -> None:
        reading = asyncio.Event()

        async def forever(_: str) -> None:
            reading.set()
            await asyncio.Event().wait()

        slow = AsyncSessionManager(AwaitedStore(counted, forever))
        task = asyncio.create_task(request(SessionMiddleware(responding(look), slow), token))
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert len(seen) == 1
    assert held(manager, token) == {"n": 1}


def test_a_synchronous_store_is_called_in_threads_and_a_cancelled_call_ends_before_the_request_does(
    counted: CountingStore, clock: FakeClock, token: str
) -> None:
    threads = set()
    calling, go_on = threading.Event(), threading.Event()

    class Slow(CountingStore):
        def _count(self, verb: str) -> None:
            threads.add(threading.current_thread())
            super()._count(verb)
            calling.set()
            assert go_on.wait(5)

    store = Slow(counted._store)
    app = SessionMiddleware(responding(in_this_task), SessionManager(store, clock=clock))

    async def main() -> None:
        task = asyncio.create_task(request(app, token))
        await asyncio.to_thread(calling.wait, 5)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert threading.main_thread() not in threads
    assert store.taken() == ["find"]


def test_a_session_is_loaded_and_stored_whatever_blocks_the_executor_of_the_app(
    manager: SessionManager, token: str
) -> None:
    app = SessionMiddleware(responding(in_this_task), manager)

    async def main() -> None:
        async with busy_executor(), asyncio.timeout(5):
            assert (await request(app, token)).body == "2"

    run(main())
    assert held(manager, token) == {"n": 2}


# Any coroutine, driven


@st.composite
def programs(draw: st.DrawFn) -> list[str]:
    return draw(st.lists(st.sampled_from(["await", "wait", "wait for an error", "await an error", "nest"]), max_size=8))


@given(programs(), st.sampled_from(["return", "raise"]))
def test_a_coroutine_that_is_driven_does_what_it_does_when_it_is_awaited(program: list[str], end: str) -> None:
    async def value(said: list[str], what: str) -> None:
        await asyncio.sleep(0)
        said.append(what)

    async def error() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def body(
        said: list[str], wait_for: Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]
    ) -> str:
        for i, step in enumerate(program):
            match step:
                case "await":
                    await value(said, f"{i}")
                case "wait":
                    await wait_for(lambda i=i: value(said, f"{i}"))  # type: ignore[misc]  # mypy does not see the default
                case "nest":
                    await asyncio.create_task(value(said, f"{i}"))
                case _:
                    try:
                        await (wait_for(error) if step.startswith("wait") else error())
                    except LookupError:
                        said.append(f"{i}!")
        if end == "raise":
            raise LookupError
        return "returned"

    async def plainly(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await make()

    async def driven(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert wait(make)

    async def outcome(drive: Callable[[list[str]], Awaitable[str]]) -> tuple[list[str], str]:
        said: list[str] = []
        try:
            return said, await drive(said)
        except LookupError:
            return said, "raised"

    async def main() -> None:
        expected = await outcome(lambda said: body(said, plainly))
        assert await outcome(lambda said: waiting(body(said, driven))) == expected

    run(main())


def test_nobody_waits_where_nobody_drives() -> None:
    assert not wait(lambda: asyncio.sleep(0))


# The response


def test_what_is_changed_once_the_response_has_begun_is_refused(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    refused = []

    async def endpoint(request: Request) -> Response:
        session = get_session(request.scope)
        session.increment("n")

        async def body() -> AsyncIterator[str]:
            yield str(session.get_int("n"))
            with pytest.raises(SessionClosedError):
                session.increment("n")
            refused.append(1)

        return StreamingResponse(body())

    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(SessionMiddleware, manager=amanager)])
    with on_uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/", headers={"Cookie": f"session={token}"}).text == "2"
    assert refused == [1]
    assert held(manager, token) == {"n": 2}


def test_what_another_task_changes_while_it_is_committed_is_refused(
    counted: CountingStore, manager: SessionManager, token: str
) -> None:
    outcomes: list[str] = []

    async def main() -> None:
        storing, go_on = asyncio.Event(), asyncio.Event()

        async def wait(what: str) -> None:
            if what == "replace":
                storing.set()
                await go_on.wait()

        async def late(s: AsyncSession) -> None:
            await storing.wait()
            with pytest.raises(SessionClosedError):
                s.put_int("late", 1)
            outcomes.append("refused")
            go_on.set()

        async def action(s: AsyncSession) -> None:
            await s.load()
            tasks.append(asyncio.create_task(late(s)))
            s.put_int("a", 1)

        tasks: list[asyncio.Task[None]] = []
        slow = AsyncSessionManager(AwaitedStore(counted, wait))
        await request(SessionMiddleware(responding(action), slow), token)
        await asyncio.gather(*tasks)

    run(main())
    assert outcomes == ["refused"]
    assert held(manager, token) == {"a": 1, "n": 1}


def test_an_app_that_does_not_answer_commits_nothing(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        get_session(scope).increment("n")

    assert run(request(SessionMiddleware(app, amanager), token)).sent == []
    assert held(manager, token) == {"n": 1}


def test_two_cookie_headers_are_one_jar(amanager: AsyncSessionManager, token: str) -> None:
    # As HTTP/2 has it: RFC 9113, 8.2.3.
    headers = [(b"cookie", b"a=b"), (b"cookie", f"session={token}".encode())]
    assert run(request(SessionMiddleware(responding(in_this_task), amanager), headers=headers)).body == "2"


def test_an_error_of_the_commit_is_not_hidden_by_what_starlette_makes_of_it(
    amanager: AsyncSessionManager, token: str
) -> None:
    async def too_large(request: Request) -> Response:
        request.session["n"] = "x" * 500_000
        return PlainTextResponse("")

    async def handler(_: Request, __: Exception) -> Response:
        raise AssertionError

    middleware = [Middleware(SessionMiddleware, manager=amanager)]
    app = Starlette(routes=[Route("/", too_large)], middleware=middleware, exception_handlers={StoreError: handler})
    # Which has begun its response, and calls no handler any more.
    with pytest.raises(ItemTooLargeError):
        run(request(app, token))


def test_an_exception_handler_of_the_app_answers_an_outage_at_the_point_of_use(
    amanager: AsyncSessionManager, counted: CountingStore, manager: SessionManager, token: str
) -> None:
    async def read(request: Request) -> Response:
        return PlainTextResponse(str(request.session["n"]))

    async def unavailable(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"the app says {type(error).__name__}", 503)

    middleware = [Middleware(SessionMiddleware, manager=amanager)]
    app = Starlette(routes=[Route("/", read)], middleware=middleware, exception_handlers={StoreError: unavailable})
    with on_uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        counted.failure = UnavailableError("no answer")
        response = client.get("/", headers={"Cookie": f"session={token}"})
        assert (response.status_code, response.text) == (503, "the app says UnavailableError")
        assert "set-cookie" not in response.headers
    counted.failure = None
    assert held(manager, token) == {"n": 1}


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_around_the_whole_of_starlette_an_outage_is_a_503_too(
    amanager: AsyncSessionManager, counted: CountingStore, manager: SessionManager, token: str, when: str
) -> None:
    async def change(request: Request) -> Response:
        if when == "writing":
            request.session["n"] = 7
        counted.failure = UnavailableError("no answer")
        request.session["n"] = 8
        return PlainTextResponse("")

    # Starlette answers 500, and raises then.
    app = SessionMiddleware(Starlette(routes=[Route("/", change)]), amanager)
    exchange = run(request(app, token))
    assert (exchange.status, exchange.header("retry-after")) == (503, ["5"])
    assert exchange.body == "The session store cannot be reached. Please try again soon.\n"
    counted.failure = None
    assert held(manager, token) == {"n": 1}


def test_an_error_page_that_an_app_sends_for_an_outage_is_its_own(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def app(scope: Scope, _: Receive, send: Send) -> None:
        with pytest.raises(UnavailableError):
            get_session(scope).increment("n")
        await send({"type": "http.response.start", "status": 500, "headers": [(b"x-own", b"page")]})
        await send({"type": "http.response.body", "body": b"sorry"})
        if raising:
            raise LookupError

    counted.failure = UnavailableError("no answer")
    raising = False
    exchange = run(request(SessionMiddleware(app, amanager), token))
    assert (exchange.status, exchange.header("x-own"), exchange.body) == (500, ["page"], "sorry")
    raising = True
    with pytest.raises(LookupError):
        run(request(SessionMiddleware(app, amanager), token))


def test_a_middleware_of_the_function_kind_stands_outside(amanager: AsyncSessionManager, token: str) -> None:
    class Outside(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    async def read(request: Request) -> Response:
        return PlainTextResponse(str(request.session.get("n")))

    # It runs what is within it in a task of its own; within that, the session can wait.
    middleware = [Middleware(Outside), Middleware(SessionMiddleware, manager=amanager)]
    with on_uvicorn(Starlette(routes=[Route("/", read)], middleware=middleware)) as url:
        assert httpx.get(url, cookies={"session": token}, trust_env=False).text == "1"
    # The other way round, it fails in development, before anybody has a cookie.
    wrong = Starlette(routes=[Route("/", read)], middleware=middleware[::-1])
    with pytest.raises(SessionNotLoadedError, match="innermost"):
        run(request(wrong))


def test_what_is_no_request_passes_untouched(amanager: AsyncSessionManager) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    scope: Any = {"type": "lifespan"}
    receive: Any = object()
    send: Any = object()
    run(_call(SessionMiddleware(app, amanager), scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert seen[0][1] is receive
    assert scope == {"type": "lifespan"}


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def test_two_managers_have_two_cookies_and_two_sessions(clock: FakeClock) -> None:
    def make(**settings: Any) -> AsyncSessionManager:
        store = AwaitedStore(MemoryStore(clock=clock), lambda _: asyncio.sleep(0))
        return AsyncSessionManager(store, clock=clock, cookie=Cookie(secure=False, **settings))

    async def endpoint(request: Request) -> Response:
        sessions = {key: get_session(request.scope, key) for key in ("session", "admin")}
        if key := request.query_params.get("put"):
            sessions[key].put_string("who", key)
        return PlainTextResponse(repr({key: dict(s) for key, s in sessions.items()}))

    middleware = [
        Middleware(SessionMiddleware, manager=make()),
        Middleware(SessionMiddleware, manager=make(name="admin", same_site="Strict"), key="admin"),
    ]
    app = Starlette(routes=[Route("/", endpoint)], middleware=middleware)
    with on_uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/?put=session").text == "{'session': {'who': 'session'}, 'admin': {}}"
        assert client.get("/?put=admin").text == "{'session': {'who': 'session'}, 'admin': {'who': 'admin'}}"
        assert client.get("/").text == "{'session': {'who': 'session'}, 'admin': {'who': 'admin'}}"
        assert set(client.cookies) == {"session", "admin"}


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_an_outage_in_a_task_group_is_a_503(
    amanager: AsyncSessionManager, counted: CountingStore, token: str, kind: str
) -> None:
    async def look(s: AsyncSession) -> object:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(60))
            tasks.create_task(s.load())
        return "never"

    counted.failure = UnavailableError("no answer")
    exchange = run(request(SessionMiddleware(responding(look), amanager), token, type=kind))
    if kind == "http":
        assert exchange.status == 503
    else:
        assert exchange.sent == [{"type": "websocket.close", "code": 1013}]


# WebSockets


@contextmanager
def socket(app: ASGIApp, token: str | None) -> Iterator[ClientConnection]:
    headers = {} if token is None else {"Cookie": f"session={token}"}
    with (
        on_uvicorn(app) as url,
        connect(url.replace("http", "ws"), additional_headers=headers, proxy=None) as connection,
    ):
        yield connection


def speaking(
    before: Callable[[AsyncSession], object], after: Callable[[AsyncSession], object] | None = None
) -> ASGIApp:
    """A WebSocket's app that does one thing *before* it accepts, and another *after*, and then says what came of it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = get_session(scope)
        await receive()
        before(session)
        await send({"type": "websocket.accept", "headers": [(b"x-own", b"kept")]})
        result: object = None
        try:
            result = after(session) if after else dict(session)
            if isinstance(result, Coroutine):
                result = await result
        except SessionError as error:
            result = error
        await send({"type": "websocket.send", "text": str(result)})
        await send({"type": "websocket.close", "code": 1000})

    return app


def test_a_websocket_is_handed_its_cookie_when_it_is_accepted(
    amanager: AsyncSessionManager, manager: SessionManager
) -> None:
    app = SessionMiddleware(speaking(lambda s: s.put_int("n", 1)), amanager)
    with socket(app, None) as ws:
        assert ws.response is not None
        cookie = ws.response.headers["set-cookie"]
        assert ws.response.headers["x-own"] == "kept"
        assert ws.recv() == "{'n': 1}"
    assert held(manager, cookie.partition(";")[0].partition("=")[2]) == {"n": 1}


def test_a_websocket_may_change_its_session_as_long_as_it_lives(
    amanager: AsyncSessionManager, manager: SessionManager, counted: CountingStore, token: str
) -> None:
    async def save(s: AsyncSession) -> int:
        s.increment("n")
        await s.save()
        n = held(manager, token)["n"]
        s.increment("n")
        assert isinstance(n, int)
        return n

    with socket(SessionMiddleware(speaking(lambda s: s.increment("n"), save), amanager), token) as ws:
        assert ws.response is not None
        assert "set-cookie" not in ws.response.headers
        assert ws.recv() == "3"
        with pytest.raises(Exception, match="1000"):
            ws.recv()
    assert held(manager, token) == {"n": 4}
    assert counted.taken()[:3] == ["find", "replace", "replace"]


def test_a_websocket_that_ignores_its_session_costs_nothing(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    with socket(SessionMiddleware(speaking(lambda _: None, lambda _: "hello"), amanager), token) as ws:
        assert ws.recv() == "hello"
    assert counted.taken() == []


@pytest.mark.parametrize("renewing", [False, True], ids=["begun", "renewed"])
def test_a_token_that_the_client_could_not_get_any_more_is_refused(
    amanager: AsyncSessionManager, counted: CountingStore, token: str, renewing: bool
) -> None:
    async def late(s: AsyncSession) -> None:
        if renewing:
            s.renew_token()
        s.put_int("n", 7)
        await s.save()

    app = SessionMiddleware(speaking(lambda _: None, late), amanager)
    with socket(app, token if renewing else None) as ws:
        assert str(ws.recv()).startswith("the WebSocket is accepted, so its client can get no new token")
    assert set(counted.taken()) <= {"find"}


@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
def test_a_session_that_is_begun_anew_once_the_websocket_is_accepted_is_refused(
    amanager: AsyncSessionManager, manager: SessionManager, memory: MemoryStore, token: str, new: bool
) -> None:
    async def late(s: AsyncSession) -> None:
        s.destroy()
        if new:
            s.put_int("n", 7)
        await s.save()

    with socket(SessionMiddleware(speaking(lambda _: None, late), amanager), token) as ws:
        assert str(ws.recv()).startswith("the WebSocket is accepted" if new else "None")
    # A logout counts, in any case.
    assert len(memory._records) == 0


def test_a_websocket_that_is_closed_before_it_is_accepted_has_no_new_session(
    amanager: AsyncSessionManager, memory: MemoryStore, manager: SessionManager, token: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        get_session(scope).increment("n")
        await send({"type": "websocket.close", "code": 1008})

    closed = [{"type": "websocket.close", "code": 1008}]
    assert run(request(SessionMiddleware(app, amanager), type="websocket")).sent == closed
    assert len(memory._records) == 1
    assert run(request(SessionMiddleware(app, amanager), token, type="websocket")).sent == closed
    assert held(manager, token) == {"n": 2}


def test_a_websocket_that_the_app_has_closed_is_not_closed_again(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            get_session(scope).increment("n")
        except StoreError:
            await send({"type": "websocket.close", "code": 1011})
            raise

    counted.failure = UnavailableError("no answer")
    exchange = Exchange()

    async def main() -> None:
        with pytest.raises(UnavailableError):
            await request(SessionMiddleware(app, amanager), token, exchange=exchange, type="websocket")

    run(main())
    assert exchange.sent == [{"type": "websocket.close", "code": 1011}]


def test_a_websocket_whose_user_logs_out_is_told_so(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    async def late(s: AsyncSession) -> object:
        s.get_int("n")
        with manager.session(token) as other:
            other.destroy()
        s.put_int("n", 7)
        await s.save()
        seen = s.status
        s.put_int("n", 8)
        await s.save()
        assert s.token is None
        return seen

    with socket(SessionMiddleware(speaking(lambda _: None, late), amanager), token) as ws:
        assert ws.recv() == "Status.DESTROYED"


def test_a_websocket_is_refused_with_503_where_the_store_fails(
    amanager: AsyncSessionManager, counted: CountingStore, manager: SessionManager, token: str
) -> None:
    counted.failure = UnavailableError("no answer")
    app = SessionMiddleware(speaking(lambda s: s.increment("n")), amanager)
    with on_uvicorn(app) as url, pytest.raises(InvalidStatus) as caught:
        connect(url.replace("http", "ws"), additional_headers={"Cookie": f"session={token}"}, proxy=None)
    response = caught.value.response
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "set-cookie" not in response.headers
    counted.failure = None
    assert held(manager, token) == {"n": 1}


def test_a_websocket_is_closed_with_1013_where_the_server_has_no_denials(
    amanager: AsyncSessionManager, counted: CountingStore, token: str
) -> None:
    counted.failure = UnavailableError("no answer")
    app = SessionMiddleware(speaking(lambda s: s.increment("n")), amanager)
    assert run(request(app, token, type="websocket")).sent == [{"type": "websocket.close", "code": 1013}]


def test_a_denied_websocket_has_a_response_that_commits(
    amanager: AsyncSessionManager, manager: SessionManager, token: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        get_session(scope).renew_token()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"log in"})

    with on_uvicorn(SessionMiddleware(app, amanager)) as url, pytest.raises(InvalidStatus) as caught:
        connect(url.replace("http", "ws"), additional_headers={"Cookie": f"session={token}"}, proxy=None)
    assert caught.value.response.status_code == 401
    renewed = caught.value.response.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert held(manager, renewed) == {"n": 1}
    assert held(manager, token) == {}


# Mistakes


def test_an_app_that_is_in_no_middleware_is_told() -> None:
    scope: dict[str, object] = {}
    with pytest.raises(RuntimeError, match=r"no session in scope\['admin'\]"):
        get_session(scope, "admin")


def test_a_key_that_is_taken_is_refused(amanager: AsyncSessionManager, manager: SessionManager, token: str) -> None:
    for key in ("path", "dynamostore.sessions"):
        with pytest.raises(ValueError, match=f"key '{key}' is reserved by ASGI"):
            SessionMiddleware(responding(in_this_task), amanager, key=key)
    twice = SessionMiddleware(SessionMiddleware(responding(in_this_task), manager), amanager)
    with pytest.raises(RuntimeError, match=r"another manager's session is already under key='session'"):
        run(request(twice, token))
    # The same one twice, as where an app that has it is mounted in another, is one.
    again = SessionMiddleware(SessionMiddleware(responding(in_this_task), amanager), amanager)
    assert run(request(again, token)).body == "2"


def test_what_is_no_manager_is_refused(memory: MemoryStore) -> None:
    manager: Any = memory
    with pytest.raises(TypeError, match="must be an AsyncSessionManager or a SessionManager, not MemoryStore"):
        SessionMiddleware(responding(in_this_task), manager)
