"""LiteLLM's price table, read from the file in its package. The package itself is not imported, which would take 4.7 s and 178 MB."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

logger = logging.getLogger("deja.prices")

FILE = "model_prices_and_context_window_backup.json"
_KEPT = ("litellm_provider", "mode")


def read_price_table(path: Path | None = None) -> dict[str, Mapping[str, Any]]:
    """The prices per token of some 4,000 models: 40 ms, 3 MB kept. Empty, with a warning, where there is no such file.

    Args:
        path: of another table in the same shape; None takes LiteLLM's own.
    """
    found = path or _packaged()
    try:
        parsed = orjson.loads(found.read_bytes()) if found is not None else None
    except (OSError, orjson.JSONDecodeError):
        parsed = None
    if not isinstance(parsed, dict):
        logger.warning("no price table: costs are known only of models whose prices are configured (ledger.prices).")
        return {}
    return {
        name: {key: value for key, value in entry.items() if key in _KEPT or _is_price(key)}
        for name, entry in parsed.items()
        if isinstance(entry, dict)
    }


def _is_price(key: str) -> bool:
    return "_cost" in key and "token" in key


def _packaged() -> Path | None:
    found = importlib.util.find_spec("litellm")  # finds a top-level package without running it
    places = found.submodule_search_locations if found is not None else None
    return Path(places[0]) / FILE if places else None
