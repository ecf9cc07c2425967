"""A BERT checkpoint on disk: its configuration, its weights, and what it says about pooling and length.

Only reading and checking live here. The layout is the one model hubs use: config.json, model.safetensors,
tokenizer.json, and optionally sentence_bert_config.json, modules.json and 1_Pooling/config.json.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import ModelFormatError

FloatArray = NDArray[np.float32]
Weights = dict[str, FloatArray]

REQUIRED_FILES = ("config.json", "tokenizer.json", "model.safetensors")
OPTIONAL_FILES = ("sentence_bert_config.json", "modules.json", "1_Pooling/config.json", "tokenizer_config.json")
_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The shape of an encoder.

    Args:
        layers, heads, hidden: counts; `hidden` is divisible by `heads`.
        epsilon: what layer normalisation adds to the variance.
        max_tokens: tokens one input may have, special ones included.
        pooling: "mean" or "cls".
    """

    layers: int
    heads: int
    hidden: int
    epsilon: float
    max_tokens: int
    pooling: str


def read_config(folder: Path) -> BertConfig:
    """Read the encoder's shape.

    Raises:
        ModelFormatError: a file is missing or unreadable, or the model is not one this library runs.
    """
    for name in REQUIRED_FILES:
        if not (folder / name).is_file():
            raise ModelFormatError(f"{folder} has no {name}; a model folder holds {', '.join(REQUIRED_FILES)}")
    raw = _read_json(folder / "config.json")
    if raw.get("model_type") != "bert" or raw.get("position_embedding_type", "absolute") != "absolute":
        raise ModelFormatError(
            f"{folder} holds a {raw.get('model_type')!r} model; BERT with absolute positions is supported"
        )
    if raw.get("hidden_act") != "gelu":
        raise ModelFormatError(f"{folder} uses the activation {raw.get('hidden_act')!r}; only 'gelu' is supported")
    _check_modules(folder)
    try:
        positions = int(raw["max_position_embeddings"])
        return BertConfig(
            layers=int(raw["num_hidden_layers"]),
            heads=int(raw["num_attention_heads"]),
            hidden=int(raw["hidden_size"]),
            epsilon=float(raw["layer_norm_eps"]),
            max_tokens=min(positions, _declared_length(folder, positions)),
            pooling=_pooling(folder),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(f"{folder}/config.json lacks or garbles a BERT setting: {error}") from error


def read_weights(folder: Path) -> Weights:
    """Read all tensors as float32, names without a leading "bert." (classifiers have it, encoders do not).

    Raises:
        ModelFormatError: the file is damaged or holds a number type numpy lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise ModelFormatError(f"{path} cannot be read ({error}); fp32 or fp16 safetensors are supported") from error
    return {name.removeprefix("bert."): array.astype(np.float32, copy=False) for name, array in tensors.items()}


def file_sha256(*paths: Path) -> str:
    """Hash the content of files, one after another, hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def _declared_length(folder: Path, default: int) -> int:
    # sentence-transformers cuts at this length whatever the encoder could take; its vectors are the reference.
    declared = _read_json(folder / "sentence_bert_config.json", optional=True).get("max_seq_length")
    return int(declared) if declared else default


def _pooling(folder: Path) -> str:
    modes = _read_json(folder / "1_Pooling" / "config.json", optional=True)
    chosen = {key for key, value in modes.items() if key.startswith("pooling_mode_") and value is True}
    if not chosen:
        return "mean"
    if len(chosen) > 1 or not chosen <= _POOLINGS.keys():
        raise ModelFormatError(f"{folder} pools by {', '.join(sorted(chosen))}; mean or cls alone is supported")
    return _POOLINGS[chosen.pop()]


def _check_modules(folder: Path) -> None:
    path = folder / "modules.json"
    if not path.is_file():
        return
    modules = json.loads(path.read_text("utf-8"))
    extra = {str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules} - _MODULES
    if extra:
        raise ModelFormatError(
            f"{path} adds {', '.join(sorted(extra))}; encoder, pooling and normalisation are supported"
        )


def _read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path} should hold a JSON object")
    return value
