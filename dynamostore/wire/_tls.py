"""TLS: always verified, by the certificates of the system or of a bundle that is named."""

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
    """Whose certificates are believed: those in *bundle* (a PEM file or a folder of them), or the system's."""

    def __init__(self, bundle: str | None) -> None:
        self._bundle = bundle
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and up; issuer, host name and dates are checked. Made when the first connection needs it."""
        # Two threads may make one each; a lock could be left locked by a fork.
        if self._context is None:
            self._context = self._make()
        return self._context

    def _make(self) -> ssl.SSLContext:
        import ssl  # takes milliseconds, and a plain endpoint does not need it

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
    """Whether the system has a folder of certificates, which are read as they are needed."""
    folder: str | None = paths.capath  # typeshed's str is not all of it
    return folder is not None and any(Path(folder).iterdir())


def _bundled() -> str:
    """The certificates that come with certifi, or with botocore, where the system has none (in a bare image)."""
    for package in ("certifi", "botocore"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            bundle = Path(found.origin).with_name("cacert.pem")
            if bundle.exists():
                return str(bundle)
    raise FileNotFoundError("this system has no certificates to trust")


def name_in_certificate(host: str) -> str:
    """*host* as a certificate names it: an IPv6 scope is this machine's own business."""
    return host.partition("%")[0]


def is_refused_certificate(error: Exception) -> bool:
    """Whether somebody is there who cannot prove to be the server."""
    # Told by name: where there was no TLS, ``ssl`` need not have been imported.
    return any(kind.__name__ == "SSLCertVerificationError" for kind in type(error).__mro__)


def explain_connect(error: OSError, endpoint: Endpoint, timeout: float) -> ConnectError:
    """Why there is no connection to *endpoint*."""
    where = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, ConnectError):
        return error
    if is_refused_certificate(error):
        reason = getattr(error, "verify_message", "") or "it cannot be verified"
        return CertificateError(f"the certificate of {where} was refused: {reason}")
    if isinstance(error, TimeoutError):
        return ConnectError(f"no connection to {where} within {timeout:.3g} s")
    return ConnectError(f"no connection to {where}: {error}")
