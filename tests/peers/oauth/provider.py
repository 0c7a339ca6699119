"""A tiny OpenID Connect provider on a real local port: everybody is logged in at once, and each code works once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

__all__ = ["CLIENT", "SECRET", "Provider"]

CLIENT, SECRET = "shop", "a secret of the client's"
_KEY = RSAKey.generate_key(2048, {"kid": "1"})


class Provider:
    """What the provider knows. *user* is who logs in next; *before_token* is called while a client waits for its token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.user = "ada"
        self.before_token: Callable[[], object] | None = None
        self.exchanged: list[str] = []
        """The codes that clients have sent, valid or not."""
        self._lock = threading.Lock()
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def metadata(self) -> dict[str, object]:
        """The discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Return where the browser is sent: the client's callback, with a code."""
        code = secrets.token_urlsafe()
        with self._lock:
            self._codes[code] = {**asked, "user": self.user}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, form: dict[str, str], authorization: str) -> dict[str, object] | None:
        """Return the token for a code; None if the code was used, or is not this client's."""
        hook, self.before_token = self.before_token, None
        if hook is not None:
            hook()
        with self._lock:
            self.exchanged.append(form["code"])
            asked = self._codes.pop(form["code"], None)
        client = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked is None or authorization != client or form["redirect_uri"] != asked["redirect_uri"]:
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": asked["user"],
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + 60,
        }
        return {
            "access_token": secrets.token_urlsafe(),
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": jwt.encode({"alg": "RS256", "kid": "1"}, claims, _KEY),
        }

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[Provider]:
        """A provider on a free port, for the length of a ``with`` block."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        provider = _Handler.provider = cls(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/.well-known/openid-configuration":
                self._answer(200, self.provider.metadata)
            case "/jwks":
                self._answer(200, {"keys": [_KEY.as_dict(private=False)]})
            case "/authorize":
                self._answer(302, {}, self.provider.authorize(asked))
            case _:
                self._answer(404, {})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        token = self.provider.exchange(
            {name: values[0] for name, values in form.items()}, self.headers.get("Authorization", "")
        )
        if token is None:
            self._answer(400, {"error": "invalid_grant"})
        else:
            self._answer(200, token)

    def _answer(self, status: int, body: dict[str, object], location: str | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests say what was asked."""
