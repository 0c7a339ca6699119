"""Who calls, and where to: credentials and the endpoint that goes with them, now or after they have been fetched."""

from __future__ import annotations

from typing import Protocol

from ._core import Endpoint
from ._sigv4 import Credentials

__all__ = ["Access", "Fixed"]


class Access(Protocol):
    """Where credentials come from; safe to share between threads."""

    def current(self) -> tuple[Credentials, Endpoint] | None:
        """What is known and good; None if it has to be fetched. Never blocks."""

    def fetch(self) -> tuple[Credentials, Endpoint]:
        """Find or renew them; may block, and raises `CredentialsError` if there are none."""


class Fixed:
    """Credentials that stay what they are."""

    def __init__(self, credentials: Credentials, endpoint: Endpoint) -> None:
        self._access = (credentials, endpoint)

    def current(self) -> tuple[Credentials, Endpoint]:
        return self._access

    def fetch(self) -> tuple[Credentials, Endpoint]:
        return self._access
