"""Getting an embedder ready: fetch and export its model once, then open it in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embeddings.artifacts import Progress, exclusive, silent, staged
from embeddings.base import Embedder, Precision
from embeddings.conversion import EXPORTER_VERSION, convert_in_child
from embeddings.errors import EmbedderError
from embeddings.sources import resolve

HASHING_SOURCE = "hashing"


def is_local(source: str) -> bool:
    """Whether the source is a model to be prepared on this machine, and not a URL or the hashing stand-in."""
    return source != HASHING_SOURCE and not source.startswith(("http://", "https://"))


def prepare(source: str, artifacts_dir: Path, precision: Precision = "int8", progress: Progress = silent) -> Path:
    """Make the exported model if it is not there yet.

    Args:
        source: "package", a folder, or a hub id, as `embeddings.sources.resolve` reads them.
        artifacts_dir: where checkpoints and exported models are kept; made if missing.
        precision: of the exported weights.
        progress: told what takes long.

    Returns:
        The exported model's folder, `models/<name>-<precision>-<exporter version>`.

    Raises:
        EmbedderError: the model cannot be had or not be run.
    """
    model_source = resolve(source)
    target = artifacts_dir / "models" / f"{model_source.cache_key()}-{precision}-{EXPORTER_VERSION}"
    if target.is_dir():
        return target
    with exclusive(artifacts_dir / "models.lock", progress):
        if not target.is_dir():
            checkpoint = model_source.fetch(artifacts_dir / "sources", progress)
            progress(f"converting {model_source.name} to {precision}", None)
            with staged(target) as staging:
                convert_in_child(checkpoint, staging, name=model_source.name, precision=precision)
    return target


def open_embedder(
    source: str,
    artifacts_dir: Path,
    precision: Precision = "int8",
    *,
    threads: int = 1,
    model: str = "",
    api_key: str | None = None,
    dim: int | None = None,
    max_tokens: int | None = None,
    timeout_s: float | None = None,
    on_call: Callable[[int | None], None] | None = None,
    progress: Progress = silent,
) -> Embedder:
    """Open the embedder that `source` names, preparing its model first if need be. Blocks; run it off the event loop.

    Args:
        source: as for `prepare`, or an http(s) URL of embeddings, or "hashing" (for tests: knows words, not meaning).
        artifacts_dir: as for `prepare`.
        precision: as for `prepare`; local models only.
        threads: cores one call may use; local models only.
        model: the name the URL's server knows the model by; URLs only.
        api_key: sent as a bearer token; URLs only.
        dim: length of the vectors; None asks the URL once. URLs only.
        max_tokens: tokens the URL's model reads; None is a careful guess. URLs only.
        timeout_s: for one call to the URL; None is the default. URLs only.
        on_call: told of each call to the URL, see `remote.connect`.
        progress: told what takes long.

    Raises:
        EmbedderError: the embedder cannot be opened.
    """
    if source == HASHING_SOURCE:
        from embeddings.hashing import HashingEmbedder

        return HashingEmbedder()
    if source.startswith(("http://", "https://")):
        from embeddings import remote

        if not model:
            raise EmbedderError("an embeddings URL needs the model's name beside it")
        return remote.connect(
            source,
            model,
            api_key=api_key,
            dim=dim,
            max_tokens=max_tokens or remote.CAUTIOUS_MAX_TOKENS,
            timeout_s=timeout_s or remote.DEFAULT_TIMEOUT_S,
            on_call=on_call,
        )
    from embeddings.onnx import OnnxEmbedder

    return OnnxEmbedder(prepare(source, artifacts_dir, precision, progress), threads=threads)
