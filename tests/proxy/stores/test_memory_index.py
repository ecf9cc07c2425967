"""Finding memories on a real Redis: filters are exact, no text is syntax, and nothing of another tenant is ever found."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from proxy.core.memory import words
from proxy.core.memory.conditions import fulfils
from proxy.core.memory.ranking import Seat
from proxy.core.memory.records import Conditions, Labels, Match, Memory, MemoryType, Period
from proxy.errors import IndexMissingError, RequestError
from proxy.stores import memory_index
from tests.proxy.core.memory.builders import DAY, NAMES, NOW, WORDS, conditions, memory
from tests.proxy.stores.memory_doubles import Shelf, axis

SAMPLE = 250


@pytest.fixture
async def shelf(client: Redis) -> AsyncIterator[Shelf]:
    opened = await Shelf(client).open()
    yield opened
    await client.execute_command("FT.DROPINDEX", opened.index.name)  # type: ignore[no-untyped-call]


async def found(shelf: Shelf, wanted: Conditions, *, as_of: float | None = None, tenant: str | None = None) -> set[str]:
    tenant = tenant or shelf.tenant
    narrowed = await shelf.index.narrowed(tenant, wanted, as_of=as_of, now=NOW)
    if narrowed is None:
        return set()
    listed, total = await shelf.index.newest(tenant, narrowed, offset=0, limit=1000)
    near = await shelf.index.nearest(tenant, narrowed, axis(0), 1000)
    assert total == len(listed)
    assert {each.memory_id for each, _ in near} == {each.memory_id for each in listed}
    return {each.memory_id for each in listed}


def sampled(count: int, seed: int) -> list[Memory]:
    """Memories of every shape, by chance but the same each time."""
    rng = random.Random(seed)
    names = [word for word in WORDS if word]

    def maybe(values: list[float] | list[str]) -> object:
        return rng.choice([None, *values])

    times = [NOW - 2 * DAY, NOW - 0.25, NOW, NOW + 0.000001, NOW + DAY, 0.0, -5.0]
    return [
        memory(
            f"m{number}", rng.choice(["User likes tea", "a b c", "Nothing"]), memory_type=rng.choice(list(MemoryType)), user=maybe(names),
            session=maybe(names), namespace=maybe(names), topics=tuple(rng.sample(names, rng.randrange(3))),
            entities=tuple(rng.sample(names, rng.randrange(3))), created_at=rng.choice(times), accessed_at=rng.choice(times),
            event_at=maybe(times), invalid_at=rng.choice([None, None, *times]),
        )
        for number in range(count)
    ]  # fmt: skip


async def test_the_index_finds_what_plain_python_finds(shelf: Shelf) -> None:
    stored = sampled(SAMPLE, seed=4)
    for each in stored:
        await shelf.put(each, axis(0, 0.01 * len(each.memory_id)))
        await shelf.put(each, axis(0), tenant=f"another {shelf.tenant}")
    loop = asyncio.get_running_loop()

    async def compare(wanted: Conditions, as_of: float | None) -> None:
        at = NOW if as_of is None else as_of
        expected = {
            each.memory_id
            for each in stored
            if fulfils(each, wanted)
            and (each.holds_at(at) if as_of is not None else each.invalid_at is None or each.invalid_at > NOW)
        }
        assert await found(shelf, wanted, as_of=as_of) == expected

    @settings(max_examples=80)
    @given(conditions(), st.none() | st.sampled_from([NOW - DAY, NOW, NOW + 2 * DAY]))
    def law(wanted: Conditions, as_of: float | None) -> None:
        asyncio.run_coroutine_threadsafe(compare(wanted, as_of), loop).result(20)

    await asyncio.to_thread(law)


@pytest.mark.parametrize("word", [word for word in WORDS if word], ids=repr)
async def test_no_name_leads_out_of_its_own(shelf: Shelf, word: str) -> None:
    mine = memory("mine", user=word, namespace=word, session=word, topics=(word,), entities=(word,))
    await shelf.put(mine, axis(0))
    await shelf.put(memory("other", user="somebody else", topics=("x",)), axis(0))
    await shelf.put(memory("foreign", user=word, topics=(word,)), axis(0), tenant=f"{shelf.tenant}{word}")
    for wanted in (
        Conditions(user=Match(one_of=(word,))), Conditions(namespace=Match(one_of=(word,))), Conditions(session=Match(one_of=(word,))),
        Conditions(topics=Labels(any_of=(word,))), Conditions(entities=Labels(all_of=(word,))), Conditions(user=Match(starts_with=word)),
    ):  # fmt: skip
        assert await found(shelf, wanted) == {"mine"}


async def test_an_odd_tenant_finds_its_own_alone(shelf: Shelf) -> None:
    for number, word in enumerate(WORDS):
        await shelf.put(memory(f"m{number}"), axis(0), tenant=f"{shelf.tenant}{word}")
    for number, word in enumerate(WORDS):
        assert await found(shelf, Conditions(), tenant=f"{shelf.tenant}{word}") == {f"m{number}"}


async def test_another_tenants_nearest_neighbour_is_never_found(shelf: Shelf) -> None:
    for number in range(100):
        await shelf.put(memory(f"m{number}"), axis(0, number / 10_000), tenant=f"another {shelf.tenant}")
    await shelf.put(memory("mine"), axis(3))
    assert await found(shelf, Conditions()) == {"mine"}


async def test_a_beginning_stands_for_every_name_that_begins_so(shelf: Shelf) -> None:
    for number in range(300):  # RediSearch itself looks at 200 of them
        await shelf.put(
            memory(f"m{number:03}", user=f"user-{number:03}", namespace="work" if number % 2 else "home"), axis(0)
        )
    assert len(await found(shelf, Conditions(user=Match(starts_with="user-")))) == 300
    assert len(await found(shelf, Conditions(memory_id=Match(starts_with="m1")))) == 100
    assert await found(shelf, Conditions(user=Match(starts_with="user-00"), namespace=Match(starts_with="w"))) == {
        "m001", "m003", "m005", "m007", "m009",
    }  # fmt: skip
    assert await found(shelf, Conditions(user=Match(starts_with="nobody"))) == set()


async def test_a_beginning_of_too_many_names_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_index, "MAX_NAMES", 2)
    for number in range(3):
        await shelf.put(memory(f"m{number}", user=f"user-{number}"))
    with pytest.raises(RequestError, match="begins with"):
        await found(shelf, Conditions(user=Match(starts_with="user-")))


async def test_the_nearest_come_first_and_no_more_than_asked_for(shelf: Shelf) -> None:
    for number in range(10):
        await shelf.put(memory(f"m{number}"), axis(0, number / 10))
    narrowed = await shelf.index.narrowed(shelf.tenant, Conditions(), as_of=None, now=NOW)
    assert narrowed is not None
    hits = await shelf.index.nearest(shelf.tenant, narrowed, axis(0), 3)
    assert [each.memory_id for each, _ in hits] == ["m0", "m1", "m2"]
    assert hits[0][1] == pytest.approx(0.0, abs=1e-5)


async def test_what_is_ranked_is_what_would_be_read_whole(shelf: Shelf) -> None:
    for number in range(10):
        made = memory(f"m{number}", text=f"Anna has {number} parrots", accessed_at=NOW - number)
        await shelf.put(made, axis(0, number / 10))
    narrowed = await shelf.index.narrowed(shelf.tenant, Conditions(), as_of=None, now=NOW)
    assert narrowed is not None
    whole = await shelf.index.nearest(shelf.tenant, narrowed, axis(0), 5)
    seats = await shelf.index.seats_near(shelf.tenant, narrowed, axis(0), 5)
    assert seats == [(Seat(one.memory_id, one.created_at, one.accessed_at), distance) for one, distance in whole]
    terms = words.asked("How many parrots?")
    said, total = await shelf.index.by_words(shelf.tenant, narrowed, terms, 20)
    places, as_many = await shelf.index.seats_said(shelf.tenant, narrowed, terms, 20)
    assert [(seat.memory_id, score) for seat, score in places] == [(one.memory_id, score) for one, score in said]
    assert total == as_many == 10
    assert await shelf.index.read(shelf.tenant, ["m3", "gone"]) == [said_of(whole, "m3"), None]
    assert await shelf.index.seats_near("another tenant", narrowed, axis(0), 5) == []


def said_of(hits: Sequence[tuple[Memory, float]], memory_id: str) -> Memory:
    return next(one for one, _ in hits if one.memory_id == memory_id)


async def test_times_come_back_to_the_microsecond(shelf: Shelf) -> None:
    """RediSearch rounds what it returns of a sortable number: a memory seemed older than itself."""
    at = NOW + 0.439415
    await shelf.put(memory("m", created_at=at), axis(0))
    narrowed = await shelf.index.narrowed(shelf.tenant, Conditions(), as_of=None, now=NOW + 1)
    assert narrowed is not None
    ((near, _),) = await shelf.index.nearest(shelf.tenant, narrowed, axis(0), 3)
    ((newest,), _) = await shelf.index.newest(shelf.tenant, narrowed, offset=0, limit=3)
    assert near.created_at == newest.created_at == at


async def said(shelf: Shelf, text: str, wanted: Conditions | None = None) -> list[tuple[str, float]]:
    narrowed = await shelf.index.narrowed(shelf.tenant, wanted or Conditions(), as_of=None, now=NOW)
    assert narrowed is not None
    terms = words.asked(text)
    hits, total = await shelf.index.by_words(shelf.tenant, narrowed, terms, 10) if terms else ([], 0)
    assert total >= len(hits)
    return [(each.memory_id, score) for each, score in hits]


async def test_more_of_the_words_and_rarer_ones_come_first(shelf: Shelf) -> None:
    for number, text in enumerate(
        (
            "User likes green tea",
            "User drinks tea at noon",
            "User likes football",
            "User likes running",
            "The green party",
        )
    ):
        await shelf.put(memory(f"m{number}", text))
    await shelf.put(memory("far", "green tea for another"), tenant=f"another {shelf.tenant}")
    hits = await said(shelf, "Does the user like green teas?")  # and other forms of a word
    assert hits[0][0] == "m0"
    assert {"m1", "m4"} <= {memory_id for memory_id, _ in hits}
    assert "far" not in {memory_id for memory_id, _ in hits}


async def test_conditions_change_no_score(shelf: Shelf) -> None:
    for number in range(20):
        await shelf.put(
            memory(f"m{number}", f"Note {number} about tea", user="anna" if number < 3 else "ben", topics=("t",))
        )
    free = dict(await said(shelf, "note 2 tea"))
    bound = dict(
        await said(shelf, "note 2 tea", Conditions(user=Match(one_of=("anna",)), topics=Labels(any_of=("t", "u"))))
    )
    assert set(bound) == {"m0", "m1", "m2"}
    assert bound["m2"] == pytest.approx(free["m2"], rel=1e-6)


async def test_every_word_of_a_question_counts_whatever_comes_first(shelf: Shelf) -> None:
    await shelf.put(memory("one", "capital capital of finance"))
    await shelf.put(memory("both", "France has a capital"))
    for number in range(30):
        await shelf.put(memory(f"filler{number}", f"Something else {number}"))
    for question in ("capital France", "France capital"):
        assert (await said(shelf, question))[0][0] == "both"


async def test_no_text_is_a_syntax_error(shelf: Shelf) -> None:
    await shelf.put(memory("m", "User likes tea"))
    loop = asyncio.get_running_loop()

    @settings(max_examples=150)
    @given(
        st.text(max_size=60)
        | st.lists(NAMES | st.sampled_from(["and", "or", "not", "inf", "nan", "tea", "1e5", "0x1", "-3"])).map(" ".join)
    )
    def law(text: str) -> None:
        asyncio.run_coroutine_threadsafe(said(shelf, text), loop).result(20)

    await asyncio.to_thread(law)


async def test_a_text_in_another_script_is_found_by_a_part_of_it(shelf: Shelf) -> None:
    await shelf.put(memory("m", "私は東京に住んでいます"))
    assert [memory_id for memory_id, _ in await said(shelf, "東京")] == ["m"]


async def test_without_a_vector_it_is_found_by_words_and_named_as_missing_one(shelf: Shelf) -> None:
    await shelf.put(memory("bare", "User likes tea"))
    await shelf.put(memory("whole", "User likes tea"), axis(0))
    assert {memory_id for memory_id, _ in await said(shelf, "tea")} == {"bare", "whole"}
    missing = await shelf.index.without_vector(10_000)
    assert (shelf.tenant, "bare") in missing
    assert (shelf.tenant, "whole") not in missing


async def test_a_new_embedder_finds_by_words_at_once_and_by_meaning_what_was_embedded_anew(
    client: Redis, shelf: Shelf
) -> None:
    await shelf.put(memory("m", "User likes tea"), axis(0))
    other = await Shelf(client, dim=4).open()
    other.tenant = shelf.tenant
    assert [memory_id for memory_id, _ in await said(other, "tea")] == ["m"]
    assert (shelf.tenant, "m") in await other.index.without_vector(10_000)
    await client.execute_command("FT.DROPINDEX", other.index.name)  # type: ignore[no-untyped-call]


async def test_an_index_without_vectors_finds_by_words(client: Redis) -> None:
    bare = await Shelf(client, dim=0).open()
    await bare.put(memory("m", "User likes tea"))
    assert not bare.index.has_vectors
    assert [memory_id for memory_id, _ in await said(bare, "tea")] == ["m"]
    await client.execute_command("FT.DROPINDEX", bare.index.name)  # type: ignore[no-untyped-call]


async def test_creating_twice_changes_nothing_and_a_missing_index_is_named(client: Redis, shelf: Shelf) -> None:
    assert await shelf.index.ensure() is False
    with pytest.raises(IndexMissingError):
        await Shelf(client).index.newest("t", "@tag_tenant:{0}", offset=0, limit=1)


async def test_a_change_of_period_is_exact_to_the_last_bit(shelf: Shelf) -> None:
    at = NOW + 0.1234567
    await shelf.put(memory("m", created_at=at), axis(0))
    assert await found(shelf, Conditions(created=Period(since=at, until=at))) == {"m"}
    assert await found(shelf, Conditions(created=Period(after=at))) == set()
    assert await found(shelf, Conditions(created=Period(since=1e300))) == set()
    assert await found(shelf, Conditions(created=Period(until=float("inf")))) == {"m"}
