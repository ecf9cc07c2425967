"""Run the fleet: three agents, each a process, on support requests that are made up; show how it goes, and the answers.

    python -m examples.triage.run                                    # starts a Deja of its own
    python -m examples.triage.run --kills 2                          # kill -9 to each agent, twice, while it works
    python -m examples.triage.run --base-url http://127.0.0.1:8080   # with the Deja that runs there

A Deja of its own answers from the built-in simulated provider.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from examples.triage.agent import MAX_ATTEMPTS, STREAM
from proxy.worker import Worker

ROLES = ("triage", "research", "respond")
ANSWERS = "answers"
"""The queue where finished requests wait, for whoever sends them out."""
ROOT = Path(__file__).resolve().parent.parent.parent
LOOK_S = 0.1
"""Between two looks at how it goes."""
STOP_S = 15.0

TEXTS = (
    "My parcel was to come on Monday. Where is the delivery now?",
    "The invoice for my last order shows the wrong company name.",
    "I cannot log in to my account since yesterday.",
    "The shoes are too small. How do returns work?",
    "Can I have an invoice with VAT for an order of last year?",
    "Please close my account and delete my data.",
    "The delivery came, but one of two boxes is missing.",
    "You have charged me twice for the same order.",
    "I sent a lamp back three weeks ago. When are returns paid out?",
    "How do I change the e-mail address of my account?",
    "Do you ship to Iceland, and what does delivery cost?",
    "The chair arrived with a broken leg.",
)


def made_up(count: int) -> list[dict[str, str]]:
    """Support requests: id and text."""
    return [{"id": f"req-{number:03d}", "text": TEXTS[(number - 1) % len(TEXTS)]} for number in range(1, count + 1)]


class Fleet:
    """The agents' processes, with a supervisor that starts again what died; `with` it.

    Args:
        base_url: of Deja.
        api_key: of the fleet.

    Attributes:
        processes: by role.
        restarts: how often one had died.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        self._arguments = ["--base-url", base_url, "--api-key", api_key]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts = 0

    def __enter__(self) -> Self:
        for role in ROLES:
            self._start(role)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def supervise(self) -> None:
        """Start again what died since the last look."""
        for role, process in self.processes.items():
            if process.poll() is not None:
                self.restarts += 1
                self._start(role)

    def _start(self, role: str) -> None:
        command = [sys.executable, "-m", f"examples.triage.{role}", *self._arguments]
        self.processes[role] = subprocess.Popen(command, cwd=ROOT)  # noqa: S603  our own files


class Desk:
    """Where requests come in and answers go out.

    Args:
        base_url: of Deja.
        api_key: of the fleet.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        self._worker = Worker(base_url, api_key, ROLES[0], "desk")
        self._deja = httpx.Client(base_url=f"{base_url}/v1", headers={"Authorization": f"Bearer {api_key}"}, timeout=10)

    def submit(self, requests: list[dict[str, str]]) -> None:
        """Hand requests to the first agent; those it was handed before stay as they are."""
        for request in requests:
            key = f"{request['id']}:desk"
            self._worker.submit(
                ROLES[0],
                request,
                idempotency_key=key,
                max_attempts=MAX_ATTEMPTS,
                session=request["id"],
                agent="desk",
            )

    def done(self) -> dict[str, int]:
        """How many requests each step has been done for, and how many answers there are."""
        counts = {role: self._counts(role).get("completed", 0) for role in ROLES}
        return counts | {ANSWERS: sum(self._counts(ANSWERS).values())}

    def tasks(self, queue: str) -> list[dict[str, Any]]:
        """All tasks of a queue, whole, oldest first."""
        brief: list[dict[str, Any]] = []
        params: dict[str, Any] = {"limit": 100}
        while params:
            page = self._get(f"/queues/{queue}/tasks", params)
            brief += page["data"]
            params = params | {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        return [self._get(f"/queues/{queue}/tasks/{task['id']}") for task in reversed(brief)]

    def held(self, queue: str) -> tuple[str, int] | None:
        """The task that is being worked at, and in which attempt."""
        answer = self._deja.get(f"/queues/{queue}/tasks", params={"state": "working", "limit": 1})
        found = answer.json()["data"] if answer.is_success else []
        return (found[0]["id"], found[0]["attempt"]) if found else None

    def events(self) -> list[dict[str, Any]]:
        """What the agents wrote down, oldest first."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"has_more": True, "next_after": None}
        while page["has_more"]:
            after = {"after": page["next_after"]} if page["next_after"] else {}
            page = self._get("/events", {"stream": STREAM, "limit": 1000} | after)
            found += page["data"]
        return found

    def close(self) -> None:
        """Close the connections."""
        self._worker.close()
        self._deja.close()

    def _counts(self, queue: str) -> dict[str, int]:
        answer = self._deja.get(f"/queues/{queue}")
        counts: dict[str, int] = answer.json()["tasks"] if answer.is_success else {}
        return counts

    def _get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self._deja.get(path, params=params).raise_for_status().json()
        return found


@contextlib.contextmanager
def own_deja() -> Iterator[str]:
    """Start a Deja with data of its own and the built-in simulated provider; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path(os.environ.get("DEJA_DATA_DIR", ROOT / ".deja"))
    with tempfile.TemporaryDirectory(prefix="deja-triage-") as folder:
        environment = os.environ | {"DEJA_DATA_DIR": folder}
        environment.setdefault("DEJA_ARTIFACTS_DIR", str(home / "artifacts"))
        command = [sys.executable, "-m", "proxy", "serve", "--port", str(port)]
        said = Path(folder) / "deja.log"
        with said.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)  # noqa: S603
        try:
            url = f"http://127.0.0.1:{port}"
            print(f"Deja starts at {url}, with the simulated provider.")
            while not _is_ready(url):
                if process.poll() is not None:
                    raise SystemExit(f"Deja did not start:\n{said.read_text()}")
                time.sleep(LOOK_S)
            yield url
        finally:
            process.terminate()
            process.wait(STOP_S)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def work(fleet: Fleet, desk: Desk, count: int, chance: random.Random, *, kills: int) -> None:
    """Wait until every request has its answer, showing how it goes; and `kill -9` each agent so often, in the middle of its work."""
    due = {role: sorted(chance.choices(range(count), k=kills)) for role in ROLES}  # after so many steps
    hit: set[tuple[str, int]] = set()
    shown = ""
    while True:
        fleet.supervise()
        done = desk.done()
        line = "  ".join(f"{step} {number}/{count}" for step, number in done.items()) + f"  restarts {fleet.restarts}"
        if line != shown:
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
            shown = line
        if min(done.values()) >= count:
            print()
            return
        for role in ROLES:
            held = desk.held(role) if due[role] and done[role] >= due[role][0] else None
            if held and held not in hit:
                fleet.processes[role].kill()
                due[role].pop(0)
                hit.add(held)
        time.sleep(LOOK_S)


def show(desk: Desk) -> None:
    """Print what came out: a row for each request."""
    attempts = {role: {task["session"]: task["attempt"] for task in desk.tasks(role)} for role in ROLES}
    events = desk.events()
    print(f"{'request':<9} {'attempts':<9} {'cached':<7} {'category':<9} answer")
    for task in desk.tasks(ANSWERS):
        request = task["payload"]
        tried = " ".join(str(attempts[role][request["id"]]) for role in ROLES)
        hits = sum("; hit" in event["data"]["cache"] for event in events if event["session"] == request["id"])
        print(f"{request['id']:<9} {tried:<9} {hits:<7} {request['category']:<9} {request['answer'][:70]}")
    print(
        f"\n{len(events)} steps; attempts are those of {', '.join(ROLES)}; cached: model calls answered from the cache."
    )


def main() -> None:
    """Run it all from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="of a Deja that runs; one is started where none is given")
    parser.add_argument("--api-key", help="of the fleet; a new one each time where none is given, and so new queues")
    parser.add_argument("--requests", type=int, default=12, help="how many (%(default)s)")
    parser.add_argument(
        "--kills", type=int, default=0, help="how often to kill -9 each agent while it works (%(default)s)"
    )
    given = parser.parse_args()
    api_key = given.api_key or f"triage-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        url = given.base_url or stack.enter_context(own_deja())
        url = url.rstrip("/").removesuffix("/v1")
        desk = stack.enter_context(contextlib.closing(Desk(url, api_key)))
        desk.submit(made_up(given.requests))
        fleet = stack.enter_context(Fleet(url, api_key))
        work(fleet, desk, given.requests, random.Random(), kills=given.kills)  # noqa: S311  chance, no secret
        show(desk)


if __name__ == "__main__":
    main()
