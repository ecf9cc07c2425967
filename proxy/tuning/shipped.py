"""The calibrations that come with Deja: one for the embedder it brings, one for any other, where only verifier and gates count."""

from __future__ import annotations

import json
from importlib.resources import files

from proxy.core.confidence import Calibration
from proxy.errors import ConfigError

ANY_EMBEDDER = "any"
FILE = "calibration.json"


def calibration(embedder: str, verifier: str) -> Calibration:
    """Find the calibration for a pair of models.

    Args:
        embedder: fingerprint; one that was not calibrated gets the calibration that leaves cosine out.
        verifier: fingerprint; its scores mean nothing without a calibration of their own.

    Raises:
        ConfigError: the verifier was not calibrated, which a complete installation cannot lack.
    """
    table = json.loads(files("proxy.tuning").joinpath(FILE).read_text("utf-8"))
    if table["verifier"] != verifier:
        raise ConfigError(
            f"the calibration is for the verifier {table['verifier']}, not for {verifier}; install Deja anew"
        )
    found = table["embedders"].get(embedder) or table["embedders"][ANY_EMBEDDER]
    return Calibration.from_json(found)
