"""Requests that meet on one session: in every order of their steps (`explore`), or in threads (`MeetingStore`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from threading import Barrier
from typing import TypeAlias

from greenlet import getcurrent, greenlet

from dynamostore import MemoryStore, Record, Store
from session import JSONValue, OnConflict, SessionConflict, SessionManager

from .counting import CountingStore

__all__ = [
    "ATTACKER",
    "CONFLICT",
    "PASSWORDS",
    "VICTIM",
    "App",
    "Handler",
    "MeetingStore",
    "Request",
    "World",
    "explore",
]

Handler: TypeAlias = Callable[..., int]
Request: TypeAlias = "Callable[[World], object]"

CONFLICT = 409
ATTACKER, VICTIM = 1, 2
PASSWORDS = {ATTACKER: "a", VICTIM: "v"}


def pause() -> None:
    """Let another request go on, in `explore`; elsewhere nothing."""
    explorer = getcurrent().parent
    if explorer is not None:
        explorer.switch()


class SteppingStore(CountingStore):
    """A store that lets another request go on before each call."""

    def _count(self, verb: str) -> None:
        super()._count(verb)
        pause()


class MeetingStore(CountingStore):
    """A store whose first reads wait for each other, so that as many requests see the same session."""

    def __init__(self, store: Store, requests: int) -> None:
        super().__init__(store)
        self._requests = requests
        self._reads = count()
        self._barrier = Barrier(requests, timeout=30)

    def find(self, token: str) -> Record | None:
        record = super().find(token)
        if next(self._reads) < self._requests:
            self._barrier.wait()
        return record


class App:
    """What the handlers use besides the session: the bank, the users, the mails, the ledger. Each call lets others go on."""

    def __init__(self) -> None:
        self.transfers = 0
        self.deleted: list[int] = []
        self.passwords = dict(PASSWORDS)
        self.mailed: dict[int, str] = {}
        self.credits: list[tuple[str, int, int]] = []

    def transfer(self) -> None:
        pause()
        self.transfers += 1

    def check_password(self, user_id: int, password: str) -> bool:
        pause()
        return PASSWORDS.get(user_id) == password

    def delete(self, user_id: int) -> None:
        pause()
        self.deleted.append(user_id)

    def set_password(self, user_id: int, password: str) -> None:
        pause()
        self.passwords[user_id] = password

    def send(self, user_id: int, code: str) -> None:
        pause()
        self.mailed[user_id] = code

    def credit(self, payment_id: str, user_id: int, amount: int) -> None:
        pause()
        self.credits.append((payment_id, user_id, amount))


class World(App):
    """A session, the requests that meet on it, and the rest of the app."""

    def __init__(self, store: Store, meeting: CountingStore, level: OnConflict, data: dict[str, JSONValue]) -> None:
        super().__init__()
        with SessionManager(store).session(None) as s:
            s.update({"there": True, **data})
        self.store = store
        self.manager = SessionManager(meeting, on_conflict=level)
        self.token = s.token
        self.tokens = {s.token}
        self.statuses: list[int] = []

    def answer(self, handler: Handler, *arguments: object) -> int:
        """Have a request answered, as an adapter does."""
        s = self.manager.load(self.token)
        try:
            status = handler(s, *arguments)
            self.manager.commit(s)
        except SessionConflict:
            status = CONFLICT
            self.manager.discard(s)
        if s.token is not None:
            self.tokens.add(s.token)
        self.statuses.append(status)
        return status

    def afterwards(self, handler: Handler, *arguments: object) -> None:
        """Have a request answered when all others are over, with each token that a client has."""
        manager = SessionManager(self.store)
        for token in self.tokens:
            with manager.session(token) as s:
                handler(s, *arguments)

    def data(self) -> dict[str, JSONValue]:
        """Return what is stored now."""
        with SessionManager(self.store).session(self.token) as s:
            return dict(s)


def explore(level: OnConflict, data: dict[str, JSONValue], *requests: Request) -> Iterator[World]:
    """Run the requests in every order of their steps, each time in a world of its own."""
    choices: list[tuple[int, int]] = []
    while True:
        memory = MemoryStore()
        world = World(memory, SteppingStore(memory), level, data)
        alive = [greenlet(request) for request in requests]
        for step in count():
            alive = [each for each in alive if not each.dead]
            if not alive:
                break
            if step == len(choices):
                choices.append((0, len(alive)))
            alive[choices[step][0]].switch(world)
        yield world
        while choices and choices[-1][0] == choices[-1][1] - 1:
            choices.pop()
        if not choices:
            return
        choices[-1] = (choices[-1][0] + 1, choices[-1][1])
