"""What belongs to its process is not pickled or copied, and no secret gets into a pickle; values are and do."""

from __future__ import annotations

import copy
import dataclasses
import io
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import flask
import pytest

from dynamostore import (
    AsyncDynamoStore,
    AsyncMemoryStore,
    DynamoStore,
    MemoryStore,
    Record,
    Table,
    connect,
    connect_async,
)
from dynamostore.batch import AsyncBatch, Batch
from dynamostore.hidden import Hidden
from dynamostore.local import LocalDynamoDB
from dynamostore.process_bound import ProcessBound
from dynamostore.testing import AsyncFaultyStore, BlockingStore, FakeClock, FaultyStore, LoopThread
from dynamostore.wire import AsyncWireClient, Credentials, WireClient
from session import AsyncSessionManager, Cookie, Session, SessionManager
from session.web import wsgi
from session.web.flask import SessionInterface

from .fakes import assert_discreet

SECRET, TOKEN = "wJalrXUtnFEMI", "FwoGZXIvYXdzEBY"
KEYS = Credentials("AKIDEXAMPLE", SECRET, TOKEN)
URL = "http://127.0.0.1:9"

COPIES: dict[str, Callable[[object], object]] = {
    **{
        f"pickle {protocol}": partial(pickle.dumps, protocol=protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def wire() -> WireClient:
    client = WireClient("us-east-1", URL, credentials=KEYS, attempts=1)
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        # So that a request is prepared, and with it the signing key.
        client.get_item(TableName="sessions", Key={"token": {"S": "token"}})
    return client


def awire() -> AsyncWireClient:
    return AsyncWireClient("us-east-1", URL, credentials=KEYS)


def session() -> Session:
    with SessionManager(MemoryStore()).session(None) as s:
        s.put_string("code", SECRET)
    return s


def flask_session() -> object:
    app = flask.Flask(__name__)
    SessionInterface(SessionManager(MemoryStore())).init_app(app)
    with app.test_request_context():
        flask.session["code"] = SECRET
        return flask.session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy's


BOUND: dict[str, tuple[Callable[[], object], str]] = {
    "a client": (wire, "WireClient belongs to its process and cannot be pickled or copied: make one in each process"),
    "an async client": (awire, "AsyncWireClient belongs to its process"),
    "a store": (lambda: DynamoStore(wire()), "DynamoStore belongs to its process .* with dynamostore.connect"),
    "an async store": (lambda: AsyncDynamoStore(awire()), "AsyncDynamoStore belongs"),
    "a connected store": (lambda: connect("sessions", region="us-east-1"), "DynamoStore belongs"),
    "a store on boto3": (lambda: connect("sessions", region="us-east-1", via="boto3"), "DynamoStore belongs"),
    "a connected async store": (lambda: connect_async("sessions", region="us-east-1"), "AsyncDynamoStore belongs"),
    "a store in memory": (MemoryStore, "to share records, use a table"),
    "an async store in memory": (AsyncMemoryStore, "to share records, use a table"),
    "a faulty store": (lambda: FaultyStore(MemoryStore()), "FaultyStore belongs"),
    "an async faulty store": (lambda: AsyncFaultyStore(AsyncMemoryStore()), "AsyncFaultyStore belongs"),
    "a manager": (lambda: SessionManager(DynamoStore(wire())), "SessionManager belongs"),
    "an async manager": (lambda: AsyncSessionManager(AsyncDynamoStore(awire())), "AsyncSessionManager belongs"),
    "a middleware": (lambda: wsgi.SessionMiddleware(print, SessionManager(MemoryStore())), "copied"),  # type: ignore[arg-type]
    "a session": (session, r"Session belongs to its process .*: dict\(session\) copies its data"),
    "an async session": (
        lambda: AsyncSessionManager(AsyncMemoryStore())._begin(Hidden(None), SessionManager(MemoryStore())._policy),
        "AsyncSession belongs",
    ),
    "a session of Flask": (flask_session, "FlaskSession belongs"),
    "a batch": (lambda: Batch(DynamoStore(wire())), "Batch belongs"),
    "an async batch": (lambda: AsyncBatch(AsyncDynamoStore(awire())), "AsyncBatch belongs"),
    "a local DynamoDB": (LocalDynamoDB, "pass its url to other processes"),
}


@pytest.mark.parametrize(("make", "words"), BOUND.values(), ids=BOUND)
def test_what_belongs_to_its_process_says_so(make: Callable[[], object], words: str) -> None:
    bound = make()
    for how in COPIES.values():
        if isinstance(bound, wsgi.SessionMiddleware) and how is copy.copy:
            # A shallow one has the same manager.
            continue
        # Within something else, too.
        for whole in (bound, {"settings": [bound]}):
            if how is copy.copy and whole is not bound:
                continue
            with pytest.raises(TypeError, match=words) as caught:
                how(whole)
            assert_discreet(caught.value, SECRET, TOKEN, "AKIDEXAMPLE")


def test_a_loop_and_what_runs_on_it_belong_to_their_process() -> None:
    with LoopThread() as loop:
        for bound in (loop, BlockingStore(AsyncMemoryStore(), loop)):
            for how in COPIES.values():
                with pytest.raises(TypeError, match="belongs to its process"):
                    how(bound)


def test_every_class_that_is_process_bound_is_among_them() -> None:
    covered = {type(make()) for make, _ in BOUND.values()}

    def classes(of: type[object]) -> Iterator[type[object]]:
        for each in of.__subclasses__():
            yield each
            yield from classes(each)

    concrete = {each for each in classes(ProcessBound) if each.__module__.startswith(("dynamostore", "session"))}
    # A doctest may have made others.
    there = {each for each in concrete if getattr(sys.modules[each.__module__], each.__name__, None) is each}
    public = {each for each in there if not each.__name__.startswith(("Base", "_")) and "Data" not in each.__name__}
    # Where a web framework makes one, it is of a subclass.
    missing = {each.__name__ for each in public - covered} - {
        "WebSession",
        "SessionStore",
        "MeteredStore",
        "LoopThread",
        "BlockingStore",
    }
    assert missing == set()


@pytest.mark.parametrize("how", [how for name, how in COPIES.items() if "pickle" in name])
def test_credentials_are_never_pickled(how: Callable[[object], object]) -> None:
    for whole in (KEYS, {"keys": [KEYS]}, wire()._setup):
        with pytest.raises(TypeError, match="Credentials cannot be pickled") as caught:
            how(whole)
        assert_discreet(caught.value, SECRET, TOKEN)


def test_what_was_written_before_a_pickle_is_refused_holds_no_secret() -> None:
    for make, _ in BOUND.values():
        written = io.BytesIO()
        with pytest.raises(TypeError):
            pickle.Pickler(written).dump({"settings": make()})
        for secret in (SECRET, TOKEN, "AKIDEXAMPLE"):
            assert secret.encode() not in written.getvalue()


def test_credentials_are_values_within_the_process() -> None:
    assert copy.copy(KEYS) is copy.deepcopy(KEYS) is KEYS
    assert copy.deepcopy({"keys": KEYS}) == {"keys": KEYS}
    assert dataclasses.replace(KEYS, token=None) == Credentials("AKIDEXAMPLE", SECRET)


def test_values_are_pickled_and_copied() -> None:
    record = Record("token", b"data", datetime(2030, 1, 1, tzinfo=UTC), 7)
    for value in (record, Table(name="sessions"), Cookie(name="sid")):
        for how in COPIES.values():
            made = how(value)
            assert (pickle.loads(made) if isinstance(made, bytes) else made) == value
    clock = FakeClock()
    assert pickle.loads(pickle.dumps(clock)).now == clock.now


def test_a_subclass_that_can_be_rebuilt_says_how() -> None:
    again = pickle.loads(pickle.dumps(Rebuilt("sessions")))
    assert isinstance(again, Rebuilt)
    assert again.table == Table(name="sessions")


class Rebuilt(DynamoStore):
    def __init__(self, name: str) -> None:
        super().__init__(WireClient("us-east-1", URL, credentials=KEYS), Table(name=name))

    def __reduce__(self) -> Any:
        return Rebuilt, (self.table.name,)


# Processes


def look(store: object) -> None:
    assert isinstance(store, MemoryStore)


def test_a_process_that_is_spawned_is_not_handed_one() -> None:
    store: Any = connect("sessions", region="us-east-1")
    process = multiprocessing.get_context("spawn").Process(target=look, args=(store,))
    with pytest.raises(TypeError, match=r"make one in each process with dynamostore\.connect"):
        process.start()


# Python 3.12 and newer warn if another test has left a thread.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
def test_a_process_that_is_forked_has_it_already() -> None:
    process = multiprocessing.get_context("fork").Process(target=look, args=(MemoryStore(),))
    process.start()
    process.join(30)
    assert process.exitcode == 0
