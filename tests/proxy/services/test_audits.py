from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.evidence import DeclaredJudge
from proxy.core.gates import GateReason
from proxy.core.models import Directives, Entry, Forwarded, HitKind, Mode, NotStored, Reason
from proxy.core.outcome import Outcome
from proxy.core.sequences import JudgeError
from proxy.services import audits
from proxy.services.answer_judges import Case
from proxy.services.asking_again import Asker, NoAnswer
from proxy.services.audits import Allowance, Audits, Sampling
from proxy.services.background import Background
from tests.builders import assistant, candidate
from tests.proxy.services.auditing import (
    FRESH,
    STORED,
    Calls,
    Provider,
    Unguarded,
    decision_of,
    semantic_hit,
    stored_entry,
)

SHOP = Scope("tenant", "shop")


class Levels:
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.share: float | None = None
        self.wants_controls = True
        self.is_quiet = False
        self.seen: list[tuple[Scope, float]] = []
        self.found: list[tuple[str, float, bool, bool]] = []
        self.controls: list[bool] = []

    def audit_share(self, scope: Scope, base_share: float) -> float:
        assert scope == SHOP
        return base_share if self.share is None else self.share

    def saw(self, scope: Scope, confidence: float) -> None:
        self.seen.append((scope, confidence))

    def add(self, scope: Scope, kind: str, confidence: float, *, is_wrong: bool, is_counted: bool) -> None:
        assert scope == SHOP
        self.found.append((kind, confidence, is_wrong, is_counted))

    def add_control(self, *, is_wrong: bool) -> None:
        self.controls.append(is_wrong)


class Judge:
    """Says what it is told to; wrong takes a second fresh answer."""

    declared, calls = DeclaredJudge("told", JudgeError(), is_trusted=True), 1

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.is_wrong_ = False
        self.failure: Exception | None = None

    async def is_wrong(self, case: Case) -> bool:
        self.cases.append(case)
        if self.failure:
            raise self.failure
        if self.is_wrong_:
            await case.line.again()
        return self.is_wrong_


class Responses:
    """One stored answer under one key."""

    def __init__(self) -> None:
        self.entry: Entry | None = stored_entry("What lay in Redis.")

    async def fetch(self, redis_key: str) -> Entry | None:
        assert redis_key == candidate().redis_key
        return self.entry


class Bench:
    """Audits with everything around them."""

    def __init__(self, *, share: float = 0.5, calls_per_hour: int = 100, draw: float = 0.0) -> None:
        self.provider = Provider(lambda _: FRESH)
        self.levels, self.judge, self.responses = Levels(), Judge(), Responses()
        self.background = Background()
        self.told: Counter[tuple[str, str]] = Counter()
        self.calls = Calls()
        self.at = 0.0
        self.drawn = draw
        self.audits = Audits(
            levels=self.levels,  # type: ignore[arg-type]
            judge=self.judge,
            asker=Asker(answer_bytes=10_000, on_call=self.calls),
            responses=self.responses,  # type: ignore[arg-type]
            guard=Unguarded(),
            background=self.background,
            sampling=Sampling(share, calls_per_hour),
            on_audit=lambda kind, verdict: self.told.update([(kind, verdict)]),
            draw=lambda: self.drawn,
            now=lambda: self.at,
        )

    async def end(
        self, outcome: Outcome, fresh: str | None = None, directives: Directives | None = None, **body: Any
    ) -> None:
        """A request ends so; wait for its audit."""
        decision = decision_of(self.provider, outcome, directives, **body)
        self.audits.consider(decision, None if fresh is None else assistant(fresh))
        while self.background._tasks:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


def below_level(**fields: Any) -> Outcome:
    """A miss with a likely candidate."""
    judged = Judged(0, 0.9, confidence=0.9)
    verdict = Verdict(None, Reason.BELOW_CONFIDENCE, 0.9, 0.98, (judged,))
    outcome = Outcome(fwd=Forwarded.MISS, reason=Reason.BELOW_CONFIDENCE, candidates=(candidate(),), verdict=verdict)
    return replace(outcome, **fields)


def shadow(kind: HitKind = HitKind.SEMANTIC) -> Outcome:
    """What shadow mode forwarded and would have served."""
    hit = semantic_hit()
    return Outcome(
        fwd=Forwarded.BYPASS,
        reason=Reason.SHADOW,
        would_hit=kind,
        would_serve=hit.entry,
        candidates=hit.candidates if kind is HitKind.SEMANTIC else (),
        verdict=hit.verdict if kind is HitKind.SEMANTIC else None,
    )


def exact() -> Outcome:
    return Outcome(hit=HitKind.EXACT, entry=stored_entry())


# --- what is audited --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_wrong", [False, True])
async def test_a_drawn_hit_is_asked_again_and_judged(is_wrong: bool) -> None:
    bench = Bench()
    bench.judge.is_wrong_ = is_wrong
    await bench.end(semantic_hit(0.99))
    (case,) = bench.judge.cases
    assert (case.stored, case.fresh, case.question) == (STORED, FRESH, "How long do I boil an egg?")
    assert bench.levels.found == [("hit", 0.99, is_wrong, True)]
    assert bench.told == {("hit", "wrong" if is_wrong else "right"): 1}
    assert [purpose for purpose, _ in bench.calls.told] == ["answer"] * (1 + is_wrong)


async def test_every_judged_candidate_is_seen_and_only_the_share_is_audited() -> None:
    bench = Bench(share=0.1, draw=0.2)
    await bench.end(semantic_hit(0.99))
    assert bench.levels.seen == [(SHOP, 0.99)]
    assert not bench.provider.requests
    assert not bench.told


async def test_hits_drawn_beyond_the_base_share_steer_but_do_not_count_for_the_rate_shown() -> None:
    bench = Bench(share=0.1, draw=0.2)
    bench.levels.share = 0.5
    await bench.end(semantic_hit(0.99))
    assert bench.levels.found == [("hit", 0.99, False, False)]


async def test_a_share_of_zero_audits_nothing_at_all() -> None:
    bench = Bench(share=0.0)
    for outcome in (semantic_hit(), below_level(), shadow(), exact()):
        await bench.end(outcome, FRESH)
    assert not bench.judge.cases
    assert not bench.levels.seen


async def test_while_it_is_quiet_candidates_are_seen_and_nothing_is_audited() -> None:
    bench = Bench()
    bench.levels.is_quiet = True
    for outcome in (semantic_hit(), below_level(), shadow(), exact()):
        await bench.end(outcome, FRESH)
    assert not bench.judge.cases
    assert len(bench.levels.seen) == 3


async def test_a_caller_who_forbade_asking_the_provider_is_not_asked_for() -> None:
    bench = Bench()
    for outcome in (semantic_hit(), exact()):
        await bench.end(outcome, directives=Directives(namespace="shop", only_if_cached=True))
    assert not bench.provider.requests


async def test_in_shadow_mode_every_would_be_hit_is_audited_without_another_call() -> None:
    bench = Bench(share=0.1, draw=0.9)
    await bench.end(shadow(), "The fresh one.", Directives(namespace="shop", mode=Mode.SHADOW))
    (case,) = bench.judge.cases
    assert (case.stored, case.fresh) == (STORED, "The fresh one.")
    assert bench.levels.found == [("hit", 0.99, False, False)]
    assert bench.told == {("shadow", "right"): 1}
    assert not bench.provider.requests


async def test_a_candidate_below_the_level_is_audited_by_the_answer_that_is_there_anyway() -> None:
    bench = Bench(draw=0.99)
    await bench.end(below_level(), "The fresh one.")
    (case,) = bench.judge.cases
    assert (case.stored, case.fresh) == ("What lay in Redis.", "The fresh one.")
    assert bench.levels.found == [("shadow", 0.9, False, False)]
    assert not bench.provider.requests


async def test_a_candidate_that_a_gate_refused_says_nothing_about_hits() -> None:
    refused = Judged(0, 0.99, gate=GateReason.NUMBER, confidence=0.99)
    verdict = Verdict(None, GateReason.NUMBER, None, 0.98, (refused,))
    bench = Bench()
    await bench.end(below_level(verdict=verdict), FRESH)
    assert not bench.judge.cases
    assert not bench.levels.seen


async def test_a_candidate_that_is_rather_wrong_is_seen_and_not_audited() -> None:
    verdict = Verdict(None, Reason.BELOW_CONFIDENCE, 0.3, 0.98, (Judged(0, 0.7, confidence=0.3),))
    bench = Bench()
    await bench.end(below_level(verdict=verdict), FRESH)
    assert not bench.judge.cases
    assert bench.levels.seen == [(SHOP, 0.3)]


@pytest.mark.parametrize(
    ("fresh", "not_stored"),
    [
        (None, None),
        (" ", None),
        (FRESH, NotStored.FINISH_REASON),
        (FRESH, NotStored.REFUSAL),
        (FRESH, NotStored.PARTIAL),
    ],
)
async def test_a_fresh_answer_that_is_no_whole_answer_is_not_compared(
    fresh: str | None, not_stored: NotStored | None
) -> None:
    bench = Bench()
    await bench.end(below_level(not_stored=not_stored), fresh)
    assert not bench.judge.cases


@pytest.mark.parametrize("not_stored", [None, NotStored.REQUEST, NotStored.STORE_FULL])
async def test_a_fresh_answer_may_be_compared_though_it_was_not_stored(not_stored: NotStored | None) -> None:
    bench = Bench()
    await bench.end(below_level(not_stored=not_stored), FRESH)
    assert bench.judge.cases


async def test_an_exact_repeat_is_a_control_of_the_judge() -> None:
    bench = Bench()
    bench.judge.is_wrong_ = True
    await bench.end(exact())
    assert bench.levels.controls == [True]
    assert not bench.levels.found
    assert bench.told == {("control", "wrong"): 1}


async def test_in_shadow_mode_a_control_costs_no_call() -> None:
    bench = Bench()
    await bench.end(shadow(HitKind.EXACT), FRESH)
    assert bench.levels.controls == [False]
    assert not bench.provider.requests


async def test_controls_stop_when_there_are_enough() -> None:
    bench = Bench()
    bench.levels.wants_controls = False
    await bench.end(exact())
    assert not bench.provider.requests


async def test_what_changes_by_the_hour_is_no_control(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.core import routing

    monkeypatch.setattr(routing, "exact_only", lambda *_, **__: "volatile")
    bench = Bench()
    await bench.end(exact())
    assert not bench.provider.requests


# --- what it may cost -------------------------------------------------------------------------------------------------------------


async def test_calls_are_bounded_within_any_hour() -> None:
    bench = Bench(calls_per_hour=5)
    bench.judge.is_wrong_ = True  # two calls each
    for _ in range(10):
        await bench.end(semantic_hit())
    assert len(bench.provider.requests) == 4
    assert bench.told == {("hit", "wrong"): 2, ("hit", "skipped"): 8}
    bench.at = 3600.0
    await bench.end(semantic_hit())
    assert len(bench.provider.requests) == 6


async def test_calls_that_were_not_needed_may_be_made_by_others() -> None:
    bench = Bench(calls_per_hour=3)
    for _ in range(4):
        await bench.end(semantic_hit())
    assert bench.told == {("hit", "right"): 2, ("hit", "skipped"): 2}


async def test_an_audit_that_finds_a_wrong_answer_never_ends_for_want_of_calls() -> None:
    bench = Bench(calls_per_hour=1)
    bench.judge.is_wrong_ = True
    await bench.end(below_level(), FRESH)
    await bench.end(below_level(), FRESH)
    assert bench.told == {("below", "wrong"): 1, ("below", "skipped"): 1}


async def test_audits_of_what_is_there_anyway_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    for _ in range(audits.SHADOWS_PER_MINUTE + 5):
        await bench.end(below_level(), FRESH)
    assert len(bench.judge.cases) == audits.SHADOWS_PER_MINUTE


async def test_only_a_few_run_at_once() -> None:
    bench = Bench()
    decision = decision_of(bench.provider, semantic_hit())
    for _ in range(audits.MOST_AT_ONCE + 3):
        bench.audits.consider(decision, None)
    assert bench.told == {("hit", "skipped"): 3}
    await bench.background.aclose()


# --- what may go wrong ------------------------------------------------------------------------------------------------------------


async def test_without_a_verdict_nothing_is_found_and_the_reason_is_counted() -> None:
    bench = Bench()
    bench.judge.failure = NoAnswer("unparsable")
    await bench.end(semantic_hit())
    assert bench.told == {("hit", "unparsable"): 1}
    assert not bench.levels.found


async def test_an_entry_that_is_gone_cannot_be_audited() -> None:
    bench = Bench()
    bench.responses.entry = None
    await bench.end(below_level(), FRESH)
    assert bench.told == {("below", "unusable"): 1}


async def test_a_defect_costs_the_audit_and_never_the_request(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    broken = replace(semantic_hit(), candidates=())
    broken.verdict = Verdict(7, None, judged=(Judged(7, 0.9, confidence="high"),))  # type: ignore[arg-type]
    bench.levels.saw = None  # type: ignore[assignment]
    await bench.end(broken)
    assert "not audited" in caplog.text


async def test_shutting_down_cancels_an_audit_and_hangs_up() -> None:
    bench = Bench()

    async def forever(_: Case) -> bool:
        await asyncio.sleep(60)
        return False

    bench.judge.is_wrong = forever  # type: ignore[method-assign]
    bench.audits.consider(decision_of(bench.provider, semantic_hit()), None)
    while not bench.provider.responses:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    await bench.background.aclose()
    assert all(response.is_closed for response in bench.provider.responses)
    assert not bench.levels.found


def test_an_allowance_is_kept_in_every_span() -> None:
    at = 0.0
    allowance = Allowance(3, 10.0, lambda: at)
    assert allowance.take(2)
    assert not allowance.take(2)
    at = 5.0
    assert allowance.take(1)
    at = 9.9
    assert not allowance.take(1)
    at = 10.0
    assert allowance.take(2)
    assert not allowance.take(1)
    allowance.give_back(1)
    assert allowance.take(1)
