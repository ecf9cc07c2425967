"""The models behind decisions, opened and warmed, with the calibration that belongs to them; part of the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embeddings import prepare
from embeddings.base import Embedder
from embeddings.verifier import Verifier, shipped_folder
from proxy.core.confidence import Calibration
from proxy.services.garbage import give_back
from proxy.settings import Settings
from proxy.settings.serving import EmbedderSettings
from proxy.tuning import own, shipped


@dataclass(frozen=True, slots=True)
class Models:
    """What a process decides with.

    Attributes:
        embedder: makes vectors.
        verifier: reads pairs.
        calibration: of the two together.
    """

    embedder: Embedder
    verifier: Verifier
    calibration: Calibration


def load(settings: Settings, *, on_call: Callable[[int | None], None]) -> Models:
    """Open the models and use each once, since a model's first call is its slowest. Blocks, for a second or so.

    Args:
        settings: all of them.
        on_call: told the tokens of each call of a remote embedder.

    Raises:
        EmbedderError: they cannot be had now.
    """
    embedder, verifier = open_embedder(settings, on_call=on_call), Verifier(shipped_folder())
    embedder.embed(["The first call of a model is its slowest."])
    verifier.score([("The first call of a model is its slowest.", "A model is slowest when it is called first.")])
    calibration = shipped.calibration(embedder.fingerprint, verifier.fingerprint)
    if settings.cache.calibration is not None:
        calibration = own.load(settings.cache.calibration, scale=calibration.scale)
    give_back()  # what reading the files took, in this thread
    return Models(embedder, verifier, calibration)


def open_embedder(settings: Settings, *, on_call: Callable[[int | None], None] | None = None) -> Embedder:
    """The embedder the settings ask for, its model prepared if it is not yet; a remote one tells `on_call` the tokens of each call.

    Raises:
        EmbedderError: it cannot be had now.
    """
    return open_from(settings.embedder, settings.artifacts, on_call=on_call)


def open_from(
    wanted: EmbedderSettings, artifacts: Path, *, on_call: Callable[[int | None], None] | None = None
) -> Embedder:
    """`open_embedder` for an embedder that need not be the one in use.

    Raises:
        EmbedderError: it cannot be had now.
    """
    return prepare.open_embedder(
        wanted.source,
        artifacts,
        wanted.precision,
        threads=wanted.threads,
        model=wanted.model or "",
        api_key=wanted.api_key.get_secret_value() if wanted.api_key else None,
        on_call=on_call,
    )
