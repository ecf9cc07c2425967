from __future__ import annotations

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.budget import Cause, Standing
from proxy.core.evidence import Controls, Evidence, control_increments
from proxy.core.tally import Tally, increments
from proxy.stores import evidence
from proxy.stores.evidence import EvidenceStore

RIGHT = increments("hit", 0.99)
WRONG = increments("hit", 0.99, is_wrong=True)


@pytest.fixture
def store(client: Redis) -> EvidenceStore:
    return EvidenceStore(client, space=uuid.uuid4().hex)


def batch() -> str:
    return uuid.uuid4().hex


async def test_counts_of_several_workers_add_up(store: EvidenceStore) -> None:
    assert await store.add(batch(), {"one": RIGHT, "pool": RIGHT | control_increments(is_wrong=False)})
    assert await store.add(batch(), {"one": WRONG, "pool": WRONG})
    found = await store.read(["one", "pool", "other"])
    assert (found["one"].tally.audited, found["one"].tally.audited_wrong) == (2, 1)
    assert found["pool"].controls == Controls(1, 0)
    assert found["other"] == Evidence()


async def test_a_batch_that_is_sent_again_counts_once(store: EvidenceStore) -> None:
    same = batch()
    assert await store.add(same, {"one": RIGHT})
    assert not await store.add(same, {"one": RIGHT})
    assert (await store.read(["one"]))["one"].tally.audited == 1


async def test_a_hundred_batches_at_once_lose_nothing(store: EvidenceStore) -> None:
    await asyncio.gather(*(store.add(batch(), {"one": RIGHT, "pool": RIGHT}) for _ in range(100)))
    found = await store.read(["one", "pool"])
    assert found["one"].tally == found["pool"].tally
    assert found["one"].tally.audited == 100


async def test_evidence_of_another_calibration_or_judge_is_kept_apart(client: Redis) -> None:
    spaces = {
        keys.evidence_space({"scale": "a"}, "agreement"),
        keys.evidence_space({"scale": "b"}, "agreement"),
        keys.evidence_space({"scale": "a"}, "gpt"),
    }
    assert len(spaces) == 3
    mine, other = (EvidenceStore(client, space=uuid.uuid4().hex) for _ in range(2))
    await mine.add(batch(), {"one": RIGHT})
    assert (await other.read(["one"]))["one"] == Evidence()


async def test_a_standing_is_kept_beside_the_counts(store: EvidenceStore) -> None:
    standing = Standing(0.97, Cause.EVIDENCE, marks=(Tally.from_fields(RIGHT),))
    await store.add(batch(), {"one": RIGHT})
    await store.put_standings({"one": standing})
    await store.add(batch(), {"one": WRONG})
    found = (await store.read(["one"]))["one"]
    assert found.standing == standing
    assert found.tally.audited == 2


async def test_what_another_version_wrote_counts_as_nothing(
    store: EvidenceStore, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await client.hset(store._key("one"), "of-the-future", 1)  # type: ignore[misc]
    await client.hset(store._key("two"), "standing", "{}")  # type: ignore[misc]
    assert await store.read(["one", "two"]) == {"one": Evidence(), "two": Evidence()}
    assert "left aside" in caplog.text


async def test_everything_expires(store: EvidenceStore, client: Redis) -> None:
    same = batch()
    await store.add(same, {"one": RIGHT})
    assert 0 < await client.ttl(store._key("one")) <= evidence.TTL_S
    assert 0 < await client.ttl(keys.evidence_batch_key(same)) <= evidence.BATCH_TTL_S
    await store.put_standings({"two": Standing(0.97, Cause.EVIDENCE)})
    assert 0 < await client.ttl(store._key("two")) <= evidence.TTL_S


async def test_all_its_keys_share_a_slot(store: EvidenceStore) -> None:
    assert "{evidence}" in store._key("one")
    assert "{evidence}" in keys.evidence_batch_key("0a")
