"""What the verifier adds to cosine and gates, on the sets that its training kept aside.

    python -m loadtest.verifier_eval DATA_DIR EMBEDDER_DIR [VERIFIER_DIR] [--json FILE] [--most N]

Prints Markdown and writes nothing else than FILE. What decision 0006 rests on.

Two views. *Own level*: found at a level that accepts a given share of the set's own different pairs: what a score can tell
apart there. *One level*: levels chosen on half of qqp_dev, found and accepted on every other set: what a product gets.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.onnx import OnnxEmbedder
from embeddings.training import held_out
from embeddings.training.metrics import ACCEPTED, apply_logistic, curve, fit_logistic, level_at
from embeddings.training.pairs import Pair
from embeddings.training.recipe import Embed
from embeddings.verifier import Verifier, shipped_folder
from proxy.core.gates import GateReason, read, refusal

Scores = NDArray[np.float64]

WAYS = ("cosine", "verifier", "both")
GATES = {
    "": frozenset(GateReason),
    "facts": frozenset(
        {GateReason.WORDING, GateReason.FOCUS, GateReason.TENSE, GateReason.PERSON, GateReason.QUANTIFIER}
    ),
    "without wording": frozenset({GateReason.WORDING}),
    "all": frozenset[GateReason](),
}
"""Which gates are left out. "facts" keeps those that compare numbers, names, negations, opposites, directions, code and language."""

_ONE_LEVEL = 0.01  # accepted on qqp_calibration
_LATENCY_RUNS = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """A set with everything a way may look at: (n,) each; `passes` by name in `GATES`."""

    is_same: NDArray[np.bool_]
    cosine: Scores
    logit: Scores
    passes: dict[str, NDArray[np.bool_]]

    def scores(self, way: str, gates: str, weights: Scores) -> Scores:
        """Give the score of a way, -inf where a gate refuses."""
        features = np.column_stack([self.cosine, np.maximum(self.logit, -30.0)])
        known = {"cosine": self.cosine, "verifier": self.logit, "both": apply_logistic(weights, features)}
        return np.where(self.passes[gates] & (self.logit > -np.inf), known[way], -np.inf)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Found at accepted: cosine, verifier, both, with and without gates.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("embedder_dir", type=Path)
    parser.add_argument("verifier_dir", type=Path, nargs="?", default=shipped_folder())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--most", type=int, default=4000, help="pairs of a set at most")
    args = parser.parse_args()
    embedder, verifier = OnnxEmbedder(args.embedder_dir), Verifier(args.verifier_dir)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([embedding.vector for embedding in embedder.embed(texts)])

    sets = {
        name: pairs if len(pairs) <= args.most else random.Random(1).sample(pairs, args.most)
        for name, pairs in held_out.sets(args.data_dir, embed).items()
    }
    measured = {name: measure(pairs, embed, verifier) for name, pairs in sets.items()}
    calibration = measured.pop("qqp_calibration")
    features = np.column_stack([calibration.cosine, np.maximum(calibration.logit, -30.0)])
    weights = fit_logistic(features, calibration.is_same)
    print(f"both = {weights[0]:.3f} * cosine + {weights[1]:.3f} * logit {weights[2]:+.3f}\n")
    report = {"own": own_levels(measured, weights), "one": one_level(calibration, measured, weights)}
    report["asymmetry"] = asymmetry(sets, verifier)
    report["latency_ms"] = latency(verifier)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1), "utf-8")


def measure(pairs: Sequence[Pair], embed: Embed, verifier: Verifier) -> Measured:
    """Let embedder, verifier and gates see each pair."""
    texts = sorted({text for pair in pairs for text in (pair.stored, pair.asked)})
    vectors, index = embed(texts), {text: i for i, text in enumerate(texts)}
    cosine = np.array([vectors[index[p.stored]] @ vectors[index[p.asked]] for p in pairs], np.float64)
    logit = np.array([score.logit for score in verifier.score([(p.stored, p.asked) for p in pairs])])
    readings = {text: read(text) for text in texts}
    passes = {
        name: np.array([refusal(readings[p.stored], readings[p.asked], without=out) is None for p in pairs])
        for name, out in GATES.items()
    }
    return Measured(np.array([pair.is_same for pair in pairs], bool), cosine, logit, passes)


def own_levels(measured: dict[str, Measured], weights: Scores) -> dict[str, dict[str, dict[str, float]]]:
    """Print found at each share accepted, the level chosen on the set itself."""
    print("| set | same / different | gates | way | " + " | ".join(f"{a:.1%}" for a in ACCEPTED) + " |")
    print("|---" * (4 + len(ACCEPTED)) + "|")
    report: dict[str, dict[str, dict[str, float]]] = {}
    for name, data in measured.items():
        if data.is_same.all() or not data.is_same.any():
            continue
        report[name] = {}
        for gates in GATES:
            for way in WAYS:
                found = curve(data.scores(way, gates, weights), data.is_same)
                report[name][f"{way}, gates {gates or 'none'}"] = found
                counts = f"{int(data.is_same.sum())} / {int((~data.is_same).sum())}"
                shares = " | ".join(f"{share:.1%}" for share in found.values())
                print(f"| {name} | {counts} | {gates or 'none'} | {way} | {shares} |")
    return report


def one_level(
    calibration: Measured, measured: dict[str, Measured], weights: Scores
) -> dict[str, dict[str, list[float | None]]]:
    """Print found and accepted of each set at the level that accepts 1 % of the different calibration pairs."""
    columns = [(way, gates) for gates in GATES for way in WAYS]
    print("\n| set | " + " | ".join(f"{way}{', gates ' + gates if gates else ''}" for way, gates in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    report: dict[str, dict[str, list[float | None]]] = {}
    for name, data in measured.items():
        report[name], cells = {}, []
        for way, gates in columns:
            level = level_at(calibration.scores(way, gates, weights), calibration.is_same, _ONE_LEVEL)
            passed = data.scores(way, gates, weights) > level
            shares = [float(passed[side].mean()) if side.any() else None for side in (data.is_same, ~data.is_same)]
            report[name][f"{way}, gates {gates or 'none'}"] = shares
            cells.append(" / ".join("–" if share is None else f"{share:.1%}" for share in shares))
        print(f"| {name} | " + " | ".join(cells) + " |")
    return report


def asymmetry(sets: Mapping[str, Sequence[Pair]], verifier: Verifier) -> dict[str, float]:
    """Print how far score(a, b) and score(b, a) differ, on medical pairs, which have a direction, and on Quora's."""
    report: dict[str, float] = {}
    for name in ("rqe_test", "rqe_train, aside", "qqp_dev"):
        both = [(pair.stored, pair.asked) for pair in sets[name][:1000]]
        there = np.array([score.logit for score in verifier.score(both)])
        back = np.array([score.logit for score in verifier.score([(b, a) for a, b in both])])
        seen = (there > -np.inf) & (back > -np.inf)
        report[name] = round(float(np.abs(there[seen] - back[seen]).mean()), 3)
        print(f"\n{name}: mean |score(a, b) - score(b, a)| {report[name]}, spread of scores {there[seen].std():.2f}")
    return report


def latency(verifier: Verifier) -> dict[str, float]:
    """Print the median time of one and of three pairs, tokenising included."""
    pair = ("How do I reset the password of my email account?", "I forgot my email password, how can I change it?")
    report: dict[str, float] = {}
    for count in (1, 3):
        times = []
        for _ in range(_LATENCY_RUNS):
            started = time.perf_counter()
            tokens = verifier.score([pair] * count)[0].tokens
            times.append(1000 * (time.perf_counter() - started))
        report[str(count)] = round(statistics.median(times), 2)
        print(f"\n{count} pairs of {tokens} tokens: {report[str(count)]} ms, one thread")
    return report


if __name__ == "__main__":
    main()
