"""What processes use: processor seconds and memory, read from /proc; and the words for a machine and a commit."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.load.hosts import REPOSITORY, Running

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and those it started use.

    Attributes:
        cpu_s: processor seconds since it began.
        rss_mb: resident memory, in 10^6 bytes.
    """

    cpu_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Who used the machine during a run.

    Attributes:
        seconds: it took.
        cpu: share of one core by process; "generator" is this process, "others" are none of ours.
        rss_mb: resident memory at the end, by process.
    """

    seconds: float
    cpu: dict[str, float]
    rss_mb: dict[str, float]


class Meter:
    """Measures from when it is made until it is read.

    Args:
        running: processes by name. A Redis that Deja embeds counts as "redis", apart from Deja.
    """

    def __init__(self, running: Sequence[Running]) -> None:
        self._pids: dict[str, set[int]] = {}
        for each in running:
            pids = _family(each.pid)
            embedded = set() if each.name == "redis" else {pid for pid in pids if _command(pid) == "redis-server"}
            self._pids[each.name] = pids - embedded
            if embedded:
                self._pids["redis"] = embedded
        self._pids["generator"] = {os.getpid()}
        self._began = time.monotonic()
        self._before, self._all_before = self.usage(), _busy_s()

    def usage(self) -> dict[str, Usage]:
        """What each uses now."""
        return {
            name: Usage(sum(_cpu_s(pid) for pid in pids), sum(_rss_mb(pid) for pid in pids))
            for name, pids in self._pids.items()
        }

    def read(self) -> Shares:
        """Who used the machine since the beginning."""
        seconds = time.monotonic() - self._began
        now, every = self.usage(), _busy_s()
        spent = {name: used.cpu_s - self._before[name].cpu_s for name, used in now.items()}
        spent["others"] = max(0.0, every - self._all_before - sum(spent.values()))
        return Shares(
            round(seconds, 2),
            {name: round(value / seconds, 3) for name, value in spent.items()},
            {name: round(used.rss_mb, 1) for name, used in now.items()},
        )


def machine() -> str:
    """The machine, in a few words."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores ({model or platform.machine()}), Python {platform.python_version()}, {platform.system()}"


def commit() -> str:
    """The commit that was measured, with a plus if files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty=+", "--abbrev=10"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        return told.stdout.strip()
    return "unknown"


def _family(pid: int) -> set[int]:
    """The process and all below it."""
    found = {pid}
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in file.read_text().split():
                found |= _family(int(child))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        line = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        )  # Redis writes its title there, spaces and all
        return Path(line.decode(errors="replace").partition(" ")[0]).name
    return ""


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
    return 0.0


def _busy_s() -> float:
    first = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, first)
    return (user + nice + system + irq + softirq + steal) / _TICKS
