"""What is shipped is whole: locked requirements, package data, the container's files. An install itself is too slow for every run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import environment_names, load

REPOSITORY = Path(__file__).resolve().parent.parent
LOCKS = ("runtime.txt", "dev.txt")
PACKAGES = ("proxy", "embeddings", "loadtest")


def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def name_of(requirement: str) -> str:
    """The normalised name of a requirement (PEP 503)."""
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def locked(lock: str) -> dict[str, str]:
    """Requirement by name, each with its hashes on one line."""
    text = (REPOSITORY / "requirements" / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {name_of(line): line for line in lines}


def wanted(lock: str) -> list[str]:
    """What the lock was made from."""
    if lock == "runtime.txt":
        build = (REPOSITORY / "requirements" / "build.in").read_text().splitlines()
        return [*project()["project"]["dependencies"], *build]
    lines = (REPOSITORY / "requirements" / "dev.in").read_text().splitlines()
    return [line for line in lines if line and line[0] not in "#-"]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked(lock: str) -> None:
    assert {name_of(requirement) for requirement in wanted(lock)} <= set(locked(lock))


def test_a_dependency_of_some_machines_only_is_locked_with_its_marker() -> None:
    # A lock made where a marker does not hold leaves the package out, or one made where it does may drop the marker.
    for requirement in project()["project"]["dependencies"]:
        _, semicolon, marker = requirement.partition(";")
        has_marker = ";" in locked("runtime.txt")[name_of(requirement)].partition("--hash")[0]
        assert has_marker == bool(semicolon), f"{requirement}: {marker.strip()}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_its_hashes(lock: str) -> None:
    for line in locked(lock).values():
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ ", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("file", [*(f"requirements/{lock}" for lock in LOCKS), "requirements/dev.in", "pyproject.toml"])
def test_no_requirement_names_an_index(file: str) -> None:
    text = (REPOSITORY / file).read_text()
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|^-[if] ", text, flags=re.MULTILINE)


def test_both_locks_agree() -> None:
    runtime, dev = locked("runtime.txt"), locked("dev.txt")
    version = re.compile(r"==\S+")
    for name in runtime.keys() & dev.keys():
        assert version.findall(runtime[name]) == version.findall(dev[name]), name


def test_every_file_that_is_no_module_is_package_data() -> None:
    patterns: dict[str, list[str]] = project()["tool"]["setuptools"]["package-data"]
    for package in PACKAGES:
        folder = REPOSITORY / package
        shipped = {path for pattern in patterns.get(package, ()) for path in folder.glob(pattern)}
        others = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert others <= shipped


def test_every_folder_with_modules_is_a_package() -> None:
    # Without __init__.py setuptools leaves a folder out of the wheel, and only an installed Deja would notice.
    for package in PACKAGES:
        for folder in {path.parent for path in (REPOSITORY / package).rglob("*.py")}:
            assert (folder / "__init__.py").is_file(), folder


# ── container ─────────────────────────────────────────────────────────────────────────────────────────────────────


def dockerfile() -> list[list[str]]:
    """The instructions, each as its words."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line.strip()]


def stage(last: bool) -> list[list[str]]:
    """The instructions of the image, or of the stage before it."""
    lines = dockerfile()
    start = max(number for number, words in enumerate(lines) if words[0] == "FROM")
    return lines[start:] if last else lines[:start]


def test_the_image_runs_as_a_user_without_rights() -> None:
    users = [words[1] for words in stage(last=True) if words[0] == "USER"]
    assert users == ["deja"]


@pytest.mark.parametrize("last", [False, True], ids=["build", "image"])
def test_nothing_in_the_image_reports_to_its_maker(last: bool) -> None:
    # onnxruntime 1.32 on Linux makes a device id and sends events; the variable counts only before the import.
    assert any(words[0] == "ENV" and "ORT_DISABLE_TELEMETRY=1" in words for words in stage(last))


def test_the_image_is_given_every_file_it_copies() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    copied = [words[1:-1] for words in stage(last=False) if words[0] == "COPY"]
    for source in (source for sources in copied for source in sources):
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}" in ignored, f"{source} is kept from the builder by .dockerignore"
    packages = project()["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {package.rstrip("*") for package in packages} <= {source for sources in copied for source in sources}


def test_the_image_and_compose_set_only_settings_that_exist() -> None:
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    given = set(compose["services"]["deja"]["environment"])
    given |= {pair.partition("=")[0] for words in dockerfile() for pair in words if re.match(r"\w+=", pair)}
    ours = {name for name in given if name.startswith("DEJA_")}
    assert len(ours) >= 8
    assert ours <= set(environment_names())


def test_composed_as_it_is_deja_may_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = {
        k: v
        for words in stage(last=True)
        if words[0] == "ENV"
        for k, _, v in (pair.partition("=") for pair in words[1:])
    }
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    unset = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in compose["deja"]["environment"].items()}
    settings = load(image | unset)
    assert settings.host == "0.0.0.0"
    assert settings.auth.allow_open_bind
    assert all(port.startswith("127.0.0.1:") for port in compose["deja"]["ports"]), "no key is asked for: loopback only"
    assert settings.redis.url == "redis://redis:6379"
    assert compose["redis"]["image"] == "redis:8"


def test_the_composed_redis_keeps_what_has_no_ttl() -> None:
    command = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"].startswith("volatile-")
    assert "--maxmemory" in options
