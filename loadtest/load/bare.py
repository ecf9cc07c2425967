"""The same model work with no proxy around it: what embedding a question and verifying one candidate cost on these cores.

A semantic hit on a text never seen before cannot be cheaper than this, so its rate is told as a share of the bare one. The pair is read in
one order, which settles four of five hits; what second orders cost counts against Deja. The work is laid out as Deja does it (the embedder
on one thread, the verifier on another, small batches) and as one thread after the other would; the better of the two counts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from embeddings.base import OneWay
from embeddings.onnx import OnnxEmbedder
from embeddings.prepare import prepare
from embeddings.verifier import Verifier, shipped_folder
from loadtest.load.hosts import artifacts

BATCH = 8
"""As `embeddings.batching` forms at most."""


@dataclass(frozen=True, slots=True)
class Bare:
    """Questions a second.

    Attributes:
        one_ms: embedding and verifying one, nothing beside it: median.
        in_turn_per_s: one thread embeds a batch, then verifies it.
        side_by_side_per_s: one thread embeds while another verifies.
    """

    one_ms: float
    in_turn_per_s: float
    side_by_side_per_s: float

    @property
    def per_s(self) -> float:
        """The better layout."""
        return max(self.in_turn_per_s, self.side_by_side_per_s)


class Models:
    """Deja's, opened."""

    def __init__(self) -> None:
        self.embedder = OnnxEmbedder(prepare("package", artifacts(), "int8"))
        self.verifier = Verifier(shipped_folder())


def measure(models: Models, pairs: Sequence[tuple[str, str]], *, seconds: float) -> Bare:
    """Run all layouts, each for a third of the seconds.

    Args:
        models: to run.
        pairs: (stored, asked), gone through in order, again from the start if need be; nothing is remembered.
        seconds: in all.
    """
    pairs_again = itertools.cycle(pairs)
    models.embedder.embed([asked for _, asked in itertools.islice(pairs_again, BATCH)])  # the first run is slow
    models.verifier.score(list(itertools.islice(pairs_again, BATCH)))
    took = []
    end = time.perf_counter() + seconds / 3
    while (began := time.perf_counter()) < end:
        pair = next(pairs_again)
        models.embedder.embed([pair[1]])
        models.verifier.score([OneWay(*pair)])
        took.append((time.perf_counter() - began) * 1000)
    in_turn = _rate(models, pairs_again, seconds / 3, is_side_by_side=False)
    return Bare(sorted(took)[len(took) // 2], in_turn, _rate(models, pairs_again, seconds / 3, is_side_by_side=True))


def _rate(models: Models, pairs: itertools.cycle[tuple[str, str]], seconds: float, *, is_side_by_side: bool) -> float:
    done, began = 0, time.perf_counter()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        verifier_thread = second if is_side_by_side else first
        before = None
        while time.perf_counter() < began + seconds:
            batch = list(itertools.islice(pairs, BATCH))
            embedding = first.submit(models.embedder.embed, [asked for _, asked in batch])
            if before is not None:
                before.result()
            embedding.result()
            before = verifier_thread.submit(models.verifier.score, [OneWay(*pair) for pair in batch])
            done += BATCH
        if before is not None:
            before.result()
    return done / (time.perf_counter() - began)
