"""What botocore knows: the whole chain of credentials, the configuration files, and the rules of the endpoints.

This and ``_chain`` are the only modules that import botocore, and imported only when it takes more than the environment. It is asked by its public
interface: sessions, configuration variables, and a real client, whose request is looked at before it would be sent.
"""

from __future__ import annotations

import os
from typing import NoReturn

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

from ._access import Access, Fixed
from ._chain import Chain
from ._core import Endpoint
from ._fetching import Renewed
from ._settings import ATTEMPTS, Settings, check_proxy, unsupported
from ._sigv4 import Credentials
from .errors import SettingsError

__all__ = ["resolve"]


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
        ) from error
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
    )


class _Rules:
    """Botocore's rules for the endpoint, asked by its own client."""

    def __init__(
        self, session: botocore.session.Session, region: str | None, endpoint_url: str | None, ca_bundle: str | None
    ) -> None:
        self._session = session
        self._known: dict[str | None, Endpoint] = {}
        self._asked = region, endpoint_url, ca_bundle
        # With keys of no account: the real ones are looked for when they are needed, which may take its time.
        client = self._client(Credentials("none", "none"))
        try:
            self.endpoint, self.region = _destination(client)
        except BotoCoreError:
            # There is no endpoint without an account.
            self.endpoint, self.region = Endpoint.parse(client.meta.endpoint_url), client.meta.region_name

    def of(self, credentials: Credentials) -> Endpoint:
        """The endpoint of an account, which botocore derives from the credentials."""
        known = self._known.get(credentials.account_id)
        if known is None:
            try:
                known, _ = _destination(self._client(credentials))
            except BotoCoreError as error:
                raise SettingsError(f"no endpoint: {error}") from error
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


def _destination(client: BaseClient) -> tuple[Endpoint, str]:
    """Where *client* would send a request, and the region that it would sign it for."""
    client.meta.events.register_first("before-sign.dynamodb", _stop)
    try:
        client.list_tables()  # type: ignore[attr-defined]  # botocore makes its methods at run time
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
