"""Fixtures: the servers, and one ``store`` over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from dynamostore import MemoryStore, Store
from dynamostore.testing import FakeClock
from session import SessionManager, _rarely

from .backends import OVER, SERVERS, STORES, Backend, Backends
from .counting import CountingStore
from .fakes import StoredSession

# The same examples in every run: a failure is there again the next time. `--hypothesis-profile=search` tries others.
settings.register_profile("tests", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def rare_warnings() -> None:
    """Each test sees the warnings that are logged once a minute."""
    _rarely.forget()


@pytest.fixture(scope="session")
def backends(credentials: None) -> Iterator[Backends]:
    with ExitStack() as stack:
        yield Backends(stack)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    """Each server, with the table."""
    return backends.server(request.param)


@pytest.fixture(params=(*STORES, *OVER))
def store(request: pytest.FixtureRequest, backends: Backends, clock: FakeClock) -> Store:
    """Each store, on ``clock``."""
    return backends.store(request.param, clock)


# A session on a store in memory, which is watched. Who wants another has fixtures of its own by these names.


@pytest.fixture
def memory(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def counted(memory: MemoryStore) -> CountingStore:
    return CountingStore(memory)


@pytest.fixture
def manager(counted: CountingStore, clock: FakeClock) -> SessionManager:
    return SessionManager(counted, clock=clock)


@pytest.fixture
def stored(manager: SessionManager, memory: MemoryStore, counted: CountingStore) -> StoredSession:
    stored = StoredSession(manager, memory)
    counted.taken()
    return stored
