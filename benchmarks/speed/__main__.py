"""``python -m benchmarks.speed``: prints Markdown tables; it takes some six minutes and stops by itself."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap

from benchmarks.about import machine, versions

from . import calls, cold, layers, targets, throughput
from .bench import ROOT, Bench, BenchError, progress, together
from .messages import Profile, Profiled
from .peers import PEERS
from .servers import Certificate, Server, make_certificate, ministack, stub
from .stored import SIZES

PARTS = ("calls", "throughput", "cold", "session")


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long."""

    seconds: float
    rounds: int
    rounds_apart: int
    rounds_with_tls: int
    rounds_on_ministack: int
    rounds_of_load: int
    more_rounds_of_load: int
    seconds_of_load: float
    starts: int
    rounds_of_layers: int


FULL = Effort(0.1, 8, 4, 4, 3, 3, 1, 0.4, 5, 20)
QUICK = Effort(0.04, 3, 1, 1, 1, 1, 1, 0.15, 2, 5)


def main() -> int:
    arguments = _parser().parse_args()
    effort = QUICK if arguments.quick else FULL
    parts = arguments.only or PARTS
    began, busy = time.monotonic(), os.getloadavg()[0]
    try:
        with Bench.open(arguments.python) as bench:
            for line in _report(bench, effort, parts, arguments.profile):
                progress("")
                print(line, flush=True)
            for line in _about(bench, effort, time.monotonic() - began, busy):
                print(line)
    except BenchError as error:
        progress("")
        print(f"benchmarks.speed: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="How fast, beside others.")
    parser.add_argument("--quick", action="store_true", help="a minute's run, for trying it out: its figures are rough")
    parser.add_argument("--only", action="append", choices=PARTS, help="just this part; may be given again")
    parser.add_argument("--profile", action="store_true", help="and where the time of our own find goes")
    parser.add_argument(
        "--python",
        type=Path,
        default=ROOT / ".venv-bench" / "bin" / "python",
        help="the interpreter that has the clients (default: .venv-bench's)",
    )
    return parser


def _report(bench: Bench, effort: Effort, parts: Sequence[str], profile: bool) -> Iterator[str]:
    certificate = make_certificate(bench)
    measured, apart = Measured(), Measured()
    with together():
        if "calls" in parts:
            yield from _calls(bench, effort, certificate, measured)
        if "cold" in parts:
            yield from _cold(bench, effort, certificate, measured)
        if "session" in parts:
            with stub(bench, None) as server:
                measured.layers = layers.measure(bench, server, effort.rounds_of_layers)
                yield from layers.show(server, measured.layers)
        if profile:
            with stub(bench, None) as server:
                yield from _profiles(bench, server)
    with stub(bench, None, apart=True) as server:
        if "calls" in parts:
            apart.calls = calls.measure(bench, server, list(PEERS), effort.rounds_apart, effort.seconds)
            yield from calls.show(server, apart.calls)
        if "session" in parts:
            apart.layers = layers.measure(bench, server, effort.rounds_of_layers)
            yield from layers.show(server, apart.layers)
        if "throughput" in parts:
            yield from _throughput(bench, effort, server, effort.rounds_of_load)
    if "throughput" in parts:
        with stub(bench, certificate, apart=True) as server:
            yield from _throughput(bench, effort, server, effort.more_rounds_of_load)
        with ministack(None, list(PEERS), apart=True) as server:
            yield from _throughput(bench, effort, server, effort.more_rounds_of_load)
    if set(parts) - {"throughput"}:
        yield from targets.show(measured.targets(), apart.targets())


@dataclass(slots=True)
class Measured:
    """What targets are judged by."""

    calls: calls.Figure = field(default_factory=dict)
    cold: dict[str, cold.Cold] = field(default_factory=dict)
    layers: layers.Layers = field(default_factory=dict)

    def targets(self) -> Iterator[targets.Target]:
        return targets.targets(self.calls, self.cold, self.layers)


def _calls(bench: Bench, effort: Effort, certificate: Certificate, measured: Measured) -> Iterator[str]:
    signing = [name for name, peer in PEERS.items() if peer.signs]
    with stub(bench, None) as server:
        measured.calls = calls.measure(bench, server, list(PEERS), effort.rounds, effort.seconds)
        yield from calls.show(server, measured.calls)
    with stub(bench, certificate) as server:
        figures = calls.measure(bench, server, list(PEERS), effort.rounds_with_tls, effort.seconds)
        yield from calls.show(server, figures)
    for of_ministack in (None, certificate):
        with ministack(of_ministack, signing) as server:
            figures = calls.measure(bench, server, signing, effort.rounds_on_ministack, effort.seconds)
            yield from calls.show(server, figures)


def _cold(bench: Bench, effort: Effort, certificate: Certificate, measured: Measured) -> Iterator[str]:
    names = [name for name, peer in PEERS.items() if peer.cold]
    with stub(bench, None) as server:
        measured.cold = cold.measure(bench, server, names, effort.starts)
        yield from cold.show(server, measured.cold)
    with stub(bench, certificate) as server:
        yield from cold.show(server, cold.measure(bench, server, names, effort.starts))


def _throughput(bench: Bench, effort: Effort, server: Server, rounds: int) -> Iterator[str]:
    names = [name for name, peer in PEERS.items() if peer.load]
    before = server.stats()
    measured = throughput.measure(bench, server, names, rounds, effort.seconds_of_load)
    yield from throughput.show(server, measured)
    if before and (after := server.stats()):
        share = (after.cpu - before.cpu) / (after.requests - before.requests)
        yield ""
        yield f"The server took {share * 1e6:.0f} µs of processor time a call."


def _profiles(bench: Bench, server: Server) -> Iterator[str]:
    """Where the time of our own finds goes."""
    with bench.workers(["bare", "wire", "ours", "bare-async", "wire-async", "ours-async"], server.url, "profile") as (
        workers
    ):
        for name, worker in workers.items():
            profiled = worker.ask(Profile(SIZES["1 kB"], 10_000), Profiled)
            yield ""
            yield f"A find by {PEERS[name].label}: {profiled.user * 1e6:.0f} µs in the program, "
            yield f"{profiled.kernel * 1e6:.0f} µs in the kernel. Under the profiler, which makes Python slower:"
            yield ""
            yield "```"
            yield profiled.functions
            yield "```"


def _about(bench: Bench, effort: Effort, seconds: float, busy: float) -> Iterator[str]:
    for note in bench.notes:
        yield ""
        yield from wrap(f"Not measured: {note}.", 120)
    yield ""
    yield from wrap(
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.1f} minutes: {machine()} (load average "
        f"before: {busy:.1f}), {bench.versions}; the "
        f"driver and ministack on {versions('ministack')}. Each client is in a process of its own, and so is the server, "
        "on the loopback interface. Client and server share one processor, but for the tables on any processor: there the "
        "scheduler puts them where it likes, and has one processor wake the other now and then. The clients take turns, "
        f"{effort.seconds * 1000:.0f} ms for each call in each of {effort.rounds} rounds (with TLS "
        f"{effort.rounds_with_tls}, on ministack {effort.rounds_on_ministack}, on any processor {effort.rounds_apart}); "
        "a figure is the median of the rounds, a ratio that of their ratios. CPU is the time of all threads of the "
        "client's process, in the program and in the kernel. Reads are consistent, writes conditional on what was read; "
        "each client was made once, as its documentation has it, and gets the same item: 1 or 32 kB of data and five short "
        "attributes. In brackets is what is no whole client: what the bytes alone cost, with nothing signed or parsed, "
        "and a layer of ours. The stub server answers from memory and checks nothing; where the server is ministack, it "
        "is the slower of the two. Ratios compare with dynamostore on wire, sync clients with sync, async ones (on "
        "asyncio's own event loop) with async. With TLS, clients load the usual authorities and one more. A cold start is "
        "timed from before the first import to the first reply, with all files in the page cache.",
        120,
    )


if __name__ == "__main__":
    sys.exit(main())
