"""`Where`: where a client sends its calls, as command-line options."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from dynamostore._texts import without_userinfo

__all__ = ["Where"]

# The endpoints that the AWS CLI finds from the Region alone: the Region's own, or an account's.
_AWS = r"https://(dynamodb|[0-9]{{12}}\.ddb)\.{region}\.amazonaws\.com(\.cn)?/?"


@dataclass(frozen=True, slots=True)
class Where:
    """The region and the endpoint of a client. *can* holds the names of the optional methods that it has."""

    region: str | None
    endpoint: str | None
    can: frozenset[str]

    @classmethod
    def of(cls, client: object, methods: tuple[str, ...]) -> Where:
        """Return what ``client.meta`` reports. boto3's client has it, and so has the wire client."""
        meta = getattr(client, "meta", None)
        region, endpoint = getattr(meta, "region_name", None), getattr(meta, "endpoint_url", None)
        if isinstance(endpoint, str):
            endpoint = without_userinfo(endpoint)
        return cls(region, endpoint, frozenset(method for method in methods if hasattr(client, method)))

    @property
    def options(self) -> str:
        """The options that lead the AWS CLI or ``dynamostore`` to the same place, each after a space.

        >>> Where("eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com", frozenset()).options
        ' --region eu-west-1'
        >>> Where("local", "http://localhost:8000", frozenset()).options
        ' --region local --endpoint-url http://localhost:8000'
        """
        options = f" --region {shlex.quote(self.region)}" if self.region else ""
        own = re.fullmatch(_AWS.format(region=re.escape(self.region or "")), self.endpoint or "")
        return options if own or not self.endpoint else f"{options} --endpoint-url {shlex.quote(self.endpoint)}"
