"""What botocore knows: the whole chain of credentials, the configuration files, and the rules of the endpoints.

This and ``_chain`` are the only modules that import botocore, and imported only when it takes more than the environment. It is asked by its public
interface: sessions, configuration variables, and a real client, whose request is looked at before it would be sent.
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
    """The settings as botocore has them; `SettingsError` for what it refuses, or what is not done here."""
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
        raise SettingsError("no region is configured: give region=..., or set AWS_DEFAULT_REGION") from error
    except ProfileNotFound as error:
        raise SettingsError(f"{error} (profile=... or AWS_PROFILE)") from None
    except (BotoCoreError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(
            f"{error} (look at region=..., endpoint_url=..., and what the AWS_ variables and configuration files say)"
        ) from error.with_traceback(None)
    except OSError as error:
        # Botocore's client prepares TLS, also where it is not used.
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
    """Botocore's rules for the endpoint, asked by its own client."""

    def __init__(
        self, session: botocore.session.Session, region: str | None, endpoint_url: str | None, ca_bundle: str | None
    ) -> None:
        self._session = session
        self._known: dict[str | None, Endpoint] = {}
        url = _configured(session) if endpoint_url is None else endpoint_url
        self._own = None if url is None else Endpoint.parse(url)
        if url is not None and not (is_valid_endpoint_url(url) or is_valid_ipv6_endpoint_url(url)):
            # A host that botocore takes for none, with an underscore, say. What the rules make of an endpoint of one's own
            # does not depend on its host.
            endpoint_url = _STAND_IN
        self._asked = region, endpoint_url, ca_bundle
        # With keys of no account: the real ones are looked for when they are needed, which may take its time.
        client = self._client(Credentials("none", "none"))
        try:
            endpoint, self.region = _destination(client)
        except BotoCoreError:
            if self._own is not None:
                raise
            # There is no endpoint without an account.
            endpoint, self.region = Endpoint.parse(client.meta.endpoint_url), client.meta.region_name
        self.endpoint = self._own or endpoint
        self.account_suffix = None if self._own is not None else _account_suffix(client, self.region)

    def of(self, credentials: Credentials) -> Endpoint:
        """The endpoint of an account, which botocore derives from the credentials."""
        known = self._known.get(credentials.account_id)
        if known is None:
            try:
                known, _ = _destination(self._client(credentials))
            except BotoCoreError as error:
                reason = f"no endpoint: {error} (for the credentials, AWS_ACCOUNT_ID names one; or name the table by its ARN)"
                if self.account_suffix is None:
                    # Without botocore's frames, which hold the keys.
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
            # NO_PROXY may name the region's host, and not the account's.
            check_proxy(known, os.environ)
            # The same object for the same endpoint: requests are prepared for it.
            known = self._known[credentials.account_id] = self.endpoint if known == self.endpoint else known
        return known

    def _client(self, credentials: Credentials) -> BaseClient:
        region, endpoint_url, ca_bundle = self._asked
        return self._session.create_client(
            "dynamodb",
            region_name=region,
            endpoint_url=endpoint_url,
            # Without it, the client would look at AWS_CA_BUNDLE.
            verify=ca_bundle,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            aws_account_id=credentials.account_id,
        )


def _configured(session: botocore.session.Session) -> str | None:
    """Return the endpoint that the environment or the configuration file names, as botocore looks for it.

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
    """Return what follows the account in the host of the endpoint for a table that is named by an ARN, if it has its own."""
    try:
        endpoint, _ = _destination(client, f"arn:aws:dynamodb:{region}:{_ACCOUNT}:table/any")
    except BotoCoreError:
        return None
    account, _, suffix = endpoint.host.partition(".")
    return suffix if account == _ACCOUNT else None


def _destination(client: BaseClient, table: str = "any") -> tuple[Endpoint, str]:
    """Where *client* would send a request about *table*, and the region that it would sign it for."""
    client.meta.events.register_first("before-sign.dynamodb", _stop)
    try:
        client.describe_table(TableName=table)  # type: ignore[attr-defined]  # botocore makes its methods at run time
    except _StopError as stop:
        return Endpoint.parse(stop.url), stop.region
    raise AssertionError("a request was sent")


class _StopError(Exception):
    def __init__(self, url: str, region: str) -> None:
        self.url = url
        self.region = region


def _stop(request: AWSRequest, region_name: str, **_: object) -> NoReturn:
    """Instead of signing and sending a request: say where it would go."""
    raise _StopError(request.url or "", region_name)
