"""The embedder changed under a full cache, Deja killed in the middle of moving it: no hit by meaning is lost, no entry lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from redis import Redis

from proxy.core import spaces
from tests.deja_process import DejaProcess, running_deja
from tests.e2e.asking import MODEL, ask
from tests.redis_server import private_redis

ALICE, BOB = "sk-alice", "sk-bob"
STORED, REWORDED = "How do I reset my password?", "How can I reset my password?"
READ_ONLY = {"X-Deja-Mode": "read-only"}
COUNT = 200
"""Entries: a second or two of moving, of which the kill needs a moment."""
ALL = COUNT + 2
"""With one of another tenant, and one of a named cache."""
AT_ONCE = 100
GIVE_UP_S = 60.0


@pytest.fixture
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, socket_timeout=20) as opened:
        yield opened


def client_of(deja: DejaProcess, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0, timeout=20)


def store(deja: DejaProcess, key: str, questions: list[str]) -> list[str]:
    """Warm the cache; the entries' ids."""
    ids: list[str] = []
    for start in range(0, len(questions), AT_ONCE):
        entries = [
            {"messages": [{"role": "user", "content": text}], "answer": f"The answer to: {text}"}
            for text in questions[start : start + AT_ONCE]
        ]
        told = httpx.post(
            f"{deja.base_url}/cache/entries",
            json={"entries": entries, "model": MODEL},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        ).json()
        ids += [one["id"] for one in told["data"]]
    return ids


def named(deja: DejaProcess, what: str, **body: object) -> dict[str, Any]:
    """Ask ALICE's named cache."""
    answer = httpx.post(
        f"{deja.base_url}/caches/faq/entries{what}", json=body, headers={"Authorization": f"Bearer {ALICE}"}, timeout=20
    )
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def listed(deja: DejaProcess, key: str) -> list[str]:
    """Ids of all entries of a key."""
    found: list[str] = []
    cursor = None
    while True:
        page = httpx.get(
            f"{deja.base_url}/cache/entries",
            params={"limit": 1000} | ({"cursor": cursor} if cursor else {}),
            headers={"Authorization": f"Bearer {key}"},
            timeout=20,
        ).json()
        found += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def count_of(redis: Redis, tag: str) -> int:
    """Entries under an embedder's keys."""
    return len(list(redis.scan_iter(f"deja:v1:entry:{tag}:*", count=1000)))


def until(is_so: Callable[[int], bool], redis: Redis) -> int:
    """Wait until so many entries have moved."""
    give_up_at = time.monotonic() + GIVE_UP_S
    while not is_so(moved := int(redis.hget(spaces.MIGRATION, "moved") or 0)):
        assert time.monotonic() < give_up_at, f"{moved} moved"
        time.sleep(0.002)
    return moved


def until_ended(redis: Redis) -> None:
    """Wait until nothing is left, and that is written down."""
    give_up_at = time.monotonic() + GIVE_UP_S
    while redis.hget(spaces.MIGRATION, "ended_at") is None:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.mark.timeout(180)
def test_entries_answer_by_meaning_before_during_and_after_and_kill_9_loses_and_doubles_none(
    redis_url: str, redis: Redis
) -> None:
    questions = [STORED, *(f"What is known of the {number}th river of the atlas?" for number in range(1, COUNT))]
    secret = {"DEJA_SECRET": "migration", "DEJA_REDIS__URL": redis_url}
    with running_deja(**secret, DEJA_EMBEDDER__SOURCE="hashing") as before:
        mine, others = store(before, ALICE, questions), store(before, BOB, ["Where is the library?"])
        assert len(set(mine)) == COUNT
        with client_of(before, ALICE) as client:
            assert ask(client, REWORDED).hit == "semantic"
        name = named(before, "", prompt=STORED, response="Ask us.")["entryId"]
    (old,) = [one.decode() for one in redis.hkeys(spaces.EMBEDDERS)]
    # As if a process of before were still there: nothing moves until it is gone.
    redis.zadd(spaces.USERS, {f"{old} still there": time.time() + 3600})
    with running_deja(**secret, DEJA_EMBEDDER__PREVIOUS_SOURCE="hashing") as deja:
        with client_of(deja, ALICE) as alice, client_of(deja, BOB) as bob:
            assert ask(alice, "Please tell me how I reset my password.").hit == "semantic"
            assert ask(bob, REWORDED, headers=READ_ONLY).hit is None
        assert [one["id"] for one in named(deja, "/search", prompt=REWORDED)["data"]] == [name]
        assert count_of(redis, old) == ALL
        redis.delete(spaces.USERS)
        until(lambda moved: moved > 0, redis)
        deja.kill()
        left = count_of(redis, old)
        assert 0 < left < ALL, "it was killed in the middle"
        deja.start()
        with client_of(deja, ALICE) as alice, client_of(deja, BOB) as bob:
            during = ask(alice, REWORDED)
            assert (during.hit, during.text) == ("semantic", f"The answer to: {STORED}")
            assert ask(bob, REWORDED, headers=READ_ONLY).hit is None
            until_ended(redis)
            assert count_of(redis, old) == 0
            assert sorted(listed(deja, ALICE)) == sorted(mine)
            assert listed(deja, BOB) == others
            after = ask(alice, "How could I reset my password?")
            assert (after.hit, after.text) == ("semantic", f"The answer to: {STORED}")
            assert ask(alice, questions[-1]).hit == "exact"
        assert [one["id"] for one in named(deja, "/search", prompt=REWORDED)["data"]] == [name]
        indexes = [name.decode() for name in redis.execute_command("FT._LIST")]
        assert not [name for name in indexes if spaces.tag_of_index(name) == old]
        admin = {"Authorization": f"Bearer {(deja.data_dir / 'admin-key').read_text()}"}
        told = httpx.get(f"{deja.root}/admin/migration", headers=admin, timeout=20).json()
        assert (told["state"], told["left"], told["moved"]) == ("ended", 0, ALL)
        assert httpx.get(f"{deja.root}/admin/migration", timeout=20).status_code in (401, 403)
