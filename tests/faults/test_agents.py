"""Agents' states while Redis and Deja are killed: what was acknowledged is kept, watchers miss nothing, deaths are told."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import httpx

from tests.deja_process import DejaProcess, running_deja

HEADERS = {"Authorization": "Bearer sk-faults"}


class Watcher(threading.Thread):
    """Watches an agent, and reconnects with the last id whenever the stream breaks."""

    def __init__(self, deja: DejaProcess, agent: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{deja.base_url}/agents/{agent}/watch"
        self._is_over = threading.Event()
        self.seen: list[Any] = []
        self._last_id = "0-0"

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._follow()
            except httpx.HTTPError:
                time.sleep(0.05)

    def _follow(self) -> None:
        with httpx.stream("GET", self._url, headers=HEADERS | {"Last-Event-ID": self._last_id}, timeout=30) as answer:
            if answer.status_code != 200:
                time.sleep(0.05)
                return
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    told = json.loads(line[6:])
                    self._last_id = told["id"]
                    self.seen.append(told)
                if self._is_over.is_set():
                    return

    def wait_for(self, version: int, timeout_s: float = 20.0) -> list[Any]:
        """What it has seen, once that version is among it."""
        give_up_at = time.monotonic() + timeout_s
        while not self.seen or self.seen[-1]["version"] < version:
            assert time.monotonic() < give_up_at, f"it saw {self.seen[-3:]}"
            time.sleep(0.02)
        self._is_over.set()
        return self.seen


def write_until(deja: DejaProcess, stop: threading.Event, acknowledged: dict[int, int]) -> None:
    """Count up, and note which version each number got; what failed is sent again."""
    n = 0
    with httpx.Client(base_url=deja.base_url, headers=HEADERS, timeout=5) as http:
        while not stop.is_set():
            try:
                answer = http.patch("/agents/a", json={"n": n, "same": n})
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                acknowledged[n] = answer.json()["version"]
                n += 1
            else:
                assert answer.status_code == 503, answer.text
                time.sleep(0.02)


def test_what_was_acknowledged_outlives_redis_and_deja_and_no_watcher_misses_it() -> None:
    with running_deja() as deja:
        httpx.put(f"{deja.base_url}/agents/a", json={"n": -1}, headers=HEADERS)
        watcher = Watcher(deja, "a")
        watcher.start()
        stop, acknowledged = threading.Event(), dict[int, int]()
        writer = threading.Thread(target=write_until, args=(deja, stop, acknowledged))
        writer.start()
        time.sleep(0.5)
        os.kill(deja.redis_pid(), signal.SIGKILL)
        deja.wait_until_whole()
        reached = len(acknowledged)
        give_up_at = time.monotonic() + 20
        while len(acknowledged) < reached + 20:  # it goes on by itself
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        deja.kill()
        deja.start()
        reached = len(acknowledged)
        give_up_at = time.monotonic() + 20
        while len(acknowledged) < reached + 20:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        stop.set()
        writer.join()
        state = httpx.get(f"{deja.base_url}/agents/a", headers=HEADERS).json()
        seen = watcher.wait_for(state["version"])
    assert [told["version"] for told in seen] == list(range(1, state["version"] + 1))
    numbers = {told["version"]: told["changed"].get("n") for told in seen}
    for n, version in acknowledged.items():
        # Sent again after an answer that was lost, a write changes nothing, and has the version of the first.
        assert numbers[version] == n
    assert state["n"] == state["same"] == max(acknowledged)


def test_a_death_that_nobody_was_there_to_see_is_told_at_the_next_start() -> None:
    with running_deja() as deja, httpx.Client(base_url=deja.base_url, headers=HEADERS, timeout=5) as http:
        http.put("/agents/a", json={"status": "working"})
        http.post("/agents/a/heartbeat", json={"ttl_s": 1})
        deja.kill()
        time.sleep(1.2)
        deja.start()
        give_up_at = time.monotonic() + 10
        while (state := httpx.get(f"{deja.base_url}/agents/a", headers=HEADERS).json())["version"] == 2:
            assert state["alive"] is False
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        history = httpx.get(f"{deja.base_url}/agents/a/history", headers=HEADERS).json()["data"]
    assert [told["type"] for told in history] == ["agent.created", "agent.alive", "agent.dead"]
