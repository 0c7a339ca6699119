"""The conformance suite for anybody's store: what `dynamostore.Store` promises, as tests.

Subclass `StoreContract` in a test module of yours, with a ``store`` fixture; pytest does the rest. Needs
``pip install dynamostore[testing]``.

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

from ._agreement import FakeClock, StoreAgreement
from ._blocking import BlockingStore, LoopThread
from ._contract import StoreContract, expiries, tokens

__all__ = ["BlockingStore", "FakeClock", "LoopThread", "StoreAgreement", "StoreContract", "expiries", "tokens"]
