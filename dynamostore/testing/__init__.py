"""For tests: of apps (`FakeClock`, `FaultyStore`), and of anybody's store against what `dynamostore.Store` promises.

Subclass `StoreContract` in a test module of yours, with a ``store`` fixture; pytest does the rest. This and
`StoreAgreement` need ``pip install dynamostore[testing]``; what tests of apps use needs nothing.

    from dynamostore.testing import FakeClock, StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock: FakeClock) -> Store:
            return MyStore(clock=clock)

An async store is tested as a `BlockingStore` on a `LoopThread`:

        @pytest.fixture
        def store(self, clock: FakeClock) -> Iterator[Store]:
            with LoopThread() as loop:
                yield BlockingStore(MyAsyncStore(clock=clock), loop)

`StoreAgreement` is a hypothesis state machine that runs all verbs against several stores in lockstep, yours
and `MemoryStore`, say, and asserts that they agree.
"""

from typing import TYPE_CHECKING

from ._blocking import BlockingStore, LoopThread
from ._clock import FakeClock
from ._faulty import AsyncFaultyStore, FaultyStore, Verb

if TYPE_CHECKING:
    from ._agreement import StoreAgreement
    from ._contract import StoreContract, expiries, tokens

__all__ = [
    "AsyncFaultyStore",
    "BlockingStore",
    "FakeClock",
    "FaultyStore",
    "LoopThread",
    "StoreAgreement",
    "StoreContract",
    "Verb",
    "expiries",
    "tokens",
]


def __getattr__(name: str) -> object:
    # pytest and hypothesis are for authors of stores: an app's tests may do without.
    if name == "StoreAgreement":
        from ._agreement import StoreAgreement

        return StoreAgreement
    if name in ("StoreContract", "expiries", "tokens"):
        from . import _contract

        return getattr(_contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
