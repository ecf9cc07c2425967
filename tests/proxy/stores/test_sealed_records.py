"""What is kept of what users said and were told, with and without keys: each store that seals is held to the same three sentences."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord, Seen
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.entries import listed
from proxy.core.entry_lines import Line
from proxy.core.memory.extraction import Said, Source
from proxy.core.memory.records import Conditions, Memory, MemoryType
from proxy.core.memory_server.views import Partition, View
from proxy.core.memory_server.working import KeptMemory, Message, SessionName, WorkingMemory
from proxy.core.recording import Step
from proxy.core.records import Record
from proxy.core.sessions import Message as Turn
from proxy.stores.decisions import DecisionStore
from proxy.stores.embeddings import EmbeddingStore
from proxy.stores.entries import EntryStore
from proxy.stores.erasure import DecisionEraser
from proxy.stores.extraction import ExtractionStore
from proxy.stores.flights import FlightStore, FlightWords
from proxy.stores.recording_edits import RecordingEdits
from proxy.stores.recordings import RecordingStore
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField
from proxy.stores.session_index import SessionIndex
from proxy.stores.session_records import SessionRecords
from proxy.stores.sessions import Limits, SessionStore
from proxy.stores.summary_views import SummaryViewStore
from proxy.stores.working_memory import WorkingMemoryStore
from tests.builders import ABOUT, MODEL, NOW_S, answer_body, assistant, chat_body, user
from tests.redis_dump import dump_of, names_in

WORD = "heirloom"
"""Stands in every text that is written here."""
TEXT = f"The word is {WORD}."
MINE, OTHERS = Seal([b"1" * 32]), Seal([b"2" * 32])
MEMORY = Memory("m", TEXT, MemoryType.SEMANTIC, "ann", "s", None, ("tea",), (), 1.5, 1.5, 1.5)
LIMITS = Limits(ttl_s=60, max_turns=10, max_bytes=20_000)
AnySeal = Seal | NoSeal


@dataclass
class Kept:
    """What one store keeps; `read` gives nothing (None, or empty) for what is not there."""

    write: Callable[[Redis, AnySeal, str], Awaitable[Any]]
    read: Callable[[Redis, AnySeal, str], Awaitable[Any]]


# --- how each is written and read; `name` is a tenant of its own -----------------------------------------------------------------


def decisions(client: Redis, seal: AnySeal) -> DecisionStore:
    return DecisionStore(client, ttl_s=60, max_per_tenant=10, now=time.time, seal=seal)


def decided(name: str) -> DecisionRecord:
    seen = (Seen("ent_1", TEXT, 0.9),)
    return DecisionRecord(f"req_{name}", NOW_S, name, "", "m", "0a", "c", "miss", "", asked=TEXT, seen=seen)


async def write_decision(client: Redis, seal: AnySeal, name: str) -> None:
    await decisions(client, seal).append([(decided(name), None)])


async def read_decision(client: Redis, seal: AnySeal, name: str) -> Any:
    found = await decisions(client, seal).read(name, f"req_{name}")
    assert [one async for one in decisions(client, seal).recent(name, limit=9)] == ([found] if found else [])
    return found and found.asked


def recordings(client: Redis, seal: AnySeal) -> RecordingStore:
    return RecordingStore(client, ttl_s=60, max_bytes=1 << 20, now=time.time, seal=seal)


def step_of(name: str, number: int, *texts: str) -> Step:
    told = dict.fromkeys(("agent", "user", "stream", "reason", "entry"), "")
    told |= {"at": "1.0", "model": MODEL, "status": "200", "outcome": "miss", "room": "0a", "fingerprint": f"{number}"}
    answer = orjson.dumps(answer_body(assistant(TEXT)))
    return Step(name, "s", f"req_{number}", told, chat_body(*map(user, texts)), {}, answer, 100, time.time())


async def write_recording(client: Redis, seal: AnySeal, name: str) -> None:
    await recordings(client, seal).append([step_of(name, 1, TEXT), step_of(name, 2, TEXT, TEXT)])


async def read_recording(client: Redis, seal: AnySeal, name: str, session: str = "s") -> Any:
    found = await recordings(client, seal).read(name, session, after=0, limit=9, with_requests=True)
    assert found is not None, "that there is a recording is no secret"
    return [step.request for step in found.steps if step.request is not None and step.answer is not None]


def sessions(client: Redis, seal: AnySeal) -> SessionStore:
    return SessionStore(client, SessionIndex(client, ttl_s=60), limits=LIMITS, seal=seal)


async def write_turns(client: Redis, seal: AnySeal, name: str) -> None:
    wire = orjson.dumps({"role": "user", "content": TEXT})
    index = SessionIndex(client, ttl_s=60)
    records = SessionRecords(client, index, limits=LIMITS, trace_s=60, now=time.time, seal=seal)
    record = Record(time.time(), name, "req_1", "s", None, (), (("user", wire),), began_at=time.time())
    assert await records.append([record]) == [True]
    said = Turn("user", wire, 3)
    await sessions(client, seal).append(name, "s", [said], key="", digest="", user=None, agent=None)


async def read_turns(client: Redis, seal: AnySeal, name: str) -> Any:
    found = await sessions(client, seal).read(name, "s", turns=9)
    assert found is not None, "that there is a session is no secret"
    return [turn["message"]["content"] for turn in found.turns]


async def write_data(client: Redis, seal: AnySeal, name: str) -> None:
    assert await sessions(client, seal).write_data(name, "s", orjson.dumps({"word": WORD}), version=0) == 1


async def read_data(client: Redis, seal: AnySeal, name: str) -> Any:
    found = await sessions(client, seal).read(name, "s", turns=9)
    assert found is not None
    assert await sessions(client, seal).write_data(name, "s", b"{}", version=7) == (1, found.data)
    return found.data


async def write_working_memory(client: Redis, seal: AnySeal, name: str) -> None:
    kept = WorkingMemory(
        SessionName("s", "ann"), (Message("1", "user", TEXT, 1.5),), (KeptMemory(MEMORY),), {"a": TEXT}, TEXT
    )
    store = WorkingMemoryStore(client, seal)
    put = await store.put(name, kept)
    assert await store.mark(name, put.promoted(2.5))


async def read_working_memory(client: Redis, seal: AnySeal, name: str) -> Any:
    count, found = await WorkingMemoryStore(client, seal).find(name, SessionName("s"))
    assert count == (found is not None)
    return found and (found.messages[0].content, found.memories[0].persisted_at, found.data["a"], found.context)


async def write_summary(client: Redis, seal: AnySeal, name: str) -> None:
    store = SummaryViewStore(client, seal)
    assert await store.add(name, View("v", ("user_id",), {}, Conditions()), most=9)
    assert await store.keep(name, Partition("v", {"user_id": "ann"}, TEXT, 2, 4.5))


async def read_summary(client: Redis, seal: AnySeal, name: str) -> Any:
    return [one.summary for one in await SummaryViewStore(client, seal).partitions(name, "v")]


async def write_extraction(client: Redis, seal: AnySeal, name: str) -> None:
    source = Source(name, "ann", "s", None)
    store = ExtractionStore(client, seal)
    assert await store.add(source, "g", [Said("1", "user", TEXT, 1.5)]) == 1
    assert await store.settle(source.tag, "g", [MEMORY]) == (MEMORY,)


async def read_extraction(client: Redis, seal: AnySeal, name: str) -> Any:
    found = await ExtractionStore(client, seal).close(Source(name, "ann", "s", None).tag, "g")
    assert found is not None
    return [each.text for each in found.said] + [each.text for each in found.drawn or ()]


async def write_words(client: Redis, seal: AnySeal, name: str) -> None:
    said: list[dict[str, str | bytes]] = [
        {"kind": "head", "head": "[200, [], true, 1.5]"},
        {"kind": "data", "data": TEXT.encode() + b"\xff"},
    ]
    await FlightStore(client, seal).say(_words(name), 1, said)


async def read_words(client: Redis, seal: AnySeal, name: str) -> Any:
    entries = await FlightWords(client, client, seal).page(_words(name), after="0-0", count=9)
    assert entries[0].fields["kind"] == "head"
    return [entry.fields["data"] for entry in entries if "data" in entry.fields]


def _words(name: str) -> str:
    return keys.flight_keys(f"{keys.PREFIX}flight:{{{name}}}:call", "1.1").words


KEPT = {
    "decisions": Kept(write_decision, read_decision),
    "recordings": Kept(write_recording, read_recording),
    "turns of sessions": Kept(write_turns, read_turns),
    "data of sessions": Kept(write_data, read_data),
    "working memory": Kept(write_working_memory, read_working_memory),
    "summaries": Kept(write_summary, read_summary),
    "what memories are drawn from": Kept(write_extraction, read_extraction),
    "answers under way": Kept(write_words, read_words),
}


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


every_kind = pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)


@every_kind
async def test_in_redis_nothing_of_it_can_be_read(client: Redis, kept: Kept, name: str) -> None:
    before = await names_in(client)
    await kept.write(client, MINE, name)
    new = await dump_of(client, await names_in(client) - before)
    assert new
    assert not any(WORD.encode() in text for text in new.values())
    assert await kept.read(client, MINE, name)


@every_kind
async def test_without_its_key_it_is_not_there(client: Redis, kept: Kept, name: str) -> None:
    await kept.write(client, MINE, name)
    for wrong in (OTHERS, NO_SEAL):
        assert not await kept.read(client, wrong, name)
    rotated = Seal([b"2" * 32, b"1" * 32])
    assert await kept.read(client, rotated, name) == await kept.read(client, MINE, name)


@every_kind
async def test_what_was_written_before_there_were_keys_stays_readable(client: Redis, kept: Kept, name: str) -> None:
    await kept.write(client, NO_SEAL, name)
    found = await kept.read(client, NO_SEAL, name)
    assert found
    assert await kept.read(client, MINE, name) == found


# --- what else is done with it ---------------------------------------------------------------------------------------------------


async def test_a_stored_vector_is_sealed_listed_exported_and_restored(client: Redis, name: str) -> None:
    at = [keys.embedding_key(uuid.uuid4().hex, "text")]
    vector = Vector(WORD.encode(), Form.DOUBLE)
    made = [StoredEmbedding(keys.embedding_id(at[0]), vector, "m", 1, False, NOW_S, 60)]
    about = replace(ABOUT, owner=name, family="embeddings")
    await EmbeddingStore(client, MINE).put(at, made, about=about)
    assert WORD.encode() not in (await dump_of(client, [at[0].encode()]))[at[0].encode()]
    assert await EmbeddingStore(client, MINE).get(at) == made
    assert await EmbeddingStore(client, OTHERS).get(at) == [None]
    assert await EmbeddingStore(client).get(at) == [None]

    (fields,) = await EntryStore(client, MINE).contents(at)
    assert fields["vector"] == WORD.encode(), "its tenant exports what it can read"
    assert await EntryStore(client, OTHERS).contents(at) == [{}]
    found = listed(at[0], fields)
    assert found is not None
    await client.delete(at[0])
    assert await EntryStore(client, OTHERS).restore(name, [Line(found, fields)], now_s=NOW_S) == 1
    assert await EmbeddingStore(client, OTHERS).get(at) == made

    await EmbeddingStore(client).put(at, made, about=about)
    assert await EmbeddingStore(client, MINE).get(at) == made, "from before there were keys"


@given(st.sampled_from([b"", b"sealed:1:", b"plain:1:", b"plain:1:sealed:1:"]), st.binary(max_size=60))
def test_whatever_a_caller_writes_comes_back_with_and_without_keys(beginning: bytes, rest: bytes) -> None:
    for seal in (MINE, NO_SEAL):
        field = SealedField(seal, "context")
        assert field.get(field.put(beginning + rest, of="s"), of="s") == beginning + rest
    in_the_clear = SealedField(NO_SEAL, "context").put(beginning + rest, of="s")
    assert SealedField(MINE, "context").get(in_the_clear, of="s") == beginning + rest


async def test_words_that_are_waited_for_are_opened_and_without_the_key_their_leader_dropped_them(
    client: Redis, name: str
) -> None:
    await write_words(client, MINE, name)
    for seal, kinds in ((MINE, ["head", "data"]), (OTHERS, ["head", "dropped"])):
        came = await FlightWords(client, client, seal).wait({_words(name): "0-0"}, block_ms=1000)
        assert [entry.fields["kind"] for entry in came[_words(name)]] == kinds


async def test_a_fork_takes_sealed_steps_and_turns_along(client: Redis, name: str) -> None:
    await write_recording(client, MINE, name)
    await write_turns(client, MINE, name)
    edits = RecordingEdits(client, ttl_s=60, seal=MINE)
    before = await names_in(client)
    assert await edits.fork(name, "s", at=1, name="f", now_s=NOW_S)
    forked = await dump_of(client, await names_in(client) - before)
    assert not any(WORD.encode() in text for text in forked.values())
    assert len(await read_recording(client, MINE, name, "f")) == 1
    found = await sessions(client, MINE).read(name, "f", turns=9)
    assert found is not None
    assert [turn["message"]["content"] for turn in found.turns] == [TEXT]


async def test_of_a_sealed_recording_what_went_on_from_an_erased_request_goes_with_it(client: Redis, name: str) -> None:
    steps = [step_of(name, 1, TEXT), step_of(name, 2, TEXT, TEXT), step_of(name, 3, "Something else?")]
    await recordings(client, MINE).append(steps)
    assert await RecordingEdits(client, ttl_s=60, seal=MINE).erase_requests(name, "s", ["req_2"]) == 1
    assert len(await read_recording(client, MINE, name)) == 2


async def test_an_erased_entrys_question_leaves_sealed_decisions(client: Redis, name: str) -> None:
    await write_decision(client, MINE, name)
    await DecisionEraser(client, MINE).forget_questions(name, {"ent_1"})
    found = await decisions(client, MINE).read(name, f"req_{name}")
    assert found is not None
    assert [one.question for one in found.seen] == [""]
    await DecisionEraser(client, OTHERS).forget_questions(name, {"ent_1"})
    assert await decisions(client, MINE).read(name, f"req_{name}") is None, "nobody could tell what it quoted"


async def test_sealed_decisions_are_told_to_those_who_look_on(client: Redis, name: str) -> None:
    await write_decision(client, MINE, name)
    written: Any = await client.xrange(keys.decision_keys(name).judged)
    ((_, fields),) = written
    read = {field.decode(): value.decode() for field, value in fields.items()}
    assert [one["request_id"] for one in decisions(client, MINE).told_in(name, read)] == [f"req_{name}"]
    assert decisions(client, OTHERS).told_in(name, read) == []
