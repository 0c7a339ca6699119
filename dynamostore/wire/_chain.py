"""Credentials from botocore's chain.

If the chain returns no credentials, this module tells two cases apart: no source has any, or a source did not answer. Only
``_botocore`` imports it. Everything here blocks for as long as botocore does, so `Renewed <._fetching.Renewed>` calls it in
its own thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import IMDSFetcher, get_environ_proxies, resolve_imds_endpoint_mode

from dynamostore._sources import is_secretive, reason_of, status_of_agent
from dynamostore._texts import quoted
from dynamostore.hidden import Hidden

from ._core import Endpoint
from ._fetching import Found
from ._retries import THROTTLING
from ._sigv4 import Credentials
from .errors import CredentialsError, CredentialsUnavailableError, WireError

__all__ = ["Chain"]

SPARE: Final = 5
"""Seconds that credentials must remain valid to be used, because a request takes time."""

_METADATA: Final = "iam-role"
"""Botocore's name for the instance metadata service."""

_PROBE: Final = 0.5
"""Seconds to wait for instance metadata, to find out why botocore got nothing. Botocore has already waited a second, twice."""

_TRUE: Final = re.compile(r"true", re.ASCII | re.IGNORECASE)

# Temporary errors. STS returns IDPCommunicationError if it cannot reach the provider of a web identity.
_FOR_NOW: Final = THROTTLING | {"IDPCommunicationError"}


class Chain:
    """Loads the credentials of botocore's chain for `Renewed <._fetching.Renewed>`. *endpoint_of* may raise `SettingsError`."""

    def __init__(
        self, session: Session, open_session: Callable[[], Session], endpoint_of: Callable[[Credentials], Endpoint]
    ) -> None:
        self._session = session
        self._open_session = open_session
        self._endpoint_of = endpoint_of
        self._source: BotocoreCredentials | None = None
        self._last: tuple[Hidden[ReadOnlyCredentials], tuple[Credentials, Endpoint]] | None = None

    def load(self, *, anew: bool) -> Found:
        """Find credentials, or renew the ones found before."""
        # A new session has its own caches, locks and connections, and reads the environment and the files again.
        session = self._open_session() if anew else self._session
        known, source, found = self._source, None, None
        failure: WireError | None = None
        try:
            source = (None if anew else known) or session.get_credentials()
            if source is not None:
                found = Hidden(source.get_frozen_credentials())
        except Exception as error:  # noqa: BLE001 (if a provider returns nonsense, botocore may raise anything)
            failure = _failure(error, session)
        if source is None and failure is None:
            failure = _none_found(session, known)
        if source is None or found is None:
            # Raise outside the except block. Otherwise botocore's exception would be the context, with its frames.
            raise failure or CredentialsError("no usable AWS credentials")
        access = self._access(found)
        self._session, self._source, self._last = session, source, (found, access)
        if not isinstance(source, RefreshableCredentials):
            return Found(access, is_due=bool, is_good=lambda: True)
        return Found(access, is_due=source.refresh_needed, is_good=lambda: not source.refresh_needed(SPARE))

    def _access(self, found: Hidden[ReadOnlyCredentials]) -> tuple[Credentials, Endpoint]:
        """Return our credentials and their endpoint. The same object as before, unless botocore's credentials changed."""
        last = self._last
        if last is not None and last[0].reveal() == found.reveal():
            return last[1]
        credentials = _ours(found)
        return credentials, self._endpoint_of(credentials)


def _ours(found: Hidden[ReadOnlyCredentials]) -> Credentials:
    try:
        return Credentials(
            found.reveal().access_key or "",
            found.reveal().secret_key or "",
            found.reveal().token or None,
            # Botocore before 1.37 has no account_id.
            getattr(found.reveal(), "account_id", None) or None,
        )
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise CredentialsError(f"no usable AWS credentials: {reason}")


def _failure(error: Exception, session: Session) -> WireError:
    """Return our error for botocore's *error*. Chain *error* as its cause, unless it may contain a secret."""
    trouble = _trouble(error, session)
    if trouble is not None:
        failure = CredentialsUnavailableError(f"the AWS credentials could not be fetched: {trouble}")
        return _because(failure, error) if isinstance(error, NoConnectionError | HTTPClientError) else failure
    if isinstance(error, ClientError):
        reason = f"{error.operation_name} was refused ({error.response.get('Error', {}).get('Code')})"
    elif isinstance(error, RuntimeError) and "still expired" in str(error):
        reason = "the fetched credentials had already expired; check this host's clock"
    else:
        reason = reason_of(error, of_profile=_token_file(session))
    denied = CredentialsError(f"no usable AWS credentials: {reason}")
    return _because(denied, error) if isinstance(error, BotoCoreError) and not is_secretive(error) else denied


def _trouble(error: Exception, session: Session) -> str | None:
    """Return the network problem that caused *error*, or None if a source answered that it has no credentials."""
    for each in _chain_of(error):
        if isinstance(each, NoConnectionError | HTTPClientError):
            return quoted(str(each))
        if isinstance(each, ClientError):
            code = each.response.get("Error", {}).get("Code")
            status = each.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= 500 or status == 429 or code in _FOR_NOW:
                return f"{each.operation_name} failed ({code})"
    if isinstance(error, CredentialRetrievalError):
        if error.kwargs.get("provider") == _METADATA:
            return _ask_metadata(session, known=True) or None
        agent = status_of_agent(error)
        if agent.startswith("5") or agent == "429":
            return f"the container's credentials agent answered with status {agent}"
    return None


def _none_found(session: Session, known: BotocoreCredentials | None) -> WireError:
    """Return the error if botocore found no credentials.

    If instance metadata does not answer, botocore reports no credentials, even if it has got some there before.
    """
    silent = _ask_metadata(session, known=known is not None and known.method == _METADATA)
    if silent is not None:
        return CredentialsUnavailableError(
            f"no AWS credentials were found in the environment or in files, and {silent}"
        )
    return CredentialsError(
        "no AWS credentials were found in the environment, in files, or from a role (see boto3's "
        '"Configuring credentials")'
    )


def _ask_metadata(session: Session, *, known: bool) -> str | None:
    """Return what is wrong with the instance metadata service.

    Return None if it answers, or if it cannot be reached and was not *known* to exist.
    """
    if _TRUE.fullmatch(os.environ.get("AWS_EC2_METADATA_DISABLED", "")):
        return None
    try:
        url = _metadata_url(session)
    except BotoCoreError:
        # It is not in the chain, or its settings are invalid, which botocore has reported.
        return None
    try:
        # The stubs allow only whole seconds.
        asking = URLLib3Session(timeout=_PROBE, proxies=get_environ_proxies(url))  # type: ignore[arg-type]
        lifetime = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
        request = AWSRequest(method="PUT", url=f"{url.rstrip('/')}/latest/api/token", headers=lifetime)
        status = asking.send(request.prepare()).status_code
    except EndpointConnectionError as error:
        # Refused or unreachable. Unless the service was known, this machine is not an EC2 instance.
        return quoted(str(error)) if known else None
    except (NoConnectionError, HTTPClientError):
        return (
            f"the instance metadata service ({url}) does not answer; if this machine has no such service, set "
            "AWS_EC2_METADATA_DISABLED=true"
        )
    if status == 429 or status >= 500:
        return f"the instance metadata service ({url}) answered with status {status}"
    return None


def _metadata_url(session: Session) -> str:
    session.get_component("credential_provider").get_provider(_METADATA)
    config = {
        "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
        "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session),
    }
    return IMDSFetcher(config=config).get_base_url()


def _token_file(session: Session) -> str | None:
    """Return the file of the web identity token that the profile names."""
    try:
        named = session.get_scoped_config().get("web_identity_token_file")
    except BotoCoreError:
        return None
    return named if isinstance(named, str) else None


def _because(failure: WireError, cause: BotoCoreError) -> WireError:
    """Return *failure* with *cause*. Drop the causes of *cause* and botocore's frames: they hold secrets."""
    cause.__traceback__ = cause.__cause__ = cause.__context__ = None
    failure.__cause__ = cause
    return failure


def _chain_of(error: BaseException) -> list[BaseException]:
    """Return *error* and its causes and contexts, including those that botocore suppresses with ``from None``."""
    # Not a generator: its frame would keep botocore's exceptions if it is not exhausted.
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and not any(each is one for one in chain):
        chain.append(each)
        each = each.__cause__ or each.__context__
    return chain
