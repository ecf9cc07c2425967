from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from redis import Redis as PlainRedis
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.recording import Step, put_together
from proxy.stores import recording_edits
from proxy.stores.recording_edits import RecordingEdits
from proxy.stores.recordings import RecordingStore
from tests.builders import MODEL, answer_body, assistant, chat_body, system, user


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def store_of(client: Redis, *, max_bytes: int = 1 << 20) -> RecordingStore:
    return RecordingStore(client, ttl_s=60, max_bytes=max_bytes, now=time.time)


def edits_of(client: Redis) -> RecordingEdits:
    return RecordingEdits(client, ttl_s=60)


def step_of(
    tenant: str,
    number: int,
    messages: Sequence[dict[str, Any]],
    *,
    session: str = "s",
    began_at: float | None = None,
    user_id: str | None = None,
    **fields: Any,
) -> Step:
    began_at = time.time() if began_at is None else began_at
    answer = answer_body(assistant(f"Answer {number}."))
    told = {
        "at": f"{number}.000",
        "agent": "",
        "user": user_id or "",
        "model": MODEL,
        "stream": "",
        "status": "200",
        "outcome": "miss",
        "reason": "",
        "room": "0a",
        "fingerprint": f"{number}",
        "entry": "",
    }
    sent = chat_body(*messages, **fields)
    raw = orjson.dumps({name: answer[name] for name in answer if name not in ("id", "created")})
    return Step(tenant, session, f"req_{number}", told, sent, {}, raw, 100, began_at, user=user_id)


def conversation(turns: int, *, who: str = "") -> list[list[dict[str, Any]]]:
    """The requests of an agent's run, each with all that was said before."""
    messages: list[dict[str, Any]] = [system(f"You help {who} with long instructions. " * 20)]
    requests = []
    for turn in range(turns):
        messages.append(user(f"Question {turn} of {who}: {'and so on ' * 20}"))
        requests.append(list(messages))
        messages.append(assistant(f"Answer {turn} to {who}: {'and so on ' * 20}"))
    return requests


async def whole(store: RecordingStore, tenant: str, session: str = "s") -> list[dict[str, Any]]:
    found = await store.read(tenant, session, after=0, limit=1000, with_requests=True)
    assert found is not None
    assert [step.number for step in found.steps] == list(range(1, found.total + 1))
    return [dict(step.request or {}) for step in found.steps]


async def whole_of(store: RecordingStore, tenant: str) -> list[dict[str, Any]]:
    """The same of a recording that has gaps."""
    found = await store.read(tenant, "s", after=0, limit=1000, with_requests=True)
    assert found is not None
    return [dict(step.request or {}) for step in found.steps]


async def size(client: Redis, tenant: str, session: str = "s") -> int:
    tag = keys.session_tag(tenant, session)
    return sum([await client.memory_usage(key, samples=0) or 0 for key in keys.recording_keys(tag)])


async def test_requests_come_back_as_they_were_sent(client: Redis, tenant: str) -> None:
    store = store_of(client)
    steps = [step_of(tenant, at, messages, temperature=0.5, seed=at) for at, messages in enumerate(conversation(5))]
    await store.append(steps[:2])
    await store.append(steps[2:])
    assert await whole(store, tenant) == [step.sent for step in steps]
    found = await store.read(tenant, "s", after=0, limit=1, with_requests=False)
    assert found is not None
    assert found.steps[0].request is None
    assert found.steps[0].answer == orjson.loads(steps[0].answer or b"")
    assert (found.total, found.skipped, found.parent) == (5, 0, None)


async def test_a_run_takes_room_in_proportion_to_its_turns(client: Redis, tenant: str) -> None:
    store = store_of(client, max_bytes=64 << 20)
    requests = conversation(200)
    sizes = {}
    for at, messages in enumerate(requests, start=1):
        await store.append([step_of(tenant, at, messages)])
        if at in (50, 100, 200):
            sizes[at] = await size(client, tenant)
    assert sizes[200] < 2.3 * sizes[100] < 5 * sizes[50]
    sent = sum(len(orjson.dumps(messages)) for messages in requests)
    assert sizes[200] < sent / 20


async def test_agents_that_talk_in_turn_share_what_each_said_before(client: Redis, tenant: str) -> None:
    store = store_of(client, max_bytes=64 << 20)
    one, other = conversation(50, who="one"), conversation(50, who="other")
    both = [messages for pair in zip(one, other, strict=True) for messages in pair]
    await store.append([step_of(tenant, at, messages) for at, messages in enumerate(both)])
    alone = uuid.uuid4().hex
    await store.append([step_of(alone, at, messages) for at, messages in enumerate(one)])
    assert await size(client, tenant) < 2.3 * await size(client, alone)


async def test_a_changing_last_message_does_not_copy_the_conversation(client: Redis, tenant: str) -> None:
    store = store_of(client, max_bytes=64 << 20)
    requests = [[*messages, user(f"State: {at}")] for at, messages in enumerate(conversation(50))]
    await store.append([step_of(tenant, at, messages) for at, messages in enumerate(requests)])
    assert await size(client, tenant) < sum(len(orjson.dumps(messages)) for messages in requests) / 5
    assert [request["messages"] for request in await whole(store, tenant)] == requests


async def test_a_step_sent_again_is_written_once(client: Redis, tenant: str) -> None:
    store = store_of(client)
    steps = [step_of(tenant, at, messages) for at, messages in enumerate(conversation(3))]
    await store.append(steps)
    before = await size(client, tenant)
    await store.append(steps)
    assert len(await whole(store, tenant)) == 3
    assert await size(client, tenant) == before


async def test_parts_that_went_away_between_asking_and_writing_are_sent_again(
    client: Redis, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(client)
    other = store_of(client)  # another process, which has to ask
    first, second = (step_of(tenant, at, messages) for at, messages in enumerate(conversation(2)))
    await other.append([first])
    send, calls = store._send, []

    async def erase_after_asking(sha: str, made: Any) -> list[int]:
        replies = await send(sha, made)
        calls.append(sha)
        if len(calls) == 1:
            await store.erase(tenant, "s")
        return replies

    monkeypatch.setattr(store, "_send", erase_after_asking)
    await store.append([second])
    assert await whole(store, tenant) == [second.sent]
    assert len(calls) == 3


async def test_parts_that_this_process_wrote_and_that_went_away_are_sent_again(client: Redis, tenant: str) -> None:
    store = store_of(client)
    first, second = (step_of(tenant, at, messages) for at, messages in enumerate(conversation(2)))
    await store.append([first])
    await store.erase(tenant, "s")
    await store.append([second])
    assert await whole(store, tenant) == [second.sent]


@pytest.mark.parametrize("evicted", range(3), ids=["steps", "parts", "recording"])
async def test_when_redis_evicts_part_of_a_recording_later_steps_are_recorded_all_the_same(
    client: Redis, tenant: str, evicted: int
) -> None:
    store = store_of(client)
    steps = [step_of(tenant, at, messages) for at, messages in enumerate(conversation(4))]
    await store.append(steps[:3])
    await client.delete(keys.recording_keys(keys.session_tag(tenant, "s"))[evicted])
    await store.append(steps[3:])
    found = await store.read(tenant, "s", after=3, limit=10, with_requests=True)
    assert found is not None
    assert [(step.number, step.request) for step in found.steps] == [(4, steps[3].sent)]


async def test_a_full_recording_takes_no_more_and_counts(client: Redis, tenant: str) -> None:
    store = store_of(client, max_bytes=6000)
    small = step_of(tenant, 99, [user("short")])
    steps = [step_of(tenant, at, messages) for at, messages in enumerate(conversation(10))]
    await store.append([*steps, small])
    found = await store.read(tenant, "s", after=0, limit=100, with_requests=True)
    assert found is not None
    assert 1 <= found.total < 10
    assert [step.request for step in found.steps] == [step.sent for step in steps[: found.total]]
    assert found.skipped == 11 - found.total, "no holes: what follows is not taken, though it would fit"
    assert found.bytes <= 6000


async def test_all_of_it_has_the_sessions_end(client: Redis, tenant: str) -> None:
    await store_of(client).append([step_of(tenant, 1, [user()])])
    for key in keys.recording_keys(keys.session_tag(tenant, "s")):
        assert 0 < await client.ttl(key) <= 60


async def test_a_fork_holds_the_first_steps_and_no_part_of_the_others(client: Redis, tenant: str) -> None:
    store = store_of(client)
    steps = [step_of(tenant, at, messages) for at, messages in enumerate(conversation(5), start=1)]
    await store.append(steps)
    assert await edits_of(client).fork(tenant, "s", at=2, name="f", now_s=5.0)
    found = await store.read(tenant, "f", after=0, limit=100, with_requests=True)
    assert found is not None
    assert [step.request for step in found.steps] == [step.sent for step in steps[:2]]
    assert (found.total, found.parent, found.forked_at) == (2, "s", 2)
    alone = uuid.uuid4().hex
    await store.append([step_of(alone, at, messages) for at, messages in enumerate(conversation(2), start=1)])
    _, held, about = keys.recording_keys(keys.session_tag(tenant, "f"))
    _, expected, expected_about = keys.recording_keys(keys.session_tag(alone, "s"))
    assert await client.hgetall(held) == await client.hgetall(expected)
    assert await client.hget(about, "bytes") == await client.hget(expected_about, "bytes")


async def test_a_fork_goes_on_by_itself(client: Redis, tenant: str) -> None:
    store = store_of(client)
    requests = conversation(4)
    await store.append([step_of(tenant, at, messages) for at, messages in enumerate(requests[:3], start=1)])
    assert await edits_of(client).fork(tenant, "s", at=2, name="f", now_s=5.0)
    again = step_of(tenant, 2, requests[1], session="f")
    other = step_of(tenant, 7, [*requests[1], user("Rather this.")], session="f")
    await store.append([again, other])
    assert await whole(store, tenant, "f") == [*(chat_body(*one) for one in requests[:2]), other.sent]
    assert len(await whole(store, tenant)) == 3
    await store.erase(tenant, "s")
    assert len(await whole(store, tenant, "f")) == 3


async def test_a_fork_never_falls_on_a_session_that_is_there(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await store.append([step_of(tenant, 1, [user()]), step_of(tenant, 2, [user("x")], session="taken")])
    before = await whole(store, tenant, "taken")
    assert not await edits_of(client).fork(tenant, "s", at=1, name="taken", now_s=5.0)
    assert not await edits_of(client).fork(tenant, "s", at=1, name="s", now_s=5.0)
    assert await whole(store, tenant, "taken") == before


# --- erasing -----------------------------------------------------------------------------------------------------------------------


async def mark_erased(client: Redis, tenant: str, what: str) -> None:
    """As an erasure does it."""
    seconds, microseconds = await client.time()
    erased = keys.session_key(keys.session_tag(tenant, "s"), "erased")
    await client.hset(erased, what, str(seconds * 1000 + microseconds // 1000))


@pytest.mark.parametrize("what", ["session", "user"])
async def test_a_step_that_began_before_an_erasure_is_not_written_after_it(
    client: Redis, tenant: str, what: str
) -> None:
    store = store_of(client)
    before = [step_of(tenant, 1, [user("secret")], user_id="ann"), step_of(tenant, 2, [user("fine")], user_id="bob")]
    await asyncio.sleep(0.005)
    await mark_erased(client, tenant, "all" if what == "session" else keys.user_tag(tenant, "ann"))
    await asyncio.sleep(0.005)
    await store.append([*before, step_of(tenant, 3, [user("new")], user_id="ann")])
    expected = [["new"]] if what == "session" else [["fine"], ["new"]]
    assert [[one["content"] for one in request["messages"]] for request in await whole(store, tenant)] == expected


async def test_a_step_of_a_user_who_was_erased_everywhere_is_not_written(client: Redis, tenant: str) -> None:
    store = store_of(client)
    mine, others = step_of(tenant, 1, [user("a")], user_id="ann"), step_of(tenant, 2, [user("b")], user_id="bob")
    await asyncio.sleep(0.005)
    seconds, microseconds = await client.time()
    await client.set(keys.user_key(keys.user_tag(tenant, "ann"), "erased"), seconds * 1000 + microseconds // 1000)
    await store.append([mine, others])
    assert [request["messages"] for request in await whole(store, tenant)] == [[user("b")]]


async def test_some_requests_are_erased_with_what_went_on_from_them_and_the_rest_stays_whole(
    client: Redis, tenant: str
) -> None:
    store = store_of(client)
    one, other = conversation(3, who="one"), conversation(3, who="other")
    both = [messages for pair in zip(one, other, strict=True) for messages in pair]
    await store.append([step_of(tenant, at, messages, seed=1) for at, messages in enumerate(both)])
    assert await edits_of(client).erase_requests(tenant, "s", ["req_2", "req_99"]) == 2, (
        "the second of `one`, and the third after it"
    )
    found = await store.read(tenant, "s", after=0, limit=10, with_requests=True)
    assert found is not None
    assert [(step.request or {})["messages"] for step in found.steps] == [one[0], other[0], other[1], other[2]]
    assert all(step.answer is not None for step in found.steps)
    _, held, about = keys.recording_keys(keys.session_tag(tenant, "s"))
    everything = b"".join(value for value in (await client.hgetall(held)).values())
    assert b"Question 1 of one" not in everything
    assert b"Answer 4" not in everything
    assert int(await client.hget(about, "bytes") or 0) < 20_000
    assert await edits_of(client).erase_requests(tenant, "s", ["req_2"]) == 0
    assert await edits_of(client).erase_requests(tenant, "s", []) == 0
    await store.append([step_of(tenant, 50, [*other[2], user("more")])])
    assert (await whole_of(store, tenant))[-1]["messages"] == [*other[2], user("more")]


async def test_a_users_part_is_erased_from_a_fork_too(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await store.append(
        [
            step_of(tenant, 1, [user("of ann")], user_id="ann"),
            step_of(tenant, 2, [user("of bob")], user_id="bob"),
            step_of(tenant, 3, [user("of ann"), assistant(), user("bob goes on")], user_id="bob"),
        ]
    )
    assert await edits_of(client).fork(tenant, "s", at=3, name="f", now_s=5.0)
    assert await edits_of(client).erase_user(tenant, "f", "ann") == 2
    found = await store.read(tenant, "f", after=0, limit=10, with_requests=True)
    assert found is not None
    assert [(step.request or {})["messages"] for step in found.steps] == [[user("of bob")]]
    assert len(await whole(store, tenant)) == 3


async def test_a_recording_that_keeps_growing_is_erased_whole(
    client: Redis, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(client)
    await store.append([step_of(tenant, at, [user(f"{at}")]) for at in range(3)])
    steps, _, _ = keys.recording_keys(keys.session_tag(tenant, "s"))
    split = recording_edits.split

    def while_another_writes(*given: Any) -> Any:
        with PlainRedis.from_url(f"unix://{client.connection_pool.connection_kwargs['path']}") as plain:
            plain.xadd(steps, {"request_id": "other", "head": "h", "fields": "f", "answer": ""})
        return split(*given)

    monkeypatch.setattr(recording_edits, "split", while_another_writes)
    await edits_of(client).erase_requests(tenant, "s", ["req_1"])
    assert await store.read(tenant, "s", after=0, limit=1, with_requests=False) is None


async def test_nothing_is_read_of_another_tenants_session(client: Redis, tenant: str) -> None:
    store = store_of(client)
    await store.append([step_of(tenant, 1, [user()])])
    assert await store.read(uuid.uuid4().hex, "s", after=0, limit=1, with_requests=True) is None
    assert await store.erase(uuid.uuid4().hex, "s") == 0
    assert await store.erase(tenant, "s") == 3
    assert await store.read(tenant, "s", after=0, limit=1, with_requests=True) is None


async def test_any_client_puts_a_request_together_as_documented(client: Redis, tenant: str) -> None:
    step = step_of(tenant, 1, conversation(2)[1], temperature=0.5)
    await store_of(client).append([step])
    base = f"deja:v1:session:{{{keys.session_tag(tenant, 's')}}}:"
    ((_, fields),) = await client.xrange(f"{base}steps", "1", "1")
    parts: Any = await client.hgetall(f"{base}parts")
    messages, name = [], fields[b"head"].decode()
    while name:
        link = json.loads(parts[name.encode()])
        messages.insert(0, link["message"])
        name = link["after"]
    assert {**json.loads(parts[fields[b"fields"]]), "messages": messages} == step.sent
    assert put_together({"head": "missing", "fields": ""}, {}) is None


async def test_a_recording_is_kept_as_long_as_its_session_says(client: Redis, tenant: str) -> None:
    tag = keys.session_tag(tenant, "s")
    await client.hset(keys.session_keys(tag)[2], "ttl_s", "20")
    await store_of(client).append([step_of(tenant, 1, [user("hi")])])
    assert {await client.ttl(key) for key in keys.recording_keys(tag)} <= {19, 20}
