"""The example app of SCS for Go, in Python: /put stores "Hello world!" in the session, /get returns it.

Plain WSGI, so any server will do. The region, credentials and endpoint come from the environment, as boto3
has it; the table must be there (``store.create_table()``, or ``python examples/demo.py`` for all of it).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import dynamostore
from session import Cookie, SessionManager

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

store = dynamostore.connect(table=os.environ.get("SESSION_TABLE", "scs_session"))
# Over plain HTTP, so not secure; leave that away where there is HTTPS.
manager = SessionManager(store, cookie=Cookie(secure=False))


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    status, body = "200 OK", ""
    with manager.session(manager.cookie.read(environ.get("HTTP_COOKIE"))) as s:
        match environ["PATH_INFO"]:
            case "/put":
                s.put_string("message", "Hello world!")
            case "/get":
                body = s.get_string("message")
            case "/logout":
                s.destroy()
            case _:
                status, body = "404 Not Found", "try /put, /get and /logout\n"

    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if cookie := manager.set_cookie(s):
        headers.append(("Set-Cookie", cookie))
    start_response(status, headers)
    return [body.encode()]


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import waitress

    waitress.serve(app, listen=os.environ.get("LISTEN", "127.0.0.1:4000"), threads=8, _quiet=True)


if __name__ == "__main__":
    main()
