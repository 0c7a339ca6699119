"""Test helpers: `FakeClock` and `FaultyStore` for tests of apps; `StoreContract` and `StoreAgreement` for tests of stores.

To test your own store against the contract of `dynamostore.Store`, subclass `StoreContract` in a test module, and define a
``store`` fixture. `StoreContract` and `StoreAgreement` need ``pip install dynamostore[testing]``; the others need no extra. ::

    from dynamostore.testing import FakeClock, StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock: FakeClock) -> Store:
            return MyStore(clock=clock)

To test an async store, wrap it in a `BlockingStore` on a `LoopThread`::

        @pytest.fixture
        def store(self, clock: FakeClock) -> Iterator[Store]:
            with LoopThread() as loop:
                yield BlockingStore(MyAsyncStore(clock=clock), loop)

`StoreAgreement` is a hypothesis state machine. It runs the same calls against several stores, such as yours and
`MemoryStore`, and asserts that they return the same results.
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
    # Imported on demand: tests of apps do not need pytest and hypothesis.
    if name == "StoreAgreement":
        from ._agreement import StoreAgreement

        return StoreAgreement
    if name in ("StoreContract", "expiries", "tokens"):
        from . import _contract

        return getattr(_contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
