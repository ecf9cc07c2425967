"""Tasks under fire: a real `deja serve`, worker processes killed at random, its Redis killed; then every promise is checked.

    python -m loadtest.task_chaos                       10,000 tasks, 8 workers, Redis killed once: about two minutes on two cores
    python -m loadtest.task_chaos --tasks 500 --redis-kills 2

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
from typing import Any

import httpx
import redis

REPOSITORY = Path(__file__).resolve().parent.parent
KEY = "sk-chaos"
LEASE_S = 3.0
"""Short, so that what a killed worker held is soon with another; a worker renews nothing and needs milliseconds."""
MAX_ATTEMPTS = 8
"""A task whose workers are killed again and again must not be taken for poison: with 1 kill in 12 attempts, 8 in a row are 1 in 4e8."""
PATIENCE_S = 600.0


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
    redis_away_s: float = 0.0
    problems: list[str] = field(default_factory=list)


# ── a worker: a process of its own ────────────────────────────────────────────────────────────────────────────────────


def work(root: str, queue: str, name: str, log: Path, *, is_restarted: bool) -> None:
    """Claim and do tasks until killed. Each completion this worker is told of becomes a line in `log` first thing."""
    with (
        httpx.Client(
            base_url=f"{root}/v1/queues/{queue}", headers={"Authorization": f"Bearer {KEY}"}, timeout=30
        ) as deja,
        log.open("a", buffering=1) as told,
    ):
        recover = is_restarted
        while True:
            answer = _insist(
                lambda recover=recover: deja.post(  # type: ignore[misc]
                    "/tasks/claim",
                    json={
                        "worker": name,
                        "count": random.randint(1, 4),
                        "wait_s": 2,
                        "lease_s": LEASE_S,
                        "recover": recover,
                    },
                )
            )
            recover = False
            for task in answer.json()["data"]:
                _do(deja, task, told.write)


def _do(deja: httpx.Client, task: dict[str, Any], tell: Callable[[str], object]) -> None:
    time.sleep(random.uniform(0, 0.004))
    if task["payload"]["kind"] == "poison":
        body = {"lease": task["lease"], "error": "poison", "retry_in_s": 0.05}
        _insist(lambda: deja.post(f"/tasks/{task['id']}/fail", json=body))
        return
    nonce = uuid.uuid4().hex
    body = {"lease": task["lease"], "result": {"nonce": nonce}}
    answer = _insist(lambda: deja.post(f"/tasks/{task['id']}/complete", json=body))
    if answer.status_code == 200:
        tell(f"{task['id']} {nonce}\n")


def _insist(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Send it again until there is an answer that will not change: what is asked for is idempotent."""
    while True:
        with suppress(httpx.TransportError):
            answer = call()
            if answer.status_code < 500:
                return answer
        time.sleep(random.uniform(0.02, 0.1))


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `deja serve` with its embedded Redis in a folder; yields its root URL and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
        root = f"http://127.0.0.1:{port}"
        _wait_for(
            lambda: (
                _is_up(process, folder)
                and httpx.get(f"{root}/ready", timeout=5).json()["parts"]["redis"]["status"] == "ok"
            ),
            60,
        )
        yield root, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _is_up(process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        raise SystemExit(f"deja ended with {process.returncode}:\n{(folder / 'deja.log').read_text()[-3000:]}")
    return True


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
        with suppress(httpx.HTTPError, redis.RedisError, KeyError):
            if holds():
                return time.monotonic() - started
        time.sleep(0.02)
    raise TimeoutError(f"not within {timeout_s:.0f} s")


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Chaos:
    """One run.

    Args:
        tasks: how many.
        workers: processes.
        kill_every_s: between kills of a worker, on average.
        redis_kills: how often Redis is killed.
        seed: of what is drawn here; when processes die within their work is the machine's doing.
    """

    def __init__(self, tasks: int, workers: int, *, kill_every_s: float, redis_kills: int, seed: int = 7) -> None:
        self._random = random.Random(seed)
        kinds = self._random.choices(["plain", "delayed", "poison"], [88, 10, 2], k=tasks)
        kinds[0] = "poison"  # however few there are
        self.kinds = {f"t{number:05}": kind for number, kind in enumerate(kinds)}
        counts = Counter(kinds)
        self.report = Report(tasks, counts["poison"], counts["delayed"], workers)
        self._kill_every_s = kill_every_s
        self._redis_kills = redis_kills

    def run(self) -> Report:
        """Run it and judge it."""
        with tempfile.TemporaryDirectory(prefix="deja-chaos-") as name:
            folder = Path(name)
            with serving(folder) as (root, process):
                self._folder, self._root, self._process = folder, root, process
                self._http = httpx.Client(
                    base_url=f"{root}/v1/queues", headers={"Authorization": f"Bearer {KEY}"}, timeout=30
                )
                self._plain = redis.Redis(unix_socket_path=str(folder / "redis" / "redis.sock"), decode_responses=True)
                started = time.monotonic()
                self._under_fire()
                self.report.seconds = round(time.monotonic() - started, 1)
                self._judge()
                self._judge_order()
                self._http.close()
                self._plain.close()
        return self.report

    def _under_fire(self) -> None:
        _insist(lambda: self._http.put("/chaos", json={"max_attempts": MAX_ATTEMPTS, "backoff_s": 0.1}))
        workers = [self._start(f"w{number}", is_restarted=False) for number in range(self.report.workers)]
        batches = self._batches()
        give_up_at = time.monotonic() + PATIENCE_S
        next_kill = time.monotonic() + self._kill_every_s
        kills_left, ended = self._redis_kills, 0
        try:
            while ended < self.report.tasks and time.monotonic() < give_up_at:
                batch = next(batches, None)
                if batch is not None:
                    self._submit(batch)
                ended = self._ended(ended)
                if kills_left and ended >= self.report.tasks * (self._redis_kills - kills_left + 1) // (
                    self._redis_kills + 1
                ):
                    kills_left -= 1
                    self._kill_redis()
                if time.monotonic() >= next_kill:
                    next_kill = time.monotonic() + self._random.expovariate(1 / self._kill_every_s)
                    self._kill_one(workers)
                time.sleep(0.02)
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
        tries = 0

        def send() -> httpx.Response:
            nonlocal tries
            tries += 1
            return self._http.post("/chaos/tasks", json={"tasks": batch})

        answer = _insist(send)
        self.report.submissions_repeated += tries - 1
        if answer.status_code not in (200, 201):
            self.report.problems.append(f"a submission was refused: {answer.text}")

    def _ended(self, before: int) -> int:
        with suppress(httpx.TransportError):
            answer = self._http.get("/chaos")
            if answer.status_code == 200:
                counts = answer.json()["tasks"]
                return int(counts["completed"]) + int(answer.json()["dead"])
        return before

    def _start(self, name: str, *, is_restarted: bool) -> tuple[subprocess.Popen[bytes], str]:
        command = [sys.executable, "-m", "loadtest.task_chaos", "--work", self._root, name]
        command += [
            "--log",
            str(self._folder / f"told-{name}-{time.monotonic_ns()}"),
            *(["--restarted"] if is_restarted else []),
        ]
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
        assert pid is not None, "Redis is not running"
        os.kill(pid, signal.SIGKILL)
        self.report.redis_kills += 1
        self.report.redis_away_s = round(
            _wait_for(lambda: bool(self._plain.ping()) and redis_pid(self._process) not in (None, pid), 30), 2
        )

    # ── what has to hold ──

    def _judge(self) -> None:
        report = self.report
        base = next(self._plain.scan_iter("deja:v1:queue:{*/chaos}:config")).removesuffix("config")
        records = {name: self._plain.hgetall(f"{base}task:{name}") for name in self.kinds}
        first_begun: dict[str, float] = {}
        ends: Counter[tuple[str, str]] = Counter()
        for _, update in self._plain.xrange(f"{base}updates"):
            if update["state"] == "working":
                report.attempts += 1
                first_begun.setdefault(update["task"], float(update["at"]))
            if update["state"] in ("completed", "failed"):
                ends[update["task"], update["state"]] += 1
        told = self._told()
        for name, kind in self.kinds.items():
            wanted = "failed" if kind == "poison" else "completed"
            record = records[name]
            if record.get("state") != wanted:
                report.problems.append(
                    f"{name} ({kind}) is {record.get('state', 'lost')}, reason {record.get('reason')}"
                )
                continue
            if ends[name, wanted] != 1 or sum(ends[name, state] for state in ("completed", "failed")) != 1:
                report.problems.append(f"{name} ended {dict(ends)} times")
            if kind != "poison":
                nonce = json.loads(record["result"])["nonce"]
                if told.get(name, [nonce]) != [nonce]:
                    report.problems.append(f"{name} was told to be completed otherwise than it is")
                report.completions_told += name in told
                report.completions_untold += name not in told
            if kind == "delayed" and first_begun[name] < float(record["submitted_at"]) + 0.5:
                report.problems.append(f"{name} began before its time")
        letters = Counter(fields["task"] for _, fields in self._plain.xrange(f"{base}dead"))
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

    def _judge_order(self) -> None:
        draw = self._random
        plain = [{"id": f"p{number:03}", "priority": draw.randint(0, 9)} for number in range(200)]
        pauses = draw.sample(range(500, 1500), 50)
        delayed = [{"id": f"d{number:03}", "delay_s": ms / 1000} for number, ms in enumerate(pauses)]
        for tasks in (plain, delayed):
            _insist(lambda tasks=tasks: self._http.post("/order/tasks", json={"tasks": tasks}))  # type: ignore[misc]
        expected = [task["id"] for task in sorted(plain, key=lambda task: -int(task["priority"]))]
        got: list[str] = []
        while len(got) < len(plain):
            got += self._claimed()
        if got != expected:
            self.report.problems.append("priorities and first-come order were not kept")
        late: list[str] = []
        give_up_at = time.monotonic() + 10
        while len(late) < len(delayed) and time.monotonic() < give_up_at:
            late += self._claimed()
        if late != [task["id"] for task in sorted(delayed, key=lambda task: float(task["delay_s"]))]:
            self.report.problems.append("delayed tasks did not come in the order in which they were due")

    def _claimed(self) -> list[str]:
        answer = _insist(
            lambda: self._http.post("/order/tasks/claim", json={"worker": "judge", "count": 7, "wait_s": 2})
        )
        return [task["id"] for task in answer.json()["data"]]


def main() -> None:
    """Run as the command line says; exits 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kill-every-s", type=float, default=0.7)
    parser.add_argument("--redis-kills", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--work", nargs=2, metavar=("ROOT", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--restarted", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], "chaos", given.work[1], given.log, is_restarted=given.restarted)
        return
    chaos = Chaos(
        given.tasks,
        given.workers,
        kill_every_s=given.kill_every_s,
        redis_kills=given.redis_kills,
        seed=given.seed,
    )
    report = chaos.run()
    print(json.dumps(asdict(report), indent=2))
    raise SystemExit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
