"""The vector index, once the embedder that names it is there."""

from __future__ import annotations

from proxy.core.models import Candidate
from proxy.errors import IndexMissingError
from proxy.ports import FloatArray, VectorIndex


class LateIndex:
    """A vector index that may not be known yet. Implements `ports.VectorIndex`."""

    def __init__(self) -> None:
        self._inner: VectorIndex | None = None

    def use(self, inner: VectorIndex) -> None:
        """The index is known."""
        self._inner = inner

    async def nearest(self, partition: str, vector: FloatArray, *, k: int) -> list[Candidate]:
        """See the port; IndexMissingError until the index is known."""
        if self._inner is None:
            raise IndexMissingError("The vector index is not known before the embedder is there.")
        return await self._inner.nearest(partition, vector, k=k)
