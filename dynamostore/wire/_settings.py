"""What a client is set up with, and what is refused."""

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
"""How often the SDKs' standard mode tries a call of DynamoDB's, the first time included."""

_WAY_OUT: Final = (
    "pass a boto3 client to the store instead: DynamoStore(boto3.client('dynamodb')), or connect(via='boto3')"
)

_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client is set up with. *endpoint* is the region's; *access* may lead to an account's own.

    *account_suffix* is what follows the account in the host names of accounts' endpoints; None where there are none.
    """

    region: str
    endpoint: Endpoint
    access: Access
    ca_bundle: str | None
    attempts: int
    account_suffix: str | None = None


def check_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> None:
    """`SettingsError` if *endpoint* is to be reached through an HTTP proxy, which this client does not do.

    What is on this machine is never reached through one, whether or not NO_PROXY says so.
    """
    if is_loopback(endpoint.host):
        return
    scheme = "https" if endpoint.secure else "http"
    if sys.platform == "linux" and not any(name.lower() == f"{scheme}_proxy" and environ[name] for name in environ):
        return
    from urllib.request import getproxies, proxy_bypass  # it takes long to import, and reads more than the environment

    if getproxies().get(scheme) and not proxy_bypass(endpoint.authority):
        raise SettingsError(
            f"an HTTP proxy is configured ({scheme.upper()}_PROXY), which the wire client does not support: name "
            f"{endpoint.host} in NO_PROXY, or {_WAY_OUT}"
        )


def check_region(region: str) -> None:
    """`SettingsError` for what cannot be a region's name: it stands in host names, and is signed."""
    if not _REGION.fullmatch(region):
        raise SettingsError(f"region {region[:70]!r} is not a valid name: check region=... (or AWS_DEFAULT_REGION)")


def check_bundle(path: str | None) -> None:
    """`SettingsError` for certificates that are not there."""
    if path is not None and not Path(path).exists():
        raise SettingsError(f"ca_bundle (or AWS_CA_BUNDLE) {path!r}: there is no such file")


def unsupported(what: str) -> SettingsError:
    """What is configured and cannot be had, with the way out."""
    return SettingsError(f"{what}, which the wire client does not support: {_WAY_OUT}")


def check_lengths(**seconds: float | None) -> None:
    """`SettingsError` for a length of time, or a number, that is not more than zero."""
    for name, value in seconds.items():
        if value is None:
            continue
        if not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if not value > 0:
            raise SettingsError(f"{name} must be more than 0, not {value!r}")
