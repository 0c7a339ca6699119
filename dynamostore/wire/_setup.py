"""The parts that both clients share: resolving the settings, planning a call, and the user agent."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dynamostore._version import __version__
from dynamostore.hidden import Hidden, clear_frames

from ._accounts import Accounts, first_table
from ._core import Core, check_arguments, encode
from ._resolve import resolve
from ._retries import Caller, Limits
from ._settings import check_lengths
from ._tls import Trust
from .timeouts import FOREVER
from .types import Operation, Reply

if TYPE_CHECKING:
    from dynamostore.steps import Plan

    from ._access import Access
    from ._sigv4 import Credentials

__all__ = ["Meta", "Setup"]

R = TypeVar("R", bound=Reply)


@dataclass(frozen=True, slots=True)
class Meta:
    """The region and endpoint of a client, like boto3's ``client.meta``."""

    region_name: str
    endpoint_url: str


class Setup:
    """A client's settings, resolved, and the plan of a call."""

    def __init__(
        self,
        region: str | None,
        endpoint_url: str | None,
        *,
        profile: str | None,
        credentials: Credentials | None,
        ca_bundle: str | None,
        attempts: int | None,
        connect_timeout: float,
        read_timeout: float,
        call_timeout: float,
        keep_idle: float,
        clock: Callable[[], float],
    ) -> None:
        check_lengths(
            attempts=attempts,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            call_timeout=call_timeout,
            keep_idle=keep_idle,
        )
        settings = resolve(
            region, endpoint_url, profile=profile, credentials=credentials, ca_bundle=ca_bundle, attempts=attempts
        )
        self.meta = Meta(settings.region, settings.endpoint.url)
        self.access: Access = settings.access
        self._accounts = Accounts(settings.region, settings.account_suffix)
        self.trust = Trust(settings.ca_bundle)
        self.caller = Caller(
            Core(settings.region, _user_agent()),
            settings.access,
            Limits(settings.attempts, min(call_timeout, FOREVER)),
            clock=clock,
            monotonic=time.monotonic,
            random=random.random,
        )

    def call(self, operation: Operation[R], arguments: Mapping[str, object]) -> Plan[R]:
        """Check the *arguments* of a call and return its plan.

        Clear *arguments* afterwards: the callers' frames hold the same dict, and must not keep its values.
        """
        try:
            check_arguments(operation, arguments)
            elsewhere = self._accounts.endpoint(first_table(arguments))
            return self.caller.call(operation, Hidden(encode(operation, arguments)), elsewhere)
        except BaseException as error:
            clear_frames(error)
            raise
        finally:
            if isinstance(arguments, dict):
                arguments.clear()


def _user_agent() -> str:
    return f"dynamostore/{__version__} python/{platform.python_version()}"
