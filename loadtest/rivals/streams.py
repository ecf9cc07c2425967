"""Streams of questions made of labelled files: what is stored, what is asked, and which answers serve which questions.

Every stream comes in two halves that share no text and no answer, so that a threshold can be chosen on one and used on the other. Only
texts are taken that the verifier's training kept aside (`embeddings.training.recipe`). Nothing is embedded or decided here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.training import recipe
from embeddings.training.pairs import Pair, read_pairs, read_rows, share

NOTHING = -1
"""Stands for "nothing is stored first" in a step."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Questions in the order of their file; `orders` shuffles them.

    Attributes:
        name: of the file, for people.
        texts: each once.
        answer: int64 (texts,); texts with the same number are served by each other's answers.
        steps: (text stored first, or `NOTHING`; text asked then), as places in `texts`.
        compared: the pairs of answers, the smaller first, that somebody called different; None if all that are not the same are
            known to be.
    """

    name: str
    texts: tuple[str, ...]
    answer: NDArray[np.int64]
    steps: tuple[tuple[int, int], ...]
    compared: frozenset[tuple[int, int]] | None = None

    def are_different(self, first: int, second: int) -> bool | None:
        """Whether two texts need different answers; None if nobody knows."""
        low, high = sorted((int(self.answer[first]), int(self.answer[second])))
        if low == high:
            return False
        return True if self.compared is None or (low, high) in self.compared else None

    def orders(self, count: int, seed: int) -> list[list[tuple[int, int]]]:
        """Shuffle the steps `count` times; the same for the same seed."""
        return [
            random.Random(f"{seed} {self.name} {turn}").sample(self.steps, len(self.steps)) for turn in range(count)
        ]


_SAMPLE_SEED = 1  # which steps are left out by `most` must not hang on the seed of the orders

Halves = tuple[Stream, Stream]


def read(data_dir: Path, most: int, only: Sequence[str] = ()) -> Iterable[Halves]:
    """Read the streams one after the other, each as its two halves.

    Args:
        data_dir: holds the labelled files.
        most: steps of a half at most; a fixed sample of the rest is left out.
        only: names of streams to read; all if empty.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a name in `only` is unknown.
    """
    unknown = set(only) - set(READERS)
    if unknown:
        raise ValueError(f"there is no stream {sorted(unknown)}; choose among {', '.join(READERS)}")
    for name, reader in READERS.items():
        if not only or name in only:
            yield reader(data_dir, name, most)


def from_pairs(name: str, pairs: Sequence[Pair], most: int, *, only_compared: bool = False) -> Halves:
    """Store the one question of each pair and ask the other; what chains of same pairs connect has one answer.

    Args:
        name: of the stream.
        pairs: labelled.
        most: steps of a half at most.
        only_compared: whether questions count as different only where a label says so.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.stored, pair.asked)))
    place = {text: at for at, text in enumerate(texts)}
    component = _joined(len(texts), ((place[pair.stored], place[pair.asked]) for pair in pairs))
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in pairs:
        sides[_half_of(texts[component[place[pair.stored]]])].append(pair)
    return _pair_stream(name, sides[0], most, only_compared), _pair_stream(name, sides[1], most, only_compared)


def from_groups(name: str, rows: Sequence[tuple[str, Hashable]], half_by: Callable[[int], str], most: int) -> Halves:
    """Ask every text once; what is not answered is stored.

    Args:
        name: of the stream.
        rows: (text, what its answer depends on).
        half_by: place in `rows` -> what must lie in one half as a whole.
        most: steps of a half at most.
    """
    sides: tuple[dict[str, Hashable], dict[str, Hashable]] = ({}, {})
    for at, (text, key) in enumerate(rows):
        sides[_half_of(half_by(at))].setdefault(text, key)
    return _group_stream(name, sides[0], most), _group_stream(name, sides[1], most)


def _half_of(key: str) -> int:
    """Put what belongs together in one half; drawn anew, since other splits of these files hang on `share` of the bare text."""
    return int(share(f"half {key}") < 0.5)


def _pair_stream(name: str, pairs: Sequence[Pair], most: int, only_compared: bool) -> Stream:
    chosen = _sample(pairs, most)
    texts = list(dict.fromkeys(text for pair in chosen for text in (pair.stored, pair.asked)))
    place = {text: at for at, text in enumerate(texts)}
    answer = _joined(len(texts), ((place[pair.stored], place[pair.asked]) for pair in chosen if pair.is_same))
    steps = tuple((place[pair.stored], place[pair.asked]) for pair in chosen)
    ends = (sorted((int(answer[first]), int(answer[asked]))) for first, asked in steps)
    compared = frozenset((low, high) for low, high in ends) if only_compared else None
    return Stream(name, tuple(texts), answer, steps, compared)


def _group_stream(name: str, key_of: dict[str, Hashable], most: int) -> Stream:
    texts = _sample(list(key_of), most)
    numbers: dict[Hashable, int] = {}
    answer = np.array([numbers.setdefault(key_of[text], len(numbers)) for text in texts], np.int64)
    return Stream(name, tuple(texts), answer, tuple((NOTHING, at) for at in range(len(texts))))


def _joined(count: int, same: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Number the connected components of 0 … count - 1 (union-find with path halving)."""
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for first, second in same:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return np.array([root(at) for at in range(count)], np.int64)


def _sample(items: Sequence[Any], most: int) -> list[Any]:
    return list(items) if len(items) <= most else random.Random(_SAMPLE_SEED).sample(items, most)


def _quora(data_dir: Path, name: str, most: int) -> Halves:
    return from_pairs(name, read_pairs(data_dir, "qqp_dev"), most)


def _quora_compared(data_dir: Path, name: str, most: int) -> Halves:
    return from_pairs(name, read_pairs(data_dir, "qqp_dev"), most, only_compared=True)


def _kept_aside(data_dir: Path, name: str, most: int) -> Halves:
    return from_pairs(name, recipe.labelled_aside(data_dir, name), most)


def _documentation(data_dir: Path, name: str, most: int) -> Halves:
    rows = [(row["text"], row["group"]) for row in read_rows(data_dir, "osschat_groups")]
    return from_groups(name, rows, lambda at: str(rows[at][1]), most)


def _banking(data_dir: Path, name: str, most: int) -> Halves:
    rows = [(row["text"], row["group"]) for row in read_rows(data_dir, "banking77_test")]
    new = [row for row in rows if recipe.is_held_out_group(row[1])]
    return from_groups(name, new, lambda at: str(new[at][1]), most)


def _support(data_dir: Path, name: str, most: int) -> Halves:
    rows = [row for row in read_rows(data_dir, "support_utterances") if recipe.is_held_out_group(row["group"])]
    keyed = [(row["text"], (row["group"], row["entity"])) for row in rows]
    return from_groups(name, keyed, lambda at: str(rows[at]["group"]), most)


READERS: dict[str, Callable[[Path, str, int], Halves]] = {
    "qqp": _quora,
    "qqp_compared": _quora_compared,
    "osschat": _documentation,
    "banking77": _banking,
    "support": _support,
    "checklist_perturbed": _kept_aside,
    "pawsx": _kept_aside,
}
"""Name -> how the stream is read: Quora's pairs, twice, since few of its questions were ever compared; a documentation chatbot's
groups; bank intents and support requests new to the verifier, where the same request about another order is another question;
perturbed questions and word swaps."""
