"""The verifier at work: a small cross-encoder reads two questions together and says how surely one answer serves both.

Only scoring lives here. What score suffices is calibrated elsewhere; how the model was made is in `embeddings.training` and in the
model card beside the weights. A text that does not fit is never judged by its beginning: the score says `is_truncated`,
and its logit is -inf.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from embeddings.base import OneWay, Pair, Score
from embeddings.errors import EmbedderError, ModelFormatError
from embeddings.grouping import groups
from embeddings.onnx import _load_session as load_session
from embeddings.tokenizing import open_tokenizer

MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE = "model.onnx", "tokenizer.json", "manifest.json"

# One thread: 3 pairs of 32 tokens take 2.4 times one pair (decision 0006). Beyond that, batching saves nothing and costs padding.
_GROUP_PAIRS = 8
_GROUP_MAX_TOKENS = 96

# A pair beyond this is not even tokenised: it is over the limit anyway, and tokenising a megabyte takes a second.
_CHARS_PER_TOKEN = 32

_SEPARATOR = "[SEP]"
_SEP_ID = 102  # of every BERT vocabulary in English; checked against the tokenizer when a model is opened


@dataclass(frozen=True, slots=True)
class VerifierManifest:
    """What a shipped verifier is; stored beside it as JSON.

    Args:
        name: the model's name.
        layers: of the encoder.
        max_tokens: tokens it reads of one pair, special ones included.
        precision: "int8" or "fp32".
        weights_sha256: hexadecimal, of graph and weights, one after the other.
        tokenizer_sha256: the same, of the tokenizer.
        shipping_version: of the code that exported it.
    """

    name: str
    layers: int
    max_tokens: int
    precision: str
    weights_sha256: str
    tokenizer_sha256: str
    shipping_version: int

    @property
    def fingerprint(self) -> str:
        """Names the scale of scores: a level or calibration made for one fingerprint says nothing of another."""
        return f"{self.name}-{self.precision}-{self.weights_sha256[:12]}"

    def write(self, folder: Path) -> None:
        """Store it in the model's folder."""
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> VerifierManifest:
        """Load it from the model's folder.

        Raises:
            ModelFormatError: it is missing or garbled.
        """
        try:
            return cls(**json.loads((folder / MANIFEST_FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ModelFormatError(f"{folder} is no verifier ({error}); install the package anew") from error


def shipped_folder() -> Path:
    """Where the weights that come with this package lie."""
    return Path(__file__).parent / "weights" / "verifier-v9"


class Verifier:
    """Score pairs with a model exported by `embeddings.training.shipping`. Safe to call from several threads at once.

    Args:
        folder: holds model, tokenizer and manifest.
        threads: cores one call may use.

    Raises:
        ModelFormatError: the folder does not hold a usable verifier.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._manifest = VerifierManifest.read(folder)
        try:
            self._tokenizer = _load_tokenizer(folder / TOKENIZER_FILE)
            self._session = load_session(folder / MODEL_FILE, threads)
        except Exception as error:  # both libraries raise their own types, some of them plain Exception
            raise ModelFormatError(f"{folder} cannot be loaded ({error}); install the package anew") from error

    @property
    def fingerprint(self) -> str:
        """Names the scale of scores."""
        return self._manifest.fingerprint

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of one pair, special ones included."""
        return self._manifest.max_tokens

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """Score pairs of questions, in order; a score does not depend on the other pairs, its logit not on which text comes first.

        Each pair is read in both orders: what one says differs from the other by noise, and their mean finds 2 to 5 points more at the
        same error (decision 0010). Both orders are one batch, at 1.4 times the cost of one where nothing else is in it. A `OneWay` is read
        once: its score is that order's.

        Raises:
            EmbedderError: onnxruntime failed.
        """
        read = [(pair.stored, pair.asked, True) if isinstance(pair, OneWay) else (*pair, False) for pair in pairs]
        # Each text is cut into tokens once; [CLS] a [SEP] and b [SEP] are what the tokenizer makes of a pair.
        ids = {text: self._cut(text) for text in {text for stored, asked, _ in read for text in (stored, asked)}}
        rows = [
            _joined(ids[one], ids[two])
            for stored, asked, is_one_way in read
            for one, two in (((stored, asked),) if is_one_way else ((stored, asked), (asked, stored)))
        ]
        logits = np.full(len(rows), -np.inf)
        fitting = [index for index, row in enumerate(rows) if 0 < len(row) <= self.max_tokens]
        lengths = [len(rows[index]) for index in fitting]
        for group in groups(lengths, most=_GROUP_PAIRS, longest=_GROUP_MAX_TOKENS):
            chosen = [fitting[at] for at in group]
            logits[chosen] = self.score_tokens([rows[index] for index in chosen])
        scores, at = [], 0
        for _, _, is_one_way in read:
            there, back = float(logits[at]), float(logits[at if is_one_way else at + 1])
            scores.append(self._score(len(rows[at]), there, back))
            at += 1 if is_one_way else 2
        return scores

    def _score(self, tokens: int, there: float, back: float) -> Score:
        if not 0 < tokens <= self.max_tokens:
            return Score(-math.inf, tokens, is_truncated=True)
        return Score((there + back) / 2, tokens, is_truncated=False, gap=there - back)

    def close(self) -> None:
        """Do nothing: memory goes with the object."""

    def _tokenize(self, stored: str, asked: str) -> list[int]:
        """Give the pair's token ids, [CLS] stored [SEP] asked [SEP]; none if it is far too long."""
        return _joined(self._cut(stored), self._cut(asked))

    def _cut(self, text: str) -> list[int]:
        """Give a text's token ids, [CLS] first and [SEP] last; none if it is far too long."""
        if len(text) > self.max_tokens * _CHARS_PER_TOKEN:
            return []
        # Half a surrogate pair cannot be written as UTF-8, which the tokenizer wants; "?" stands for it.
        ids: list[int] = self._tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8")).ids
        return ids

    def score_tokens(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Give logits (n,) of rows of pair tokens that fit, as one batch.

        Raises:
            EmbedderError: onnxruntime failed.
        """
        names = ("input_ids", "attention_mask", "token_type_ids")
        try:
            output: NDArray[np.float32] = self._session.run(None, dict(zip(names, padded(rows), strict=True)))[0]
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            raise EmbedderError(f"the verifier failed on {len(rows)} pairs: {type(error).__name__}") from error
        return output[:, 0]


def _joined(stored: list[int], asked: list[int]) -> list[int]:
    return stored + asked[1:] if stored and asked else []


def padded(
    rows: Sequence[Sequence[int]], dtype: DTypeLike = np.int32
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Stand rows of pair tokens in rectangles.

    Args:
        rows: token ids, [CLS] first [SEP] second [SEP]; at least one row.
        dtype: of the results.

    Returns:
        ids, mask (1 for tokens) and segments (1 for the second text and its [SEP]), all (rows, longest), padded right with 0.
    """
    ids = np.zeros((len(rows), max(map(len, rows))), dtype)
    mask, segments = np.zeros_like(ids), np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
        segments[index, list(row).index(_SEP_ID) + 1 : len(row)] = 1
    return ids, mask, segments


def _load_tokenizer(path: Path) -> Any:
    tokenizer = open_tokenizer(path)
    tokenizer.encode_special_tokens = (
        True  # a literal "[SEP]" in a user's text must not end the first text for the model
    )
    if tokenizer.token_to_id(_SEPARATOR) != _SEP_ID:
        raise ModelFormatError(f"{path} numbers {_SEPARATOR} otherwise than the verifier's input needs")
    return tokenizer
