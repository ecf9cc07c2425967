"""An exported model at work: tokenizer and onnxruntime session. Making the model is `embeddings.export`'s business."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings import runtime
from embeddings.base import Embedding, make_fingerprint, unit_vector
from embeddings.errors import EmbedderError, ModelFormatError
from embeddings.grouping import groups
from embeddings.tokenizing import open_tokenizer

MODEL_FILE, TOKENIZER_FILE, MANIFEST_FILE = "model.onnx", "tokenizer.json", "manifest.json"

# Measured at one thread, 21 tokens a text: 2.9 ms alone, 2.3 ms each in 8, no less in 32; from 64 tokens up, batching
# saves nothing and costs padding (decision 0001).
_GROUP_TEXTS = 8
_GROUP_MAX_TOKENS = 64

# Text beyond this is not even tokenised: ordinary text has 4 to 5 characters a token, so it is over the limit anyway,
# and tokenising a megabyte takes a second. It is reported as truncated either way.
_CHARS_PER_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an exported model is; stored beside it as JSON.

    Args:
        name: the model's name.
        dim: length of its vectors.
        max_tokens: tokens it reads of one text, special ones included.
        precision: "int8" or "fp32".
        pooling: "mean" or "cls".
        weights_sha256, tokenizer_sha256: hexadecimal, of the files it was made from.
        exporter_version: of the code that made it.
    """

    name: str
    dim: int
    max_tokens: int
    precision: str
    pooling: str
    weights_sha256: str
    tokenizer_sha256: str
    exporter_version: int

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""
        revision = (self.weights_sha256, self.tokenizer_sha256, str(self.max_tokens), str(self.exporter_version))
        return make_fingerprint(
            self.name, dim=self.dim, precision=self.precision, pooling=self.pooling, revision="/".join(revision)
        )

    def write(self, folder: Path) -> None:
        """Store it in the model's folder."""
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Load it from the model's folder.

        Raises:
            ModelFormatError: it is missing or garbled.
        """
        try:
            return cls(**json.loads((folder / MANIFEST_FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ModelFormatError(
                f"{folder} is no exported model ({error}); delete it to have it made anew"
            ) from error


class OnnxEmbedder:
    """Embed with a model exported by `embeddings.prepare`.

    Args:
        folder: holds model, tokenizer and manifest.
        threads: cores one call may use. More callers at once scale better than more threads a call (decision 0001).

    Raises:
        ModelFormatError: the folder does not hold a usable model.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._manifest = Manifest.read(folder)
        try:
            self._tokenizer = open_tokenizer(folder / TOKENIZER_FILE)
            self._tokenizer.enable_truncation(self._manifest.max_tokens)
            self._session = _load_session(folder / MODEL_FILE, threads)
        except Exception as error:  # both libraries raise their own types, some of them plain Exception
            raise ModelFormatError(f"{folder} cannot be loaded ({error}); delete it to have it made anew") from error
        unknown = self._tokenizer.token_to_id("[UNK]")
        self._unknown_id = -1 if unknown is None else unknown

    @property
    def fingerprint(self) -> str:
        """Name of the vector space."""
        return self._manifest.fingerprint

    @property
    def dim(self) -> int:
        """Length of every vector."""
        return self._manifest.dim

    @property
    def max_tokens(self) -> int:
        """Tokens the model reads of one text, [CLS] and [SEP] included."""
        return self._manifest.max_tokens

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Embed the texts, in order; a text's vector does not depend on the others.

        Raises:
            EmbedderError: onnxruntime failed.
        """
        read = [self._tokenize(text) for text in texts]
        vectors: list[NDArray[np.float32] | None] = [None] * len(read)
        for group in groups([len(ids) for ids, _, _ in read], most=_GROUP_TEXTS, longest=_GROUP_MAX_TOKENS):
            for index, vector in zip(group, self._run([read[index][0] for index in group]), strict=True):
                vectors[index] = vector
        return [
            Embedding(unit_vector(vector), len(ids), is_truncated, unknown)
            for vector, (ids, is_truncated, unknown) in zip(vectors, read, strict=True)
            if vector is not None
        ]

    def close(self) -> None:
        """Do nothing: memory goes with the object."""

    def _tokenize(self, text: str) -> tuple[list[int], bool, int]:
        """Give token ids, whether the text was cut, and how much of what was read the vocabulary lacks."""
        kept = text[: self.max_tokens * _CHARS_PER_TOKEN]
        # Half a surrogate pair cannot be written as UTF-8, which the tokenizer wants; "?" stands for it, and is counted.
        readable = kept.encode("utf-8", "replace").decode("utf-8")
        lost = 0 if readable == kept else sum("\ud800" <= char <= "\udfff" for char in kept)
        encoding = self._tokenizer.encode(readable)
        is_truncated = len(kept) < len(text) or bool(encoding.overflowing)
        return encoding.ids, is_truncated, encoding.ids.count(self._unknown_id) + lost

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        try:
            output: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            raise EmbedderError(f"the model failed on {len(rows)} texts: {type(error).__name__}") from error
        return output


def _load_session(path: Path, threads: int) -> Any:
    ort = runtime.onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only: warnings would go to stderr, past our logging
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # An arena keeps what the largest batch ever took (40 MB more after one of 16 x 96 tokens) and saves no time on graphs this small.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Idle helper threads would otherwise spin on cores that the event loop and Redis need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The fused kernel is five times slower on CPU than the three operators that the exporter wrote.
    return ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
    )
