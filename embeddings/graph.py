"""Building blocks of an ONNX graph: nodes and constants by name, and matrix products in fp32 or int8.

Which layers a model has is `embeddings.export`'s business. The int8 products quantise weights per output channel, and
activations with a range fixed at export: a range taken from the batch at hand would make a text's vector depend on the
texts beside it. BERT's activations have a few channels and one token ([CLS]) that are an order of magnitude larger than
the rest; left alone they use up the 8 bits of everything beside them. Two exact rewrites shrink them first (numbers in
docs/decisions/0001-embedder.md): *smoothing* divides a large input channel by a constant and multiplies the matching
weight row by it; *row scaling* divides each token's row by its own maximum and multiplies its product by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from embeddings.checkpoint import FloatArray

CONTRIB = "com.microsoft"
WEIGHTS_FILE = "weights.bin"
"""Beside a model's graph: its large tensors."""

# The newest pair that needs nothing of onnxruntime that 1.18, our lowest supported, lacks.
_OPSET, _IR_VERSION = 17, 8
_LARGE_BYTES = 16_384

_INT8_MAX, _UINT8_MAX = 127, 255
# GELU is nowhere below -0.17. A row's maximum was seen no lower than 0.5; with that as a floor the scaled range is exact.
_GELU_LOW, _ROW_MAX_FLOOR = -0.17, 0.5
# Channels beyond this multiple of the median channel maximum are smoothed, by this power of the excess. Of multiples
# 1.5, 2, 3 and powers 0.6, 1 these gave the best worst case; the differences were small (decision 0001).
_OUTLIER_MULTIPLE = 2.0
_SMOOTHING_POWER = 0.6
_SMALLEST_SCALE = 1e-12


class Graph:
    """An ONNX graph under construction; every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def node(
        self, op: str, inputs: Sequence[str], *, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add an operator with several outputs; "" stands for an optional input left out."""
        name = f"{op}_{len(self._nodes)}"
        names = [f"{name}:{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain, **attributes))
        return names

    def op(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output."""
        return self.node(op, inputs, domain=domain, **attributes)[0]

    def fused(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add one of onnxruntime's fused operators, with one output."""
        return self.op(op, *inputs, domain=CONTRIB, **attributes)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add a constant tensor; the same name twice is the same tensor."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def ints(self, *values: int) -> str:
        """Add a constant int64 vector."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def model(self, inputs: Sequence[str], outputs: Mapping[str, str]) -> onnx.ModelProto:
        """Close the graph.

        Args:
            inputs: names of int32 (batch, tokens) inputs.
            outputs: public name of each float32 output -> the value it shows.
        """
        shown = [helper.make_node("Identity", [value], [name]) for name, value in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *shown],
            "encoder",
            [helper.make_tensor_value_info(name, onnx.TensorProto.INT32, ["batch", "tokens"]) for name in inputs],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="deja")


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph to `path`, and its large tensors to `WEIGHTS_FILE` beside it, which onnxruntime maps and does not copy.

    Two models of one file each took 70 MB more of a process, twice their size; like this 36, and pages that workers share (decision 0001).
    Weights are moved out of `model`.
    """
    weights = path.with_name(WEIGHTS_FILE)
    weights.unlink(missing_ok=True)  # onnx would write behind what is there
    onnx.save_model(model, path, save_as_external_data=True, location=WEIGHTS_FILE, size_threshold=_LARGE_BYTES)
    weights.chmod(path.stat().st_mode)  # onnx lets its owner alone read it; a service may run as somebody else


@dataclass(frozen=True, slots=True, eq=False)
class ActivationRange:
    """The smallest and largest value seen in each input channel of a product, float32 (inputs,)."""

    low: FloatArray
    high: FloatArray


class Products(Protocol):
    """How the graph multiplies by weights; all weights are float32 (inputs, outputs)."""

    def table(self, graph: Graph, name: str, rows: FloatArray, ids: str) -> str:
        """Look up rows of an embedding table: float32 (batch, tokens, hidden)."""
        ...

    def attention(
        self, graph: Graph, name: str, x: str, weight: FloatArray, bias: FloatArray, lengths: str, heads: int
    ) -> str:
        """Multi-head self-attention; `weight` is (hidden, 3 * hidden), query, key, value in that order."""
        ...

    def dense(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply by `weight`, without a bias."""
        ...

    def dense_after_gelu(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply by `weight`, without a bias, where `x` comes out of a GELU."""
        ...


class FloatProducts:
    """Everything in fp32. Remembers which value feeds each product, for calibration."""

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}

    def table(self, graph: Graph, name: str, rows: FloatArray, ids: str) -> str:
        """Look up rows of an fp32 table."""
        return graph.op("Gather", graph.constant(name, rows), ids)

    def attention(
        self, graph: Graph, name: str, x: str, weight: FloatArray, bias: FloatArray, lengths: str, heads: int
    ) -> str:
        """Fused fp32 attention."""
        self.inputs[name] = x
        weights = (graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias))
        return graph.fused("Attention", x, *weights, lengths, num_heads=heads)

    def dense(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply in fp32."""
        self.inputs[name] = x
        return graph.op("MatMul", x, graph.constant(f"{name}.weight", weight))

    def dense_after_gelu(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply in fp32."""
        return self.dense(graph, name, x, weight)


class Int8Products:
    """Weights and tables in int8, activations quantised with ranges that are known beforehand.

    Args:
        ranges: what each product's input was seen to span, by the product's name. Larger values are clipped.
    """

    def __init__(self, ranges: Mapping[str, ActivationRange]) -> None:
        self._ranges = ranges

    def table(self, graph: Graph, name: str, rows: FloatArray, ids: str) -> str:
        """Look up rows of an int8 table, each with its own scale: a quarter of the memory at cosine 0.99998."""
        scales, values = _quantised(rows, axis=1)
        picked = graph.op("Cast", graph.op("Gather", graph.constant(name, values), ids), to=onnx.TensorProto.FLOAT)
        return graph.op("Mul", picked, graph.op("Gather", graph.constant(f"{name}.scale", scales), ids))

    def attention(
        self, graph: Graph, name: str, x: str, weight: FloatArray, bias: FloatArray, lengths: str, heads: int
    ) -> str:
        """Fused attention with an int8 query-key-value product."""
        levels, step, zero, weight = self._smoothed_levels(graph, name, x, weight)
        values, scales, zeros = _weight_constants(graph, name, weight)
        bias_name = graph.constant(f"{name}.bias", bias)
        return graph.fused("QAttention", levels, values, bias_name, step, scales, lengths, zero, zeros, num_heads=heads)

    def dense(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply in int8."""
        levels, step, zero, weight = self._smoothed_levels(graph, name, x, weight)
        return _product(graph, name, levels, step, zero, weight)

    def dense_after_gelu(self, graph: Graph, name: str, x: str, weight: FloatArray) -> str:
        """Multiply in int8, each token's row scaled to its own maximum."""
        floor = graph.constant("row_max_floor", np.float32(_ROW_MAX_FLOOR))
        row_max = graph.op("Max", graph.op("ReduceMax", x, axes=[-1], keepdims=1), floor)
        levels, step, zero = _levels(graph, name, graph.op("Div", x, row_max), _GELU_LOW / _ROW_MAX_FLOOR, 1.0)
        return graph.op("Mul", _product(graph, name, levels, step, zero, weight), row_max)

    def _smoothed_levels(self, graph: Graph, name: str, x: str, weight: FloatArray) -> tuple[str, str, str, FloatArray]:
        """Shrink large channels, quantise; gives levels, step, zero, and the weights to go with them."""
        seen = self._ranges[name]
        peaks = np.maximum(np.abs(seen.low), np.abs(seen.high))
        excess = np.maximum(peaks / (_OUTLIER_MULTIPLE * np.median(peaks)), 1.0)
        factors = (excess**_SMOOTHING_POWER).astype(np.float32)
        if excess.max() > 1.0:
            x = graph.op("Mul", x, graph.constant(f"{name}.smoothing", 1.0 / factors))
        low, high = float((seen.low / factors).min()), float((seen.high / factors).max())
        return *_levels(graph, name, x, low, high), weight * factors[:, np.newaxis]


def _levels(graph: Graph, name: str, x: str, low: float, high: float) -> tuple[str, str, str]:
    """Quantise to uint8 over [low, high], which is widened to hold 0; gives levels, step and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / _UINT8_MAX, _SMALLEST_SCALE)
    step_name = graph.constant(f"{name}.input_scale", np.float32(step))
    zero_name = graph.constant(f"{name}.input_zero", np.uint8(round(-low / step)))
    return graph.op("QuantizeLinear", x, step_name, zero_name), step_name, zero_name


def _product(graph: Graph, name: str, levels: str, step: str, zero: str, weight: FloatArray) -> str:
    values, scales, zeros = _weight_constants(graph, name, weight)
    return graph.fused("MatMulIntegerToFloat", levels, values, step, scales, zero, zeros)


def _weight_constants(graph: Graph, name: str, weight: FloatArray) -> tuple[str, str, str]:
    """Quantise a weight matrix (inputs, outputs) per output; gives values, scales and zeros."""
    scales, values = _quantised(weight, axis=0)
    return (
        graph.constant(f"{name}.weight", values),
        graph.constant(f"{name}.scale", scales.ravel()),
        graph.constant(f"{name}.zero", np.zeros(values.shape[1], np.int8)),
    )


def _quantised(weight: FloatArray, *, axis: int) -> tuple[FloatArray, NDArray[np.int8]]:
    """Round to int8 with one scale per remaining index; `axis` is the one reduced over, kept with length 1."""
    scales = np.maximum(np.abs(weight).max(axis=axis, keepdims=True) / _INT8_MAX, _SMALLEST_SCALE).astype(np.float32)
    return scales, np.rint(weight / scales).astype(np.int8)
