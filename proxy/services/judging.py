"""The judge behind the port: today `core.decision`'s strict level and gates. A verifier takes this module's place, and no other's."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core import decision
from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.models import Candidate


class StrictJudge:
    """A hit needs a cosine of at least `level`, and no gate may refuse."""

    def warm_up(self) -> None:
        """Read the gates' word lists now (some 60 ms), and not during the first request."""
        decision.why_not_serve("Is it warm?", "Is it warm now?", 1.0)

    def level(self, scope: Scope) -> float:  # noqa: ARG002
        """Cosine similarity in [-1, 1]."""
        return decision.STRICT_SIMILARITY

    async def judge(
        self, asked: str, candidates: Sequence[Candidate], *, scope: Scope, floor: float | None = None
    ) -> Verdict:
        """Choose the most similar candidate that may serve."""
        return decision.decide(asked, candidates, level=max(self.level(scope), floor or 0.0))

    async def merge_confidence(self, stored: str, asked: str, judged: Judged) -> float | None:
        """How sure it is that the two wordings may share the rest of their conversations, None if they may not."""
        if decision.why_not_merge(stored, asked, judged.similarity) is not None:
            return None
        return decision.merge_confidence(judged.similarity)
