"""What the layers add: the store to the wire client, and the session to the store."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import msgspec

from .bench import Bench, BenchError, progress
from .messages import Layer
from .servers import Server
from .tables import table

__all__ = ["KINDS", "Layers", "added", "measure", "show"]

KINDS = ("sync", "async")

Layers = dict[str, dict[tuple[str, str], Layer]]
"""By kind, and then by what is done and who does it."""


def measure(bench: Bench, server: Server, rounds: int) -> Layers:
    """Each in one process; what is not there is noted."""
    measured: Layers = {}
    for kind in KINDS:
        progress(f"{server.name}: layers, {kind}")
        try:
            printed = bench.run("-m", "benchmarks.speed.children.layers", kind, server.url, str(rounds), ca=server.ca)
        except BenchError as error:
            bench.note(f"the layers, {kind}", server.name, error)
            continue
        layers = msgspec.json.decode(printed, type=list[Layer])
        measured[kind] = {(layer.what, layer.who): layer for layer in layers}
    return measured


def added(upper: Layer, lower: Layer) -> float:
    """What a layer adds to the one below, in microseconds of processor time: the median of the rounds' differences."""
    return median(this - that for this, that in zip(upper.cpu, lower.cpu, strict=True))


def show(server: Server, measured: Layers) -> Iterator[str]:
    """A row for each thing and layer."""

    def rows() -> Iterator[list[str]]:
        for kind, layers in measured.items():
            below: Layer | None = None
            for layer in layers.values():
                lower = below if below is not None and below.what == layer.what else None
                below = layer
                yield [
                    f"{layer.what}: {layer.who}, {kind}",
                    f"{median(layer.cpu):,.1f}",
                    f"{median(layer.wall):,.1f}",
                    f"{added(layer, lower):+,.1f}" if lower else "",
                    _alone(layer, lower) if lower else "",
                ]

    titles = (
        f"1 kB, {server.name}",
        "CPU µs",
        "wall µs",
        "adds to the one above, CPU µs",
        "and without a network",
    )
    return table(titles, rows())


def _alone(upper: Layer, lower: Layer) -> str:
    return f"{median(this - that for this, that in zip(upper.alone, lower.alone, strict=True)):+,.1f}"
