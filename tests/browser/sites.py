"""Sites by name, ``https://shop.test`` and others, behind one server: uvicorn, TLS, in a thread."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dynamostore.testing import LoopThread
from session.web.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Sites"]


class Sites:
    """The server of all sites, for a ``with`` block, on *loop*; put an app under a name: ``sites["shop.test"] = app``.

    *folder* is for its certificate, whose public key is *key*, as Chromium wants it named.
    """

    def __init__(self, loop: LoopThread, folder: Path) -> None:
        self._apps: dict[str, ASGIApp] = {}
        self._loop = loop
        certificate = trustme.CA().issue_cert("*.test", "*.shop.test")
        file = folder / "certificate.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(file)
        public = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).public_key()
        digest = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.key = base64.b64encode(digest).decode()
        config = uvicorn.Config(
            self._serve,
            ssl_certfile=file,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_level="error",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._running: Future[None] | None = None

    def __setitem__(self, host: str, app: ASGIApp) -> None:
        self._apps[host] = app

    def url(self, host: str, path: str = "/") -> str:
        return f"https://{host}:{self._port}{path}"

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        assert isinstance(headers, Iterable)
        host = dict(headers)[b"host"].decode().partition(":")[0]
        await self._apps.get(host, _nothing)(scope, receive, send)

    def __enter__(self) -> Self:
        # Listening already, it answers whenever it is up.
        sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port: int = sock.getsockname()[1]
        self._running = asyncio.run_coroutine_threadsafe(self._server.serve([sock]), self._loop.loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        assert self._running is not None
        self._running.result()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """A browser asks for icons, too."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
