"""`deja serve` as a user runs it: a process of its own, its own data directory, real Redis, real model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.redis_server import artifacts_dir

START_S = 60.0  # a first run also fetches; a warm one takes one or two seconds


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DejaProcess:
    """One running `deja serve`.

    Args:
        data_dir: its data directory.
        environment: settings on top of the defaults of a test.
        arguments: of `deja serve`.
    """

    def __init__(self, data_dir: Path, environment: dict[str, str], arguments: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self._arguments = arguments
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DEJA_", "OPENAI_")) and name not in ("http_proxy", "https_proxy")
        }
        self._environment = inherited | {
            "DEJA_DATA_DIR": str(data_dir),
            "DEJA_ARTIFACTS_DIR": str(artifacts_dir()),
            "DEJA_PORT": str(self.port),
            "DEJA_REDIS__MAX_MEMORY_BYTES": str(256 << 20),
            # A shared two-core machine stalls for longer than a served one should: tests judge what happens, not how fast.
            "DEJA_REDIS__DEADLINE_MS": "1000",
            "DEJA_EMBEDDER__DEADLINE_MS": "10000",
            "DEJA_MEMORY__READ_DEADLINE_MS": "10000",
            "DEJA_MEMORY__WRITE_DELAY_S": "0.5",
            "DEJA_AUDIT__SHARE": "0",  # tests count what reaches the provider
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        # `httpx.get` reads all certificates of the machine, 30 ms of processor time that the process that starts wants, too.
        self._http = httpx.Client(verify=False, trust_env=False, timeout=5.0)
        self._log = data_dir / "deja.log"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"

    @property
    def log(self) -> str:
        """What it has said on both streams."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self, *, until: str = "ready") -> None:
        """Start it and wait: until it is `ready` with its index, or merely `serving`."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "serve", *self._arguments],
                env=self._environment,
                cwd=Path(__file__).parent.parent,
                stdout=log,
                stderr=log,
            )
        give_up_at = time.monotonic() + START_S
        while not self._is(until):
            assert self.process.poll() is None, f"deja ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < give_up_at, f"deja did not become {until}:\n{self.log}"
            time.sleep(0.05)

    def wait_until_whole(self, timeout_s: float = 15.0) -> None:
        """Wait until every part is well again."""
        give_up_at = time.monotonic() + timeout_s
        while not self._is("ready"):
            assert time.monotonic() < give_up_at, f"deja did not recover:\n{self.log}"
            time.sleep(0.05)

    def _is(self, state: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = self._http.get(f"{self.root}/ready", headers={"Connection": "close"})
            parts = answer.json()["parts"]
            is_whole = all(parts[part]["status"] == "ok" for part in ("redis", "index", "embedder"))
            return answer.status_code == 200 and (state != "ready" or is_whole)
        return False

    def children(self) -> list[int]:
        """Process ids of what it has started: its embedded Redis, its workers."""
        assert self.process is not None
        files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in files for pid in file.read_text().split()]

    def redis_pid(self) -> int:
        """Process id of its embedded Redis."""
        for child in self.children():
            if b"redis-server" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        raise AssertionError("no embedded Redis is running")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Stop it politely; returns its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode


@contextlib.contextmanager
def running_deja(*, arguments: tuple[str, ...] = (), until: str = "ready", **environment: str) -> Iterator[DejaProcess]:
    """Run `deja serve` with these settings in a directory of its own; gone at the end."""
    data_dir = Path(tempfile.mkdtemp(prefix="deja-e2e-"))
    deja = DejaProcess(data_dir, environment, arguments)
    try:
        deja.start(until=until)
        yield deja
    finally:
        deja.stop()
        shutil.rmtree(data_dir, ignore_errors=True)
