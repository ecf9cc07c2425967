from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from proxy.core import follow_ups
from proxy.core.answers import Answer
from proxy.core.dialects.responses import RESPONSES
from proxy.core.models import HitKind
from proxy.core.outcome import Outcome
from proxy.core.traces import Trace
from proxy.errors import RequestError, StoreError, StoreUnavailableError
from proxy.services.calls import Decision
from proxy.services.follow_ups import FollowUps
from tests.builders import NOW_S, entry
from tests.fake_answers import output_text, response
from tests.proxy.services.auditing import Provider, Unguarded, decision_of


class Kept:
    """A store in memory, that fails when told to."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.error: Exception | None = None

    async def put(self, room: str, response_id: str, kept: bytes, *, ttl_s: int) -> None:
        if self.error is not None:
            raise self.error
        assert ttl_s == 60
        self.found[room] = kept

    async def get(self, room: str, response_id: str) -> bytes | None:
        assert follow_ups.is_ours(response_id)
        return self.found.get(room)

    async def delete(self, room: str) -> bool:
        return self.found.pop(room, None) is not None


class Left:
    """The traces that were left."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []

    async def leave(self, trace: Trace, *, tenant: str, user: str | None, until_s: float) -> None:
        assert until_s == NOW_S + 60
        self.traces.append(trace)


class Bench:
    def __init__(self) -> None:
        self.kept, self.left = Kept(), Left()
        self.follow_ups = FollowUps(
            self.kept, Unguarded(), deadline_s=1.0, ttl_s=60, traces=self.left, now=lambda: NOW_S
        )

    def hit(self, **fields: Any) -> Decision:
        sent = {"model": "m", "input": "Why?", **fields}
        decision = decision_of(Provider(lambda _: ""), Outcome())
        decision.call = dataclasses.replace(
            decision.call,
            dialect=RESPONSES,
            sent=sent,
            body=orjson.dumps(sent),
            request=RESPONSES.canonical(sent, key_user=True),
            user=RESPONSES.user_of(sent),
        )
        stored = RESPONSES.read_json(orjson.dumps(response(output_text("Because."))))
        decision.outcome.serve(HitKind.EXACT, entry(body=orjson.dumps(stored.body)), now_s=NOW_S)
        return decision


async def test_a_follow_up_is_made_whole_again() -> None:
    bench, decision = Bench(), Bench().hit()
    await bench.follow_ups.keep(decision)
    assert decision.answer_id.startswith(follow_ups.ID_PREFIX)
    following = bench.hit(previous_response_id=decision.answer_id).call
    whole = await bench.follow_ups.resolved(following, key_user=True)
    assert len(orjson.loads(whole.body)["input"]) == 3
    assert whole.request.question == "Why?"
    assert len(whole.request.prefix) == 2
    assert whole.sent == following.sent
    with pytest.raises(RequestError) as caught:
        await bench.follow_ups.resolved(dataclasses.replace(following, tenant="stranger"), key_user=True)
    assert (caught.value.status, caught.value.code) == (400, "previous_response_not_found")


async def test_any_other_request_is_left_alone() -> None:
    bench = Bench()
    for call in (bench.hit().call, bench.hit(previous_response_id="resp_of_the_provider").call):
        assert await bench.follow_ups.resolved(call, key_user=True) is call


async def test_what_the_provider_is_not_to_keep_is_not_kept() -> None:
    bench, decision = Bench(), Bench().hit(store=False)
    await bench.follow_ups.keep(decision)
    assert (bench.kept.found, decision.answer_id) == ({}, "")


@pytest.mark.parametrize(
    ("error", "reason"), [(StoreUnavailableError("away"), "redis-unavailable"), (ValueError("odd"), "cache-error")]
)
async def test_a_replay_that_cannot_be_kept_is_not_served(error: Exception, reason: str) -> None:
    bench, decision = Bench(), Bench().hit()
    bench.kept.error = error
    await bench.follow_ups.keep(decision)
    assert decision.outcome.hit is None
    assert decision.outcome.reason == reason
    assert decision.is_store_down is isinstance(error, StoreError)


async def test_a_users_replay_can_be_found_for_erasing() -> None:
    bench, decision = Bench(), Bench().hit(user="ann")
    await bench.follow_ups.keep(decision)
    (trace,) = bench.left.traces
    assert trace.entry_id == decision.answer_id
    assert trace.entry_key == follow_ups.replayed_key(next(iter(bench.kept.found)))


def answered(answer_id: str) -> Answer:
    return RESPONSES.read_json(orjson.dumps(response(output_text("Because."), id=answer_id)))


OURS = f"{follow_ups.ID_PREFIX}1"


async def test_an_answer_under_an_id_of_ours_is_kept_as_it_came() -> None:
    bench = Bench()
    await bench.follow_ups.keep_answer(bench.hit(metadata={"a": "b"}).call, answered(OURS))
    whole = await bench.follow_ups.resolved(bench.hit(previous_response_id=OURS).call, key_user=True)
    assert len(orjson.loads(whole.body)["input"]) == 3
    kept = await bench.follow_ups.find(whole.tenant, OURS)
    assert (kept.response["id"], kept.response["metadata"]) == (OURS, {"a": "b"})
    assert kept.response["output"] == [output_text("Because.")]


@pytest.mark.parametrize(
    ("answer_id", "fields"),
    [("resp_of_the_provider", {}), (OURS, {"store": False}), (OURS, {"deja": {"mode": "exact"}})],
    ids=["the provider's", "not to be stored", "no-store"],
)
async def test_an_answer_that_is_not_to_be_kept_is_not(answer_id: str, fields: dict[str, Any]) -> None:
    bench = Bench()
    call = bench.hit(**fields).call
    if "deja" in fields:
        call = dataclasses.replace(call, directives=dataclasses.replace(call.directives, no_store=True))
    await bench.follow_ups.keep_answer(call, answered(answer_id))
    assert bench.kept.found == {}


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ValueError("odd")])
async def test_an_answer_that_cannot_be_kept_leaves_all_the_same(error: Exception) -> None:
    bench = Bench()
    bench.kept.error = error
    await bench.follow_ups.keep_answer(bench.hit().call, answered(OURS))
    assert bench.kept.found == {}
