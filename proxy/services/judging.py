"""The judge behind the port: gates first, then the verifier where it can change the outcome, then the calibrated confidence.

Theory of operation. A hit needs all of it: no hard gate refuses, the verifier has read both texts, and the confidence that the
calibration makes of cosine, logit and soft objections reaches the level of the caller's scope. A pair that would stay below the level at
the verifier's highest praise is not shown to it. The verifier reads two texts in one order first, and in the other where that settles it
neither way. The nearest candidate is verified alone, since it usually serves; the others follow together, and only if it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from embeddings.base import ALONE, OneWay, Score
from embeddings.batching import BatchingVerifier
from embeddings.errors import EmbedderError
from proxy.core import decision
from proxy.core.confidence import EXACT_ONLY, Calibration, Evidence
from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.gates import read
from proxy.core.models import Candidate, Reason
from proxy.ports import Levels

logger = logging.getLogger("deja.judging")

INLINE_CHARS = 240
"""Of both texts: as for the embedder, a short pair is scored on the event loop where nobody else waits for it."""

LIKELY = 0.8
"""Cosine from which the nearest candidate usually serves, and is verified before the others. Below, all are read together."""
MARGIN = 2.0
"""By how much the mean of both orders may lie above the first, in logits. Of 728 pairs that reached a logit of 2 one lay further, of 556
that reached 3 none; 73 to 84 % of the pairs that did not reach theirs were settled by the first order (groups of questions of our own)."""
BELOW_ALONE = 1.5
"""By how much the second order may lie below a first one that settled it alone: merging asks for the less sure of both. It lay
further below in one of twenty of 204 such pairs."""
VERIFIED = 2
"""Candidates shown to the verifier, at most: the nearest of those that no gate refuses. The index offers more, since near misses crowd
round a question and the gates thin them out. Each costs a miss as much as an embedding (decision 0010)."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What is to be judged: `level` serves; from `worth` on a candidate is judged in full."""

    asked: str
    candidates: Sequence[Candidate]
    level: float
    worth: float
    whose: str
    is_follow_up: bool


class VerifyingJudge:
    """Implements `proxy.ports.Judge`.

    Args:
        deadline_s: for the verifier; longer, and the call goes upstream.
        is_alone: whether one request is all that this process is busy with.
    """

    def __init__(self, *, deadline_s: float, is_alone: Callable[[], bool]) -> None:
        self._deadline_s = deadline_s
        self._is_alone = is_alone
        self._verifier: BatchingVerifier | None = None
        self._calibration: Calibration | None = None
        self._earlier: Calibration | None = None
        self._levels: Levels | None = None

    def use(self, verifier: BatchingVerifier, calibration: Calibration, levels: Levels) -> None:
        """The models are there, and what the confidence has to reach."""
        self._verifier, self._calibration, self._levels = verifier, calibration, levels

    def use_earlier(self, calibration: Calibration | None) -> None:
        """There are candidates of the embedder before, too, whose cosines this one reads; None once there are none any more."""
        self._earlier = calibration

    async def aclose(self) -> None:
        """Let the model go."""
        if self._verifier is not None:
            await self._verifier.aclose()

    def warm_up(self) -> None:
        """Read the gates' word lists now (some 60 ms), and not during the first request."""
        decision.screen("Is it warm?", [(0, "Is it warm now?", 1.0)])

    def level(self, scope: Scope) -> float:
        """The confidence a hit needs in this scope; above 1 for exact hits only."""
        return EXACT_ONLY if self._levels is None else self._levels.level(scope)

    async def judge(
        self,
        asked: str,
        candidates: Sequence[Candidate],
        *,
        scope: Scope,
        floor: float | None = None,
        is_follow_up: bool = False,
    ) -> Verdict:
        """Choose the candidate that serves most surely."""
        level = max(self.level(scope), floor or 0.0)
        if not candidates:
            return Verdict(None, Reason.NO_CANDIDATE, level=level)
        if self._levels is None:
            return Verdict(None, Reason.VERIFIER_UNAVAILABLE, level=level)
        # A level may have been tightened: what lies between is still judged, so that audits can learn from it and loosen it again.
        worth = min(level, self._levels.judging_level(scope))
        case = _Case(asked, candidates, level, worth, scope.tenant, is_follow_up)
        try:
            async with asyncio.timeout(self._deadline_s):
                verdict = decision.choose(await self._look_at_all(case), level)
                return replace(verdict, reason=Reason.BUDGET) if level > 1.0 else verdict
        except TimeoutError:
            logger.debug("not verified: no score within %.0f ms", self._deadline_s * 1000)
        except EmbedderError as error:
            logger.debug("not verified: %s", error)
        return Verdict(None, Reason.VERIFIER_UNAVAILABLE, level=level, judged=_screened(case))

    async def merge_confidence(self, stored: str, asked: str, judged: Judged, *, scope: Scope) -> float | None:
        """How sure it is that the two wordings may share the rest of their conversations, None if they may not."""
        if self._levels is None or judged.lower_logit is None or judged.logit is None:
            return None
        sure = self._sure_to_merge(stored, asked, judged, judged.lower_logit, scope, self._levels)
        first = judged.logit + ALONE
        if sure is not None or not judged.is_one_way:
            return sure
        if self._sure_to_merge(stored, asked, judged, first, scope, self._levels) is None:
            return None  # whatever the other order says
        try:
            async with asyncio.timeout(self._deadline_s):
                (second,) = await self._scores([OneWay(asked, stored)], scope.tenant)
        except (TimeoutError, EmbedderError) as error:
            logger.debug("not merged: no score of the other order (%s)", type(error).__name__)
            return None
        return self._sure_to_merge(stored, asked, judged, min(first, second.logit), scope, self._levels)

    def _sure_to_merge(
        self, stored: str, asked: str, judged: Judged, lower_logit: float, scope: Scope, levels: Levels
    ) -> float | None:
        """The same, if this is the logit of the less sure order."""
        confidence = self._confidence(replace(judged, logit=lower_logit))
        is_sure = confidence >= self.level(scope)
        if decision.why_not_merge(read(stored, scope.tenant), read(asked, scope.tenant), is_sure=is_sure) is not None:
            return None
        return confidence if confidence >= levels.merge_level(scope) else None

    async def _look_at_all(self, case: _Case) -> list[Judged]:
        """Judge the candidates, those of the embedder before by themselves: nearest there is another matter than nearest here."""
        every = range(len(case.candidates))
        if self._earlier is None or not any(one.is_earlier for one in case.candidates):
            return await self._look(case, every)
        judged: list[Judged] = []
        for is_earlier in (False, True):
            some = [index for index in every if case.candidates[index].is_earlier is is_earlier]
            if some and not any((one.confidence or 0.0) >= case.level for one in judged):
                judged += await self._look(case, some)
        return sorted(judged, key=lambda one: -one.similarity)

    async def _look(self, case: _Case, some: Sequence[int]) -> list[Judged]:
        """Judge the nearest of some, then if it does not serve the others, as far as they can reach `worth`; most similar first."""
        order = sorted(some, key=lambda index: -case.candidates[index].similarity)
        reading = read(case.asked, case.whose)
        nearest = case.candidates[order[0]]
        judged: list[Judged] = []
        left = VERIFIED
        for group in (order[:1], order[1:]) if nearest.similarity >= LIKELY else (order,):
            near = [(index, case.candidates[index].question, case.candidates[index].similarity) for index in group]
            screened = [
                replace(one, is_earlier=nearest.is_earlier, is_follow_up=case.is_follow_up)
                for one in decision.screen(reading, near, case.whose)
            ]
            open_ = [one for one in screened if self._is_open(one, case.worth)][:left]
            left -= len(open_)
            verified = await self._verify(case, open_)
            judged += [verified.get(one.index, one) for one in screened]
            if any((one.confidence or 0.0) >= case.level for one in verified.values()):
                break
        return judged

    async def _verify(self, case: _Case, open_: Sequence[Judged]) -> dict[int, Judged]:
        """Fill in logits and confidences; second orders are read where no first one is sure enough and some leave hope."""
        stored = [case.candidates[one.index].question for one in open_]
        first = await self._scores([OneWay(text, case.asked) for text in stored], case.whose)
        verified = [
            self._said(replace(one, is_one_way=True), score.logit - ALONE, score.logit - BELOW_ALONE)
            for one, score in zip(open_, first, strict=True)
        ]
        if not any((one.confidence or 0.0) >= case.level for one in verified):
            ceilings = [
                self._confidence(replace(one, logit=score.logit + MARGIN))
                for one, score in zip(open_, first, strict=True)
            ]
            hopeful = [at for at, ceiling in enumerate(ceilings) if ceiling >= case.worth]
            back = await self._scores([OneWay(case.asked, stored[at]) for at in hopeful], case.whose)
            for at, other in zip(hopeful, back, strict=True):
                both = first[at].with_other_order(other)
                verified[at] = self._said(open_[at], both.decisive_logit, both.lower_logit)
        return {one.index: one for one in verified}

    def _said(self, judged: Judged, logit: float, lower_logit: float) -> Judged:
        told = replace(judged, logit=logit, lower_logit=lower_logit)
        return replace(told, confidence=self._confidence(told))

    async def _scores(self, pairs: Sequence[OneWay], whose: str) -> list[Score]:
        assert self._verifier is not None
        if len(pairs) != 1:  # several go to the model together
            return await asyncio.gather(*(self._verifier.get(pair, whose=whose) for pair in pairs))
        (pair,) = pairs
        chars = len(pair.stored) + len(pair.asked)
        inline = self._is_alone() and chars <= INLINE_CHARS
        return [await self._verifier.get(pair, whose=whose, inline=inline)]

    def _is_open(self, judged: Judged, worth: float) -> bool:
        """Whether the verifier could make it worth serving."""
        if judged.gate is not None:
            return False
        calibration = self._scale(judged)
        # Other embedders' cosines mean something else: a calibration that leaves them out knows no cosine that is too low.
        is_near = judged.similarity >= decision.worth_verifying(judged.is_follow_up) or not calibration.uses_cosine
        return is_near and calibration.ceiling(_evidence(judged)) >= worth

    def _confidence(self, judged: Judged) -> float:
        return self._scale(judged).confidence(_evidence(judged))

    def _scale(self, judged: Judged) -> Calibration:
        """What reads the cosine of a candidate: the calibration of the embedder that it comes from, for that place in a conversation."""
        found = self._earlier if judged.is_earlier and self._earlier is not None else self._calibration
        assert found is not None
        return found.of(is_follow_up=judged.is_follow_up)


def _screened(case: _Case) -> tuple[Judged, ...]:
    near = [(index, candidate.question, candidate.similarity) for index, candidate in enumerate(case.candidates)]
    return tuple(sorted(decision.screen(case.asked, near, case.whose), key=lambda one: -one.similarity))


def _evidence(judged: Judged) -> Evidence:
    return Evidence(judged.similarity, judged.logit, frozenset(reason.value for reason in judged.objections))
