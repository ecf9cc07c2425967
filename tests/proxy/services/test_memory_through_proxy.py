from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from proxy.core.canonical import canonical_chat
from proxy.core.dialects.chat import CHAT
from proxy.core.memory.records import FoundMemories, FoundMemory, Owner, Search
from proxy.core.models import Directives, MemoryUse
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services.calls import Call
from proxy.services.memory_through_proxy import MemoryReader, ReadPolicy, Skipped
from tests.proxy.core.memory.builders import memory

PARROT = FoundMemories((FoundMemory(memory("m1", "Anna has a parrot"), 0.3, 0.7),), 1, None)
NOTHING = FoundMemories((), 0, None)


class Bench:
    """A reader over memories that answer, or fail, as told."""

    def __init__(self, answer: FoundMemories | Exception | float = PARROT) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Search]] = []
        self.told: list[int | Skipped] = []
        policy = ReadPolicy(most=5, max_tokens=1000, max_distance=0.7, deadline_s=0.05)
        self.reader = MemoryReader(self, self, self, policy=policy, on_read=self.told.append)

    async def search(self, tenant: str, wanted: Search) -> FoundMemories:
        self.asked.append((tenant, wanted))
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, float):
            await asyncio.sleep(self.answer)
            return PARROT
        return self.answer

    async def user_of(self, tenant: str, session: str) -> str | None:
        return {"s-of-ben": "ben"}.get(session)

    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


def call(body: dict[str, Any] | None = None, **directives: Any) -> Call:
    sent = {"model": "m", "messages": [{"role": "user", "content": "Which pet?"}], "user": "anna"} | (body or {})
    return Call(
        dialect=CHAT,
        request_id="req_1",
        tenant="t",
        request=canonical_chat(sent),
        directives=Directives(memory=MemoryUse.READ, **directives),
        sent=sent,
        query=b"",
        sent_headers=(),
        travelling=tuple,
        body=orjson.dumps(sent),
        distinctions=(),
        prompt_chars=10,
        began_at=0.0,
        user=CHAT.user_of(sent),
    )


async def test_what_is_found_goes_upstream_and_what_was_sent_stays() -> None:
    bench, asked = Bench(), call({"deja": {"memory": "read"}, "z": 1, "a": 2})
    recalled = await bench.reader.recall(asked)
    body = orjson.loads(recalled.call.body)
    assert "Anna has a parrot" in body["messages"][-1]["content"]
    assert list(body) == ["model", "messages", "user", "z", "a"]
    assert recalled.call.sent == asked.sent
    assert recalled.told == "read=1"
    assert recalled.version is not None
    assert bench.told == [1]


async def test_where_nothing_is_found_the_request_is_what_it_was() -> None:
    bench, asked = Bench(NOTHING), call()
    recalled = await bench.reader.recall(asked)
    assert (recalled.call, recalled.version, recalled.told) == (asked, None, "read=0")
    assert bench.told == [0]


@pytest.mark.parametrize(
    ("body", "directives", "owner"),
    [
        ({}, {}, Owner("anna", None)),
        ({}, {"namespace": "work", "session": "s-of-ben"}, Owner("anna", "work")),
        ({"user": None, "safety_identifier": "carl"}, {}, Owner("carl", None)),
        ({"user": None}, {"session": "s-of-ben"}, Owner("ben", None)),
    ],
)
async def test_only_memories_of_the_requests_user_and_namespace_are_looked_for(
    body: dict[str, Any], directives: dict[str, Any], owner: Owner
) -> None:
    bench = Bench()
    await bench.reader.recall(call(body, **directives))
    ((tenant, wanted),) = bench.asked
    assert (tenant, wanted.conditions.owner, wanted.text) == ("t", owner, "Which pet?")


@pytest.mark.parametrize("directives", [{}, {"session": "s-of-nobody"}])
async def test_without_a_user_nothing_is_looked_for(directives: dict[str, Any]) -> None:
    bench = Bench()
    recalled = await bench.reader.recall(call({"user": None}, **directives))
    assert recalled.told == "skipped=no-user"
    assert bench.asked == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (30.0, Skipped.DEADLINE),
        (StoreUnavailableError("Redis is away."), Skipped.STORE_UNAVAILABLE),
        (RequestError("No embedder.", status=503, code="embedder_unavailable"), Skipped.EMBEDDER_UNAVAILABLE),
        (RequestError("Something else.", code="invalid_memory"), Skipped.ERROR),
        (ZeroDivisionError(), Skipped.ERROR),
    ],
)
async def test_whatever_fails_the_call_goes_on_without_and_says_why(
    answer: FoundMemories | Exception | float, why: Skipped
) -> None:
    bench, asked = Bench(answer), call()
    recalled = await bench.reader.recall(asked)
    assert (recalled.call, recalled.version, recalled.told) == (asked, None, f"skipped={why}")
    assert bench.told == [why]


async def test_a_named_query_is_what_is_looked_for() -> None:
    bench = Bench()
    await bench.reader.recall(call(query="pets of Anna"))
    assert bench.asked[0][1].text == "pets of Anna"
