"""`deja eval`: a data folder through the shipped parts, one row a set, at the default budget and at others.

Here the measuring; the sets are in `eval_sets`, streams in `streams`, conversations in `conversations`, tables in `eval_report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.base import Embedder, Embedding
from embeddings.batching import PairScorer
from proxy.core.confidence import Calibration
from proxy.tuning import conversations, eval_sets
from proxy.tuning.advice import Reading
from proxy.tuning.conversations import Conversations
from proxy.tuning.eval_sets import EvalSet
from proxy.tuning.figures import (
    BUDGETS,
    Bin,
    Outcome,
    Share,
    calibration_error,
    counted,
    found_within,
    reliability,
)
from proxy.tuning.rating import BoolArray, Ratings, rate
from proxy.tuning.scoring import Scorer
from proxy.tuning.streams import PairJudge, Questions, StreamResult, run_stream

ACCEPTED = (0.005, 0.01, 0.02, 0.05)
"""Shares of the different pairs that a part may accept, for the table of parts."""

STREAMS = ("osschat_groups", "banking77_test")
"""Group files that are run as streams besides; a file that the recipe does not know is, too."""
_NOT_STREAMED = frozenset({"banking77_train", "clinc150", "support_utterances", "restaurant_slots"})
_MOST_STREAMED = 4_000  # questions of a stream; a look-up costs some 10 ms on one thread

Tell = Callable[[str, int, int], None]
"""Told (what is being done, done, total) now and then."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """One set.

    Attributes:
        name: of the set.
        note: what it is and what of it was trained on.
        default: at the default budget's level.
        cosine: what cosine finds at the same acceptance; None without pairs of both labels.
        budgets: budget -> outcome, and cosine at the same acceptance.
        bins: of the pairs that the level decides.
        error: expected calibration error; None without pairs of both labels, where it would tell of the choice of pairs alone.
        exact: pairs of equal texts, which the exact tier serves.
        parts: share of the different pairs accepted, one of `ACCEPTED` -> part of the decision -> what it finds at its own level there;
            empty unless asked for.
    """

    name: str
    note: str
    default: Outcome
    cosine: Share | None
    budgets: Mapping[float, tuple[Outcome, Share | None]]
    bins: tuple[Bin, ...]
    error: float | None
    exact: int
    parts: Mapping[float, Mapping[str, Share]] = field(default_factory=dict)


@dataclass(slots=True)
class Evaluation:
    """All that was measured; filled set by set.

    Attributes:
        embedder: fingerprint.
        verifier: fingerprint.
        budget: the default one.
        levels: budget -> level in use.
        sets: a row each.
        streams: the same.
        bins: of all sets together, each set counting as much as it has pairs.
        disagreements: set -> wrong hits, and rewordings that were missed, for reading; texts, so for the user's own eyes.
    """

    embedder: str
    verifier: str
    budget: float
    levels: Mapping[float, float]
    sets: list[SetResult] = field(default_factory=list)
    streams: list[StreamResult] = field(default_factory=list)
    bins: tuple[Bin, ...] = ()
    disagreements: dict[str, list[tuple[str, Reading]]] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """Expected calibration error over all sets."""
        return calibration_error(self.bins)


class Evaluator:
    """Measures with one configuration.

    Args:
        embedder: of the proxy.
        verifier: of the proxy.
        calibration: of the proxy.
        budget: the default wrong-hit rate.
        by_part: work out, too, what each part of the decision can tell apart; asks the verifier about what gates refuse.
    """

    def __init__(
        self,
        embedder: Embedder,
        verifier: PairScorer,
        calibration: Calibration,
        budget: float,
        *,
        by_part: bool = False,
    ) -> None:
        self._by_part = by_part
        self._embedder = Remembering(embedder)
        self._scorer = Scorer(self._embedder, verifier)
        self._calibration = calibration
        self._levels = {one: calibration.level_for(one) for one in sorted({*BUDGETS, budget})}
        self._all: list[Ratings] = []
        self.found = Evaluation(embedder.fingerprint, verifier.fingerprint, budget, self._levels)

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 (n, dim), rows L2-normalised, zeros where a text is never matched by meaning."""
        return np.stack(
            [
                np.zeros_like(one.vector) if one.is_truncated or one.unknown_tokens else one.vector
                for one in self._embedder.embed(texts)
            ]
        )

    def sets(self, name: str, path: Path, most: int) -> Iterator[EvalSet]:
        """Give the sets of a file."""
        self._embedder.forget()
        yield from eval_sets.sets_of(name, path, self.vectors, most)

    def measure(self, one: EvalSet, tell: Tell) -> Ratings:
        """Measure a set and keep its row; gives the ratings."""
        scored = self._scorer.score(
            one.pairs, lambda done, total: tell(one.name, done, total), is_thorough=self._by_part
        )
        ratings = rate(scored, self._calibration)
        self._keep(one.name, one.note, ratings)
        self._all.append(ratings)
        return ratings

    def conversations(self, name: str, path: Path, most: int) -> tuple[EvalSet, Conversations]:
        """Give a file of conversations as pairs, the first questions as a set."""
        self._embedder.forget()
        made = conversations.read(eval_sets.read_rows(path), name, self.vectors)
        note = "first questions of other conversations: all different"
        return EvalSet(f"{name}, first questions", made.firsts[:most], note), made

    def follow_ups(self, name: str, made: Conversations, tell: Tell) -> None:
        """Measure follow-ups of other conversations behind the wall of their first question, and keep the row."""
        title = f"{name}, follow-ups"
        openings, later = (
            rate(self._scorer.score(pairs, lambda done, total: tell(title, done, total)), self._calibration)
            for pairs in (made.openings, made.follow_ups)
        )
        is_open = openings.hits(self._levels[self.found.budget])
        self._keep(title, "behind the first question's wall: all different", later, is_open)

    def stream(self, name: str, path: Path, tell: Tell) -> None:
        """Run a group file as a stream of questions and keep its row."""
        self._embedder.forget()
        rows = {row["text"]: str(row["group"]) for row in eval_sets.read_rows(path)}
        texts = tuple(rows)[:_MOST_STREAMED]
        questions = Questions(name, texts, tuple(rows[text] for text in texts), self.vectors(texts))
        judge = PairJudge(questions, self._scorer, self._calibration)
        told = run_stream(
            questions, judge, self._levels, progress=lambda done, total: tell(f"{name} as a stream", done, total)
        )
        self.found.streams.append(told)

    def finish(self) -> Evaluation:
        """Add what is known of all sets together; gives everything."""
        if self._all:
            some = [one.only(one.is_open) for one in self._all]
            self.found.bins = reliability(
                np.concatenate([one.confidence for one in some]), np.concatenate([one.is_same for one in some])
            )
        return self.found

    def _keep(self, name: str, note: str, ratings: Ratings, reachable: BoolArray | None = None) -> None:
        reach = np.ones(len(ratings.pairs), bool) if reachable is None else reachable
        hits = ratings.hits(self._levels[self.found.budget]) & reach
        default = counted(hits, ratings.is_same)
        open_ = ratings.only(ratings.is_open)
        bins = reliability(open_.confidence, open_.is_same)
        budgets = {one: counted(ratings.hits(level) & reach, ratings.is_same) for one, level in self._levels.items()}
        self.found.sets.append(
            SetResult(
                name,
                note,
                default,
                _cosine(ratings, default),
                {one: (made, _cosine(ratings, made)) for one, made in budgets.items()},
                bins,
                calibration_error(bins) if default.found.of and default.accepted.of else None,
                int(ratings.is_exact.sum()),
                parts(ratings, self._calibration) if self._by_part and default.found.of and default.accepted.of else {},
            )
        )
        self.found.disagreements[name] = list(_disagreements(ratings, hits))


class Remembering:
    """An embedder that embeds each text once, until told to forget.

    Args:
        embedder: the one that knows.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Embedding] = {}
        self.fingerprint, self.dim, self.max_tokens = embedder.fingerprint, embedder.dim, embedder.max_tokens

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed the texts, in order."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known.update(zip(batch, self._embedder.embed(batch), strict=True))
        return [self._known[text] for text in texts]

    def forget(self) -> None:
        """Free the memory."""
        self._known.clear()

    def close(self) -> None:
        """Release the embedder."""
        self._embedder.close()


_BATCH = 8  # as many as the proxy takes (decision 0001)
_MOST_READ = 100  # rewordings missed that are written out of each set; wrong hits all are


def parts(ratings: Ratings, calibration: Calibration) -> dict[float, dict[str, Share]]:
    """What each part of the decision finds at the level of its own that accepts a share of the set's different pairs.

    Args:
        ratings: of pairs scored thoroughly, of both labels.
        calibration: in use.
    """
    pairs = ratings.pairs
    logits = np.array([-np.inf if one.logit is None else one.logit for one in pairs])
    ungated = [replace(one, gate=None).confidence(calibration) for one in pairs]
    scores = {
        "cosine": ratings.similarity,
        "verifier": logits,
        "confidence without hard gates": np.where(logits > -np.inf, ungated, -np.inf),
        "everything": np.where(ratings.confidence > 0, ratings.confidence, -np.inf),
    }
    different = int((~ratings.is_same).sum())
    return {
        accepted: {
            name: found_within(score, ratings.is_same, int(accepted * different)) for name, score in scores.items()
        }
        for accepted in ACCEPTED
    }


def is_streamed(name: str, path: Path) -> bool:
    """Whether a file is run as a stream, too."""
    if name in STREAMS:
        return True
    first = next(iter(eval_sets.read_rows(path)), {})
    return name not in _NOT_STREAMED and {"text", "group"} <= first.keys()


def _cosine(ratings: Ratings, made: Outcome) -> Share | None:
    if not made.found.of or not made.accepted.of:
        return None
    return found_within(ratings.similarity, ratings.is_same, made.accepted.count)


def _disagreements(ratings: Ratings, hits: BoolArray) -> Iterator[tuple[str, Reading]]:
    wrong = np.flatnonzero(hits & ~ratings.is_same)
    missed = sorted(map(int, np.flatnonzero(~hits & ratings.is_same)), key=lambda i: -ratings.similarity[i])[
        :_MOST_READ
    ]
    for what, some in (("accepted", map(int, wrong)), ("missed", iter(missed))):
        for i in some:
            pair = ratings.pairs[i].pair
            yield (
                what,
                Reading(
                    pair.stored,
                    pair.asked,
                    pair.kind,
                    float(ratings.confidence[i]),
                    float(ratings.similarity[i]),
                    ratings.why[i],
                    bool(hits[i]),
                ),
            )
