"""`Where`: where a client sends its calls, in the words of a command line."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from dynamostore._texts import without_userinfo

__all__ = ["Where"]

# Where the AWS CLI goes by itself, if it knows the region: there, or to the account's own.
_AWS = r"https://(dynamodb|[0-9]{{12}}\.ddb)\.{region}\.amazonaws\.com(\.cn)?/?"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a client sends its calls, and which it *can* make."""

    region: str | None
    endpoint: str | None
    can: frozenset[str]

    @classmethod
    def of(cls, client: object, methods: tuple[str, ...]) -> Where:
        """What a client says of itself: boto3's and the package's own do so in ``client.meta``."""
        meta = getattr(client, "meta", None)
        region, endpoint = getattr(meta, "region_name", None), getattr(meta, "endpoint_url", None)
        if isinstance(endpoint, str):
            endpoint = without_userinfo(endpoint)
        return cls(region, endpoint, frozenset(method for method in methods if hasattr(client, method)))

    @property
    def options(self) -> str:
        """What a command line needs to get to the same place, the AWS CLI's or ours: each option after a space.

        >>> Where("eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com", frozenset()).options
        ' --region eu-west-1'
        >>> Where("local", "http://localhost:8000", frozenset()).options
        ' --region local --endpoint-url http://localhost:8000'
        """
        options = f" --region {shlex.quote(self.region)}" if self.region else ""
        own = re.fullmatch(_AWS.format(region=re.escape(self.region or "")), self.endpoint or "")
        return options if own or not self.endpoint else f"{options} --endpoint-url {shlex.quote(self.endpoint)}"
