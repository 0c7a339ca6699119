"""Blocking work off the event loop: in a few threads of the library's own, whatever the app does with its executor."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import pytest

from dynamostore import UnavailableError, workers
from dynamostore.workers import MOST, Workers, in_worker

from .awaited import busy_executor

PATIENT = 5.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENT
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_there_are_never_more_threads_than_allowed_and_all_work_is_done() -> None:
    pool, go_on, done = Workers(3), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        go_on.wait(PATIENT)
        done.release()

    for _ in range(50):
        pool.do(work)
    assert pool.threads == 3
    go_on.set()
    for _ in range(50):
        assert done.acquire(timeout=PATIENT)
    assert pool.threads == 3


def test_a_thread_is_used_again_and_ends_when_there_is_nothing_to_do() -> None:
    pool, threads = Workers(1, keep_idle=0.2), set[threading.Thread]()
    for _ in range(5):
        done = threading.Event()
        pool.do(lambda: threads.add(threading.current_thread()))
        pool.do(done.set)
        assert done.wait(PATIENT)
        until(lambda: pool._idle == 1)
    assert len(threads) == 1
    until(lambda: pool.threads == 0)


def test_work_has_the_context_of_its_caller_and_its_outcome_is_the_callers() -> None:
    variable = contextvars.ContextVar[str]("variable")

    def refuse() -> None:
        raise KeyError("x")

    async def main() -> None:
        variable.set("of the caller")
        assert await in_worker(variable.get) == "of the caller"
        with pytest.raises(KeyError):
            await in_worker(refuse)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await in_worker(lambda: next(iter(())))

    asyncio.run(main())


def test_forty_blocking_jobs_of_the_app_stop_nothing() -> None:
    async def main() -> None:
        async with busy_executor(), asyncio.timeout(PATIENT):
            assert await in_worker(lambda: 1) == 1

    asyncio.run(main())


def test_work_that_nobody_waits_for_any_more_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = list[int](), threading.Event()

    async def main() -> None:
        blocked = [asyncio.create_task(in_worker(lambda: go_on.wait(PATIENT))) for _ in range(MOST)]
        await asyncio.sleep(0)
        late = asyncio.create_task(in_worker(lambda: begun.append(1)))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert pool.threads == MOST
        go_on.set()
        assert all(await asyncio.gather(*blocked))
        await in_worker(lambda: None)

    # With none of another test's.
    monkeypatch.setattr(workers, "_of_this_process", pool := Workers(keep_idle=0.1))
    asyncio.run(main())
    assert begun == []


def test_where_no_thread_can_be_had_it_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = Workers()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UnavailableError, match="can't start new thread"):
            pool.do(lambda: None)
    done = threading.Event()
    pool.do(done.set)
    assert done.wait(PATIENT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_has_threads_of_its_own_and_no_program_waits_for_them() -> None:
    program = """
        import asyncio, os, threading
        from dynamostore import workers

        async def main():
            asyncio.ensure_future(workers.in_worker(lambda: threading.Event().wait(60)))
            assert await workers.in_worker(lambda: "parent") == "parent"

        asyncio.run(main())
        parent = workers._of_this_process
        with parent._changed:
            child = os.fork()
        if not child:
            assert workers._of_this_process is not parent
            assert asyncio.run(workers.in_worker(lambda: "child")) == "child"
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print("over")
    """
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("over\n", "")
