"""Working memory: summaries when a session outgrows its window, and memories brought to long-term memory whatever dies."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from proxy.core.memory.records import Memory, MemoryType
from proxy.core.memory_server import keys
from proxy.core.memory_server.window import tokens_of
from proxy.core.memory_server.working import KeptMemory, Message, SessionName, WorkingMemory
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services.asking_again import Asker
from proxy.services.background import Background
from proxy.services.summaries import Summaries
from proxy.services.working_memory import Summarised, WorkingMemories
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.working_memory import WorkingMemoryStore
from tests.keeping import KeptAtOnce
from tests.proxy.services.auditing import KEY, Provider, Upstreams
from tests.redis_server import private_redis

NOW = 1_800_000_000.0
TENANT = "0e"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with private_redis() as url:
        yield url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    # As in the application: redis-py's own timer loses cancellations, on Python 3.11 at least.
    opened = open_client(redis_url, deadline_ms=None)
    await opened.delete(keys.WAITING)
    yield opened
    await opened.aclose()


@pytest.fixture
async def background() -> AsyncIterator[Background]:
    made = Background()
    yield made
    await made.aclose()


class LongTerm:
    """Long-term memory that notes what it is given; `fails` is raised in its place, once for each."""

    def __init__(self, *fails: Exception) -> None:
        self.stored: list[tuple[str, Memory]] = []
        self.fails = list(fails)
        self.was_called = asyncio.Event()

    async def store(self, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = True) -> Any:
        assert is_deduplicated
        self.was_called.set()
        if self.fails:
            raise self.fails.pop(0)
        self.stored += [(tenant, memory) for memory in memories]

    @property
    def ids(self) -> list[str]:
        return [memory.memory_id for _, memory in self.stored]


Make = Callable[..., WorkingMemories]


@pytest.fixture
def make(client: Redis, background: Background) -> Make:
    def made(long_term: Any = None, provider: Provider | None = None, *, model: str | None = None) -> WorkingMemories:
        asker = Asker(answer_bytes=1 << 20, on_call=lambda purpose, usage: None)
        upstreams: Any = Upstreams(provider or Provider(lambda body: "unused"))
        return WorkingMemories(
            WorkingMemoryStore(client),
            long_term or LongTerm(),
            Summaries(asker, upstreams, model=model),
            Guard(client.ping),
            KeptAtOnce(),
            background,
            deadline_s=5.0,
            now=lambda: NOW,
            body_bytes=1 << 20,
            round_s=0.02,
            left_s=0.0,
        )

    return made


def memory(memory_id: str) -> Memory:
    return Memory(
        memory_id=memory_id, text=f"Fact {memory_id}", memory_type=MemoryType.SEMANTIC, user=None, session=None, namespace=None,
        topics=(), entities=(), created_at=1.0, updated_at=1.0, accessed_at=1.0,
    )  # fmt: skip


def session(*texts: str, memories: Sequence[str] = (), context: str | None = None) -> WorkingMemory:
    return WorkingMemory(
        SessionName(f"s-{uuid.uuid4()}", "ann", "work"),
        messages=tuple(Message(f"m{number}", "user", text, float(number)) for number, text in enumerate(texts)),
        memories=tuple(KeptMemory(memory(each)) for each in memories),
        context=context,
    )


HUNDRED_TOKENS = [" ".join(["tea"] * 99)] * 9


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What a condition gives once it is true."""
    for _ in range(1000):
        if found := await condition():
            return found
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come true within 5 s")


async def stored(long_term: LongTerm, *ids: str) -> None:
    async def all_there() -> bool:
        return long_term.ids == list(ids)

    await until(all_there)


async def nothing_waits(client: Redis) -> None:
    async def is_empty() -> bool:
        return not await client.zcard(keys.WAITING)

    await until(is_empty)


# ── summaries ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_that_outgrows_its_window_is_summarised_with_the_callers_credential(make: Make) -> None:
    provider = Provider(lambda body: " They spoke of x. ")
    given = session(*HUNDRED_TOKENS, context="They met.")
    service = make(provider=provider, model="small")
    put = await service.put(TENANT, given, window_tokens=1000, credentials=KEY)
    assert put.summarised is Summarised.WRITTEN
    assert (put.memory.context, put.memory.messages, put.left_out) == ("They spoke of x.", given.messages[5:], 0)
    assert put.use[0] == 40.0
    (asked,) = provider.requests
    assert asked.headers[1:] == KEY
    body = orjson.loads(asked.body)  # type: ignore[arg-type]
    assert body["model"] == "small"
    told = orjson.loads(body["messages"][1]["content"])
    assert told["summary"] == "They met."
    assert len(told["messages"]) == 5
    found = await service.find(TENANT, given.name)
    assert found is not None
    assert (found.context, found.messages) == ("They spoke of x.", given.messages[5:])


async def test_what_is_within_the_window_is_left_alone(make: Make) -> None:
    provider = Provider(lambda body: "unused")
    given = session(*HUNDRED_TOKENS[:7])
    put = await make(provider=provider, model="small").put(TENANT, given, window_tokens=1000, credentials=())
    assert tokens_of(given.messages) == 700
    assert (put.summarised, put.memory.messages, provider.requests) == (None, given.messages, [])


@pytest.mark.parametrize("reply", [(500, b"{}"), (200, b"{}"), "  "], ids=["error", "nonsense", "nothing"])
async def test_a_model_that_fails_costs_no_message(make: Make, reply: Any) -> None:
    given = session(*HUNDRED_TOKENS, context="They met.")
    service = make(provider=Provider(lambda body: reply), model="small")
    put = await service.put(TENANT, given, window_tokens=1000, credentials=())
    assert (put.summarised, put.memory.context, put.memory.messages) == (Summarised.FAILED, "They met.", given.messages)
    found = await service.find(TENANT, given.name)
    assert found is not None
    assert found.messages == given.messages


async def test_without_a_model_all_is_kept_and_the_answer_holds_what_fits(make: Make) -> None:
    given = session(*HUNDRED_TOKENS)
    service = make()
    put = await service.put(TENANT, given, window_tokens=500, credentials=())
    assert (put.summarised, put.memory.messages, put.left_out) == (Summarised.NO_MODEL, given.messages[4:], 4)
    shown = await service.show(TENANT, given.name, window_tokens=None)
    assert shown is not None
    assert (shown.memory.messages, shown.left_out) == (given.messages, 0)


async def test_a_very_long_conversation_is_summarised_piece_by_piece(make: Make) -> None:
    seen: list[Any] = []

    def reply(body: dict[str, Any]) -> str:
        seen.append(orjson.loads(body["messages"][1]["content"]))
        return f"Summary {len(seen)}"

    given = session(*("y" * 10_000 for _ in range(20)))
    put = await make(provider=Provider(reply), model="small").put(TENANT, given, window_tokens=None, credentials=())
    assert [each["summary"] for each in seen] == ["", "Summary 1", "Summary 2", "Summary 3"]
    assert sum(len(each["messages"]) for each in seen) + len(put.memory.messages) == 20
    assert put.memory.context == "Summary 4"


async def test_the_newest_messages_are_those_said_last(make: Make) -> None:
    given = WorkingMemory(
        SessionName(f"s-{uuid.uuid4()}"),
        messages=tuple(Message(f"m{at}", "user", "Hello", float(at)) for at in (3, 1, 2)),
    )
    service = make()
    await service.put(TENANT, given, window_tokens=None, credentials=())
    shown = await service.show(TENANT, given.name, window_tokens=None, newest=2)
    assert shown is not None
    assert [each.message_id for each in shown.memory.messages] == ["m2", "m3"]
    assert shown.left_out == 1


# ── promotion ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_memories_are_promoted_once_as_their_sessions(make: Make, client: Redis) -> None:
    long_term = LongTerm()
    service, given = make(long_term), session("Hello", memories=["a", "b"])
    put = await service.put(TENANT, given, window_tokens=None, credentials=())
    assert [kept.persisted_at for kept in put.memory.memories] == [None, None]
    await stored(long_term, "a", "b")
    assert [(tenant, each.user, each.session, each.namespace) for tenant, each in long_term.stored] == [
        (TENANT, "ann", given.name.session, "work")
    ] * 2

    async def marked() -> WorkingMemory | None:
        found = await service.find(TENANT, given.name)
        return found if found is not None and not found.to_promote() else None

    found = await until(marked)
    await nothing_waits(client)
    await service.put(TENANT, found, window_tokens=None, credentials=())
    await asyncio.sleep(0.05)
    assert long_term.ids == ["a", "b"]


async def test_what_cannot_be_promoted_now_is_promoted_later(make: Make, client: Redis, background: Background) -> None:
    long_term = LongTerm(StoreUnavailableError("away"), StoreUnavailableError("away"))
    service = make(long_term)
    await service.put(TENANT, session(memories=["a"]), window_tokens=None, credentials=())
    await asyncio.wait_for(long_term.was_called.wait(), 5)
    assert long_term.stored == []
    background.spawn(service.run(), name="promotions")
    await stored(long_term, "a")
    await nothing_waits(client)


async def test_what_a_dead_process_left_is_taken_up_by_another(make: Make, background: Background) -> None:
    dead = LongTerm()
    dead.store = lambda *_, **__: asyncio.sleep(3600)  # type: ignore[method-assign, assignment]
    given = session(memories=["a", "b"])
    await make(dead).put(TENANT, given, window_tokens=None, credentials=())
    await asyncio.sleep(0.02)
    await background.aclose()  # as if the process had died while it was promoting
    long_term = LongTerm()
    background.spawn(make(long_term).run(), name="promotions")
    await stored(long_term, "a", "b")


async def test_a_memory_that_is_refused_takes_no_other_with_it(make: Make, client: Redis) -> None:
    class Choosy(LongTerm):
        async def store(self, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = True) -> Any:
            self.was_called.set()
            for each in memories:
                if each.memory_id == "bad" or each.replaces == "nothing":
                    raise RequestError("No.")
                self.stored.append((tenant, each))

    long_term = Choosy()
    given = session(memories=["a", "bad", "b"])
    orphan = KeptMemory(replace(memory("c"), replaces="nothing"))
    given = replace(given, memories=(*given.memories, orphan))
    service = make(long_term)
    await service.put(TENANT, given, window_tokens=None, credentials=())
    await asyncio.wait_for(long_term.was_called.wait(), 5)
    await nothing_waits(client)
    assert set(long_term.ids) == {"a", "b", "c"}
    found = await service.find(TENANT, given.name)
    assert found is not None
    assert [each.memory_id for each in found.to_promote()] == ["bad"]


async def test_a_session_that_is_gone_has_nothing_to_promote(make: Make, client: Redis, background: Background) -> None:
    long_term = LongTerm(StoreUnavailableError("away"))
    service, given = make(long_term), session(memories=["a"])
    await service.put(TENANT, given, window_tokens=None, credentials=())
    await asyncio.wait_for(long_term.was_called.wait(), 5)
    assert await service.delete(TENANT, given.name)
    background.spawn(service.run(), name="promotions")
    await nothing_waits(client)
    assert long_term.stored == []
    assert not await service.delete(TENANT, given.name)


async def test_a_redis_that_is_known_to_be_away_is_told_at_once(make: Make, client: Redis) -> None:
    service = make()
    service._guard.learn(StoreUnavailableError("away"))  # type: ignore[attr-defined]
    service._guard.learn(StoreUnavailableError("away"))  # type: ignore[attr-defined]
    service._guard.learn(StoreUnavailableError("away"))  # type: ignore[attr-defined]
    for call in (
        service.find(TENANT, SessionName("s")),
        service.put(TENANT, session(memories=["a"]), window_tokens=None, credentials=()),
        service.delete(TENANT, SessionName("s")),
        service.sessions(TENANT, namespace=None, user=None, offset=0, limit=10),
    ):
        with pytest.raises(StoreUnavailableError):
            await call
    await service._guard.aclose()  # type: ignore[attr-defined]


async def test_a_session_and_a_user_are_erased_whatever_else_they_are_called(make: Make) -> None:
    service, tenant = make(), uuid.uuid4().hex
    for name in (SessionName("s", "ann", "work"), SessionName("s", "bob"), SessionName("t", "ann"), SessionName("t")):
        await service.put(tenant, WorkingMemory(name), window_tokens=None, credentials=())
    assert await service.erase_user(tenant, "ann") == 2
    assert await service.erase_user(tenant, "ann") == 0
    assert await service.erase_session(tenant, "s") == 1
    assert await service.erase_session(uuid.uuid4().hex, "t") == 0
    assert await service.sessions(tenant, namespace=None, user=None, offset=0, limit=9) == (1, ["t"])
