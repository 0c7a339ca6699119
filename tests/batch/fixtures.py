"""The fixture ``drive``: batches of each kind, on each server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.backends import Backends

from .driving import Drive, Kind

__all__ = ["DRIVES", "make_drive"]

DRIVES: tuple[tuple[str, Kind], ...] = (
    ("ministack", "sync"),
    ("ministack", "async"),
    ("ministack", "boto3"),
    ("dynalite", "sync"),
    ("dynalite", "async"),
)


def make_drive(request: pytest.FixtureRequest, backends: Backends) -> Iterator[Drive]:
    server, kind = request.param
    url = backends.server(server).url
    assert url is not None
    with ExitStack() as stack:
        yield Drive(stack, url, kind, server)


drive = pytest.fixture(scope="module", params=DRIVES, ids="-".join)(make_drive)
