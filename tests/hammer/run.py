"""One run of the hammer: server, proxy and workers are started, hit, and in the end asked what is left."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import boto3
from botocore.config import Config

import dynamostore
from dynamostore import StoreError, Table, items
from dynamostore.local import CREDENTIALS
from session import JSONCodec, SessionError, SessionManager

from .checker import Operation, Verdict, check, gather
from .journal import read
from .server import Server
from .worker import Plan, work

__all__ = ["Result", "Settings", "hammer"]

TABLE = Table()
HOT_SECONDS = 4.0
"""How long one session is the hot one: its markers must stay well below an item's 400 KB."""
RECOVERY = 3.0
"""How long before the end the server is left alone, so that what was under way can end as it would."""
GRACE = 4.0
"""How long workers may take to finish when time is up, before they are killed like others before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How hard to hit; `__main__` explains each."""

    seconds: float = 60
    processes: int = 8
    threads: int = 3
    attempts: int = 4
    seed: int = 1
    late_creates: bool = False
    keep: bool = False


@dataclass(slots=True)
class Result:
    """What was done, and what came of it."""

    settings: Settings
    operations: dict[str, Operation]
    verdict: Verdict
    faults: dict[str, int]
    done: Counter[str] = field(default_factory=Counter)
    seconds: float = 0


class Workers:
    """The worker processes, each started again when it is killed."""

    def __init__(self, plan: Plan, number: int) -> None:
        # Forked from a server that has everything imported: a new one is there in no time.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([work.__module__])
        self._plan = plan
        self._lives: Counter[int] = Counter()
        self._running = {slot: self._start(slot) for slot in range(number)}

    def kill(self, dice: random.Random) -> None:
        slot = dice.choice(list(self._running))
        self._running[slot].kill()
        self._running[slot].join()
        self._running[slot] = self._start(slot)

    def finish(self, seconds: float) -> int:
        """Wait until they are done; those that are not by then are killed, and counted."""
        deadline = time.monotonic() + seconds
        late = 0
        for process in self._running.values():
            process.join(max(0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
                late += 1
        return late

    def _start(self, slot: int) -> ForkServerProcess:
        self._lives[slot] += 1
        process = self._context.Process(target=work, args=(self._plan, slot, self._lives[slot]))
        process.start()
        return process


def hammer(settings: Settings) -> Result:
    """Hit for some seconds, and check. Leaves no process behind, and no file unless told to keep them."""
    os.environ.update(CREDENTIALS)
    folder = Path(tempfile.mkdtemp(prefix="hammer-"))
    try:
        return _hammer(settings, folder)
    finally:
        if settings.keep:
            print(f"the journals are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)


def _hammer(settings: Settings, folder: Path) -> Result:
    server = Server(folder)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        store = dynamostore.connect(TABLE, endpoint_url=server.url, region="us-east-1")
        store.create_table()
        manager = SessionManager(store)
        hot = tuple(_hot_session(manager, f"h{number}") for number in range(int(settings.seconds / HOT_SECONDS) + 1))
        with _proxy(server.port, settings) as proxy:
            began = time.monotonic()
            plan = Plan(
                url=f"http://127.0.0.1:{proxy.port}",
                journals=folder,
                began=began,
                ends=began + settings.seconds,
                hot=hot,
                threads=settings.threads,
                attempts=settings.attempts,
                seed=settings.seed,
            )
            workers = Workers(plan, settings.processes)
            stack.callback(workers.finish, 0)
            done = _hit(settings, plan, server, workers)
            proxy.calm()
            done["killed at the end"] = workers.finish(GRACE)
            seconds = time.monotonic() - began
            faults = proxy.end()
        operations = gather(read(folder))
        found, bad = _found(server, {token for o in operations.values() for token in o.minted} | set(hot))
        verdict = check(operations, {f"h{number}": token for number, token in enumerate(hot)}, found)
        verdict.violations += bad
        return Result(settings, operations, verdict, faults, done, seconds)


def _hot_session(manager: SessionManager, name: str) -> str:
    with manager.session(None) as s:
        s.put_string("id", name)
    assert s.token is not None
    return s.token


def _hit(settings: Settings, plan: Plan, server: Server, workers: Workers) -> Counter[str]:
    """Kill workers, freeze the server and start it anew, until time is up."""
    dice = random.Random(settings.seed)
    done: Counter[str] = Counter()

    def kill() -> float:
        workers.kill(dice)
        done["workers killed"] += 1
        return dice.uniform(0.5, 2)

    def freeze() -> float:
        server.freeze()
        time.sleep(dice.uniform(0.5, 2.5))
        server.thaw()
        done["server frozen"] += 1
        return dice.uniform(6, 12)

    def restart() -> float:
        server.stop()
        time.sleep(dice.uniform(0.1, 1))
        server.start()
        done["server restarted"] += 1
        return dice.uniform(8, 15)

    due: dict[Callable[[], float], float] = {
        kill: plan.began + 1.5,
        freeze: plan.began + min(6, settings.seconds / 4),
        restart: plan.began + min(10, settings.seconds / 2),
    }
    while (now := time.monotonic()) < plan.ends:
        for hit, when in due.items():
            if when <= now and (hit is kill or now < plan.ends - RECOVERY):
                due[hit] = time.monotonic() + hit()
        time.sleep(0.05)
    return done


class _Proxy:
    """The proxy's process, as its starter sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._commands = process.stdin
        self._said = process.stdout
        self.port = int(self._said.readline())

    def calm(self) -> None:
        self._commands.write("calm\n")
        self._commands.flush()

    def end(self) -> dict[str, int]:
        """End it once all that it held back has been sent; what it did, by kind."""
        self._commands.close()
        done: dict[str, int] = json.loads(self._said.readline())
        return done


@contextmanager
def _proxy(port: int, settings: Settings) -> Iterator[_Proxy]:
    arguments = [str(port), str(settings.seed), *(["late"] if settings.late_creates else [])]
    command = [sys.executable, "-m", f"{__package__}.proxy", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _Proxy(process)
        finally:
            process.terminate()


def _found(server: Server, tokens: set[str]) -> tuple[dict[str, dict[str, object]], list[str]]:
    """All that is in the table, straight from the server, token → data; and what is no session.

    The table has the tokens' hashes: one that belongs to no token is given as its own.
    """
    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=server.url, config=Config(proxies={}))
    codec = JSONCodec()
    policy = SessionManager(dynamostore.MemoryStore())._policy
    token_of = {policy.key(token): token for token in tokens}
    found: dict[str, dict[str, object]] = {}
    bad: list[str] = []
    for page in client.get_paginator("scan").paginate(TableName=TABLE.name, ConsistentRead=True):
        for item in page["Items"]:
            if TABLE.moved in item and TABLE.data not in item:
                # A renewal's marker.
                continue
            try:
                record = items.decode(TABLE, item)
                data, _ = codec.decode(record.data)
            except (StoreError, SessionError) as error:
                bad.append(f"an item that is no session: {error} ({sorted(item)})")
            else:
                found[token_of.get(record.token, record.token)] = dict(data)
    return found, bad
