"""Deja's own decision, with the parts the proxy decides with: routing, gates, verifier, calibrated confidence.

As in the proxy, a question that is never matched by meaning, or that the embedder cannot read whole, is neither looked up nor found; the
nearest candidate that could reach the level is verified first, and served if it does; else the surest of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embeddings.batching import PairScorer
from loadtest.rivals.memo import Logits
from loadtest.rivals.replay import Store
from proxy.core.confidence import Calibration, Evidence
from proxy.core.gates import HARD, Reading, objections, read
from proxy.core.routing import exact_only

CANDIDATES = 3
"""Neighbours looked at."""


class Judge:
    """Judges pairs of one stream, each once, whatever the level.

    Args:
        texts: of the stream.
        is_readable: bool (texts,): whether the embedder read the text whole.
        similarity: float32 (texts, texts), cosines.
        calibration: of the embedder and the verifier.
        verifier: asked only about pairs that no hard gate refuses and that its praise could lift over a level.
        logits: what the verifier said before.
    """

    def __init__(
        self,
        texts: Sequence[str],
        is_readable: NDArray[np.bool_],
        similarity: NDArray[np.float32],
        calibration: Calibration,
        verifier: PairScorer,
        logits: Logits,
    ) -> None:
        self._texts = texts
        self._similarity = similarity
        self._calibration = calibration
        self._verifier = verifier
        self._logits = logits
        self._readings: dict[int, Reading] = {}
        self._soft: dict[tuple[int, int], frozenset[str] | None] = {}
        self._ceiling: dict[tuple[int, int], float] = {}
        self._confidence: dict[tuple[int, int], float] = {}
        self.is_open = np.array(
            [ok and exact_only(text, has_tools=False) is None for text, ok in zip(texts, is_readable, strict=True)],
            bool,
        )
        """bool (texts,): which texts may be matched by meaning at all."""

    def could_reach(self, stored: int, asked: int, level: float) -> bool:
        """Whether the verifier's highest praise would lift a pair to a level; never where a hard gate refuses."""
        pair = (min(stored, asked), max(stored, asked))
        if pair not in self._ceiling:
            soft, cosine = self._objections(*pair), self._cosine(*pair)
            self._ceiling[pair] = 0.0 if soft is None else self._calibration.ceiling(Evidence(cosine, None, soft))
        return self._ceiling[pair] >= level

    def confidence(self, stored: int, asked: int) -> float:
        """Give the probability in [0, 1] that the stored text's answer serves."""
        pair = (stored, asked)
        if pair not in self._confidence:
            soft = self._objections(stored, asked)
            logit = -math.inf if soft is None else self._logit(stored, asked)
            self._confidence[pair] = self._calibration.confidence(
                Evidence(self._cosine(stored, asked), logit, soft or frozenset())
            )
        return self._confidence[pair]

    def _cosine(self, stored: int, asked: int) -> float:
        return float(self._similarity[asked, stored])

    def _objections(self, stored: int, asked: int) -> frozenset[str] | None:
        """Names of the soft gates that object; None where a hard one does. Symmetric, so kept once for both orders."""
        pair = (min(stored, asked), max(stored, asked))
        if pair not in self._soft:
            found = objections(self._read(stored), self._read(asked))
            self._soft[pair] = None if found & HARD else frozenset(reason.value for reason in found)
        return self._soft[pair]

    def _read(self, text: int) -> Reading:
        if text not in self._readings:
            self._readings[text] = read(self._texts[text])
        return self._readings[text]

    def _logit(self, stored: int, asked: int) -> float:
        pair = (self._texts[stored], self._texts[asked])
        known = self._logits.get(pair)
        if known is None:
            known = self._verifier.score([pair])[0].logit
            self._logits.put(pair, known)
        return known


class Deja:
    """Serve from a level of confidence on.

    Args:
        judge: of the stream.
        level: above 1 nothing is served.
    """

    def __init__(self, judge: Judge, level: float) -> None:
        self._judge = judge
        self._level = level

    def take_in(self, text: int) -> bool:
        """Leave out what is never matched by meaning."""
        return bool(self._judge.is_open[text])

    def look_up(self, asked: int, store: Store) -> int | None:
        """Serve the nearest candidate that reaches the level, or else the surest of the others that does."""
        if self._level > 1.0 or not self._judge.is_open[asked]:
            return None
        near = [text for text, _ in store.neighbours(asked, CANDIDATES)]
        near = [text for text in near if self._judge.could_reach(text, asked, self._level)]
        if not near:
            return None
        if self._judge.confidence(near[0], asked) >= self._level:
            return near[0]
        surest = max(near, key=lambda text: self._judge.confidence(text, asked))
        return surest if self._judge.confidence(surest, asked) >= self._level else None
