"""Score labelled pairs as the running proxy would: cosine, gates, verifier. No level and no calibration is known here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from embeddings.base import Embedder, Embedding
from embeddings.batching import PairScorer
from proxy.core.confidence import Calibration, Evidence
from proxy.core.decision import worth_verifying
from proxy.core.gates import HARD, GateReason, objections, read

_BATCH = 8  # items to a run of the model: as many as the proxy takes (decision 0001)

Item = TypeVar("Item")

Progress = Callable[[int, int], None]
"""Told (done, total) now and then."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two texts and whether the answer to `stored` serves `asked`.

    Attributes:
        stored: the question whose answer is at hand.
        asked: the question to answer.
        is_same: the label.
        kind: what sort of traffic it stands for, for tables by category.
        is_follow_up: both are later turns of a conversation.
    """

    stored: str
    asked: str
    is_same: bool
    kind: str = ""
    is_follow_up: bool = False


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A labelled pair with everything a decision may look at.

    Attributes:
        pair: the pair.
        similarity: cosine in [-1, 1]; -1 where a text cannot be matched by meaning at all (too long, or unknown to the model).
        logit: the verifier's; None where it was not asked, -inf where the pair is too long for it.
        gate: the gate that refuses by itself, None if none does.
        soft: names of the gates that object without refusing.
    """

    pair: LabelledPair
    similarity: float
    logit: float | None
    gate: GateReason | None
    soft: frozenset[str]

    @property
    def evidence(self) -> Evidence:
        """What `core.confidence` weighs; a pair that may not be served whatever its scores has a logit of -inf."""
        logit = -math.inf if self.gate is not None or self.logit is None else self.logit
        return Evidence(self.similarity, logit, self.soft)

    def confidence(self, calibration: Calibration) -> float:
        """Give the probability in [0, 1] that the stored answer serves."""
        return calibration.of(is_follow_up=self.pair.is_follow_up).confidence(self.evidence)


class Scorer:
    """Scores pairs in bulk.

    Args:
        embedder: of the proxy to be.
        verifier: of the proxy to be.
    """

    def __init__(self, embedder: Embedder, verifier: PairScorer) -> None:
        self._embedder = embedder
        self._verifier = verifier

    def score(
        self,
        pairs: Sequence[LabelledPair],
        progress: Progress = lambda _done, _total: None,
        *,
        is_thorough: bool = False,
    ) -> list[ScoredPair]:
        """Score pairs, in order.

        Args:
            pairs: to score.
            progress: told how far it is, of the embeddings first and then of the verifier.
            is_thorough: ask the verifier about pairs, too, that a hard gate refuses: to see what the gates are worth.

        Raises:
            EmbedderError: a model failed.
        """
        embeddings = self._embed({text for pair in pairs for text in (pair.stored, pair.asked)}, progress)
        scored = [self._before_verifying(pair, embeddings) for pair in pairs]
        return self._verified(scored, progress, is_thorough)

    def _embed(self, texts: Iterable[str], progress: Progress) -> dict[str, Embedding]:
        ordered = sorted(texts, key=len)  # little padding
        found: dict[str, Embedding] = {}
        for group in _batches(ordered):
            found.update(zip(group, self._embedder.embed(group), strict=True))
            progress(len(found), len(ordered))
        return found

    def _before_verifying(self, pair: LabelledPair, embeddings: dict[str, Embedding]) -> ScoredPair:
        stored, asked = embeddings[pair.stored], embeddings[pair.asked]
        if any(one.is_truncated or one.unknown_tokens for one in (stored, asked)):
            return ScoredPair(pair, -1.0, -math.inf, None, frozenset())
        found = objections(read(pair.stored), read(pair.asked))
        gate = next((reason for reason in GateReason if reason in found & HARD), None)
        soft = frozenset(reason.value for reason in found - HARD)
        return ScoredPair(pair, float(stored.vector @ asked.vector), None, gate, soft)

    def _verified(self, scored: Sequence[ScoredPair], progress: Progress, is_thorough: bool) -> list[ScoredPair]:
        result = list(scored)
        open_ = [
            i
            for i, one in enumerate(scored)
            if (is_thorough or one.gate is None) and one.similarity >= worth_verifying(one.pair.is_follow_up)
        ]
        open_.sort(key=lambda i: len(scored[i].pair.stored) + len(scored[i].pair.asked))
        for done, group in enumerate(_batches(open_)):
            scores = self._verifier.score([(scored[i].pair.stored, scored[i].pair.asked) for i in group])
            for i, score in zip(group, scores, strict=True):
                one = scored[i]
                result[i] = replace(one, logit=score.decisive_logit)
            progress(min(len(open_), (done + 1) * _BATCH), len(open_))
        return result


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
