"""The cross-encoder in torch. Parameters carry the names of a BERT checkpoint, so what is trained here is what
`embeddings.export` lays out as a graph; `embeddings.training.shipping` holds the head's twin in ONNX.

The head looks at the [CLS] state and at the mean states of the two texts: how far apart they are and where they agree. The
means start out as good sentence vectors, since the checkpoint was trained to make them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own custom)

from embeddings.checkpoint import BertConfig, FloatArray, Weights

HEAD_HIDDEN = 128
_FROZEN = (
    "embeddings.word_embeddings.weight"  # 11.7 of 19 M parameters: rare words would be moved by chance, and slowly
)
_HEAD_SPREAD = 0.02
_UNSEEN = -1e9  # an attention score whose weight is 0


class CrossEncoder(torch.nn.Module):  # type: ignore[misc]  # torch is not there where types are checked
    """Reads two texts together and gives one logit.

    Args:
        config: the encoder's shape; its first `layers` are used.
        weights: by BERT's names; a head, if they hold none, is drawn from torch's seed.
        dropout: share of states, attention weights and head features left out at random while training, 0 to below 1.
    """

    def __init__(self, config: BertConfig, weights: Mapping[str, FloatArray], dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self._dropped = config, round(256 * dropout)
        tensors = {name: torch.from_numpy(np.array(weights[name])) for name in _encoder_names(config)}
        for name, shape in head_shapes(config.hidden).items():
            start = torch.randn(shape) * _HEAD_SPREAD if len(shape) > 1 else torch.zeros(shape)
            tensors[name] = torch.from_numpy(np.array(weights[name])) if name in weights else start
        for name, tensor in tensors.items():
            self.register_parameter(_attribute(name), torch.nn.Parameter(tensor, requires_grad=name != _FROZEN))
        self.names = tuple(tensors)

    def weights(self) -> Weights:
        """Copy the parameters out, by BERT's names."""
        return {name: self._p(name).detach().cpu().numpy().copy() for name in self.names}

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        """Give logits (batch,) for int64 (batch, tokens) inputs; `mask` is 1 for text, `segments` 1 for the second text."""
        x = F.embedding(ids, self._p(_FROZEN)) + self._p("embeddings.position_embeddings.weight")[: ids.shape[1]]
        x = self._norm(
            x + F.embedding(segments, self._p("embeddings.token_type_embeddings.weight")), "embeddings.LayerNorm"
        )
        x = self._thinned(x)
        seen = None if bool(mask.all()) else mask[:, None, None, :].bool()
        for index in range(self.config.layers):
            x = self._layer(x, seen, f"encoder.layer.{index}")
        return self._head(x.float(), mask.float(), segments.float())

    def _layer(self, x: torch.Tensor, seen: torch.Tensor | None, name: str) -> torch.Tensor:
        context = self._attend(x, seen, name)
        attended = self._thinned(self._linear(context, f"{name}.attention.output.dense"))
        x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
        inner = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(x + self._thinned(self._linear(inner, f"{name}.output.dense")), f"{name}.output.LayerNorm")

    def _attend(self, x: torch.Tensor, seen: torch.Tensor | None, name: str) -> torch.Tensor:
        """Multi-head attention by two batched products: for rows this short torch's fused one is a third slower to train on a CPU."""
        batch, tokens, hidden = x.shape
        heads = self.config.heads
        q, k, v = (
            self._linear(x, f"{name}.attention.self.{part}")
            .view(batch, tokens, heads, -1).transpose(1, 2).reshape(batch * heads, tokens, -1)
            for part in ("query", "key", "value")
        )  # fmt: skip
        scores = torch.bmm(q, k.transpose(1, 2)).float() / math.sqrt(hidden // heads)
        if seen is not None:
            scores = scores.view(batch, heads, tokens, tokens).masked_fill(~seen, _UNSEEN).view_as(scores)
        weighted = torch.bmm(self._thinned(torch.softmax(scores, dim=-1).to(v.dtype)), v)
        return weighted.view(batch, heads, tokens, -1).transpose(1, 2).reshape(batch, tokens, hidden)

    def _head(self, x: torch.Tensor, mask: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        first, second = _mean(x, mask - segments), _mean(x, segments)
        features = torch.cat([x[:, 0], (first - second).abs(), first * second], dim=1)
        hidden = torch.tanh(self._linear(self._thinned(features), "head.dense"))
        return self._linear(self._thinned(hidden), "head.out").squeeze(1)

    def _thinned(self, x: torch.Tensor) -> torch.Tensor:
        """Dropout in steps of 1/256, from random bytes: on a CPU a third of the time that torch's own takes."""
        if not self._dropped or not self.training:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self._dropped
        return x * (kept.to(x.dtype) * (256 / (256 - self._dropped)))

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._p(f"{name}.weight"), self._p(f"{name}.bias"))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = self._p(f"{name}.weight"), self._p(f"{name}.bias")
        return F.layer_norm(x, (self.config.hidden,), weight, bias, self.config.epsilon)

    def _p(self, name: str) -> torch.Tensor:
        parameter: torch.Tensor = getattr(self, _attribute(name))
        return parameter


def head_shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the head's tensors, as torch's Linear holds them."""
    return {
        "head.dense.weight": (HEAD_HIDDEN, 3 * hidden),
        "head.dense.bias": (HEAD_HIDDEN,),
        "head.out.weight": (1, HEAD_HIDDEN),
        "head.out.bias": (1,),
    }


def _mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (mask[:, None, :] @ x).squeeze(1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)


def _attribute(name: str) -> str:
    return name.replace(".", "__")  # a parameter's name may hold no dot


def _encoder_names(config: BertConfig) -> list[str]:
    tables = ("word", "position", "token_type")
    names = [f"embeddings.{table}_embeddings.weight" for table in tables]
    blocks = ["embeddings.LayerNorm"]
    parts = (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    )  # fmt: skip
    blocks += [f"encoder.layer.{index}.{part}" for index in range(config.layers) for part in parts]
    return names + [f"{block}.{tensor}" for block in blocks for tensor in ("weight", "bias")]
