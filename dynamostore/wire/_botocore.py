"""Settings from botocore: its chain of credentials, the configuration files, and the rules for endpoints.

Only this module and ``_chain`` import botocore. They are imported only if the environment does not hold all settings.
Both use botocore's public interface: sessions, configuration variables, and a real client. An event handler stops the
client's request before it is sent and reads its destination.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NoReturn

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from dynamostore._sources import key_log_trouble, without_file

from ._access import Access, Fixed
from ._accounts import NoEndpoint
from ._chain import Chain
from ._core import Endpoint
from ._fetching import Renewed
from ._settings import ATTEMPTS, Settings, check_proxy, unsupported
from ._sigv4 import Credentials
from .errors import SettingsError

__all__ = ["resolve"]

_STAND_IN: Final = "https://endpoint.invalid"
_ACCOUNT: Final = "000000000000"


def resolve(
    region: str | None,
    endpoint_url: str | None,
    *,
    profile: str | None = None,
    credentials: Credentials | None = None,
    ca_bundle: str | None = None,
) -> Settings:
    """Return the settings that botocore finds.

    Raise `SettingsError` if botocore refuses them, or if this client does not support them.
    """
    session = botocore.session.Session(profile=profile)
    try:
        if credentials is not None:
            session.set_credentials(
                credentials.access_key, credentials.secret_key, credentials.token, credentials.account_id
            )
        region = region or session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
        rules = _Rules(session, region, endpoint_url, ca_bundle)
        bundle = ca_bundle or session.get_config_variable("ca_bundle")
        if session.get_config_variable("retry_mode") == "adaptive":
            raise unsupported("retry_mode adaptive is configured")
        attempts = session.get_config_variable("max_attempts")
    except NoRegionError as error:
        raise SettingsError("no region is configured: pass region=..., or set AWS_DEFAULT_REGION") from error
    except ProfileNotFound as error:
        raise SettingsError(f"{error} (profile=... or AWS_PROFILE)") from None
    except (BotoCoreError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(
            f"{error} (check region=..., endpoint_url=..., the AWS_ variables and the configuration files)"
        ) from error.with_traceback(None)
    except OSError as error:
        # Botocore's client prepares TLS even if it is not used.
        if (trouble := without_file(error)) is None:
            raise
        raise SettingsError(trouble) from None
    access: Access
    if credentials is not None:
        access = Fixed(credentials, rules.of(credentials))
    else:
        chain = Chain(session, lambda: botocore.session.Session(profile=profile), rules.of)
        access = Renewed(chain.load)
    return Settings(
        rules.region,
        rules.endpoint,
        access,
        str(bundle) if bundle else None,
        attempts if isinstance(attempts, int) and attempts > 0 else ATTEMPTS,
        rules.account_suffix,
    )


class _Rules:
    """Botocore's rules for endpoints, as its own client applies them."""

    def __init__(
        self, session: botocore.session.Session, region: str | None, endpoint_url: str | None, ca_bundle: str | None
    ) -> None:
        self._session = session
        self._known: dict[str | None, Endpoint] = {}
        url = _configured(session) if endpoint_url is None else endpoint_url
        self._own = None if url is None else Endpoint.parse(url)
        if url is not None and not (is_valid_endpoint_url(url) or is_valid_ipv6_endpoint_url(url)):
            # Botocore refuses some host names, such as names with an underscore. For a custom endpoint, the rules do not
            # depend on the host, so any other host will do.
            endpoint_url = _STAND_IN
        self._asked = region, endpoint_url, ca_bundle
        # Use keys without an account. The real ones are fetched when they are needed, which may take a while.
        client = self._client(Credentials("none", "none"))
        try:
            endpoint, self.region = _destination(client)
        except BotoCoreError:
            if self._own is not None:
                raise
            # The rules require an account.
            endpoint, self.region = Endpoint.parse(client.meta.endpoint_url), client.meta.region_name
        self.endpoint = self._own or endpoint
        self.account_suffix = None if self._own is not None else _account_suffix(client, self.region)

    def of(self, credentials: Credentials) -> Endpoint:
        """Return the endpoint for *credentials*: botocore derives it from their account."""
        known = self._known.get(credentials.account_id)
        if known is None:
            try:
                known, _ = _destination(self._client(credentials))
            except BotoCoreError as error:
                reason = f"no endpoint: {error} (set AWS_ACCOUNT_ID to the account of the credentials, or name the table by its ARN)"
                if self.account_suffix is None:
                    # Drop botocore's frames: they hold the keys.
                    raise SettingsError(reason) from error.with_traceback(None)
                regional = self.endpoint
                known = NoEndpoint(regional.host, regional.port, regional.secure, reason=reason)
                self._known[credentials.account_id] = known
                return known
            except OSError as error:
                if (trouble := key_log_trouble(error)) is None:
                    raise
                raise SettingsError(trouble) from None
            known = self._own or known
            # NO_PROXY may name the region's host but not the account's.
            check_proxy(known, os.environ)
            # Reuse the object: prepared requests are cached by the identity of their endpoint.
            known = self._known[credentials.account_id] = self.endpoint if known == self.endpoint else known
        return known

    def _client(self, credentials: Credentials) -> BaseClient:
        region, endpoint_url, ca_bundle = self._asked
        return self._session.create_client(
            "dynamodb",
            region_name=region,
            endpoint_url=endpoint_url,
            # Otherwise the client would read AWS_CA_BUNDLE.
            verify=ca_bundle,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            aws_account_id=credentials.account_id,
        )


def _configured(session: botocore.session.Session) -> str | None:
    """Return the endpoint that the environment or the configuration file names, in botocore's order.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    ours = services.get("dynamodb", {})
    return (
        os.environ.get("AWS_ENDPOINT_URL_DYNAMODB")
        or os.environ.get("AWS_ENDPOINT_URL")
        or (ours.get("endpoint_url") if isinstance(ours, Mapping) else None)
        or profile.get("endpoint_url")
        or None
    )


def _account_suffix(client: BaseClient, region: str) -> str | None:
    """Return the part of an account endpoint's host name that follows the account. None if accounts have no endpoints."""
    try:
        endpoint, _ = _destination(client, f"arn:aws:dynamodb:{region}:{_ACCOUNT}:table/any")
    except BotoCoreError:
        return None
    account, _, suffix = endpoint.host.partition(".")
    return suffix if account == _ACCOUNT else None


def _destination(client: BaseClient, table: str = "any") -> tuple[Endpoint, str]:
    """Return where *client* would send a request about *table*, and the region for which it would sign the request."""
    client.meta.events.register_first("before-sign.dynamodb", _stop)
    try:
        client.describe_table(TableName=table)  # type: ignore[attr-defined]  # botocore creates its methods at run time
    except _StopError as stop:
        return Endpoint.parse(stop.url), stop.region
    raise AssertionError("a request was sent")


class _StopError(Exception):
    def __init__(self, url: str, region: str) -> None:
        self.url = url
        self.region = region


def _stop(request: AWSRequest, region_name: str, **_: object) -> NoReturn:
    """Stop a request before it is signed and sent, and report its destination."""
    raise _StopError(request.url or "", region_name)
