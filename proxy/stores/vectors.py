"""The vector index over stored answers: one HNSW index per embedder, searched inside one partition at a time.

redisvl describes, creates and examines the index. The query itself is one plain FT.SEARCH: through redisvl's query and result objects it
took 0.54 ms, of which 0.24 ms were theirs. How it is asked is in `stores.search_policy`; what the numbers are, in decision 0016.

A change of embedder opens another index (its name and key prefix hold the embedder's tag), because vectors of two models mean
nothing to each other. A change of the index' definition opens another one over the same entries: its name ends with a digest of the
definition, the old one serves until the new one is whole, and then goes.
"""

from __future__ import annotations

import logging
import time
from hashlib import blake2b
from typing import Any

import numpy as np
from redis.asyncio import Redis
from redisvl.index import AsyncSearchIndex
from redisvl.schema import IndexSchema

from proxy.core import keys
from proxy.core.models import Candidate
from proxy.errors import IndexMissingError, StoreError
from proxy.stores.client import translated
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal
from proxy.stores.search_policy import SearchPolicy

logger = logging.getLogger("deja.index")

_RETURNED = ("entry_id", "question", "created_at", "ttl_s", "answer_hash", "distance")
_GRAPH = {"m": 32, "ef_construction": 128, "ef_runtime": 32}
"""HNSW's neighbours a node, and candidates looked at while inserting and while searching (`search_policy` says how many each time). Redis
inserts on its one thread and builds the graph anew at each start, so a better graph costs both; decision 0016 weighs them."""
_OVER_FETCH = 3
"""Expired documents stay indexed until Redis gets to them and take places in k: ask for this many more."""
_ASKED_AGAIN = (8, 64)
"""And if they took them all, for this many times as many: after a burst of entries that expire in the same second."""

_WALK_SHARE = 0.25
"""Of a look-up's deadline, for one walk through the graph: what is near is met early, and everybody waits for Redis' one thread."""


class VectorIndex:
    """Nearest stored questions. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        fingerprint: of the embedder.
        dim: length of its vectors.
        deadline_ms: of a look-up; Redis gives a search up then, a walk after a quarter of it. None for Redis' own limit.
        seal: opens questions.
    """

    def __init__(
        self,
        client: Redis,
        *,
        fingerprint: str,
        dim: int,
        deadline_ms: float | None = None,
        seal: Seal | NoSeal = NO_SEAL,
    ) -> None:
        self._client = client
        self._seal = seal
        self._index = AsyncSearchIndex(_schema(fingerprint, dim), redis_client=client)
        self._base = keys.index_name(fingerprint)
        self._older: list[str] = []
        self._has_replaced = False
        self._is_whole = True
        self._policy = SearchPolicy()
        self._deadline_ms = deadline_ms

    @property
    def name(self) -> str:
        """Name of the RediSearch index."""
        return str(self._index.name)

    def is_of_this_embedder(self, name: str) -> bool:
        """Whether an index of that name, be it of an earlier definition, is over this embedder's entries."""
        return name.startswith(self._base)

    async def ensure(self) -> bool:
        """Create the index if it is not there; True if it had to be."""
        with translated():
            names = [name.decode() for name in await self._command("FT._LIST")]
            self._older = [name for name in names if self.is_of_this_embedder(name) and name != self.name]
            if self.name in names:
                return False
            await self._index.create(overwrite=False)
        if self._older:
            self._is_whole = False
            logger.info("the vector index has a new definition: %s serves until %s is whole", self._older[0], self.name)
        return True

    async def is_complete(self) -> bool:
        """Whether every stored entry has been indexed (after a restart Redis indexes in the background)."""
        with translated():
            info = await self._index.info()
        self._policy.documents = int(float(info.get("num_docs", 0)))
        self._is_whole = float(info.get("percent_indexed", 1)) >= 1.0 and int(info.get("indexing", 0)) == 0
        if self._is_whole and self._older and not self._has_replaced:
            await self._replace_older()
        return self._is_whole

    @property
    def documents(self) -> int:
        """Entries in it, when `is_complete` was last asked."""
        return self._policy.documents

    async def drop(self) -> None:
        """Let it go, in whatever definition; its documents, the entries, stay."""
        with translated():
            for name in await self._command("FT._LIST"):
                if self.is_of_this_embedder(name.decode()):
                    await self._command("FT.DROPINDEX", name)

    async def _replace_older(self) -> None:
        # Once: a Deja of an earlier version that runs beside this one may want its index back, and shall not build it again and again.
        self._has_replaced = True
        for name in self._older:
            with translated():
                await self._command("FT.DROPINDEX", name)  # the index alone: its documents are ours
            logger.info("vector index %s, of an earlier definition, has gone", name)
        self._older = []

    async def nearest(self, partition: str, vector: np.ndarray, *, k: int) -> list[Candidate]:
        """The nearest entries of one partition, nearest first. One round trip, now and then a second.

        Args:
            partition: lower-case hex; nothing outside it is ever returned.
            vector: float32 (dim,), L2-normalised.
            k: how many, at most.

        Raises:
            IndexMissingError: there is no index, or nothing was found in one that is not whole yet.
        """
        wanted = k + _OVER_FETCH
        found, reply_count, is_late = await self._search(partition, vector, wanted)
        if is_late:
            # What is near is met early; it is the rest of k that is not found among questions of others. So ask for the nearest alone.
            found, reply_count, _ = await self._search(partition, vector, 1)
        for times in _ASKED_AGAIN:
            if len(found) >= k or reply_count < wanted:
                break
            wanted = times * (k + _OVER_FETCH)
            found, reply_count, _ = await self._search(partition, vector, wanted)
        if not found and not self._is_whole:
            raise IndexMissingError("The vector index is not whole yet, and what is there holds nothing of this.")
        if reply_count >= wanted and self._policy.wants_size(partition):
            self._policy.learn(partition, is_beyond=await self._is_beyond(partition, self._policy.crossing))
        return found[:k]

    async def _search(self, partition: str, vector: np.ndarray, wanted: int) -> tuple[list[Candidate], int, bool]:
        """Candidates that are still there, nearest first; how many there were with those that are not; whether time ran out, with none."""
        limit_ms, started = self._limit_ms(partition), time.perf_counter()
        reply = await self._understood(partition, vector, wanted)
        took_ms = (time.perf_counter() - started) * 1000
        # RediSearch says of a search it gave up only that it found nothing.
        is_late = len(reply) == 1 and limit_ms is not None and took_ms >= limit_ms
        return _candidates(reply, self._seal), len(reply) // 2, is_late

    def _limit_ms(self, partition: str) -> int | None:
        """How long Redis may search: comparing a small partition ends by itself, a walk may not."""
        if self._deadline_ms is None:
            return None
        share = 1.0 if self._policy.compares_all(partition) else _WALK_SHARE
        return max(1, round(self._deadline_ms * share))

    async def _understood(self, partition: str, vector: np.ndarray, wanted: int) -> list[Any]:
        hints = self._policy.hints(partition)
        try:
            return await self._ask(partition, vector, wanted, hints)
        except StoreError as error:
            if not _is_refusal(error) or "HYBRID_POLICY" not in hints:
                raise
            self._policy.refused()
            return await self._ask(partition, vector, wanted, self._policy.hints(partition))

    async def _ask(self, partition: str, vector: np.ndarray, wanted: int, hints: str) -> list[Any]:
        arguments = (
            f"(@partition:{{{partition}}})=>[KNN {wanted} @vector $vector {hints} AS distance]",
            *("PARAMS", 2, "vector", vector.tobytes()),
            *("RETURN", len(_RETURNED), *_RETURNED),
            *("LIMIT", 0, wanted),
            *(() if (limit_ms := self._limit_ms(partition)) is None else ("TIMEOUT", limit_ms)),
            *("DIALECT", 2),
        )
        with translated():
            reply: list[Any] = await self._command("FT.SEARCH", self._serving(), *arguments)
        return reply

    def _serving(self) -> str:
        return self._older[0] if self._older and not self._is_whole else self.name

    async def _is_beyond(self, partition: str, count: int) -> bool:
        """Whether the partition holds more entries than that: Redis reads on until it knows."""
        question = (f"@partition:{{{partition}}}", "LIMIT", count, 1, "DIALECT", 2)
        try:
            with translated():
                return len(await self._command("FT.AGGREGATE", self._serving(), *question)) > 1
        except StoreError as error:
            if not _is_refusal(error):
                raise
            self._policy.refused()
            return False

    async def _command(self, *arguments: Any) -> Any:
        return await self._client.execute_command(*arguments)  # type: ignore[no-untyped-call]


def _candidates(reply: list[Any], seal: Seal | NoSeal) -> list[Candidate]:
    """Read FT.SEARCH's flat reply: count, key, fields, key, fields, …"""
    found = []
    for redis_key, flat in zip(reply[1::2], reply[2::2], strict=True):
        # An entry that expires while it is being read comes back without its fields.
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
        if b"entry_id" not in fields or b"distance" not in fields:
            continue
        candidate = _candidate(redis_key, fields, seal)
        if candidate is not None:
            found.append(candidate)
    # Sorted here and not by SORTBY, which Valkey's search module does not know.
    return sorted(found, key=lambda candidate: candidate.distance)


def _is_refusal(error: StoreError) -> bool:
    """Whether Redis understood and refused, and is neither away nor without the index."""
    return type(error) is StoreError


def _candidate(redis_key: bytes, fields: dict[bytes, bytes], seal: Seal | NoSeal) -> Candidate | None:
    entry_id = fields[b"entry_id"].decode()
    question = seal.open(fields[b"question"], entry_id=entry_id, field="question")
    if question is None:
        return None
    return Candidate(
        redis_key=redis_key.decode(),
        entry_id=entry_id,
        question=question.decode(),
        distance=float(fields[b"distance"]),
        created_at=float(fields[b"created_at"]),
        ttl_s=int(fields[b"ttl_s"]),
        answer_hash=fields.get(b"answer_hash", b"").decode(),
    )


def _schema(fingerprint: str, dim: int) -> IndexSchema:
    """What the index is; its name says which definition it has, so that no process searches one of another."""
    vector = {"algorithm": "hnsw", "dims": dim, "distance_metric": "cosine", "datatype": "float32"} | _GRAPH
    fields = [
        {"name": "partition", "type": "tag", "attrs": {"case_sensitive": True}},
        {"name": "vector", "type": "vector", "attrs": vector},
    ]
    definition = blake2b(repr(fields).encode(), digest_size=4).hexdigest()
    index = {
        "name": f"{keys.index_name(fingerprint)}:{definition}",
        "prefix": keys.entry_prefix(fingerprint),
        "key_separator": "",
        "storage_type": "hash",
    }
    return IndexSchema.from_dict({"index": index, "fields": fields})
