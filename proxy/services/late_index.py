"""The vector index, once the embedder that names it is there; two of them, while entries move from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from proxy.core.models import Candidate
from proxy.errors import IndexMissingError
from proxy.ports import FloatArray


class Index(Protocol):
    """Entries of one embedder. Methods raise `StoreError` and its branches only."""

    async def nearest(self, partition: str, vector: FloatArray, *, k: int) -> list[Candidate]:
        """The nearest entries of one partition, nearest first."""


class LateIndex:
    """A vector index that may not be known yet. Implements `ports.VectorIndex`."""

    def __init__(self) -> None:
        self._inner: Index | None = None
        self._earlier: Index | None = None

    def use(self, inner: Index) -> None:
        """The index is known."""
        self._inner = inner

    def use_earlier(self, earlier: Index | None) -> None:
        """Entries of an embedder of before are in this one; None once there are none any more."""
        self._earlier = earlier

    async def nearest(
        self, partition: str, vector: FloatArray, *, k: int, earlier: FloatArray | None = None
    ) -> list[Candidate]:
        """See the port; IndexMissingError until the index is known."""
        if self._inner is None:
            raise IndexMissingError("The vector index is not known before the embedder is there.")
        if earlier is None or self._earlier is None:
            return await self._inner.nearest(partition, vector, k=k)
        # The one before goes first: an entry that moves in between is then found in both, and never in neither.
        try:
            before = await self._earlier.nearest(partition, earlier, k=k)
        except IndexMissingError:  # the last entry has just moved
            before = []
        try:
            now = await self._inner.nearest(partition, vector, k=k)
        except IndexMissingError:  # it is being built; what the other one has is not worse for it
            if not before:
                raise
            now = []
        return _together(now, before)


def _together(now: Sequence[Candidate], before: Sequence[Candidate]) -> list[Candidate]:
    known = {one.entry_id for one in now}
    moving = [replace(one, is_earlier=True) for one in before if one.entry_id not in known]
    return sorted([*now, *moving], key=lambda one: one.distance)
