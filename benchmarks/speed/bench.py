"""The bench: which Python measures, in what surroundings, and the processes that run on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from dynamostore.local import CREDENTIALS

from .messages import Failed, Ready, Reply
from .peers import PEERS
from .stored import stored_token

__all__ = ["ROOT", "Bench", "BenchError", "Child", "Worker", "progress", "together"]

R = TypeVar("R")
T = TypeVar("T", bound=msgspec.Struct)

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0
"""How long a process may take for one answer, in seconds: then something is wrong, and the process is ended."""


class BenchError(Exception):
    """The benchmark cannot be run here, or a process of it failed; says what to do, or what it said."""


def progress(text: str) -> None:
    """Show on a terminal what is going on, in one line; "" removes it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:100]}")
        sys.stderr.flush()


@contextmanager
def together() -> Iterator[None]:
    """What is started in this block runs on one processor, client and server, where the system can do that.

    To wake another processor takes longer than all the rest of a bare exchange does on many a virtual machine, and is
    counted as the client's time. So it would be the most of what is measured of a fast client, and a matter of luck:
    the scheduler puts the two on one processor or on two. One call at a time has no use for two of them.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(slots=True)
class Bench:
    """The environment that has the clients, and what could not be measured."""

    python: Path
    home: Path
    """An empty folder for a home: no configuration files are there to be read."""
    versions: str = ""
    notes: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, python: Path, packages: Iterable[str] | None = None) -> Iterator[Self]:
        """The bench on an interpreter, and the versions of *packages* there (default: the peers'); `BenchError` if there is none."""
        # Not resolved: a link in an environment leads out of it.
        python = python.absolute()
        how = "make bench sets it up (.venv-bench/bin/pip install -r benchmarks/requirements.txt -e .)"
        if not python.exists():
            raise BenchError(f"there is no {python}: {how}")
        with tempfile.TemporaryDirectory() as home:
            bench = cls(python, Path(home))
            if packages is None:
                packages = (package for peer in PEERS.values() for package in peer.packages)
            program = "import sys; from benchmarks.about import versions; print(versions(*sys.argv[1:]))"
            try:
                bench.versions = bench.run("-c", program, *dict.fromkeys(packages)).strip()
            except BenchError as error:
                raise BenchError(f"{python} has not all that is measured: {error}; {how}") from error
            yield bench

    def environment(self, ca: Path | None) -> dict[str, str]:
        """All that a measured process has: credentials, and the authority to trust; no proxies, no settings."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        trust = {"AWS_CA_BUNDLE": str(ca), "SSL_CERT_FILE": str(ca)} if ca else {}
        return {**kept, "HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true", **CREDENTIALS, **trust}

    def run(self, *arguments: str, ca: Path | None = None) -> str:
        """What a program prints; `BenchError` with the last of its complaints if it fails."""
        try:
            done = subprocess.run(
                [self.python, *arguments],
                cwd=ROOT,
                env=self.environment(ca),
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{arguments[0]} was not done in {_PATIENCE:.0f} s") from error
        if done.returncode:
            raise BenchError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        return done.stdout

    def ask(self, kind: type[T], *arguments: str, ca: Path | None = None) -> T:
        """What a program prints, if that is one message."""
        return msgspec.json.decode(self.run(*arguments, ca=ca), type=kind)

    @contextmanager
    def workers(
        self, names: Sequence[str], url: str, where: str, ca: Path | None = None, pool: int = 10
    ) -> Iterator[dict[str, Worker]]:
        """A worker for each peer that can be had and can talk to the server; the others are noted."""
        with ExitStack() as stack:
            workers = {}
            for name in names:
                progress(f"{where}: starting {PEERS[name].label}")
                try:
                    workers[name] = stack.enter_context(Worker(self, name, url, ca, pool))
                except BenchError as error:
                    self.note(PEERS[name].label, where, error)
            yield workers

    def note(self, what: str, where: str, error: BenchError) -> None:
        """Remember that something was not measured, and why."""
        self.notes.append(f"{what}, {where}: {error}")


class Child:
    """A module that is run for the length of a ``with`` block, and answers each line of its input with one.

    `BenchError` on entering if it does not say that it is `Ready`. *replies* is the union of what it may answer.
    """

    def __init__(
        self, bench: Bench, module: str, arguments: Sequence[str], replies: object, ca: Path | None = None
    ) -> None:
        self._decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(replies)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed on leaving)
        self._process = subprocess.Popen(
            [bench.python, "-m", module, *arguments],
            cwd=ROOT,
            env=bench.environment(ca),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        try:
            self._receive(Ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def ask(self, command: msgspec.Struct, kind: type[R]) -> R:
        """The answer to a command; `BenchError` if it failed, or took too long."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise BenchError(f"it ended: {self._said()}") from error
        return self._receive(kind)

    def _receive(self, kind: type[R]) -> R:
        assert self._process.stdout is not None
        impatience = threading.Timer(_PATIENCE, self._process.kill)
        impatience.start()
        try:
            line = self._process.stdout.readline()
        finally:
            impatience.cancel()
        if not line:
            raise BenchError(f"it ended: {self._said()}")
        reply = self._decoder.decode(line)
        if isinstance(reply, Failed):
            raise BenchError(reply.reason)
        assert isinstance(reply, kind)
        return reply

    def _said(self) -> str:
        self._log.seek(0)
        return (self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Worker(Child):
    """A ``children.worker`` of one peer."""

    def __init__(self, bench: Bench, name: str, url: str, ca: Path | None, pool: int) -> None:
        arguments = [name, url, stored_token(name), str(pool)]
        super().__init__(bench, "benchmarks.speed.children.worker", arguments, Reply, ca)
        self.name = name
