"""The example app on AWS Lambda, without a framework: for an HTTP API of API Gateway (payload 2.0), or a function URL.

Both pass the cookies in a separate list, and expect a list of cookies in the response. The store is made once, when the
function starts, and serves all later requests. The function's role needs GetItem, PutItem, UpdateItem and DeleteItem on the table.

>>> handler({"rawPath": "/elsewhere"}, None)["statusCode"]
404
"""

from __future__ import annotations

import logging
import os
from typing import NotRequired, TypedDict

import dynamostore
from dynamostore import ThrottledError, UnavailableError
from session import Session, SessionConflict, SessionManager


class Event(TypedDict, total=False):
    """The parts of a request that this app uses; https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""

    rawPath: str
    cookies: list[str]


class Response(TypedDict):
    """The response, in the format of payload 2.0."""

    statusCode: int
    headers: dict[str, str]
    cookies: NotRequired[list[str]]
    body: str


store = dynamostore.connect(table=os.environ.get("SESSION_TABLE", "scs_session"))
manager = SessionManager(store)


def handler(event: Event, _: object) -> Response:
    """Answer a request. An outage is a 503 and a stale request a 409; in both, the client keeps its cookie."""
    try:
        with manager.session(manager.token("; ".join(event.get("cookies", [])))) as s:
            status, body = respond(event.get("rawPath", "/"), s)
    except (UnavailableError, ThrottledError):
        logging.getLogger(__name__).exception("the session store failed")
        return {"statusCode": 503, "headers": {"retry-after": "5"}, "body": "try again soon"}
    except SessionConflict as error:
        logging.getLogger(__name__).warning("stale: %s", error)
        return {"statusCode": 409, "headers": {"cache-control": "no-store"}, "body": "please try again"}
    headers = dict(manager.headers(s, [("Content-Type", "text/plain; charset=utf-8")]))
    cookie = headers.pop("Set-Cookie", None)  # cookies go into their own list
    return {"statusCode": status, "headers": headers, "cookies": [cookie] if cookie else [], "body": body}


def respond(path: str, session: Session) -> tuple[int, str]:
    """Return the app's answer: a status and a body."""
    match path:
        case "/put":
            session.put_string("message", "Hello world!")
            return 200, ""
        case "/get":
            return 200, session.get_string("message")
        case "/logout":
            session.destroy()
            return 200, ""
        case _:
            return 404, "try /put, /get and /logout\n"
