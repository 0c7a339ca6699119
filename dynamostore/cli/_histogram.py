"""A histogram in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table as Grid

__all__ = ["histogram"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LABELS = 22


def histogram(
    console: Console,
    title: str,
    *,
    buckets: Sequence[tuple[float, str]],
    counts: Sequence[int],
    of: Sequence[int],
    style: str,
) -> RenderableType:
    """Return a grid with a row for each of *buckets*: its name, count, share and a bar.

    The share is of the sum of *of*. The longest bar stands for the largest count in *of*.
    """
    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0), title=None, expand=True)
    grid.add_column(no_wrap=True, width=8, style="bold")
    grid.add_column(no_wrap=True, width=_LABELS - 2)
    grid.add_column(no_wrap=True, justify="right", width=10)
    grid.add_column(no_wrap=True, justify="right", width=4)
    grid.add_column(no_wrap=True, ratio=1)
    whole, longest = sum(of) or 1, max(of) or 1
    ascii_only = not console.encoding.startswith("utf")
    for number, ((_, name), count) in enumerate(zip(buckets, counts, strict=True)):
        bar = _Bar(count / longest, style, ascii_only=ascii_only)
        grid.add_row(
            title if number == 0 else "",
            name,
            f"{count:,}",
            "<1%" if 0 < count < whole / 100 else f"{count / whole:.0%}",
            bar,
        )
    return grid


class _Bar:
    def __init__(self, share: float, style: str, *, ascii_only: bool) -> None:
        self._share, self._style, self._ascii = share, Style.parse(style), ascii_only

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        width = options.max_width
        if self._ascii:
            text = "#" * max(round(self._share * width), self._share > 0)
        else:
            eighths = max(round(self._share * width * 8), self._share > 0)
            text = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        yield Segment(text, self._style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        del console
        return Measurement(4, options.max_width)
