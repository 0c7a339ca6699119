"""A reply that was damaged on its way, or that something in between made up, is no answer: neither yes nor no."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from zlib import crc32

import pytest

import dynamostore
from dynamostore import DynamoStore, Record, UnavailableError

from .backends import make_client

GOOD = (
    b'{"Item":{"token":{"S":"abc"},"data":{"B":"aGVsbG8="},"expiry":{"N":"9000000000000000000"},"version":{"N":"7"}}}'
)
PAGE = b"<html><body>Please log in</body></html>"
DAMAGED = {
    "a byte of the data is another": (GOOD.replace(b"aGVs", b"aGVr"), crc32(GOOD)),
    "a byte is no JSON": (GOOD.replace(b"Item", b"It\0m"), crc32(GOOD)),
    "data that is no base64": (GOOD.replace(b"aGVs", b"aGV"), crc32(GOOD)),
    "an attribute is another": (GOOD.replace(b"Item", b"Iten"), crc32(GOOD)),
    "a page of a proxy": (PAGE, None),
    "JSON, but no object": (b"[]", None),
    "nothing": (b"", None),
}


class Stub(HTTPServer):
    """Gives *replies*, bodies with their checksums (None: none is sent), one after the other, the last for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[tuple[bytes, int | None]] = []
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        body, checksum = self.server.replies[min(self.server.asked, len(self.server.replies)) - 1]
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if body is PAGE else "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        if checksum is not None:
            self.send_header("x-amz-crc32", str(checksum))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["wire", "boto3"])
def store(stub: Stub, request: pytest.FixtureRequest) -> DynamoStore:
    """A store on either client."""
    url = f"http://127.0.0.1:{stub.server_port}"
    return dynamostore.connect(endpoint_url=url, region="us-east-1", attempts=2, via=request.param)


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_reply_is_no_reply(stub: Stub, store: DynamoStore, damage: str) -> None:
    stub.replies = [DAMAGED[damage]]
    with pytest.raises(UnavailableError, match="damaged"):
        store.find("abc")
    assert stub.asked == 2
    with pytest.raises(UnavailableError, match="damaged"):
        store.replace(
            Record("abc", b"hello", datetime(2200, 1, 1, tzinfo=UTC), 7), b"new", datetime(2200, 1, 1, tzinfo=UTC)
        )


@pytest.mark.parametrize("checksum", [crc32(GOOD), None])
def test_a_damaged_reply_is_asked_for_again(stub: Stub, store: DynamoStore, checksum: int | None) -> None:
    stub.replies = [(PAGE, None), (GOOD, checksum)]
    record = store.find("abc")
    assert record is not None
    assert (record.data, stub.asked) == (b"hello", 2)


def test_a_page_of_a_proxy_is_no_reply_to_a_client_of_ones_own_either(stub: Stub) -> None:
    stub.replies = [(PAGE, None)]
    store = DynamoStore(make_client(f"http://127.0.0.1:{stub.server_port}"))
    with pytest.raises(UnavailableError, match="text/html"):
        store.find("abc")
    with pytest.raises(UnavailableError, match="text/html"):
        store.save("abc", b"new", datetime(2200, 1, 1, tzinfo=UTC))
