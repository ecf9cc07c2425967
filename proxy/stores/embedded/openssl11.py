"""OpenSSL 1.1 for one child process, on systems that have moved on to OpenSSL 3.

The wheel's redis-server is linked to libssl.so.1.1 and libcrypto.so.1.1 and uses them for nothing here (it listens on
a Unix socket only), yet the loader wants them. Two sources are tried, both through the machine's own package
clients, both held to a pinned SHA-256, so neither a mirror nor a proxy has to be trusted:

    1. Debian 11's package, from the mirrors named in the machine's apt configuration;
    2. the copy inside an old PyPI wheel of a database driver, through pip: for systems without a Debian mirror.

Nothing is installed: the two libraries are taken out of the archive into a folder that only that child searches.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("libssl.so.1.1", "libcrypto.so.1.1")
DOWNLOAD_TIMEOUT_S = 120.0  # 1.5 MB to 3 MB
APT_HELPER = Path("/usr/lib/apt/apt-helper")


class NotOnOfferError(Exception):
    """No source could give the libraries; the message lists what was tried."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One archive that is known to hold the libraries.

    Attributes:
        name: the path below a mirror's base for a Debian package, the requirement for a wheel.
        sha256: of the whole archive, lower-case hex.
    """

    name: str
    sha256: str


# The package indexes of suites bullseye-security and bullseye as offered when this was written. The first holds the
# later fixes; the second stays on every mirror until the whole suite is archived.
DEBIAN_PINS = {
    "x86_64": (
        Pin(
            "pool/updates/main/o/openssl/libssl1.1_1.1.1w-0+deb11u8_amd64.deb",
            "dcc68a543de6cb955a57077b66dcdb15f61d1e31e072f2c6cc4082c37da1b00d",
        ),
        Pin(
            "pool/main/o/openssl/libssl1.1_1.1.1w-0+deb11u1_amd64.deb",
            "aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7",
        ),
    ),
}
WHEEL_PINS = {
    "x86_64": Pin("psycopg2-binary==2.9.3", "280b0bb5cbfe8039205c7981cceb006156a675362a00fe29b16fbc264e242834")
}
WHEEL_BUILD = ("--python-version", "3.8", "--implementation", "cp", "--platform", "manylinux_2_17_x86_64")


def install(home: Path, machine: str, progress: Callable[[str], None]) -> Path:
    """Put both libraries into a folder below `home` and return it; complete or not there at all.

    Args:
        home: existing folder of ours; the caller holds its lock.
        machine: processor name as `uname -m` says it.
        progress: told one sentence before each download.

    Raises:
        NotOnOfferError: neither source had them.
    """
    tried: list[str] = []
    for source in (_from_debian, _from_wheel):
        try:
            libraries, archive_sha256 = source(machine, progress)
        except NotOnOfferError as error:
            tried.append(str(error))
            continue
        return _lay_down(home / f"openssl11-{archive_sha256[:12]}", libraries)
    raise NotOnOfferError("; ".join(tried))


def _lay_down(folder: Path, libraries: dict[str, bytes]) -> Path:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="openssl11-partial-"))
    try:
        written: dict[bytes, Path] = {}
        for name, content in libraries.items():
            if content in written:  # one inode, or the loader would keep two libcryptos in one process
                os.link(written[content], partial / name)
            else:
                written[content] = partial / name
                written[content].write_bytes(content)
        partial.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


# ── Debian ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _from_debian(machine: str, progress: Callable[[str], None]) -> tuple[dict[str, bytes], str]:
    pins = DEBIAN_PINS.get(machine, ())
    if not pins:
        raise NotOnOfferError(f"no Debian package is pinned for {machine}")
    with tempfile.TemporaryDirectory(prefix="deja-apt-") as scratch:
        mirrors = _apt_mirrors(Path(scratch))
        if not mirrors:
            raise NotOnOfferError("this machine's apt, if it has one, names no Debian mirror")
        progress("fetching OpenSSL 1.1 for the embedded Redis from this machine's Debian mirror (1.5 MB, once)")
        for pin in pins:
            for mirror in mirrors:
                archive = _apt_download(mirror + pin.name, Path(scratch) / "package.deb")
                if archive is not None and hashlib.sha256(archive).hexdigest() == pin.sha256:
                    return unpack_deb(archive), pin.sha256
    raise NotOnOfferError(f"the Debian mirror no longer has {' or '.join(Path(pin.name).name for pin in pins)}")


def _apt_mirrors(scratch: Path) -> list[str]:
    """Return the base addresses of the machine's Debian mirrors, each ending in a slash.

    Asks apt what it would fetch, with an empty private list folder: that needs neither root nor an earlier update.
    """
    lists = scratch / "lists"
    (lists / "partial").mkdir(parents=True)
    printed = _output(["apt-get", "-o", f"Dir::State::lists={lists}", "update", "--print-uris"])
    return mirrors_of(printed)


def mirrors_of(printed_uris: str) -> list[str]:
    """Read Debian bases out of `apt-get update --print-uris`; a security archive is guessed beside each plain one.

    Third-party repositories are left alone: only bases whose last folder begins with `debian` count.
    """
    bases = dict.fromkeys(re.findall(r"^'([^']+/)dists/", printed_uris, re.MULTILINE))
    debian = [base for base in bases if base.rstrip("/").rpartition("/")[2].startswith("debian")]
    beside = [base.rstrip("/") + "-security/" for base in debian if base.endswith("/debian/")]
    return list(dict.fromkeys(debian + beside))


def _apt_download(address: str, target: Path) -> bytes | None:
    """Fetch through apt's own methods, so its proxies and credentials apply; None when that failed."""
    target.unlink(missing_ok=True)
    # Without the sandbox option, apt run by root would download as a user that cannot enter our private folder.
    options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1"]
    _output([str(APT_HELPER), *options, "download-file", address, str(target)])
    return target.read_bytes() if target.exists() else None


def unpack_deb(archive: bytes) -> dict[str, bytes]:
    """Return the two libraries out of a .deb: an `ar` archive whose member data.tar.xz holds the files.

    Raises:
        NotOnOfferError: the archive does not have that shape.
    """
    offset = len(b"!<arch>\n")
    while offset < len(archive):  # 60-byte headers: 16 of name, then dates and owners, 10 of size at 48
        name = archive[offset : offset + 16].rstrip(b" /")
        size = int(archive[offset + 48 : offset + 58])
        start = offset + 60
        if name == b"data.tar.xz":
            return _from_tar(lzma.decompress(archive[start : start + size]))
        offset = start + size + size % 2
    raise NotOnOfferError("the Debian package has no data.tar.xz")


def _from_tar(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as files:
        for member in files:
            name = member.name.rpartition("/")[2]
            content = files.extractfile(member) if name in LIBRARIES and member.isfile() else None
            if content is not None:
                found[name] = content.read()
    if set(found) != set(LIBRARIES):
        raise NotOnOfferError("the Debian package does not hold both libraries")
    return found


# ── pip ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _from_wheel(machine: str, progress: Callable[[str], None]) -> tuple[dict[str, bytes], str]:
    pin = WHEEL_PINS.get(machine)
    if pin is None:
        raise NotOnOfferError(f"no wheel is pinned for {machine}")
    progress("fetching OpenSSL 1.1 for the embedded Redis through pip (3 MB, once)")
    with tempfile.TemporaryDirectory(prefix="deja-pip-") as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{pin.name} --hash=sha256:{pin.sha256}\n")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        _output([*pip, "--only-binary", ":all:", *WHEEL_BUILD, "--require-hashes", "-r", str(wanted), "-d", scratch])
        wheels = list(Path(scratch).glob("*.whl"))
        if not wheels:
            raise NotOnOfferError(f"pip could not download {pin.name}")
        return unpack_wheel(wheels[0].read_bytes()), pin.sha256


def unpack_wheel(archive: bytes) -> dict[str, bytes]:
    """Return the libraries of a wheel that auditwheel renamed (libssl-1a2b3c4d.so.1.1), under both names.

    The renamed libssl asks the loader for the renamed libcrypto, redis-server for the plain ones.

    Raises:
        NotOnOfferError: the wheel does not hold both.
    """
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for path in files.namelist():
            match = re.search(r"/((libssl|libcrypto)-[0-9a-f]+\.so\.1\.1)$", path)
            if match:
                found[match[1]] = found[f"{match[2]}.so.1.1"] = files.read(path)
    if not set(LIBRARIES) <= set(found):
        raise NotOnOfferError("the wheel does not hold both libraries")
    return found


def _output(command: Sequence[str]) -> str:
    """Run a package client quietly; what it printed, and "" when it is absent or took too long."""
    try:
        done = subprocess.run(  # noqa: S603  fixed clients, arguments of ours
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
