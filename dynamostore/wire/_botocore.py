"""What botocore knows: the whole chain of credentials, the configuration files, and the rules of the endpoints.

The only module that imports botocore, and imported only when it takes more than the environment. It is asked by its public
interface: sessions, configuration variables, and a real client, whose request is looked at before it would be sent.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import NoReturn

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, NoRegionError, ProfileNotFound

from dynamostore._texts import quoted

from ._core import Endpoint
from ._settings import ATTEMPTS, Settings, check_proxy, unsupported
from ._sigv4 import Credentials
from .errors import CredentialsError, SettingsError

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
    return Settings(
        rules.region,
        rules.endpoint,
        FromBotocore(session, rules),
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
            raise CredentialsError(f"no usable AWS credentials: {quoted(reason)}") from (error if told else None)
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
