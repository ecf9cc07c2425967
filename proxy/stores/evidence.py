"""What audits have found, per namespace and for the pool of all: hashes of counts that workers add to.

    evidence   HINCRBY the fields of a tally ("right:31", "wrong:30", "seen:12", …), HSET standing (JSON)     TTL, refreshed by each write
    batch      SET NX: this batch of counts has been added                                            TTL

Adding is one Lua script with a marker, so that a batch that is sent again because no answer came counts once. All keys share one
slot: evidence is small and written every few seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.budget import Standing
from proxy.core.evidence import Evidence, from_fields
from proxy.stores.client import translated
from proxy.stores.responses import script

logger = logging.getLogger("deja.evidence")

TTL_S = 90 * 86_400
"""A namespace nobody used for three months begins again at the pool's belief."""
BATCH_TTL_S = 86_400
"""How long a batch is known; a worker that is cut off from Redis for longer than a day may count its last batch twice."""

_STANDING = b"standing"


class EvidenceStore:
    """Evidence in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        space: what counts may be added up under: one calibration and one judge (`keys.evidence_space`).
    """

    def __init__(self, client: Redis, *, space: str) -> None:
        self._client = client
        self._space = space
        self._add = client.register_script(script("add_evidence"))

    async def add(self, batch_id: str, increments: Mapping[str, Mapping[str, int]]) -> bool:
        """Add counts to tallies; sent again under the same id, they are not added again. One round trip, atomic.

        Args:
            batch_id: of this batch alone, hex.
            increments: tag of a tally -> field -> by how much.

        Returns:
            Whether they were added now.
        """
        tags = [tag for tag, fields in increments.items() if fields]
        arguments: list[Any] = [BATCH_TTL_S, TTL_S]
        for tag in tags:
            fields = increments[tag]
            arguments += [len(fields), *(part for pair in fields.items() for part in pair)]
        marker = keys.evidence_batch_key(batch_id)
        with translated():
            return bool(await self._add(keys=[marker, *map(self._key, tags)], args=arguments))

    async def read(self, tags: Sequence[str]) -> dict[str, Evidence]:
        """Read the evidence under each tag; an empty one where there is none. One round trip."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for tag in tags:
                    pipe.hgetall(self._key(tag))
                found = await pipe.execute()
        return {tag: _evidence(fields) for tag, fields in zip(tags, found, strict=True)}

    async def put_standings(self, standings: Mapping[str, Standing]) -> None:
        """Write what reviews came to. One round trip; of two workers at once the later one's stays, which loses little."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for tag, standing in standings.items():
                    pipe.hset(self._key(tag), _STANDING, orjson.dumps(standing.as_json()))
                    pipe.expire(self._key(tag), TTL_S)
                await pipe.execute()

    def _key(self, tag: str) -> str:
        return keys.evidence_key(self._space, tag)


def _evidence(fields: dict[bytes, bytes]) -> Evidence:
    """A hash as it was read; what another version wrote counts as nothing, and is said."""
    written = fields.pop(_STANDING, None)
    standing = None
    try:
        if written is not None:
            standing = Standing.from_json(orjson.loads(written))
        return from_fields({name.decode(): int(count) for name, count in fields.items()}, standing)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        logger.warning("evidence that cannot be read is left aside: %s", error)
        return Evidence()
