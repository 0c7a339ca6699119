"""All stores in lockstep: the same calls, the same answers, errors included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest
from hypothesis import Phase, settings

from dynamostore import Store
from dynamostore.testing import FakeClock, StoreAgreement

from .backends import Backends

# The contract suite is enough for these: each server and each client is here once.
LEFT_OUT = ("ministack over aiobotocore", "dynalite over wire", "dynalite over async wire")


class Agreement(StoreAgreement):
    backends: ClassVar[Backends]

    def stores(self, clock: FakeClock) -> Mapping[str, Store]:
        names = [name for name in self.backends.available() if name not in LEFT_OUT]
        return {name: self.backends.store(name, clock) for name in names}


@pytest.fixture(scope="module", autouse=True)
def _servers(backends: Backends) -> Iterator[None]:
    # A state machine is a unittest.TestCase and takes no fixtures.
    Agreement.backends = backends
    yield
    del Agreement.backends


TestAgreement = Agreement.TestCase
# To explain a failure would ask all the servers some hundred times more.
PHASES = [phase for phase in Phase if phase is not Phase.explain]
TestAgreement.settings = settings(max_examples=8, stateful_step_count=30, phases=PHASES)
