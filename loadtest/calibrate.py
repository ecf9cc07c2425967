"""Make the calibrations that ship with Deja, from the labelled pairs that the verifier's training kept aside.

    python -m loadtest.calibrate DATA_DIR EMBEDDER_DIR [--verifier DIR] [--most N] [--scores FILE] [--write]

A third of every set (30 %, by connected component, so that no text is on both sides) fits the model, the rest certifies the levels and
makes the printed table: ten weights need few pairs, a level of 99 % many. Sets stand for kinds of traffic and count by `SHARES`.
`--write` replaces proxy/tuning/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from rich.progress import track

from embeddings.onnx import OnnxEmbedder
from embeddings.training import held_out
from embeddings.training.pairs import Pair, split_by_component
from embeddings.verifier import Verifier, shipped_folder
from proxy.core import routing
from proxy.core.certificates import Scored, levels_for
from proxy.core.confidence import Calibration
from proxy.core.gates import HARD, GateReason
from proxy.tuning import calibrate
from proxy.tuning.scoring import LabelledPair, ScoredPair, Scorer
from proxy.tuning.shipped import ANY_EMBEDDER, FILE

SHARES: Mapping[str, float] = {
    "qqp_dev": 6.0, "authored, medical": 1.0, "authored, finance": 1.0, "authored, search": 1.0, "authored, general": 1.0,
    "authored, everyday": 1.0, "authored, paraphrase": 1.0, "checklist_perturbed": 1.0, "checklist_templates": 1.0, "pawsx": 0.25,
    "authored, orders": 0.25,
    "rqe_test": 0.5, "banking77_test, intents trained on": 0.25, "banking77_test, new intents": 0.25, "osschat": 1.0,
    "authored, rewordings_facts": 0.5, "authored, rewordings_howto": 0.5, "authored, rewordings_software": 0.5,
    "authored, rewordings_money": 0.5, "authored, rewordings_health": 0.5, "authored, rewordings_search": 0.5,
    "authored, rewordings_general": 0.5,
    "authored, assistant": 0.5, "authored, banking": 0.5, "authored, community": 0.5, "authored, doctors": 0.5,
    "authored, documentation": 0.5, "authored, knowledge": 0.5, "authored, searches": 0.5, "authored, support": 0.5,
    "authored, assistant_later": 0.5, "authored, banking_later": 0.5, "authored, community_later": 0.5, "authored, doctors_later": 0.5,
    "authored, finance_later": 0.5, "authored, searches_later": 0.5, "authored, support_later": 0.5,
    "clinc150 test": 0.5, "support, new intents": 0.5, "restaurant, another slot": 0.5, "askubuntu_long": 0.25, "arena": 0.25,
}  # fmt: skip
"""The mixture of traffic the levels are certified for; sets not named are printed and count for nothing."""

FOLLOW_UPS: Mapping[str, tuple[float, float]] = {
    "authored, turns": (1.0, 0.5), "authored, turns_later": (1.0, 0.5), "authored, rewordings_followups": (1.0, 0.5),
    held_out.OTHER_TURNS: (0.0, 1.5),
}  # fmt: skip
"""Later turns of conversations, fitted by themselves: shares of those whose answer serves, and of those whose answer does not. Of the
latter half are near misses written to be taken for a turn; half are what else people asked in the same conversation, hardly ever taken."""

FOLLOW_UP_SHARE = 0.1
"""Of the mixture, later turns."""

SAME_SHARE = 0.75
"""Of the candidates that reach the judge, those whose answer serves. Measured on streams, of nearest stored questions with a cosine of 0.7
and more: 0.88 for a documentation chatbot, 0.97 for everyday questions, 0.37 where every question comes with two near misses. The labelled
files hold 0.25 to 0.4, being rich in near misses on purpose."""

CERTIFYING = 0.7
"""Share of each set that certifies. With half of them a budget of 0.5 % had no level, and that for 2 % was stricter."""

RELABELLED = frozenset(json.loads(Path(__file__).with_name("relabelled.json").read_text())["same"])
"""Digests of pairs of qqp_dev that are labelled different and ask the same ("How do I ...", "How do you ..."): 155 of those that the
verifiers so far were surest of, read one by one. They count as same in fitting and certifying; the printed table keeps their labels."""

SOFT = tuple(reason.value for reason in GateReason if reason not in HARD)
_MIXTURE = {*SHARES, *FOLLOW_UPS}
_SEED = 11
_LARGEST = "qqp_dev"
_MORE_FOLLOW_UPS = 4  # times as many pairs of later turns: four sets alone fit and certify their map


def main() -> None:
    """Score, fit, certify, print; write if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("embedder_dir", type=Path)
    parser.add_argument("--verifier", type=Path, default=shipped_folder())
    parser.add_argument("--most", type=int, default=3000, help="pairs of a set at most, but for the largest")
    parser.add_argument("--scores", type=Path, help="keep the scores here, and take them from here")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    embedder, verifier = OnnxEmbedder(args.embedder_dir, threads=2), Verifier(args.verifier, threads=2)
    scores = _scores(args, embedder, verifier)
    fitting, rest = _sides(scores)
    table: dict[str, object] = {"verifier": verifier.fingerprint, "embedders": {}}
    for name, uses_cosine in ((embedder.fingerprint, True), (ANY_EMBEDDER, False)):
        made = make(fitting, rest, scale=f"{name} {verifier.fingerprint}", uses_cosine=uses_cosine)
        table["embedders"][name] = made.as_json()  # type: ignore[index]
        show(made, rest)
    if args.write:
        target = Path(calibrate.__file__).parent / FILE
        target.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def make(fitting: Sequence[ScoredPair], rest: Sequence[ScoredPair], *, scale: str, uses_cosine: bool) -> Calibration:
    """Fit to one side, certify with the other."""
    fitting = [_read_again(one) for one in fitting]
    rest = [_read_again(one) for one in rest]
    models = []
    for kinds in (SHARES, FOLLOW_UPS):
        some = [one for one in fitting if one.pair.kind in kinds]
        data = calibrate.sample(some, SOFT, _weights(some), uses_cosine=uses_cosine)
        models.append(calibrate.fit(data, SOFT, scale=scale))
    model = replace(models[0], follow_up=models[1])
    known = [one for one in rest if one.pair.kind in _MIXTURE]
    scored = [
        Scored(one.confidence(model), one.pair.is_same, weight, one.pair.kind)
        for one, weight in zip(known, _weights(known), strict=True)
    ]
    print(f"levels rest on {len(scored):,} pairs, {sum(one.is_same for one in scored):,} of them same")
    spread = calibrate.shares([one.confidence for one in scored], np.array([one.weight for one in scored]))
    return replace(model, levels=tuple(levels_for(scored).items()), shares=spread)


def _weights(scored: Sequence[ScoredPair]) -> list[float]:
    """Weights that make the pairs the mixture."""
    counts = Counter((one.pair.kind, one.pair.is_same) for one in scored)
    return [_share_of(*label) / counts[label] for label in ((one.pair.kind, one.pair.is_same) for one in scored)]


def _share_of(kind: str, is_same: bool) -> float:
    """What a set's pairs of one label are of the mixture."""
    labelled = SAME_SHARE if is_same else 1 - SAME_SHARE
    if kind in SHARES:
        return (1 - FOLLOW_UP_SHARE) * labelled * SHARES[kind] / sum(SHARES.values())
    total = sum(shares[not is_same] for shares in FOLLOW_UPS.values())
    return FOLLOW_UP_SHARE * labelled * FOLLOW_UPS[kind][not is_same] / total


def show(model: Calibration, rest: Sequence[ScoredPair]) -> None:
    """Print the model, and per set found / accepted at each budget, with what cosine finds at the same acceptance."""
    print(f"\n## {model.scale}\nbias {model.bias:.2f} weights {[round(w, 3) for w in model.weights]}")
    print({name: round(weight, 2) for name, weight in model.objections.items()})
    budgets = (0.005, 0.01, 0.02, 0.05)
    levels = [model.level_for(budget) for budget in budgets]
    print("levels", [round(level, 4) for level in levels])
    kinds = sorted({one.pair.kind for one in rest}, key=lambda kind: (kind not in _MIXTURE, kind))
    for kind in kinds:
        some = [one for one in rest if one.pair.kind == kind]
        same = np.array([one.pair.is_same for one in some])
        confidence = np.array([one.confidence(model) for one in some])
        cosine = np.array([one.similarity for one in some])
        cells = []
        for level in levels:
            hits = confidence >= level
            accepted, found = _share(hits[~same]), _share(hits[same])
            allowed = np.sort(cosine[~same])[::-1]
            at = allowed[int(accepted * len(allowed))] if len(allowed) else 1.0
            cells.append(f"{100 * found:.1f} / {100 * accepted:.2f} [{100 * _share(cosine[same] > at):.1f}]")
        gated = _share(np.array([one.gate is not None for one in some])[same])
        print(
            f"| {kind} | {same.sum()} + {(~same).sum()} | hard gates refuse {100 * gated:.0f} % | " + " | ".join(cells)
        )


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else 0.0


def _scores(args: argparse.Namespace, embedder: OnnxEmbedder, verifier: Verifier) -> list[ScoredPair]:
    if args.scores and args.scores.is_file():
        kept: list[ScoredPair] = pickle.loads(args.scores.read_bytes())  # noqa: S301  (our own file)
        return kept
    vectors = lambda texts: np.stack([one.vector for one in embedder.embed(texts)])  # noqa: E731
    sets = held_out.sets(args.data_dir, vectors)
    rng = random.Random(_SEED)
    scorer, scored = Scorer(embedder, verifier), []
    for name, pairs in track(list(sets.items()), description="scoring"):
        most = args.most * (_MORE_FOLLOW_UPS if name in FOLLOW_UPS else 1)
        chosen = pairs if name == _LARGEST else rng.sample(pairs, min(most, len(pairs)))
        some = [
            LabelledPair(pair.stored, pair.asked, pair.is_same, name, is_follow_up=name in FOLLOW_UPS)
            for pair in chosen
        ]
        scored += [_routed(one) for one in scorer.score(some)]
    if args.scores:
        args.scores.write_bytes(pickle.dumps(scored))
    return scored


def _read_again(one: ScoredPair) -> ScoredPair:
    """Quora's label, or what reading the pair said: see `RELABELLED`."""
    key = blake2b(f"{one.pair.stored}\n{one.pair.asked}".encode(), digest_size=8).hexdigest()
    return replace(one, pair=replace(one.pair, is_same=True)) if key in RELABELLED else one


def _routed(one: ScoredPair) -> ScoredPair:
    """A question that is never matched by meaning is a miss, as it is in the proxy."""
    is_exact = any(routing.exact_only(text, has_tools=False) for text in (one.pair.stored, one.pair.asked))
    return replace(one, similarity=-1.0, logit=float("-inf"), gate=None) if is_exact else one


def _sides(scored: Sequence[ScoredPair]) -> tuple[list[ScoredPair], list[ScoredPair]]:
    """What fits, and what certifies."""
    sides: tuple[list[ScoredPair], list[ScoredPair]] = ([], [])
    for kind in sorted({one.pair.kind for one in scored}):
        by_pair = {(one.pair.stored, one.pair.asked): one for one in scored if one.pair.kind == kind}
        pairs = [Pair(*texts, one.pair.is_same, kind) for texts, one in by_pair.items()]
        # The larger part certifies: where nearly a whole set hangs together, a handful of pairs would stand for all of it.
        for side, some in zip(sides, sorted(split_by_component(pairs, CERTIFYING), key=len), strict=True):
            side.extend(by_pair[pair.stored, pair.asked] for pair in some)
    return sides


if __name__ == "__main__":
    main()
