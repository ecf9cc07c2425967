"""The vector index over stored answers: one HNSW index per embedder, searched inside one partition at a time.

redisvl describes, creates and examines the index. The query itself is one plain FT.SEARCH: through redisvl's query and result objects it
took 0.54 ms, of which 0.24 ms were theirs.

A change of embedder opens another index (its name and key prefix hold the embedder's tag), because vectors of two models mean
nothing to each other. HNSW rather than FLAT: with half of 60,000 entries in one partition a look-up took 0.4 ms against 9.9 ms, at 1.2 ms
an insert (design.md section 6).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from redis.asyncio import Redis
from redisvl.index import AsyncSearchIndex
from redisvl.schema import IndexSchema

from proxy.core import keys
from proxy.core.models import Candidate
from proxy.stores.client import translated

_RETURNED = ("entry_id", "question", "created_at", "ttl_s", "answer_hash", "distance")
_GRAPH = {"m": 16, "ef_construction": 64, "ef_runtime": 32}
"""HNSW's neighbours a node, and candidates looked at while inserting and while searching. Redis inserts on its one thread and
builds the graph anew at each start: against the defaults (16, 200, 10) with 10,000 clustered vectors an insert took 0.29 ms and
not 0.67, a start 2.9 s and not 5.6, and recall@3 against brute force was 1.000 and not 0.995 (200 queries)."""
_OVER_FETCH = 3
"""Expired documents stay indexed until Redis gets to them and take places in k: ask for this many more."""


class VectorIndex:
    """Nearest stored questions. Every method may raise the `StoreError`s of `stores.client.translated`."""

    def __init__(self, client: Redis, *, fingerprint: str, dim: int) -> None:
        self._client = client
        self._name = keys.index_name(fingerprint)
        self._index = AsyncSearchIndex(_schema(fingerprint, dim), redis_client=client)

    @property
    def name(self) -> str:
        """Name of the RediSearch index."""
        return self._name

    async def ensure(self) -> bool:
        """Create the index if it is not there; True if it had to be."""
        with translated():
            if await self._index.exists():
                return False
            await self._index.create(overwrite=False)
            return True

    async def is_complete(self) -> bool:
        """Whether every stored entry has been indexed (after a restart Redis indexes in the background)."""
        with translated():
            info = await self._index.info()
        return float(info.get("percent_indexed", 1)) >= 1.0 and int(info.get("indexing", 0)) == 0

    async def nearest(self, partition: str, vector: np.ndarray, *, k: int) -> list[Candidate]:
        """The nearest entries of one partition, nearest first. One round trip.

        Args:
            partition: lower-case hex; nothing outside it is ever returned.
            vector: float32 (dim,), L2-normalised.
            k: how many, at most.
        """
        with translated():
            found = await self._client.execute_command(  # type: ignore[no-untyped-call]
                "FT.SEARCH",
                self._name,
                f"(@partition:{{{partition}}})=>[KNN {k + _OVER_FETCH} @vector $vector AS distance]",
                "PARAMS",
                2,
                "vector",
                vector.tobytes(),
                "RETURN",
                len(_RETURNED),
                *_RETURNED,
                "LIMIT",
                0,
                k + _OVER_FETCH,
                "DIALECT",
                2,
            )
        return _candidates(found)[:k]


def _candidates(reply: list[Any]) -> list[Candidate]:
    """Read FT.SEARCH's flat reply: count, key, fields, key, fields, …"""
    found = []
    for redis_key, flat in zip(reply[1::2], reply[2::2], strict=True):
        # An entry that expires while it is being read comes back without its fields.
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        if b"entry_id" in fields and b"distance" in fields:
            found.append(_candidate(redis_key, fields))
    # Sorted here and not by SORTBY, which Valkey's search module does not know.
    return sorted(found, key=lambda candidate: candidate.distance)


def _candidate(redis_key: bytes, fields: dict[bytes, bytes]) -> Candidate:
    return Candidate(
        redis_key=redis_key.decode(),
        entry_id=fields[b"entry_id"].decode(),
        question=fields[b"question"].decode(),
        distance=float(fields[b"distance"]),
        created_at=float(fields[b"created_at"]),
        ttl_s=int(fields[b"ttl_s"]),
        answer_hash=fields.get(b"answer_hash", b"").decode(),
    )


def _schema(fingerprint: str, dim: int) -> IndexSchema:
    return IndexSchema.from_dict(
        {
            "index": {
                "name": keys.index_name(fingerprint),
                "prefix": keys.entry_prefix(fingerprint),
                "key_separator": "",
                "storage_type": "hash",
            },
            "fields": [
                {"name": "partition", "type": "tag", "attrs": {"case_sensitive": True}},
                {
                    "name": "vector",
                    "type": "vector",
                    "attrs": {"algorithm": "hnsw", "dims": dim, "distance_metric": "cosine", "datatype": "float32"}
                    | _GRAPH,
                },
            ],
        }
    )
