"""Deja's judge over a stand-in verifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from loadtest.rivals.deja import Judge
from loadtest.rivals.memo import Logits
from tests.loadtest.rivals.made_up import MakeJudge, WordsInCommon, calibration


@pytest.fixture
def verifier() -> WordsInCommon:
    return WordsInCommon()


@pytest.fixture
def make_judge(tmp_path: Path, verifier: WordsInCommon) -> MakeJudge:
    """Make Deja's judge for texts that lie `cosine` apart from each other."""

    def make(texts: Sequence[str], *, cosine: float = 0.9, unreadable: Sequence[int] = ()) -> Judge:
        is_readable = np.array([at not in unreadable for at in range(len(texts))])
        similarity = np.full((len(texts), len(texts)), cosine, np.float32)
        return Judge(texts, is_readable, similarity, calibration(), verifier, Logits(tmp_path, verifier.fingerprint))

    return make
