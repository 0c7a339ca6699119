"""What botocore knows: the whole chain of credentials, the configuration files, and the rules of the endpoints.

The only module that imports botocore, and imported only when it takes more than the environment. It is asked by its public
interface: sessions, configuration variables, and a real client, whose request is looked at before it would be sent.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from typing import Final, NoReturn

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, NoRegionError, ProfileNotFound
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from ._core import Endpoint
from ._settings import ATTEMPTS, Settings, check_proxy, unsupported
from ._sigv4 import Credentials
from .errors import CredentialsError, SettingsError

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
        ) from error
    return Settings(
        rules.region,
        rules.endpoint,
        FromBotocore(session, rules),
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
                raise SettingsError(f"no endpoint: {error}") from error
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


class FromBotocore:
    """Credentials from botocore's chain, fetched when they are first needed, and renewed before they expire."""

    def __init__(self, session: botocore.session.Session, rules: _Rules) -> None:
        self._session = session
        self._rules = rules
        self._found: BotocoreCredentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._access: tuple[Credentials, Endpoint] | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def forget_the_lock(self) -> None:
        """In the child after a fork: a thread of the parent's may have had it, and is not here to give it back."""
        self._lock = threading.Lock()

    def current(self) -> tuple[Credentials, Endpoint] | None:
        """What is known, unless it is about to expire."""
        found = self._found
        if (
            found is None
            or self._access is None
            or (isinstance(found, RefreshableCredentials) and found.refresh_needed())
        ):
            return None
        return self._access

    def fetch(self) -> tuple[Credentials, Endpoint]:
        """Find credentials, or renew them; blocks while they are on their way."""
        try:
            found = self._find()
            frozen = found.get_frozen_credentials() if found else None
        except Exception as error:  # noqa: BLE001 (and all of it is told or named)
            # A provider that says nonsense makes botocore raise whatever comes of it. What botocore itself says names
            # providers and profiles; a credential process's own complaint, which might name anything, and the rest are
            # told by their kind only.
            told = isinstance(error, BotoCoreError) and not (
                isinstance(error, CredentialRetrievalError) and error.kwargs.get("provider") == "custom-process"
            )
            reason = str(error) if told else type(error).__name__
            raise CredentialsError(f"no usable AWS credentials: {reason}") from (error if told else None)
        if found is None or frozen is None:
            raise CredentialsError(
                "no AWS credentials were found: in the environment, in files, or from a role (see boto3's "
                '"Configuring credentials")'
            )
        with self._lock:
            if self._access is None or frozen != self._frozen:
                credentials = _ours(frozen)
                self._access = (credentials, self._rules.of(credentials))
                self._frozen = frozen
            return self._access

    def _find(self) -> BotocoreCredentials | None:
        """Botocore's credentials, looked for once: threads that begin together do not all ask the same provider."""
        with self._lock:
            if self._found is None:
                self._found = self._session.get_credentials()
            return self._found


_all: weakref.WeakSet[FromBotocore] = weakref.WeakSet()


def _forget_locks() -> None:
    for each in list(_all):
        each.forget_the_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _ours(frozen: ReadOnlyCredentials) -> Credentials:
    try:
        return Credentials(
            frozen.access_key or "",
            frozen.secret_key or "",
            frozen.token or None,
            # Botocore before 1.37 does not know it.
            getattr(frozen, "account_id", None) or None,
        )
    except (TypeError, ValueError) as error:
        raise CredentialsError(f"no usable AWS credentials: {error}") from None
