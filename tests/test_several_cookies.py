"""Several cookies of one name: the session is that of the first token that leads to one, and a logout ends all of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import CorruptRecordError, MemoryStore, Record, UnavailableError
from dynamostore.testing import FakeClock
from session import (
    AsyncSessionManager,
    CorruptSessionError,
    SessionConflict,
    SessionManager,
    SessionStateError,
    Status,
)
from session.session import BaseSession

from .awaited import AwaitedStore
from .counting import CountingStore

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Do = Callable[[BaseSession], object]


@dataclass
class World:
    """A store that counts, its clock, and one request after the other, of a sync or an async application."""

    driver: str = "sync"
    hash_tokens: bool = True
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.memory = MemoryStore(clock=self.clock)
        self.counted = CountingStore(self.memory)
        self.manager = SessionManager(self.counted, clock=self.clock, hash_tokens=self.hash_tokens)
        self._async = AsyncSessionManager(
            AwaitedStore(self.counted, lambda _: asyncio.sleep(0)), clock=self.clock, hash_tokens=self.hash_tokens
        )

    def begin(self, user: str) -> str:
        with self.manager.session(None) as s:
            s.put_string("user", user)
        assert s.token is not None
        self.counted.taken()
        return s.token

    def request(self, tokens: list[str], do: Do) -> BaseSession:
        """Have a client that sends these cookies do something with its session."""
        header = jar(*tokens)
        if self.driver == "sync":
            with self.manager.session(self.manager.token(header)) as s:
                do(s)
            return s
        return asyncio.run(self._request(header, do))

    async def _request(self, header: str, do: Do) -> BaseSession:
        async with self._async.session(self._async.token(header)) as s:
            do(s)
        return s

    def update(self, tokens: list[str], change: Do) -> BaseSession:
        header = jar(*tokens)
        if self.driver == "sync":
            return self.manager.update(self.manager.token(header), change)
        return asyncio.run(self._async.update(self._async.token(header), change))

    def meanwhile(self, token: str, do: Do) -> None:
        """Have another client do something, while a request is under way."""
        with self.manager.session(token) as s:
            do(s)

    def user(self, *tokens: str) -> str:
        """Who is logged in with these cookies."""
        found: list[str] = []
        self.request([*tokens], lambda s: found.append(s.get_string("user")))
        return found[0]


def jar(*tokens: str) -> str:
    return "; ".join(["theme=dark", *(f"session={token}" for token in tokens)])


def log_in(s: BaseSession) -> None:
    s.renew_token()
    s.put_string("user", "ada")


def unknown() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(params=["sync", "async"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


# Which one is the session

KINDS = ["live", "unknown", "destroyed", "renewed", "expired", "malformed", "repeated"]


@given(st.lists(st.sampled_from(KINDS), max_size=7), st.sampled_from(["sync", "async"]), st.booleans())
def test_the_first_token_that_leads_to_a_session_counts(kinds: list[str], driver: str, hash_tokens: bool) -> None:
    world = World(driver, hash_tokens)
    expired = world.begin("too late")
    world.clock.advance(2 * DAY)
    tokens: list[str] = []
    for n, kind in enumerate(kinds):
        match kind:
            case "live" | "destroyed" | "renewed":
                token = world.begin(str(n))
                if kind == "destroyed":
                    world.request([token], lambda s: s.destroy())
                if kind == "renewed":
                    world.request([token], lambda s: s.renew_token())
            case "expired":
                token = expired
            case "repeated":
                token = tokens[0] if tokens else ""
            case _:
                token = unknown() if kind == "unknown" else "x" * 44
        tokens.append(token)
    world.counted.taken()
    tried = [*dict.fromkeys(token for token in tokens if len(token) == 43)][:4]
    live = [token for token in tried if kinds[tokens.index(token)] == "live"]
    assert world.user(*tokens) == (str(tokens.index(live[0])) if live else "")
    assert world.counted.taken() == ["find"] * (tried.index(live[0]) + 1 if live else len(tried))


def test_the_order_does_not_matter_if_one_has_ended(world: World) -> None:
    old, new = world.begin("ada"), world.begin("ada")
    world.request([old], lambda s: s.destroy())
    assert world.user(old, new) == world.user(new, old) == "ada"


def test_a_second_live_session_never_takes_the_place_of_the_first(world: World) -> None:
    ours, planted = world.begin("ada"), world.begin("mallory")
    world.request([ours, planted], lambda s: s.update({"n": 1}))
    assert world.user(ours) == world.user(ours, planted) == "ada"
    with world.manager.session(planted) as s:
        assert dict(s) == {"user": "mallory"}


def test_an_outage_or_a_corrupt_record_is_not_passed_over(world: World) -> None:
    first, second = world.begin("ada"), world.begin("mallory")
    world.counted.failure = UnavailableError("no answer")
    with pytest.raises(UnavailableError):
        world.user(first, second)
    assert world.counted.taken()[0] == "find"
    world.counted.failure = None
    world.memory.save(world.manager._policy.key(first), b"not a session", world.clock.now + DAY)
    with pytest.raises((CorruptSessionError, CorruptRecordError)):
        world.user(first, second)


# What it costs


def test_a_request_that_does_not_look_reads_none_of_them() -> None:
    world = World()
    tokens = [unknown(), world.begin("ada")]
    s = world.request(tokens, lambda s: s.token)
    assert s.token == tokens[0]
    assert world.counted.taken() == []


def test_one_cookie_costs_one_read_and_its_token_is_a_plain_str(world: World) -> None:
    token = world.begin("ada")
    assert type(world.manager.token(jar(token, token, "malformed"))) is str
    assert world.user(token, token, "malformed") == "ada"
    assert world.counted.taken() == ["find"]


def test_each_is_read_once_however_often_the_session_is_looked_at(world: World) -> None:
    tokens = [unknown(), world.begin("ada")]

    def look(s: BaseSession) -> None:
        for _ in range(3):
            assert s.get_string("user") == "ada"
            assert s.token == tokens[1]

    world.request(tokens, look)
    assert world.counted.taken() == ["find", "find"]


# What the client is told


def test_who_was_found_by_the_second_keeps_its_cookie_and_gets_a_new_one_at_login(world: World) -> None:
    stale, token = unknown(), world.begin("guest")
    s = world.request([stale, token], lambda s: s.get_string("user"))
    assert world.manager.set_cookie(s) is None
    s = world.request([stale, token], log_in)
    assert s.token not in (None, stale, token)
    assert f"session={s.token}; " in (world.manager.set_cookie(s) or "")
    assert world.user(stale, token) == ""
    assert world.user(stale, s.token or "") == "ada"


def test_none_of_them_is_adopted(world: World) -> None:
    tokens = [unknown(), unknown(), unknown()]
    s = world.request(tokens, lambda s: s.put_string("user", "ada"))
    assert s.token not in (None, *tokens)
    assert world.user(*tokens) == ""
    assert world.user(*tokens, s.token or "") == "ada"


def test_a_token_is_a_str_that_remembers_the_others_and_says_no_more_of_them() -> None:
    world = World()
    tokens = [unknown(), world.begin("ada")]
    token = world.manager.token(jar(*tokens))
    assert token == tokens[0]
    assert repr(token) == repr(tokens[0])
    for same in (copy.copy(token), copy.deepcopy(token), pickle.loads(pickle.dumps(token))):
        with world.manager.session(same) as s:
            assert s.get_string("user") == "ada"
    # Made a plain str, it is the first alone.
    with world.manager.session(str(token)) as s:
        assert s.get_string("user") == ""


# Logout


@pytest.mark.parametrize("looks", [True, False])
def test_a_logout_ends_every_session_that_the_client_presents(world: World, looks: bool) -> None:
    tokens = [unknown(), world.begin("ada"), world.begin("mallory"), world.begin("bob")]

    def log_out(s: BaseSession) -> None:
        if looks:
            assert s.get_string("user") == "ada"
        s.destroy()

    s = world.request(tokens, log_out)
    assert world.manager.set_cookie(s) == world.manager.cookie.clear()
    assert [world.user(token) for token in tokens] == [""] * 4
    assert world.user(*tokens) == ""


def test_a_logout_ends_the_others_though_it_begins_a_session(world: World) -> None:
    first, second = world.begin("ada"), world.begin("mallory")

    def log_out(s: BaseSession) -> None:
        assert s.get_string("user") == "ada"
        s.destroy()
        s.put_string("said", "bye")

    s = world.request([first, second], log_out)
    assert world.user(first, second) == ""
    with world.manager.session(s.token) as s:
        assert dict(s) == {"said": "bye"}


def test_a_logout_ends_a_session_that_another_cookie_was_renewed_to(world: World) -> None:
    old, second = world.begin("ada"), world.begin("bob")
    renewed = world.request([old], lambda s: s.renew_token()).token or ""
    world.request([old, second], lambda s: s.destroy())
    assert world.user(renewed) == world.user(second) == ""


def test_a_logout_that_could_not_end_all_is_none_yet() -> None:
    world = World()
    first, second = world.begin("ada"), world.begin("mallory")
    with pytest.raises(UnavailableError), world.manager.session(world.manager.token(jar(first, second))) as s:
        s.get_string("user")
        s.destroy()
        world.counted.failure = UnavailableError("no answer")
    world.counted.failure = None
    assert world.user(first, second) == "ada"
    world.request([first, second], lambda s: s.destroy())
    assert world.user(first, second) == ""


def test_a_logout_with_one_cookie_costs_one_call(world: World) -> None:
    token = world.begin("ada")
    s = world.request([token], lambda s: s.destroy())
    assert world.counted.taken() in (["delete"], ["find", "delete"])  # an async one is read first
    assert s.status is Status.DESTROYED


def test_what_is_destroyed_twice_is_deleted_once() -> None:
    world = World()
    first, second = world.begin("ada"), world.begin("mallory")
    with world.manager.session(world.manager.token(jar(first, second))) as s:
        s.destroy()
        s.save()
        world.counted.taken()
        s.put_int("n", 1)
        s.save()
        s.destroy()
    assert world.counted.taken() == ["create", "delete"]


# Where it ends while a request is under way


def test_a_request_whose_session_has_ended_does_not_go_on_with_another(world: World) -> None:
    ours, planted = world.begin("ada"), world.begin("mallory")

    def change(s: BaseSession) -> None:
        s.get_string("user")
        world.memory.delete(world.manager._policy.key(ours))
        s.put_string("card", "4111")

    s = world.request([ours, planted], change)
    assert s.status is Status.DESTROYED
    with world.manager.session(planted) as s:
        assert "card" not in s


def test_an_update_is_not_made_in_another_session_when_it_is_run_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale, ours, planted = unknown(), world.begin("ada"), world.begin("mallory")
    runs: list[str] = []

    def find(token: str) -> Record | None:
        if runs:
            # After the first run was refused, and before the second one reads.
            world.memory.delete(world.manager._policy.key(ours))
        return world.memory.find(token)

    def change(s: BaseSession) -> None:
        user = s.get_string("user")
        if not runs:
            world.meanwhile(ours, lambda other: other.put_string("user", "ada's"))
            monkeypatch.setattr(world.counted, "find", find)
        runs.append(user)
        s.put_string("card", f"of {user}")

    world.update([stale, ours, planted], change)
    assert runs == ["ada", ""]
    with world.manager.session(planted) as s:
        assert dict(s) == {"user": "mallory"}


def test_an_update_that_was_refused_before_it_read_tries_all_again(world: World) -> None:
    tokens = [unknown(), world.begin("ada")]
    refused: list[bool] = []

    def change(s: BaseSession) -> None:
        if not refused:
            refused.append(True)
            raise SessionConflict("of another session")
        assert s.get_string("user") == "ada"

    world.update(tokens, change)


def test_atomic_is_of_the_session_that_was_found() -> None:
    world = World()
    tokens = [unknown(), world.begin("ada")]
    with world.manager.session(world.manager.token(jar(*tokens))) as s:
        assert s.atomic(lambda stored: stored.pop_string("user")) == "ada"
        s.destroy()
        with pytest.raises(SessionStateError):
            s.atomic(lambda stored: stored.get_string("user"))
    assert world.user(tokens[1]) == ""
