"""Small models for commands that judge pairs: words instead of meaning, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from embeddings.hashing import HashingEmbedder
from embeddings.verifier import Score, Verifier
from proxy.commands.models import Models
from proxy.settings import Settings
from tests.proxy.tuning.builders import calibration


class WordVerifier:
    """As sure as words are shared."""

    fingerprint = "verifier-of-words"

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        shared = [len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split())) for a, b in pairs]
        return [Score(24 * (one - 0.5), 10, is_truncated=False) for one in shared]

    def close(self) -> None:
        pass


def small_models(_settings: Settings) -> Models:
    """Stands for `open_models`."""
    return Models(HashingEmbedder(), cast(Verifier, WordVerifier()), calibration((0.01, 0.7), (0.05, 0.5)))


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.commands import evaluate, tune, tune_journal

    modules: tuple[Any, ...] = (evaluate, tune, tune_journal)
    for module in modules:
        monkeypatch.setattr(module, "open_models", small_models)
