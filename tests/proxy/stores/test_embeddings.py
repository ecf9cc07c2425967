"""Stored vectors against a real Redis: a batch is read and written in one round trip, bit for bit, until its time is over."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.models import About
from proxy.errors import StoreError
from proxy.stores import embeddings
from proxy.stores.embeddings import EmbeddingStore
from tests.builders import NOW_S

ABOUT = About(owner="0a", namespace="faq", model="text-embedding-3-small", family="embeddings")


@pytest.fixture
def store(client: Redis) -> EmbeddingStore:
    return EmbeddingStore(client)


def new_keys(count: int) -> list[str]:
    room = uuid.uuid4().hex
    return [keys.embedding_key(room, f"text {number}") for number in range(count)]


def made(redis_key: str, number: float = 0.5, **fields: Any) -> StoredEmbedding:
    vector = Vector(np.array([number, -0.0, 1e-30], dtype="<f4").tobytes(), Form.SINGLE)
    usual = {"model": "provider's", "tokens": 3, "is_estimated": True, "created_at": NOW_S + 0.25, "ttl_s": 60}
    return StoredEmbedding(keys.embedding_id(redis_key), vector, **{**usual, "tags": ("a", "b"), **fields})


async def test_a_batch_comes_back_as_it_was_in_the_order_asked_for(store: EmbeddingStore) -> None:
    at = new_keys(3)
    kept = [made(at[0], 1.5), made(at[1], 2.5, is_estimated=False, tokens=0)]
    await store.put(at[:2], kept, about=ABOUT)
    assert await store.get([at[2], at[1], at[0], at[1]]) == [None, kept[1], kept[0], kept[1]]


async def test_what_is_stored_anew_takes_the_place_of_the_old(store: EmbeddingStore) -> None:
    at = new_keys(1)
    await store.put(at, [made(at[0], 1.5)], about=ABOUT)
    newer = made(at[0], 2.5, tags=(), ttl_s=5)
    await store.put(at, [newer], about=ABOUT)
    assert await store.get(at) == [newer]


async def test_an_entry_says_what_it_is_listed_under_and_ends_with_its_time(
    store: EmbeddingStore, client: Redis
) -> None:
    at = new_keys(1)
    await store.put(at, [made(at[0], ttl_s=77)], about=ABOUT)
    fields = {name.decode(): value for name, value in (await client.hgetall(at[0])).items()}
    assert set(fields) == set(embeddings.field_names())
    assert (fields["namespace"], fields["model"], fields["family"]) == (
        b"faq",
        b"text-embedding-3-small",
        b"embeddings",
    )
    assert 0 < await client.ttl(at[0]) <= 77
    assert await client.zscore(keys.EXPIRY, at[0]) == NOW_S + 0.25 + 77, "the byte cap knows it"


async def test_a_large_batch_is_one_script_each_way(store: EmbeddingStore) -> None:
    at = new_keys(256)
    kept = [made(redis_key, float(number)) for number, redis_key in enumerate(at)]
    await store.put(at, kept, about=ABOUT)
    assert await store.get(at) == kept


async def test_writing_survives_a_redis_that_forgot_its_scripts(store: EmbeddingStore, client: Redis) -> None:
    at = new_keys(1)
    await client.script_flush()
    await store.put(at, [made(at[0])], about=ABOUT)
    await client.script_flush()
    assert await store.get(at) == [made(at[0])]


async def test_what_is_not_a_vector_there_is_an_error_of_ours(store: EmbeddingStore, client: Redis) -> None:
    at = new_keys(1)
    await client.set(at[0], "someone else's", ex=60)
    with pytest.raises(StoreError):
        await store.get(at)


async def test_a_vector_with_a_field_missing_is_not_there(store: EmbeddingStore, client: Redis) -> None:
    at = new_keys(1)
    await store.put(at, [made(at[0])], about=ABOUT)
    await client.hdel(at[0], "vector")
    assert await store.get(at) == [None]
