"""LangCache's REST shape through its unmodified SDK: a real process, a real Redis, the real model."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis
from langcache import LangCache, errors
from langcache.models import SearchStrategy

from tests.deja_process import DejaProcess, running_deja
from tests.redis_server import private_server

QUESTION = "How do I reset my password?"
REWORDED = "How can I reset my password?"
OTHER = "How do I reset my username?"
ANSWER = "Choose “Forgot password” and follow the mail."
EXACT, SEMANTIC = SearchStrategy.EXACT, SearchStrategy.SEMANTIC

NewCache = Callable[..., LangCache]


@pytest.fixture
def new_cache(deja: DejaProcess) -> Iterator[NewCache]:
    """Makes SDK clients, each a tenant of its own unless told which."""
    made: list[LangCache] = []

    def make(api_key: str | None = None, cache_id: str = "faq") -> LangCache:
        made.append(opened(deja, api_key or f"key-{uuid.uuid4()}", cache_id))
        return made[-1]

    yield make
    for cache in made:
        cache.__exit__(None, None, None)


@pytest.fixture
def cache(new_cache: NewCache) -> LangCache:
    return new_cache()


def opened(deja: DejaProcess, api_key: str = "key", cache_id: str = "faq") -> LangCache:
    return LangCache(server_url=deja.root, cache_id=cache_id, api_key=api_key, timeout_ms=20_000)


def found(cache: LangCache, prompt: str = QUESTION, **wanted: Any) -> list[str]:
    """The ids that a search finds."""
    return [entry.id for entry in cache.search(prompt=prompt, **wanted).data]


def put(cache: LangCache, prompt: str = QUESTION, response: str = ANSWER, **fields: Any) -> str:
    return cache.set(prompt=prompt, response=response, **fields).entry_id


# ── set and search ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_stored_is_found_as_it_was_stored(cache: LangCache) -> None:
    attributes = {"language": "en", "topic": "a,b {c} ü"}
    entry_id = put(cache, prompt=f"  {QUESTION}\n", attributes=attributes)
    (entry,) = cache.search(prompt=QUESTION).data
    assert len(entry_id) == 32
    assert set(entry_id) <= set("0123456789abcdef")
    assert entry.model_dump() == {
        "id": entry_id,
        "prompt": f"  {QUESTION}\n",
        "response": ANSWER,
        "attributes": attributes,
        "similarity": 1.0,
        "search_strategy": SEMANTIC,
    }


def test_a_rewording_is_found_by_meaning_with_its_similarity(cache: LangCache) -> None:
    entry_id = put(cache)
    (entry,) = cache.search(prompt=REWORDED).data
    assert entry.id == entry_id
    assert entry.search_strategy == SEMANTIC
    assert 0.9 < entry.similarity < 1.0


def test_a_neighbour_that_means_something_else_is_not_found(cache: LangCache) -> None:
    put(cache)
    assert found(cache, OTHER) == []
    assert found(cache, OTHER, similarity_threshold=0.0) == []


def test_the_exact_strategy_finds_the_same_text_alone(cache: LangCache) -> None:
    entry_id = put(cache)
    assert found(cache, search_strategies=[EXACT]) == [entry_id]
    assert cache.search(prompt=QUESTION, search_strategies=[EXACT]).data[0].search_strategy == EXACT
    assert found(cache, REWORDED, search_strategies=[EXACT]) == []
    assert found(cache, REWORDED, search_strategies=[EXACT, SEMANTIC]) == [entry_id]


def test_the_exact_strategy_looks_past_upper_and_lower_case(cache: LangCache) -> None:
    entry_id = put(cache)
    assert found(cache, QUESTION.upper(), search_strategies=[EXACT]) == [entry_id]


def test_case_that_changes_the_meaning_is_not_looked_past(cache: LangCache) -> None:
    put(cache, "How do I contact us?")
    assert found(cache, "How do I contact US?", search_strategies=[EXACT]) == []


def test_storing_again_replaces_the_answer(cache: LangCache) -> None:
    old = put(cache, attributes={"a": "1"})
    new = put(cache, response="Ask the administrator.", attributes={"a": "1"})
    other = put(cache, response="For b.", attributes={"a": "2"})
    assert found(cache, REWORDED, attributes={"a": "1"}, max_results=5) == [new]
    assert found(cache, attributes={"a": "2"}) == [other]
    with pytest.raises(errors.NotFoundErrorResponseContent):
        cache.delete_by_id(entry_id=old)


@pytest.mark.parametrize(
    "prompt",
    ["Send Bob 50 euros", "What is TSLA trading at right now?", "Where is order 4711-A?", "word " * 900, "谢谢 🎉"],
    ids=["action", "volatile", "personal", "long", "unknown-signs"],
)
def test_what_is_never_matched_by_meaning_is_found_by_the_same_text(cache: LangCache, prompt: str) -> None:
    entry_id = put(cache, prompt)
    assert found(cache, prompt) == [entry_id]
    assert found(cache, f"{prompt} please") == []


def test_no_more_is_found_than_was_asked_for_and_all_of_it_serves(cache: LangCache) -> None:
    ids = {
        put(cache, response=f"For {language}.", attributes={"language": language}) for language in ("en", "de", "fr")
    }
    put(cache, OTHER)
    assert len(found(cache, REWORDED)) == 1
    assert set(found(cache, REWORDED, max_results=10)) == ids
    assert len(found(cache, REWORDED, max_results=2)) == 2


def test_the_threshold_is_a_floor_beside_the_judge(cache: LangCache) -> None:
    put(cache)
    similarity = cache.search(prompt=REWORDED).data[0].similarity
    assert found(cache, REWORDED, similarity_threshold=similarity - 0.001)
    assert not found(cache, REWORDED, similarity_threshold=min(1.0, similarity + 0.001))
    assert found(cache, QUESTION, similarity_threshold=1.0), "the same text is as similar as can be"


def test_a_search_that_finds_nothing_is_no_error(cache: LangCache) -> None:
    assert cache.search(prompt="Is anything here?").data == []


def test_a_search_says_what_became_of_it(deja: DejaProcess) -> None:
    key = {"Authorization": f"Bearer {uuid.uuid4()}"}
    url = f"{deja.base_url}/caches/faq/entries"
    httpx.post(url, json={"prompt": QUESTION, "response": ANSWER, "ttlMillis": 60_000}, headers=key)
    # As in LangCache's own examples for curl, whose -d claims a form.
    form = key | {"Content-Type": "application/x-www-form-urlencoded"}
    hit = httpx.post(f"{url}/search", content=f'{{"prompt": "{REWORDED}"}}', headers=form)
    miss = httpx.post(f"{url}/search", json={"prompt": "What is rust?"}, headers=key)
    exact = httpx.post(f"{url}/search", json={"prompt": "What is rust?", "searchStrategies": ["exact"]}, headers=key)
    assert hit.headers["cache-status"].startswith("deja; hit; detail=semantic; ttl=")
    assert hit.headers["cache-status"].endswith(f'key="ent_{hit.json()["data"][0]["id"]}"')
    assert "embed" in hit.headers["server-timing"]
    assert miss.headers["cache-status"] in (
        "deja; fwd=miss; detail=below-confidence",
        "deja; fwd=miss; detail=verifier",
    )
    assert exact.headers["cache-status"] == "deja; fwd=miss; detail=mode-exact"
    metrics = httpx.get(f"{deja.root}/metrics").text
    assert 'deja_requests_total{outcome="semantic",reason="",route="langcache"}' in metrics


# ── attributes ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("strategies", [[EXACT], [SEMANTIC]], ids=["exact", "semantic"])
def test_a_search_finds_what_has_all_its_attributes(cache: LangCache, strategies: list[SearchStrategy]) -> None:
    entry_id = put(cache, attributes={"language": "en", "plan": "pro"})

    def reaches(**attributes: str) -> bool:
        return found(cache, attributes=attributes, search_strategies=strategies) == [entry_id]

    assert reaches()
    assert reaches(language="en")
    assert reaches(plan="pro")
    assert reaches(plan="pro", language="en")
    assert not reaches(language="de")
    assert not reaches(language="EN")
    assert not reaches(language="en", plan="free")
    assert not reaches(language="en", plan="pro", region="eu")
    assert not reaches(plan="en", language="pro")


def test_attributes_wall_off_a_rewording(cache: LangCache) -> None:
    for shop in ("a", "b"):
        put(cache, response=f"At shop {shop}.", attributes={"shop": shop})
    assert [
        entry.response for entry in cache.search(prompt=REWORDED, attributes={"shop": "b"}, max_results=5).data
    ] == ["At shop b."]
    assert found(cache, REWORDED, attributes={"shop": "c"}) == []


def test_five_attributes_may_be_named_in_any_part(cache: LangCache) -> None:
    attributes = {f"name-{number}": f"value {number}" for number in range(5)}
    entry_id = put(cache, attributes=attributes)
    assert found(cache, attributes=attributes) == [entry_id]
    assert found(cache, REWORDED, attributes=dict(list(attributes.items())[1:4])) == [entry_id]


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_entry_stays_as_long_as_was_asked_and_no_longer(cache: LangCache, deja: DejaProcess) -> None:
    put(cache, ttl_millis=1_200)
    stored_at = time.monotonic()
    assert found(cache, REWORDED)
    while found(cache, REWORDED) or found(cache, search_strategies=[EXACT]):
        assert time.monotonic() - stored_at < 10
        time.sleep(0.05)
    assert time.monotonic() - stored_at > 0.9


# ── deleting ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deleted_entry_is_gone_and_others_are_not(cache: LangCache) -> None:
    gone, stays = put(cache), put(cache, "How tall is the Eiffel tower?")
    cache.delete_by_id(entry_id=gone)
    assert found(cache, max_results=5, search_strategies=[EXACT, SEMANTIC]) == []
    assert found(cache, REWORDED) == []
    assert found(cache, "How tall is the Eiffel tower?") == [stays]
    with pytest.raises(errors.NotFoundErrorResponseContent):
        cache.delete_by_id(entry_id=gone)


def test_deleting_by_attributes_takes_what_has_all_of_them(cache: LangCache) -> None:
    def fill(question: str, **attributes: str) -> str:
        return put(cache, question, attributes=attributes)

    fill("How tall is the Eiffel tower?", shop="a", language="en")
    fill("How deep is the ocean?", shop="a", language="en", plan="pro")
    german = fill("How old is the universe?", shop="a", language="de")
    other = fill("How far is the moon?", shop="b", language="en")
    assert cache.delete_query(attributes={"shop": "a", "language": "en"}).deleted_entries_count == 2
    assert found(cache, "How deep is the ocean?") == []
    assert found(cache, "How old is the universe?") == [german]
    assert found(cache, "How far is the moon?") == [other]
    assert cache.delete_query(attributes={"shop": "c"}).deleted_entries_count == 0
    assert cache.delete_query(attributes={}).deleted_entries_count == 2
    assert found(cache, "How far is the moon?") == []


def test_flushing_empties_this_cache_alone(new_cache: NewCache) -> None:
    key = str(uuid.uuid4())
    mine, other_cache, other_tenant = new_cache(key), new_cache(key, "other"), new_cache()
    for number in range(60):
        put(mine, f"What is the boiling point of element number {number}?")
    kept = put(other_cache), put(other_tenant)
    mine.flush()
    assert found(mine, "What is the boiling point of element number 7?") == []
    assert mine.delete_query(attributes={}).deleted_entries_count == 0
    assert (found(other_cache, REWORDED), found(other_tenant, REWORDED)) == ([kept[0]], [kept[1]])
    fresh = put(mine)
    assert found(mine, REWORDED) == [fresh]
    mine.delete_by_id(entry_id=fresh)


# ── walls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_key_sees_nothing_and_deletes_nothing(new_cache: NewCache) -> None:
    mine, theirs = new_cache(), new_cache()
    entry_id = put(mine, attributes={"a": "1"})
    for strategies in ([EXACT], [SEMANTIC]):
        assert found(theirs, search_strategies=strategies) == []
    with pytest.raises(errors.NotFoundErrorResponseContent):
        theirs.delete_by_id(entry_id=entry_id)
    assert theirs.delete_query(attributes={"a": "1"}).deleted_entries_count == 0
    theirs.flush()
    assert found(mine) == [entry_id]


def test_another_cache_of_the_same_key_sees_nothing(new_cache: NewCache) -> None:
    key = str(uuid.uuid4())
    one, other = new_cache(key, "one"), new_cache(key, "two")
    entry_id = put(one)
    assert found(other) == []
    with pytest.raises(errors.NotFoundErrorResponseContent):
        other.delete_by_id(entry_id=entry_id)


def test_completions_and_named_caches_share_nothing(deja: DejaProcess, new_cache: NewCache, upstream: Any) -> None:
    key = str(uuid.uuid4())
    put(new_cache(key), response="from the cache")
    body = {"model": "m", "messages": [{"role": "user", "content": QUESTION}]}
    headers = {"Authorization": f"Bearer {key}", "X-Deja-Namespace": "faq"}
    answer = httpx.post(f"{deja.base_url}/chat/completions", json=body, headers=headers)
    assert answer.headers["cache-status"].startswith("deja; fwd=miss; stored")
    assert "from the cache" not in answer.text
    assert found(new_cache(key, "empty")) == []


# ── conversations ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_conversation_is_found_by_all_of_its_words_and_never_by_its_last_alone(cache: LangCache) -> None:
    put(cache, "And what does it cost?", "Nothing.")
    asked: dict[str, Any] = {"prompt": "And what does it cost?", "context": ["How do I travel to Rome?"]}
    first = cache.conversational_search(**asked)
    assert first.data == []
    assert first.actual_prompt == "How do I travel to Rome?\nAnd what does it cost?"
    entry_id = put(cache, first.actual_prompt, "50 €")
    assert [entry.id for entry in cache.conversational_search(**asked).data] == [entry_id]
    assert cache.conversational_search(prompt="And what does it cost?", context=["How do I fly to Rome?"]).data == []
    alone = cache.conversational_search(prompt="And what does it cost?")
    assert alone.actual_prompt == "And what does it cost?"
    assert [entry.response for entry in alone.data] == ["Nothing."]


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("prompt", lambda cache: cache.search(prompt=" ")),
        ("prompt", lambda cache: cache.set(prompt="x" * 40_000, response="r")),
        ("similarityThreshold", lambda cache: cache.search(prompt="q", similarity_threshold=1.5)),
        ("searchStrategies", lambda cache: cache.search(prompt="q", search_strategies=["psychic"])),
        ("maxResults", lambda cache: cache.search(prompt="q", max_results=0)),
        ("ttlMillis", lambda cache: cache.set(prompt="q", response="r", ttl_millis=0)),
        ("attributes", lambda cache: cache.set(prompt="q", response="r", attributes={"a b": "c"})),
        ("attributes", lambda cache: cache.search(prompt="q", attributes=dict.fromkeys("abcdef", "1"))),
        ("attributes.a", lambda cache: cache.delete_query(attributes={"a": ""})),
    ],
    ids=[
        "empty",
        "long",
        "threshold",
        "strategy",
        "results",
        "ttl",
        "attribute-name",
        "attribute-count",
        "attribute-value",
    ],
)
def test_a_wrong_field_is_named(cache: LangCache, field: str, call: Callable[[LangCache], object]) -> None:
    with pytest.raises(errors.BadRequestErrorResponseContent) as raised:
        call(cache)
    problem = raised.value.data
    assert (raised.value.status_code, problem.status, problem.title) == (400, 400, "Invalid data")
    assert problem.detail is not None
    assert field in problem.detail
    assert problem.fields is not None
    assert problem.fields[0].field == field


def test_an_id_that_is_none_is_not_found(cache: LangCache) -> None:
    with pytest.raises(errors.NotFoundErrorResponseContent) as raised:
        cache.delete_by_id(entry_id="no-such-id")
    assert raised.value.data.status == 404


def test_a_cache_of_an_impossible_name_is_refused(new_cache: NewCache) -> None:
    with pytest.raises(errors.BadRequestErrorResponseContent) as raised:
        new_cache(cache_id="-").search(prompt="q")
    assert "cacheId" in str(raised.value.data.detail)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"prompt": "q", "newFilter": 1}', b'{"prompt": "\xff"}', b"[" * 9999],
    ids=["empty", "torn", "list", "unknown-field", "not-utf8", "deep"],
)
def test_a_body_that_cannot_be_read_is_refused_in_the_same_shape(deja: DejaProcess, body: bytes) -> None:
    answer = httpx.post(f"{deja.base_url}/caches/faq/entries/search", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["type"] == "/errors/invalid-data"


# ── the asynchronous half of the SDK ──────────────────────────────────────────────────────────────────────────────


async def test_every_method_works_asynchronously(deja: DejaProcess) -> None:
    async with opened(deja, str(uuid.uuid4())) as cache:
        entry_id = (await cache.set_async(prompt=QUESTION, response=ANSWER, attributes={"a": "1"})).entry_id
        assert [entry.id for entry in (await cache.search_async(prompt=REWORDED)).data] == [entry_id]
        assert (await cache.conversational_search_async(prompt=QUESTION)).data[0].id == entry_id
        assert (await cache.delete_query_async(attributes={"a": "2"})).deleted_entries_count == 0
        await cache.delete_by_id_async(entry_id=entry_id)
        await cache.set_async(prompt=QUESTION, response=ANSWER)
        await cache.flush_async()
        assert (await cache.search_async(prompt=QUESTION)).data == []
        with pytest.raises(errors.NotFoundErrorResponseContent):
            await cache.delete_by_id_async(entry_id=entry_id)


# ── another client ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_redisvls_langcache_works_as_it_is(deja: DejaProcess) -> None:
    from redisvl.extensions.cache.llm import LangCacheSemanticCache

    cache: Any = LangCacheSemanticCache(
        name="any", server_url=deja.root, cache_id="faq", api_key=str(uuid.uuid4()), ttl=60
    )
    entry_id = cache.store(QUESTION, ANSWER, metadata={"topic": "a/b, c"})
    (hit,) = cache.check(REWORDED, attributes={"topic": "a/b, c"}, distance_threshold=0.1)
    assert (hit["entry_id"], hit["response"], hit["metadata"]) == (entry_id, ANSWER, {"topic": "a/b, c"})
    assert cache.check(REWORDED, attributes={"topic": "d"}) == []
    assert await cache.acheck(OTHER) == []
    assert await cache.acheck(QUESTION.upper())
    cache.delete_by_attributes({"topic": "a/b, c"})
    assert cache.check(QUESTION) == []
    cache.store(QUESTION, ANSWER)
    cache.clear()
    assert cache.check(QUESTION) == []


# ── processes of their own: keys, limits, a Redis that fails ──────────────────────────────────────────────────────


def test_keys_are_asked_for_and_sizes_bounded() -> None:
    limits = {"DEJA_LIMITS__BODY_BYTES": "4096", "DEJA_LIMITS__ANSWER_BYTES": "1024"}
    with running_deja(until="serving", DEJA_AUTH__KEYS="right", **limits) as deja:
        with opened(deja, "wrong") as cache, pytest.raises(errors.AuthenticationErrorResponseContent) as refused:
            cache.search(prompt="q")
        assert refused.value.data.status == 401
        with opened(deja, "right") as cache:
            assert cache.search(prompt="q").data == []
            for response in ("x" * 2000, "x" * 5000):
                with pytest.raises(errors.PayloadTooLargeErrorResponseContent) as large:
                    cache.set(prompt="q", response=response)
                assert large.value.data.status == 413


@pytest.mark.timeout(120)
def test_a_redis_that_fails_is_no_match_for_a_search_and_an_error_for_a_set() -> None:
    with (
        private_server() as server,
        running_deja(DEJA_REDIS__URL=server.url) as deja,
        redis.Redis.from_url(server.url) as plain,
        opened(deja) as cache,
    ):
        entry_id = put(cache)
        plain.config_set("maxmemory-policy", "noeviction")
        plain.config_set("maxmemory", "1mb")
        with pytest.raises(errors.FailedDependencyErrorResponseContent) as full:
            put(cache, "How far is the moon?")
        assert full.value.data.type == "/errors/database-out-of-memory"
        assert found(cache) == [entry_id], "what is there is found"
        assert cache.delete_query(attributes={}).deleted_entries_count == 1, "and deleting makes room"
        cache.flush()
        plain.config_set("maxmemory", "0")
        put(cache)
        cache.flush()
        assert plain.keys("deja:v1:entry:*") == plain.keys("deja:v1:exact:*") == [], "a small cache is freed at once"
        server.stop()
        assert found(cache) == []
        gone = httpx.post(
            f"{deja.base_url}/caches/faq/entries/search", json={"prompt": "q"}, headers={"Authorization": "Bearer key"}
        )
        assert (gone.status_code, gone.json()) == (200, {"data": []})
        assert gone.headers["cache-status"] == "deja; fwd=bypass; detail=redis-unavailable"
        for call in (lambda: put(cache), lambda: cache.delete_by_id(entry_id=entry_id), cache.flush):
            with pytest.raises(errors.FailedDependencyErrorResponseContent) as failed:
                call()
            assert failed.value.data.type == "/errors/resource-unavailable"
            assert failed.value.data.status == 424
