"""Makes a certificate for the loopback interface: ``python -m benchmarks.speed.children.certificate FOLDER``.

Writes ``server.pem`` and ``server.key`` for a server, and for clients ``ca.pem``: the usual authorities and the one
that signed. So a client has as much to load as for a server out there.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    import certifi
    import trustme

    folder = Path(sys.argv[1])
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    server.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    usual = Path(certifi.where()).read_bytes()
    (folder / "ca.pem").write_bytes(usual + b"\n" + authority.cert_pem.bytes())


if __name__ == "__main__":
    main()
