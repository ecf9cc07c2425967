"""How a named cache decides: what the judge is shown, what the threshold keeps from it, what a failing part costs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from embeddings.base import Embedding
from proxy.core import keys, named_caches
from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.gates import GateReason
from proxy.core.models import Candidate, Entry, Forwarded, HitKind, Reason
from proxy.core.named_caches import Content, Search
from proxy.core.routing import RouteReason
from proxy.errors import (
    EmbeddingError,
    IndexMissingError,
    StoreFullError,
    StoreLoadingError,
    StoreUnavailableError,
)
from proxy.services import named_caches as module
from proxy.services.background import Background
from proxy.services.named_caches import DROP_STEP, NamedCaches, Policy
from tests.builders import NOW_S

QUESTION = "How do I reset my password?"
REWORDED = "How can I reset my password?"
FINGERPRINT = "test"


class Store:
    """Entries in a dictionary, by their Redis keys; pointers by room and fingerprint."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Entry, str]] = {}
        self.pointers: dict[tuple[str, str], str] = {}
        self.puts: list[dict[str, Any]] = []
        self.drops: list[int] = []
        self.failure: Exception | None = None
        self.pages = 1
        self.flushed: dict[str, int] = {}
        self.is_full = False

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def flushes(self, flushes_key: str) -> int:
        self._fail()
        return self.flushed.get(flushes_key, 0)

    async def flush(self, flushes_key: str) -> int:
        self._fail()
        if self.is_full:
            raise StoreFullError("full")
        self.flushed[flushes_key] = self.flushed.get(flushes_key, 0) + 1
        return self.flushed[flushes_key] - 1

    async def put(self, entry: Entry, **fields: Any) -> None:
        self._fail()
        self.puts.append({"entry": entry, **fields})
        self.entries[fields["redis_key"]] = entry, fields["tags"]
        for fingerprint in fields["prints"]:
            self.pointers[fields["room"], fingerprint] = fields["redis_key"]

    async def find(self, room: str, prints: Sequence[str]) -> tuple[int, Entry] | None:
        self._fail()
        for position, fingerprint in enumerate(prints):
            redis_key = self.pointers.get((room, fingerprint))
            if redis_key in self.entries:
                return position, self.entries[redis_key][0]
        return None

    async def fetch(self, redis_key: str) -> Entry | None:
        self._fail()
        return self.entries[redis_key][0] if redis_key in self.entries else None

    async def locate(self, room: str, fingerprint: str) -> str | None:
        self._fail()
        return self.pointers.get((room, fingerprint))

    async def drop(self, room: str, redis_keys: Sequence[str], *, tag: str) -> int:
        self._fail()
        gone = [key for key in redis_keys if key in self.entries and tag in self.entries[key][1]]
        for key in gone:
            del self.entries[key]
        self.drops.append(len(redis_keys))
        return len(gone)

    async def scan(self, room: str, cursor: int) -> tuple[int, list[str]]:
        self._fail()
        mine = sorted(key for key in self.entries if f"{{{room}}}" in key) if cursor == 0 else []
        return (cursor + 1) % self.pages, mine


@dataclass
class Parts:
    """A named cache of doubles, and what the doubles are to say and were told."""

    offered: list[Candidate] = field(default_factory=list)
    accepts: Callable[[Candidate], bool] = lambda candidate: True
    objections: frozenset[GateReason] = frozenset()
    embedding: Embedding | Exception = field(
        default_factory=lambda: Embedding(np.ones(4, dtype=np.float32) / 2, 5, is_truncated=False)
    )
    search_failure: Exception | None = None
    now_s: float = NOW_S
    store: Store = field(default_factory=Store)
    judged: list[tuple[str, list[str], Scope, float | None]] = field(default_factory=list)
    partitions: list[tuple[str, int]] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    index_was_missing: int = 0

    fingerprint = FINGERPRINT

    async def embed(self, text: str, *, whose: str = "") -> Embedding:
        self.embedded.append(text)
        if isinstance(self.embedding, Exception):
            raise self.embedding
        return self.embedding

    async def nearest(self, partition: str, vector: Any, *, k: int, earlier: Any = None) -> list[Candidate]:
        self.partitions.append((partition, k))
        if self.search_failure is not None:
            raise self.search_failure
        return [one for one in self.offered if partition in self.tags[one.redis_key]]

    def level(self, scope: Scope) -> float:
        return 0.0

    async def judge(
        self,
        asked: str,
        candidates: Sequence[Candidate],
        *,
        scope: Scope,
        floor: float | None = None,
        is_follow_up: bool = False,
    ) -> Verdict:
        self.judged.append((asked, [one.question for one in candidates], scope, floor))
        looked = tuple(Judged(i, one.similarity, objections=self.objections) for i, one in enumerate(candidates))
        chosen = next((i for i, one in enumerate(candidates) if self.accepts(one)), None)
        return Verdict(chosen, None if chosen is not None else GateReason.NUMBER, judged=looked)

    async def merge_confidence(self, stored: str, asked: str, judged: Judged, *, scope: Scope) -> float | None:
        raise AssertionError("a named cache has no conversations")

    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield

    def _index_missing(self) -> None:
        self.index_was_missing += 1

    def __post_init__(self) -> None:
        self.background = Background()
        self.caches = NamedCaches(
            store=self.store,
            vectors=self,
            guard=self,
            embedder=self,
            judge=self,
            background=self.background,
            policy=Policy(0.05, 0.5, 3, 3600, 1 << 20, 1 << 20),
            on_index_missing=self._index_missing,
            now=lambda: self.now_s,
        )

    async def put(self, content: Content, *, distance: float = 0.05, ttl_ms: int | None = None) -> str:
        """Store, and let the index offer it."""
        public_id = await self.caches.put("t", "faq", content, ttl_ms=ttl_ms)
        put = self.store.puts[-1]
        entry: Entry = put["entry"]
        self.tags[put["redis_key"]] = put["tags"]
        self.offered.append(
            Candidate(put["redis_key"], entry.entry_id, content.prompt, distance, entry.created_at, entry.ttl_s)
        )
        self.embedded.clear()
        return public_id

    async def found(self, wanted: Search) -> list[str]:
        return [
            named_caches.public_id(match.entry.entry_id)
            for match in (await self.caches.search("t", "faq", wanted)).matches
        ]

    async def reason(self, wanted: Search) -> tuple[Forwarded | None, str | None]:
        found = await self.caches.search("t", "faq", wanted)
        assert not found.matches
        assert found.outcome.hit is None
        return found.outcome.fwd, found.outcome.reason


def content(prompt: str = QUESTION, **attributes: str) -> Content:
    return Content(prompt, "the answer", attributes)


async def test_the_judge_decides_in_the_partition_of_the_attributes_and_the_scope_of_the_cache() -> None:
    parts = Parts()
    entry_id = await parts.put(content(a="1"))
    assert await parts.found(Search(REWORDED, attributes={"a": "1"})) == [entry_id]
    room = keys.cache_room("t", "faq")
    assert parts.partitions == [(keys.attributes_tag(room, {"a": "1"}), 3)]
    assert parts.judged == [(REWORDED, [QUESTION], Scope("t", "/caches/faq"), None)]


async def test_a_match_tells_what_was_stored_how_near_it_was_and_who_found_it() -> None:
    parts = Parts()
    await parts.put(content(a="1"))
    found = await parts.caches.search("t", "faq", Search(REWORDED))
    (match,) = found.matches
    assert (match.content, match.strategy) == (content(a="1"), HitKind.SEMANTIC)
    assert match.similarity == pytest.approx(0.95)
    assert (found.outcome.hit, found.outcome.ttl_s) == (HitKind.SEMANTIC, 3600)
    assert found.outcome.similarity == pytest.approx(0.95)
    assert set(found.outcome.timings_ms) == {"lookup", "embed", "verify"}


async def test_the_same_text_needs_neither_model_nor_judge() -> None:
    parts = Parts(accepts=lambda candidate: False)
    entry_id = await parts.put(content())
    for strategies in ((HitKind.SEMANTIC,), (HitKind.EXACT,), (HitKind.SEMANTIC, HitKind.EXACT)):
        found = await parts.caches.search("t", "faq", Search(f" {QUESTION}\n", strategies, threshold=1.0))
        assert [named_caches.public_id(match.entry.entry_id) for match in found.matches] == [entry_id]
        assert found.outcome.hit is found.matches[0].strategy is strategies[0]
        assert found.matches[0].similarity == 1.0
    assert not parts.judged
    assert not parts.embedded


async def test_a_candidate_below_the_threshold_is_not_even_judged() -> None:
    parts = Parts()
    await parts.put(content(), distance=0.05)
    far = await parts.put(content("Passwords, how are they reset?"), distance=0.2)
    assert far not in await parts.found(Search(REWORDED, threshold=0.9, max_results=10))
    assert [questions for _, questions, _, _ in parts.judged] == [[QUESTION]]
    assert await parts.reason(Search(REWORDED, threshold=0.96)) == (Forwarded.MISS, Reason.BELOW_CONFIDENCE)


async def test_a_threshold_of_nothing_overrules_no_judge() -> None:
    parts = Parts(accepts=lambda candidate: False)
    await parts.put(content(), distance=0.0)
    assert await parts.reason(Search(REWORDED, threshold=0.0)) == (Forwarded.MISS, GateReason.NUMBER)


async def test_every_result_was_accepted_and_none_comes_twice() -> None:
    parts = Parts(accepts=lambda candidate: "never" not in candidate.question)
    same = await parts.put(content(REWORDED))
    first, _ = await parts.put(content()), await parts.put(content("It is never reset"))
    last = await parts.put(content("Reset a password, how?"))
    assert await parts.found(Search(REWORDED, max_results=9)) == [same, first, last]
    assert await parts.found(Search(REWORDED, max_results=2)) == [same, first]
    assert parts.partitions[0][1] == 9, "as many neighbours are looked at as may be returned"


async def test_upper_and_lower_case_pass_only_with_a_judge_without_objections() -> None:
    parts = Parts()
    entry_id = await parts.put(content())
    wanted = Search(QUESTION.upper(), (HitKind.EXACT,))
    assert await parts.found(wanted) == [entry_id]
    parts.objections = frozenset({GateReason.ENTITY})
    assert await parts.reason(wanted) == (Forwarded.MISS, GateReason.ENTITY)
    parts.accepts = lambda candidate: False
    assert await parts.reason(wanted) == (Forwarded.MISS, GateReason.NUMBER)


async def test_a_text_that_is_never_matched_by_meaning_needs_its_very_case() -> None:
    parts = Parts()
    order = "Send Bob 50 euros"
    await parts.put(content(order))
    assert await parts.found(Search(order, (HitKind.EXACT,)))
    assert not await parts.found(Search(order.lower(), (HitKind.EXACT,)))
    assert not parts.judged


@pytest.mark.parametrize(
    ("prompt", "embedding", "reason"),
    [
        ("Send Bob 50 euros", None, RouteReason.ACTION),
        ("What is TSLA trading at right now?", None, RouteReason.VOLATILE),
        ("Where is order 4711-A?", None, RouteReason.PERSONAL),
        (QUESTION, Embedding(np.ones(4, dtype=np.float32), 256, is_truncated=True), Reason.TEXT_TOO_LONG),
        (QUESTION, Embedding(np.ones(4, dtype=np.float32), 9, False, unknown_tokens=1), Reason.UNKNOWN_TOKENS),
        (QUESTION, EmbeddingError("too slow"), Reason.EMBEDDER_UNAVAILABLE),
    ],
    ids=["action", "volatile", "personal", "long", "unknown", "no-embedder"],
)
async def test_what_may_not_be_matched_by_meaning_is_stored_without_a_vector_and_not_searched(
    prompt: str, embedding: Embedding | Exception | None, reason: str
) -> None:
    parts = Parts() if embedding is None else Parts(embedding=embedding)
    await parts.put(content(prompt))
    put = parts.store.puts[-1]
    assert (put["vector"], put["entry"].question) == (None, "")
    assert await parts.found(Search(prompt)), "the same text is found all the same"
    assert await parts.reason(Search(f"{prompt} Please.")) == (Forwarded.MISS, reason)
    assert not parts.partitions


async def test_the_exact_strategy_alone_and_a_whole_conversation_are_not_embedded() -> None:
    parts = Parts()
    await parts.put(content())
    assert await parts.reason(Search(REWORDED, (HitKind.EXACT,))) == (Forwarded.MISS, Reason.MODE_EXACT)
    assert await parts.reason(Search(REWORDED, is_repeat_only=True)) == (Forwarded.MISS, Reason.MODE_EXACT)
    assert not parts.embedded


async def test_what_is_stale_or_gone_meanwhile_is_not_found() -> None:
    parts = Parts()
    await parts.put(content(), ttl_ms=1_000)
    parts.store.pointers.clear()
    parts.now_s += 2
    assert await parts.reason(Search(REWORDED)) == (Forwarded.MISS, Reason.NO_CANDIDATE)
    parts.now_s -= 2
    parts.store.entries.clear()
    assert (await parts.reason(Search(REWORDED)))[0] is Forwarded.MISS


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StoreUnavailableError("silent"), Reason.REDIS_UNAVAILABLE),
        (StoreLoadingError("loading"), Reason.INDEX_LOADING),
        (IndexMissingError("no index"), Reason.INDEX_LOADING),
        (ZeroDivisionError(), Reason.CACHE_ERROR),
    ],
    ids=["silent", "loading", "no-index", "unforeseen"],
)
async def test_a_failing_part_is_no_match_and_a_named_reason(failure: Exception, reason: Reason) -> None:
    parts = Parts(search_failure=failure)
    await parts.put(content())
    assert await parts.reason(Search(REWORDED)) == (Forwarded.BYPASS, reason)
    assert parts.index_was_missing == isinstance(failure, IndexMissingError)
    assert parts.caches.active == 0
    same = await parts.caches.search("t", "faq", Search(QUESTION, max_results=2))
    assert len(same.matches) == 1, "what was found before that stands"
    parts.store.failure = failure
    assert (await parts.reason(Search(QUESTION)))[0] is Forwarded.BYPASS


async def test_what_was_not_stored_or_deleted_is_an_error() -> None:
    parts = Parts()
    entry_id = await parts.put(content())
    parts.store.failure = StoreFullError("full")
    with pytest.raises(StoreFullError):
        await parts.caches.put("t", "faq", content(), ttl_ms=None)
    with pytest.raises(StoreFullError):
        await parts.caches.delete("t", "faq", entry_id)
    with pytest.raises(StoreFullError):
        await parts.caches.delete_matching("t", "faq", {})
    with pytest.raises(StoreFullError):
        await parts.caches.flush("t", "faq")
    assert parts.caches.active == 0


@pytest.mark.parametrize(
    ("ttl_ms", "kept_ms", "ttl_s"),
    [(None, 3_600_000, 3600), (1, 1, 1), (1_500, 1_500, 2), (60_000, 60_000, 60)],
    ids=["default", "least", "between", "minute"],
)
async def test_a_time_to_live_is_kept_to_the_millisecond(ttl_ms: int | None, kept_ms: int, ttl_s: int) -> None:
    parts = Parts()
    await parts.put(content(), ttl_ms=ttl_ms)
    assert (parts.store.puts[-1]["ttl_ms"], parts.store.puts[-1]["entry"].ttl_s) == (kept_ms, ttl_s)


async def test_deleting_by_id_stays_within_tenant_and_cache() -> None:
    parts = Parts()
    entry_id = await parts.put(content())
    assert not await parts.caches.delete("u", "faq", entry_id)
    assert not await parts.caches.delete("t", "other", entry_id)
    assert await parts.caches.delete("t", "faq", entry_id)
    assert not await parts.caches.delete("t", "faq", entry_id)


async def test_deleting_by_attributes_goes_in_steps_and_counts_once() -> None:
    parts = Parts()
    for number in range(2 * DROP_STEP + 1):
        await parts.put(content(f"q {number}", shop="a", parity=str(number % 2)))
    parts.store.pages = 3
    assert await parts.caches.delete_matching("t", "faq", {"shop": "a", "parity": "1"}) == DROP_STEP
    assert max(parts.store.drops) == DROP_STEP
    assert await parts.caches.delete_matching("u", "faq", {}) == 0
    assert await parts.caches.delete_matching("t", "faq", {}) == DROP_STEP + 1
    assert parts.store.entries == {}


async def test_a_flush_empties_one_cache_and_frees_its_room() -> None:
    parts = Parts()
    for tenant, cache_id in (("t", "faq"), ("t", "other"), ("u", "faq")):
        await parts.caches.put(tenant, cache_id, content(), ttl_ms=None)
    await parts.caches.flush("t", "faq")
    assert not await parts.found(Search(QUESTION))
    assert len(parts.store.entries) == 2
    for tenant, cache_id in (("t", "other"), ("u", "faq")):
        assert (await parts.caches.search(tenant, cache_id, Search(QUESTION))).matches
    entry_id = await parts.put(content())
    assert await parts.found(Search(QUESTION)) == [entry_id]
    assert await parts.caches.delete("t", "faq", entry_id)


async def test_a_flushed_cache_is_empty_before_its_room_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, go_on = Parts(), asyncio.Event()
    monkeypatch.setattr(module, "FREE_WAIT_S", 0.01)
    await parts.put(content())
    scan = parts.store.scan

    async def slowly(room: str, cursor: int) -> tuple[int, list[str]]:
        await go_on.wait()
        return await scan(room, cursor)

    monkeypatch.setattr(parts.store, "scan", slowly)
    await parts.caches.flush("t", "faq")
    assert not await parts.found(Search(QUESTION))
    assert len(parts.store.entries) == 1
    go_on.set()
    async with asyncio.timeout(5):
        while parts.store.entries:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await parts.background.aclose()


async def test_a_full_redis_is_flushed_all_the_same() -> None:
    parts = Parts()
    await parts.put(content())
    parts.store.is_full = True
    await parts.caches.flush("t", "faq")
    assert parts.store.entries == {}
    assert not await parts.found(Search(QUESTION))


async def test_a_redis_that_goes_while_room_is_freed_fails_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    await parts.put(content())

    async def fail(room: str, cursor: int) -> tuple[int, list[str]]:
        raise StoreUnavailableError("silent")

    monkeypatch.setattr(parts.store, "scan", fail)
    await parts.caches.flush("t", "faq")
    assert not await parts.found(Search(QUESTION))
