"""The settings of a client, and the checks that refuse invalid ones."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dynamostore.loopback import is_loopback

from ._access import Access
from ._core import Endpoint
from .errors import SettingsError

__all__ = ["ATTEMPTS", "Settings", "check_bundle", "check_lengths", "check_proxy", "check_region", "unsupported"]

ATTEMPTS: Final = 4
"""The number of attempts, including the first, that the SDKs' standard mode makes at a DynamoDB call."""

_USE_BOTO3: Final = (
    "pass a boto3 client to the store instead: DynamoStore(boto3.client('dynamodb')), or connect(via='boto3')"
)

_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a client. *endpoint* is the region's. *access* may return the endpoint of an account instead.

    *account_suffix* follows the account in the host names of accounts' endpoints. None means that there are no such endpoints.
    """

    region: str
    endpoint: Endpoint
    access: Access
    ca_bundle: str | None
    attempts: int
    account_suffix: str | None = None


def check_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> None:
    """Raise `SettingsError` if a proxy is configured for *endpoint*. This client does not support HTTP proxies.

    An endpoint on this machine is never reached through a proxy, whatever NO_PROXY says.
    """
    if is_loopback(endpoint.host):
        return
    scheme = "https" if endpoint.secure else "http"
    if sys.platform == "linux" and not any(name.lower() == f"{scheme}_proxy" and environ[name] for name in environ):
        return
    # Not at the top: slow to import. On other systems, it reads more than the environment.
    from urllib.request import getproxies, proxy_bypass

    if getproxies().get(scheme) and not proxy_bypass(endpoint.authority):
        raise SettingsError(
            f"an HTTP proxy is configured ({scheme.upper()}_PROXY), which the wire client does not support: name "
            f"{endpoint.host} in NO_PROXY, or {_USE_BOTO3}"
        )


def check_region(region: str) -> None:
    """Raise `SettingsError` if *region* is not a valid name. It becomes a part of host names and of signatures."""
    if not _REGION.fullmatch(region):
        raise SettingsError(f"region {region[:70]!r} is not a valid name: check region=... (or AWS_DEFAULT_REGION)")


def check_bundle(path: str | None) -> None:
    """Raise `SettingsError` if the file or folder of certificates does not exist."""
    if path is not None and not Path(path).exists():
        raise SettingsError(f"ca_bundle (or AWS_CA_BUNDLE) {path!r}: there is no such file or folder")


def unsupported(what: str) -> SettingsError:
    """Return the error for a setting that this client does not support, with the fix."""
    return SettingsError(f"{what}, which the wire client does not support: {_USE_BOTO3}")


def check_lengths(**seconds: float | None) -> None:
    """Raise `TypeError` if a value is not a number, and `SettingsError` if it is not more than 0."""
    for name, value in seconds.items():
        if value is None:
            continue
        if not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if not value > 0:
            raise SettingsError(f"{name} must be more than 0, not {value!r}")
