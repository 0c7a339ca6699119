"""Access to DynamoDB: credentials and the endpoint that belongs to them, fetched if necessary."""

from __future__ import annotations

from typing import Protocol

from ._core import Endpoint
from ._sigv4 import Credentials

__all__ = ["Access", "Fixed"]


class Access(Protocol):
    """A source of credentials. Safe to share between threads and between event loops."""

    def current(self) -> tuple[Credentials, Endpoint] | None:
        """Return valid credentials and their endpoint, or None if they must be fetched first. Never blocks."""

    def fetch(self, timeout: float) -> tuple[Credentials, Endpoint]:
        """Wait for credentials, at most *timeout* seconds.

        Raises `CredentialsUnavailableError` if they did not arrive in time or their source could not be reached, and
        `CredentialsError` if there are no credentials.
        """

    async def afetch(self, timeout: float) -> tuple[Credentials, Endpoint]:  # noqa: ASYNC109 (the time left for the call)
        """Fetch as `fetch` does, without blocking the event loop.

        Cancelling this call ends only its own wait, not that of other callers.
        """

    def refuse(self, access: tuple[Credentials, Endpoint]) -> bool:
        """Discard *access*, which the service refused as expired.

        Return True if other credentials are known or can be fetched.
        """


class Fixed:
    """Credentials that never change."""

    def __init__(self, credentials: Credentials, endpoint: Endpoint) -> None:
        self._access = (credentials, endpoint)

    def current(self) -> tuple[Credentials, Endpoint]:
        return self._access

    def fetch(self, timeout: float) -> tuple[Credentials, Endpoint]:
        del timeout
        return self._access

    async def afetch(self, timeout: float) -> tuple[Credentials, Endpoint]:  # noqa: ASYNC109 (as above)
        return self.fetch(timeout)

    def refuse(self, access: tuple[Credentials, Endpoint]) -> bool:
        del access
        return False
