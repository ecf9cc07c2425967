"""Drawing memories, over a real Redis' groups and doubles of queue, model and long-term memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.keys import session_key, session_tag, user_key, user_tag
from proxy.core.memory import keys
from proxy.core.memory.extraction import Said, Source
from proxy.core.memory.records import Memory
from proxy.errors import RequestError
from proxy.services.asking_again import NoAnswer
from proxy.services.extraction import GIVE_UP_AFTER, Extraction, Policy
from proxy.stores.client import open_client
from proxy.stores.extraction import MAX_MESSAGES, ExtractionStore
from tests.proxy.core.memory.builders import NOW
from tests.redis_server import private_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    opened = open_client(redis_url, deadline_ms=5000)
    yield opened
    await opened.flushdb()
    await opened.aclose()


ANN = Source("t", "ann", "s", None)


class Bench:
    """Everything around a drawing: what was submitted, asked, stored and settled."""

    def __init__(self, client: Redis, *, model: str | None = "m") -> None:
        self.tasks: dict[str, Mapping[str, Any]] = {}
        self.settled: list[tuple[str, str]] = []
        self.asked: list[list[dict[str, str]]] = []
        self.stored: dict[str, Memory] = {}
        self.answers: list[str | Exception] = []
        self.refused: set[str] = set()
        self.told: list[tuple[str, int]] = []
        self.now = NOW
        self.upstream = object()
        self.store_groups = ExtractionStore(client)
        here: Any = self
        self.extraction = Extraction(
            self.store_groups, here, here, here, here, here, here,
            policy=Policy(model, 10.0, 30.0, 5.0), on_drawn=lambda how, count: self.told.append((how, count)),
            now=lambda: self.now,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        yield

    async def configure(self, tenant: str, queue: str, given: Mapping[str, Any]) -> None:
        assert (tenant, queue) == ("deja", "memory-extraction")

    async def submit(self, tenant: str, queue: str, given: Sequence[Mapping[str, Any]], *, is_batch: bool) -> None:
        self.tasks.update({task["id"]: task for task in given})

    async def complete(self, tenant: str, queue: str, task_id: str, lease: str, result: Any) -> None:
        self.settled.append(("complete", task_id))

    async def fail(self, tenant: str, queue: str, task_id: str, lease: str, error: Any, **how: Any) -> None:
        self.settled.append(("fail", error["reason"]))

    async def renew(self, *where: Any, **how: Any) -> None: ...

    def resolve(self, model: str) -> Any:
        return self

    async def ask(self, purpose: str, route: Any, request: Any, *, tenant: str) -> str:
        assert tenant == "t", "the call is on the account of whose memories they are"
        self.asked.append(json.loads(request.body)["messages"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def store(self, tenant: str, memories: Sequence[Memory], **how: Any) -> None:
        for memory in memories:
            if memory.text in self.refused:
                raise RequestError("It cannot be stored.")
            self.stored[memory.memory_id] = memory

    async def delete(self, tenant: str, memory_ids: Sequence[str]) -> int:
        return sum(self.stored.pop(each, None) is not None for each in memory_ids)

    async def do(self, *, attempt: int = 1) -> None:
        """Do all tasks that were submitted."""
        for task in self.tasks.values():
            await self.extraction._do({**task, "lease": "l", "attempt": attempt})


FAR_MS = 4_000_000_000_000


async def erase(client: Redis, what: str) -> None:
    """Mark the user, or the session, as erased, as `stores.erasure` and `stores.sessions` do."""
    if what == "user":
        await client.set(user_key(user_tag("t", "ann"), "erased"), FAR_MS)
    else:
        await client.hset(session_key(session_tag("t", "s"), "erased"), what, FAR_MS)


def said(number: int, text: str = "I live in Leeds.") -> Said:
    return Said(f"m{number}", "user", text, NOW + number)


def drawn(*texts: str) -> str:
    return json.dumps({"memories": [{"text": text, "type": "semantic"} for text in texts]})


async def test_what_is_said_in_a_stretch_of_time_is_one_task_and_one_call(client: Redis) -> None:
    bench = Bench(client)
    bench.answers = [drawn("User lives in Leeds", "User has a dog")]
    await bench.extraction.take(ANN, [said(2, "I have a dog.")])
    await bench.extraction.take(ANN, [said(1), said(2, "I have a dog.")])
    (task,) = bench.tasks.values()
    assert task["not_before"] == NOW + 10
    await bench.do()
    told = json.loads(bench.asked[0][1]["content"])["messages"]
    assert [message["text"] for message in told] == ["I live in Leeds.", "I have a dog."]
    assert sorted(memory.text for memory in bench.stored.values()) == ["User has a dog", "User lives in Leeds"]
    assert bench.told == [("model", 2)]


async def test_a_message_is_taken_once_also_in_a_later_stretch(client: Redis) -> None:
    bench = Bench(client, model=None)
    await bench.extraction.take(ANN, [said(1)])
    await bench.do()
    bench.stored.clear()
    bench.now += 20
    await bench.extraction.take(ANN, [said(1), said(2, "I have a dog.")])
    await bench.do()
    assert [memory.text for memory in bench.stored.values()] == ["I have a dog."]


async def test_a_task_done_twice_stores_what_was_drawn_first(client: Redis) -> None:
    bench = Bench(client)
    bench.answers = [drawn("User lives in Leeds"), drawn("Leeds is where User lives")]
    await bench.extraction.take(ANN, [said(1)])
    (task,) = bench.tasks.values()
    tag, group = task["payload"]["source"], task["payload"]["group"]
    await asyncio.gather(bench.do(), bench.do())  # two processes at once, of which one had lost its lease
    await bench.do()
    assert len(bench.stored) == 1
    assert await client.hgetall(keys.extraction(tag, group)) == {b"closed": b"1"}


async def test_a_group_that_is_closed_or_full_sends_on_to_the_next(client: Redis) -> None:
    bench = Bench(client, model=None)
    await bench.extraction.take(ANN, [said(1)])
    await bench.do()
    await bench.extraction.take(ANN, [said(2, "I have a dog.")])
    assert len(bench.tasks) == 2
    await bench.do()
    assert len(bench.stored) == 2
    bench.tasks.clear()
    await bench.extraction.take(ANN, [said(number) for number in range(10, 11 + MAX_MESSAGES)])
    await bench.extraction.take(ANN, [said(9)])
    assert len(bench.tasks) == 2


@pytest.mark.parametrize("answer", [NoAnswer("failed"), "Sorry, I cannot."])
async def test_a_model_that_fails_is_asked_again_and_at_last_the_rules_do_it(
    client: Redis, answer: str | Exception
) -> None:
    bench = Bench(client)
    bench.answers = [answer, answer]
    await bench.extraction.take(ANN, [said(1)])
    await bench.do()
    assert bench.settled[0][0] == "fail"
    assert bench.stored == {}
    await bench.do(attempt=GIVE_UP_AFTER)
    assert [memory.text for memory in bench.stored.values()] == ["I live in Leeds."]
    assert bench.told == [("failed", 0), ("rules", 1)]


async def test_one_memory_that_is_refused_does_not_take_the_others_along(client: Redis) -> None:
    bench = Bench(client)
    bench.answers = [drawn("bad", "good")]
    bench.refused = {"bad"}
    await bench.extraction.take(ANN, [said(1)])
    await bench.do()
    assert [memory.text for memory in bench.stored.values()] == ["good"]
    assert bench.settled[-1][0] == "complete"


async def test_users_and_tenants_never_share_a_group(client: Redis) -> None:
    bench = Bench(client, model=None)
    for source in (ANN, Source("t", "bob", "s", None), Source("u", "ann", "s", None)):
        await bench.extraction.take(source, [said(1)])
    await bench.do()
    assert len(bench.tasks) == len(bench.stored) == 3


@pytest.mark.parametrize("what", ["user", "all", user_tag("t", "ann")])
async def test_what_was_erased_while_it_waited_is_not_remembered(client: Redis, what: str) -> None:
    bench = Bench(client)
    await bench.extraction.take(ANN, [said(1)])
    await erase(client, what)
    await bench.do()
    assert (bench.asked, bench.stored) == ([], {})
    assert bench.settled[-1][0] == "complete"


async def test_what_is_erased_while_it_is_stored_does_not_stay(client: Redis) -> None:
    bench = Bench(client)
    bench.answers = [drawn("User lives in Leeds")]
    store = bench.store

    async def erased_meanwhile(*args: Any, **how: Any) -> None:
        await store(*args, **how)
        await erase(client, "user")

    bench.store = erased_meanwhile  # type: ignore[method-assign]
    await bench.extraction.take(ANN, [said(1)])
    await bench.do()
    assert len(bench.asked) == 1
    assert bench.stored == {}


async def test_another_users_erasure_changes_nothing(client: Redis) -> None:
    bench = Bench(client, model=None)
    await bench.extraction.take(ANN, [said(1)])
    await client.set(user_key(user_tag("t", "bob"), "erased"), FAR_MS)
    await bench.do()
    assert len(bench.stored) == 1
