"""Long-term memory while Redis and Deja are killed: what was acknowledged is kept and found, and a repeated call makes no second one."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import httpx

from tests.deja_process import DejaProcess, running_deja

HEADERS = {"Authorization": "Bearer sk-faults"}
THINGS = ("chess", "the cello", "rugby", "poker", "the flute", "darts", "golf", "cricket", "the organ", "hockey")


def store_until(deja: DejaProcess, stop: threading.Event, acknowledged: list[str]) -> None:
    """Store one memory after another, each until it is acknowledged."""
    number = 0
    with httpx.Client(base_url=deja.base_url, headers=HEADERS, timeout=5) as http:
        while not stop.is_set():
            text = f"User played {THINGS[number % len(THINGS)]} in room {number}"
            told = {"memories": [{"id": f"m{number}", "text": text, "user_id": "u"}]}
            try:
                answer = http.post("/long-term-memory/", json=told)
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                acknowledged.append(f"m{number}")
                number += 1
            else:
                assert answer.status_code == 503, answer.text
                time.sleep(0.02)


def everything(deja: DejaProcess, timeout_s: float = 20.0) -> list[dict[str, Any]]:
    """All memories, once the index is whole again."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        answer = httpx.post(
            f"{deja.base_url}/long-term-memory/search", json={"text": "", "limit": 100}, headers=HEADERS
        )
        if answer.status_code == 200:
            found: list[dict[str, Any]] = answer.json()["memories"]
            return found
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < give_up_at, answer.text
        time.sleep(0.05)


def test_what_was_acknowledged_outlives_redis_and_deja_and_is_there_once() -> None:
    with running_deja() as deja:
        everything(deja)
        stop, acknowledged = threading.Event(), list[str]()
        writer = threading.Thread(target=store_until, args=(deja, stop, acknowledged), daemon=True)
        writer.start()
        while len(acknowledged) < 5:
            time.sleep(0.01)
        os.kill(deja.redis_pid(), signal.SIGKILL)
        before = len(acknowledged)
        while len(acknowledged) < before + 5:
            time.sleep(0.01)
        deja.kill()
        deja.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 5:
            time.sleep(0.01)
        stop.set()
        writer.join(10)
        found = everything(deja)
        ids = [each["id"] for each in found]
        assert set(acknowledged) <= set(ids)
        assert len(ids) == len(set(ids))
        assert len({each["text"] for each in found}) == len(found)
        texts = {each["id"]: each["text"] for each in found}
        asked = {"text": "Who played the flute?", "search_mode": "semantic", "limit": 3}
        nearest = httpx.post(f"{deja.base_url}/long-term-memory/search", json=asked, headers=HEADERS).json()["memories"]
        assert "flute" in texts[nearest[0]["id"]]
