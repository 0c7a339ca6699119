"""How a batch job ends early, and what it says then: nothing that was given up is passed over when it goes on."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamostore import DynamoStore, Table
from dynamostore.batch import Batch, BatchIncompleteError, Progress, verify
from dynamostore.batch._budget import Budget
from dynamostore.batch._chunks import Chunks, in_chunks
from dynamostore.batch._files import ExportFile
from dynamostore.errors import AccessDeniedError, ThrottledError, UnavailableError
from dynamostore.hidden import Hidden
from dynamostore.testing import FakeClock
from dynamostore.wire import WireClient

from .backends import KEYS, Backends
from .batch.driving import Drive, FakeTime
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Failing, Meddler, RefusedError
from .batch.mixed import findable, mixed
from .test_batch import LATER, PAST, named

__all__ = ["drive"]

on_one_server = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)


def filled(drive: Drive, clock: FakeClock, count: int = 200) -> tuple[Table, dict[str, Any]]:
    table = drive.table()
    stored = {item["token"]["S"]: item for item in mixed(table, count, clock.now_ns, 5)}
    drive.put(table, stored.values())
    return table, stored


class Ending(Meddler):
    """Answers *calls* of an operation, and none after that: with an error, of this code or of the network."""

    def __init__(self, operation: str, calls: int, code: str | None = None, *, page: int | None = None) -> None:
        super().__init__(page=page)
        self._operation = operation
        self._left = calls
        self._code = code

    def hinder(self, operation: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
        if operation == self._operation:
            self._left -= 1
            if self._left < 0:
                raise RefusedError(self._code) if self._code else ConnectionResetError("so says the test")
        return arguments, lambda reply: reply


# Going on


@on_one_server
@pytest.mark.parametrize("code", [None, "ThrottlingException", "ExpiredTokenException"])
def test_what_a_job_gave_up_it_does_when_it_goes_on(
    drive: Drive, clock: FakeClock, tmp_path: Path, code: str | None
) -> None:
    source, stored = filled(drive, clock)
    path = tmp_path / "x.jsonl"
    drive.batch(source, clock=clock).export(path, expired=True)
    expired = {token for token in stored if token[0] == "x"}
    for job in ("copy", "load", "purge"):
        target = drive.table()
        operation = "delete_item" if job == "purge" else "batch_write_item"

        def begun(meddler: Meddler, job: str = job, target: Table = target, **how: Any) -> Any:
            if job == "copy":
                to = drive.batch(target, meddler, clock=clock, attempts=3)
                from_ = drive.batch(source, Meddler(page=60), clock=clock, attempts=3)
                return drive.copy(from_, to, expired=True, **how)
            if job == "load":
                return drive.batch(target, meddler, clock=clock, attempts=3).load(path, expired=True, **how)
            return drive.batch(source, meddler, clock=clock, attempts=3).purge_expired(**how)

        with pytest.raises(BatchIncompleteError) as caught:
            begun(Ending(operation, 5, code, page=60))
        error = caught.value
        assert error.tally.done > 0
        assert not findable({token: stored[token] for token in error.tally.failed})
        assert error.resume
        assert isinstance(
            error.errors[0],
            {None: UnavailableError, "ThrottlingException": ThrottledError}.get(code, AccessDeniedError),
        )
        begun(Meddler(page=60), resume=error.resume)
        if job == "purge":
            assert set(drive.items(source)) == set(stored) - expired
        else:
            assert drive.items(target) == (stored if job == "copy" else findable(stored))


@on_one_server
def test_a_store_that_is_gone_ends_what_has_many_chunks_left(drive: Drive, clock: FakeClock) -> None:
    table, fake = drive.table(), FakeTime()
    taken: list[int] = []

    def records() -> Iterator[tuple[str, bytes, Any]]:
        for n in range(100_000):
            taken.append(n)
            yield f"token-{n}", b"", LATER

    ending, began = Ending("batch_write_item", 2), fake.now
    with pytest.raises(BatchIncompleteError, match=r"save_many stopped early, after 50 records") as caught:
        drive.batch(table, ending, clock=clock, fake=fake, attempts=4).save_many(records())
    tally = caught.value.tally
    assert tally.done == 50
    assert set(tally.failed) == {f"token-{n}" for n in range(50, 75)}
    # The caller still has every other record.
    assert len(taken) == 75
    assert fake.now - began < 10
    with pytest.raises(BatchIncompleteError, match="find_many stopped early"):
        list(drive.batch(table, Ending("batch_get_item", 1), attempts=2).find_many(f"token-{n}" for n in range(1000)))


@on_one_server
@pytest.mark.parametrize("verb", ["save_many", "delete_many"])
@pytest.mark.parametrize("repeat", [False, True], ids=["distinct", "a token repeats"])
def test_each_record_is_done_failed_or_left_when_a_job_stops(
    drive: Drive, clock: FakeClock, verb: str, repeat: bool
) -> None:
    tokens = [f"token-{n}" for n in range(100)]
    if repeat:
        tokens.insert(40, "token-30")
    entries = iter(tokens if verb == "delete_many" else [(token, b"", LATER) for token in tokens])
    job = drive.batch(drive.table(), Ending("batch_write_item", 1), clock=clock, fake=FakeTime(), attempts=1)
    with pytest.raises(BatchIncompleteError) as caught:
        getattr(job, verb)(entries)
    left = [entry if isinstance(entry, str) else entry[0] for entry in entries]
    assert caught.value.tally.done == 25
    assert {*tokens[:25], *caught.value.tally.failed, *left} == set(tokens)
    assert not caught.value.tally.failed.keys() & set(left)


@given(st.lists(st.sampled_from("abcde"), max_size=30), st.integers(1, 4), st.booleans(), st.integers(0, 5))
def test_an_eager_chunk_takes_no_more_entries_than_it_accounts_for(
    tokens: list[str], size: int, repeats: bool, taken: int
) -> None:
    entries, chunks = iter(tokens), Chunks(size, str, repeats=repeats, eager=True)
    lists = [chunk.reveal() for chunk in islice(in_chunks(Hidden(entries), chunks), taken)]
    left = list(entries)
    accounted = [token for chunk in lists for token in chunk]
    assert accounted + [str(token) for token in chunks.pending()] + left == tokens if taken else left == tokens
    assert all(len(set(chunk)) <= size for chunk in lists)
    assert repeats or all(len(set(chunk)) == len(chunk) for chunk in lists)


@on_one_server
def test_one_chunk_that_is_throttled_is_named_two_in_a_row_end_the_job(drive: Drive, clock: FakeClock) -> None:
    def of(*tokens: str) -> Failing:
        return Failing(lambda operation, arguments: any(f"'{token}'" in str(arguments) for token in tokens))

    tally = drive.batch(drive.table(), of("token-30"), attempts=2).save_many(named(range(100)))
    assert (tally.done, len(tally.failed)) == (75, 25)
    with pytest.raises(BatchIncompleteError) as caught:
        drive.batch(drive.table(), of("token-30", "token-60"), attempts=2).save_many(named(range(100)))
    assert (caught.value.tally.done, len(caught.value.tally.failed)) == (25, 50)


@on_one_server
def test_what_the_callers_own_records_raise_comes_with_what_was_done(drive: Drive) -> None:
    def records() -> Iterator[tuple[str, bytes, Any]]:
        yield from named(range(30))
        raise LookupError("the caller's own")

    with pytest.raises(LookupError) as caught:
        drive.batch(drive.table()).save_many(records())
    assert caught.value.__notes__ == ["save_many: 25 records were done before this error"]


@on_one_server
def test_what_comes_later_makes_good_what_failed_before(drive: Drive) -> None:
    entries: list[Any] = [("a", b"x" * 500_000, LATER), ("b", b"", LATER), ("a", b"small", LATER)]
    tally = drive.batch(drive.table()).save_many(entries)
    assert (tally.done, tally.failed) == (2, {})


# Resume tokens know where they belong


@on_one_server
def test_a_resume_token_is_of_one_job_one_place_and_one_target(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, _ = filled(drive, clock)
    path = tmp_path / "x.jsonl"
    drive.batch(source, clock=clock).export(path)
    places: list[Progress] = []
    to, other = drive.batch(drive.table()), drive.batch(drive.table())
    watched = drive.batch(source, Meddler(page=50), clock=clock, watch=places.append)
    drive.copy(watched, to)
    copying = places[0].resume
    drive.batch(to.store.table, clock=clock, watch=places.append).load(path)
    loading = places[-1].resume
    wrongs: list[Callable[[], object]] = [
        lambda: drive.copy(watched, other, resume=copying),
        lambda: drive.copy(watched, to, expired=True, resume=copying),
        lambda: watched.purge_expired(resume=copying),
        lambda: other.load(path, resume=loading),
        lambda: to.load(path, expired=True, resume=loading),
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"the resume token belongs to"):
            wrong()
    # And of one server.
    client = WireClient("us-east-1", "http://127.0.0.1:1", credentials=KEYS, attempts=1)
    elsewhere = Batch(DynamoStore(client, source))
    with pytest.raises(ValueError, match=r"at us-east-1 http://127\.0\.0\.1:\d+.*not to scan.*:1\)"):
        next(elsewhere.scan(resume=_text(watched, places)))
    client.close()


def _text(watched: Any, places: list[Progress]) -> str:
    places.clear()
    next(iter(scan := watched.scan()))
    list(scan)
    text = places[0].resume
    assert text is not None
    return text


@pytest.mark.parametrize("drive", [DRIVES[0]], ids="-".join, indirect=True)
def test_a_table_is_not_copied_to_itself_by_whatever_name(drive: Drive, backends: Backends, clock: FakeClock) -> None:
    source, _ = filled(drive, clock, 20)
    url = backends.server("ministack").url
    assert url is not None
    arn = drive.raw.describe_table(TableName=source.name)["Table"]["TableArn"]
    for name, endpoint in ((source.name, url.replace("127.0.0.1", "localhost")), (arn, url)):
        with WireClient("us-east-1", endpoint, credentials=KEYS) as client:
            to: Any = DynamoStore(client, Table(name=name))
            with pytest.raises(ValueError, match="same table"):
                drive.batch(source).copy(to)


# Files


@on_one_server
def test_two_exports_to_one_path_at_once_are_one(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, stored = filled(drive, clock, 60)
    path = tmp_path / "x.jsonl"
    first = ExportFile(path, source, 1, "elsewhere", expired=True, overwrite=False)
    with pytest.raises(FileExistsError, match="another process is writing"):
        drive.batch(source, clock=clock).export(path, expired=True)
    first.close()
    # What was left by a process that ended is begun anew, for it was of another place.
    assert drive.batch(source, clock=clock).export(path, expired=True).records == len(stored)
    assert verify(path).records == len(stored)


@on_one_server
def test_a_file_is_for_its_owner_whatever_was_there(drive: Drive, clock: FakeClock, tmp_path: Path) -> None:
    source, _ = filled(drive, clock, 20)
    path = tmp_path / "x.jsonl"
    for beside in (".partial", ".resume.new"):
        there = tmp_path / f"x.jsonl{beside}"
        there.touch()
        there.chmod(0o644)
    drive.batch(source, clock=clock).export(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "y.jsonl.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        drive.batch(source, clock=clock).export(tmp_path / "y.jsonl")
    assert (tmp_path / "precious").read_text() == "precious"


@on_one_server
def test_a_record_that_cannot_be_loaded_does_not_keep_the_others_back(
    drive: Drive, clock: FakeClock, tmp_path: Path
) -> None:
    source = drive.table()
    store = DynamoStore(drive.raw, source, clock=clock)
    drive.batch(source).save_many(named(range(60)))
    drive.raw.update_item(
        TableName=source.name,
        Key={"token": {"S": "token-7"}},
        UpdateExpression="SET payload = :p",
        ExpressionAttributeValues={":p": {"S": "somebody else's"}},
    )
    path = tmp_path / "x.jsonl"
    drive.batch(source).export(path)
    target = Table(name=drive.table().name, data="payload")
    tally = drive.batch(target).load(path)
    assert (tally.done, list(tally.failed)) == (59, ["token-7"])
    assert store.find("token-7") is not None


# At a rate, and with a limit


def test_who_asks_while_another_call_is_under_way_waits_for_its_price() -> None:
    now = 0.0
    budget = Budget(10, lambda: now)
    assert budget.wait() == 0
    # What it will cost is not known: as a page of 1 MB, for all that is known.
    assert budget.wait() == 12.8
    budget.spend(5)
    assert budget.wait() == 0.5
    now = 0.5
    assert budget.wait() == 0
    assert budget.wait() == 0.5
    budget.forgo()
    assert budget.wait() == 0
    assert budget.consumed == 5


@on_one_server
def test_a_small_limit_does_not_crawl_through_what_has_expired(drive: Drive, clock: FakeClock) -> None:
    table = drive.table()
    drive.batch(table).save_many((f"token-{n}", b"", PAST if n % 100 else LATER) for n in range(1000))
    meddler = Meddler()
    assert len(list(drive.batch(table, meddler, clock=clock).scan(limit=3))) == 3
    assert meddler.calls["scan"] <= 6
