"""What models said before, kept on disk so that a second run is quick: vectors of texts, logits of pairs.

Files are named after the model's fingerprint, so a new model starts anew; texts are kept as hashes, never as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.base import Embedder

_SAVE_EVERY = 2000  # logits: some ten seconds' work
_BATCH = 8  # texts to a run of the model: as many as the proxy takes (decision 0001)


class Logits:
    """Logits by (stored, asked) pair.

    Args:
        folder: of the kept files; made if missing.
        fingerprint: of the verifier.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"logits-{fingerprint}.npz"
        self._known: dict[int, float] = {}
        self._saved = 0
        if self._path.exists():
            with np.load(self._path) as kept:
                self._known = dict(zip(kept["pairs"].tolist(), kept["logits"].tolist(), strict=True))
            self._saved = len(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, pair: tuple[str, str]) -> float | None:
        """Give what the verifier said of a pair, None if it was never asked."""
        return self._known.get(_hash(*pair))

    def put(self, pair: tuple[str, str], logit: float) -> None:
        """Remember it, on disk from time to time, so that a run that is stopped does not begin anew."""
        self._known[_hash(*pair)] = logit
        if len(self._known) >= self._saved + _SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if len(self._known) > self._saved:
            pairs = np.fromiter(self._known.keys(), np.uint64, len(self._known))
            logits = np.fromiter(self._known.values(), np.float32, len(self._known))
            np.savez(self._path, pairs=pairs, logits=logits)
            self._saved = len(self._known)


def embedded(texts: Sequence[str], embedder: Embedder, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embed texts, or take their vectors from disk.

    Returns:
        Vectors, float32 (texts, dim), rows L2-normalised; and bool (texts,): whether the model knew and read the whole text.

    Raises:
        EmbedderError: the model failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"vectors-{embedder.fingerprint}-{_hash(*texts):016x}.npz"
    if path.exists():
        with np.load(path) as kept:
            return kept["vectors"], kept["is_readable"]
    vectors = np.zeros((len(texts), embedder.dim), np.float32)
    is_readable = np.zeros(len(texts), bool)
    by_length = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # little padding
    for start in range(0, len(by_length), _BATCH):
        group = by_length[start : start + _BATCH]
        for at, found in zip(group, embedder.embed([texts[at] for at in group]), strict=True):
            vectors[at] = found.vector
            is_readable[at] = not found.is_truncated and not found.unknown_tokens
    np.savez(path, vectors=vectors, is_readable=is_readable)
    return vectors, is_readable


def _hash(*texts: str) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return int.from_bytes(digest.digest(), "big")
