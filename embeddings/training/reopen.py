"""Go on training from a verifier as it ships: python -m embeddings.training.reopen WEIGHTS_DIR ENCODER_DIR OUT_DIR.

The repository holds a verifier's int8 graph, and no fp32 weights, which are four times as large. What was rounded to int8 can be read
back: each product's levels times their scales, less the smoothing that `embeddings.graph` moved into them. The rounding stays: verifier-v6
opened and exported again gives logits that correlate with its own at 0.9997 (360 pairs). OUT_DIR is a folder for `--checkpoint`. Word
vectors, which no run changes, and positions past a pair's 256 tokens are the encoder's own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from embeddings.checkpoint import FloatArray, Weights, read_config, read_weights
from embeddings.training import shipping
from embeddings.verifier import MODEL_FILE, VerifierManifest

_POSITIONS = "embeddings.position_embeddings.weight"
_PARTS = ("query", "key", "value")

Tensors = dict[str, NDArray[np.generic]]


def reopened(model: Path, encoder: Weights, *, layers: int) -> Weights:
    """Read a verifier's weights back.

    Args:
        model: the int8 graph; its weights lie beside it.
        encoder: of the checkpoint that the first run began with, by BERT's names; not changed.
        layers: that the verifier has.

    Returns:
        float32 tensors by BERT's names, head included.

    Raises:
        KeyError: the graph is none that `shipping.ship` lays out.
    """
    tensors = {each.name: numpy_helper.to_array(each) for each in onnx.load(str(model)).graph.initializer}
    weights = {name: tensor for name, tensor in encoder.items() if not name.startswith("encoder.layer.")}
    positions = _float(tensors, "embeddings.position")[0]
    weights[_POSITIONS] = np.concatenate([positions, encoder[_POSITIONS][len(positions) :]])
    weights["embeddings.token_type_embeddings.weight"] = _float(tensors, "embeddings.segment")
    for index in range(layers):
        layer = f"encoder.layer.{index}"
        weights |= _attention(tensors, f"{layer}.attention.self")
        for name in (f"{layer}.attention.output", f"{layer}.intermediate", f"{layer}.output"):
            weights[f"{name}.dense.weight"] = _product(tensors, f"{name}.dense").T
            weights[f"{name}.dense.bias"] = _float(tensors, f"{name}.dense.bias")
    for name in ("head.dense", "head.out"):
        weights[f"{name}.weight"] = _float(tensors, f"{name}.weight").T
        weights[f"{name}.bias"] = _float(tensors, f"{name}.bias")
    return weights | {name: _float(tensors, name) for name in tensors if "LayerNorm" in name}


def _attention(tensors: Tensors, name: str) -> Weights:
    """Take query, key and value apart, which the graph multiplies as one."""
    weights = np.split(_product(tensors, name), len(_PARTS), axis=1)
    biases = np.split(_float(tensors, f"{name}.bias"), len(_PARTS))
    parts = list(zip(_PARTS, weights, biases, strict=True))
    return {f"{name}.{part}.weight": weight.T for part, weight, _ in parts} | {
        f"{name}.{part}.bias": bias for part, _, bias in parts
    }


def _product(tensors: Tensors, name: str) -> FloatArray:
    """Read a matrix (inputs, outputs) back from its levels."""
    weight = _float(tensors, f"{name}.weight") * _float(tensors, f"{name}.scale")
    smoothing = f"{name}.smoothing"
    return weight * _float(tensors, smoothing)[:, np.newaxis] if smoothing in tensors else weight


def _float(tensors: Tensors, name: str) -> FloatArray:
    return tensors[name].astype(np.float32)


def main() -> None:
    """Parse the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("weights_dir", type=Path, help="a shipped verifier: embeddings/weights/NAME")
    parser.add_argument("encoder_dir", type=Path, help="checkpoint of all-MiniLM-L6-v2, as `deja prepare` keeps it")
    parser.add_argument("out_dir", type=Path, help="receives config.json, model.safetensors, tokenizer.json")
    args = parser.parse_args()
    layers = VerifierManifest.read(args.weights_dir).layers
    weights = reopened(args.weights_dir / MODEL_FILE, read_weights(args.encoder_dir), layers=layers)
    config = replace(read_config(args.encoder_dir), layers=layers)
    shipping.write_checkpoint(args.out_dir, args.encoder_dir, config, weights)


if __name__ == "__main__":
    main()
