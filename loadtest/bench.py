"""`make bench`: what one request costs at one connection, beside the provider called directly in the same run.

It starts a simulated provider (instant answers) and `deja serve` (embedded Redis, real model) as processes of their own, sends requests
one after the other over one kept connection, and reports percentiles per kind of answer. Direct and proxied calls alternate, so
that both see the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

VERBS = ("reset", "clean", "repair", "insure", "open", "paint", "move", "store", "sell", "measure")
THINGS = (
    "bicycle",
    "kettle",
    "printer",
    "garden gate",
    "wooden chair",
    "camera lens",
    "coffee machine",
    "tent",
    "violin",
    "radiator",
    "lawn mower",
    "bookshelf",
    "door lock",
    "fish tank",
    "sewing machine",
    "telescope",
    "barbecue",
    "canoe",
    "mattress",
    "chimney",
)
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Percentiles of one kind of request, in milliseconds."""

    kind: str
    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="requests per kind, at most 200 (default 200)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    timings = run(min(arguments.requests, len(VERBS) * len(THINGS)))
    print(table(timings))
    if arguments.json:
        report = {"machine": machine(), "timings": [asdict(timing) for timing in timings]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def run(count: int) -> list[Timing]:
    """Measure every kind of request `count` times."""
    stored = [f"How do I {verb} my {thing}?" for thing in THINGS for verb in VERBS][:count]
    reworded = [f"How can I {verb} my {thing}?" for thing in THINGS for verb in VERBS][:count]
    with (
        tempfile.TemporaryDirectory(prefix="deja-bench-") as folder,
        _provider() as provider,
        _deja(provider, Path(folder)) as deja,
    ):
        direct, proxied = Line(provider), Line(deja)
        for warm in range(20):
            direct.ask(f"Warm-up {warm}")
            proxied.ask(f"Warm-up number {warm}?")
            proxied.ask(f"Warm-up number {warm}?")
        floor, missed = [], []
        for question in stored:
            floor.append(direct.ask(question))
            missed.append(proxied.ask(question, expect="fwd=miss"))
        bypass = [proxied.ask(question, expect="fwd=bypass", mode="off") for question in stored]
        exact = [proxied.ask(question, expect="detail=exact") for question in stored]
        semantic = [proxied.ask(question, expect="detail=semantic") for question in reworded]
        extra = [through - straight for through, straight in zip(missed, floor, strict=True)]
        straight_p50 = percentile(floor, 50)
        around = [through - straight_p50 for through in bypass]
    kinds = {
        "provider, called directly": floor,
        "exact hit": exact,
        "semantic hit": semantic,
        "miss, stored": missed,
        "added by a miss": extra,
        "added by a bypass": around,
    }
    return [_timing(kind, values) for kind, values in kinds.items()]


class Line:
    """One kept connection, and the time each answer takes on it."""

    def __init__(self, root: str) -> None:
        host, _, port = root.removeprefix("http://").partition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, question: str, *, expect: str = "", mode: str = "") -> float:
        """Ask one question; returns milliseconds until the whole answer is there."""
        body = json.dumps({"model": "bench", "messages": [{"role": "user", "content": question}]})
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"} | (
            {"X-Deja-Mode": mode} if mode else {}
        )
        started = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, headers)
        answer = self._connection.getresponse()
        answer.read()
        took_ms = (time.perf_counter() - started) * 1000
        told = answer.headers.get("Cache-Status", "")
        if answer.status != 200 or expect not in told:
            raise SystemExit(f"bench: expected {expect!r} for {question!r}, got {answer.status} {told!r}")
        return took_ms


@contextlib.contextmanager
def _provider() -> Iterator[str]:
    port = _free_port()
    with _process([sys.executable, "-m", "proxy.upstream.simulated", "--port", str(port)], dict(os.environ)):
        yield _when_up(f"http://127.0.0.1:{port}", "/v1/models")


@contextlib.contextmanager
def _deja(provider: str, data_dir: Path) -> Iterator[str]:
    port = _free_port()
    artifacts = os.environ.get("DEJA_ARTIFACTS_DIR") or str(
        Path(os.environ.get("DEJA_DATA_DIR", ".deja")).resolve() / "artifacts"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DEJA_", "OPENAI_"))} | {
        "DEJA_DATA_DIR": str(data_dir),
        "DEJA_ARTIFACTS_DIR": artifacts,
        "DEJA_PORT": str(port),
        "DEJA_UPSTREAM__BASE_URL": f"{provider}/v1",
        "DEJA_LOG_LEVEL": "warning",
    }
    with _process([sys.executable, "-m", "proxy", "serve"], environment):
        root = _when_up(f"http://127.0.0.1:{port}", "/ready")
        time.sleep(1)  # the index is created just after the doors open
        yield root


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603 - our own modules
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _when_up(root: str, path: str) -> str:
    give_up_at = time.monotonic() + START_S
    host, _, port = root.removeprefix("http://").partition(":")
    while time.monotonic() < give_up_at:
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return root
        time.sleep(0.05)
    raise SystemExit(f"bench: {root} did not come up")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def percentile(values: list[float], percent: float) -> float:
    """The value below which `percent` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _timing(kind: str, values: list[float]) -> Timing:
    return Timing(kind, len(values), *(round(percentile(values, percent), 3) for percent in (50, 95, 99)))


def machine() -> str:
    """The machine, in a few words."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def table(timings: list[Timing]) -> str:
    """The timings as Markdown."""
    lines = [
        f"{machine()}, one connection, one worker",
        "",
        "| | requests | p50 ms | p95 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {t.kind} | {t.requests} | {t.p50_ms:.2f} | {t.p95_ms:.2f} | {t.p99_ms:.2f} |" for t in timings]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
