"""A checkpoint folder to an exported model's folder, in a process of its own.

Conversion needs some 700 MB for a second, and onnx. In a child both go away with it; done in a server's own process,
they left it 115 MB larger for good.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from embeddings.base import Precision
from embeddings.errors import EmbedderError, ModelFormatError

# Part of the fingerprint and of the cache folder's name: raise it with any change that moves vectors.
EXPORTER_VERSION = 1

_TIMEOUT_S = 600.0  # 3 s on two cores for 6 layers; a large BERT on a busy machine stays well below
_REFUSED = 3  # the child's exit status for a checkpoint it cannot use, its reason on stderr


def convert_in_child(checkpoint: Path, folder: Path, *, name: str, precision: Precision) -> None:
    """Do what `convert` does, in a child process.

    Raises:
        ModelFormatError: the checkpoint is not a model this library runs.
        EmbedderError: the child died.
    """
    command = [sys.executable, "-m", "embeddings.conversion", str(checkpoint), str(folder), name, precision]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise EmbedderError(f"converting {name} took over {_TIMEOUT_S:.0f} s") from error
    if done.returncode == _REFUSED:
        raise ModelFormatError(done.stderr.strip())
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["it said nothing; was memory short?"])[-1]
        raise EmbedderError(f"converting {name} ended with status {done.returncode}: {last_line}")


def convert(checkpoint: Path, folder: Path, *, name: str, precision: Precision) -> None:
    """Write model, tokenizer and manifest into an existing folder.

    Raises:
        ModelFormatError: the checkpoint is not a model this library runs.
    """
    from tokenizers import Tokenizer

    from embeddings import export, onnx
    from embeddings.checkpoint import file_sha256, read_config, read_weights

    config = read_config(checkpoint)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config.max_tokens)
    export.export(
        folder / onnx.MODEL_FILE,
        config=config,
        weights=read_weights(checkpoint),
        tokenizer=tokenizer,
        head=export.pooled_embedding(config.pooling),
        precision=precision,
    )
    shutil.copyfile(checkpoint / "tokenizer.json", folder / onnx.TOKENIZER_FILE)
    onnx.Manifest(
        name=name,
        dim=config.hidden,
        max_tokens=config.max_tokens,
        precision=precision,
        pooling=config.pooling,
        weights_sha256=file_sha256(checkpoint / "model.safetensors"),
        tokenizer_sha256=file_sha256(checkpoint / "tokenizer.json"),
        exporter_version=EXPORTER_VERSION,
    ).write(folder)


def _main(checkpoint: str, folder: str, name: str, precision: str) -> int:
    try:
        convert(Path(checkpoint), Path(folder), name=name, precision="fp32" if precision == "fp32" else "int8")
    except ModelFormatError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
