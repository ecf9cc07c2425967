"""The processes of a load test, each started, waited for and ended: the simulated provider, a Redis for all, Deja, embeddings.

Everything listens on 127.0.0.1 alone and keeps its data in a directory that goes with it. What runs, runs with default settings, but for
those that a caller names.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import redis

from proxy.stores.embedded import EmbeddedRedis

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_S = 120.0
"""LiteLLM takes some 10 s on a quiet machine of two cores."""
STOP_S = 20.0
REDIS_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves.

    Attributes:
        name: for people.
        port: on 127.0.0.1; 0 where it has none.
        pid: of it; those it started count with it.
        start_s: from starting it until it served.
        url: of a Redis; empty for others.
    """

    name: str
    port: int
    pid: int
    start_s: float = 0.0
    url: str = ""


def artifacts() -> Path:
    """Where `make install` puts models and Redis."""
    named = os.environ.get("DEJA_ARTIFACTS_DIR")
    return Path(named) if named else Path(os.environ.get("DEJA_DATA_DIR", REPOSITORY / ".deja")) / "artifacts"


@contextlib.contextmanager
def upstream(
    *, latency_ms: float = 0.0, sigma: float = 0.0, tokens_per_s: float = 0.0, failure_rate: float = 0.0, seed: int = 0
) -> Iterator[Running]:
    """Run the simulated provider (`proxy.upstream.simulated`, which says what the arguments mean)."""
    port = free_port()
    command = [sys.executable, "-m", "proxy.upstream.simulated", "--port", str(port), "--latency-ms", str(latency_ms)]
    command += ["--latency-sigma", str(sigma), "--tokens-per-s", str(tokens_per_s)]
    command += ["--failure-rate", str(failure_rate), "--seed", str(seed)]
    with process("provider", command, port=port, ready="/__stats") as running:
        yield running


@contextlib.contextmanager
def shared_redis() -> Iterator[Running]:
    """Run a Redis of the kind that Deja embeds, with a TCP port, for whoever wants to use the same one."""
    folder = Path(tempfile.mkdtemp(prefix="deja-load-"))
    server = EmbeddedRedis(folder, artifacts(), max_memory_bytes=REDIS_BYTES)
    try:
        began = time.monotonic()
        server.start()
        port = free_port()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("bind", "127.0.0.1")
            client.config_set("port", port)
        assert server.pid is not None
        yield Running("redis", port, server.pid, time.monotonic() - began, f"redis://127.0.0.1:{port}")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def deja(
    provider: Running, *, settings: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[Running]:
    """Run `deja serve`.

    Args:
        provider: to which misses go.
        settings: environment names and values, on top of the defaults.
        arguments: of `deja serve`.
    """
    folder = Path(tempfile.mkdtemp(prefix="deja-load-"))
    port = free_port()
    environment = {
        "DEJA_DATA_DIR": str(folder),
        "DEJA_ARTIFACTS_DIR": str(artifacts()),
        "DEJA_PORT": str(port),
        "DEJA_UPSTREAM__BASE_URL": f"http://127.0.0.1:{provider.port}/v1",
        "DEJA_LOG_LEVEL": "warning",
        **(settings or {}),
    }
    command = [sys.executable, "-m", "proxy", "serve", *arguments]
    try:
        with process("deja", command, port=port, ready="/ready", environment=environment) as running:
            _until_whole(port)
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def embeddings() -> Iterator[Running]:
    """Serve Deja's embedding model over `/v1/embeddings`, for caches that bring none."""
    port = free_port()
    command = [sys.executable, "-m", "loadtest.load.embeddings_server", "--port", str(port)]
    with process("embeddings", command, port=port, ready="/health") as running:
        yield running


@contextlib.contextmanager
def process(
    name: str, command: Sequence[str], *, port: int, ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a command until the block ends; it serves when a GET of `ready` gives 200.

    Raises:
        SystemExit: it did not come up; the end of what it said is shown.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("DEJA_", "OPENAI_"))}
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        child = subprocess.Popen(  # noqa: S603  (our own commands)
            list(command), env=clean | dict(environment or {}), cwd=REPOSITORY, stdout=log, stderr=log
        )
        try:
            while not _is_up(port, ready):
                if child.poll() is not None or time.monotonic() - began > START_S:
                    log.seek(0)
                    raise SystemExit(
                        f"load: {name} did not come up on port {port}:\n{log.read()[-3000:].decode(errors='replace')}"
                    )
                time.sleep(0.02)
            yield Running(name, port, child.pid, time.monotonic() - began)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def calls(provider: Running) -> int:
    """How often the simulated provider was called so far."""
    return int(orjson.loads(_get(provider.port, "/__stats") or b"{}")["calls"])


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_whole(port: int) -> None:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        parts = orjson.loads(_get(port, "/ready") or b"{}").get("parts", {})
        if all(parts.get(part, {}).get("status") == "ok" for part in ("redis", "index", "embedder")):
            return
        time.sleep(0.05)
    raise SystemExit(f"load: Deja serves on port {port}, but not with all its parts: {parts}")


def _is_up(port: int, path: str) -> bool:
    return _get(port, path) is not None


def _get(port: int, path: str) -> bytes | None:
    """The body of a 200; None for anything else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return body if answer.status == 200 else None
    return None
