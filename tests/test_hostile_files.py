"""Files that somebody has made up: what `load` would store is what `find` can find, and memory is bounded."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import traceback
import tracemalloc
import zlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamostore import DynamoStore, Table
from dynamostore.batch import verify
from dynamostore.batch._lines import FORMAT, Head, decode_line, encode_line
from dynamostore.batch._reading import MAX_LINE, Lines
from dynamostore.instants import INT64_MAX, INT64_MIN
from dynamostore.items import MAX_ITEM

from .batch.driving import Drive
from .batch.fixtures import DRIVES, drive
from .batch.meddling import Meddler
from .batch.mixed import attribute_values

__all__ = ["drive"]

both = pytest.mark.parametrize("drive", DRIVES[:2], ids="-".join, indirect=True)
one = pytest.mark.parametrize("drive", DRIVES[:1], ids="-".join, indirect=True)

FAR = 9_000_000_000_000_000_000
GOOD = b'{"token":"good","text":"x","expiry":%d}\n' % FAR


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def head(*attributes: str) -> bytes:
    names = attributes or Table().own
    return msgspec.json.encode(Head(FORMAT, "a_table", names, datetime(2026, 11, 25, tzinfo=UTC))) + b"\n"


def made(path: Path, *lines: bytes) -> Path:
    """A whole file, as if somebody had exported *lines*."""
    body = head() + b"".join(lines)
    end = json.dumps({"records": len(lines), "sha256": hashlib.sha256(body).hexdigest()}, separators=(",", ":"))
    whole = body + end.encode() + b"\n"
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
    return path


def nested(depth: int) -> bytes:
    return b'{"L":[' * depth + b'{"NULL":true}' + b"]}" * depth


HOSTILE = [
    (b'{"token":"t","text":"x","expiry":%d}' % 10**20, "expiry is outside signed 64-bit nanoseconds"),
    (b'{"token":"t","text":"x","expiry":%d}' % (INT64_MIN - 1), "expiry is outside signed 64-bit nanoseconds"),
    (b'{"token":"t","text":"x","expiry":%d}' % 10**40, "not a record"),
    (b'{"token":"t","text":"x","expiry":%d,"version":-7}' % FAR, "version is not between 1 and"),
    (b'{"token":"t","text":"x","expiry":%d,"version":%d}' % (FAR, 2**70), "version is not between 1 and"),
    (b'{"token":"t","text":"x","expiry":%d,"version":7,"recent":"AAAAAAA="}' % FAR, "not versions of 8 bytes each"),
    (b'{"token":"","text":"x","expiry":%d}' % FAR, "token is not 1 to 2048 bytes"),
    (b'{"token":"%s","text":"x","expiry":%d}' % (b"t" * 2049, FAR), "token is not 1 to 2048 bytes"),
    (b'{"token":"t","expiry":%d}' % FAR, "either text or base64"),
    (b'{"token":"t","text":"x","expiry":%d,"beside":{"a":%s}}' % (FAR, nested(33)), "nested deeper than the 32 levels"),
    (b'{"token":"t","text":"x","expiry":%d,"beside":{"a":%s}}' % (FAR, nested(3000)), "nested deeper than the 32 levels"),
    (b'{"token":"t","item":{"token":{"S":"t"},"a":%s}}' % nested(90_000), "nested deeper than the 32 levels"),
    (b'{"token":"t","text":"x","expiry":%d,"%s":1}' % (FAR, b"n" * 10_000), "unknown field `n{100,180}…"),
    (b'{"token":"t","text":"x","expiry":%d,"\xe2\x80\xae":1}' % FAR, r"unknown field `\\u202e`"),
]  # fmt: skip


@both
@pytest.mark.parametrize(("line", "reason"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_could_not_be_found_is_refused_with_its_line_and_nothing_is_written(
    drive: Drive, tmp_path: Path, line: bytes, reason: str
) -> None:
    table, meddler = drive.table(), Meddler()
    path = made(tmp_path / "x.jsonl", GOOD, line + b"\n", GOOD)
    with pytest.raises(ValueError, match=rf"x\.jsonl, line 3: .*{reason}"):
        drive.batch(table, meddler).load(path)
    assert not meddler.calls
    assert drive.items(table) == {}


@both
@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"token": {"S": "t"}, "expiry": {"N": str(FAR)}}, "data is missing"),
        ({"token": {"S": "t"}, "data": {"B": ""}}, "expiry is missing"),
        ({"token": {"S": "t"}, "moved": {"S": ""}, "expiry": {"N": "1"}}, "moved is of type S, not a token"),
        ({"token": {"S": "t"}, "data": {"B": ""}, "expiry": {"N": "1e400"}}, "expiry is not an integer"),
        ({"token": {"S": "t"}, "data": {"B": ""}, "expiry": {"N": "1"}, "version": {"N": "0"}}, "version is not between"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_an_export_may_hold_and_nobody_could_find_fails_alone(
    drive: Drive, tmp_path: Path, item: dict[str, Any], reason: str
) -> None:
    table = drive.table()
    line = json.dumps({"token": "t", "item": item}).encode() + b"\n"
    tally = drive.batch(table).load(made(tmp_path / "x.jsonl.gz", line, GOOD), expired=True)
    assert (tally.done, list(tally.failed)) == (1, ["t"])
    assert str(tally.failed["t"]).startswith(f"line 2: its item is not a record: {reason}")
    assert list(drive.items(table)) == ["good"]


@one
def test_an_item_that_is_too_large_fails_alone_and_is_not_sent(drive: Drive, tmp_path: Path) -> None:
    table, meddler = drive.table(), Meddler()
    large = b'{"token":"t","text":"%s","expiry":%d}\n' % (b"x" * MAX_ITEM, FAR)
    tally = drive.batch(table, meddler).load(made(tmp_path / "x.jsonl", large, GOOD))
    assert (tally.done, list(tally.failed), meddler.sizes) == (1, ["t"], [1])
    assert re.match(r"line 2: its item has 409,6\d\d bytes; DynamoDB's limit is 409,600", str(tally.failed["t"]))


# What is accepted can be found

_integers = st.sampled_from([0, 1, -1, INT64_MAX, INT64_MIN, INT64_MAX + 1, 10**20, FAR]) | st.integers(-(2**70), 2**70)
_base64 = st.binary(max_size=24).map(lambda data: base64.b64encode(data).decode())
_values = st.one_of(
    attribute_values().map(msgspec.to_builtins),
    st.builds(lambda number: {"N": str(number)}, _integers),
    st.builds(lambda data: {"B": data}, _base64),
    st.sampled_from([{}, {"S": 1}, None, {"X": "y"}, {"S": "a", "N": "1"}]),
)
_names = st.sampled_from([*Table().own, "owner", "else"])
_lines = st.fixed_dictionaries(
    {"token": st.sampled_from(["t", "", "é" * 1024, "t" * 2049, "\x00"])},
    optional={
        "text": st.text(max_size=5),
        "base64": _base64 | st.just("?"),
        "expiry": _integers,
        "version": _integers,
        "recent": _base64 | st.sampled_from(["AAAAAAAAAAA=", "AAAAAAA="]),
        "beside": st.dictionaries(_names, _values, max_size=2),
        "item": st.dictionaries(_names, _values, max_size=6),
    },
) | st.builds(
    lambda token, rest: {"token": token, "item": {**rest, "token": {"S": token}}},
    st.sampled_from(["t", ""]),
    st.fixed_dictionaries(
        {},
        optional={
            "data": _values | _base64.map(lambda data: {"B": data}),
            "expiry": _integers.map(lambda number: {"N": str(number)}),
            "version": _integers.map(lambda number: {"N": str(number)}),
            "recent": _base64.map(lambda data: {"B": data}),
            "moved": _values | st.just({"S": "elsewhere"}),
            "ttl": _values,
        },
    ),
)


@cache
def table_of(drive: Drive) -> Table:
    """One for all examples."""
    return drive.table()


@one
@examples(120)
@given(line=_lines)
def test_what_load_accepts_is_found_and_equals(
    drive: Drive, tmp_path_factory: pytest.TempPathFactory, line: dict[str, Any]
) -> None:
    table = table_of(drive)
    token = line["token"]
    path = made(tmp_path_factory.getbasetemp() / "any.jsonl", json.dumps(line).encode() + b"\n")
    try:
        tally = drive.batch(table).load(path, expired=True)
    except ValueError as error:
        assert "line 2: " in str(error)
        return
    if tally.failed:
        assert list(tally.failed) == [token]
        return
    store = DynamoStore(drive.raw, table, clock=lambda: INT64_MIN)
    found = store.find(token)
    if "item" not in line:
        data = line["text"].encode() if "text" in line else base64.b64decode(line["base64"])
        assert found is not None
        assert (found.data, found.expiry_ns, found.version) == (data, line["expiry"], line.get("version", 0))
        assert base64.b64encode(found.recent).decode() == line.get("recent", "")
    elif "moved" not in line["item"]:
        assert found is not None
        assert found.data == base64.b64decode(line["item"]["data"]["B"])
    store.delete(token)


# Memory


def bomb(path: Path, unit: bytes, megabytes: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head())
        for _ in range(megabytes):
            file.write(unit * ((1 << 20) // len(unit)))
    return path


@pytest.mark.parametrize("unit", [b"x", b"[", b"\n", b"{}\n"], ids=ascii)
@one
def test_a_bomb_is_refused_in_bounded_memory(drive: Drive, tmp_path: Path, unit: bytes) -> None:
    path = bomb(tmp_path / "bomb.jsonl.gz", unit, 30)
    batch = drive.batch(Table(name="nowhere"))
    reasons = {b"\n": "not a record", b"{}\n": "not a record"}
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=reasons.get(unit, "line 2: the line is longer than 4,194,304 bytes")):
            batch.load(path)
        if unit in (b"x", b"["):
            with pytest.raises(ValueError, match="line 2: the line is longer"):
                verify(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * MAX_LINE


def test_a_file_that_is_one_line_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(ValueError, match=r"x\.jsonl, line 1: the line is longer"):
        verify(path)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="there is no /dev/fd")
def test_a_pipe_is_no_file_that_can_be_read_twice() -> None:
    ours, theirs = os.pipe()
    try:
        with pytest.raises(OSError, match="not a regular file"):
            verify(f"/dev/fd/{ours}")
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("data", [b"\x01" * (MAX_ITEM - 200), b"\xff" * (MAX_ITEM - 200)], ids=["text", "base64"])
def test_the_largest_items_are_no_longer_than_a_line_may_be(data: bytes) -> None:
    item = {"token": {"S": "t"}, "data": {"B": data}, "expiry": {"N": str(FAR)}, "ttl": {"N": str(FAR // 10**9 + 1)}}
    assert decode_line(Table(), encode_line(Table(), item)) == item  # type: ignore[arg-type] # it is one
    odd = {"token": {"S": "t"}, "data": {"L": [{"S": ""}] * (MAX_ITEM - 200)}}
    assert len(encode_line(Table(), odd)) < MAX_LINE  # type: ignore[arg-type] # it is one
    larger = {"token": {"S": "t"}, "data": {"L": [{"S": ""}] * (MAX_ITEM + 99_999)}}
    with pytest.raises(ValueError, match="record e3b98a4da31a cannot be exported: its line would be longer"):
        encode_line(Table(), larger)  # type: ignore[arg-type] # it is one


@pytest.mark.parametrize("first", [b"[" * 100_000, b'{"dynamostore":1,"table":"a","attributes":' + b"[" * 100_000])
def test_a_first_line_that_is_nested_is_no_whole_export(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(first + b"\n\n")
    with pytest.raises(ValueError, match="not a complete export"):
        verify(tmp_path / "x.jsonl")


def test_a_first_line_with_other_names_than_a_table_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(head("token", "data") + b"{}\n")
    with pytest.raises(ValueError, match="its first line names 2 attributes, not 7"):
        verify(tmp_path / "x.jsonl")


# Lines are those of the gzip module


def read(data: bytes, *, gzipped: bool) -> list[bytes]:
    lines = Lines(io.BytesIO(data), gzipped=gzipped)
    found = []
    while lines.advance():
        found.append(lines.line)
    return found


@examples(150)
@given(
    parts=st.lists(st.binary(max_size=20) | st.sampled_from([b"\n", b"\r", b"a\n" * 40, b"a" * 90]), max_size=4),
    zeros=st.integers(0, 3),
    cut=st.integers(0, 40),
    piece=st.integers(1, 60),
)
def test_lines_are_those_that_gzip_reads(parts: list[bytes], zeros: int, cut: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dynamostore.batch._reading._PIECE", piece)
        compare_with_gzip(parts, zeros, cut)


def compare_with_gzip(parts: list[bytes], zeros: int, cut: int) -> None:
    plain = b"".join(parts)
    assert read(plain, gzipped=False) == list(io.BytesIO(plain))
    whole = b"".join(gzip.compress(part, compresslevel=1, mtime=0) for part in parts) + b"\0" * (zeros if parts else 0)
    assert read(whole, gzipped=True) == list(io.BytesIO(plain))
    short = whole[: len(whole) - cut] if cut else whole
    try:
        with gzip.open(io.BytesIO(short)) as file:
            expected = list(file)
    except (EOFError, OSError, zlib.error):
        with pytest.raises((EOFError, zlib.error)):
            read(short, gzipped=True)
    else:
        assert read(short, gzipped=True) == expected


# No frame shows what is in a file


def shown(error: BaseException) -> str:
    """The locals of the library's frames that *error* passed, as an error tracker writes them down."""
    said, errors = [], [error]
    while errors:
        one = errors.pop()
        said.append(f"{one!r} {one}")
        said += [
            repr(value)
            for frame, _ in traceback.walk_tb(one.__traceback__)
            if "/dynamostore/" in frame.f_code.co_filename
            for value in frame.f_locals.values()
        ]
        errors += [other for other in (one.__cause__, None if one.__suppress_context__ else one.__context__) if other]
    return "\n".join(said)


@one
def test_no_frame_shows_what_is_in_a_file(drive: Drive, tmp_path: Path) -> None:
    batch = drive.batch(drive.table())
    good = b'{"token":"SECRET","text":"SECRET","expiry":%d}\n' % FAR
    wrong = [line.replace(b'"t"', b'"SECRET"').replace(b'"x"', b'"SECRET"') + b"\n" for line, _ in HOSTILE]
    wrong += [b'{"SECRET', b"SECRET" * (MAX_LINE // 6 + 1)]
    paths = [made(tmp_path / f"{n}.jsonl.gz", good, line, good) for n, line in enumerate(wrong)]
    paths.append(tmp_path / "cut.jsonl.gz")
    paths[-1].write_bytes(made(tmp_path / "whole.jsonl.gz", *[good] * 30).read_bytes()[:-20])
    paths.append(tmp_path / "no.jsonl")
    paths[-1].write_bytes(b"SECRET\n" * 9)
    for path in paths:
        with pytest.raises(ValueError, match=path.name) as caught:
            batch.load(path)
        assert "SECRET" not in shown(caught.value), path
    for line in wrong:
        with pytest.raises(ValueError) as caught:
            decode_line(Table(), line)
        assert "SECRET" not in shown(caught.value)
    with pytest.raises(ValueError, match="its line would be longer") as caught:
        encode_line(Table(), {"token": {"S": "SECRET"}, "data": {"L": [{"S": "SECRET"}] * MAX_ITEM}})
    assert "SECRET" not in shown(caught.value)
