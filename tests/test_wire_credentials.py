"""Credentials that are fetched and renewed: when a fetch begins, who waits for it and how long, and what a failure means.

First by hand: the clock is passed in, and a fetch goes on when the test says so. Then with what hangs in the field: instance metadata, STS,
a credential process, and a fork in the middle of it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pytest
from botocore.loaders import create_loader
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dynamostore import AccessDeniedError, AsyncDynamoStore, DynamoStore, StoreError, UnavailableError, connect
from dynamostore.wire import (
    AsyncWireClient,
    Credentials,
    CredentialsError,
    CredentialsUnavailableError,
    WireClient,
    _fetching,
)
from dynamostore.wire._core import Endpoint
from dynamostore.wire._fetching import LOOK_EVERY, MOST, RENEW_EVERY, SLOW, Found, Renewed
from dynamostore.wire._retries import Quota

from .fakes import FakeDynamoDB, assert_discreet, success

ENDPOINT = Endpoint.parse("http://localhost:8000")
DUE, SPARE = 900.0, 5.0
LOADER = create_loader(None)


# By hand


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Work:
    """A fetch that has begun, and ends when it is told to."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.anew: bool | None = None
        self.outcome: Found | BaseException = AssertionError("not said yet")

    def end(self, outcome: Found | BaseException) -> None:
        self.outcome = outcome
        self.work()


class Hand:
    """`Renewed` with everything that it asks for in the test's hand. *under_way*: the fetches that have begun and not ended."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begun: list[Work] = []
        self.under_way: list[Work] = []
        self.refuses_threads: BaseException | None = None
        self.looked = 0
        self.number = 0
        self._ending: Work | None = None
        self.renewed = Renewed(self._load, start=self._start, monotonic=self.clock)

    def _start(self, work: Callable[[], None]) -> None:
        if self.refuses_threads is not None:
            raise self.refuses_threads
        one = Work(work)
        self.begun.append(one)
        self.under_way.append(one)

    def _load(self, *, anew: bool) -> Found:
        assert self._ending is not None
        self._ending.anew = anew
        outcome = self._ending.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def end(self, work: Work, outcome: Found | BaseException) -> None:
        self._ending = work
        self.under_way.remove(work)
        work.end(outcome)

    def credentials(self, lifetime: float) -> Found:
        """New ones, good for so many seconds from now on."""
        self.number += 1
        until = self.clock.now + lifetime

        def is_due() -> bool:
            self.looked += 1
            return self.clock.now > until - DUE

        access = (Credentials(f"KEY{self.number}", "secret"), ENDPOINT)
        return Found(access, is_due, lambda: self.clock.now <= until - SPARE)

    def given(self, lifetime: float) -> Found:
        """Fetch credentials, and end the fetch with new ones."""
        with pytest.raises(CredentialsUnavailableError):
            self.renewed.fetch(0)
        (work,) = self.under_way
        found = self.credentials(lifetime)
        self.end(work, found)
        assert self.renewed.current() is found.access
        return found

    def fetch_fails(self) -> BaseException:
        """What a caller that cannot wait is told."""
        with pytest.raises((CredentialsError, CredentialsUnavailableError)) as caught:
            self.renewed.fetch(0)
        return caught.value


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_nothing_is_fetched_before_it_is_needed_and_then_once_for_all(hand: Hand) -> None:
    assert hand.renewed.current() is None
    assert hand.begun == []
    for _ in range(5):
        assert str(hand.fetch_fails()) == "no credentials were found within 0 s"
    (work,) = hand.begun
    found = hand.credentials(3600)
    hand.end(work, found)
    assert work.anew is False
    assert hand.renewed.current() is found.access
    assert hand.renewed.fetch(0) is found.access
    assert len(hand.begun) == 1


def test_of_callers_that_come_at_once_one_begins(hand: Hand) -> None:
    # Each has looked before another began.
    latest = hand.renewed._here().latest
    first = hand.renewed._after(latest)
    assert hand.renewed._after(latest) is first
    assert len(hand.begun) == 1
    hand.end(hand.begun[0], hand.credentials(3600))
    # This one was asleep for all the fetch.
    assert hand.renewed._after(latest) is first
    assert len(hand.begun) == 1


def test_current_credentials_are_looked_at_once_a_second_and_not_for_each_call(hand: Hand) -> None:
    found = hand.given(3600)
    hand.looked = 0
    for _ in range(10):
        hand.clock.now += LOOK_EVERY
        for _ in range(100):
            assert hand.renewed.current() is found.access
    assert hand.looked == 10


def test_a_failure_is_every_callers_for_a_second_and_then_one_tries_again(hand: Hand) -> None:
    hand.fetch_fails()
    hand.end(hand.begun[0], CredentialsUnavailableError("STS is silent"))
    for later in (0, LOOK_EVERY / 2, LOOK_EVERY / 2 - 0.01):
        hand.clock.now += later
        assert str(hand.fetch_fails()) == "STS is silent"
    assert len(hand.begun) == 1
    hand.clock.now += 0.02
    for _ in range(3):
        assert "within" in str(hand.fetch_fails())
    assert len(hand.begun) == 2


def test_each_caller_raises_a_failure_of_its_own_without_frames_of_the_fetch(hand: Hand) -> None:
    hand.fetch_fails()
    failure = CredentialsError("nobody has any")
    failure.__cause__ = ValueError("why")
    hand.end(hand.begun[0], failure)
    first, second = hand.fetch_fails(), hand.fetch_fails()
    assert first is not second
    assert first is not failure
    assert first.__cause__ is failure.__cause__
    assert first.__context__ is None


def test_credentials_that_are_due_are_used_and_renewed_behind_the_callers_back(hand: Hand) -> None:
    old = hand.given(DUE + 10)
    hand.clock.now += RENEW_EVERY
    assert [hand.renewed.current() for _ in range(3)] == [old.access] * 3
    _, work = hand.begun
    hand.clock.now += 59
    assert hand.renewed.current() is old.access
    new = hand.credentials(3600)
    hand.end(work, new)
    assert hand.renewed.current() is new.access
    assert len(hand.begun) == 2


@pytest.mark.parametrize("outcome", ["failure", "the same"])
def test_a_renewal_that_fails_is_tried_again_twice_a_minute(hand: Hand, outcome: str) -> None:
    old = hand.given(DUE - 1)
    for count in range(2, 6):
        hand.clock.now += RENEW_EVERY
        hand.renewed.current()
        assert len(hand.begun) == count
        hand.end(hand.begun[-1], old if outcome == "the same" else CredentialsUnavailableError("no"))
        for _ in range(5):
            hand.clock.now += RENEW_EVERY / 6
            assert hand.renewed.current() is old.access
        assert len(hand.begun) == count
        hand.clock.now -= RENEW_EVERY * 5 / 6


def test_callers_wait_only_if_the_credentials_are_not_good_any_more(hand: Hand) -> None:
    old = hand.given(80)
    hand.clock.now += RENEW_EVERY
    assert hand.renewed.current() is old.access
    hand.clock.now = 1000.0 + 80 - SPARE + 0.1
    assert hand.renewed.current() is None
    # For the renewal that is under way.
    assert "within" in str(hand.fetch_fails())
    assert len(hand.begun) == 2
    new = hand.credentials(3600)
    hand.end(hand.begun[1], new)
    assert hand.renewed.fetch(0) is new.access


def test_credentials_that_are_not_good_when_they_come_serve_those_who_waited(hand: Hand) -> None:
    hand.fetch_fails()
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(hand.renewed.fetch(10)))
    waiting.start()
    while not hand.renewed._here().latest._waiting:
        assert waiting.is_alive()
    short = hand.credentials(1)
    hand.end(hand.begun[0], short)
    waiting.join()
    assert got == [short.access]
    assert hand.renewed.current() is None


def test_credentials_that_are_renewed_with_worse_ones_are_looked_at_at_once(hand: Hand) -> None:
    old = hand.given(DUE)
    hand.clock.now += RENEW_EVERY
    assert hand.renewed.current() is old.access
    hand.end(hand.begun[1], hand.credentials(1))
    assert hand.renewed.current() is None


def test_beside_a_fetch_that_hangs_another_begins_after_a_minute_and_never_more_than_three(hand: Hand) -> None:
    for expected in (1, 2, 3, 3, 3):
        for _ in range(2):
            hand.fetch_fails()
            assert len(hand.begun) == expected
        hand.clock.now += SLOW
    hand.end(hand.under_way[0], CredentialsUnavailableError("at last"))
    # There is room for one more.
    hand.fetch_fails()
    assert len(hand.under_way) == MOST
    new = hand.credentials(3600)
    hand.end(hand.begun[-1], new)
    # What hung is not waited for: it gets a session of its own.
    assert hand.begun[-1].anew
    # And what comes of it then is too late to be better.
    hand.end(hand.under_way[0], hand.credentials(3600))
    assert hand.renewed.current() is new.access


def test_what_hung_and_came_is_as_good(hand: Hand) -> None:
    hand.fetch_fails()
    hand.clock.now += SLOW
    hand.fetch_fails()
    found = hand.credentials(3600)
    hand.end(hand.begun[0], found)
    assert hand.renewed.fetch(0) is found.access


def test_a_renewal_that_hangs_does_not_take_good_credentials_away(hand: Hand) -> None:
    old = hand.given(DUE)
    for _ in range(13 * 60):
        hand.clock.now += 1
        assert hand.renewed.current() is old.access
    assert len(hand.under_way) == MOST


def test_refused_credentials_are_fetched_anew_once(hand: Hand) -> None:
    refused = hand.given(3600)
    hand.clock.now += 100
    # By two calls that were under way at once.
    assert hand.renewed.refuse(refused.access)
    assert hand.renewed.refuse(refused.access)
    assert hand.renewed.current() is None
    hand.fetch_fails()
    found = hand.credentials(3600)
    hand.end(hand.begun[1], found)
    assert hand.begun[1].anew
    # By a third, which was slow.
    assert hand.renewed.refuse(refused.access)
    assert hand.renewed.current() is found.access
    # What has just come and is refused would come again.
    assert not hand.renewed.refuse(found.access)
    assert hand.renewed.current() is found.access
    hand.clock.now += LOOK_EVERY
    assert hand.renewed.refuse(found.access)
    # The next renewal is as ever.
    hand.fetch_fails()
    hand.end(hand.begun[2], hand.credentials(DUE))
    hand.clock.now += RENEW_EVERY
    hand.renewed.current()
    hand.end(hand.begun[3], hand.credentials(3600))
    assert not hand.begun[3].anew


@pytest.mark.parametrize("said", ["can't start new thread", "can't create new thread at interpreter shutdown"])
def test_that_no_thread_can_be_started_is_a_failure_to_fetch(hand: Hand, said: str) -> None:
    hand.refuses_threads = RuntimeError(said)
    failure = hand.fetch_fails()
    assert isinstance(failure, CredentialsUnavailableError)
    assert said in str(failure)
    assert not hand.renewed._here().running
    hand.refuses_threads = None
    hand.clock.now += LOOK_EVERY
    old = hand.given(DUE - 1)
    # And nothing at all while there are good ones.
    hand.refuses_threads = RuntimeError(said)
    hand.clock.now += RENEW_EVERY
    assert hand.renewed.current() is old.access


def test_an_interrupt_while_a_thread_is_started_leaves_nobody_waiting(hand: Hand) -> None:
    hand.refuses_threads = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        hand.renewed.fetch(0)
    hand.refuses_threads = None
    hand.clock.now += LOOK_EVERY
    hand.given(3600)


@pytest.mark.parametrize("outcome", [ZeroDivisionError("hush-hush"), SystemExit(3), KeyError("hush-hush")])
def test_whatever_a_provider_raises_ends_the_wait(hand: Hand, outcome: BaseException) -> None:
    hand.fetch_fails()
    hand.end(hand.begun[0], outcome)
    failure = hand.fetch_fails()
    assert isinstance(failure, CredentialsError)
    assert type(outcome).__name__ in str(failure)
    assert "hush-hush" not in str(failure)


class Machine(RuleBasedStateMachine):
    """Any order of calls, refusals, times and ends: what must hold all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand()
        self.failed_at = float("-inf")
        self.refused: list[object] = []

    @rule(seconds=st.sampled_from([0.1, 0.9, 1.0, 5.0, 29.0, 31.0, 61.0, 800.0]))
    def time_passes(self, seconds: float) -> None:
        self.hand.clock.now += seconds

    @rule()
    def call(self) -> None:
        before = len(self.hand.begun)
        access = self.hand.renewed.current()
        if access is None:
            self.hand.fetch_fails()
            assert self.hand.under_way or self.hand.clock.now - self.failed_at < LOOK_EVERY
        else:
            assert all(access is not refused for refused in self.refused)
        assert len(self.hand.begun) - before <= 1

    @rule(which=st.integers(0, MOST - 1), lifetime=st.sampled_from([1.0, 60.0, 1000.0, 3600.0]))
    def succeeds(self, which: int, lifetime: float) -> None:
        if which < len(self.hand.under_way):
            found = self.hand.credentials(lifetime)
            before = self.hand.renewed._found
            self.hand.end(self.hand.under_way[which], found)
            assert self.hand.renewed._found in (found, before)
            # There is always something afterwards, be it from a later fetch.
            assert self.hand.renewed._found is not None or self.refused

    @rule(which=st.integers(0, MOST - 1))
    def fails(self, which: int) -> None:
        if which < len(self.hand.under_way):
            self.hand.end(self.hand.under_way[which], CredentialsUnavailableError("no"))
            self.failed_at = self.hand.clock.now

    @rule()
    def is_refused(self) -> None:
        access = self.hand.renewed.current()
        if access is not None and self.hand.renewed.refuse(access):
            self.refused.append(access)

    @rule()
    def forks(self) -> None:
        # As a child sees it: the threads are the parent's.
        _fetching._count()
        self.hand.under_way.clear()
        self.failed_at = float("-inf")

    @invariant()
    def there_are_never_too_many_threads(self) -> None:
        assert len(self.hand.under_way) <= MOST

    @rule()
    def what_is_good_is_used_and_nothing_else(self) -> None:
        found = self.hand.renewed._found
        self.hand.clock.now += LOOK_EVERY
        assert self.hand.renewed.current() == (found.access if found is not None and found.is_good() else None)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_what_comes_after_a_fetch_that_hangs_is_not_kept(hand: Hand) -> None:
    hand.fetch_fails()
    hand.clock.now += SLOW
    kept = weakref.WeakSet[_fetching.Fetch]()
    for _ in range(10):
        hand.fetch_fails()
        kept.update(hand.renewed._here().running)
        hand.end(hand.under_way[-1], CredentialsError("none"))
        hand.clock.now += LOOK_EVERY
    hand.begun.clear()
    gc.collect()
    # The one that hangs, and the latest.
    assert len(kept) == 2


# Threads and tasks that wait


@pytest.fixture
def threaded() -> Iterator[tuple[Renewed, threading.Event, list[bool]]]:
    """Credentials whose fetch lasts until the event is set, and what was asked for."""
    go_on, asked = threading.Event(), list[bool]()

    def load(*, anew: bool) -> Found:
        asked.append(anew)
        assert go_on.wait(10)
        return Found((Credentials("KEY", "secret"), ENDPOINT), is_due=bool, is_good=lambda: True)

    yield Renewed(load), go_on, asked
    go_on.set()


def test_threads_and_tasks_of_several_loops_wait_for_one_fetch_each_for_as_long_as_it_has(
    threaded: tuple[Renewed, threading.Event, list[bool]],
) -> None:
    renewed, go_on, asked = threaded

    def short() -> str:
        began = time.monotonic()
        with pytest.raises(CredentialsUnavailableError):
            renewed.fetch(0.05)
        return "short" if time.monotonic() - began < 5 else "long"

    async def ashort() -> str:
        with pytest.raises(CredentialsUnavailableError):
            await renewed.afetch(0.05)
        return "short"

    async def cancelled() -> str:
        task = asyncio.ensure_future(renewed.afetch(10))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "cancelled"

    async def main() -> list[object]:
        long = [asyncio.ensure_future(renewed.afetch(10)) for _ in range(5)]
        given_up = await asyncio.gather(ashort(), cancelled(), ashort())
        gave_up.release()
        return [*given_up, *await asyncio.gather(*long)]

    gave_up = threading.Semaphore(0)

    with ThreadPoolExecutor(8) as pool:
        patient = [pool.submit(renewed.fetch, 10) for _ in range(3)]
        hurried = [pool.submit(short) for _ in range(2)]
        loops = [pool.submit(asyncio.run, main()) for _ in range(2)]
        assert [one.result() for one in hurried] == ["short"] * 2
        for _ in loops:
            assert gave_up.acquire(timeout=10)
        go_on.set()
        access = renewed.current() or renewed.fetch(10)
        assert [one.result() for one in patient] == [access] * 3
        assert [one.result() for one in loops] == [["short", "cancelled", "short", *[access] * 5]] * 2
    assert asked == [False]


def test_a_fetch_keeps_nobody_who_has_given_up(threaded: tuple[Renewed, threading.Event, list[bool]]) -> None:
    renewed, go_on, _ = threaded

    async def main() -> None:
        async def one() -> None:
            with pytest.raises(CredentialsUnavailableError):
                await renewed.afetch(0.02)

        await asyncio.gather(*(one() for _ in range(20)))
        # And one that is still waiting when its loop is closed.
        waiting.append(asyncio.ensure_future(renewed.afetch(10)))
        await asyncio.sleep(0)

    waiting: list[asyncio.Future[object]] = []
    asyncio.run(main())
    assert waiting[0].cancelled()
    with pytest.raises(CredentialsUnavailableError):
        renewed.fetch(0.01)
    fetch = renewed._here().latest
    assert not fetch._waiting
    # A loop that was closed meanwhile is nobody's.
    loop = asyncio.new_event_loop()
    turn = loop.create_future()
    fetch._waiting[turn] = lambda: _fetching._wake(turn, loop)
    loop.close()
    go_on.set()
    assert renewed.fetch(10)


# In the field


@pytest.fixture
def fake() -> Iterator[FakeDynamoDB]:
    with FakeDynamoDB() as fake:
        fake.answer(success())
        yield fake


@pytest.fixture
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    # Botocore would read its descriptions of all services anew for each client.
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    return monkeypatch


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


def finds(url: str, asynchronous: bool, *, times: int = 1, call_timeout: float = 10) -> list[BaseException | None]:
    """What so many finds on one store, at once, end with: an exception, or nothing at all."""
    if asynchronous:

        async def one(store: AsyncDynamoStore) -> BaseException | None:
            try:
                await store.find("x")
            except StoreError as error:
                return error
            return None

        async def main() -> list[BaseException | None]:
            async with AsyncDynamoStore(AsyncWireClient(None, url, call_timeout=call_timeout)) as store:
                return list(await asyncio.gather(*(one(store) for _ in range(times))))

        return asyncio.run(main())
    with DynamoStore(WireClient(None, url, call_timeout=call_timeout)) as store, ThreadPoolExecutor(times) as pool:
        return [one.exception() for one in [pool.submit(store.find, "x") for _ in range(times)]]


def test_a_silent_metadata_service_is_an_outage_and_not_waited_for_by_one_thread_after_another(
    nothing_configured: pytest.MonkeyPatch, silent: str, fake: FakeDynamoDB
) -> None:
    nothing_configured.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent)
    nothing_configured.setattr("dynamostore.wire._chain._PROBE", 0.05)
    began = time.monotonic()
    ended = finds(fake.url, asynchronous=False, times=20)
    # Botocore tries for a second, twice.
    assert time.monotonic() - began < 6
    for error in ended:
        assert type(error) is UnavailableError
        assert str(error) == (
            "GetItem: no AWS credentials were found in the environment or in files, and the instance metadata service "
            f"({silent}) does not answer; if this machine has no such service, set AWS_EC2_METADATA_DISABLED=true"
        )
        assert type(error.__cause__) is CredentialsUnavailableError
    assert fake.requests == []


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (503, UnavailableError, "answered with status 503"),
        (404, AccessDeniedError, "no AWS credentials were found in"),
    ],
)
def test_a_metadata_service_that_fails_is_an_outage_and_one_that_has_none_is_not(
    nothing_configured: pytest.MonkeyPatch,
    fake: FakeDynamoDB,
    status: int,
    error: type[Exception],
    says: str,
) -> None:
    with Metadata(status) as metadata:
        nothing_configured.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        (ended,) = finds(fake.url, asynchronous=False)
    assert type(ended) is error
    assert says in str(ended)


def test_without_a_metadata_service_there_are_no_credentials(
    nothing_configured: pytest.MonkeyPatch, silent: str, fake: FakeDynamoDB
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for name, value in [("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere), ("AWS_EC2_METADATA_DISABLED", "true")]:
        nothing_configured.setenv(name, value)
        (ended,) = finds(fake.url, asynchronous=False)
        assert type(ended) is AccessDeniedError
        assert str(ended).startswith(
            "GetItem: no AWS credentials were found in the environment, in files, or from a role"
        )


def test_a_metadata_service_that_has_given_credentials_before_and_is_gone_is_an_outage(
    nothing_configured: pytest.MonkeyPatch, fake: FakeDynamoDB
) -> None:
    role = '{"AccessKeyId": "KEY", "SecretAccessKey": "s", "Token": "t", "Expiration": "2100-01-01T00:00:00Z"}'
    with Metadata(200, "role", role=role) as metadata:
        nothing_configured.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        with WireClient(None, fake.url) as client:
            access = client._setup.access
            assert isinstance(access, Renewed)
            assert access.fetch(10)[0].access_key == "KEY"
    with pytest.raises(CredentialsUnavailableError, match="Could not connect"):
        access._load(anew=True)


@pytest.fixture
def web_identity(nothing_configured: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    token = tmp_path / "token"
    token.write_text("hush-hush")
    nothing_configured.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    nothing_configured.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
    nothing_configured.setenv("AWS_MAX_ATTEMPTS", "1")
    return nothing_configured


def test_a_silent_sts_keeps_a_call_no_longer_than_it_may_take_and_is_an_outage(
    web_identity: pytest.MonkeyPatch, silent: str, fake: FakeDynamoDB, asynchronous: bool
) -> None:
    web_identity.setenv("AWS_ENDPOINT_URL_STS", silent)
    began = time.monotonic()
    ended = finds(fake.url, asynchronous, times=5, call_timeout=0.2)
    assert time.monotonic() - began < 5
    for error in ended:
        assert type(error) is UnavailableError
        assert str(error) == "GetItem: no credentials were found within 0.2 s"


def test_what_is_found_again_is_the_same_object_for_which_requests_are_prepared(
    nothing_configured: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = KEY\naws_secret_access_key = secret\n")
    nothing_configured.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    access = WireClient()._setup.access
    assert isinstance(access, Renewed)
    first = access.fetch(10)
    assert access._load(anew=True).access is first
    file.write_text("[default]\naws_access_key_id = KEY2\naws_secret_access_key = secret\n")
    assert access._load(anew=False).access is first
    assert access._load(anew=True).access[0].access_key == "KEY2"


@pytest.mark.parametrize("url", ["http://nobody.invalid", "a closed port"])
def test_an_sts_that_cannot_be_reached_is_an_outage(
    web_identity: pytest.MonkeyPatch, fake: FakeDynamoDB, url: str
) -> None:
    if url == "a closed port":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    web_identity.setenv("AWS_ENDPOINT_URL_STS", url)
    (ended,) = finds(fake.url, asynchronous=False)
    assert type(ended) is UnavailableError
    assert str(ended).startswith(
        "GetItem: the AWS credentials could not be fetched: Could not connect to the endpoint URL"
    )
    assert "hush-hush" not in str(ended)
    # Botocore's frames hold the token.
    assert ended.__cause__ is not None
    cause = ended.__cause__.__cause__
    assert cause is not None
    assert cause.__traceback__ is None
    assert cause.__context__ is None


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (403, "AccessDenied", AccessDeniedError, "AssumeRoleWithWebIdentity was refused (AccessDenied)"),
        (
            400,
            "InvalidIdentityToken",
            AccessDeniedError,
            "AssumeRoleWithWebIdentity was refused (InvalidIdentityToken)",
        ),
        (400, "IDPCommunicationError", UnavailableError, "AssumeRoleWithWebIdentity failed (IDPCommunicationError)"),
        (400, "Throttling", UnavailableError, "AssumeRoleWithWebIdentity failed (Throttling)"),
        (503, "ServiceUnavailable", UnavailableError, "AssumeRoleWithWebIdentity failed (ServiceUnavailable)"),
    ],
)
def test_an_sts_that_refuses_is_no_outage_and_one_that_fails_is(
    web_identity: pytest.MonkeyPatch, fake: FakeDynamoDB, status: int, code: str, error: type[Exception], says: str
) -> None:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>hush-hush</Message></Error></ErrorResponse>"
    with Metadata(status, text) as sts:
        web_identity.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        (ended,) = finds(fake.url, asynchronous=False)
    assert type(ended) is error
    assert says in str(ended)
    assert str(ended).count("credentials") == 1
    assert_discreet(ended, "hush-hush")


@pytest.mark.parametrize("where", ["AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file"])
def test_a_missing_web_identity_file_is_told_as_what_it_is(
    web_identity: pytest.MonkeyPatch, tmp_path: Path, fake: FakeDynamoDB, where: str
) -> None:
    missing = tmp_path / "not" / "there"
    web_identity.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(missing))
    if where == "web_identity_token_file":
        web_identity.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
        web_identity.delenv("AWS_ROLE_ARN")
        config = tmp_path / "config"
        config.write_text(
            f"[default]\nweb_identity_token_file = {missing}\nrole_arn = arn:aws:iam::123456789012:role/r\n"
        )
        web_identity.setenv("AWS_CONFIG_FILE", str(config))
    (ended,) = finds(fake.url, asynchronous=False)
    assert type(ended) is AccessDeniedError
    assert str(ended) == (
        f"GetItem: no usable AWS credentials: the file '{missing}' ({where}) cannot be read: No such file or directory"
    )


def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\n{profile}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def denied(via: Literal["wire", "boto3"], url: str) -> AccessDeniedError:
    """What a store says that has no credentials, or cannot be made for want of them."""
    with pytest.raises(AccessDeniedError) as caught, connect(via=via, endpoint_url=url) as store:
        store.find("x")
    return caught.value


VIAS: tuple[Literal["wire"], Literal["boto3"]] = ("wire", "boto3")


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize("kind", ["missing", "a folder", "under a file"])
@pytest.mark.parametrize(
    "variable", ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "credential_process"]
)
def test_a_file_that_cannot_be_opened_is_named_by_either_client(
    nothing_configured: pytest.MonkeyPatch,
    tmp_path: Path,
    fake: FakeDynamoDB,
    via: Literal["wire", "boto3"],
    kind: str,
    variable: str,
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    file = tmp_path / {"missing": "missing", "a folder": "folder", "under a file": "file/token"}[kind]
    process = variable == "credential_process"
    configured(nothing_configured, tmp_path, f"credential_process = {file} --key hush-hush" if process else "")
    if not process:
        nothing_configured.setenv(variable, str(file))
        nothing_configured.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
    if variable == "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE":
        nothing_configured.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    error = denied(via, fake.url)
    how = "cannot be read or run" if process else f"({variable}) cannot be read"
    assert f"no usable AWS credentials: the file '{file}' {how}: " in str(error)
    assert_discreet(error, "hush-hush")


@pytest.mark.parametrize("via", VIAS)
@pytest.mark.parametrize(
    ("process", "says"),
    [
        ("false", "the credential_process failed"),
        ("sh -c 'echo hush-hush >&2; exit 3'", "the credential_process failed"),
        ('echo \'{"Version": "hush-hush"}\'', "the credential_process failed"),
        ("echo hush-hush", "their source returned invalid data (JSONDecodeError)"),
        ("'hush-hush", "their source returned invalid data (ValueError)"),
    ],
)
def test_a_credential_process_that_fails_is_named_and_not_quoted(
    nothing_configured: pytest.MonkeyPatch,
    tmp_path: Path,
    fake: FakeDynamoDB,
    via: Literal["wire", "boto3"],
    process: str,
    says: str,
) -> None:
    configured(nothing_configured, tmp_path, f"credential_process = {process}")
    error = denied(via, fake.url)
    assert f"no usable AWS credentials: {says}" in str(error)
    assert "endpoint_url" not in str(error)
    assert_discreet(error, "hush-hush")


def test_a_process_that_fails_when_boto3_renews_is_not_quoted(
    nothing_configured: pytest.MonkeyPatch, tmp_path: Path, fake: FakeDynamoDB
) -> None:
    given = tmp_path / "given"
    given.write_text(
        '{"Version": 1, "AccessKeyId": "K", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2001-01-01T00:00:00Z"}'
    )
    again = f"sh -c 'cat {given} && rm {given} || {{ echo hush-hush >&2; exit 3; }}'"
    configured(nothing_configured, tmp_path, f"credential_process = {again}")
    error = denied("boto3", fake.url)
    assert str(error).startswith("GetItem: no usable AWS credentials: the credential_process failed")
    assert_discreet(error, "hush-hush")


def test_no_endpoint_for_want_of_an_account_is_no_outage_with_boto3(
    nothing_configured: pytest.MonkeyPatch,
) -> None:
    for name, value in [
        ("AWS_ACCESS_KEY_ID", "K"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required"),
    ]:
        nothing_configured.setenv(name, value)
    with connect(via="boto3") as store, pytest.raises(StoreError) as caught:
        store.find("x")
    assert type(caught.value) is StoreError
    for said in ("GetItem: no endpoint", "AccountIdEndpointMode is required", "set AWS_ACCOUNT_ID"):
        assert said in str(caught.value)


@pytest.mark.parametrize("role", [True, False])
@pytest.mark.parametrize("via", VIAS)
def test_a_key_log_that_cannot_be_written_is_a_settings_mistake_at_connect(
    web_identity: pytest.MonkeyPatch, tmp_path: Path, via: Literal["wire", "boto3"], role: bool
) -> None:
    if not role:
        web_identity.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
        web_identity.setenv("AWS_EC2_METADATA_DISABLED", "true")
    web_identity.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys.log"))
    with pytest.raises(ValueError, match=r"SSLKEYLOGFILE '.*keys\.log' cannot be written \(No such"):
        connect(via=via)


@pytest.mark.parametrize("via", VIAS)
def test_a_key_log_that_cannot_be_written_any_more_is_told_when_a_role_is_assumed(
    web_identity: pytest.MonkeyPatch, tmp_path: Path, fake: FakeDynamoDB, via: Literal["wire", "boto3"]
) -> None:
    with connect(via=via, endpoint_url=fake.url) as store:
        web_identity.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys.log"))
        with pytest.raises(
            AccessDeniedError, match=r"no usable AWS credentials: SSLKEYLOGFILE '.*keys\.log' cannot be"
        ):
            store.find("x")


def test_that_no_thread_can_be_started_is_an_outage(
    web_identity: pytest.MonkeyPatch, fake: FakeDynamoDB, asynchronous: bool
) -> None:
    def refuse(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    web_identity.setenv("AWS_MAX_ATTEMPTS", "4")
    client = AsyncWireClient(None, fake.url) if asynchronous else WireClient(None, fake.url)
    access = client._setup.access
    assert isinstance(access, Renewed)
    access._start = refuse
    if isinstance(client, WireClient):
        with pytest.raises(UnavailableError, match="can't start new thread"):
            DynamoStore(client).find("x")
    else:
        with pytest.raises(UnavailableError, match="can't start new thread"):
            asyncio.run(AsyncDynamoStore(client).find("x"))
    # Nor was it tried again: that is for DynamoDB's failures, and has its price.
    assert client._setup.caller.quota.available == Quota.CAPACITY


HANGING_PROCESS = """
import asyncio, sys, time
from dynamostore import AsyncDynamoStore, UnavailableError
from dynamostore.wire import AsyncWireClient


async def main():
    store = AsyncDynamoStore(AsyncWireClient("us-east-1", sys.argv[1], call_timeout=0.1))
    ended = await asyncio.gather(*(store.find("x") for _ in range(64)), return_exceptions=True)
    print(*{type(one).__name__ for one in ended})
    async with asyncio.timeout(5):
        print(await asyncio.to_thread(lambda: "to_thread"))
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    await store.close()

asyncio.run(main())
print("over")
"""


def run(program: str, *arguments: str, **environ: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
    return ran.stdout.split()


def test_a_hanging_credential_process_takes_neither_the_apps_threads_nor_holds_up_its_end(
    nothing_configured: pytest.MonkeyPatch, tmp_path: Path, fake: FakeDynamoDB
) -> None:
    config, pid = tmp_path / "config", tmp_path / "pid"
    config.write_text(f"[default]\ncredential_process = sh -c 'echo $$ > {pid}; exec sleep 60'\n")
    try:
        assert run(HANGING_PROCESS, fake.url, AWS_CONFIG_FILE=str(config)) == ["UnavailableError", "to_thread", "over"]
    finally:
        # It is nobody's now; and may not have come as far as to say who it is.
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


# A credential_process: the third one hangs, and says that it has begun.
THIRD_HANGS = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
number = len(list(folder.glob("asked-*"))) + 1
(folder / f"asked-{number}").touch()
while number == 3 and not (folder / "go on").exists():
    time.sleep(0.01)
at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300))
print(json.dumps({"Version": 1, "AccessKeyId": f"KEY{number}", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": at}))
"""

FORK_WHILE_RENEWING = """
import os, pathlib, sys, threading, time
from dynamostore.wire import WireClient, _chain

folder = pathlib.Path(sys.argv[1])
client = WireClient("us-east-1", sys.argv[2])
access = client._setup.access
before = client._setup.access.fetch(10)
_chain.SPARE = 10**6  # those that come are not good enough for the next call
asking = threading.Thread(target=access.fetch, args=(10,))
asking.start()
while not (folder / "asked-3").exists():
    time.sleep(0.01)
if (pid := os.fork()) == 0:
    import signal

    # Not to wait for ever for a lock of a thread that is not here.
    signal.alarm(10)
    print("child", access.fetch(8)[0].access_key, flush=True)
    client.get_item(TableName="sessions", Key={"token": {"S": "x"}})
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
(folder / "go on").touch()
asking.join()
print("parent", threading.active_count())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_child_that_is_forked_during_a_renewal_fetches_for_itself(
    nothing_configured: pytest.MonkeyPatch, tmp_path: Path, fake: FakeDynamoDB
) -> None:
    config, program = tmp_path / "config", tmp_path / "process.py"
    program.write_text(THIRD_HANGS)
    config.write_text(f"[default]\ncredential_process = {sys.executable} -I -S {program} {tmp_path}\n")
    said = run(FORK_WHILE_RENEWING, str(tmp_path), fake.url, AWS_CONFIG_FILE=str(config))
    # Botocore renews what it has just been given and is about to expire.
    assert said == ["child", "KEY5", "parent", "1"]
    assert fake.operations == ["GetItem"]


class Metadata:
    """A server that answers everything with one status and text, or the text for the last part of a path."""

    def __init__(self, status: int, text: str = "{}", **by_name: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                said = by_name.get(self.path.rpartition("/")[2], text)
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said.encode())

            do_PUT = do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
