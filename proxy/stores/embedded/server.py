"""The embedded Redis process and the thread that watches it.

The thread starts the server, waits for its end, and starts it again until told to stop. It is a thread and not a task
because a busy or stopped event loop must not delay a restart, and because the kernel ties the child's death signal
(`launch.py`) to the thread that started it: a daemon thread lives exactly as long as the process.

    starting ──answers──▶ serving ──ends──▶ restarting (at once; 0.1 s doubling to 2 s while it keeps dying young)
       └──ends first──▶ ConfigError            └──refuses its own file──▶ tried every 30 s, `failure` says how to mend
"""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from enum import Enum
from pathlib import Path
from types import TracebackType

from proxy.errors import ConfigError
from proxy.stores.embedded import layout as layouts
from proxy.stores.embedded import ownership
from proxy.stores.embedded.files import WAY_OUT, Progress, ServerFiles, ensure_binaries

LAUNCHER = Path(__file__).with_name("launch.py")

ORPHAN_WAIT_S = 10.0  # how long a start waits for the server of a killed Deja; its shutdown takes well under a second
START_TIMEOUT_S = 15.0  # 0.15 s measured; a busy machine gets time, a hang does not get for ever
STOP_TIMEOUT_S = 10.0  # SIGTERM flushes and fsyncs the append-only file; after this SIGKILL, which loses at most 1 s
POLL_S = 0.005
ANSWER_TIMEOUT_S = 1.0  # a server loading its data answers between two chunks of it
LOADING_GRACE_S = 0.5  # start() returns while data is still loading, but not before a damaged file could be noticed
YOUNG_S = 5.0  # a server that lived longer than this was healthy: its end starts a new count
BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 2.0
DAMAGED_RETRY_S = 30.0  # a file that does not load will not mend itself, but someone may mend it
LOG_TAIL_BYTES = 4096

LOG_PREFIX = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [.\-*#] ")  # "6405:M 22 Nov 2026 15:26:35.790 # "

# What redis-server logs when the append-only file itself is at fault (aof.c), in lower case.
DAMAGE = (
    "bad file format reading the append only file",
    "unrecoverable error reading the append only file",
    "unexpected end of file reading the append only file",
    "fatal error loading the db",
    "aof loading aborted",
    "invalid aof manifest file format",
    "manifest file",
)

log = logging.getLogger("deja.redis")


class Answer(Enum):
    """What a server says to PING."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"


class EmbeddedRedis:
    """A private Redis in one data directory, reachable by Unix socket alone.

    Args:
        data_dir: holds the data, in `<data_dir>/redis`; one living owner at a time.
        artifacts_dir: holds what is fetched once (`ensure_binaries`); may be shared.
        max_memory_bytes: Redis' `maxmemory`; past it, keys with a TTL are evicted and other writes refused.
        progress: told one sentence before anything that takes long.
    """

    def __init__(
        self, data_dir: Path, artifacts_dir: Path, *, max_memory_bytes: int, progress: Progress = lambda _: None
    ) -> None:
        self._data_dir = data_dir
        self._artifacts_dir = artifacts_dir
        self._max_memory_bytes = max_memory_bytes
        self._progress = progress
        self._layout: layouts.Layout | None = None
        self._files: ServerFiles | None = None
        self._ownership: ownership.Ownership | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._process_lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: str | None = None

    @property
    def url(self) -> str:
        """`unix://` and the absolute socket path; the same across restarts. Only after `start`."""
        assert self._layout is not None, "start() first"
        return f"unix://{self._layout.socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id now, None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def failure(self) -> str | None:
        """Why the server is not running and what to do, None while all is well."""
        return self._failure

    def start(self) -> None:
        """Start the server and return once it answers, be it that it is still loading its data. Blocks.

        Raises:
            ConfigError: no server can run here, the directory is another's, or the server refused to start.
        """
        assert self._thread is None, "start() is called once"
        self._files = ensure_binaries(self._artifacts_dir, self._progress)
        self._layout = layouts.lay_out(self._data_dir)
        self._ownership = ownership.acquire(self._layout.lock, wait_s=ORPHAN_WAIT_S)
        try:
            self._ownership.record(None)
            layouts.write_configuration(self._layout, self._files, self._max_memory_bytes)
            self._thread = threading.Thread(target=self._watch, name="deja-embedded-redis", daemon=True)
            self._thread.start()
            if not self._started.wait(START_TIMEOUT_S):
                self._failure = f"The embedded Redis did not answer within {START_TIMEOUT_S:.0f} s; see its log."
        except BaseException:
            self.stop()
            raise
        if self._failure is not None:
            self.stop()
            raise ConfigError(self._failure)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server, by SIGTERM and after `timeout_s` by SIGKILL, and give the directory free. Repeatable."""
        self._stopping.set()
        with self._process_lock:
            process = self._process
            if process is not None:
                process.terminate()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive() and process is not None:
                log.warning("embedded redis pid %d ignored SIGTERM for %.0f s: killing it", process.pid, timeout_s)
                process.kill()
                self._thread.join()
        if self._ownership is not None:
            self._ownership.release()
            self._ownership = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ── on the watching thread ────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Keep one server running until `stop`; ends early only if the very first never answered."""
        deaths_in_youth = 0
        while not self._stopping.is_set():
            log_offset = self._log_size()
            born = time.monotonic()
            process = self._spawn()
            if process is None:
                break
            if self._wait_until_answering(process):
                self._failure = None
                self._started.set()
            status = process.wait()
            if self._stopping.is_set():
                break
            reason = self._reason(log_offset, status)
            if not self._started.is_set():
                self._failure = reason
                self._started.set()
                break
            deaths_in_youth = deaths_in_youth + 1 if time.monotonic() - born < YOUNG_S else 0
            self._stopping.wait(self._pause_s(process.pid, reason, deaths_in_youth))

    def _pause_s(self, pid: int, reason: str, deaths_in_youth: int) -> float:
        """Log the death and return how long to wait before the next start."""
        damaged = "redis-check-aof" in reason
        if damaged:
            if self._failure != reason:  # said once, not every 30 s
                log.error("embedded redis: %s", reason)
            self._failure = reason
            return DAMAGED_RETRY_S
        pause_s = 0.0 if deaths_in_youth <= 1 else backoff_s(deaths_in_youth - 1)
        log.warning("embedded redis pid %d ended; starting it again in %.1f s. %s", pid, pause_s, reason)
        self._failure = reason
        return pause_s

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """Start a server, None if `stop` came first."""
        assert self._layout is not None
        assert self._files is not None
        assert self._ownership is not None
        command = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
        command += [str(self._files.server), str(self._layout.configuration)]
        with self._process_lock:
            if self._stopping.is_set():
                return None
            with self._layout.log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603  our own binary and configuration
                    command,
                    env=self._files.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._layout.folder,
                    pass_fds=(self._ownership.fileno,),
                    start_new_session=True,  # Ctrl-C in the terminal is for Deja, which still has answers to finish
                )
            self._ownership.record(self._process.pid)
            return self._process

    def _wait_until_answering(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for an answer, or for "still loading" to last: a damaged file shows itself in the first moments."""
        assert self._layout is not None
        loading_since: float | None = None
        while process.poll() is None:
            answer = ask(self._layout.socket)
            if answer is Answer.READY:
                return True
            if answer is Answer.LOADING:
                loading_since = loading_since or time.monotonic()
                if time.monotonic() - loading_since > LOADING_GRACE_S:
                    return True
            time.sleep(POLL_S)
        return False

    def _log_size(self) -> int:
        assert self._layout is not None
        try:
            return self._layout.log.stat().st_size
        except OSError:
            return 0

    def _reason(self, log_offset: int, status: int) -> str:
        """Say in a sentence or two why the server ended, from what it logged since `log_offset`."""
        assert self._layout is not None
        assert self._files is not None
        with self._layout.log.open("rb") as written:
            written.seek(max(log_offset, self._log_size() - LOG_TAIL_BYTES))
            tail = written.read().decode(errors="replace")
        if status > 0 and any(sign in tail.lower() for sign in DAMAGE):
            return damage_advice(self._layout, self._files)
        if status < 0:
            return f"The embedded Redis server was ended by signal {-status}; see {self._layout.log}."
        said = last_words(tail)
        return f"The embedded Redis server ended with exit status {status}: {said} See {self._layout.log}. {WAY_OUT}"


def running_url(data_dir: Path) -> str | None:
    """URL of the embedded server that another process runs on this directory, None if none does."""
    path = layouts.lay_out(data_dir).socket
    return None if ask(path) is Answer.NONE else f"unix://{path}"


def ask(path: Path) -> Answer:
    """Ask whatever listens on the Unix socket how it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except TimeoutError:
            return Answer.LOADING  # it took the connection and is too busy to say so
        except OSError:
            return Answer.NONE
    if not reply:
        return Answer.NONE
    return Answer.LOADING if reply.startswith(b"-LOADING") else Answer.READY


def backoff_s(failures: int) -> float:
    """Return the pause before a restart after this many failures in a row (from 1): 0.1 s doubling up to 2 s."""
    return float(min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 10)))


def last_words(log_text: str) -> str:
    """Return the last two things the server logged: the last one is often only that it gives up."""
    lines = [LOG_PREFIX.sub("", line).strip().rstrip(".") for line in log_text.splitlines() if line.strip()]
    return "; ".join(lines[-2:]) + "." if lines else "it logged nothing."


def damage_advice(layout: layouts.Layout, files: ServerFiles) -> str:
    """Say how to mend an append-only file that does not load, as a command that can be pasted."""
    checker = files.server.with_name("redis-check-aof")
    library = "" if files.library_path is None else f"LD_LIBRARY_PATH={files.library_path} "
    manifest = layout.folder / "appendonlydir" / "appendonly.aof.manifest"
    return (
        f"The embedded Redis refuses to load its append-only file, which is damaged; see {layout.log}. Copy "
        f"{manifest.parent} aside, then cut the damaged end off with: {library}{checker} --fix {manifest} "
        f"(what was written after the damage is lost). Or move that folder away to start empty."
    )
