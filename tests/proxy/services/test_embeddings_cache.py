"""What a failing part of the cache costs a request for embeddings: a call to the provider, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from proxy.core.embedding_answers import StoredEmbedding
from proxy.core.embedding_requests import MAX_INPUTS, read_request
from proxy.core.models import About, Directives, NotStored, Reason
from proxy.core.traces import Trace
from proxy.errors import StoreError, StoreFullError, StoreLoadingError, StoreUnavailableError
from proxy.ports import Headers, UpstreamRequest
from proxy.services.embedding_calls import EmbeddingCall, EmbeddingDecision
from proxy.services.embedding_keeper import AT_ONCE, EmbeddingKeeper
from proxy.services.embeddings_cache import EmbeddingsCache
from tests.builders import NOW_S


class Store:
    """Vectors in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredEmbedding] = {}
        self.abouts: list[About] = []
        self.sizes: list[int] = []
        self.failure: Exception | None = None

    async def get(self, redis_keys: Sequence[str]) -> list[StoredEmbedding | None]:
        self._count(redis_keys)
        return [self.kept.get(redis_key) for redis_key in redis_keys]

    async def put(self, redis_keys: Sequence[str], made: Sequence[StoredEmbedding], *, about: About) -> None:
        self._count(redis_keys)
        self.abouts.append(about)
        self.kept.update(zip(redis_keys, made, strict=True))

    def _count(self, redis_keys: Sequence[str]) -> None:
        self.sizes.append(len(redis_keys))
        if self.failure is not None:
            raise self.failure


class Traces:
    """What was left, and when, beside what was stored."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.left: list[tuple[Trace, int]] = []

    async def leave_all(self, left: Sequence[Trace], **_: Any) -> None:
        self.left += [(trace, len(self.store.kept)) for trace in left]


class Guard:
    """Counts what it guards."""

    def __init__(self) -> None:
        self.entered = 0

    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        self.entered += 1
        yield


class Response:
    def __init__(self, body: bytes, headers: Headers) -> None:
        self.status, self.headers, self._body = 200, headers, body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def aclose(self) -> None: ...


class Provider:
    """Route, upstream and registry in one: answers every input with its number in the request."""

    identity = "https://provider/v1"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.headers: Headers = ()

    def resolve(self, model: str | None) -> Provider:
        return self

    @property
    def upstream(self) -> Provider:
        return self

    def rewrite(self, request: UpstreamRequest) -> UpstreamRequest:
        return request

    async def send(self, request: UpstreamRequest) -> Response:
        assert isinstance(request.body, bytes)
        self.asked.append(orjson.loads(request.body)["input"])
        data = [{"index": index, "embedding": [index, 0.5]} for index in range(len(self.asked[-1]))]
        return Response(orjson.dumps({"data": data, "model": "m"}), self.headers)


@dataclass
class Rig:
    cache: EmbeddingsCache
    store: Store
    provider: Provider
    traces: Traces
    guard: Guard
    now_s: float = NOW_S

    async def embed(self, *texts: str, directives: Directives = Directives(), **fields: Any) -> EmbeddingDecision:  # noqa: B008  frozen
        body = {"model": "m", "input": list(texts), **fields}
        call = EmbeddingCall(
            request_id="req_1",
            tenant="0a",
            request=read_request(body),
            directives=directives,
            sent=body,
            path="/embeddings",
            query=b"",
            headers=(),
            body=orjson.dumps(body),
            distinctions=(),
            began_at=0.0,
        )
        decision = await self.cache.decide(call)
        if decision.outcome.hit is None:
            self.reply = await self.cache.forward(decision)
        else:
            self.reply = await self.cache.reply_from_cache(decision)
        assert isinstance(self.reply.body, bytes)
        assert len(orjson.loads(self.reply.body)["data"]) == len(texts), "the caller always has an answer"
        return decision


@pytest.fixture
def rig() -> Rig:
    store, guard, provider = Store(), Guard(), Provider()
    traces = Traces(store)
    made: list[Rig] = []
    keeper = EmbeddingKeeper(
        store, guard, traces, deadline_s=1.0, default_ttl_s=60, trace_s=5.0, now=lambda: made[0].now_s
    )
    cache = EmbeddingsCache(
        store=store,
        guard=guard,
        upstreams=provider,
        keeper=keeper,
        lookup_deadline_s=1.0,
        now=lambda: made[0].now_s,
    )
    made.append(Rig(cache, store, provider, traces, guard))
    return made[0]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StoreUnavailableError("away"), Reason.REDIS_UNAVAILABLE),
        (StoreLoadingError("loading"), Reason.INDEX_LOADING),
        (StoreError("refused"), Reason.REDIS_UNAVAILABLE),
        (ValueError("unforeseen"), Reason.CACHE_ERROR),
    ],
    ids=lambda value: str(value),
)
async def test_a_look_up_that_fails_is_a_call_to_the_provider(rig: Rig, failure: Exception, reason: Reason) -> None:
    rig.store.failure = failure
    decision = await rig.embed("a", "b")
    assert decision.outcome.reason == reason
    assert rig.provider.asked == [["a", "b"]]
    assert decision.outcome.stored_as is None


async def test_a_store_that_just_failed_is_not_tried_again_in_the_same_request(rig: Rig) -> None:
    rig.store.failure = StoreUnavailableError("away")
    decision = await rig.embed("a")
    assert decision.outcome.not_stored == NotStored.STORE_UNAVAILABLE
    assert rig.store.sizes == [1]


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (StoreFullError("full"), NotStored.STORE_FULL),
        (StoreUnavailableError("away"), NotStored.STORE_UNAVAILABLE),
        (ValueError("unforeseen"), NotStored.CACHE_ERROR),
    ],
    ids=lambda value: str(value),
)
async def test_storing_that_fails_costs_the_caller_nothing(rig: Rig, failure: Exception, why: NotStored) -> None:
    rig.store.failure = failure
    decision = await rig.embed("a", directives=Directives(no_cache=True))  # which does not look
    assert decision.outcome.not_stored == why


async def test_a_stored_vector_serves_until_its_time_is_over(rig: Rig) -> None:
    await rig.embed("a")
    rig.now_s += 59
    assert (await rig.embed("a")).outcome.hit is not None
    rig.now_s += 1
    assert (await rig.embed("a")).outcome.hit is None


async def test_a_batch_is_as_old_as_its_oldest_and_as_fresh_as_the_first_to_end(rig: Rig) -> None:
    await rig.embed("a")
    rig.now_s += 10
    await rig.embed("b")
    rig.now_s += 10
    outcome = (await rig.embed("a", "b")).outcome
    assert (outcome.age_s, outcome.ttl_s, outcome.entry) == (20, 40, None)


async def test_the_same_input_twice_in_a_batch_is_one_entry(rig: Rig) -> None:
    await rig.embed("a", "a")
    assert len(rig.store.kept) == 1
    assert (await rig.embed("a")).outcome.hit is not None


async def test_a_large_batch_is_read_and_written_in_parts_each_within_its_deadline(rig: Rig) -> None:
    await rig.embed(*map(str, range(MAX_INPUTS)))
    parts = MAX_INPUTS // AT_ONCE
    assert rig.store.sizes == [AT_ONCE] * 2 * parts
    assert rig.guard.entered == 2 * parts


async def test_a_compressed_answer_is_passed_on_unread(rig: Rig) -> None:
    rig.provider.headers = ((b"content-encoding", b"gzip"),)
    assert (await rig.embed("a")).outcome.not_stored == NotStored.ENCODED


async def test_what_a_user_or_a_session_stores_is_traced_before_it_is_there(rig: Rig) -> None:
    await rig.embed("a", "b", user="ada")
    assert [(trace.entry_key, before) for trace, before in rig.traces.left] == [(key, 0) for key in rig.store.kept]
    assert {trace.entry_id for trace, _ in rig.traces.left} == {one.entry_id for one in rig.store.kept.values()}
    await rig.embed("c", directives=Directives(session="s"))
    assert rig.traces.left[-1][0].session == "s"
    await rig.embed("d")
    assert len(rig.traces.left) == 3


async def test_vectors_are_listed_under_who_asked_for_what(rig: Rig) -> None:
    await rig.embed("a", directives=Directives(namespace="faq"))
    assert rig.store.abouts == [About("0a", "faq", "m", "embeddings")]
