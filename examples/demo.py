"""Run the example app on a local DynamoDB, and print the requests, responses and items. ``make demo``, ``make serve``.

Only the cloud is missing: there are an HTTP client that keeps cookies, the app (hello.py) in a process of its own, and
an embedded DynamoDB on a free port.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

import dynamostore
from dynamostore.local import CREDENTIALS, LocalDynamoDB

HELLO = Path(__file__).with_name("hello.py")
TABLE = "scs_session"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the example app on a local DynamoDB.")
    parser.add_argument("--serve", action="store_true", help="keep the app running, for curl")
    parser.add_argument("--port", type=int, default=0, help="the app's port (default: a free one)")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"argument --port: {options.port} is not a port: choose 0 to 65535")
    os.environ.update(CREDENTIALS)
    os.environ.pop("AWS_PROFILE", None)
    # All traffic stays on this machine, so no proxy must be used.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    # Exit through the context managers, which end the processes that this one started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.port and answers(options.port):
        taken = f"port {options.port} is taken: free it, or choose another (make serve PORT=4001)"
        print(f"demo: {taken}", file=sys.stderr)
        return 1
    try:
        with LocalDynamoDB() as dynamodb:
            os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = dynamodb.url
            say(f"A local DynamoDB on {dynamodb.url}")
            store = dynamostore.connect(TABLE)
            store.create_table()
            say(f"Table {TABLE!r}: on demand, key token (S), TTL on ttl")
            if options.serve:
                serve(options.port)
            else:
                show(store, options.port)
    except (RuntimeError, dynamostore.StoreError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


def show(store: dynamostore.DynamoStore, port: int) -> None:
    """Call the app and print each request, response and item."""
    with httpx.Client(trust_env=False) as browser:
        with running_app(port) as url:
            say(f"The app on {url}, and a client that keeps cookies")
            exchange(browser, f"{url}/put")
            print_item(store)
            expect(exchange(browser, f"{url}/get"), "Hello world!")
            stopped = httpx.URL(url).port or 0
        say("The app was stopped and restarted: the session is still in the table")
        with running_app(stopped) as url:
            expect(exchange(browser, f"{url}/get"), "Hello world!")
            exchange(browser, f"{url}/logout")
            expect(exchange(browser, f"{url}/get"), "")
    print_item(store)
    say("Done: stored, read, survived a restart, logged out")


def serve(port: int) -> None:
    """Keep the app running until Ctrl-C."""
    with running_app(port) as url:
        say(f"The app on {url}; Ctrl-C ends it. Try, in another terminal:")
        for path in ("put", "get", "logout", "get"):
            print(f"    curl -i -b jar -c jar {url}/{path}")
        sys.stdout.flush()
        while True:
            time.sleep(3600)


@contextmanager
def running_app(port: int) -> Iterator[str]:
    """Run hello.py in a process of its own; yield its URL."""
    with ExitStack() as stack:
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        environment = {**os.environ, "LISTEN": f"127.0.0.1:{port}", "SESSION_TABLE": TABLE}
        process = stack.enter_context(subprocess.Popen([sys.executable, str(HELLO)], env=environment))
        stack.callback(process.terminate)
        deadline = time.monotonic() + 30
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the app did not start on port {port}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def exchange(browser: httpx.Client, url: str) -> str:
    """GET a page and print the request and the response: the important headers and the body."""
    response = browser.get(url)
    request = response.request
    print(f"  > {request.method} {request.url.raw_path.decode()} HTTP/1.1")
    for name in ("Host", "Cookie"):
        if name in request.headers:
            print(f"  > {name}: {request.headers[name]}")
    print(f"  < HTTP/1.1 {response.status_code} {response.reason_phrase}")
    for name in ("Content-Type", "Set-Cookie"):
        if name in response.headers:
            print(f"  < {name}: {response.headers[name]}")
    print(f"  < {response.text or '(an empty body)'}\n")
    return response.text


def expect(body: str, wanted: str) -> None:
    if body != wanted:
        raise RuntimeError(f"the app answered {body!r}, not {wanted!r}")


def print_item(store: dynamostore.DynamoStore) -> None:
    """Print the items in the table, unchanged."""
    import boto3
    from botocore.config import Config

    # HTTP_PROXY must not apply: no proxy can reach a server on this machine.
    client = boto3.client("dynamodb", config=Config(proxies={}))
    items = client.scan(TableName=store.table.name)["Items"]
    print(f"  The table has {len(items)} item{'' if len(items) == 1 else 's'}:" if items else "  The table is empty")
    for item in items:
        for name, value in item.items():
            ((kind, content),) = value.items()
            print(f"    {name:8}{kind}  {content!r}")
    print("    (the key is the SHA-256 of the token in the cookie)\n" if items else "")


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m\n" if sys.stdout.isatty() else f"\n{text}\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
