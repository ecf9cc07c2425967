"""What long-term memory needs of its store, as Protocols; no code. Every method may raise `StoreError` and its branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.core.memory.keys import Kind
from proxy.core.memory.ranking import Seat
from proxy.core.memory.records import Conditions, Memory
from proxy.core.memory.storage import Kept, Put, Vector

Hit = tuple[Memory, float]


class MemoryStore(Protocol):
    """Where memories lie; see `stores.memories`."""

    async def read(self, tenant: str, ids: Sequence[str]) -> list[Kept | None]:
        """Memories by their ids, in order."""

    async def says(self, tenant: str, digest: str) -> str | None:
        """Id of the memory that says a text."""

    async def vectors(self, tenant: str, ids: Sequence[str], embedder: str) -> list[bytes | None]:
        """Vectors of memories."""

    async def put(
        self,
        tenant: str,
        memory: Memory,
        *,
        expected: int,
        vector: Vector | None,
        is_exclusive: bool = False,
        replaced: tuple[str, float] | None = None,
        now: float,
    ) -> Put:
        """Write a memory, if it is still at the revision that was read."""

    async def drop(self, tenant: str, ids: Mapping[str, int | None]) -> int:
        """Remove memories; how many were there."""

    async def touch(self, tenant: str, memory_id: str, *, at: float, times: int) -> None:
        """Note that a memory was found."""

    async def set_vector(self, tenant: str, kept: Kept, vector: Vector) -> bool:
        """Give a memory its vector."""

    async def count_of(self, tenant: str, kind: Kind, name: str) -> int:
        """How many memories a user, a session or a namespace has."""

    async def ids_after(self, tenant: str, after: str | None, count: int) -> list[str]:
        """One step of a walk over a tenant's ids."""


class MemoryIndex(Protocol):
    """Finds memories; see `stores.memory_index`."""

    @property
    def fingerprint(self) -> str:
        """Of its embedder."""

    @property
    def has_vectors(self) -> bool:
        """Whether it finds by meaning."""

    async def ensure(self) -> bool:
        """Create it if it is not there."""

    async def is_complete(self) -> bool:
        """Whether every memory has been indexed."""

    async def narrowed(self, tenant: str, wanted: Conditions, *, as_of: float | None, now: float) -> str | None:
        """Conditions as a filter for the methods below."""

    async def nearest(self, tenant: str, narrowed: str, vector: bytes, k: int) -> list[Hit]:
        """The nearest memories with their distances."""

    async def alike(self, tenant: str, memory: Memory, vector: bytes, k: int) -> list[Hit]:
        """The nearest memories that could say the same."""

    async def by_words(self, tenant: str, narrowed: str, terms: Sequence[str], k: int) -> tuple[list[Hit], int]:
        """The memories with some of these words, and how many there are."""

    async def seats_near(self, tenant: str, narrowed: str, vector: bytes, k: int) -> list[tuple[Seat, float]]:
        """The nearest memories with their distances, for ranking alone."""

    async def seats_said(
        self, tenant: str, narrowed: str, terms: Sequence[str], k: int
    ) -> tuple[list[tuple[Seat, float]], int]:
        """The memories with some of these words, for ranking alone, and how many there are."""

    async def read(self, tenant: str, ids: Sequence[str]) -> list[Memory | None]:
        """Memories by their ids, in order."""

    async def newest(self, tenant: str, narrowed: str, *, offset: int, limit: int) -> tuple[list[Memory], int]:
        """The newest memories, and how many there are."""

    async def without_vector(self, count: int) -> list[tuple[str, str]]:
        """(tenant, id) of some memories that have no vector."""
