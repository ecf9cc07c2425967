"""Train the verifier: python -m embeddings.training.train DATA_DIR OUT_DIR [--layers 4] [--epochs 1] [--without qqp].

Needs the extra `train` (torch). Runs on a CPU in bf16 or on a GPU if there is one. It keeps its state every two minutes
and goes on from there when started again with the same arguments, so it may be stopped at any time. OUT_DIR receives:

    state.pt          what is needed to go on; may be deleted afterwards
    checkpoint/       config.json, model.safetensors, tokenizer.json: fp32, by BERT's names
    model/            the int8 ONNX model as it is shipped
    metrics.json      arguments, counts, loss and dev curve, seconds
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer

from embeddings.base import OneWay
from embeddings.checkpoint import read_config, read_weights
from embeddings.conversion import convert
from embeddings.onnx import OnnxEmbedder
from embeddings.training import recipe, shipping
from embeddings.training.metrics import curve
from embeddings.training.model import CrossEncoder
from embeddings.training.pairs import Pair
from embeddings.verifier import Verifier, padded

_MAX_TOKENS = 128  # of a pair in training; 98 % are shorter, and the rest cost more than they teach
_POOL_BATCHES = 50  # batches sorted by length together: little padding, yet a fresh mix
_WARM_UP = 0.06
_STATE_EVERY_S = 120.0
_DEV_TIMES = 4
_CLIP = 1.0
_PARITY_PAIRS = 1000
_REREAD_BATCH = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the outcome; two runs with equal plans on one machine give equal weights.

    Args:
        checkpoint: folder of the encoder to start from.
        layers: of the encoder to keep, the first ones.
        epochs: times each pair is seen; may be a fraction.
        batch: pairs a step.
        rate: peak learning rate of the encoder; the head's is three times that.
        last_rate: what is left of the rate at the end, as a share; 0 but for a run that another goes on from.
        without: recipe sources to leave out.
        seed: of recipe, order and head.
        whole: train on the kinds otherwise kept aside, too.
        most: pairs used at most, for a trial; 0 for all.
        dev: pairs of qqp_dev measured along the way.
        reread: folder of an earlier verifier; see `recipe.build`. Empty for none.
        dropout: see `CrossEncoder`.
    """

    checkpoint: str
    layers: int
    epochs: float
    batch: int
    rate: float
    last_rate: float
    without: tuple[str, ...]
    seed: int
    whole: bool
    most: int
    dev: int
    reread: str = ""
    dropout: float = 0.0


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the verifier.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument(
        "--checkpoint", required=True, help="folder with config.json, model.safetensors, tokenizer.json"
    )
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--last-rate", type=float, default=0.0, help="share of the rate at the end")
    parser.add_argument("--without", action="append", default=[], choices=recipe.SOURCES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="train on the kinds otherwise kept aside, too")
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--dev", type=int, default=2000)
    parser.add_argument(
        "--reread", default="", help="folder of a verifier that leaves out what it takes for wrong labels"
    )
    parser.add_argument("--dropout", type=float, default=0.1, help="share of states left out while training (0.1)")
    parser.add_argument(
        "--threads", type=int, default=0, help="0 leaves it to torch; changes the sums' order, so the last digits"
    )
    args = vars(parser.parse_args())
    data_dir, out_dir, threads = args.pop("data_dir"), args.pop("out_dir"), args.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    plan = Plan(**(args | {"without": tuple(args["without"])}))
    run(data_dir, out_dir, plan)


def run(data_dir: Path, out_dir: Path, plan: Plan) -> None:
    """Train, measure on qqp_dev, export; goes on where an earlier run with the same plan was cut off."""
    out_dir.mkdir(parents=True, exist_ok=True)
    source = Path(plan.checkpoint)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # as the running verifier does
    pairs = _training_pairs(data_dir, source, plan)
    examples, kept = _tokenized(tokenizer, pairs)
    print(f"{len(kept):,} pairs of at most {_MAX_TOKENS} tokens")
    trainer = _Trainer(plan, source, out_dir, examples, np.array([pair.is_same for pair in kept]))
    trainer.set_dev(*_dev(data_dir, tokenizer, plan))
    trainer.train()
    weights = trainer.net.weights()
    config = trainer.net.config
    shipping.write_checkpoint(out_dir / "checkpoint", source, config, weights)
    manifest = shipping.ship(out_dir / "checkpoint", out_dir / "model", name="deja-verifier")
    report = trainer.report | {
        "int8_against_fp32": trainer.parity(out_dir / "model"),
        "plan": {**_as_json(plan), "checkpoint": source.name, "reread": Path(plan.reread).name},
        "pairs": dict(
            sorted(Counter(f"{p.kind.split('/')[0]} {'same' if p.is_same else 'different'}" for p in kept).items())
        ),
        "weights_sha256": manifest.weights_sha256,
        "torch": torch.__version__,
    }
    (out_dir / "metrics.json").write_text(json.dumps(report, indent=1), "utf-8")


class _Trainer:
    """The loop: its state is the network, the optimiser and the number of steps taken."""

    def __init__(
        self, plan: Plan, source: Path, out_dir: Path, examples: Sequence[list[int]], labels: NDArray[np.bool_]
    ) -> None:
        torch.manual_seed(plan.seed)
        self._plan, self._out_dir, self._examples, self._labels = plan, out_dir, examples, labels
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = replace(read_config(source), layers=plan.layers)
        self.net = CrossEncoder(config, read_weights(source), plan.dropout).to(self.device)
        named = [(name, p) for name, p in self.net.named_parameters() if p.requires_grad]
        head = [p for name, p in named if name.startswith("head")]
        body = [p for name, p in named if not name.startswith("head")]
        groups = [{"params": body, "lr": plan.rate}, {"params": head, "lr": 3 * plan.rate}]
        self._optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        self._batches = _order(examples, plan)
        self._step, self._seconds = 0, 0.0
        self.report: dict[str, Any] = {"loss": [], "dev": []}
        self._dev: tuple[Sequence[list[int]], NDArray[np.bool_]] | None = None

    def set_dev(self, examples: Sequence[list[int]], labels: NDArray[np.bool_]) -> None:
        """Give what to measure on along the way."""
        self._dev = (examples, labels) if len(labels) else None

    def train(self) -> None:
        """Take all steps that are left."""
        self._resume()
        total, recent = len(self._batches), []
        kept_at = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, refresh_per_second=1) as bar:
            task = bar.add_task("training", total=total, completed=self._step)
            while self._step < total:
                recent.append(self._take_step())
                if self._step % 50 == 0:
                    self.report["loss"].append([self._step, round(float(np.mean(recent)), 4)])
                    bar.update(task, completed=self._step, description=f"loss {np.mean(recent):.3f}")
                    recent = []
                if self._step % max(1, total // _DEV_TIMES) == 0 or self._step == total:
                    self._measure(bar)
                if time.monotonic() - kept_at > _STATE_EVERY_S or self._step == total:
                    self._keep()
                    kept_at = time.monotonic()
        self.report["seconds"] = round(self._seconds)

    def parity(self, model: Path) -> dict[str, float]:
        """Compare the shipped model's logits with torch's in fp32 on the dev pairs."""
        if self._dev is None:
            return {}
        rows = self._dev[0][:_PARITY_PAIRS]
        verifier = Verifier(model)
        self.net.eval()
        with torch.no_grad():
            arrays = [[torch.from_numpy(array).to(self.device) for array in padded([row], np.int64)] for row in rows]
            ours = np.array([float(self.net(*array)[0]) for array in arrays])
        shipped = np.array([verifier.score_tokens([row])[0] for row in rows])
        gap = np.abs(ours - shipped)
        return {
            "pairs": len(rows),
            "correlation": round(float(np.corrcoef(ours, shipped)[0, 1]), 5),
            "mean_difference": round(float(gap.mean()), 4),
            "largest_difference": round(float(gap.max()), 4),
            "spread": round(float(ours.std()), 4),
        }

    def _take_step(self) -> float:
        started = time.process_time()
        torch.manual_seed(self._plan.seed + self._step)  # dropout goes on where a run that was cut off would have
        progress = self._step / len(self._batches)
        factor = min(1.0, progress / _WARM_UP + 1e-3) * (1.0 - (1.0 - self._plan.last_rate) * progress)
        for group, rate in zip(self._optimizer.param_groups, (self._plan.rate, 3 * self._plan.rate), strict=True):
            group["lr"] = rate * factor
        batch = self._batches[self._step]
        labels = torch.from_numpy(self._labels[batch]).float().to(self.device)
        logits = self._logits([self._examples[index] for index in batch])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self._optimizer.param_groups for p in g["params"]], _CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        self._seconds += time.process_time() - started
        return float(loss.detach())

    def _logits(self, rows: Sequence[list[int]]) -> torch.Tensor:
        ids, mask, segments = (torch.from_numpy(array).to(self.device) for array in padded(rows, np.int64))
        with torch.autocast(self.device.type, torch.bfloat16):
            logits: torch.Tensor = self.net(ids, mask, segments)
        return logits.float()

    def _measure(self, bar: Progress) -> None:
        if self._dev is None:
            return
        examples, labels = self._dev
        order = sorted(range(len(examples)), key=lambda index: len(examples[index]))
        scores = np.zeros(len(examples))
        self.net.eval()
        with torch.no_grad():
            for start in range(0, len(order), self._plan.batch):
                chosen = order[start : start + self._plan.batch]
                scores[chosen] = self._logits([examples[index] for index in chosen]).cpu().numpy()
        self.net.train()
        found = curve(scores, labels)
        self.report["dev"].append({"step": self._step, "found_at_accepted": found})
        bar.console.print(f"step {self._step}: found at accepted {found}")

    def _keep(self) -> None:
        state = {
            "plan": _as_json(self._plan), "step": self._step, "seconds": self._seconds, "report": self.report,
            "net": self.net.state_dict(), "optimizer": self._optimizer.state_dict(),
        }  # fmt: skip
        torch.save(state, self._out_dir / "state.new")
        (self._out_dir / "state.new").replace(self._out_dir / "state.pt")

    def _resume(self) -> None:
        path = self._out_dir / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["plan"] != _as_json(self._plan):
            sys.exit(f"{path} belongs to a run with other arguments; choose another OUT_DIR, or delete it")
        self.net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds, self.report = state["step"], state["seconds"], state["report"]
        print(f"going on from step {self._step}")


def _training_pairs(data_dir: Path, source: Path, plan: Plan) -> list[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        convert(source, Path(folder), name="neighbours", precision="int8")
        embedder = OnnxEmbedder(Path(folder), threads=torch.get_num_threads())

        def embed(texts: Sequence[str]) -> NDArray[np.float32]:
            return np.stack([embedding.vector for embedding in embedder.embed(texts)])

        reread = _reread(Path(plan.reread)) if plan.reread else None
        sources = recipe.sources_without(plan.without)
        pairs = recipe.build(data_dir, sources, embed, plan.seed, is_whole=plan.whole, reread=reread)
    return pairs[: plan.most] if plan.most else pairs


def _reread(folder: Path) -> recipe.Reread:
    verifier = Verifier(folder, threads=torch.get_num_threads())

    def logits(pairs: Sequence[Pair]) -> list[float]:
        order = sorted(range(len(pairs)), key=lambda at: len(pairs[at].stored) + len(pairs[at].asked))
        found = [0.0] * len(pairs)
        for start in range(0, len(order), _REREAD_BATCH):
            some = order[start : start + _REREAD_BATCH]
            scores = verifier.score([OneWay(pairs[at].stored, pairs[at].asked) for at in some])
            for at, score in zip(some, scores, strict=True):
                found[at] = score.logit
        return found

    return logits


def _dev(data_dir: Path, tokenizer: Tokenizer, plan: Plan) -> tuple[list[list[int]], NDArray[np.bool_]]:
    pairs = recipe.labelled(data_dir, "qqp")[1]
    rng = random.Random(plan.seed)  # noqa: S311  (repeatable, not secret)
    examples, kept = _tokenized(tokenizer, rng.sample(pairs, min(plan.dev, len(pairs))))
    return examples, np.array([pair.is_same for pair in kept], bool)


def _tokenized(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> tuple[list[list[int]], list[Pair]]:
    encodings = tokenizer.encode_batch([(pair.stored, pair.asked) for pair in pairs])
    kept = [(enc.ids, pair) for enc, pair in zip(encodings, pairs, strict=True) if len(enc.ids) <= _MAX_TOKENS]
    return [ids for ids, _ in kept], [pair for _, pair in kept]


def _order(examples: Sequence[list[int]], plan: Plan) -> list[list[int]]:
    """Draw the batches of the whole run: shuffled, then sorted by length within pools of batches."""
    rng = random.Random(plan.seed)  # noqa: S311  (repeatable, not secret)
    wanted = int(plan.epochs * len(examples))
    sequence: list[int] = []
    while len(sequence) < wanted:
        sequence += rng.sample(range(len(examples)), len(examples))
    sequence = sequence[:wanted]
    batches: list[list[int]] = []
    for start in range(0, wanted, plan.batch * _POOL_BATCHES):
        pool = sorted(sequence[start : start + plan.batch * _POOL_BATCHES], key=lambda index: len(examples[index]))
        some = [pool[at : at + plan.batch] for at in range(0, len(pool), plan.batch)]
        rng.shuffle(some)
        batches += some
    return batches


def _as_json(plan: Plan) -> dict[str, Any]:
    return {name: list(value) if isinstance(value := getattr(plan, name), tuple) else value for name in plan.__slots__}


if __name__ == "__main__":
    main()
