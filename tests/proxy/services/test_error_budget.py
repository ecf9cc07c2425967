from __future__ import annotations

from collections import Counter

import pytest

from proxy.core import keys
from proxy.core.confidence import EXACT_ONLY
from proxy.core.decision import Scope
from proxy.errors import RequestError
from proxy.services import live_levels
from proxy.services.asking_again import Asker
from proxy.services.audits import Sampling
from proxy.services.background import Background
from proxy.services.error_budget import ErrorBudget
from tests.proxy.services.auditing import FRESH, Calls, Provider, Unguarded, decision_of, semantic_hit
from tests.proxy.services.test_audits import Judge, Responses
from tests.proxy.services.test_live_levels import CALIBRATED, CALIBRATION, Redis

SHOP = Scope("tenant", "shop")


class Bench:
    """An error budget with everything around it."""

    def __init__(self, share: float = 1.0) -> None:
        self.redis = Redis()
        self.spaces: list[str] = []
        self.background = Background()
        self.told: Counter[tuple[str, str]] = Counter()
        self.budget = ErrorBudget(
            open_store=self.open_store,
            guard=Unguarded(),
            background=self.background,
            responses=Responses(),  # type: ignore[arg-type]
            judge=Judge(),
            asker=Asker(answer_bytes=10_000, on_call=Calls()),
            max_wrong_hit_rate=0.01,
            sampling=Sampling(share, 100),
            on_audit=lambda kind, verdict: self.told.update([(kind, verdict)]),
            on_review=lambda standings, pool: None,
        )

    def open_store(self, space: str) -> Redis:
        self.spaces.append(space)
        return self.redis


async def test_before_a_calibration_is_there_only_exact_hits_are_served_and_nothing_is_audited() -> None:
    bench = Bench()
    levels = (bench.budget.level(SHOP), bench.budget.merge_level(SHOP), bench.budget.judging_level(SHOP))
    assert levels == (EXACT_ONLY,) * 3
    bench.budget.consider(decision_of(Provider(lambda _: FRESH), semantic_hit()), None)
    with pytest.raises(RequestError) as told:
        await bench.budget.report(SHOP)
    assert (told.value.status, told.value.code) == (409, "not_calibrated")
    await bench.budget.drain(deadline_s=1)
    assert not bench.told
    assert not bench.spaces


async def test_from_then_on_the_calibrated_level_holds_and_hits_are_audited_and_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    monkeypatch.setattr(live_levels, "QUIET_HITS", 0)
    bench.budget.begin(CALIBRATION)
    assert bench.budget._levels is not None
    await bench.budget._levels.review()
    assert bench.spaces == [keys.evidence_space(CALIBRATION.as_json(), "told")]
    assert bench.budget.level(SHOP) == bench.budget.judging_level(SHOP) == CALIBRATED
    assert bench.budget.merge_level(SHOP) <= CALIBRATED, "of the less sure order; the mean has reached the level"
    bench.budget.consider(decision_of(Provider(lambda _: FRESH), semantic_hit()), None)
    audit = next(task for task in bench.background._tasks if task.get_name() == "audit")
    await audit
    await bench.background.aclose()
    await bench.budget.drain(deadline_s=5)
    assert bench.told == {("hit", "right"): 1}
    assert bench.redis.counts[keys.EVIDENCE_POOL]["counted"] == 1
    assert (await bench.budget.report(SHOP)).tally.audited == 1


async def test_with_audits_off_the_calibrated_level_stays_whatever_was_found_before() -> None:
    bench = Bench(share=0.0)
    bench.redis.counts[keys.evidence_scope(SHOP.tenant, SHOP.namespace)] = Counter({"wrong:30": 500})
    bench.budget.begin(CALIBRATION)
    bench.budget.consider(decision_of(Provider(lambda _: FRESH), semantic_hit()), None)
    assert not bench.background._tasks
    assert bench.budget.level(SHOP) == CALIBRATED
    await bench.budget.drain(deadline_s=1)
