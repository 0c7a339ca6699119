"""Settings from the same sources as boto3's: arguments, environment and files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ._environment import from_environment
from ._settings import Settings, check_bundle, check_proxy, check_region
from ._sigv4 import Credentials
from .errors import SettingsError

__all__ = ["resolve"]

_NO_BOTOCORE: Final = (
    "these settings need botocore, which is not installed: install boto3. Without it, set AWS_REGION, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, and use no profile, configuration file or other AWS setting"
)


def resolve(
    region: str | None,
    endpoint_url: str | None,
    *,
    profile: str | None = None,
    credentials: Credentials | None = None,
    ca_bundle: str | None = None,
    attempts: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings. Raise `SettingsError` if a value is invalid or this client does not support it."""
    environ = os.environ if environ is None else environ
    if region is not None:
        check_region(region)
    settings = None
    if profile is None:
        settings = from_environment(region, endpoint_url, credentials, ca_bundle, environ)
    if settings is None:
        try:
            from ._botocore import resolve as ask_botocore  # not at the top: seldom needed, and slow to import
        except ModuleNotFoundError as missing:
            if missing.name is None or missing.name.partition(".")[0] != "botocore":
                raise
            raise SettingsError(_NO_BOTOCORE) from None
        settings = ask_botocore(region, endpoint_url, profile=profile, credentials=credentials, ca_bundle=ca_bundle)
    check_region(settings.region)
    check_bundle(settings.ca_bundle)
    check_proxy(settings.endpoint, environ)
    return settings if attempts is None else replace(settings, attempts=attempts)
