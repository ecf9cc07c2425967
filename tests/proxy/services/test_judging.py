"""Gates, then the verifier where it can change the outcome, then the level; nothing raises, and every no has its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from embeddings.base import ALONE, OneWay, Score
from embeddings.batching import BatchingVerifier
from embeddings.errors import EmbedderError
from proxy.core.confidence import EXACT_ONLY, Calibration, Evidence
from proxy.core.decision import Judged, Scope
from proxy.core.gates import HARD, GateReason, read
from proxy.core.models import Candidate, Reason
from proxy.services.judging import BELOW_ALONE, LIKELY, MARGIN, VerifyingJudge

SCOPE = Scope("tenant", "")
ASKED = "How do I reset my password?"
CALIBRATION = Calibration(
    scale="test",
    bias=0.0,
    weights=(0.0, 0.0, 1.0, 0.0, 0.0),
    objections={reason.value: 0.0 for reason in GateReason if reason not in HARD},
    knots=((-12.0, 0.0), (12.0, 1.0)),
    levels=((0.01, 0.75),),
)
"""Confidence is 0.5 + logit / 24."""


class Scripted:
    """Scores pairs as told, -6 where nothing was said; remembers what it was asked."""

    fingerprint = "scripted"

    def __init__(self, logits: dict[str, float] | None = None) -> None:
        self.logits = logits or {}
        self.one_way: dict[tuple[str, str], float] = {}
        self.asked: list[OneWay] = []
        self.error: Exception | None = None

    def score(self, pairs: Sequence[OneWay]) -> list[Score]:
        self.asked.extend(pairs)
        if self.error:
            raise self.error
        return [self._score(pair) for pair in pairs]

    def _score(self, pair: OneWay) -> Score:
        told = pair.asked if pair.stored == ASKED else pair.stored
        logit = self.one_way.get((pair.stored, pair.asked), self.logits.get(told, -6.0))
        return Score(logit, 10, is_truncated=False)

    def close(self) -> None:
        pass


class Levels:
    def __init__(self) -> None:
        self.now, self.merging = 0.75, 0.9

    def level(self, scope: Scope) -> float:
        assert scope is SCOPE
        return self.now

    def judging_level(self, scope: Scope) -> float:
        assert scope is SCOPE
        return 0.75

    def merge_level(self, scope: Scope) -> float:
        assert scope is SCOPE
        return self.merging


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def levels() -> Levels:
    return Levels()


@pytest.fixture
async def judge(scripted: Scripted, levels: Levels) -> AsyncIterator[VerifyingJudge]:
    judge = VerifyingJudge(deadline_s=5.0, is_alone=lambda: False)
    judge.use(BatchingVerifier(scripted), CALIBRATION, levels)
    yield judge
    await judge.aclose()


def near(question: str, similarity: float) -> Candidate:
    return Candidate("key", "ent", question, 1.0 - similarity, 0.0, 60)


async def test_what_verifier_and_gates_accept_is_served(judge: VerifyingJudge, scripted: Scripted) -> None:
    scripted.logits["How can I reset my password?"] = 9.0
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.9)], scope=SCOPE)
    assert verdict.chosen == 0
    assert verdict.confidence == pytest.approx(0.5 + (9.0 - ALONE) / 24)
    assert verdict.level == 0.75
    assert verdict.judged[0].logit == 9.0 - ALONE


async def test_how_texts_read_is_remembered_for_the_tenant_that_asked_alone(judge: VerifyingJudge) -> None:
    texts = ("How do I reset the password of my beehive?", "How can I reset my beehive's password?")
    await judge.judge(texts[0], [near(texts[1], 0.9)], scope=SCOPE)
    before = read.cache_info()
    for text in texts:
        read(text, SCOPE.tenant)
    assert (read.cache_info().hits, read.cache_info().misses) == (before.hits + 2, before.misses)
    for text in texts:
        read(text, "another tenant")
        read(text)
    assert read.cache_info().misses == before.misses + 4, "nobody else could tell by time"


async def test_only_the_nearest_is_verified_when_it_serves(judge: VerifyingJudge, scripted: Scripted) -> None:
    scripted.logits["How can I reset my password?"] = 9.0
    candidates = [near("How to reset my password", 0.8), near("How can I reset my password?", 0.9)]
    verdict = await judge.judge(ASKED, candidates, scope=SCOPE)
    assert verdict.chosen == 1
    assert scripted.asked == [OneWay("How can I reset my password?", ASKED)]


async def test_the_others_are_verified_when_the_nearest_does_not_serve(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    scripted.logits["How to reset my password"] = 9.0
    candidates = [near("How to reset my password", 0.8), near("Can I reset my password on the phone?", 0.9)]
    assert (await judge.judge(ASKED, candidates, scope=SCOPE)).chosen == 0


async def test_what_a_hard_gate_refuses_is_never_shown_to_the_verifier(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    verdict = await judge.judge("What is 2 + 2?", [near("What is 2 + 3?", 0.99)], scope=SCOPE)
    assert verdict.reason is GateReason.NUMBER
    assert not scripted.asked


async def test_the_verifier_is_not_asked_what_it_could_not_change(scripted: Scripted, levels: Levels) -> None:
    by_cosine = Calibration("test", -9.0, (10.0, 0, 0, 0, 0), CALIBRATION.objections, ((-9.0, 0.0), (1.0, 1.0)), ())
    judge = VerifyingJudge(deadline_s=5.0, is_alone=lambda: False)
    judge.use(BatchingVerifier(scripted), by_cosine, levels)
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.5)], scope=SCOPE)
    assert verdict.reason is Reason.BELOW_CONFIDENCE
    assert not scripted.asked
    await judge.aclose()


async def test_of_many_candidates_the_nearest_two_that_no_gate_refuses_are_verified(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    wordings = [
        "How to reset my password",
        "What resets my password?",
        "How can my password be reset?",
        "Reset my password how",
    ]
    candidates = [
        near("How do I not reset my password?", 0.95),
        *(near(text, 0.9 - i / 100) for i, text in enumerate(wordings)),
    ]
    verdict = await judge.judge(ASKED, candidates, scope=SCOPE)
    assert scripted.asked == [OneWay(wording, ASKED) for wording in wordings[:2]]
    assert len(verdict.judged) == 5


@pytest.mark.parametrize(("cosine_weight", "is_asked"), [(0.001, False), (0.0, True)])
async def test_what_is_far_off_is_not_verified_unless_cosine_means_nothing(
    scripted: Scripted, levels: Levels, cosine_weight: float, is_asked: bool
) -> None:
    judge = VerifyingJudge(deadline_s=5.0, is_alone=lambda: False)
    judge.use(BatchingVerifier(scripted), replace(CALIBRATION, weights=(cosine_weight, 0, 1, 0, 0)), levels)
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.59)], scope=SCOPE)
    assert verdict.reason is (Reason.VERIFIER if is_asked else Reason.BELOW_CONFIDENCE)
    assert bool(scripted.asked) is is_asked
    await judge.aclose()


async def test_a_caller_may_only_ask_for_more(judge: VerifyingJudge, scripted: Scripted) -> None:
    scripted.logits["How can I reset my password?"] = 9.0
    candidates = [near("How can I reset my password?", 0.9)]
    assert (await judge.judge(ASKED, candidates, scope=SCOPE, floor=0.1)).level == 0.75
    assert (await judge.judge(ASKED, candidates, scope=SCOPE, floor=0.95)).reason is Reason.VERIFIER


async def test_a_spent_budget_leaves_exact_hits_only(judge: VerifyingJudge, levels: Levels, scripted: Scripted) -> None:
    levels.now = EXACT_ONLY
    scripted.logits["How can I reset my password?"] = 9.0
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.99)], scope=SCOPE)
    assert verdict.chosen is None
    assert verdict.reason is Reason.BUDGET
    assert verdict.confidence == pytest.approx(0.875), "audits learn from what would have been served"


async def test_no_candidate_is_said(judge: VerifyingJudge) -> None:
    assert (await judge.judge(ASKED, [], scope=SCOPE)).reason is Reason.NO_CANDIDATE


async def test_a_failing_verifier_refuses_and_raises_nothing(judge: VerifyingJudge, scripted: Scripted) -> None:
    scripted.error = EmbedderError("broken")
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.9)], scope=SCOPE)
    assert verdict.reason is Reason.VERIFIER_UNAVAILABLE


async def test_without_a_verifier_nothing_is_served_by_meaning() -> None:
    judge = VerifyingJudge(deadline_s=5.0, is_alone=lambda: False)
    verdict = await judge.judge(ASKED, [near(ASKED, 1.0)], scope=SCOPE)
    assert verdict.reason is Reason.VERIFIER_UNAVAILABLE


async def test_a_slow_verifier_is_not_waited_for(scripted: Scripted, levels: Levels) -> None:
    judge = VerifyingJudge(deadline_s=0.0, is_alone=lambda: False)
    judge.use(BatchingVerifier(scripted), CALIBRATION, levels)
    verdict = await judge.judge(ASKED, [near("How can I reset my password?", 0.9)], scope=SCOPE)
    assert verdict.reason is Reason.VERIFIER_UNAVAILABLE
    await asyncio.sleep(0)
    await judge.aclose()


async def test_merging_asks_more_of_the_order_that_is_less_sure(judge: VerifyingJudge) -> None:
    served = Judged(0, 0.9, logit=10.0, lower_logit=9.0, confidence=0.92)
    assert await judge.merge_confidence("How can I reset my password?", ASKED, served, scope=SCOPE) is None, (
        "0.875 is less than 0.9"
    )


async def test_a_merge_is_as_sure_as_the_weaker_order(judge: VerifyingJudge) -> None:
    served = Judged(0, 0.9, logit=11.4, lower_logit=10.8, confidence=0.96)
    found = await judge.merge_confidence("How can I reset my password?", ASKED, served, scope=SCOPE)
    assert found == pytest.approx(0.95)


async def test_where_the_weaker_order_suffices_for_a_hit_how_much_is_no_matter(
    judge: VerifyingJudge, levels: Levels
) -> None:
    two = ("How much sleep does a teenager need?", "How many hours of sleep do teenagers need?")
    served = Judged(0, 0.9, logit=11.4, lower_logit=10.8, confidence=0.96)
    assert await judge.merge_confidence(*two, served, scope=SCOPE) == pytest.approx(0.95)
    levels.now = 0.955
    assert await judge.merge_confidence(*two, served, scope=SCOPE) is None


async def test_what_the_verifier_never_read_is_not_merged(judge: VerifyingJudge) -> None:
    assert await judge.merge_confidence(ASKED, ASKED, Judged(0, 1.0, confidence=1.0), scope=SCOPE) is None


# --- one order first --------------------------------------------------------------------------------------------------------------

FAR = "What do I do when my password is lost?"
NEEDED = 6.0
"""Logit for a confidence of 0.75."""


@pytest.mark.parametrize("similarity", [LIKELY - 0.05, LIKELY + 0.05])
async def test_a_first_order_that_refuses_surely_is_the_only_one_read(
    judge: VerifyingJudge, scripted: Scripted, similarity: float
) -> None:
    verdict = await judge.judge(ASKED, [near(FAR, similarity)], scope=SCOPE)
    assert scripted.asked == [OneWay(FAR, ASKED)]
    assert (verdict.chosen, verdict.reason, verdict.judged[0].logit) == (None, Reason.VERIFIER, -6.0 - ALONE)


async def test_a_first_order_that_is_sure_enough_is_the_only_one_read(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    scripted.one_way = {(FAR, ASKED): NEEDED + ALONE}
    verdict = await judge.judge(ASKED, [near(FAR, 0.9)], scope=SCOPE)
    assert scripted.asked == [OneWay(FAR, ASKED)]
    assert (verdict.chosen, verdict.confidence) == (0, 0.75)
    assert verdict.judged[0].lower_logit == NEEDED + ALONE - BELOW_ALONE


@pytest.mark.parametrize(
    ("first", "other", "serves"),
    [
        (NEEDED, NEEDED, True),
        (NEEDED - MARGIN, NEEDED + MARGIN, True),
        (NEEDED + ALONE - 0.01, NEEDED - 1, False),
        (NEEDED - 1, NEEDED + 0.9, False),
    ],
)
async def test_where_the_first_order_settles_it_neither_way_the_mean_of_both_decides(
    judge: VerifyingJudge, scripted: Scripted, first: float, other: float, serves: bool
) -> None:
    scripted.one_way = {(FAR, ASKED): first, (ASKED, FAR): other}
    verdict = await judge.judge(ASKED, [near(FAR, 0.9)], scope=SCOPE)
    assert scripted.asked == [OneWay(FAR, ASKED), OneWay(ASKED, FAR)]
    assert (verdict.chosen == 0) is serves
    assert verdict.judged[0].logit == pytest.approx(max((first + other) / 2, first - ALONE))
    assert verdict.judged[0].lower_logit == min(first, other)


async def test_one_sure_candidate_spares_the_second_orders_of_the_others(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    other = "Where do I find my password?"
    scripted.logits = {FAR: NEEDED - 0.5, other: NEEDED + 2}
    verdict = await judge.judge(ASKED, [near(FAR, 0.75), near(other, 0.7)], scope=SCOPE)
    assert set(scripted.asked) == {OneWay(FAR, ASKED), OneWay(other, ASKED)}
    assert verdict.chosen == 1


async def test_unlikely_pairs_are_read_together(judge: VerifyingJudge, scripted: Scripted) -> None:
    other = "Where do I find my password?"
    verdict = await judge.judge(ASKED, [near(FAR, 0.75), near(other, 0.7)], scope=SCOPE)
    assert set(scripted.asked) == {OneWay(FAR, ASKED), OneWay(other, ASKED)}
    assert verdict.chosen is None


# --- while entries move from one embedder to another ---------------------------------------------------------------------------------


COSINE = replace(CALIBRATION, scale="cosine", weights=(24.0, 0.0, 0.5, 0.0, 0.0), bias=-18.0)
"""Of an embedder that was calibrated: counts cosines, from 0.6 on."""


def moving(question: str, similarity: float) -> Candidate:
    return replace(near(question, similarity), is_earlier=True)


async def test_each_candidates_cosine_is_read_on_the_scale_of_its_own_embedder(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    judge.use_earlier(COSINE)
    scripted.logits["How can I reset my password?"] = 9.0
    served = await judge.judge(ASKED, [moving("How can I reset my password?", 0.99)], scope=SCOPE)
    assert served.chosen == 0
    assert served.confidence == pytest.approx(COSINE.confidence(Evidence(0.99, served.judged[0].logit)))
    refused = await judge.judge(ASKED, [moving("How can I reset my password?", 0.61)], scope=SCOPE)
    assert refused.chosen is None
    now = await judge.judge(ASKED, [near("How can I reset my password?", 0.61)], scope=SCOPE)
    assert now.chosen == 0, "the embedder in use has a calibration that leaves cosines out"


async def test_candidates_of_the_embedder_before_do_not_push_out_those_of_the_one_in_use_nor_the_other_way_round(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    judge.use_earlier(CALIBRATION)
    scripted.logits["How can I reset my password?"] = 9.0
    wrong = ["How do I choose my password?", "How do I store my password?", "How do I share my password?"]
    right = "How can I reset my password?"
    many = [near(question, 0.9) for question in wrong]
    assert (await judge.judge(ASKED, [*many, moving(right, 0.4)], scope=SCOPE)).chosen == 3
    many = [moving(question, 0.9) for question in wrong]
    assert (await judge.judge(ASKED, [*many, near(right, 0.4)], scope=SCOPE)).chosen == 3


async def test_the_candidate_in_use_is_looked_at_first_and_may_settle_it(
    judge: VerifyingJudge, scripted: Scripted
) -> None:
    judge.use_earlier(CALIBRATION)
    scripted.logits["How can I reset my password?"] = 9.0
    candidates = [moving("How could I reset my password?", 0.95), near("How can I reset my password?", 0.9)]
    verdict = await judge.judge(ASKED, candidates, scope=SCOPE)
    assert verdict.chosen == 1
    assert [one.index for one in verdict.judged] == [1]


async def test_later_turns_are_read_by_their_own_map_and_from_a_lower_cosine(
    scripted: Scripted, levels: Levels
) -> None:
    cosine_too = replace(CALIBRATION, weights=(1e-6, 0.0, 1.0, 0.0, 0.0))
    surer = replace(cosine_too, knots=((-12.0, 0.0), (6.0, 1.0)), levels=())
    judge = VerifyingJudge(deadline_s=5.0, is_alone=lambda: False)
    judge.use(BatchingVerifier(scripted), replace(cosine_too, follow_up=surer), levels)
    scripted.logits["And the fee?"] = 4.0  # 0.67 as a first question, 0.89 as a later turn
    candidates = [near("And the fee?", 0.4)]
    first = await judge.judge("What does it cost?", candidates, scope=SCOPE)
    assert (first.chosen, first.reason) == (None, Reason.BELOW_CONFIDENCE)
    later = await judge.judge("What does it cost?", candidates, scope=SCOPE, is_follow_up=True)
    assert later.chosen == 0
    assert later.judged[0].is_follow_up
    assert await judge.merge_confidence("And the fee?", "What does it cost?", later.judged[0], scope=SCOPE) is None
    await judge.aclose()


async def test_the_other_order_is_read_where_merging_hangs_on_it(judge: VerifyingJudge, scripted: Scripted) -> None:
    stored, asked = "How often should the oil be changed?", "What is the interval for changing the oil?"
    served = Judged(0, 0.9, logit=10.5 - ALONE, lower_logit=10.5 - BELOW_ALONE, confidence=0.95, is_one_way=True)
    scripted.one_way[asked, stored] = 10.8
    assert await judge.merge_confidence(stored, asked, served, scope=SCOPE) == pytest.approx(0.9375)
    assert scripted.asked == [OneWay(asked, stored)]
    scripted.one_way[asked, stored] = 8.0
    assert await judge.merge_confidence("How often has the oil to be changed?", asked, served, scope=SCOPE) is None
    scripted.error = EmbedderError("gone")
    assert await judge.merge_confidence("When should the oil be changed?", asked, served, scope=SCOPE) is None


async def test_no_other_order_is_read_where_it_cannot_help(judge: VerifyingJudge, scripted: Scripted) -> None:
    served = Judged(0, 0.9, logit=9.0 - ALONE, lower_logit=9.0 - BELOW_ALONE, confidence=0.86, is_one_way=True)
    assert await judge.merge_confidence("How can I reset my password?", ASKED, served, scope=SCOPE) is None
    both = Judged(0, 0.9, logit=10.0, lower_logit=9.0, confidence=0.92)
    assert await judge.merge_confidence("How can I reset my password?", ASKED, both, scope=SCOPE) is None
    assert scripted.asked == []
