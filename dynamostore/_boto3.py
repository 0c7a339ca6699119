"""A boto3 client with settings that fit sessions. It checks each reply."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from ._sources import is_secretive, key_log_trouble, reason_of
from ._texts import has_userinfo, quoted
from .client import DynamoClient
from .errors import AccessDeniedError
from .hidden import Hidden
from .loopback import is_loopback

if TYPE_CHECKING:
    from boto3 import Session

__all__ = ["boto3_client"]

_NO_USERINFO: Final = "endpoint_url=... (or AWS_ENDPOINT_URL) must not contain a user name or password"


def boto3_client(
    *,
    region: str | None,
    endpoint_url: Hidden[str | None],
    profile: str | None,
    threads: int,
    connect_timeout: float,
    read_timeout: float,
    attempts: int,
) -> DynamoClient:
    """Return the boto3 client of ``connect(via="boto3")``. The docstring of `connect` explains the settings."""
    # Imported here, so that boto3 is only needed when it is used.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, NoRegionError, PartialCredentialsError, ProfileNotFound

    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        tcp_keepalive=True,
        max_pool_connections=threads,
        parameter_validation=False,
        user_agent_extra="dynamostore",
    )
    failure: ValueError | AccessDeniedError | None
    try:
        if has_userinfo(endpoint_url.reveal() or ""):
            raise ValueError(_NO_USERINFO)  # noqa: TRY301 (caught below, as botocore's own)
        # Raises ValueError for a port out of range, which botocore would notice only at the first call.
        _ = urlsplit(endpoint_url.reveal() or "").port
        session = boto3.Session(profile_name=profile, region_name=region)
        failure = _denied(session)
        if failure is not None:
            raise failure
        client = session.client("dynamodb", endpoint_url=endpoint_url.reveal(), config=config)
        if has_userinfo(client.meta.endpoint_url):
            raise ValueError(_NO_USERINFO)  # noqa: TRY301 (caught below, as botocore's own)
        if is_loopback(urlsplit(client.meta.endpoint_url).hostname or ""):
            # Only the client knows its endpoint. If it is on this machine, a proxy could not reach it.
            client = session.client(
                "dynamodb", endpoint_url=endpoint_url.reveal(), config=config.merge(Config(proxies={}))
            )
        client.meta.events.register("before-parse.dynamodb", _spot_damage)
        client.meta.events.register("after-call.dynamodb", _refuse_damage)
        return client
    except PartialCredentialsError as error:
        raise AccessDeniedError(f"no usable AWS credentials: {error}") from error
    except NoRegionError as error:
        raise ValueError("no region is configured: pass region=..., or set AWS_DEFAULT_REGION") from error
    except ProfileNotFound as error:
        raise ValueError(f"{error} (profile=... or AWS_PROFILE)") from error
    except (BotoCoreError, ValueError) as error:
        failure = ValueError(f"{quoted(str(error))} (check region=... and endpoint_url=...)")
        if not has_userinfo(str(error)):
            failure.__cause__ = error
    except OSError as error:
        # Botocore's client prepares TLS when it is created.
        trouble = key_log_trouble(error)
        if trouble is None:
            raise
        failure = ValueError(trouble)
    # Raise outside the except block: otherwise the original would be chained, with the texts it quotes and botocore's frames.
    raise failure


def _denied(session: Session) -> AccessDeniedError | None:
    """Return the error of a source of credentials that boto3 asks immediately, or None if no source failed.

    Errors in the configuration files are raised unchanged.
    """
    from botocore.exceptions import BotoCoreError, ConfigParseError, PartialCredentialsError, ProfileNotFound

    try:
        session.get_credentials()
    except (ConfigParseError, PartialCredentialsError, ProfileNotFound):
        raise
    except Exception as error:
        if key_log_trouble(error) is not None:
            raise
        denied = AccessDeniedError(f"no usable AWS credentials: {reason_of(error)}")
        if isinstance(error, BotoCoreError) and not is_secretive(error):
            denied.__cause__ = error.with_traceback(None)
        return denied
    return None


# SDKs always retry this error code, and DynamoDB itself does not use it.
_DAMAGED: Final = "RequestTimeout"


def _spot_damage(response_dict: MutableMapping[str, object], **_: object) -> None:
    """Turn a reply that is damaged or not DynamoDB's into an error that botocore retries. Runs before botocore parses it."""
    body, headers = response_dict["body"], response_dict["headers"]
    assert isinstance(body, bytes)
    assert isinstance(headers, Mapping)
    checksum = headers.get("x-amz-crc32")
    if _is_json(body) if checksum is None else checksum == str(crc32(body)):
        return
    message = f"the reply (status {response_dict['status_code']}) was damaged in transit or does not come from DynamoDB"
    response_dict["body"] = msgspec.json.encode({"__type": _DAMAGED, "message": message})
    response_dict["status_code"] = 500


def _refuse_damage(http_response: object, parsed: Mapping[str, object], model: object, **_: object) -> None:
    """Raise `ClientError` after the last attempt, if botocore takes a damaged reply for a success because of its status."""
    from botocore.exceptions import ClientError

    if "Error" in parsed and getattr(http_response, "status_code", 0) < 300:
        raise ClientError(parsed, getattr(model, "name", ""))  # type: ignore[arg-type]  # as botocore parsed it


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False
