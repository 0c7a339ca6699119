"""What runs in processes of its own: a job that will be killed and gone on with, and writers that disturb it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Literal

from dynamostore import AsyncDynamoStore, DynamoStore, Record, Table
from dynamostore.batch import AsyncBatch, Batch, Progress
from dynamostore.batch._lines import RefusedLineError
from tests.backends import async_wire_client, wire_client

from .meddling import AsyncThrough, Killing, Through

__all__ = ["JobName", "Task", "disturb", "work"]

JobName = Literal["export", "load", "copy", "purge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A job, and where it notes how far it is."""

    url: str
    job: JobName
    awaited: bool
    table: Table
    to: Table
    path: Path
    place: Path
    """For the resume token, and what it has done."""
    segments: int
    page: int
    calls: int = 0
    """After how many calls it is killed; 0: never."""
    seconds: float = 0.0


def work(task: Task) -> None:
    """Do the job, from where it was left, to its end or to this process's."""
    if task.awaited:
        asyncio.run(_awork(task))
        return
    with wire_client(task.url) as client:
        through: Any = Through(client, Killing(task.calls, task.seconds, page=task.page))
        batch = Batch(DynamoStore(through, task.table), watch=_noting(task.place))
        resume = _resume(task)
        match task.job:
            case "export" if task.path.exists():
                pass  # killed in its last moment, with the file whole
            case "export":
                batch.export(task.path, expired=True, segments=task.segments)
            case "load":
                _end(batch.load(task.path, expired=True, resume=resume).failed)
            case "copy":
                _end(batch.copy(DynamoStore(through, task.to), segments=task.segments, resume=resume).failed)
            case "purge":
                _end(batch.purge_expired(segments=task.segments, resume=resume).failed)
    _measure(task.place)


async def _awork(task: Task) -> None:
    async with async_wire_client(task.url) as client:
        through: Any = AsyncThrough(client, Killing(task.calls, task.seconds, page=task.page))
        batch = AsyncBatch(AsyncDynamoStore(through, task.table), watch=_noting(task.place))
        resume = _resume(task)
        match task.job:
            case "export" if task.path.exists():
                pass  # killed in its last moment, with the file whole
            case "export":
                await batch.export(task.path, expired=True, segments=task.segments)
            case "load":
                _end((await batch.load(task.path, expired=True, resume=resume)).failed)
            case "copy":
                _end(
                    (await batch.copy(AsyncDynamoStore(through, task.to), segments=task.segments, resume=resume)).failed
                )
            case "purge":
                _end((await batch.purge_expired(segments=task.segments, resume=resume)).failed)
    _measure(task.place)


def _resume(task: Task) -> str | None:
    return task.place.read_text() if task.place.exists() else None


def _end(failed: Mapping[str, Exception]) -> None:
    if any(not isinstance(error, RefusedLineError) for error in failed.values()):
        raise RuntimeError(f"failed: {failed}")


def _noting(place: Path) -> Any:
    new = place.with_name(f"{place.name}.new")

    def watch(progress: Progress) -> None:
        if progress.resume is not None:
            new.write_text(progress.resume)
            new.replace(place)

    return watch


def _measure(place: Path) -> None:
    """How much memory this process has taken at most, in MB."""
    place.with_name(f"{place.name}.memory").write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def disturb(url: str, table: Table, changing: list[str], expired: list[str], until: Event, journal: Path) -> None:
    """Write, renew and delete records until told to stop; then note what each token that was touched should hold.

    Of *changing* and new ones, anything may be done to any, any number of times; those that are *expired* are renewed, once.
    """
    dice = random.Random(os.getpid())
    later = datetime.now(UTC) + timedelta(days=30)
    final: dict[str, int | None] = {}
    renewed = 0
    dice.shuffle(expired)
    with wire_client(url) as client:
        store = DynamoStore(client, table)
        records: dict[str, Record] = {}
        while not until.is_set():
            if expired and dice.random() < 0.5:
                token = expired.pop()
                records[token] = dice.choice([store.save, store.create])(token, b"renewed", later)
                final[token] = records[token].version
                renewed += 1
                continue
            token = dice.choice([*changing, f"n-{dice.randrange(1000)}"]) if changing else f"n-{dice.randrange(1000)}"
            if token in records and dice.random() < 0.4:
                records[token] = store.replace(records[token], dice.randbytes(50), later)
            elif dice.random() < 0.5:
                records[token] = store.save(token, dice.randbytes(50), later)
            else:
                store.delete(token)
                records.pop(token, None)
            final[token] = records[token].version if token in records else None
            time.sleep(0.001)
    journal.write_text(json.dumps({"final": final, "renewed": renewed}))
