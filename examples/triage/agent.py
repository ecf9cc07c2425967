"""What the three agents share: a queue to work at, a state that others see, a model to ask, events, and how work is handed over.

A step may be begun more than once, as an agent may die in the middle of one, and is done once: what it leaves behind is named after the
request and the step, so that a second try finds what the first one did.
"""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx
from openai import OpenAI

from proxy.worker import Task, Worker, WorkerError

MODEL = "gpt-4o-mini"
STREAM = "support"
"""Where events go."""
HEARTBEAT_S = 3.0
MAX_ATTEMPTS = 20
"""A step whose agent was killed counts as an attempt; this many are no accident."""

Step = Callable[["Agent", dict[str, Any]], dict[str, Any]]
"""Takes a request as the agents before left it; gives what to add to it."""

log = logging.getLogger("agent")


class Agent:
    """One agent: a process that does one step of every request.

    Args:
        base_url: of Deja.
        api_key: of the fleet; agents with the same one share queues, states, events and the cache.
        role: the step it does, and the queue where its work waits.
        after: the queue where work goes next.
    """

    def __init__(self, base_url: str, api_key: str, role: str, after: str) -> None:
        self.role = role
        self.name = f"{role}-1"
        self._after = after
        self._worker = Worker(base_url, api_key, role, self.name)
        self._deja = httpx.Client(base_url=f"{base_url}/v1", headers={"Authorization": f"Bearer {api_key}"}, timeout=10)
        self._model = OpenAI(base_url=f"{base_url}/v1", api_key=api_key, default_headers={"X-Deja-Agent": self.name})
        self._cache_status = ""
        self._ending = threading.Event()

    def run(self, step: Step) -> None:
        """Work until SIGTERM."""
        self._tell(status="idle", current_task=None)
        heart = threading.Thread(target=self._beat, daemon=True)
        heart.start()
        try:
            self._worker.run(lambda task: self.do(step, task))
        finally:
            self._ending.set()
            self._tell(status="stopped", current_task=None)

    def ask(self, request: str, instructions: str, question: str) -> str:
        """Ask the model, through Deja: a step that is done again gets the answer of the first time, and nobody pays twice."""
        raw = self._model.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=[{"role": "system", "content": instructions}, {"role": "user", "content": question}],
            extra_headers={"X-Deja-Session": request},
        )
        self._cache_status = raw.headers["cache-status"]
        return raw.parse().choices[0].message.content or ""

    def do(self, step: Step, task: Task) -> dict[str, Any]:
        """One step of one request. Any error is told to Deja, which gives the task out again later."""
        request = str(task.payload["id"])
        self._tell(status="working", current_task=request, assigned_by=task.fields["agent"])
        found = step(self, task.payload)
        self._record(request, {"attempt": task.attempt, "cache": self._cache_status})
        self._hand_over(task, request, task.payload | found)
        self._tell(status="idle", current_task=None, checkpoint={"last": request})
        return found

    def close(self) -> None:
        """Close the connections."""
        self._worker.close()
        self._deja.close()
        self._model.close()

    def _record(self, request: str, data: dict[str, Any]) -> None:
        """Write down that the step was done, unless an attempt before this one did."""
        event_id = f"{request}:{self.role}"
        newest_first = {"stream": STREAM, "session": request, "order": "desc"}
        seen = self._deja.get("/events", params=newest_first).raise_for_status().json()["data"]
        if not any(event["id"] == event_id for event in seen):
            event = {"id": event_id, "type": f"support.{self.role}.done", "session": request, "agent": self.name}
            self._deja.post("/events", params={"stream": STREAM}, json=event | {"data": data}).raise_for_status()

    def _hand_over(self, task: Task, request: str, payload: dict[str, Any]) -> None:
        """Give the request to the next agent; the idempotency key lets that happen once."""
        try:
            self._worker.submit(
                self._after,
                payload,
                idempotency_key=f"{request}:{self.role}",
                parent=f"{self.role}/{task.id}",
                max_attempts=MAX_ATTEMPTS,
                session=request,
                agent=self.name,
            )
        except WorkerError as error:
            # A conflict: an attempt before this one handed it over, with another answer of the model. That one counts.
            if error.code != "idempotency_conflict":
                raise

    def _tell(self, **state: Any) -> None:
        """Say what this agent is doing. Others look at it; the work does not hang on it."""
        try:
            answer = self._deja.patch(f"/agents/{self.name}", json=state)
            if answer.status_code == 404:  # its first word ever
                answer = self._deja.put(f"/agents/{self.name}", json={"role": self.role} | state)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            log.warning("cannot tell my state (%s)", type(error).__name__)

    def _beat(self) -> None:
        while not self._ending.is_set():
            try:
                self._deja.post(f"/agents/{self.name}/heartbeat", json={"ttl_s": 3 * HEARTBEAT_S}).raise_for_status()
            except httpx.HTTPError as error:
                log.warning("cannot send a heartbeat (%s)", type(error).__name__)
            self._ending.wait(HEARTBEAT_S)


def main(role: str, after: str, step: Step) -> None:
    """Run an agent from the command line."""
    parser = argparse.ArgumentParser(description=f"The agent that does the step `{role}`.")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080", help="of Deja (%(default)s)")
    parser.add_argument("--api-key", default="support-team", help="of the fleet (%(default)s)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format=f"{role}: %(message)s")
    Agent(given.base_url, given.api_key, role, after).run(step)
