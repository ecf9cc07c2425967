"""What is sealed is read by who has the key, and by nobody else, from Redis as well."""

from __future__ import annotations

import base64
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.keys import LookUpKeys, Place
from proxy.core.models import ContextRecord, Entry, WireMode
from proxy.stores.entries import EntryStore
from proxy.stores.responses import ResponseStore
from proxy.stores.sealing import MARK, NO_SEAL, NoSeal, Seal, seal_of
from tests.builders import ABOUT

ONE, OTHER = b"1" * 32, b"2" * 32
SECRET = "What is the word of the day, heirloom?"
ANSWER = b'{"choices": "the word is heirloom"}'


@given(st.binary(max_size=300), st.text(max_size=20))
def test_what_was_sealed_comes_back_for_its_entry_and_field_alone(text: bytes, entry_id: str) -> None:
    seal = Seal([ONE])
    sealed = seal.seal(text, entry_id=entry_id, field="body")
    assert seal.open(sealed, entry_id=entry_id, field="body") == text
    if text:
        assert seal.open(sealed, entry_id=entry_id + "x", field="body") is None
        assert seal.open(sealed, entry_id=entry_id, field="question") is None
        assert Seal([OTHER]).open(sealed, entry_id=entry_id, field="body") is None
        assert sealed != seal.seal(text, entry_id=entry_id, field="body")


@given(st.data())
def test_what_was_altered_is_not_there(data: st.DataObject) -> None:
    sealed = bytearray(Seal([ONE]).seal(ANSWER, entry_id="e", field="body"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] = data.draw(st.integers(0, 255).filter(lambda value: value != sealed[at]))
    assert Seal([ONE]).open(bytes(sealed), entry_id="e", field="body") is None


@given(st.binary(min_size=1, max_size=60))
def test_what_never_was_sealed_is_not_there_either(text: bytes) -> None:
    for raw in (text, MARK + text):
        assert Seal([ONE]).open(raw, entry_id="e", field="body") is None


def test_keys_change_by_putting_the_new_one_first() -> None:
    old = Seal([ONE]).seal(ANSWER, entry_id="e", field="body")
    both = Seal([OTHER, ONE])
    assert both.open(old, entry_id="e", field="body") == ANSWER
    assert Seal([OTHER]).open(both.seal(ANSWER, entry_id="e", field="body"), entry_id="e", field="body") == ANSWER


def test_keys_are_32_bytes_in_base64_and_without_any_nothing_is_sealed() -> None:
    assert isinstance(seal_of([base64.b64encode(ONE).decode()]), Seal)
    assert isinstance(seal_of([]), NoSeal)
    for wrong in ("short", base64.b64encode(b"1" * 16).decode(), "ä"):
        with pytest.raises(ValueError):
            seal_of([wrong])


# --- in Redis ---------------------------------------------------------------------------------------------------------------------


async def put(client: Redis, seal: Seal | NoSeal) -> tuple[str, LookUpKeys, str]:
    """Store an entry: its Redis key, where it is looked up, its owner."""
    room, entry_id = uuid.uuid4().hex, f"ent_{uuid.uuid4().hex}"
    redis_key = keys.entry_key("test", room, entry_id)
    await ResponseStore(client, seal).put(
        Entry(entry_id, SECRET, ANSWER, WireMode.JSON, created_at=4e9, ttl_s=60),
        redis_key=redis_key,
        partition="aa",
        vector=None,
        exact_key=keys.exact_key(room, "f"),
        context_key=None,
        condemned_key=keys.condemned_key(room),
        record=ContextRecord(entry_id, 1.0, ()),
        about=ABOUT,
    )
    return redis_key, keys.look_up_keys(Place(room, "f", None, "t"), None), ABOUT.owner


async def test_in_redis_nothing_of_question_or_answer_can_be_read(client: Redis) -> None:
    redis_key, _, _ = await put(client, Seal([ONE]))
    fields = await client.hgetall(redis_key)  # type: ignore[misc]
    assert not any(b"heirloom" in value for value in fields.values())
    plain, _, _ = await put(client, NO_SEAL)
    assert (await client.hget(plain, "body")) == ANSWER  # type: ignore[misc]


async def test_who_has_the_key_reads_the_entry_and_for_others_it_is_a_miss(client: Redis) -> None:
    redis_key, at, _ = await put(client, Seal([ONE]))
    found, _, _ = await ResponseStore(client, Seal([OTHER, ONE])).look_up(at)
    assert found is not None
    assert (found.question, found.body) == (SECRET, ANSWER)
    for seal in (Seal([OTHER]), NO_SEAL):
        store = ResponseStore(client, seal)
        assert (await store.look_up(at))[0] is None
        assert await store.fetch(redis_key) is None


async def test_an_entry_from_before_is_a_miss_where_keys_are_set(client: Redis) -> None:
    _, at, _ = await put(client, NO_SEAL)
    assert (await ResponseStore(client, Seal([ONE])).look_up(at))[0] is None


async def test_an_entry_that_got_anothers_texts_is_a_miss(client: Redis) -> None:
    seal = Seal([ONE])
    mine, at, _ = await put(client, seal)
    other, _, _ = await put(client, seal)
    stolen = await client.hget(other, "body")  # type: ignore[misc]
    await client.hset(mine, "body", stolen)  # type: ignore[misc, arg-type]
    assert (await ResponseStore(client, seal).look_up(at))[0] is None


async def test_its_tenant_lists_and_reads_what_is_sealed(client: Redis) -> None:
    redis_key, _, owner = await put(client, Seal([ONE]))
    entry_id = redis_key.rpartition(":")[2]
    for seal, question, count in ((Seal([ONE]), SECRET, 1), (Seal([OTHER]), "", 0)):
        store = EntryStore(client, seal)
        one = await store.find(owner, entry_id)
        assert one is not None
        assert one.question == question
        contents = [fields for fields in await store.contents([redis_key]) if fields]
        assert [fields["body"] for fields in contents] == [ANSWER] * count
