"""BERT safetensors to a graph of onnxruntime's fused operators, without torch.

Three separate steps: `encoder_body` lays the encoder's layers, a *head* turns hidden states into what is wanted
(`pooled_embedding` here; a cross-encoder brings its own), and `export` writes the model. With int8 precision the fp32
graph runs once over a few sentences first, to learn which activation channels are large (`embeddings.graph` says why).

Importing this module imports onnx, about 0.2 s: only the first preparation of a model needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tokenizers import Tokenizer

from embeddings.base import Precision
from embeddings.checkpoint import BertConfig, Weights
from embeddings.errors import ModelFormatError
from embeddings.graph import ActivationRange, FloatProducts, Graph, Int8Products, Products, save
from embeddings.runtime import onnxruntime

Head = Callable[[Graph, str], str]

TOKENS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"
OUTPUT = "output"

# Only the spans of activations are read from these. The large channels are the model's own and show in any text; the
# variety is for the rest. Adding random words or a margin of 20 % made the worst case worse, not better.
_CALIBRATION_TEXTS = (
    "What is the capital of France?",
    "Explain how photosynthesis works in simple terms.",
    "Write a Python function that sorts a list of integers.",
    "My order #12345 has not arrived yet, can you help?",
    "Translate 'good morning' into Spanish, please.",
    "Summarise the following meeting notes in three bullet points: budget, hiring, roadmap.",
    "",
    "hi",
    "42",
    "SELECT * FROM users WHERE id = 7;",
    "¿Dónde está la biblioteca? Danke schön!",
    "for i in range(10): print(i * 2)  # loop",
)


def encoder_body(graph: Graph, products: Products, config: BertConfig, weights: Weights, *, has_segments: bool) -> str:
    """Lay the embeddings and all layers.

    Args:
        graph: receives the nodes; reads the inputs `TOKENS`, `MASK` (1 for text, 0 for padding, which stands right)
            and, with `has_segments`, `SEGMENTS`.
        products: fp32 or int8 arithmetic.
        config: the encoder's shape.
        weights: tensors by their names in a BERT encoder; not changed.
        has_segments: False folds segment 0 into the positions, for models that read one text.

    Returns:
        Name of the hidden states, float32 (batch, tokens, hidden).
    """
    x = _embedded(graph, products, config, weights, has_segments=has_segments)
    lengths = graph.op("ReduceSum", MASK, graph.ints(1), keepdims=0)
    for index in range(config.layers):
        x = _layer(graph, products, config, weights, f"encoder.layer.{index}", x, lengths)
    return x


def pooled_embedding(pooling: str) -> Head:
    """Make the head of an embedder: pool over the text's tokens, then scale to length 1."""

    def head(graph: Graph, hidden: str) -> str:
        if pooling == "cls":
            pooled = graph.op("Gather", hidden, graph.constant("first", np.int64(0)), axis=1)
        else:
            # The sum will do: dividing by the count does not turn the vector, and its length is set to 1 next.
            mask = graph.op("Unsqueeze", graph.op("Cast", MASK, to=onnx.TensorProto.FLOAT), graph.ints(1))
            pooled = graph.op("Squeeze", graph.op("MatMul", mask, hidden), graph.ints(1))
        return graph.op("LpNormalization", pooled, axis=1, p=2)

    return head


def export(
    path: Path,
    *,
    config: BertConfig,
    weights: Weights,
    tokenizer: Tokenizer,
    head: Head,
    precision: Precision,
    has_segments: bool = False,
) -> None:
    """Write the model to `path` and its weights beside it, its one output named `OUTPUT`.

    Raises:
        ModelFormatError: a tensor is missing or has an unexpected shape.
    """
    try:
        products: Products = FloatProducts()
        if precision == "int8":
            products = Int8Products(activation_ranges(config, weights, tokenizer, has_segments=has_segments))
        graph = Graph()
        output = head(graph, encoder_body(graph, products, config, weights, has_segments=has_segments))
    except KeyError as error:
        raise ModelFormatError(f"the checkpoint lacks the tensor {error}") from error
    save(graph.model(_inputs(has_segments), {OUTPUT: output}), path)


def activation_ranges(
    config: BertConfig, weights: Weights, tokenizer: Tokenizer, *, has_segments: bool
) -> Mapping[str, ActivationRange]:
    """Run the fp32 encoder over a few sentences.

    Returns:
        Product name -> what its input was seen to span.
    """
    graph, products = Graph(), FloatProducts()
    encoder_body(graph, products, config, weights, has_segments=has_segments)
    names = list(products.inputs)
    model = graph.model(_inputs(has_segments), {f"input of {name}": products.inputs[name] for name in names})
    session = onnxruntime().InferenceSession(
        model.SerializeToString(), quiet_options(), providers=["CPUExecutionProvider"]
    )
    ranges: dict[str, ActivationRange] = {}
    for text in _CALIBRATION_TEXTS:
        ids = np.array([tokenizer.encode(text).ids], np.int32)
        feed = {TOKENS: ids, MASK: np.ones_like(ids), SEGMENTS: np.zeros_like(ids)}
        values = session.run(None, {name: feed[name] for name in _inputs(has_segments)})
        for name, value in zip(names, values, strict=True):
            low, high = value.min(axis=(0, 1)), value.max(axis=(0, 1))
            so_far = ranges.get(name, ActivationRange(low, high))
            ranges[name] = ActivationRange(np.minimum(low, so_far.low), np.maximum(high, so_far.high))
    return ranges


def quiet_options() -> Any:
    """Options for a session that logs errors only and uses one thread."""
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are about graph shapes, and go to stderr
    options.intra_op_num_threads = 1
    return options


def _inputs(has_segments: bool) -> list[str]:
    return [TOKENS, MASK, SEGMENTS] if has_segments else [TOKENS, MASK]


def _embedded(graph: Graph, products: Products, config: BertConfig, weights: Weights, *, has_segments: bool) -> str:
    words = products.table(graph, "embeddings.word", weights["embeddings.word_embeddings.weight"], TOKENS)
    positions = weights["embeddings.position_embeddings.weight"][: config.max_tokens]
    segments = weights["embeddings.token_type_embeddings.weight"]
    if has_segments:
        words = graph.op("Add", words, graph.op("Gather", graph.constant("embeddings.segment", segments), SEGMENTS))
    else:
        positions = positions + segments[0]
    length = graph.op("Shape", TOKENS, start=1, end=2)
    table = graph.constant("embeddings.position", positions[np.newaxis])
    places = graph.op("Slice", table, graph.ints(0), length, graph.ints(1))
    return _normalised(graph, config, weights, "embeddings.LayerNorm", words, places)


def _layer(
    graph: Graph, products: Products, config: BertConfig, weights: Weights, name: str, x: str, lengths: str
) -> str:
    heads = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([weights[f"{head}.weight"].T for head in heads], axis=1)
    bias = np.concatenate([weights[f"{head}.bias"] for head in heads])
    context = products.attention(graph, f"{name}.attention.self", x, weight, bias, lengths, config.heads)

    attended = f"{name}.attention.output"
    y = products.dense(graph, f"{attended}.dense", context, weights[f"{attended}.dense.weight"].T)
    x = _normalised(graph, config, weights, f"{attended}.LayerNorm", y, x, bias=f"{attended}.dense.bias")

    inner = f"{name}.intermediate.dense"
    y = products.dense(graph, inner, x, weights[f"{inner}.weight"].T)
    y = graph.fused("BiasGelu", y, graph.constant(f"{inner}.bias", weights[f"{inner}.bias"]))
    outer = f"{name}.output"
    y = products.dense_after_gelu(graph, f"{outer}.dense", y, weights[f"{outer}.dense.weight"].T)
    return _normalised(graph, config, weights, f"{outer}.LayerNorm", y, x, bias=f"{outer}.dense.bias")


def _normalised(
    graph: Graph, config: BertConfig, weights: Weights, name: str, x: str, skip: str, *, bias: str | None = None
) -> str:
    """Add `skip` (and the bias of the product that made `x`), then normalise each token's row.

    Not SkipLayerNormalization, which does the same in one: on CPU it took 43 us for 21 tokens, these three 8 us.
    """
    if bias is not None:
        x = graph.op("Add", x, graph.constant(bias, weights[bias]))
    constants = [graph.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
    return graph.op("LayerNormalization", graph.op("Add", x, skip), *constants, axis=-1, epsilon=config.epsilon)
