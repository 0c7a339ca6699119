"""`Bar`: a job's progress bar, shown on a terminal only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

__all__ = ["Bar", "Now"]

_PER_SECOND = 5


@dataclass(frozen=True, slots=True)
class Now:
    """A job's progress: items it is *through* with, items *read*, items *done*, capacity units *consumed*."""

    through: int
    read: int
    done: int
    consumed: float


class Bar:
    """A line on *console* with the items read and done, the speed, the capacity units and the time left.

    *now* returns the current progress. *total* is an estimate of the number of items.
    """

    def __init__(self, console: Console, name: str, verb: str, total: int | None, now: Callable[[], Now]) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        # Create it only where it is shown: rich before 14.1 prints a newline even for a disabled progress bar.
        if console.is_interactive:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=max(8, min(40, (console.width - 60) // 2))),
                _Numbers(verb, now),
                console=console,
                refresh_per_second=_PER_SECOND,
                transient=True,
            )
            self._task = self._progress.add_task(name, total=total)

    def describe(self, name: str) -> None:
        """Change the text at the start of the line."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=name)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


class _Numbers(ProgressColumn):
    def __init__(self, verb: str, now: Callable[[], Now]) -> None:
        super().__init__()
        self._verb, self._now = verb, now

    def render(self, task: Task) -> Text:
        now = self._now()
        # The total was an estimate, some hours old. Drop it once it is exceeded.
        if task.total is not None and now.through > task.total:
            task.total = None
        task.completed = now.through
        elapsed = task.elapsed or 0.0
        speed = (now.done or now.read) / elapsed if elapsed else 0.0
        parts = [f"{now.read:,} read"]
        if now.done != now.read:
            parts.append(f"{now.done:,} {self._verb}")
        parts += [f"{speed:,.0f}/s", f"{now.consumed:,.0f} units"]
        left = elapsed * (task.total / now.through - 1) if task.total and now.through else 0.0
        parts.append(f"{_clock(left)} left" if left else _clock(elapsed))
        return Text(" · ".join(parts), no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    """Return seconds as h:mm:ss or m:ss.

    >>> _clock(75), _clock(4000)
    ('1:15', '1:06:40')
    """
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
