"""What a request's session runs on: the bare plans, or the package's own drivers, sync or async, down to the client.

Whichever it is, a request comes to the same calls in the same order: a run has the same trace on all three. The client
makes no call: it hands it out, and waits for the scheduler to say what came of it. Synchronous code is suspended
there as a greenlet, asynchronous code as a coroutine that no event loop drives.
"""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from greenlet import getcurrent, greenlet

from dynamostore import AsyncDynamoStore, DynamoStore
from dynamostore.hidden import Hidden
from dynamostore.plans.verbs import Plans
from dynamostore.steps import Call, Pause, Plan, Step, arun, run
from session import SessionData
from session._policy import Policy
from session._state import State
from session.plans import atomic, lifecycle
from session.session import AsyncSession, BaseSession, Session

__all__ = ["DRIVERS", "Driver", "DriverName"]

R = TypeVar("R")

Change: TypeAlias = Callable[[SessionData], None]
DriverName: TypeAlias = Literal["plans", "sync", "async"]


class Driver(ABC):
    """Makes sessions on *plans* and *policy*, and reads and stores them; each as a plan of low-level calls."""

    def __init__(self, plans: Plans, policy: Policy) -> None:
        self.plans = plans
        self.policy = policy

    @abstractmethod
    def session(self, state: State) -> BaseSession: ...

    @abstractmethod
    def load(self, session: BaseSession) -> Plan[None]: ...

    @abstractmethod
    def commit(self, session: BaseSession) -> Plan[None]: ...

    @abstractmethod
    def atomic(self, session: BaseSession, change: Change) -> Plan[None]: ...

    @abstractmethod
    def abandon(self, session: BaseSession) -> Plan[None]:
        """Discard, as at the end of a block that raised."""


class OnPlans(Driver):
    """No driver: the session's plans on the store's."""

    def session(self, state: State) -> BaseSession:
        return BaseSession(state, self.policy)

    def load(self, session: BaseSession) -> Plan[None]:
        return self._through(lifecycle.load(session._state, self.policy))

    def commit(self, session: BaseSession) -> Plan[None]:
        return self._through(lifecycle.commit(session._state, self.policy))

    def atomic(self, session: BaseSession, change: Change) -> Plan[None]:
        session._state.looked = True
        return self._through(atomic.atomic(session._state, self.policy, change))

    def abandon(self, session: BaseSession) -> Plan[None]:
        return self._through(lifecycle.abandon(session._state, self.policy))

    def _through(self, plan: Plan[R]) -> Plan[R]:
        """A session's plan with its store verbs done by the store's plans, so that only low-level calls are left."""
        try:
            step = next(plan)
            while True:
                try:
                    if isinstance(step, Call):
                        reply = yield from getattr(self.plans, step.operation)(**_hidden(step.arguments))
                    else:
                        reply = yield step
                except Exception as error:  # noqa: BLE001 (whatever it is, it is the plan's to handle)
                    step = plan.throw(error)
                else:
                    step = plan.send(reply)
        except StopIteration as end:
            result: R = end.value
            return result


def _hidden(arguments: Mapping[str, object]) -> dict[str, object]:
    """A store's arguments as it passes them to its plans."""
    return {name: Hidden(value) if name in ("token", "data") else value for name, value in arguments.items()}


class Calls:
    """Makes calls, the same one for the same write: a store that tries again hands its client no more than arguments."""

    def __init__(self) -> None:
        self._latest: Call[Any] = Call("", {})

    def call(self, operation: str, arguments: dict[str, object]) -> Call[Any]:
        call: Call[Any] = Call(operation, arguments)
        if operation == "get_item" or call != self._latest:
            self._latest = call
        return self._latest


class OnSync(Driver):
    """`Session` on `DynamoStore`, each run by ``run``."""

    def session(self, state: State) -> BaseSession:
        calls = Calls()

        class Client:
            def __getattr__(self, operation: str) -> Callable[..., object]:
                return lambda **arguments: _switch(calls.call(operation, arguments))

        client: Any = Client()
        store = DynamoStore(client, self.plans.table, sleep=_switched_sleep)
        store._plans = self.plans
        return Session(state, self.policy, lambda plan: run(plan, store, sleep=_switched_sleep))

    def load(self, session: BaseSession) -> Plan[None]:
        return _suspending(session._load)

    def commit(self, session: BaseSession) -> Plan[None]:
        assert isinstance(session, Session)
        return _suspending(session.save)

    def atomic(self, session: BaseSession, change: Change) -> Plan[None]:
        assert isinstance(session, Session)
        return _suspending(lambda: session.atomic(change))

    def abandon(self, session: BaseSession) -> Plan[None]:
        assert isinstance(session, Session)
        return _suspending(lambda: session._drive(lifecycle.abandon(session._state, self.policy)))


def _switch(step: Step) -> Any:
    parent = getcurrent().parent
    assert parent is not None
    return parent.switch(step)


def _switched_sleep(seconds: float) -> None:
    _switch(Pause(seconds))


def _suspending(act: Callable[[], None]) -> Plan[None]:
    """What *act* comes to, suspended wherever it would wait."""
    running = greenlet(act)
    try:
        step = running.switch()
        while not running.dead:
            try:
                reply = yield step
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the code's to handle)
                step = running.throw(error)
            else:
                step = running.switch(reply)
    finally:
        if not running.dead:
            # Its process died.
            running.throw()


class OnAsync(Driver):
    """`AsyncSession` on `AsyncDynamoStore`, each run by ``arun``."""

    def session(self, state: State) -> BaseSession:
        calls = Calls()

        class Client:
            def __getattr__(self, operation: str) -> Callable[..., Awaitable[object]]:
                return lambda **arguments: _awaited(calls.call(operation, arguments))

        client: Any = Client()
        store = AsyncDynamoStore(client, self.plans.table, sleep=_awaited_sleep)
        store._plans = self.plans
        return AsyncSession(state, self.policy, lambda plan: arun(plan, store, sleep=_awaited_sleep))

    def load(self, session: BaseSession) -> Plan[None]:
        assert isinstance(session, AsyncSession)
        return _driven(session.load())

    def commit(self, session: BaseSession) -> Plan[None]:
        assert isinstance(session, AsyncSession)
        return _driven(session.save())

    def atomic(self, session: BaseSession, change: Change) -> Plan[None]:
        assert isinstance(session, AsyncSession)
        return _driven(session.atomic(change))

    def abandon(self, session: BaseSession) -> Plan[None]:
        assert isinstance(session, AsyncSession)
        return (yield from session._drive(lifecycle.abandon(session._state, self.policy)).__await__())


@types.coroutine
def _awaited(step: Step) -> Generator[Step, Any, Any]:
    return (yield step)


async def _awaited_sleep(seconds: float) -> None:
    await _awaited(Pause(seconds))


def _driven(coroutine: Coroutine[Any, Any, None]) -> Plan[None]:
    return (yield from coroutine.__await__())


DRIVERS: dict[DriverName, type[Driver]] = {"plans": OnPlans, "sync": OnSync, "async": OnAsync}
