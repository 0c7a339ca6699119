"""A session against a plain dict: requests, one after the other, that do anything at all."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule

from dynamostore import MemoryStore
from dynamostore.testing import FakeClock
from session import JSONValue, Session, SessionManager, SessionTypeError, Status

from .counting import CountingStore

LIFETIME = timedelta(hours=3)
IDLE = timedelta(hours=1)
TOUCH_AFTER = IDLE / 10
MARKER = timedelta(minutes=15)

keys = st.sampled_from(["a", "b", "n"])
json_values: st.SearchStrategy[JSONValue] = st.one_of(
    st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["", "x"]), st.lists(st.integers(0, 1), max_size=2)
)
Step: TypeAlias = tuple[str, str, JSONValue]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "append", "setdefault"]), keys, json_values),
        st.tuples(st.sampled_from(["get", "remove", "pop", "increment"]), keys, st.none()),
        st.tuples(st.sampled_from(["clear", "renew", "destroy", "save", "keys"]), st.just(""), st.none()),
    ),
    max_size=6,
)


class Boom(Exception):
    """What a request's handler may raise."""


@dataclass
class Model:
    """What a session should be: the data that is stored, and until when."""

    data: dict[str, JSONValue]
    deadline: datetime
    expiry: datetime


class Request:
    """One request on the model: what the session should show, and what should come of it."""

    def __init__(self, stored: Model | None, now: datetime) -> None:
        self.now = now
        self.stored = stored
        self.old: Model | None = stored
        self.data: dict[str, JSONValue] = copy.deepcopy(stored.data) if stored else {}
        self.deadline = stored.deadline if stored else now + LIFETIME
        self.looked = self.renewed = self.destroyed = self.ended = False

    def commit(self) -> None:
        if self.destroyed:
            self.stored, self.destroyed, self.ended = None, False, True
        if self.stored is None:
            if self.data:
                self._store()
        elif self.renewed or self.data != self.stored.data or _kinds(self.data) != _kinds(self.stored.data):
            self._store()
        elif self.looked and min(self.deadline, self.now + IDLE) - self.stored.expiry >= TOUCH_AFTER:
            self.stored = Model(self.stored.data, self.deadline, min(self.deadline, self.now + IDLE))
        self.renewed = False

    def commit_destroy(self) -> None:
        self.data.clear()
        self.commit()

    def _store(self) -> None:
        self.stored = Model(copy.deepcopy(self.data), self.deadline, min(self.deadline, self.now + IDLE))


def _kinds(value: JSONValue) -> object:
    """The types in a value: 1 and True are equal, but not the same."""
    if isinstance(value, dict):
        return {key: _kinds(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_kinds(part) for part in value]
    return type(value)


class Sessions(RuleBasedStateMachine):
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = CountingStore(MemoryStore(clock=self.clock))
        self.manager = SessionManager(self.store, lifetime=LIFETIME, idle_timeout=IDLE, clock=self.clock)
        self.models: dict[str, Model] = {}
        self.renewed: dict[str, tuple[str, datetime]] = {}
        """Old token to new, and until when a logout with the old one ends the renewed session."""

    @rule(
        by=st.sampled_from([timedelta(0), TOUCH_AFTER / 2, TOUCH_AFTER, IDLE / 2, IDLE, LIFETIME / 2]), ns=st.booleans()
    )
    def time_passes(self, by: timedelta, ns: bool) -> None:
        self.clock.advance(by)
        self.clock.now_ns += ns * 1000

    @rule(target=tokens, steps=steps, fails=st.booleans())
    def a_new_client(self, steps: list[Step], fails: bool) -> str | MultipleResults[str]:
        return self._request(None, steps, fails)

    @rule(target=tokens, token=tokens, steps=steps, fails=st.sampled_from([False, False, True]))
    def a_client_again(self, token: str, steps: list[Step], fails: bool) -> str | MultipleResults[str]:
        return self._request(token, steps, fails)

    @invariant()
    def what_is_stored_is_what_should_be(self) -> None:
        for token, model in self.models.items():
            record = self.store.find(self.manager._policy.key(token))
            if model.expiry < self.clock.now:
                assert record is None
            else:
                assert record is not None
                data, _ = self.manager._policy.codec.decode(record.data)
                assert (data, _kinds(data)) == (model.data, _kinds(model.data))
                assert record.expiry == model.expiry

    def _request(self, token: str | None, steps: list[Step], fails: bool) -> str | MultipleResults[str]:
        stored = self.models.get(token) if token else None
        if stored is not None and stored.expiry < self.clock.now:
            stored = None
        request = Request(stored, self.clock.now)
        issued: str | None = token
        with ExitStack() as block:
            s = block.enter_context(self.manager.session(token))
            for step in steps:
                self._do(s, request, *step)
                if step[0] == "save":
                    issued = self._settle(issued, s, request)
            if fails:
                assert not block.pop_all().__exit__(Boom, Boom(), None)
        if not fails:
            request.commit()
            self._settle(issued, s, request)
        elif request.destroyed:
            # A logout counts also if the request fails; what it put afterwards does not.
            request.commit_destroy()
            self._settle(issued, s, request)
        elif request.old is not None:
            assert s.token == issued
        return s.token if s.token is not None and s.token != token else multiple()

    def _settle(self, issued: str | None, s: Session, request: Request) -> str | None:
        """Take over what a commit should have stored, under the token that the session now says."""
        if request.ended:
            self._end(issued)
            request.ended = False
            issued = None
        if request.stored is None:
            if issued is not None:
                self.models.pop(issued, None)
            # A session that was never looked at still has the token that the client sent.
            if request.looked:
                assert s.token is None
            return None
        assert s.token is not None
        if issued is not None and issued != s.token and self.models.pop(issued, None) is not None:
            self.renewed[issued] = (s.token, self.clock.now + MARKER + timedelta(seconds=1))
        self.models[s.token] = request.old = request.stored
        return s.token

    def _end(self, token: str | None) -> None:
        """End the session of a token and of those that it was renewed to."""
        while token is not None:
            self.models.pop(token, None)
            there, until = self.renewed.pop(token, (None, self.clock.now))
            token = there if self.clock.now < until else None

    def _do(self, s: Session, request: Request, verb: str, key: str, value: JSONValue) -> None:
        data = request.data
        request.looked |= verb not in ("destroy", "save")
        match verb:
            case "put":
                s[key] = value
                data[key] = copy.deepcopy(value)
            case "setdefault":
                mine, there = s.setdefault(key, value), data.setdefault(key, copy.deepcopy(value))
                assert mine == there
                if isinstance(mine, list) and isinstance(there, list):
                    mine.append(8)
                    there.append(8)
            case "append":
                listed = data.get(key)
                if isinstance(listed, list):
                    listed.append(7)
                    own = s[key]
                    assert isinstance(own, list)
                    own.append(7)
            case "get":
                assert s.get(key, "none") == data.get(key, "none")
            case "remove":
                s.remove(key)
                data.pop(key, None)
            case "pop":
                assert s.pop(key, None) == data.pop(key, None)
            case "increment":
                number = data.get(key, 0)
                if isinstance(number, int) and not isinstance(number, bool):
                    data[key] = number + 1
                    s.increment(key)
                    assert s.get_int(key) == number + 1
                else:
                    with pytest.raises(SessionTypeError):
                        s.increment(key)
            case "clear":
                s.clear()
                data.clear()
            case "keys":
                assert list(s) == sorted(data)
                assert len(s) == len(data)
            case "renew":
                s.renew_token()
                request.renewed = request.stored is not None and not request.destroyed
                request.deadline = request.now + LIFETIME
            case "destroy":
                s.destroy()
                request.destroyed = request.looked = True
                request.renewed = False
                data.clear()
                request.deadline = request.now + LIFETIME
            case "save":
                s.save()
                request.commit()
        if request.looked:
            assert s.deadline == request.deadline


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=300, stateful_step_count=20)


def test_the_status_of_a_destroyed_session_says_so() -> None:
    manager = SessionManager(MemoryStore())
    with manager.session(None) as s:
        s.put_int("n", 1)
    assert s.status is Status.MODIFIED
    with manager.session(s.token) as s:
        s.destroy()
        assert s.status is Status.DESTROYED
    assert s.status is Status.DESTROYED
