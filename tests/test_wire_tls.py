"""TLS: who cannot prove to be the server is told nothing, and not asked again; what is cut is no reply; all in typed errors."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from dynamostore import UnavailableError
from dynamostore.client import Item
from dynamostore.wire import (
    CertificateError,
    ConnectError,
    ConnectionLostError,
    DamagedReplyError,
    SettingsError,
    TransportError,
    WireClient,
    _names,
)
from dynamostore.wire._tls import Trust

from .faulty import KINDS, Driver

ITEM: Item = {"token": {"S": "abc"}}
PATIENT = 5.0
"""Seconds: for what must come. Whoever waits for it in vain fails."""


# A server


class Server:
    """A server on a free port of the loopback interface, which puts each connection into the hands of *serve*.

    *connections* is how many there were, *heard* all that was said to it inside of TLS, and *ended* is set when the client
    has gone, whom *serve* waited for. Ends all that is left when it ends.
    """

    def __init__(self, serve: Callable[[Server, socket.socket], None]) -> None:
        self.connections = 0
        self.heard = b""
        self.ended = threading.Event()
        self._serve = serve
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)

    def url(self, host: str = "127.0.0.1", scheme: str = "https") -> str:
        return f"{scheme}://{host}:{self.port}"

    def wait_for_the_end(self, sock: socket.socket) -> None:
        """Until the client hangs up."""
        with suppress(OSError):
            while sock.recv(1024):
                pass
        self.ended.set()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                sock.close()
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._run, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        # What a client does to a connection is what the tests are about; theirs is to look at it.
        with sock, suppress(OSError):
            sock.settimeout(PATIENT)
            self._serve(self, sock)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        # To close it would not wake it up.
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass
        self._accepting.join()
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def reply(*, sized: bool = True) -> tuple[bytes, bytes]:
    """Head and body of a GetItem's reply."""
    body = json.dumps({"Item": ITEM}).encode()
    length = f"Content-Length: {len(body)}\r\n" if sized else "Connection: close\r\n"
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n{length}\r\n".encode(), body


def answer(server: Server, sock: socket.socket) -> None:
    """Answer one request after the other, each with the same item."""
    while asked := request_from(server, sock):
        assert b"DynamoDB_20120810.GetItem" in asked
        sock.sendall(b"".join(reply()))


def request_from(server: Server, sock: socket.socket) -> bytes:
    """A whole request; nothing, if there is none."""
    asked = b""
    while b"\r\n\r\n" not in asked or len(asked.partition(b"\r\n\r\n")[2]) < length_of(asked):
        received = sock.recv(65536)
        if not received:
            return b""
        server.heard += received
        asked += received
    return asked


def length_of(request: bytes) -> int:
    return int(request.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])


def over_tls(context: ssl.SSLContext) -> Callable[[Server, socket.socket], None]:
    """`answer`, inside of TLS."""

    def serve(server: Server, sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as inside:
            answer(server, inside)

    return serve


# Certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Those who are believed."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def context_of(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """A server that shows *leaf*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    """A server that is what it says it is."""
    return context_of(authority.issue_cert("127.0.0.1", "localhost"))


@pytest.fixture
def server(context: ssl.SSLContext) -> Iterator[Server]:
    """It answers, over TLS, with a good certificate."""
    with Server(over_tls(context)) as server:
        yield server


# What Python 3.13 wants to see in what signs others, if only itself.
KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def self_made(folder: Path, *alternatives: x509.GeneralName) -> tuple[ssl.SSLContext, str]:
    """A server that shows what it has signed itself, for 127.0.0.1 and *alternatives*, and that certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path = folder / "self.pem"
    path.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    path.with_name("self-bundle.pem").write_bytes(pem)
    return context, str(path.with_name("self-bundle.pem"))


def hashed(certificate: x509.Certificate) -> str:
    """The name that OpenSSL looks for in a folder of certificates, as ``openssl rehash`` gives it."""
    canonical = x509.Name(
        [x509.NameAttribute(part.oid, " ".join(str(part.value).lower().split())) for part in certificate.subject]
    )
    encoded = canonical.public_bytes()
    # Without the outer SEQUENCE's tag and length.
    encoded = encoded[2 + (encoded[1] & 0x7F if encoded[1] & 0x80 else 0) :]
    return f"{int.from_bytes(sha1(encoded).digest()[:4], 'little'):08x}.0"


# Clients


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The clients of each kind, called alike."""
    with Driver(request.param) as driver:
        yield driver
        driver.assert_clean()


@contextmanager
def client_of(driver: Driver, url: str, **settings: Any) -> Iterator[WireClient]:
    client = driver.client(url, **settings)
    try:
        yield client
    finally:
        client.close()


def get(client: WireClient) -> object:
    return client.get_item(TableName="sessions", Key=ITEM).get("Item")


def refused(driver: Driver, url: str, kind: type[TransportError] = CertificateError, **settings: Any) -> TransportError:
    """What a client raises, which is *kind*, as a store has it, too: an outage."""
    with client_of(driver, url, **settings) as client:
        with pytest.raises(TransportError) as caught:
            get(client)
        with pytest.raises(UnavailableError) as outage:
            driver.store(client).find("token")
    assert type(caught.value) is type(outage.value.__cause__) is kind
    assert isinstance(caught.value, OSError)
    return caught.value


def test_a_server_that_the_bundle_vouches_for_is_spoken_to_on_one_connection(
    driver: Driver, server: Server, bundle: str
) -> None:
    for host in ("127.0.0.1", "localhost"):
        before = server.connections
        with client_of(driver, server.url(host), ca_bundle=bundle) as client:
            for _ in range(3):
                assert get(client) == ITEM
        assert server.connections == before + 1


def test_the_bundle_can_be_named_by_the_environment(
    driver: Driver, server: Server, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    with client_of(driver, server.url()) as client:
        assert get(client) == ITEM


def test_an_argument_says_more_than_the_environment(
    driver: Driver, server: Server, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tmp_path / "others.pem"
    trustme.CA().cert_pem.write_to_path(others)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(others))
    with client_of(driver, server.url(), ca_bundle=bundle) as client:
        assert get(client) == ITEM
    monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    refused(driver, server.url(), ca_bundle=str(others))


def test_the_bundle_can_be_a_folder_of_certificates_by_their_hashes(
    driver: Driver, server: Server, authority: trustme.CA, tmp_path: Path
) -> None:
    pem = authority.cert_pem.bytes()
    refused(driver, server.url(), ca_bundle=str(tmp_path))
    (tmp_path / hashed(x509.load_pem_x509_certificate(pem))).write_bytes(pem)
    with client_of(driver, server.url(), ca_bundle=str(tmp_path)) as client:
        assert get(client) == ITEM


def test_where_the_system_has_no_certificates_those_of_a_package_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As in a container image without ca-certificates.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    assert ssl.create_default_context().cert_store_stats()["x509_ca"] == 0
    assert Trust(None).context.cert_store_stats()["x509_ca"] > 50


def test_without_a_bundle_it_is_for_the_system_to_say(
    driver: Driver, server: Server, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(driver, server.url())
    # OpenSSL's own variable.
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with client_of(driver, server.url()) as client:
        assert get(client) == ITEM


def test_a_certificate_of_ones_own_is_believed_if_the_bundle_names_it(driver: Driver, tmp_path: Path) -> None:
    context, own = self_made(tmp_path, x509.IPAddress(ip_address("127.0.0.1")))
    with Server(over_tls(context)) as server, client_of(driver, server.url(), ca_bundle=own) as client:
        assert get(client) == ITEM


@pytest.mark.parametrize("bundled", [True, False], ids=["with a bundle", "without one"])
def test_a_key_log_that_cannot_be_written_is_told_as_one_and_not_as_the_bundle(
    driver: Driver, server: Server, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    named = tmp_path / "missing" / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(named))
    with client_of(driver, server.url(), ca_bundle=bundle if bundled else None) as client:
        with pytest.raises(SettingsError, match=r"^SSLKEYLOGFILE '.*keys\.log' cannot be written \(No such") as caught:
            get(client)
        assert "ca_bundle" not in str(caught.value)
        named.parent.mkdir()
        if bundled:
            assert get(client) == ITEM
            assert named.stat().st_size


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_bundle_that_holds_no_certificate_is_a_mistake_and_told_as_one(
    driver: Driver, server: Server, tmp_path: Path, content: bytes
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(content)
    with client_of(driver, server.url(), ca_bundle=str(empty)) as client:
        for _ in range(2):
            with pytest.raises(SettingsError, match=r"ca_bundle .*empty\.pem' holds no certificates"):
                get(client)
    assert server.heard == b""


# Who cannot prove it


def nobody_knows(_: trustme.CA, __: Path) -> ssl.SSLContext:
    return context_of(trustme.CA().issue_cert("127.0.0.1"))


def is_another(authority: trustme.CA, _: Path) -> ssl.SSLContext:
    return context_of(authority.issue_cert("127.0.0.2", "dynamodb.eu-central-1.amazonaws.com", "*.0.0.1"))


def has_expired(authority: trustme.CA, _: Path) -> ssl.SSLContext:
    return context_of(authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(minutes=1)))


def has_not_begun(authority: trustme.CA, _: Path) -> ssl.SSLContext:
    return context_of(authority.issue_cert("127.0.0.1", not_before=datetime.now(UTC) + timedelta(hours=1)))


def vouches_for_itself(_: trustme.CA, folder: Path) -> ssl.SSLContext:
    return self_made(folder, x509.IPAddress(ip_address("127.0.0.1")))[0]


def has_no_issuer_with_it(authority: trustme.CA, _: Path) -> ssl.SSLContext:
    """The bundle knows the root; of the one between nothing is said."""
    leaf = authority.create_child_ca().issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with leaf.private_key_and_cert_chain_pem.tempfile() as whole:
        text = Path(whole).read_bytes()
    end = b"-----END CERTIFICATE-----\n"
    with trustme.Blob(text.partition(end)[0] + end).tempfile() as alone:
        context.load_cert_chain(alone)
    return context


UNTRUSTED: dict[str, tuple[Callable[[trustme.CA, Path], ssl.SSLContext], str]] = {
    "an issuer that nobody knows": (nobody_knows, "issuer|self.signed"),
    "the name of another": (is_another, "mismatch|not valid for"),
    "a certificate that has expired": (has_expired, "expired"),
    "a certificate that is not valid yet": (has_not_begun, "not yet valid"),
    "a certificate of its own making": (vouches_for_itself, "self.signed"),
    "an issuer that is not shown": (has_no_issuer_with_it, "issuer"),
}


@pytest.mark.parametrize(("make", "says"), UNTRUSTED.values(), ids=UNTRUSTED)
def test_who_cannot_prove_to_be_the_server_is_told_nothing_and_not_asked_again(
    driver: Driver,
    authority: trustme.CA,
    bundle: str,
    tmp_path: Path,
    make: Callable[[trustme.CA, Path], ssl.SSLContext],
    says: str,
) -> None:
    with Server(over_tls(make(authority, tmp_path))) as server:
        error = refused(driver, server.url(), ca_bundle=bundle)
        # Once by the client and once by the store: with its four attempts each would have made four.
        assert server.connections == 2
        assert server.heard == b""
    assert str(error).startswith(f"the certificate of 127.0.0.1:{server.port} was refused: ")
    assert re.search(says, str(error))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_name_that_counts_is_the_endpoints_and_not_the_common_name(
    driver: Driver, tmp_path: Path, host: str
) -> None:
    # Its common name is 127.0.0.1, and it is believed; but it has no alternative names.
    context, own = self_made(tmp_path)
    with Server(over_tls(context)) as server:
        refused(driver, server.url(host), ca_bundle=own)
        assert server.heard == b""


def test_a_name_is_no_address_and_an_address_no_name(driver: Driver, authority: trustme.CA, bundle: str) -> None:
    for shown, asked in [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")]:
        with Server(over_tls(context_of(authority.issue_cert(shown)))) as server:
            refused(driver, server.url(asked), ca_bundle=bundle)
            with client_of(driver, server.url(shown), ca_bundle=bundle) as client:
                assert get(client) == ITEM


def test_a_server_that_is_replaced_by_another_is_not_believed_for_what_the_first_one_was(
    driver: Driver, context: ssl.SSLContext, bundle: str
) -> None:
    contexts = [context, nobody_knows(trustme.CA(), Path())]
    hang_up = threading.Event()

    def serve(server: Server, sock: socket.socket) -> None:
        with contexts[server.connections - 1].wrap_socket(sock, server_side=True) as inside:
            request_from(server, inside)
            inside.sendall(b"".join(reply()))
        hang_up.set()

    with Server(serve) as server, client_of(driver, server.url(), ca_bundle=bundle) as client:
        assert get(client) == ITEM
        heard = server.heard
        assert hang_up.wait(PATIENT)
        with pytest.raises(CertificateError):
            get(client)
        assert server.connections == 2
        assert server.heard == heard


# Several addresses


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[int]], None]:
    """Give a name the address 127.0.0.1, with one port after the other."""
    real = socket.getaddrinfo

    def give(name: str, ports: list[int]) -> None:
        def getaddrinfo(host: str, port: int, *arguments: Any, **more: Any) -> list[Any]:
            if host != name:
                return list(real(host, port, *arguments, **more))
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", one)) for one in ports]

        _names.forget()
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return give


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def test_an_address_where_nobody_is_leads_to_the_next(
    driver: Driver, authority: trustme.CA, bundle: str, addresses: Callable[[str, list[int]], None]
) -> None:
    with Server(over_tls(context_of(authority.issue_cert("dynamodb.test")))) as server:
        addresses("dynamodb.test", [closed_port(), server.port])
        with client_of(driver, "https://dynamodb.test", ca_bundle=bundle) as client:
            assert get(client) == ITEM
        assert server.connections == 1


@pytest.mark.parametrize("second", ["the same", "nobody", "a good one"])
def test_who_cannot_prove_it_at_the_first_address_is_not_looked_for_at_the_next(
    driver: Driver,
    authority: trustme.CA,
    bundle: str,
    addresses: Callable[[str, list[int]], None],
    second: str,
) -> None:
    good = over_tls(context_of(authority.issue_cert("dynamodb.test")))
    with Server(over_tls(nobody_knows(authority, Path()))) as server, Server(good) as other:
        ports = {"the same": server.port, "nobody": closed_port(), "a good one": other.port}
        addresses("dynamodb.test", [server.port, ports[second]])
        with (
            client_of(driver, "https://dynamodb.test", ca_bundle=bundle) as client,
            pytest.raises(TransportError) as caught,
        ):
            get(client)
        assert type(caught.value) is CertificateError
        assert (server.connections, other.connections) == (1, 0)
        assert server.heard == b""


# What is no TLS, or no good one


def test_a_plain_server_where_tls_is_spoken_is_no_server(driver: Driver, bundle: str) -> None:
    def serve(server: Server, sock: socket.socket) -> None:
        server.heard += sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        server.wait_for_the_end(sock)

    with Server(serve) as server:
        error = refused(driver, server.url(), ConnectError, ca_bundle=bundle, attempts=1)
    assert f"127.0.0.1:{server.port}" in str(error)
    assert b"POST" not in server.heard
    assert b"abc" not in server.heard


def test_a_tls_server_where_none_is_spoken_is_no_server(driver: Driver, server: Server) -> None:
    with (
        client_of(driver, server.url(scheme="http"), attempts=1) as client,
        pytest.raises((ConnectionLostError, DamagedReplyError)),
    ):
        get(client)
    with (
        client_of(driver, server.url(scheme="http"), attempts=1) as client,
        pytest.raises(UnavailableError),
    ):
        driver.store(client).find("token")
    assert server.connections == 2


def old_server(authority: trustme.CA) -> ssl.SSLContext:
    """A server that knows nothing newer than TLS 1.1."""
    context = context_of(authority.issue_cert("127.0.0.1"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def old_client(bundle: str) -> ssl.SSLContext:
    """A client that would still do."""
    context = ssl.create_default_context(cafile=bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
    return context


def test_a_tls_that_is_too_old_is_refused(driver: Driver, authority: trustme.CA, bundle: str) -> None:
    with Server(over_tls(old_server(authority))) as server:
        try:
            with (
                socket.create_connection(("127.0.0.1", server.port), PATIENT) as sock,
                old_client(bundle).wrap_socket(sock, server_hostname="127.0.0.1") as inside,
            ):
                assert inside.version() == "TLSv1.1"
        except ssl.SSLError as error:
            pytest.skip(f"this OpenSSL has no TLS 1.1: {error}")
        refused(driver, server.url(), ConnectError, ca_bundle=bundle, attempts=1)
        assert server.heard == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_newer_ones_are_not(driver: Driver, authority: trustme.CA, bundle: str, version: ssl.TLSVersion) -> None:
    context = context_of(authority.issue_cert("127.0.0.1"))
    context.minimum_version = context.maximum_version = version
    with (
        Server(over_tls(context)) as server,
        client_of(driver, server.url(), ca_bundle=bundle) as client,
    ):
        assert get(client) == get(client) == ITEM
        assert server.connections == 1


# What is cut


class Sans:
    """TLS by hand, on a server's side: what goes over the wire is this one's to send, or not."""

    def __init__(self, context: ssl.SSLContext, sock: socket.socket) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._sock = sock

    def flight(self) -> bytes:
        """The first that a server says in a handshake: hello, certificate and all."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        while not self._outgoing.pending:
            self._feed()
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
        return self._outgoing.read()

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                self._feed()
            else:
                self._sock.sendall(self._outgoing.read())
                return

    def recv(self, most: int) -> bytes:
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                self._feed()

    def records(self, *texts: bytes) -> bytes:
        """What goes over the wire for *texts*, a record for each."""
        for text in texts:
            self._tls.write(text)
        return self._outgoing.read()

    def _feed(self) -> None:
        received = self._sock.recv(65536)
        if not received:
            raise ConnectionResetError
        self._incoming.write(received)


def reset(sock: socket.socket) -> None:
    """Hang up without a word of TCP's, either."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


parts = st.floats(0, 1, exclude_max=True)


@given(part=parts, hard=st.booleans())
@example(part=0.0, hard=False)
@example(part=0.0, hard=True)
@example(part=0.999, hard=False)
def test_a_handshake_that_is_cut_anywhere_is_no_connection(
    context: ssl.SSLContext, bundle: str, drivers: dict[str, Driver], part: float, hard: bool
) -> None:
    def serve(_: Server, sock: socket.socket) -> None:
        flight = Sans(context, sock).flight()
        sock.sendall(flight[: int(len(flight) * part)])
        if hard:
            reset(sock)

    for driver in drivers.values():
        with (
            Server(serve) as server,
            client_of(driver, server.url(), ca_bundle=bundle, attempts=1) as client,
            pytest.raises(TransportError) as caught,
        ):
            get(client)
        assert type(caught.value) is ConnectError
        assert server.connections == 1


@given(cuts=st.lists(parts, max_size=4), part=parts | st.just(1.0), sized=st.booleans(), hard=st.booleans())
@example(cuts=[], part=0.5, sized=True, hard=False)
@example(cuts=[0.9], part=0.95, sized=True, hard=False)
@example(cuts=[0.6], part=0.8, sized=False, hard=False)
def test_a_reply_that_is_cut_anywhere_is_none(
    context: ssl.SSLContext,
    bundle: str,
    drivers: dict[str, Driver],
    cuts: list[float],
    part: float,
    sized: bool,
    hard: bool,
) -> None:
    head, body = reply(sized=sized)
    text = head + body
    at = sorted(int(len(text) * cut) for cut in cuts)
    texts = [text[begin:end] for begin, end in zip([0, *at], [*at, len(text)], strict=True) if begin < end]
    whole = part == 1.0 and not hard

    def serve(server: Server, sock: socket.socket) -> None:
        tls = Sans(context, sock)
        tls.shake_hands()
        request_from(server, tls)  # type: ignore[arg-type]  # it has what it takes of a socket
        records = tls.records(*texts)
        sock.sendall(records[: int(len(records) * part)])
        if hard:
            reset(sock)
        elif part == 1.0 and sized:
            server.wait_for_the_end(sock)

    for driver in drivers.values():
        with Server(serve) as server, client_of(driver, server.url(), ca_bundle=bundle, attempts=1) as client:
            try:
                found = get(client)
            except (ConnectionLostError, DamagedReplyError):
                # A reply without a length ends with the connection: it is for the client to say whether without a farewell
                # of TLS's, too.
                assert not whole or not sized
            else:
                # A reset may come after all that counts.
                assert found == ITEM
                assert part == 1.0
            assert server.connections == 1


@pytest.fixture(scope="module")
def drivers() -> Iterator[dict[str, Driver]]:
    """All kinds at once, for tests with many examples."""
    with Driver("sync") as one, Driver("asyncio") as two, Driver("uvloop") as three:
        drivers: dict[str, Driver] = {driver.kind: driver for driver in (one, two, three)}
        yield drivers
        for driver in drivers.values():
            driver.assert_clean()


# What never ends


@pytest.mark.parametrize("says", ["nothing", "half of it"])
def test_a_handshake_that_never_ends_is_given_up_in_time_and_hung_up_on(
    driver: Driver, context: ssl.SSLContext, bundle: str, says: str
) -> None:
    def serve(server: Server, sock: socket.socket) -> None:
        if says != "nothing":
            flight = Sans(context, sock).flight()
            sock.sendall(flight[: len(flight) // 2])
        server.wait_for_the_end(sock)

    with (
        Server(serve) as server,
        client_of(driver, server.url(), ca_bundle=bundle, attempts=1, connect_timeout=0.1, call_timeout=60) as client,
    ):
        with pytest.raises(TransportError, match=r"no connection to 127\.0\.0\.1:\d+ within 0\.1 s") as caught:
            get(client)
        assert type(caught.value) is ConnectError
        # It is not left open until somebody collects the garbage.
        assert server.ended.wait(PATIENT)
        assert server.connections == 1


def test_a_handshake_that_never_ends_is_an_outage_for_a_store(driver: Driver, bundle: str) -> None:
    with (
        Server(Server.wait_for_the_end) as server,
        client_of(driver, server.url(), ca_bundle=bundle, attempts=1, connect_timeout=0.05) as client,
        pytest.raises(UnavailableError, match=r"within 0\.05 s"),
    ):
        driver.store(client).find("token")


def test_a_call_that_is_over_does_not_wait_for_a_handshake(driver: Driver, bundle: str) -> None:
    with (
        Server(Server.wait_for_the_end) as server,
        client_of(driver, server.url(), ca_bundle=bundle, connect_timeout=60, call_timeout=0.1) as client,
        pytest.raises(ConnectError, match=r"within 0\.\d+ s"),
    ):
        get(client)


def test_a_client_that_is_closed_says_goodbye(driver: Driver, context: ssl.SSLContext, bundle: str) -> None:
    def serve(server: Server, sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as inside:
            answer(server, inside)
            server.ended.set()

    with Server(serve) as server:
        with client_of(driver, server.url(), ca_bundle=bundle) as client:
            assert get(client) == ITEM
            assert not server.ended.is_set()
        assert server.ended.wait(PATIENT)
