"""Tasks under fire: a real `deja serve`, worker processes killed at random, its Redis killed; then every promise is checked.

    python -m loadtest.task_chaos                                   10,000 tasks, 8 workers, Redis killed once
    python -m loadtest.task_chaos --tasks 500 --redis-kills 3

Tasks are submitted while workers work, in batches with idempotency keys that are sent again until they are answered. Some are delayed, some
are poison (they fail on every attempt). A worker logs, to a file of its own, each task it was told it completed, with a nonce that is
in the result as well. What has to hold at the end, read from Redis with a plain client:

- every task that was acknowledged at submission is there, and has ended;
- each has exactly one update to `completed`, or, if it is poison, one to `failed`; nobody was told of another completion than is stored;
- the dead letter holds the poison, and nothing else;
- no delayed task was begun before its time;
- afterwards, in a queue filled before it is drained, priorities, delays and first-come order are kept to the letter.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import redis

from loadtest.task_worker import Line

REPOSITORY = Path(__file__).resolve().parent.parent
KEY = "sk-chaos"
MAX_ATTEMPTS = 8
"""A task whose workers are killed again and again must not be taken for poison: with 1 kill in 12 attempts, 8 in a row are 1 in 4e8."""
PATIENCE_S = 1200.0
START_S = 60.0
SHOWN_PROBLEMS = 20


@dataclass(slots=True)
class Report:
    """What happened, and what was wrong; `problems` is empty when every promise was kept."""

    tasks: int
    poison: int
    delayed: int
    workers: int
    worker_kills: int = 0
    redis_kills: int = 0
    seconds: float = 0.0
    submissions_repeated: int = 0
    attempts: int = 0
    completions_told: int = 0
    completions_untold: int = 0
    redis_away_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run `deja serve` with its embedded Redis in a folder; yields its port and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "DEJA_"))} | {
        "DEJA_DATA_DIR": str(folder),
        "DEJA_ARTIFACTS_DIR": os.environ.get("DEJA_ARTIFACTS_DIR", str(REPOSITORY / ".deja" / "artifacts")),
        "DEJA_PORT": str(port),
        "DEJA_TASKS__MAX_UPDATES": "1000000",  # the judge reads every change
        "DEJA_EMBEDDER__SOURCE": "hashing",
    }
    with (folder / "deja.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve"], env=environment, cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        _wait_for(lambda: _is_up(process, port, folder), START_S)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _is_up(process: subprocess.Popen[bytes], port: int, folder: Path) -> bool:
    if process.poll() is not None:
        raise SystemExit(f"deja ended with {process.returncode}:\n{(folder / 'deja.log').read_text()[-3000:]}")
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        line = Line(port, KEY)
    try:
        return bool(line.insist("GET", "/ready")[1]["parts"]["redis"]["status"] == "ok")
    finally:
        line.close()


def redis_pid(process: subprocess.Popen[bytes]) -> int | None:
    """Process id of its embedded Redis, None while there is none."""
    for file in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in file.read_text().split():
            with suppress(OSError):
                if b"redis-server" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def _wait_for(holds: Callable[[], bool], timeout_s: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < timeout_s:
        with suppress(OSError, redis.RedisError):
            if holds():
                return time.monotonic() - started
        time.sleep(0.02)
    raise SystemExit(f"not within {timeout_s:.0f} s")


class Reader:
    """What lies in Redis, in plain types: redis-py's cannot say that replies are decoded."""

    def __init__(self, folder: Path) -> None:
        self._redis = redis.Redis(unix_socket_path=str(folder / "redis" / "redis.sock"), decode_responses=True)

    def answers(self) -> bool:
        """Whether it answers."""
        return bool(self._redis.ping())

    def base(self, queue: str) -> str:
        """What the keys of a queue begin with."""
        (config,) = self._redis.scan_iter(f"deja:v1:queue:{{*/{queue}}}:config")
        return str(config).removesuffix("config")

    def record(self, key: str) -> dict[str, str]:
        """A hash."""
        return cast("dict[str, str]", self._redis.hgetall(key))

    def stream(self, key: str) -> list[dict[str, str]]:
        """The fields of a stream's entries, oldest first."""
        return [fields for _, fields in cast("list[tuple[str, dict[str, str]]]", self._redis.xrange(key))]

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Chaos:
    """One run.

    Args:
        tasks: how many.
        workers: processes.
        worker_kills: how often one is killed, spread evenly over the tasks that end.
        redis_kills: how often Redis is killed, likewise.
        seed: of what is drawn here; where processes die within their work is the machine's doing.
    """

    def __init__(self, tasks: int, workers: int, *, worker_kills: int, redis_kills: int, seed: int = 7) -> None:
        self._random = random.Random(seed)
        kinds = self._random.choices(["plain", "delayed", "poison"], [88, 10, 2], k=tasks)
        kinds[0] = "poison"  # however few there are
        self.kinds = {f"t{number:05}": kind for number, kind in enumerate(kinds)}
        counts = Counter(kinds)
        self.report = Report(tasks, counts["poison"], counts["delayed"], workers)
        self._kills_at = [(number + 1) * tasks // (worker_kills + 1) for number in range(worker_kills)]
        self._redis_kills_at = [(number + 1) * tasks // (redis_kills + 1) for number in range(redis_kills)]

    def run(self) -> Report:
        """Run it and judge it."""
        with tempfile.TemporaryDirectory(prefix="deja-chaos-") as name:
            self._folder = Path(name)
            with serving(self._folder) as (self._port, self._process):
                self._line, self._reader = Line(self._port, KEY), Reader(self._folder)
                started = time.monotonic()
                self._under_fire()
                self.report.seconds = round(time.monotonic() - started, 1)
                self._judge()
                for attempt in range(5):
                    if self._is_order_judged(f"order-{attempt}"):
                        break
                self._reader.close()
                self._line.close()
        return self.report

    def _under_fire(self) -> None:
        self._line.insist("PUT", "/v1/queues/chaos", {"max_attempts": MAX_ATTEMPTS, "backoff_s": 0.1})
        workers = [self._start(f"w{number}", is_restarted=False) for number in range(self.report.workers)]
        batches = self._batches()
        give_up_at = time.monotonic() + PATIENCE_S
        ended = 0
        try:
            while ended < self.report.tasks and time.monotonic() < give_up_at:
                batch = next(batches, None)
                if batch is not None:
                    self._submit(batch)
                ended = self._ended()
                if self._redis_kills_at and ended >= self._redis_kills_at[0]:
                    self._redis_kills_at.pop(0)
                    self._kill_redis()
                if self._kills_at and ended >= self._kills_at[0]:
                    self._kills_at.pop(0)
                    self._kill_one(workers)
                time.sleep(0.01)
        finally:
            for worker, _ in workers:
                worker.kill()
            for worker, _ in workers:
                worker.wait()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        names = list(self.kinds)
        while names:
            size = self._random.choice([1, 5, 50, 200])
            batch, names = names[:size], names[size:]
            yield [self._task(name) for name in batch]

    def _task(self, name: str) -> dict[str, Any]:
        kind = self.kinds[name]
        task = {"id": name, "payload": {"kind": kind}, "priority": self._random.randint(0, 9), "idempotency_key": name}
        return task | ({"delay_s": round(self._random.uniform(0.5, 5), 3)} if kind == "delayed" else {})

    def _submit(self, batch: list[dict[str, Any]]) -> None:
        status, answer, again = self._line.insist("POST", "/v1/queues/chaos/tasks", {"tasks": batch})
        self.report.submissions_repeated += again
        if status not in (200, 201):
            self.report.problems.append(f"a submission was refused: {answer}")

    def _ended(self) -> int:
        _, answer, _ = self._line.insist("GET", "/v1/queues/chaos")
        return int(answer["tasks"]["completed"]) + int(answer["dead"])

    def _start(self, name: str, *, is_restarted: bool) -> tuple[subprocess.Popen[bytes], str]:
        log = self._folder / f"told-{name}-{time.monotonic_ns()}"
        command = [sys.executable, "-m", "loadtest.task_worker", str(self._port), KEY, "chaos", name, str(log)]
        command += ["--restarted"] if is_restarted else []
        return subprocess.Popen(command, cwd=REPOSITORY), name  # noqa: S603 - our own module

    def _kill_one(self, workers: list[tuple[subprocess.Popen[bytes], str]]) -> None:
        at = self._random.randrange(len(workers))
        worker, name = workers[at]
        worker.kill()
        worker.wait()
        self.report.worker_kills += 1
        # Half come back under their name and ask for what they held, half never do: the lease has to run out.
        comes_back = self._random.random() < 0.5
        workers[at] = self._start(name if comes_back else f"w{uuid.uuid4().hex[:6]}", is_restarted=comes_back)

    def _kill_redis(self) -> None:
        pid = redis_pid(self._process)
        if pid is None:
            raise SystemExit("Redis is not running")
        os.kill(pid, signal.SIGKILL)
        self.report.redis_kills += 1
        away_s = _wait_for(lambda: redis_pid(self._process) not in (None, pid) and self._reader.answers(), START_S)
        self.report.redis_away_s.append(round(away_s, 2))

    # ── what has to hold ──────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self) -> None:
        report, base = self.report, self._reader.base("chaos")
        first_begun: dict[str, float] = {}
        ends: Counter[tuple[str, str]] = Counter()
        for update in self._reader.stream(f"{base}updates"):
            if update["state"] == "working":
                report.attempts += 1
                first_begun.setdefault(update["task"], float(update["at"]))
            if update["state"] in ("completed", "failed"):
                ends[update["task"], update["state"]] += 1
        told = self._told()
        for name, kind in self.kinds.items():
            wanted = "failed" if kind == "poison" else "completed"
            record = self._reader.record(f"{base}task:{name}")
            if record.get("state") != wanted:
                report.problems.append(f"{name} ({kind}) is {record.get('state', 'lost')}: {record.get('reason')}")
                continue
            if (ends[name, "completed"], ends[name, "failed"]) != (int(kind != "poison"), int(kind == "poison")):
                report.problems.append(f"{name} ended {ends[name, 'completed']} + {ends[name, 'failed']} times")
            if kind != "poison":
                nonce = json.loads(record["result"])["nonce"]
                if told.get(name, [nonce]) != [nonce]:
                    report.problems.append(f"{name} was told to be completed otherwise than it is")
                report.completions_told += name in told
                report.completions_untold += name not in told
            if kind == "delayed" and first_begun[name] < float(record["submitted_at"]) + 0.5:
                report.problems.append(f"{name} began before its time")
        letters = Counter(letter["task"] for letter in self._reader.stream(f"{base}dead"))
        if letters != Counter(name for name, kind in self.kinds.items() if kind == "poison"):
            report.problems.append("the dead letter does not hold exactly the poison")

    def _told(self) -> dict[str, list[str]]:
        told: dict[str, list[str]] = {}
        for log in self._folder.glob("told-*"):
            for line in log.read_text().splitlines():
                name, _, nonce = line.partition(" ")
                if len(nonce) == 32:  # a worker killed while it wrote leaves half a line
                    told.setdefault(name, []).append(nonce)
        return told

    def _is_order_judged(self, queue: str) -> bool:
        """Judge order in a queue of its own; False if a claim got no answer, since what it brought may then have come twice."""
        draw = self._random
        plain = [(f"p{number:03}", draw.randint(0, 9)) for number in range(200)]
        pauses = [(f"d{number:03}", ms) for number, ms in enumerate(draw.sample(range(500, 1500), 50))]
        for tasks in (
            [{"id": name, "priority": priority} for name, priority in plain],
            [{"id": name, "delay_s": ms / 1000} for name, ms in pauses],
        ):
            self._line.insist("POST", f"/v1/queues/{queue}/tasks", {"tasks": tasks})
        expected = [name for name, _ in sorted(plain, key=lambda pair: -pair[1])]
        expected_late = [name for name, _ in sorted(pauses, key=lambda pair: pair[1])]
        got: list[str] = []
        late: list[str] = []
        give_up_at = time.monotonic() + START_S
        while len(got) + len(late) < len(plain) + len(pauses) and time.monotonic() < give_up_at:
            body = {"worker": "judge", "count": 7, "wait_s": 2}
            _, answer, again = self._line.insist("POST", f"/v1/queues/{queue}/tasks/claim", body)
            if again:
                return False
            for task in answer["data"]:
                (late if task["id"].startswith("d") else got).append(task["id"])
        if got != expected:
            self.report.problems.append("priorities and first-come order were not kept")
        if late != expected_late:
            self.report.problems.append("delayed tasks did not come in the order in which they were due")
        return True


def main() -> None:
    """Run as the command line says; exits 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--worker-kills", type=int, default=200)
    parser.add_argument("--redis-kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    report = Chaos(
        given.tasks,
        given.workers,
        worker_kills=given.worker_kills,
        redis_kills=given.redis_kills,
        seed=given.seed,
    ).run()
    shown = asdict(report)
    shown["problems"] = [*report.problems[:SHOWN_PROBLEMS], *(["…"] if len(report.problems) > SHOWN_PROBLEMS else [])]
    print(json.dumps(shown, indent=2))
    raise SystemExit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
