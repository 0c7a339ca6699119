"""`GoReader`: what a Go program gets from a session's payload. tests/interop/reader.go, in a process beside."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, TypeAlias

import msgspec

from dynamostore.client import Item

Kind: TypeAlias = Literal["string", "int", "float", "bool", "bytes", "time"]

KINDS: tuple[Kind, ...] = ("string", "int", "float", "bool", "bytes", "time")
SOURCE = Path(__file__).parent / "interop/reader.go"


class Value(msgspec.Struct, frozen=True):
    """One value as SCS's getter gives it, as text; not *ok* if it is of another type."""

    ok: bool
    value: str = ""
    error: str = ""
    missing: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What Go finds in a payload: the keys sorted, the values in the order of the reads."""

    deadline: int
    keys: list[str]
    values: list[Value]


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class _Request(msgspec.Struct):
    payload: bytes
    reads: Sequence[tuple[str, Kind]]


class GoReader:
    """Asks the process that runs reader.go, line by line: so hypothesis can shrink what Go reads wrongly."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Answer).decode

    def read(self, payload: bytes, reads: Sequence[tuple[str, Kind]]) -> Answer:
        """What SCS reads from *payload*; `ValueError` if it cannot decode it."""
        self._requests.write(self._encode(_Request(payload, reads)) + b"\n")
        self._requests.flush()
        line = self._answers.readline()
        try:
            return self._decode(line)
        except msgspec.ValidationError:
            raise ValueError(msgspec.json.decode(line, type=_Refusal).error) from None


def found_by_scs(item: Item, now_ns: int) -> bytes | None:
    """What the store of SCS for Go finds in an item, by its rule; KeyError where it panics.

    It reads the expiry first. Then it dereferences the data, without a look if there are any.
    """
    if not item or int(item["expiry"]["N"]) < now_ns:
        return None
    return item["data"]["B"]


def missing() -> str | None:
    """Why there can be no `GoReader` here; None if there can."""
    return None if shutil.which("go") else "Go is not installed"


@contextmanager
def go_reader(directory: Path) -> Iterator[GoReader]:
    """A `GoReader`, built in *directory*, while the block lasts."""
    program = directory / "reader"
    if _build(program):
        # Perhaps for want of a home to keep its cache in. From scratch it may take a while.
        failure = _build(program, GOCACHE=str(directory / "cache"))
        assert not failure, f"go build: {failure}"
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        # It ends when its input does, which leaving the block closes.
        assert process.stdin is not None
        assert process.stdout is not None
        yield GoReader(process.stdin, process.stdout)


def _build(program: Path, **environment: str) -> str:
    """What went wrong; empty if nothing did."""
    command = ["go", "build", "-o", str(program), str(SOURCE)]
    # One file of the standard library's only: no module to look for, and no other Go to download.
    settings = {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", **environment}
    built = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    return built.stderr if built.returncode else ""
