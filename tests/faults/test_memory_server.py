"""Working memory, with kill -9 of Deja and of Redis in the middle of what the background does with it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx

from tests.deja_process import DejaProcess, running_deja

WORDS = ("tea", "chess", "the moon", "a red bicycle", "old maps", "jazz", "bees", "glaciers", "salt", "kites")
MEMORIES = [
    {"id": f"m{number}", "text": f"User number {number} wrote {number + 3} letters about {WORDS[number % 10]}", "user_id": f"u{number}",
     "memory_type": "semantic"}
    for number in range(60)
]  # fmt: skip
MESSAGE = {"role": "user", "content": "Hello", "id": "m1", "created_at": "2024-01-15T12:00:00Z"}
HEADERS = {"Authorization": "Bearer sk-memory"}


def call(deja: DejaProcess, method: str, path: str, body: Any = None) -> Any:
    answer = httpx.request(method, f"{deja.root}/v1/{path}", json=body, headers=HEADERS, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def kept(deja: DejaProcess) -> int:
    """How many of the memories are in long-term memory, once its index is there."""
    give_up_at = time.monotonic() + 20
    while True:
        body = {"text": "", "limit": 1}
        answer = httpx.post(f"{deja.root}/v1/long-term-memory/search", json=body, headers=HEADERS, timeout=10)
        if answer.status_code == 200:
            return int(answer.json()["total"])
        assert time.monotonic() < give_up_at, answer.text
        time.sleep(0.05)


def test_kill_9_in_the_middle_of_a_promotion_loses_and_doubles_nothing() -> None:
    with running_deja() as deja:
        call(deja, "PUT", "working-memory/s", {"memories": MEMORIES, "messages": [MESSAGE]})
        call(deja, "POST", "summary-views", {"source": "long_term", "group_by": ["user_id"]})
        redis = deja.redis_pid()
        deja.kill()
        os.kill(redis, signal.SIGKILL)
        deja.start()
        found = call(deja, "GET", "working-memory/s")
        assert [(each["id"], each["content"]) for each in found["messages"]] == [("m1", "Hello")]
        assert [each["id"] for each in found["memories"]] == [each["id"] for each in MEMORIES]
        assert not all(each["persisted_at"] for each in found["memories"]), "it was killed too late to show anything"
        assert [each["group_by"] for each in call(deja, "GET", "summary-views")] == [["user_id"]]
        assert call(deja, "GET", "working-memory")["sessions"] == ["s"]

        give_up_at = time.monotonic() + 40
        while not all(each["persisted_at"] for each in call(deja, "GET", "working-memory/s")["memories"]):
            assert time.monotonic() < give_up_at, deja.log
            time.sleep(0.1)
        assert kept(deja) == len(MEMORIES)
        one = call(deja, "GET", "long-term-memory/m7")
        assert (one["text"], one["user_id"], one["session_id"]) == (MEMORIES[7]["text"], "u7", "s")
