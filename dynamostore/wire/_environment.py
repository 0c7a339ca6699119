"""Region, endpoint and credentials from environment variables, if these hold all settings, as in AWS Lambda.

The results are the same as botocore's (the tests compare them). Importing botocore would take longer than the rest of a
cold start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from ._access import Fixed
from ._core import Endpoint
from ._settings import ATTEMPTS, Settings
from ._sigv4 import Credentials
from .errors import CredentialsError

__all__ = ["from_environment"]

# The regions of the commercial partition. For other regions, botocore finds the endpoint.
_COMMERCIAL = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z0-9_]+-[0-9]+")

# Other names may be aliases: a call to "local" or "fips-us-east-1" is signed for us-east-1.
_PLAIN = re.compile(r"(?!fips-)[a-z]{2,6}(-[a-z]+)+-[0-9]+")

# Botocore refuses some of these as a custom endpoint.
_DUAL_STACK = re.compile(r"(search-)?dynamodb\.[^.]+\.api\.")

# If any of these is set, only botocore can determine the settings.
_BOTOCORE_KNOWS: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DATA_PATH",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)


def _has_files(environ: Mapping[str, str]) -> bool:
    """Return True if there is a configuration file, which may contain any setting."""
    for variable, default in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        # As in botocore, a variable that is set but empty names no file.
        name = environ.get(variable)
        if os.path.isfile(os.path.expanduser(f"~/.aws/{default}" if name is None else os.path.expandvars(name))):  # noqa: PTH111, PTH113 (a Path of "" is the current folder)
            return True
    return False


def from_environment(
    region: str | None,
    endpoint_url: str | None,
    credentials: Credentials | None,
    ca_bundle: str | None,
    environ: Mapping[str, str],
) -> Settings | None:
    """Return the settings, or None if the arguments and the environment do not contain all of them."""
    # Even an empty value counts as set, because botocore gives it a meaning or refuses it.
    if (
        any(name in environ for name in _BOTOCORE_KNOWS)
        or (ca_bundle is None and environ.get("AWS_CA_BUNDLE") == "")
        or _has_files(environ)
    ):
        return None
    if region is None:
        region = environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION")
    credentials = credentials or _credentials(environ)
    if region is None or credentials is None or not _PLAIN.fullmatch(region):
        return None
    url = (
        endpoint_url
        if endpoint_url is not None
        else environ.get("AWS_ENDPOINT_URL_DYNAMODB") or environ.get("AWS_ENDPOINT_URL") or None
    )
    suffix = None
    if url is None:
        if not _COMMERCIAL.fullmatch(region) or credentials.account_id:
            return None
        url = f"https://dynamodb.{region}.amazonaws.com"
        suffix = f"ddb.{region}.amazonaws.com"
    endpoint = Endpoint.parse(url)
    if _DUAL_STACK.match(endpoint.host):
        return None
    ca_bundle = ca_bundle or environ.get("AWS_CA_BUNDLE") or None
    return Settings(region, endpoint, Fixed(credentials, endpoint), ca_bundle, ATTEMPTS, suffix)


def _credentials(environ: Mapping[str, str]) -> Credentials | None:
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key:
        return None
    # The order is botocore's.
    token = environ.get("AWS_SECURITY_TOKEN") or environ.get("AWS_SESSION_TOKEN")
    try:
        return Credentials(access_key, secret_key, token or None)
    except ValueError as error:
        raise CredentialsError(f"check the AWS credentials in the environment: {error}") from None
