"""One owner per directory, also across kill -9.

The owner holds a `flock`, and the server inherits the open file: the lock is free only when both are gone. So a
second Deja is refused while the first lives, and a restart right after kill -9 waits for the orphaned server to
finish its shutdown instead of opening the same append-only file beside it. The file's content names the two
processes; it is only ever used for messages and to end an orphan, never to decide who owns.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import ConfigError

POLL_S = 0.02
LIVING_GRACE_S = 0.5  # a killed owner is still seen alive for a moment; a really living one can wait to be told of
TERMINATE_AFTER_S = 0.5  # an orphan gets SIGTERM from the kernel; where that is not so, from us after this time
KILL_AFTER_S = 6.0  # flushing and fsyncing the append-only file takes well under a second; it survives a SIGKILL


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid.

    Attributes:
        pid: process id.
        started: the kernel's start time in clock ticks since boot, 0 where the system does not say.
    """

    pid: int
    started: int


class Ownership:
    """The held lock; `fileno` is what the server inherits."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def fileno(self) -> int:
        """The locked file's descriptor."""
        return self._descriptor

    def record(self, server_pid: int | None) -> None:
        """Write down who owns and which server serves."""
        server = None if server_pid is None else identify(server_pid)
        owner = identify(os.getpid())
        content = json.dumps({"owner": _as_list(owner), "server": _as_list(server)}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def release(self) -> None:
        """Let go; a server that still runs keeps the lock until it ends."""
        os.close(self._descriptor)


def acquire(lock_file: Path, *, wait_s: float) -> Ownership:
    """Own the directory of `lock_file`, waiting for an orphaned server to end.

    Args:
        lock_file: created if absent.
        wait_s: how long to wait for an orphan; a living owner is hardly waited for.

    Raises:
        ConfigError: another living Deja owns it (its pid is named), or an orphan did not end in time.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    began = time.monotonic()
    while not _try_lock(descriptor):
        waited_s = time.monotonic() - began
        owner, server = _read(lock_file)
        owner_lives = owner is not None and identify(owner.pid) == owner
        if owner is not None and owner_lives and waited_s > LIVING_GRACE_S:
            os.close(descriptor)
            raise ConfigError(
                f"{lock_file.parent} is in use by another Deja, pid {owner.pid}: stop it, or give this one its own "
                f"DEJA_DATA_DIR, or let both share a Redis by DEJA_REDIS__URL."
            )
        if waited_s > wait_s:
            os.close(descriptor)
            who = "another process" if server is None else f"the orphaned redis-server, pid {server.pid},"
            raise ConfigError(f"{who} still holds {lock_file.parent} after {wait_s:.0f} s: end it and start again.")
        if not owner_lives:
            _hurry(server, waited_s)
        time.sleep(POLL_S)
    return Ownership(descriptor)


def identify(pid: int) -> Process | None:
    """Return the living process with this pid, None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None if Path("/proc/self/stat").exists() or not _exists(pid) else Process(pid, 0)
    fields = stat.rpartition(b") ")[2].split()  # the name, in parentheses, may itself hold spaces and parentheses
    return None if fields[0] in (b"Z", b"X") else Process(pid, int(fields[19]))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _hurry(server: Process | None, waited_s: float) -> None:
    """End the orphan if the kernel's signal did not; only if it is still that very process."""
    if server is None or identify(server.pid) != server:
        return
    if waited_s > KILL_AFTER_S:
        os.kill(server.pid, signal.SIGKILL)
    elif waited_s > TERMINATE_AFTER_S:
        os.kill(server.pid, signal.SIGTERM)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(lock_file: Path) -> tuple[Process | None, Process | None]:
    """Return owner and server as recorded, None for what is not there."""
    try:
        content = json.loads(lock_file.read_bytes())
        owner, server = content["owner"], content["server"]
        return (owner and Process(*owner)), (server and Process(*server))
    except (OSError, ValueError, KeyError, TypeError):
        return None, None  # caught between lock and record: wait and look again


def _as_list(process: Process | None) -> list[int] | None:
    return None if process is None else [process.pid, process.started]
