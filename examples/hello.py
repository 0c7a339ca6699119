"""The example app of SCS for Go, in Python: /put stores "Hello world!" in the session, /get returns it.

It is plain WSGI and runs on any WSGI server: ``python examples/hello.py`` serves it with waitress, ``gunicorn --chdir examples hello:app``
with gunicorn. The region, credentials and endpoint come from the environment, as in boto3. The table must exist: create it
with ``store.create_table()``, or run ``python examples/demo.py``, which starts a local DynamoDB with the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import dynamostore
from session import Cookie, SessionManager
from session.web.wsgi import SessionMiddleware, get_session

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

store = dynamostore.connect(table=os.environ.get("SESSION_TABLE", "scs_session"))
# This app runs over plain HTTP. With HTTPS, leave out secure=False.
manager = SessionManager(store, cookie=Cookie(secure=False))


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    session = get_session(environ)
    status, body = "200 OK", ""
    match environ["PATH_INFO"]:
        case "/put":
            session.put_string("message", "Hello world!")
        case "/get":
            body = session.get_string("message")
        case "/logout":
            session.destroy()
        case _:
            status, body = "404 Not Found", "try /put, /get and /logout\n"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]


app = SessionMiddleware(hello, manager)


def main() -> None:
    """Serve the app on the address in LISTEN."""
    import waitress

    waitress.serve(app, listen=os.environ.get("LISTEN", "127.0.0.1:4000"), threads=8, _quiet=True)


if __name__ == "__main__":
    main()
