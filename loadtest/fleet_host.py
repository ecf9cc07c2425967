"""What the fleet's benchmark runs on: a real `deja serve` with its embedded Redis, and who used the processors meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

REPOSITORY = Path(__file__).resolve().parent.parent
KEY = "sk-fleet"
START_S = 90.0
FILES = 8192
"""Open files: a thousand subscribers at both ends, and room."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Host:
    """A running Deja.

    Attributes:
        port: on 127.0.0.1.
        redis_url: of its embedded Redis.
        pids: process ids by name: Deja, redis-server, load generator.
    """

    port: int
    redis_url: str
    pids: dict[str, int]


@contextlib.contextmanager
def serving() -> Iterator[Host]:
    """Run `deja serve` with default settings (but for the embedder, which nothing here uses) in a directory of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="deja-fleet-") as name:
        folder = Path(name)
        artifacts = os.environ.get("DEJA_ARTIFACTS_DIR") or str(
            Path(os.environ.get("DEJA_DATA_DIR", REPOSITORY / ".deja")) / "artifacts"
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "DEJA_"))}
        environment = kept | {
            "DEJA_DATA_DIR": name,
            "DEJA_ARTIFACTS_DIR": artifacts,
            "DEJA_PORT": str(port),
            "DEJA_EMBEDDER__SOURCE": "hashing",
            "DEJA_LOG_LEVEL": "warning",
        }
        with (folder / "deja.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "serve"], env=environment, cwd=REPOSITORY, stdout=log, stderr=log
            )
        try:
            pid = _when_up(process, port, folder)
            pids = {"Deja": process.pid, "redis-server": pid, "load generator": os.getpid()}
            yield Host(port, f"unix://{folder / 'redis' / 'redis.sock'}", pids)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _when_up(process: subprocess.Popen[bytes], port: int, folder: Path) -> int:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise SystemExit(
                f"fleet: deja ended with {process.returncode}:\n{(folder / 'deja.log').read_text()[-3000:]}"
            )
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            parts = httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).json()["parts"]
            pid = _redis_pid(process.pid)
            if pid and all(parts[part]["status"] == "ok" for part in ("redis", "index", "embedder")):
                return pid
        time.sleep(0.05)
    raise SystemExit(
        f"fleet: deja did not come up within {START_S:.0f} s:\n{(folder / 'deja.log').read_text()[-3000:]}"
    )


def _redis_pid(parent: int) -> int | None:
    for file in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in file.read_text().split():
            with contextlib.suppress(OSError):
                if b"redis-server" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


class Meter:
    """Who used the processors, and what Redis did, since it was made.

    Args:
        host: whose processes count.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._redis = redis.Redis.from_url(host.redis_url, decode_responses=True)
        self._redis.config_resetstat()
        self._began = time.monotonic()
        self._ours, self._all = self._used(), _busy_s()

    def read(self) -> tuple[float, dict[str, float], dict[str, float]]:
        """Seconds passed; shares of one core by process, `all others` among them; Redis' own microseconds by command (mean and p99)."""
        passed_s = time.monotonic() - self._began
        ours, every = self._used(), _busy_s()
        spent = {name: ours[name] - self._ours[name] for name in ours}
        spent["all others"] = max(0.0, every - self._all - sum(spent.values()))
        shares = {name: round(seconds / passed_s, 3) for name, seconds in spent.items()}
        told = {}
        for name, stats in self._redis.info("commandstats").items():
            if isinstance(stats, dict) and (command := name.removeprefix("cmdstat_")) in ("evalsha", "ping", "publish"):
                told[f"{command} mean us"] = float(stats["usec_per_call"])
                latency = self._redis.info("latencystats").get(f"latency_percentiles_usec_{command}")
                if isinstance(latency, dict):
                    told[f"{command} p99 us"] = float(latency["p99"])
        self._redis.close()
        return passed_s, shares, told

    def _used(self) -> dict[str, float]:
        return {name: _process_s(pid) for name, pid in self._host.pids.items()}


def _process_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _busy_s() -> float:
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, first)
    return (user + nice + system + irq + softirq + steal) / _TICKS


def machine() -> str:
    """The machine, in a few words."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores ({model or platform.machine()}), Python {platform.python_version()}, {platform.system()}"
