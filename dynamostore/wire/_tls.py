"""TLS. Certificates are always verified, against the system's authorities or those in a configured bundle."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from dynamostore._sources import key_log_trouble

from .errors import CertificateError, ConnectError, SettingsError

if TYPE_CHECKING:
    import ssl

    from ._core import Endpoint

__all__ = ["Trust", "explain_connect", "is_refused_certificate", "name_in_certificate"]


class Trust:
    """The trusted certificate authorities: those in *bundle* (a PEM file or a folder of PEM files), or the system's."""

    def __init__(self, bundle: str | None) -> None:
        self._bundle = bundle
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context, created for the first connection. It requires TLS 1.2 and checks issuer, host name and dates."""
        # Two threads may each create one. There is no lock, because a fork could leave it locked.
        if self._context is None:
            self._context = self._make()
        return self._context

    def _make(self) -> ssl.SSLContext:
        import ssl  # not at the top: it takes milliseconds, and a plain endpoint does not need it

        bundle = self._bundle
        try:
            if bundle is None:
                context = ssl.create_default_context()
                if not context.cert_store_stats()["x509_ca"] and not _has_folder(ssl.get_default_verify_paths()):
                    context.load_verify_locations(cafile=_bundled())
            elif Path(bundle).is_dir():
                context = ssl.create_default_context(capath=bundle)
            else:
                context = ssl.create_default_context(cafile=bundle)
        except OSError as error:
            if (trouble := key_log_trouble(error)) is not None:
                raise SettingsError(trouble) from None
            raise SettingsError(f"ca_bundle (or AWS_CA_BUNDLE) {bundle!r} holds no certificates: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


def _has_folder(paths: ssl.DefaultVerifyPaths) -> bool:
    """Return True if the system has a folder of certificates. OpenSSL reads them when it needs them."""
    folder: str | None = paths.capath  # typeshed says str, but it may be None
    return folder is not None and any(Path(folder).iterdir())


def _bundled() -> str:
    """Return the path of the certificates in certifi or botocore. Some minimal container images have no certificates."""
    for package in ("certifi", "botocore"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            bundle = Path(found.origin).with_name("cacert.pem")
            if bundle.exists():
                return str(bundle)
    raise FileNotFoundError("this system has no trusted certificates")


def name_in_certificate(host: str) -> str:
    """Return *host* as a certificate names it, without an IPv6 scope, which only this machine understands."""
    return host.partition("%")[0]


def is_refused_certificate(error: Exception) -> bool:
    """Return True if *error* means that the peer's certificate was refused."""
    # Compare the name of the class: without TLS, ``ssl`` may not have been imported.
    return any(kind.__name__ == "SSLCertVerificationError" for kind in type(error).__mro__)


def explain_connect(error: OSError, endpoint: Endpoint, timeout: float) -> ConnectError:
    """Return the error that explains why there is no connection to *endpoint*."""
    where = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, ConnectError):
        return error
    if is_refused_certificate(error):
        reason = getattr(error, "verify_message", "") or "it cannot be verified"
        return CertificateError(f"the certificate of {where} was refused: {reason}")
    if isinstance(error, TimeoutError):
        return ConnectError(f"no connection to {where} within {timeout:.3g} s")
    return ConnectError(f"no connection to {where}: {error}")
