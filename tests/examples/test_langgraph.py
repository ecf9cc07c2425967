"""The LangGraph example on one real Deja and its Redis: killed between nodes, replayed, forked; and what it remembers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver
from langgraph.store.base import PutOp

from examples.langgraph_agent.graph import Question, build, model_of
from examples.langgraph_agent.run import ROOT, replay, run
from examples.langgraph_agent.store import DejaStore
from proxy.stores.embedded import running_url
from tests.deja_process import DejaProcess
from tests.fake_upstream import Exchange, FakeUpstream, chat

CHECKPOINTER = ("checkpoint:", "checkpoint_latest:", "checkpoint_write:", "write_keys_zset:")
"""How the names of the checkpointer's keys begin."""


async def answer(exchange: Exchange) -> None:
    """What tells prompts apart: each gets an answer of its own."""
    instructions = exchange.request.json["messages"][0]["content"]
    await chat(f"An answer to {hash(instructions)}.")(exchange)


@pytest.fixture
def provider(provider: FakeUpstream) -> FakeUpstream:
    provider.script(answer)
    return provider


@pytest.fixture
def redis_url(deja: DejaProcess) -> str:
    url = running_url(deja.data_dir)
    assert url is not None
    return url


@pytest.fixture
def store(deja: DejaProcess, api_key: str) -> Iterator[DejaStore]:
    with closing(DejaStore(deja.root, api_key)) as made:
        yield made


@pytest.fixture
def graph(deja: DejaProcess, provider: FakeUpstream, redis_url: str, store: DejaStore, api_key: str) -> Iterator[Any]:
    with RedisSaver.from_conn_string(redis_url) as checkpointer:
        checkpointer.setup()
        yield build(model_of(deja.root, api_key), checkpointer, store)


@pytest.fixture
def thread() -> str:
    return f"thread/{uuid.uuid4()}"


def asked(question: str = "What should I see in Lisbon?", user: str = "ada") -> Question:
    return Question(user=user, question=question, style="friendly")


def in_a_process(deja: DejaProcess, api_key: str, thread: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command of the example."""
    command = [sys.executable, "-m", "examples.langgraph_agent.run", "--base-url", deja.root, "--api-key", api_key]
    redis_url = str(running_url(deja.data_dir))
    command += ["--redis-url", redis_url, "--thread", thread, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)


def test_a_thread_that_was_killed_goes_on_and_repeats_no_finished_node(
    deja: DejaProcess, provider: FakeUpstream, api_key: str, thread: str
) -> None:
    killed = in_a_process(deja, api_key, thread, "--kill-before", "write")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.split() == ["->", "recall", "->", "outline", "->", "write"]
    assert len(provider.requests) == 1
    resumed = in_a_process(deja, api_key, thread)
    assert resumed.returncode == 0, resumed.stderr
    begun = [line.removeprefix("-> ") for line in resumed.stdout.splitlines() if line.startswith("-> ")]
    assert begun == ["write", "remember"]
    trail = [line.split()[:2] for line in resumed.stdout.splitlines() if "process=" in line]
    (recall, first), (outline, second), (write, third), (remember, fourth) = trail
    assert (recall, outline, write, remember) == ("recall", "outline", "write", "remember")
    assert first == second != third == fourth
    assert len(provider.requests) == 2


def test_a_replay_asks_the_provider_nothing_and_a_fork_only_what_changed(
    graph: Any, provider: FakeUpstream, thread: str
) -> None:
    state = run(graph, thread, asked())
    assert [line.split()[0] for line in state["trail"]] == ["recall", "outline", "write", "remember"]
    assert run(graph, thread, asked()) == state, "a thread that is done is not done again"
    assert len(provider.requests) == 2
    again = replay(graph, thread, "outline", {})
    assert (again["outline"], again["answer"]) == (state["outline"], state["answer"])
    assert ["hit; detail=exact" in line for line in again["trail"]] == [False, True, True, False]
    assert len(provider.requests) == 2
    brief = replay(graph, thread, "outline", {"style": "brief"})
    assert brief["outline"] == state["outline"]
    assert brief["answer"] != state["answer"]
    assert len(provider.requests) == 3
    with pytest.raises(SystemExit):
        replay(graph, f"{thread}-unknown", "write", {})


def test_a_later_thread_of_the_same_user_knows_what_an_earlier_one_asked(
    graph: Any, provider: FakeUpstream, thread: str
) -> None:
    run(graph, thread, asked("What is there to eat in Porto for someone who is vegan?"))
    later = run(graph, f"{thread}-2", asked("Where shall I have dinner in Porto?"))
    assert later["known"] == ["ada asked: What is there to eat in Porto for someone who is vegan?"]
    others = run(graph, f"{thread}-3", asked("Where shall I have dinner in Porto?", user="ada/bob"))
    assert others["known"] == []


def test_model_calls_are_turns_of_the_session_that_the_thread_is(
    graph: Any, deja: DejaProcess, api_key: str, thread: str
) -> None:
    state = run(graph, thread, asked())
    give_up_at = time.monotonic() + 10
    texts: list[str] = []
    while state["answer"] not in texts:  # turns are written behind the answer
        assert time.monotonic() < give_up_at, texts
        headers = {"Authorization": f"Bearer {api_key}"}
        session = httpx.get(f"{deja.base_url}/sessions/{thread}", headers=headers, trust_env=False)
        texts = [turn["content"] for turn in session.json().get("turns", ())]


def test_checkpoints_have_names_of_their_own_and_outlive_a_full_cache(graph: Any, redis_url: str, thread: str) -> None:
    state = run(graph, thread, asked())
    with redis.Redis.from_url(redis_url) as client:
        names = [name.decode() for name in client.scan_iter(count=1000)]
        foreign = [name for name in names if not name.startswith("deja:")]
        assert foreign
        assert all(name.startswith(CHECKPOINTER) for name in foreign)
        assert {client.ttl(name) for name in foreign} == {-1}
        usual = client.config_get("maxmemory")["maxmemory"]
        try:
            client.config_set("maxmemory", client.info("memory")["used_memory"] + (2 << 20))
            for number in range(60):  # what a cache does: it writes more than there is room for, with a TTL
                client.set(f"deja:v1:filling:{number}", b"x" * (100 << 10), ex=60)
            assert client.info("stats")["evicted_keys"] > 0
            assert all(client.exists(name) for name in foreign)
        finally:
            client.config_set("maxmemory", usual)
            client.delete(*(f"deja:v1:filling:{number}" for number in range(60)))
    assert run(graph, thread, asked()) == state


# --- the store --------------------------------------------------------------------------------------------------------------------


def test_an_item_comes_back_as_it_was_put_until_it_is_deleted(store: DejaStore) -> None:
    at, key = ("users", "ada/b c", "50 %"), "what/she: likes?"
    value = {"text": "Ada likes trains.", "topics": ["travel"], "memory_type": "episodic"}
    store.put(at, key, value)
    found = store.get(at, key)
    assert found is not None
    assert (found.namespace, found.key, found.value) == (at, key, value)
    store.put(at, key, {"text": "Ada likes ships."})
    assert store.get(at, key).value == {"text": "Ada likes ships."}
    store.put(at, "the same", {"text": "Ada likes ships."})
    assert store.get(at, "the same") is not None, "what is put is there, though it says the same as another item"
    store.delete(at, key)
    store.delete(at, key)
    assert store.get(at, key) is None


def test_a_search_stays_below_its_prefix_and_is_one_by_meaning(store: DejaStore) -> None:
    store.batch(
        [
            PutOp(("users", "ada"), "1", {"text": "Ada travels by train.", "topics": ["travel"]}),
            PutOp(("users", "ada", "food"), "2", {"text": "Ada eats no meat.", "topics": ["food"]}),
            PutOp(("users", "adam"), "3", {"text": "Adam travels by train."}),
        ]
    )
    assert {item.key for item in store.search(("users", "ada"))} == {"1", "2"}
    assert {item.key for item in store.search(())} == {"1", "2", "3"}
    (best,) = store.search(("users", "ada"), query="What could we cook for her?", limit=1)
    assert (best.key, best.namespace) == ("2", ("users", "ada", "food"))
    assert best.score is not None
    assert [item.key for item in store.search(("users",), filter={"topics": "travel"})] == ["1"]


async def test_another_keys_items_are_not_there(store: DejaStore, deja: DejaProcess) -> None:
    await store.aput(("users", "ada"), "diet", {"text": "Ada eats no meat."})
    assert (await store.aget(("users", "ada"), "diet")) is not None
    with closing(DejaStore(deja.root, "sk-another")) as others:
        assert others.get(("users", "ada"), "diet") is None
        assert others.search(("users", "ada")) == []


def test_what_no_memory_has_is_refused(store: DejaStore) -> None:
    with pytest.raises(ValueError, match="colour"):
        store.put(("users",), "k", {"text": "x", "colour": "red"})
    with pytest.raises(ValueError, match="text"):
        store.search(("users",), filter={"text": "x"})
    with pytest.raises(RuntimeError, match="text"):
        store.put(("users",), "k", {"topics": ["no text"]})
    with pytest.raises(NotImplementedError):
        store.list_namespaces()
