"""Asks the verifier whether two memories say the same, where no gate keeps them apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from embeddings.batching import BatchingVerifier
from embeddings.errors import EmbedderError
from proxy.core.memory import sameness

logger = logging.getLogger("deja.memory")


class SameJudge:
    """Says which of some stored texts says what a new one says. Until the models are there only a repetition does.

    Args:
        deadline_s: for the verifier; longer, and the two are kept apart.
    """

    def __init__(self, *, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._verifier: BatchingVerifier | None = None

    def use(self, verifier: BatchingVerifier) -> None:
        """The model is there."""
        self._verifier = verifier

    async def same(self, text: str, stored: Sequence[str]) -> int | None:
        """Index of the first stored text, in the order given, that says the same; None if none surely does. Never raises."""
        for index, other in enumerate(stored):
            if sameness.is_same_text(text, other):
                return index
        # Together, since the verifier takes several in little more than the time of one.
        agree = await asyncio.gather(*(self._agrees(text, other) for other in stored))
        return agree.index(True) if True in agree else None

    async def _agrees(self, text: str, other: str) -> bool:
        needed = sameness.needed_logit(text, other)
        if self._verifier is None or needed is None:
            return False
        try:
            async with asyncio.timeout(self._deadline_s):
                score = await self._verifier.get((other, text))
        except (TimeoutError, EmbedderError) as error:
            logger.debug("two memories were not compared: %s", type(error).__name__)
            return False
        return score.lower_logit >= needed
