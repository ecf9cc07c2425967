"""Memories while Deja and Redis are killed in the middle of drawing them: nothing that was said is lost, nothing is remembered twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections import Counter
from typing import Any

import httpx

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import Exchange, FakeUpstream, chat

HEADERS = {"Authorization": "Bearer sk-faults"}
USERS = 8
SETTINGS = {
    "DEJA_MEMORY__MODEL": "memory-model",
    "DEJA_MEMORY__WRITE_DELAY_S": "1",
    "DEJA_MEMORY__WRITE_LEASE_S": "1",
}


class Model:
    """Answers people, and draws memories, each time in other words: what is drawn twice could be told apart."""

    def __init__(self, *, after_s: float) -> None:
        self._after_s = after_s
        self._calls = itertools.count(1)
        self.drawn: Counter[str] = Counter()

    async def __call__(self, exchange: Exchange) -> None:
        body = exchange.request.json
        if body["model"] != "memory-model":
            await chat("Noted.")(exchange)
            return
        call = next(self._calls)
        said = [
            each["text"] for each in json.loads(body["messages"][-1]["content"])["messages"] if each["role"] == "user"
        ]
        self.drawn.update(said)
        memories = [{"text": f"User told in call {call}: {text}", "type": "semantic"} for text in said]
        await chat(json.dumps({"memories": memories}), after_s=self._after_s)(exchange)


def say(deja: DejaProcess, user: str, text: str, *, session: str = "s") -> None:
    answer = httpx.post(
        f"{deja.base_url}/chat/completions",
        json={"model": "m", "user": user, "messages": [{"role": "user", "content": text}]},
        headers=HEADERS | {"X-Deja-Memory": "write", "X-Deja-Session": session},
        timeout=20,
    )
    assert answer.status_code == 200, answer.text


def remembered(deja: DejaProcess) -> list[dict[str, Any]]:
    answer = httpx.post(
        f"{deja.base_url}/long-term-memory/search", json={"text": "", "limit": 100}, headers=HEADERS, timeout=20
    )
    found: list[dict[str, Any]] = answer.json()["memories"] if answer.status_code == 200 else []
    return found


def wait_for(deja: DejaProcess, count: int, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    give_up_at = time.monotonic() + timeout_s
    while len(found := remembered(deja)) < count:
        assert time.monotonic() < give_up_at, found
        time.sleep(0.1)
    return found


def assert_once_each(deja: DejaProcess, expected: dict[str, list[str]]) -> None:
    """What each user said is remembered once, and that stays so."""
    wait_for(deja, sum(map(len, expected.values())))
    time.sleep(2.5)  # two leases: what would come twice has come
    found: dict[str, list[str]] = {}
    for memory in remembered(deja):
        found.setdefault(memory["user_id"], []).append(memory["text"].partition(": ")[2])
    assert {user: sorted(texts) for user, texts in found.items()} == expected


def test_a_deja_killed_while_the_model_draws_leaves_one_memory(provider: FakeUpstream) -> None:
    model = Model(after_s=1.5)
    provider.script(model)
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, **SETTINGS) as deja:
        say(deja, "ann", "I live at 7 Elm Road")
        say(deja, "ann", "I work at number 9")
        provider.wait_for(lambda _: len(model.drawn) == 2, timeout_s=15)
        deja.kill()
        deja.start()
        assert_once_each(deja, {"ann": ["I live at 7 Elm Road", "I work at number 9"]})
    assert max(model.drawn.values()) == 2, "it was drawn again after the kill"


def test_kills_at_any_moment_lose_nothing_and_double_nothing(provider: FakeUpstream) -> None:
    provider.script(Model(after_s=0.05))
    expected: dict[str, list[str]] = {}
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url, **SETTINGS) as deja:
        for number in range(USERS):
            user, text = f"user-{number}", f"My lucky number is {number}"
            say(deja, user, text)
            expected[user] = [text]
            if number % 2:
                time.sleep(0.7 + number * 0.08)  # noted for long, and drawn just now or a little before
                if number % 4 == 1:
                    deja.kill()
                    deja.start()
                else:
                    os.kill(deja.redis_pid(), signal.SIGKILL)
                    deja.wait_until_whole()
        assert_once_each(deja, expected)
