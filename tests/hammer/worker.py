"""One worker process: threads that change sessions through the proxy and keep a journal, until time is up."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import dynamostore
from session import Session, SessionData, SessionManager, Status, _state
from session._policy import Policy

from .journal import Event, Journal, What
from .tally import Current, count

__all__ = ["COUNTER", "LIMIT", "Plan", "work"]

COUNTER = "counter"
LIMIT = 5
"""How many tries a hot session has."""
COLD = 12
"""How many cold sessions a worker has at a time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What all workers are told. Times are those of ``time.monotonic``, which is one clock for all processes."""

    url: str
    journals: Path
    began: float
    ends: float
    hot: tuple[str, ...]
    """The tokens of the hot sessions, one after the other, each for its share of the time."""
    threads: int
    attempts: int
    seed: int

    def hot_now(self) -> int:
        share = (time.monotonic() - self.began) / (self.ends - self.began)
        return max(0, min(int(share * len(self.hot)), len(self.hot) - 1))


@dataclass(slots=True)
class Cold:
    """A session that one worker made, and the token it is under now."""

    name: str
    token: str


class GoneError(Exception):
    """The session that was to be changed is not there: nothing is stored in its place."""


class TakeoverError(Exception):
    """The victim's password may be reset, by somebody who has only entered a code of his own."""


def spend(s: SessionData, op: str) -> None:
    """Take the nonce, and say which it was."""
    s.put_string(f"s:{op}", s.pop_string("nonce") or f"none for {op}")


def _check_there(s: Session, name: str) -> None:
    """`GoneError`, which has the session discarded, unless it is the one of that *name*."""
    if s.get_string("id") != name:
        raise GoneError


class Thread:
    """One thread of a worker: a loop of operations."""

    def __init__(self, plan: Plan, name: str, worker: Worker) -> None:
        self._plan = plan
        self._name = name
        self._worker = worker
        self._dice = random.Random(f"{plan.seed} {name}")
        self._number = 0
        self._put: list[tuple[int, str]] = []  # acknowledged keys, with the hot session they are in

    def run(self) -> None:
        weights: dict[Callable[[], object], int] = {
            self._hot_put: 3,
            self._hot_increment: 8,
            self._hot_remove: 2,
            self._hot_append: 3,
            self._nonce: 2,
            self._spend: 3,
            self._spend_at_once: 3,
            self._count: 2,
            self._reset: 2,
            self._code: 3,
            self._create: 3,
            self._cold_increment: 12,
            self._renew: 5,
            self._destroy: 2,
        }
        while time.monotonic() < self._plan.ends:
            self._dice.choices(list(weights), list(weights.values()))[0]()
            time.sleep(self._dice.uniform(0, 0.02))

    # The hot session

    def _hot_put(self) -> None:
        hot, token = self._hot()
        op = self._next()
        if self._do(op, "put", f"h{hot}", token, lambda s: s.put_string(f"p:{op}", op)):
            self._put.append((hot, op))

    def _hot_increment(self) -> None:
        hot, token = self._hot()
        self._increment("increment", f"h{hot}", token)

    def _hot_remove(self) -> None:
        hot, token = self._hot()
        self._put = [(where, key) for where, key in self._put if where == hot]
        if self._put:
            _, key = self._put.pop(self._dice.randrange(len(self._put)))
            op = self._next()

            def remove(s: Session) -> None:
                s.remove(f"p:{key}")
                s.put_int(f"r:{op}", 1)

            self._do(op, "remove", f"h{hot}", token, remove, key)

    def _hot_append(self) -> None:
        hot, token = self._hot()
        op, key = self._next(), f"l:{self._name}"

        def append(s: Session) -> None:
            listed = s.setdefault(key, [])
            assert isinstance(listed, list)
            listed.append(op)
            s[key] = listed
            s.put_int(f"a:{op}", 1)

        self._do(op, "append", f"h{hot}", token, append, key)

    # Check, then act: on the hot session, too

    def _nonce(self) -> None:
        hot, token = self._hot()
        op = self._next()

        def offer(s: Session) -> None:
            s.put_string("nonce", op)
            s.put_int(f"n:{op}", 1)

        self._do(op, "nonce", f"h{hot}", token, offer)

    def _spend(self) -> None:
        hot, token = self._hot()
        op = self._next()
        self._do(op, "spend", f"h{hot}", token, lambda s: spend(s, op))

    def _spend_at_once(self) -> None:
        hot, token = self._hot()
        op = self._next()
        self._do(op, "spend", f"h{hot}", token, lambda s: s.atomic(lambda stored: spend(stored, op)))

    def _count(self) -> None:
        hot, token = self._hot()
        op = self._next()

        def count_up(stored: SessionData) -> None:
            allowed = stored.get_int("tries") < LIMIT
            stored.put_bool(f"t:{op}", allowed)
            if allowed:
                stored.increment("tries")

        self._do(op, "try", f"h{hot}", token, lambda s: s.atomic(count_up))

    def _reset(self) -> None:
        hot, token = self._hot()
        op, user = self._next(), self._dice.choice(["attacker", "victim"])

        def begin(s: Session) -> None:
            s.put_string("reset_user", user)
            s.put_bool("reset_ok", False)
            s.put_int(f"b:{op}", 1)

        self._do(op, "reset", f"h{hot}", token, begin)

    def _code(self) -> None:
        hot, token = self._hot()
        op = self._next()

        def enter(s: Session) -> None:
            if s.peek("reset_user") == "victim" and s.peek("reset_ok"):
                raise TakeoverError
            # The attacker knows his own code, and no other.
            if s.get_string("reset_user") == "attacker":
                s.put_bool("reset_ok", True)
            s.put_int(f"k:{op}", 1)

        self._do(op, "code", f"h{hot}", token, enter)

    def _hot(self) -> tuple[int, str]:
        now = self._plan.hot_now()
        return now, self._plan.hot[now]

    # Cold sessions

    def _create(self) -> None:
        op = self._next()
        made = self._do(op, "create", f"c{op}", None, lambda s: s.put_string("id", f"c{op}"))
        if made and made.token is not None:
            self._worker.add(Cold(f"c{op}", made.token))

    def _cold_increment(self) -> None:
        if cold := self._worker.pick(self._dice):
            self._increment("increment", cold.name, cold.token)

    def _renew(self) -> None:
        if cold := self._worker.pick(self._dice):
            renewed = self._increment("renew", cold.name, cold.token)
            if renewed and renewed.token is not None:
                cold.token = renewed.token
            else:
                # Whether it was renewed is not known, nor then is its token: so it is with a client, too.
                self._worker.drop(cold)

    def _destroy(self) -> None:
        if cold := self._worker.pick(self._dice):
            self._worker.drop(cold)
            self._do(self._next(), "destroy", cold.name, cold.token, Session.destroy)

    # The parts

    def _next(self) -> str:
        self._number += 1
        return f"{self._name}.{self._number}"

    def _increment(self, kind: str, session: str, token: str) -> Session | None:
        op = self._next()

        def increment(s: Session) -> None:
            if kind == "renew":
                s.renew_token()
            s.increment(COUNTER)
            s.put_int(f"i:{op}", 1)

        return self._do(op, kind, session, token, increment)

    def _do(
        self, op: str, kind: str, session: str, token: str | None, change: Callable[[Session], object], key: str = ""
    ) -> Session | None:
        """Make a change, with an entry in the journal before and after; the session if it was acknowledged."""
        current, journal = self._worker.current, self._worker.journal
        current.begin(op)
        journal.write(Event("start", op, kind, session, token or "", key))
        what: What = "ok"
        error, text, stored = "", "", None
        try:
            with self._worker.manager.session(token) as s:
                if kind not in ("create", "destroy"):
                    _check_there(s, session)
                change(s)
            if s.status is Status.DESTROYED and kind != "destroy":
                what = "gone"
            else:
                stored = s
        except GoneError:
            what = "gone"
        except Exception as caught:  # noqa: BLE001 (whatever it is, it is the checker's to judge)
            what, error, text = "fail", type(caught).__name__, str(caught)[:300]
        new = stored.token if stored else None
        journal.write(Event(what, op, token=new or "", error=error, text=text, counts=dict(current.counts)))
        return stored


class Worker:
    """What the threads of one process share."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.journal = journal
        self.current = Current()
        store = dynamostore.connect(
            endpoint_url=plan.url,
            region="us-east-1",
            threads=plan.threads,
            connect_timeout=0.5,
            read_timeout=0.8,
            attempts=plan.attempts,
        )
        self.manager = SessionManager(count(store, self.current), on_conflict="merge")
        self._lock = threading.Lock()
        self._cold: list[Cold] = []

    def add(self, cold: Cold) -> None:
        with self._lock:
            self._cold.append(cold)
            del self._cold[:-COLD]

    def drop(self, cold: Cold) -> None:
        with self._lock:
            self._cold = [other for other in self._cold if other is not cold]

    def pick(self, dice: random.Random) -> Cold | None:
        with self._lock:
            return dice.choice(self._cold) if self._cold else None

    def new_token(self, policy: Policy) -> str:
        """A token for the operation that this thread is in, entered in the journal before it can be stored."""
        token = _MAKE_TOKEN(policy)
        self.journal.write(Event("mint", self.current.op, token=token))
        return token


_MAKE_TOKEN = _state.new_token


def work(plan: Plan, slot: int, life: int) -> None:
    """Be the worker *slot*, for the *life*-th time, until time is up; what kills it comes from outside."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(plan, Journal(plan.journals / f"{slot}.journal"))
    with mock.patch.object(_state, "new_token", worker.new_token):
        threads = [
            threading.Thread(target=Thread(plan, f"{slot}.{life}.{number}", worker).run)
            for number in range(plan.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
