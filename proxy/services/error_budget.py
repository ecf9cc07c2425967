"""The error budget of one process: levels that follow live audits, from the moment a calibration is there.

Before that nothing can be served by meaning, so the level is that of exact hits only. With audits turned off the calibrated level stays.
Implements `proxy.ports.Levels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.core import keys
from proxy.core.confidence import EXACT_ONLY, Calibration
from proxy.core.decision import Scope
from proxy.core.evidence import Report
from proxy.errors import RequestError
from proxy.ports import Guard, ResponseStore
from proxy.services.answer_judges import AnswerJudge
from proxy.services.asking_again import Asker
from proxy.services.audits import Audits, Sampling
from proxy.services.background import Background
from proxy.services.calls import Decision
from proxy.services.live_levels import Budget, EvidenceKeeper, LiveLevels, OnReview

MERGE_TIMES = 2.0
"""Two conversations go on as one where the pair may be served and, besides, the less sure of the verifier's two orders reaches the level of
twice the budget, and the merge gates pass: of pairs that may be served, those whose orders disagree are the doubtful ones."""


class ErrorBudget:
    """Levels, and the audits behind them.

    Args:
        open_store: gives the evidence of a space (`keys.evidence_space`).
        guard: bounds what Redis may cost.
        background: where reviews and audits run.
        responses: where stored answers are.
        judge: compares answers.
        asker: asks providers again.
        max_wrong_hit_rate: the budget.
        sampling: how much is audited.
        on_audit: told of each audit, see `Audits`.
        on_counted: told of those that count for the wrong-hit rate, see `Audits`.
        on_review: told of each review, see `LiveLevels`.
        rate_of: a namespace's own budget, None where it has none.
    """

    def __init__(
        self,
        *,
        open_store: Callable[[str], EvidenceKeeper],
        guard: Guard,
        background: Background,
        responses: ResponseStore,
        judge: AnswerJudge,
        asker: Asker,
        max_wrong_hit_rate: float,
        sampling: Sampling,
        on_audit: Callable[[str, str], None],
        on_review: OnReview,
        rate_of: Callable[[Scope], float | None] = lambda _: None,
        on_counted: Callable[[str, bool], None] = lambda _, __: None,
    ) -> None:
        self._on_counted = on_counted
        self._open_store = open_store
        self._guard = guard
        self._background = background
        self._responses = responses
        self._judge = judge
        self._asker = asker
        self._max_wrong_hit_rate = max_wrong_hit_rate
        self._sampling = sampling
        self._on_audit = on_audit
        self._on_review = on_review
        self._rate_of = rate_of
        self._levels: LiveLevels | None = None
        self._audits: Audits | None = None

    def begin(self, calibration: Calibration) -> None:
        """Hold levels against this calibration from now on, and audit. Called once, when the models are there."""
        space = keys.evidence_space(calibration.as_json(), self._judge.declared.name)
        budget = self._max_wrong_hit_rate
        held = Budget(calibration, budget, merge_rate=MERGE_TIMES * budget, judge=self._judge.declared)
        self._levels = LiveLevels(
            self._open_store(space), self._guard, held, on_review=self._on_review, rate_of=self._rate_of
        )
        if self._sampling.share <= 0:
            return
        self._audits = Audits(
            levels=self._levels,
            judge=self._judge,
            asker=self._asker,
            responses=self._responses,
            guard=self._guard,
            background=self._background,
            sampling=self._sampling,
            on_audit=self._on_audit,
            on_counted=self._on_counted,
        )
        self._background.keep(self._levels.run, name="levels")

    def level(self, scope: Scope) -> float:
        """The confidence a hit needs, above 1 for exact hits only."""
        return EXACT_ONLY if self._levels is None else self._levels.level(scope)

    def merge_level(self, scope: Scope) -> float:
        """The confidence two conversations need to go on as one, above 1 where none may."""
        return EXACT_ONLY if self._levels is None else self._levels.merge_level(scope)

    def judging_level(self, scope: Scope) -> float:
        """The confidence from which a candidate is worth judging in full, though it may not be served; never above `level`."""
        return EXACT_ONLY if self._levels is None else min(self.level(scope), self._levels.judging_level())

    def consider(self, decision: Decision, fresh: Mapping[str, Any] | None) -> None:
        """Look at a request whose answer has left, and perhaps audit it; see `Audits.consider`."""
        if self._audits is not None:
            self._audits.consider(decision, fresh)

    async def report(self, scope: Scope) -> Report:
        """How a namespace keeps its budget.

        Raises:
            RequestError: 409, nothing is calibrated.
            StoreError: Redis gave no answer.
        """
        if self._levels is None:
            raise RequestError(
                "This Deja serves nothing by meaning yet, so there is no error budget to tell of: its models are still loading, or its "
                "confidence is not calibrated for them. `GET /ready` says which parts are there.",
                status=409,
                code="not_calibrated",
            )
        return await self._levels.report(scope)

    async def drain(self, *, deadline_s: float) -> None:
        """On the way out, after the background ended: write what was found."""
        if self._audits is not None and self._levels is not None:
            await self._levels.drain(deadline_s=deadline_s)
