"""How often the interim judge finds a rewording and accepts a different question, on folders of labelled pairs.

    python -m loadtest.pairs_eval DATA_DIR MODEL_DIR [--sample N] [--files a,b] [--levels 0.80,0.86,...]

DATA_DIR holds gzipped JSON lines: pair files with `a`, `b`, `same` (0 or 1) and `kind`; group files with `text` and `group`, where a
near neighbour from another group counts as wrong. MODEL_DIR is an exported embedder (`embeddings.onnx`). Prints Markdown; writes
nothing. What decision 0003 rests on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.onnx import OnnxEmbedder
from proxy.core.decision import STRICT_SIMILARITY
from proxy.core.gates import refusal
from proxy.core.routing import exact_only

LEVELS = (0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92, 0.94, 0.96, 0.98)
_BATCH = 256
# Neighbours looked at for each text of a group file: as many as a lookup could offer, and then some.
_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Pair:
    """A labelled pair with its cosine and the gate that refused it ("" for none)."""

    kind: str
    is_same: bool
    similarity: float
    gate: str


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Found and accepted, with and without gates.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--sample", type=int, default=4000, help="rows of each file at most")
    parser.add_argument("--files", default="", help="names without .jsonl.gz, comma between; all that fit otherwise")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    args = parser.parse_args()
    levels = [float(level) for level in args.levels.split(",")]
    wanted = set(filter(None, args.files.split(",")))
    embedder = OnnxEmbedder(args.model_dir, threads=2)
    for path in sorted(args.data_dir.glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        if wanted and name not in wanted:
            continue
        rows = _read(path, args.sample)
        if "same" in rows[0]:
            report_pairs(name, list(_pairs(rows, embedder)), levels)
        elif "group" in rows[0]:
            report_groups(name, rows, embedder, levels)


def report_pairs(name: str, pairs: Sequence[Pair], levels: Sequence[float]) -> None:
    """Print, for each kind and label, the share of pairs at or above each level, by cosine alone and with gates."""
    print(f"\n### {name}\n\n| kind | n | what | " + " | ".join(f"{level:.2f}" for level in levels) + " |")
    print("|---" * (3 + len(levels)) + "|")
    by_kind: dict[tuple[str, bool], list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_kind[pair.kind, pair.is_same].append(pair)
    for (kind, is_same), some in sorted(by_kind.items()):
        label = "found" if is_same else "accepted"
        for way, kept in (("cosine", some), ("gated", [pair for pair in some if not pair.gate])):
            shares = [sum(pair.similarity >= level for pair in kept) / len(some) for level in levels]
            print(f"| {kind} | {len(some)} | {label}, {way} | " + " | ".join(f"{share:.2%}" for share in shares) + " |")
    gates = Counter((pair.gate or "passed", pair.is_same) for pair in pairs if pair.similarity >= STRICT_SIMILARITY)
    print(f"\nBy gate at {STRICT_SIMILARITY}: " + ", ".join(
        f"{gate} {gates[gate, True]} same / {gates[gate, False]} different" for gate in sorted({gate for gate, _ in gates})
    ))  # fmt: skip


def report_groups(
    name: str, rows: Sequence[Mapping[str, str]], embedder: OnnxEmbedder, levels: Sequence[float]
) -> None:
    """Print how many texts have an acceptable neighbour in another group, and how many are routed to the exact tier."""
    texts = sorted({row["text"] for row in rows})
    group_of = {row["text"]: str(row["group"]) for row in rows}
    vectors = _embed(texts, embedder)
    wrong: dict[str, list[float]] = {"cosine": [], "gated": []}
    for i, text in enumerate(texts):
        scores = vectors @ vectors[i]
        near = [
            int(j) for j in np.argsort(-scores)[: _NEIGHBOURS + 1] if j != i and group_of[texts[j]] != group_of[text]
        ]
        wrong["cosine"].append(max((float(scores[j]) for j in near), default=-1.0))
        wrong["gated"].append(max((float(scores[j]) for j in near if refusal(texts[j], text) is None), default=-1.0))
    print(f"\n### {name}: texts with a wrong neighbour, of {len(texts)}\n")
    for way, best in wrong.items():
        print(
            f"- {way}: " + ", ".join(f"{level:.2f} {sum(b >= level for b in best) / len(best):.2%}" for level in levels)
        )
    routed = Counter(str(exact_only(text, has_tools=False)) for text in texts)
    print("- routed: " + ", ".join(f"{reason} {count / len(texts):.2%}" for reason, count in routed.most_common()))


def _pairs(rows: Sequence[Mapping[str, str]], embedder: OnnxEmbedder) -> Iterable[Pair]:
    texts = sorted({row[side] for row in rows for side in ("a", "b")})
    index = {text: i for i, text in enumerate(texts)}
    vectors = _embed(texts, embedder)
    for row in rows:
        similarity = float(vectors[index[row["a"]]] @ vectors[index[row["b"]]])
        yield Pair(row["kind"], bool(row["same"]), similarity, str(refusal(row["a"], row["b"]) or ""))


def _embed(texts: Sequence[str], embedder: OnnxEmbedder) -> NDArray[np.float32]:
    """float32 (n, dim), rows L2-normalised; long texts by what the model reads of them."""
    vectors = [e.vector for s in range(0, len(texts), _BATCH) for e in embedder.embed(texts[s : s + _BATCH])]
    return np.stack(vectors).astype(np.float32)


def _read(path: Path, most: int) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows if len(rows) <= most else random.Random(1).sample(rows, most)


if __name__ == "__main__":
    main()
