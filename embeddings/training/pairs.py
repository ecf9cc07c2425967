"""Labelled pairs of texts: reading them, and splitting them so that nothing of one side is seen on the other."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUFFIX = ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts and whether the answer to `stored` serves `asked`.

    Args:
        stored: the question whose answer is at hand.
        asked: the question to answer.
        is_same: the label.
        kind: where the pair comes from, "file" or "file/kind".
    """

    stored: str
    asked: str
    is_same: bool
    kind: str

    def turned(self) -> Pair:
        """The same pair read the other way."""
        return Pair(self.asked, self.stored, self.is_same, self.kind)


def read_rows(data_dir: Path, name: str) -> list[dict[str, Any]]:
    """Read `name`.jsonl.gz.

    Raises:
        FileNotFoundError: the folder lacks it.
    """
    with gzip.open(data_dir / f"{name}{_SUFFIX}", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_pairs(data_dir: Path, name: str) -> list[Pair]:
    """Read a file of pairs; the kind is "name/kind", or "name" where a row says the same."""
    rows = read_rows(data_dir, name)
    return [Pair(row["a"], row["b"], bool(row["same"]), f"{name}/{row['kind']}") for row in rows]


def share(key: str) -> float:
    """Give a text its place in [0, 1): always the same, spread evenly. What splits hang on."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_by_component(pairs: Sequence[Pair], held_out: float) -> tuple[list[Pair], list[Pair]]:
    """Split pairs so that texts connected by any chain of pairs stay on one side.

    Args:
        pairs: of one file.
        held_out: share in [0, 1] of components to keep aside.

    Returns:
        (kept for training, held out), each in the order given.
    """
    roots = _components(pairs)
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        sides[share(roots[pair.stored]) < held_out].append(pair)
    return sides


def _components(pairs: Iterable[Pair]) -> dict[str, str]:
    """Map each text to the least text of its connected component (union-find with path halving)."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        first, second = sorted((root(pair.stored), root(pair.asked)))
        parent[second] = first
    return {text: root(text) for text in list(parent)}
