"""Erasing after, and in the middle of, crashes: nothing is lost that was not erased, and nothing erased is left."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx
import redis

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream

KEY = {"Authorization": "Bearer sk-faults"}


def ask(deja: DejaProcess, question: str, *, session: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": question}], "user": "ann"}
    headers = KEY | {"X-Deja-Session": session}
    return httpx.post(f"{deja.base_url}/chat/completions", json=body, headers=headers, timeout=20)


def everything(deja: DejaProcess) -> str:
    """All of Redis, as text."""
    told: list[Any] = []
    with redis.Redis(unix_socket_path=str(deja.data_dir / "redis" / "redis.sock")) as client:
        readers = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"stream": client.xrange,
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"set": client.smembers,
        }
        for key in client.scan_iter(count=1000):
            told += [key, readers.get(client.type(key), str)(key)]
    return repr(told)


def test_what_was_acknowledged_survives_kill_9_and_what_a_killed_deja_left_is_erased(provider: FakeUpstream) -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as deja:
        appended = httpx.post(
            f"{deja.base_url}/sessions/kept/messages",
            json={"messages": [{"role": "user", "content": "acknowledged"}]},
            headers=KEY,
        )
        assert appended.status_code == 201
        # The entry is stored before the answer ends; the record that would tell of it may still be in the queue.
        assert ask(deja, "What is the capital of Quizzland?", session="crashed").status_code == 200
        deja.kill()
        deja.start()
        found = httpx.get(f"{deja.base_url}/sessions/kept/messages", headers=KEY).json()
        assert [turn["message"]["content"] for turn in found["data"]] == ["acknowledged"]
        assert "Quizzland" in everything(deja)
        erased = httpx.delete(f"{deja.base_url}/sessions/crashed", headers=KEY, timeout=20).json()["erased"]
        assert erased["cache_entries"] == 1
        assert "Quizzland" not in everything(deja)


def test_an_erasure_while_redis_is_killed_is_an_error_or_done_and_repeating_it_finishes_it(
    provider: FakeUpstream,
) -> None:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as deja:
        for number in range(3):
            ask(deja, f"What is the capital of Quizzland number {number}?", session=f"s{number}")
        time.sleep(1.2)  # recorded, and on the way to disk
        os.kill(deja.redis_pid(), signal.SIGKILL)
        give_up_at = time.monotonic() + 15
        while (answer := httpx.delete(f"{deja.base_url}/users/ann", headers=KEY, timeout=20)).status_code != 200:
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < give_up_at, answer.text
            time.sleep(0.1)
        assert answer.json()["erased"]["cache_entries"] == 3
        assert "Quizzland" not in everything(deja)
