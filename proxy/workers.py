"""Several workers behind one listening socket: started, watched, replaced one by one, stopped together.

The socket belongs to the supervisor and is handed to every worker, so a connection that no worker has accepted yet is lost with none of
them (with SO_REUSEPORT each has a queue of its own, and takes it along). Supervisor and worker hold the two ends of a link: the worker says
that it serves, and the end of either closes it.

    SIGHUP           for each worker: start another ──it serves──▶ SIGTERM to the old one ──it has ended──▶ the next
    SIGTERM, SIGINT  the same to all workers, and end with them
    a worker ends    another is started; one that never served ends the start, or the replacing

Workers read their settings anew, so SIGHUP also takes a changed deja.yaml, or new code, into use.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy.errors import ConfigError
from proxy.metric_sharing import absorb
from proxy.settings import Settings

logger = logging.getLogger("deja.workers")

BACKLOG = 2048
"""Connections that wait to be accepted, at most; uvicorn's own default."""
START_S = 60.0
"""A worker that does not serve by then is given up: a first start builds models, which the supervisor has done before."""
KILL_S = 5.0
"""Beyond `DEJA_DRAIN_S`, before a worker that will not end is killed: the lifespan still writes what is recorded."""
AGAIN_S = 1.0
"""Before a worker is started in place of one that ended before it served."""


def bind(host: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        ConfigError: somebody else listens there, or the address is not this machine's.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another with --host and --port, or stop who has it."
        ) from None


@dataclass(slots=True, eq=False)
class _Worker:
    """One worker process, as its supervisor knows it."""

    name: str
    process: subprocess.Popen[bytes]
    link: socket.socket
    started_at: float
    replaces: _Worker | None = None
    is_serving: bool = False
    is_leaving: bool = False


@dataclass(slots=True)
class Supervisor:
    """Keeps `count` workers serving on one socket.

    Args:
        listening: the socket; stays the caller's.
        count: how many.
        drain_s: how long a worker may take to finish what it has begun.
        on_serving: called once all of them serve for the first time.
    """

    listening: socket.socket
    count: int
    drain_s: float
    on_serving: Callable[[], None]
    _workers: list[_Worker] = field(default_factory=list)
    _due: list[_Worker] = field(default_factory=list)  # still to be replaced
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _folder: Path = field(default_factory=Path)
    _again_at: float | None = None  # when to make up for workers that are missing
    _kill_at: float | None = None  # when to lose patience on the way out
    _has_served: bool = False
    _is_broken: bool = False

    def run(self) -> bool:
        """Serve until a signal ends it; False if the workers could not be started."""
        self._folder = Path(tempfile.mkdtemp(prefix="deja-"))
        try:
            with self._watching_signals():
                for _ in range(self.count):
                    self._start()
                while self._workers:
                    self._turn()
            return not self._is_broken
        finally:
            for worker in self._workers:  # only if something failed here
                worker.process.kill()
                worker.process.wait()
            self._selector.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    # --- what happens ----------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for the next thing to happen, and do what follows from it."""
        for key, _ in self._selector.select(self._patience_s()):
            if isinstance(key.data, _Worker):
                self._hear(key.data)
            else:
                for number in os.read(key.fd, 64):
                    self._signalled(signal.Signals(number))
        self._mind_the_clock()

    def _signalled(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            if self._kill_at is None:
                logger.info("replacing %d workers, one by one", len(self._workers))
                self._due = [worker for worker in self._workers if not worker.is_leaving]
                self._replace_next()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number)

    def _hear(self, worker: _Worker) -> None:
        """A worker says that it serves, or its end of the link is closed."""
        try:
            said = worker.link.recv(16)
        except ConnectionError:
            said = b""
        if not said:
            self._ended(worker)
            return
        worker.is_serving = True
        logger.info("worker %s (process %d) serves", worker.name, worker.process.pid)
        if worker.replaces is not None:
            self._dismiss(worker.replaces)
            worker.replaces = None
        if not self._has_served and all(each.is_serving for each in self._workers):
            self._has_served = True
            self.on_serving()

    def _ended(self, worker: _Worker) -> None:
        self._selector.unregister(worker.link)
        worker.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(KILL_S)
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()
        self._workers.remove(worker)
        absorb(self._folder, worker.name)
        logger.info("worker %s (process %d) has left", worker.name, worker.process.pid)
        if self._kill_at is not None:
            return
        if not worker.is_leaving:
            self._lost(worker)
        self._replace_next()

    def _lost(self, worker: _Worker) -> None:
        """A worker has ended that nobody asked to."""
        status = worker.process.returncode
        successor = next((each for each in self._workers if each.replaces is worker), None)
        if successor is not None:
            successor.replaces = None
        elif not self._has_served:
            logger.error("worker %s could not be started (exit status %s)", worker.name, status)
            self._is_broken = True
            self._stop(signal.SIGTERM)
        elif worker.replaces is not None:
            logger.error(
                "worker %s could not be started (exit status %s); the workers there are go on", worker.name, status
            )
            self._due.clear()
        else:
            logger.error("worker %s ended (exit status %s); another is started", worker.name, status)
            self._again_at = time.monotonic() + (0 if worker.is_serving else AGAIN_S)

    # --- what is done ----------------------------------------------------------------------------------------------------------

    def _start(self, *, replaces: _Worker | None = None) -> None:
        ours, theirs = socket.socketpair()
        name = str(next(self._numbers))
        # Modules of the working directory are not ours, unless we were started so.
        command = [sys.executable, *(() if str(Path.cwd()) in sys.path else ("-P",)), "-m", "proxy.workers"]
        held = (self.listening.fileno(), theirs.fileno())
        with theirs:
            process = subprocess.Popen(  # noqa: S603  ourselves
                [*command, *map(str, held), str(self._folder), name],
                pass_fds=held,
                process_group=0,  # Ctrl-C reaches the supervisor alone, which tells them
            )
        worker = _Worker(name, process, ours, time.monotonic(), replaces)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _replace_next(self) -> None:
        """Begin to replace the next worker, if none is being replaced."""
        if any(worker.is_leaving or worker.replaces is not None for worker in self._workers):
            return
        while self._due:
            worker = self._due.pop(0)
            if worker in self._workers:
                self._start(replaces=worker)
                return

    def _dismiss(self, worker: _Worker) -> None:
        """Let a worker finish what it has begun, and end."""
        worker.is_leaving = True
        worker.started_at = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)

    def _stop(self, number: signal.Signals) -> None:
        """End all workers; a second time, at once."""
        self._kill_at = time.monotonic() + (0 if self._kill_at is not None else self.drain_s + KILL_S)
        self._due.clear()
        for worker in self._workers:
            worker.process.send_signal(number)

    # --- time ------------------------------------------------------------------------------------------------------------------

    def _mind_the_clock(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                for worker in self._workers:
                    worker.process.kill()
            return
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            for _ in range(
                self.count - sum(not worker.is_leaving and worker.replaces is None for worker in self._workers)
            ):
                self._start()
        for worker in self._workers:
            if now >= self._give_up_at(worker):
                logger.error(
                    "worker %s does not %s; it is killed", worker.name, "end" if worker.is_leaving else "serve"
                )
                worker.process.kill()

    def _give_up_at(self, worker: _Worker) -> float:
        if worker.is_leaving:
            return worker.started_at + self.drain_s + KILL_S
        return float("inf") if worker.is_serving else worker.started_at + START_S

    def _patience_s(self) -> float | None:
        moments = [self._again_at, self._kill_at, *map(self._give_up_at, self._workers)]
        soonest = min((moment for moment in moments if moment is not None), default=float("inf"))
        return None if soonest == float("inf") else max(0.01, soonest - time.monotonic())

    @contextlib.contextmanager
    def _watching_signals(self) -> Iterator[None]:
        """Turn signals into bytes to be read, so that none is handled in the middle of something."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ, None)
        wanted = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: None) for number in wanted}
        woken_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.unregister(ours)
            ours.close()
            theirs.close()


def work(listening: socket.socket, link: socket.socket, *, folder: Path, name: str) -> None:
    """Be a worker: serve on the socket until told to end, or until the supervisor is gone."""
    import uvicorn

    from proxy import telemetry
    from proxy.app import create_app
    from proxy.server import Server, options
    from proxy.settings import load

    try:
        settings: Settings = load(os.environ)
        telemetry.configure_logging(settings.log_level, form=settings.log_format, has_requests=settings.log_requests)
        app = create_app(settings, redis_url=settings.redis.url, environ=os.environ, shared=(folder, name))
    except ConfigError as error:
        logger.error("worker %s cannot start: %s", name, error)
        raise SystemExit(2) from None

    def started(_: int) -> None:
        link.setblocking(False)
        # Nothing is ever sent this way: readable means that the supervisor has ended.
        asyncio.get_running_loop().add_reader(link, server.handle_exit, signal.SIGTERM, None)
        link.send(b"serving")

    server = Server(uvicorn.Config(app, **options(settings)), started)
    # uvicorn raises the signal that stopped it once more when it is done.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listening])
    if not server.started:
        raise SystemExit(1)


if __name__ == "__main__":
    work(
        socket.socket(fileno=int(sys.argv[1])),
        socket.socket(fileno=int(sys.argv[2])),
        folder=Path(sys.argv[3]),
        name=sys.argv[4],
    )
