"""What was aimed at, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .calls import Call, Figure
from .cold import Cold
from .layers import Layers, added
from .tables import median_ratio, table

__all__ = ["Target", "show", "targets"]

_FIND = Call("find", "1 kB")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be at most so much: a part of somebody else's, or so many microseconds."""

    what: str
    aim: float
    measured: float
    ratio: bool

    @property
    def met(self) -> bool:
        return self.measured <= self.aim

    def text(self, figure: float) -> str:
        return f"1/{1 / figure:.3g}" if self.ratio else f"{figure:.3g} µs"


def targets(calls: Figure, cold: dict[str, Cold], layers: Layers) -> Iterator[Target]:
    """Those that can be judged by what was measured on the stub server without TLS."""
    for own, theirs, label, part in (
        ("ours", "boto3", "boto3's client", 10),
        ("ours", "pydynox", "pydynox's", 2),
        ("ours-async", "aiodynamo", "aiodynamo's on aiohttp", 3),
        ("ours-async", "aiobotocore", "aiobotocore's", 6),
    ):
        if own in calls and theirs in calls:
            share = median_ratio(calls[own][_FIND].cpu, calls[theirs][_FIND].cpu)
            yield Target(f"CPU of a find, of {label}{', async' if own != 'ours' else ''}", 1 / part, share, ratio=True)
    if "sync" in layers:
        for what, upper, lower, most in (
            ("read", "store", "client", 15),
            ("write", "store", "client", 15),
            ("read, change, write", "session", "store", 25),
        ):
            extra = added(layers["sync"][what, upper], layers["sync"][what, lower])
            yield Target(f"CPU that the {upper} adds to the {lower}: {what}", most, extra, ratio=False)
    if "ours" in cold and "boto3" in cold:
        share = median_ratio(cold["ours"].totals, cold["boto3"].totals)
        yield Target("first reply of a cold start, of boto3's", 1 / 3, share, ratio=True)


def show(found: Iterator[Target], apart: Iterator[Target]) -> Iterator[str]:
    """A row for each target; *apart* are those that were also measured on any processor."""
    others = {target.what: target for target in apart}

    def rows() -> Iterator[list[str]]:
        for target in found:
            other = others.get(target.what)
            yield [
                target.what,
                target.text(target.aim),
                target.text(target.measured),
                "met" if target.met else "**not met**",
                target.text(other.measured) if other else "",
            ]

    return table(("target: 1 kB, the stub server, no TLS", "at most", "measured", "", "on any processor"), rows())
