"""Who calls, and where to: credentials and the endpoint that goes with them, now or after they have been fetched."""

from __future__ import annotations

from typing import Protocol

from ._core import Endpoint
from ._sigv4 import Credentials

__all__ = ["Access", "Fixed"]


class Access(Protocol):
    """Where credentials come from; safe to share between threads and between event loops."""

    def current(self) -> tuple[Credentials, Endpoint] | None:
        """What is known and good; None if it has to be fetched. Never blocks."""

    def fetch(self, timeout: float) -> tuple[Credentials, Endpoint]:
        """Wait for credentials, at most *timeout* seconds.

        Raises `CredentialsUnavailableError` if they were not there in time or nobody could be asked, `CredentialsError` if
        there are none.
        """

    async def afetch(self, timeout: float) -> tuple[Credentials, Endpoint]:  # noqa: ASYNC109 (what is left of the call's)
        """`fetch`, awaited. To cancel it ends the wait, and not what others wait for."""

    def refuse(self, access: tuple[Credentials, Endpoint]) -> bool:
        """The service has refused *access* as expired: return True if others are there, or can be fetched."""


class Fixed:
    """Credentials that stay what they are."""

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
