"""What botocore knows: the whole chain of credentials, the configuration files, and the rules of the endpoints.

The only module that imports botocore, and imported only when it takes more than the environment. It is asked by its public
interface: sessions, configuration variables, and a real client, whose request is looked at before it would be sent.
"""

from __future__ import annotations

import threading
from typing import NoReturn

import botocore.session
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

from ._core import Endpoint
from ._settings import ATTEMPTS, Settings, unsupported
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
    import os

    session = botocore.session.Session(profile=profile)
    try:
        if credentials is not None:
            session.set_credentials(
                credentials.access_key, credentials.secret_key, credentials.token, credentials.account_id
            )
        region = region or session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
        rules = _Rules(session, region, endpoint_url)
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
        raise SettingsError(f"{error} (look at region=... and endpoint_url=...)") from error
    return Settings(
        rules.region,
        rules.endpoint,
        FromBotocore(session, rules),
        str(bundle) if bundle else None,
        attempts if isinstance(attempts, int) and attempts > 0 else ATTEMPTS,
    )


class _Rules:
    """Botocore's rules for the endpoint, asked by its own client."""

    def __init__(self, session: botocore.session.Session, region: str | None, endpoint_url: str | None) -> None:
        self._session = session
        self._known: dict[str | None, Endpoint] = {}
        self._given = endpoint_url
        # With keys of no account: the real ones are looked for when they are needed, which may take its time.
        meta = session.create_client(
            "dynamodb",
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 (that is none)
        ).meta
        self.region = meta.region_name
        self.endpoint = Endpoint.parse(meta.endpoint_url)

    def of(self, credentials: Credentials) -> Endpoint:
        """The endpoint of an account, which botocore derives from the credentials."""
        known = self._known.get(credentials.account_id)
        if known is None:
            known = self._known[credentials.account_id] = self._ask(credentials)
        return known

    def _ask(self, credentials: Credentials) -> Endpoint:
        client = self._session.create_client(
            "dynamodb",
            region_name=self.region,
            endpoint_url=self._given,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            aws_account_id=credentials.account_id,
        )
        client.meta.events.register_first("request-created.dynamodb", _stop)
        endpoint = self.endpoint
        try:
            client.list_tables()  # type: ignore[attr-defined]  # botocore makes its methods at run time
        except _StopError as stop:
            endpoint = Endpoint.parse(stop.url)
        except BotoCoreError as error:
            raise SettingsError(f"no endpoint: {error}") from error
        # The same object for the same endpoint: requests are prepared for it.
        return self.endpoint if endpoint == self.endpoint else endpoint


class _StopError(Exception):
    def __init__(self, url: str) -> None:
        self.url = url


def _stop(request: object, **_: object) -> NoReturn:
    """Instead of sending a request: say where it would go."""
    raise _StopError(str(getattr(request, "url", "")))


class FromBotocore:
    """Credentials from botocore's chain, fetched when they are first needed, and renewed before they expire."""

    def __init__(self, session: botocore.session.Session, rules: _Rules) -> None:
        self._session = session
        self._rules = rules
        self._found: BotocoreCredentials | None = None
        self._frozen: ReadOnlyCredentials | None = None
        self._access: tuple[Credentials, Endpoint] | None = None
        self._lock = threading.Lock()

    def current(self) -> tuple[Credentials, Endpoint] | None:
        """What is known, unless it is about to expire."""
        found = self._found
        if found is None or (isinstance(found, RefreshableCredentials) and found.refresh_needed()):
            return None
        return self._access

    def fetch(self) -> tuple[Credentials, Endpoint]:
        """Find credentials, or renew them; blocks while they are on their way."""
        try:
            found = self._found or self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        except (BotoCoreError, RuntimeError, ValueError, KeyError, OSError) as error:
            # What an exception of botocore's says names providers and profiles, never a key.
            raise CredentialsError(f"no usable AWS credentials: {error}") from error
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
            self._found = found
            return self._access


def _ours(frozen: ReadOnlyCredentials) -> Credentials:
    try:
        return Credentials(
            frozen.access_key or "",
            frozen.secret_key or "",
            frozen.token or None,
            # Botocore before 1.37 does not know it.
            getattr(frozen, "account_id", None) or None,
        )
    except ValueError as error:
        raise CredentialsError(str(error)) from None
