"""Trained weights to the int8 ONNX model that is shipped, without torch, and the input that model wants.

The head is `embeddings.training.model`'s, laid again as a graph: a test holds the two together.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from tokenizers import Tokenizer

from embeddings.base import Precision
from embeddings.checkpoint import BertConfig, FloatArray, Weights, file_sha256, read_config, read_weights
from embeddings.export import MASK, OUTPUT, SEGMENTS, TOKENS, Head, encoder_body, quiet_options
from embeddings.graph import WEIGHTS_FILE, ActivationRange, FloatProducts, Graph, Int8Products, Products, save
from embeddings.runtime import onnxruntime
from embeddings.verifier import MODEL_FILE, TOKENIZER_FILE, VerifierManifest, padded

SHIPPING_VERSION = 1
"""Of this code: raise it with any change that moves scores."""

MAX_TOKENS = 256
"""Tokens of a pair, special ones included: what the checkpoint was trained to read. Training pairs have at most 128."""

# Only the spans of activations are read from these; made up for the purpose.
_CALIBRATION_PAIRS = (
    ("What is the capital of France?", "Which city is France's capital?"),
    ("How do I reset my password?", "how to reset password"),
    ("What is the boiling point of water at 2,000 m?", "What is the boiling point of water at sea level?"),
    ("Is it safe to take ibuprofen with aspirin?", "Can I take aspirin without ibuprofen?"),
    ("cancel order 48213", "I would like to cancel my order 48999, please"),
    ("Explain how photosynthesis works in simple terms.", "hi"),
    ("", ""),
    ("SELECT * FROM users WHERE id = 7;", "How do I select a user by id in SQL?"),
    ("¿Dónde está la biblioteca?", "Where is the library?"),
    ("42", "42"),
    ("A man is playing a guitar on a stage", "Nobody is playing the guitar"),
    (
        "My card was declined at the shop, although there is money on my account. What went wrong?",
        "Why is my top-up pending?",
    ),
)


def write_checkpoint(folder: Path, source: Path, config: BertConfig, weights: Mapping[str, FloatArray]) -> None:
    """Write trained weights in the layout that `embeddings.checkpoint` reads; tokenizer and settings come from `source`."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    raw = json.loads((source / "config.json").read_text("utf-8")) | {"num_hidden_layers": config.layers}
    (folder / "config.json").write_text(json.dumps(raw, indent=1), "utf-8")
    shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    # safetensors writes the memory of a transposed view as it lies, without a word.
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in weights.items()}, folder / "model.safetensors")


def ship(checkpoint: Path, folder: Path, *, name: str, precision: Precision = "int8") -> VerifierManifest:
    """Export a trained checkpoint.

    Args:
        checkpoint: made by `write_checkpoint`.
        folder: receives graph, weights, tokenizer and manifest; made if missing.
        name: the model's name, for people.
        precision: of the weights.

    Raises:
        ModelFormatError: the checkpoint is not a model this library runs.
        KeyError: it lacks a tensor, a head for example.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, weights = replace(read_config(checkpoint), max_tokens=MAX_TOKENS), read_weights(checkpoint)
    tokenizer = Tokenizer.from_file(str(checkpoint / TOKENIZER_FILE))
    tokenizer.no_padding()
    products: Products = FloatProducts()
    if precision == "int8":
        products = Int8Products(_activation_ranges(config, weights, tokenizer))
    graph = Graph()
    output = scoring_head(weights)(graph, encoder_body(graph, products, config, weights, has_segments=True))
    save(graph.model((TOKENS, MASK, SEGMENTS), {OUTPUT: output}), folder / MODEL_FILE)
    shutil.copyfile(checkpoint / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    manifest = VerifierManifest(
        name=name,
        layers=config.layers,
        max_tokens=config.max_tokens,
        precision=precision,
        weights_sha256=file_sha256(folder / MODEL_FILE, folder / WEIGHTS_FILE),
        tokenizer_sha256=file_sha256(folder / TOKENIZER_FILE),
        shipping_version=SHIPPING_VERSION,
    )
    manifest.write(folder)
    return manifest


def scoring_head(weights: Weights) -> Head:
    """Make the head: [CLS], distance and product of the two texts' means, one hidden layer, one logit (batch, 1)."""

    def head(graph: Graph, hidden: str) -> str:
        mask = graph.op("Cast", MASK, to=onnx.TensorProto.FLOAT)
        second_mask = graph.op("Cast", SEGMENTS, to=onnx.TensorProto.FLOAT)
        first = _mean(graph, hidden, graph.op("Sub", mask, second_mask))
        second = _mean(graph, hidden, second_mask)
        cls = graph.op("Gather", hidden, graph.constant("first", np.int64(0)), axis=1)
        distance = graph.op("Abs", graph.op("Sub", first, second))
        features = graph.op("Concat", cls, distance, graph.op("Mul", first, second), axis=1)
        return _dense(graph, weights, "head.out", graph.op("Tanh", _dense(graph, weights, "head.dense", features)))

    return head


def _mean(graph: Graph, hidden: str, mask: str) -> str:
    total = graph.op("Squeeze", graph.op("MatMul", graph.op("Unsqueeze", mask, graph.ints(1)), hidden), graph.ints(1))
    count = graph.op("ReduceSum", mask, graph.ints(1), keepdims=1)
    return graph.op("Div", total, graph.op("Max", count, graph.constant("one", np.float32(1.0))))


def _dense(graph: Graph, weights: Weights, name: str, x: str) -> str:
    product = graph.op("MatMul", x, graph.constant(f"{name}.weight", weights[f"{name}.weight"].T))
    return graph.op("Add", product, graph.constant(f"{name}.bias", weights[f"{name}.bias"]))


def _activation_ranges(config: BertConfig, weights: Weights, tokenizer: Tokenizer) -> dict[str, ActivationRange]:
    """Run the fp32 encoder over a few pairs: product name -> what its input was seen to span."""
    graph, products = Graph(), FloatProducts()
    encoder_body(graph, products, config, weights, has_segments=True)
    names = list(products.inputs)
    model = graph.model((TOKENS, MASK, SEGMENTS), {f"input of {name}": products.inputs[name] for name in names})
    session = onnxruntime().InferenceSession(
        model.SerializeToString(), quiet_options(), providers=["CPUExecutionProvider"]
    )
    ranges: dict[str, ActivationRange] = {}
    for pair in _CALIBRATION_PAIRS:
        values = session.run(None, _feed(tokenizer.encode(*pair).ids))
        for name, value in zip(names, values, strict=True):
            low, high = value.min(axis=(0, 1)), value.max(axis=(0, 1))
            so_far = ranges.get(name, ActivationRange(low, high))
            ranges[name] = ActivationRange(np.minimum(low, so_far.low), np.maximum(high, so_far.high))
    return ranges


def _feed(ids: Sequence[int], dtype: DTypeLike = np.int32) -> dict[str, NDArray[Any]]:
    return dict(zip((TOKENS, MASK, SEGMENTS), padded([ids], dtype), strict=True))
