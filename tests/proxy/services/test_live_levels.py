from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys
from proxy.core.budget import Cause, Standing
from proxy.core.confidence import EXACT_ONLY, Calibration, bin_of, logistic
from proxy.core.decision import Scope
from proxy.core.evidence import DeclaredJudge, Evidence, Report, from_fields
from proxy.core.sequences import Interval, JudgeError
from proxy.errors import StoreError, StoreUnavailableError
from proxy.services import live_levels
from proxy.services.live_levels import Budget, LiveLevels

CALIBRATION = Calibration(
    scale="embedder verifier",
    bias=0.0,
    weights=(1.0, 0.0, 1.0, 0.0, 0.0),
    objections={},
    knots=tuple((float(x), logistic(x)) for x in range(-12, 13)),
    levels=((0.002, 0.999), (0.01, 0.995), (0.05, 0.95)),  # with room to spare: doubt alone moves nothing
)
CALIBRATED = 0.995
PERFECT = DeclaredJudge("perfect", JudgeError(), is_trusted=True)
HELD = Budget(CALIBRATION, max_wrong_hit_rate=0.01, merge_rate=0.02, judge=PERFECT)
MINE, OTHER = Scope("tenant", "shop"), Scope("tenant", "")


class Redis:
    """Evidence in memory, shared by workers; fails as told, before or after having done what it was asked."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.standings: dict[str, Standing] = {}
        self.batches: set[str] = set()
        self.failure: StoreError | None = None
        self.is_answer_lost = False
        self.reads: list[list[str]] = []

    async def add(self, batch_id: str, increments: Mapping[str, Mapping[str, int]]) -> bool:
        self._fail()
        if is_new := batch_id not in self.batches:
            self.batches.add(batch_id)
            for tag, fields in increments.items():
                self.counts.setdefault(tag, Counter()).update(fields)
        if self.is_answer_lost:
            raise StoreUnavailableError("the answer was lost")
        return is_new

    async def read(self, tags: list[str]) -> dict[str, Evidence]:
        self._fail()
        self.reads.append(tags)
        return {tag: from_fields(self.counts.get(tag, {}), self.standings.get(tag)) for tag in tags}

    async def put_standings(self, standings: Mapping[str, Standing]) -> None:
        self._fail()
        self.standings.update(standings)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Unguarded:
    """Bounds nothing."""

    @asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        assert deadline_s > 0
        yield


def worker(redis: Redis, held: Budget = HELD) -> LiveLevels:
    return LiveLevels(redis, Unguarded(), held)


async def hits(levels: LiveLevels, scope: Scope, *, wrong: int = 0, right: int = 0) -> None:
    for at in range(wrong + right):
        levels.saw(scope, 0.997)
        levels.add(scope, "hit", 0.997, is_wrong=at < wrong, is_counted=True)
    await levels.review()


async def shadows(levels: LiveLevels, scope: Scope, *, right: int, confidence: float = 0.997) -> None:
    for _ in range(right):
        levels.saw(scope, confidence)
        levels.add(scope, "shadow", confidence, is_wrong=False, is_counted=False)
    await levels.review()


async def test_before_any_audit_the_calibrated_level_holds_without_redis() -> None:
    levels = worker(Redis())
    assert levels.level(MINE) == CALIBRATED


async def test_wrong_hits_close_a_namespace_and_right_shadows_open_it_again(caplog: pytest.LogCaptureFixture) -> None:
    levels = worker(Redis())
    for _ in range(4):
        await hits(levels, MINE, wrong=15, right=15)
    assert levels.level(MINE) == EXACT_ONLY
    assert "exact hits only" in caplog.text
    for _ in range(60):
        await shadows(levels, MINE, right=40)
    assert CALIBRATED <= levels.level(MINE) < 1


async def test_a_closed_namespace_goes_on_being_judged_from_the_calibrated_level_on() -> None:
    levels = worker(Redis())
    await hits(levels, MINE, wrong=40, right=20)
    assert levels.level(MINE) == EXACT_ONLY
    assert levels.judging_level() == CALIBRATED


async def test_right_hits_never_loosen_below_the_calibrated_level() -> None:
    levels = worker(Redis())
    for _ in range(20):
        await hits(levels, MINE, right=100)
        assert levels.level(MINE) >= CALIBRATED


async def test_what_one_worker_found_moves_the_level_of_all() -> None:
    redis = Redis()
    one, two = worker(redis), worker(redis)
    assert two.level(MINE) == CALIBRATED
    await hits(one, MINE, wrong=40, right=20)
    await two.review()
    assert two.level(MINE) == one.level(MINE) == EXACT_ONLY


async def test_a_restart_takes_up_where_the_namespace_stood() -> None:
    redis = Redis()
    await hits(worker(redis), MINE, wrong=40, right=20)
    again = worker(redis)
    again.level(MINE)
    await again.review()
    assert again.level(MINE) == EXACT_ONLY


async def test_a_new_namespace_starts_from_the_pool_and_only_ever_stricter() -> None:
    redis = Redis()
    levels = worker(redis)
    for name in "abcdefgh":
        await hits(levels, Scope("other tenant", name), wrong=30, right=10)
    levels.level(MINE)
    await levels.review()
    assert levels.level(MINE) == EXACT_ONLY
    good = worker(Redis())
    for name in "abcdefgh":
        await hits(good, Scope("other tenant", name), right=300)
    good.level(MINE)
    await good.review()
    assert good.level(MINE) == CALIBRATED


async def test_one_bad_namespace_does_not_close_a_good_one() -> None:
    levels = worker(Redis())
    for _ in range(10):
        await hits(levels, OTHER, right=60)
        await hits(levels, MINE, wrong=2, right=2)
    assert levels.level(MINE) == EXACT_ONLY
    assert levels.level(OTHER) <= 1


async def test_while_redis_is_away_levels_hold_and_nothing_found_is_lost() -> None:
    redis = Redis()
    levels = worker(redis)
    await hits(levels, MINE, wrong=40, right=20)
    redis.failure = StoreUnavailableError("away")
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await hits(levels, MINE, right=1)
        assert levels.level(MINE) == EXACT_ONLY
    redis.failure = None
    await levels.review()
    await levels.review()
    assert redis.counts[keys.EVIDENCE_POOL]["counted"] == 63


async def test_a_batch_whose_answer_was_lost_counts_once() -> None:
    redis = Redis()
    levels = worker(redis)
    redis.is_answer_lost = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            await hits(levels, MINE, right=1)
    redis.is_answer_lost = False
    await levels.review()
    await levels.review()
    assert redis.counts[keys.EVIDENCE_POOL]["counted"] == 3


async def test_a_batch_redis_refuses_for_good_is_given_up_and_said(caplog: pytest.LogCaptureFixture) -> None:
    redis = Redis()
    levels = worker(redis)
    levels.add(MINE, "hit", 0.997, is_wrong=False, is_counted=True)
    redis.failure = StoreError("WRONGTYPE")
    with pytest.raises(StoreError):
        await levels.review()
    redis.failure = None
    await hits(levels, MINE, right=1)
    assert redis.counts[keys.EVIDENCE_POOL]["counted"] == 1
    assert "audits were lost" in caplog.text


async def test_draining_adds_what_waits() -> None:
    redis = Redis()
    levels = worker(redis)
    redis.failure = StoreUnavailableError("away")
    with pytest.raises(StoreUnavailableError):
        await hits(levels, MINE, right=1)
    levels.add(MINE, "hit", 0.997, is_wrong=False, is_counted=True)
    redis.failure = None
    await levels.drain(deadline_s=5)
    assert redis.counts[keys.EVIDENCE_POOL]["counted"] == 2


async def test_draining_without_redis_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    redis = Redis()
    levels = worker(redis)
    levels.add(MINE, "hit", 0.997, is_wrong=False, is_counted=True)
    redis.failure = StoreUnavailableError("away")
    await levels.drain(deadline_s=5)
    assert "not written" in caplog.text


async def test_a_judge_that_may_be_a_coin_moves_no_level() -> None:
    coin = JudgeError(Interval(0.0, 0.6), Interval(0.0, 0.6))
    levels = worker(Redis(), Budget(CALIBRATION, 0.01, 0.002, DeclaredJudge("coin", coin, is_trusted=True)))
    await hits(levels, MINE, wrong=200)
    assert levels.level(MINE) == CALIBRATED


async def test_a_judge_with_false_alarms_closes_nothing_by_itself_and_controls_sharpen_it() -> None:
    redis = Redis()
    coarse = JudgeError(Interval(0.0, 0.2), Interval(0.0, 0.1))
    levels = worker(redis, Budget(CALIBRATION, 0.01, 0.002, DeclaredJudge("coarse", coarse, is_trusted=True)))
    for _ in range(20):
        await hits(levels, MINE, wrong=2, right=28)
    assert levels.level(MINE) == CALIBRATED
    for _ in range(2000):
        levels.add_control(is_wrong=False)
    for _ in range(5):
        await hits(levels, MINE, wrong=2, right=28)
    assert levels.level(MINE) > CALIBRATED


async def test_a_judge_that_is_not_trusted_moves_levels_once_controls_have_measured_it() -> None:
    declared = DeclaredJudge("unknown", JudgeError(Interval(0.0, 0.2), Interval(0.0, 0.1)), is_trusted=False)
    levels = worker(Redis(), Budget(CALIBRATION, 0.01, 0.002, declared))
    await hits(levels, MINE, wrong=100)
    assert levels.level(MINE) == CALIBRATED
    told = await levels.report(MINE)
    assert (told.is_steered, told.tally.audited_wrong) == (False, 100)
    for _ in range(200):
        levels.add_control(is_wrong=False)
    await hits(levels, MINE, wrong=1)
    assert levels.level(MINE) == EXACT_ONLY
    assert (await levels.report(MINE)).is_steered


async def test_it_is_quiet_until_there_is_traffic_worth_auditing() -> None:
    levels = worker(Redis())
    assert levels.is_quiet
    for confidence, count in ((0.5, 1000), (0.997, live_levels.QUIET_HITS - 1)):
        for _ in range(count):
            levels.saw(MINE, confidence)
    await levels.review()
    assert levels.is_quiet
    levels.saw(OTHER, 0.997)
    await levels.review()
    assert not levels.is_quiet


@given(st.floats(0, 1))
def test_what_was_seen_is_counted_in_the_bin_of_its_confidence(confidence: float) -> None:
    levels = worker(Redis())
    levels.saw(MINE, confidence)
    assert levels._seen[MINE][bin_of(confidence)] == 1


async def test_controls_are_wanted_until_they_are_as_many_as_hits() -> None:
    levels = worker(Redis())
    assert levels.wants_controls
    for _ in range(live_levels.CONTROLS_AHEAD):
        levels.add_control(is_wrong=False)
    await levels.review()
    assert not levels.wants_controls
    await hits(levels, MINE, right=1)
    assert levels.wants_controls


async def test_more_is_audited_while_little_is_known() -> None:
    levels = worker(Redis())
    at_first = levels.audit_share(MINE, 0.02)
    for _ in range(10):
        await hits(levels, MINE, right=100)
    assert levels.audit_share(MINE, 0.02) == 0.02 < at_first


async def test_merging_asks_the_level_of_its_own_budget_until_the_level_is_tightened() -> None:
    levels = worker(Redis())
    assert levels.merge_level(MINE) == CALIBRATION.level_for(0.02) <= levels.level(MINE)
    await hits(levels, MINE, wrong=40, right=20)
    assert levels.merge_level(MINE) == EXACT_ONLY


async def test_a_report_tells_the_numbers_of_its_namespace_alone() -> None:
    levels = worker(Redis())
    await hits(levels, MINE, wrong=1, right=9)
    await hits(levels, OTHER, right=5)
    told = await levels.report(MINE)
    assert (told.tally.audited, told.tally.audited_wrong) == (10, 1)
    assert told.standing.level == levels.level(MINE)


async def test_each_review_tells_the_standings_and_the_pool() -> None:
    told: list[tuple[list[Standing], Report]] = []
    levels = LiveLevels(Redis(), Unguarded(), HELD, on_review=lambda standings, pool: told.append((standings, pool)))
    await hits(levels, MINE, right=2)
    (standings, pool) = told[-1]
    assert [standing.cause for standing in standings] == [Cause.CALIBRATED]
    assert pool.tally.audited == 2


async def test_a_namespace_that_is_new_here_is_read_at_once_and_idle_ones_are_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_levels, "LEAST_REVIEW_S", 0.001)
    redis = Redis()
    await hits(worker(redis), MINE, wrong=40, right=20)
    levels = worker(redis)
    task = asyncio.get_running_loop().create_task(levels.run())
    try:
        async with asyncio.timeout(live_levels.REVIEW_S / 2):
            while levels.level(MINE) != EXACT_ONLY:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    redis.reads.clear()
    await levels.review()
    await levels.review()
    assert redis.reads[-1] == [keys.EVIDENCE_POOL]


async def test_no_more_namespaces_are_kept_than_fit_and_a_forgotten_one_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_levels, "SCOPES_KNOWN", 3)
    levels = worker(Redis())
    await hits(levels, MINE, wrong=40, right=20)
    for name in "abcd":
        levels.level(Scope("tenant", name))
        await levels.review()
    assert len(levels._known) == 3
    levels.level(MINE)
    await levels.review()
    assert levels.level(MINE) == EXACT_ONLY


async def test_a_review_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_levels, "LEAST_REVIEW_S", 0.001)
    monkeypatch.setattr(live_levels, "REVIEW_S", 0.002)
    reviews = 0

    def on_review(_: object, __: object) -> None:
        nonlocal reviews
        reviews += 1
        if reviews == 1:
            raise ValueError("a prompt")

    levels = LiveLevels(Redis(), Unguarded(), HELD, on_review=on_review)
    task = asyncio.get_running_loop().create_task(levels.run())
    try:
        async with asyncio.timeout(5):
            while reviews < 3:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert "ValueError" in caplog.text
    assert "a prompt" not in caplog.text


def worker_of(redis: Redis, rates: dict[Scope, float]) -> LiveLevels:
    return LiveLevels(redis, Unguarded(), HELD, rate_of=rates.get)


async def test_a_namespaces_own_budget_sets_its_level_and_nobody_elses() -> None:
    rates = {MINE: 0.05}
    levels = worker_of(Redis(), rates)
    assert (levels.level(MINE), levels.level(OTHER)) == (0.95, CALIBRATED)
    await levels.review()
    assert (levels.level(MINE), levels.level(OTHER)) == (0.95, CALIBRATED)


async def test_a_stricter_budget_holds_at_once_and_a_looser_one_from_the_next_review_on() -> None:
    rates = {MINE: 0.05}
    levels = worker_of(Redis(), rates)
    levels.level(MINE)
    await levels.review()
    rates[MINE] = 0.002
    assert levels.level(MINE) == 0.999
    await levels.review()
    rates[MINE] = 0.05
    assert levels.level(MINE) == 0.999
    await levels.review()
    assert levels.level(MINE) == 0.95
    del rates[MINE]
    assert levels.level(MINE) == CALIBRATED


async def test_a_budget_without_a_certificate_serves_no_hits_by_meaning() -> None:
    levels = worker_of(Redis(), {MINE: 0.0001})
    await levels.review()
    assert levels.level(MINE) == EXACT_ONLY


async def test_audits_are_held_against_the_namespaces_own_budget() -> None:
    """One wrong hit in twenty: too many for one in a hundred, and few enough for one in ten."""
    levels = {}
    for rate in (0.01, 0.1):
        levels[rate] = worker_of(Redis(), {MINE: rate})
        for _ in range(10):
            await hits(levels[rate], MINE, wrong=2, right=38)
    assert levels[0.01].level(MINE) == EXACT_ONLY
    assert CALIBRATION.level_for(0.1) <= levels[0.1].level(MINE) < CALIBRATED
    assert (await levels[0.1].report(MINE)).max_wrong_hit_rate == 0.1


async def test_what_audits_found_still_counts_under_another_budget() -> None:
    rates: dict[Scope, float] = {}
    levels = worker_of(Redis(), rates)
    for _ in range(10):
        await hits(levels, MINE, wrong=20, right=20)
    assert levels.level(MINE) == EXACT_ONLY
    rates[MINE] = 0.02
    await levels.review()
    assert levels.level(MINE) == EXACT_ONLY
