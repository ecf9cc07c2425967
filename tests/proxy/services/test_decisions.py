from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest

from proxy.core.context import Context
from proxy.core.decision import Judged, Verdict
from proxy.core.decision_log import DecisionRecord, Room, Seen
from proxy.core.dialects.chat import CHAT
from proxy.core.models import Directives, Entry, Forwarded, HitKind, Mode, Reason
from proxy.errors import RequestError
from proxy.services import decisions as services
from proxy.services.calls import Call, Decision
from proxy.services.decisions import DecisionLog, Decisions
from tests.builders import MODEL, NOW_S, QUESTION, candidate, chat_body, chat_request, entry, place

TENANT = "a" * 32


class Route:
    """A provider."""

    identity = "https://api.openai.com/v1"
    upstream: Any = None

    def rewrite(self, request: Any) -> Any:
        return request


class Queue:
    """A recorder that keeps what it was given."""

    def __init__(self) -> None:
        self.taken: list[tuple[DecisionRecord, Room | None]] = []

    def put(self, record: tuple[DecisionRecord, Room | None]) -> None:
        self.taken.append(record)


class Clock:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def decision(**directives: Any) -> Decision:
    """A decision nobody has made yet."""
    call = Call(
        dialect=CHAT,
        request_id="req_1",
        tenant=TENANT,
        request=chat_request(),
        directives=Directives(**directives),
        sent=chat_body(),
        query=b"",
        sent_headers=(),
        travelling=tuple,
        body=b"{}",
        distinctions=(),
        prompt_chars=10,
        began_at=0.0,
    )
    return Decision(call, Route(), place(tenant=TENANT), context=Context("c1", 1.0, is_merged=False))


def hit(kind: HitKind, served: Entry | None = None, **directives: Any) -> Decision:
    made = decision(**directives)
    if kind is HitKind.SEMANTIC:
        searched(made)
    made.outcome.serve(kind, served or entry(), now_s=NOW_S)
    return made


def searched(made: Decision) -> Decision:
    made.is_searched = True
    made.outcome.candidates = (candidate(entry_id="ent_near"), candidate(entry_id="ent_far", distance=0.2))
    made.outcome.verdict = Verdict(0, None, 0.98, 0.97, (Judged(0, 0.95, confidence=0.98),))
    return made


def recorded(made: Decision, *, is_on: bool = True) -> DecisionRecord | None:
    queue = Queue()
    DecisionLog(queue, is_on=is_on, now=Clock()).put(made)  # type: ignore[arg-type]
    return queue.taken[0][0] if queue.taken else None


# --- writing -----------------------------------------------------------------------------------------------------------------------


def test_a_semantic_hit_is_recorded_with_what_was_compared() -> None:
    made = hit(HitKind.SEMANTIC, namespace="n")
    assert recorded(made) == DecisionRecord(
        request_id="req_1",
        at=NOW_S,
        tenant=TENANT,
        namespace="n",
        model=MODEL,
        room=made.place.room,
        context="c1",
        outcome="semantic",
        reason="",
        level=0.97,
        asked=QUESTION,
        seen=(
            Seen("ent_near", QUESTION, 0.95, confidence=0.98, is_chosen=True),
            Seen("ent_far", QUESTION, 0.8, is_judged=False),
        ),
        served=entry().entry_id,
        served_at=candidate().redis_key,
    )


def test_an_exact_hit_is_recorded_without_a_text_and_with_the_key_that_points_at_its_entry() -> None:
    made = hit(HitKind.EXACT)
    found = recorded(made)
    assert found is not None
    assert (found.tier, found.asked, found.seen) == ("exact", None, ())
    assert (found.served, found.served_at.endswith(made.place.fingerprint)) == (entry().entry_id, True)


def test_a_question_that_was_not_matched_by_meaning_leaves_no_text() -> None:
    made = decision()
    made.outcome.forward(Forwarded.MISS, "volatile")
    found = recorded(made)
    assert found is not None
    assert (found.asked, found.reason) == (None, "volatile")


def test_a_miss_says_what_became_of_the_answer() -> None:
    made = searched(decision())
    made.outcome.forward(Forwarded.MISS, Reason.BELOW_CONFIDENCE)
    made.outcome.stored_as = "ent_new"
    found = recorded(made)
    assert found is not None
    assert (found.stored, found.served, found.served_at) == ("ent_new", "", "")


@pytest.mark.parametrize("directives", [{"no_store": True}, {"mode": Mode.OFF}], ids=["no-store", "off"])
def test_what_asks_to_leave_no_trace_leaves_none(directives: dict[str, Any]) -> None:
    assert recorded(hit(HitKind.EXACT, **directives)) is None


def test_switched_off_it_takes_nothing() -> None:
    assert recorded(hit(HitKind.EXACT), is_on=False) is None


def test_a_room_is_told_when_first_met_and_then_once_a_minute() -> None:
    queue, clock = Queue(), Clock()
    log = DecisionLog(queue, is_on=True, now=clock)  # type: ignore[arg-type]
    for _ in range(3):
        log.put(hit(HitKind.EXACT))
        clock.now_s += services.ROOM_AGAIN_S / 2
    assert [room is not None for _, room in queue.taken] == [True, False, True]


# --- shadow ------------------------------------------------------------------------------------------------------------------------


def shadowed(kind: HitKind) -> Decision:
    made = decision(mode=Mode.SHADOW)
    if kind is HitKind.SEMANTIC:
        searched(made)
    made.outcome.would_hit, made.outcome.would_serve = kind, entry()
    made.outcome.forward(Forwarded.BYPASS, Reason.SHADOW)
    made.outcome.stored_as = "ent_fresh"
    return made


@pytest.mark.parametrize("kind", HitKind)
def test_in_shadow_mode_both_answers_are_named(kind: HitKind) -> None:
    found = recorded(shadowed(kind))
    assert found is not None
    assert (found.outcome, found.would_hit, found.tier) == ("bypass", kind.value, kind.value)
    assert (found.served, found.stored, found.is_hit) == (entry().entry_id, "ent_fresh", False)
    assert found.served_at


# --- reading -----------------------------------------------------------------------------------------------------------------------


class Store:
    """Decisions in memory; those in `late` are there from the second look on."""

    def __init__(self, *records: DecisionRecord, late: bool = False, rooms: tuple[Room, ...] = ()) -> None:
        self.records = list(records)
        self.known = list(rooms)
        self.late = late

    async def read(self, tenant: str, request_id: str) -> DecisionRecord | None:
        if self.late:
            self.late = False
            return None
        return next((one for one in self.records if (one.tenant, one.request_id) == (tenant, request_id)), None)

    async def recent(
        self, tenant: str, namespace: str | None = None, *, limit: int, is_judged: bool = True
    ) -> AsyncIterator[DecisionRecord]:
        for one in self.records[:limit]:
            if one.tenant == tenant and one.is_judged == is_judged and namespace in (None, one.namespace):
                yield one

    async def rooms(self, tenant: str) -> list[Room]:
        return self.known if tenant == TENANT else []

    async def vote(self, tenant: str, request_id: str, vote: str) -> None:
        self.records = [one._replace(vote=vote) if one.request_id == request_id else one for one in self.records]


class Unguarded:
    """No deadline, no breaker."""

    def within(self, deadline_s: float) -> Any:
        return nullcontext()


class Levels:
    """A level for every budget."""

    def level_for(self, max_wrong_hit_rate: float, /) -> float:
        return 1.0 - 5 * max_wrong_hit_rate


def record(number: int = 1, **fields: Any) -> DecisionRecord:
    seen = (Seen("ent_1", f"stored {number}", 0.9, confidence=0.93),)
    made = DecisionRecord(
        f"req_{number}", float(number), TENANT, "", MODEL, "0a", "c", "miss", "no-candidate", asked="asked", seen=seen
    )
    return made._replace(**fields)


def reader(store: Store, *, is_calibrated: bool = True) -> Decisions:
    levels = Levels() if is_calibrated else None
    return Decisions(store, Unguarded(), levels=lambda: levels, deadline_s=1.0)


async def test_a_decision_that_is_still_on_its_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "WAIT_S", (0.0,))
    assert await reader(Store(record(), late=True)).find(TENANT, "req_1") == record()


async def test_another_tenants_decision_is_not_found_in_the_same_words_as_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "WAIT_S", ())
    said = []
    for tenant, request_id in (("somebody", "req_1"), (TENANT, "req_9")):
        with pytest.raises(RequestError) as refused:
            await reader(Store(record())).find(tenant, request_id)
        said.append((refused.value.status, refused.value.message))
    assert said[0] == said[1]
    assert said[0][0] == 404


async def test_an_explanation_looks_only_at_what_came_before() -> None:
    rooms = (
        Room("0b", {"model": "2"}, 9.0),
        Room("0a", {"model": "1"}, 9.0),
        Room("0c", {"model": "3", "seed": "1"}, 1.0),
    )
    store = Store(record(9), record(2, seen=()), rooms=rooms)
    found = await reader(store).explain(TENANT, "req_2")
    assert found.nearest_room is not None
    assert found.nearest_room.fields == ("model", "seed"), "the nearer room came later"


async def test_what_if_replays_at_the_level_of_the_budget() -> None:
    store = Store(record(1), record(2, namespace="n"), record(3, asked=None))
    found = await reader(store).what_if(TENANT, 0.02, namespace=None, limit=10, show=10)
    assert (found.level, found.decisions, found.then.hits) == (pytest.approx(0.9), 2, 2)
    strict = await reader(store).what_if(TENANT, 0.01, namespace="n", limit=10, show=10)
    assert (strict.decisions, strict.then.hits) == (1, 0)


async def test_without_a_calibration_there_is_no_what_if() -> None:
    with pytest.raises(RequestError, match="not calibrated") as refused:
        await reader(Store(), is_calibrated=False).what_if(TENANT, 0.02, namespace=None, limit=1, show=1)
    assert refused.value.status == 409
