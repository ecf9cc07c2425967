"""The models and the calibration that the settings ask for, as the proxy would open them."""

from __future__ import annotations

from dataclasses import dataclass

from embeddings.base import Embedder
from embeddings.errors import EmbedderError
from embeddings.verifier import Verifier, shipped_folder
from proxy.core.confidence import Calibration
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.tuning import own, shipped


@dataclass(frozen=True, slots=True)
class Models:
    """What decides.

    Attributes:
        embedder: of the settings.
        verifier: as shipped.
        calibration: the settings' own, else as shipped.
    """

    embedder: Embedder
    verifier: Verifier
    calibration: Calibration


def open_models(settings: Settings) -> Models:
    """Open embedder, verifier and calibration.

    Raises:
        ConfigError: one of them cannot be had.
    """
    from proxy.model_loading import open_embedder  # heavy: only once work begins

    try:
        embedder = open_embedder(settings)
        verifier = Verifier(shipped_folder(), threads=settings.embedder.threads)
    except EmbedderError as error:
        raise ConfigError(str(error)) from error
    calibration = shipped.calibration(embedder.fingerprint, verifier.fingerprint)
    if settings.cache.calibration is not None:
        calibration = own.load(settings.cache.calibration, scale=calibration.scale)
    return Models(embedder, verifier, calibration)
