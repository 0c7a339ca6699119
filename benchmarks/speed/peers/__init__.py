"""Clients of DynamoDB, each as its documentation recommends it for speed, behind one narrow protocol.

Each is made once and kept, with its connections, and reads consistently. Modules are named for the package that they
use, and import it only in functions: a process has just the one that it measures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

__all__ = ["PEERS", "AsyncClient", "Client", "Peer"]


class Client(Protocol):
    """A client of one table. Credentials, and the CA to trust, are in the environment."""

    def find(self, token: str) -> bytes:
        """The data of the item of *token*, read consistently and decoded, beside its other attributes."""

    def writer(self, token: str) -> Callable[[bytes], object]:
        """What replaces the data of the item of *token*, on condition that it is as last written, again and again."""


class AsyncClient(Protocol):
    """A `Client`, awaited."""

    async def find(self, token: str) -> bytes: ...

    async def writer(self, token: str) -> Callable[[bytes], Awaitable[object]]: ...

    async def close(self) -> None: ...


class Peer(NamedTuple):
    """One way to talk to DynamoDB, and how to make it: ``module.maker(url, table, pool)``.

    *imports*: what a program that uses it imports; *packages*: whose versions matter. *signs*: whether a server that
    looks at its requests would take them.
    """

    label: str
    module: str
    maker: str
    imports: tuple[str, ...]
    packages: tuple[str, ...]
    asynchronous: bool = False
    signs: bool = True
    cold: bool = True
    load: bool = True


PEERS: dict[str, Peer] = {
    "boto3": Peer("boto3 client", "boto3", "client", ("boto3",), ("boto3", "botocore")),
    "resource": Peer("boto3 resource", "boto3", "resource", ("boto3",), ("boto3",), load=False),
    "pynamodb": Peer(
        "PynamoDB model", "pynamodb", "client", ("pynamodb.attributes", "pynamodb.models"), ("pynamodb",), load=False
    ),
    "pydynox": Peer("pydynox", "pydynox", "client", ("pydynox",), ("pydynox",)),
    "ours-boto3": Peer("dynamostore on boto3", "ours", "on_boto3", ("dynamostore", "boto3"), ("dynamostore",)),
    "bare": Peer("(a bare socket)", "bare", "client", ("socket",), (), signs=False, cold=False, load=False),
    "wire": Peer("(our wire client alone)", "ours", "wire", ("dynamostore.wire",), (), cold=False, load=False),
    "ours": Peer("dynamostore on wire", "ours", "on_wire", ("dynamostore", "dynamostore.wire"), ("dynamostore",)),
    "aiobotocore": Peer(
        "aiobotocore", "aiobotocore", "client", ("asyncio", "aiobotocore.session"), ("aiobotocore",), asynchronous=True
    ),
    "aiodynamo": Peer(
        "aiodynamo on aiohttp",
        "aiodynamo",
        "on_aiohttp",
        ("asyncio", "aiohttp", "aiodynamo.client", "aiodynamo.http.aiohttp"),
        ("aiodynamo", "aiohttp"),
        asynchronous=True,
    ),
    "aiodynamo-httpx": Peer(
        "aiodynamo on httpx",
        "aiodynamo",
        "on_httpx",
        ("asyncio", "httpx", "aiodynamo.client", "aiodynamo.http.httpx"),
        ("httpx",),
        asynchronous=True,
        load=False,
    ),
    "pydynox-async": Peer("pydynox, async", "pydynox", "async_client", ("asyncio", "pydynox"), (), asynchronous=True),
    "bare-async": Peer(
        "(a bare transport)", "bare", "async_client", (), (), asynchronous=True, signs=False, cold=False, load=False
    ),
    "wire-async": Peer(
        "(our async wire client alone)",
        "ours",
        "async_wire",
        ("asyncio", "dynamostore.wire"),
        (),
        asynchronous=True,
        cold=False,
        load=False,
    ),
    "ours-async": Peer(
        "dynamostore on wire, async",
        "ours",
        "on_async_wire",
        ("asyncio", "dynamostore", "dynamostore.wire"),
        (),
        asynchronous=True,
    ),
}
"""By name, in the order of the tables. In brackets what is no whole client: the floor, and a layer of ours."""
