"""Filling a Redis with made-up entries as Deja stores them, and looking things up in it: raw queries of any policy, and our own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from loadtest.growth_vectors import BLOCK, DIM, Space, topic_of
from proxy.core import keys
from proxy.core.models import Entry, WireMode
from proxy.stores.responses import fields_of, script

FINGERPRINT = "growth-made-up-vectors"
ROOM = blake2b(b"growth", digest_size=16).hexdigest()
TTL_S = 7 * 24 * 3600
ANSWER = (
    b'{"choices":[{"message":{"role":"assistant","content":"'
    + b"All work and no play makes an answer. " * 20
    + b'"}}]}'
)
"""About 800 bytes: answers are longer than this as often as shorter, and count for themselves in bytes per entry."""
AT_ONCE = 64
"""Entries sent in one go."""
NESTED = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 300_000)
"""The first so many entries bear a partition more: partitions of these sizes in one index, whatever it holds besides."""
TURN = 3
"""Entries a partition where each conversation turn has its own."""


def partition(name: str) -> str:
    """A partition as real ones look."""
    return blake2b(name.encode(), digest_size=16).hexdigest()


def partitions_of(number: int, topic: int, *, is_small: bool) -> list[str]:
    """What an entry is found under: its turn alone in small partitions; else everything, its topic and what is nested."""
    if is_small:
        return [partition(f"turn {number // TURN}")]
    nested = [partition(f"first {size}") for size in NESTED if number < size]
    return [partition("all"), *nested, partition(f"topic {topic}")]


async def fill(client: Redis, space: Space, first: int, last: int, *, is_small: bool, is_half: bool = False) -> float:
    """Store entries `first` to `last`, with the script and the fields of Deja itself; the seconds it took."""
    put, started = client.register_script(script("put")), time.perf_counter()
    sha = await client.script_load(put.script)
    for number in range(first // BLOCK, -(-last // BLOCK)):
        vectors, places = space.block(number)
        topics = topic_of(places)
        written = vectors.astype(np.float16) if is_half else vectors
        rows = range(max(first - number * BLOCK, 0), min(last - number * BLOCK, BLOCK))
        for start in range(rows.start, rows.stop, AT_ONCE):
            async with client.pipeline(transaction=False) as pipe:
                for row in range(start, min(start + AT_ONCE, rows.stop)):
                    each = number * BLOCK + row
                    found_under = ",".join(partitions_of(each, int(topics[row]), is_small=is_small))
                    _put(pipe, sha, each, written[row].tobytes(), found_under)
                await pipe.execute()
    return time.perf_counter() - started


def _put(pipe: Pipeline, sha: str, number: int, vector: bytes, found_under: str) -> None:
    """What `ResponseStore.put` sends."""
    now, entry_id = time.time(), f"ent_{number:026d}"
    question = f"What is there to be said about number {number:08d}?"
    entry = Entry(entry_id, question, ANSWER, WireMode.BOTH, now, TTL_S)
    redis_key = keys.entry_key(FINGERPRINT, ROOM, entry_id)
    exact_key = keys.exact_key(ROOM, partition(entry_id))
    written = (redis_key, exact_key, exact_key, keys.condemned_key(ROOM))
    pipe.evalsha(sha, len(written), *written, TTL_S, "", *fields_of(entry, partition=found_under, vector=vector))
    pipe.zadd(keys.EXPIRY, {redis_key: now + TTL_S})


@dataclass(frozen=True, slots=True)
class Graph:
    """How an index is built.

    Attributes:
        algorithm: HNSW or FLAT.
        m: HNSW's neighbours of a node.
        construction: candidates looked at while inserting.
        datatype: FLOAT32 or FLOAT16.
    """

    algorithm: str = "HNSW"
    m: int = 16
    construction: int = 128
    datatype: str = "FLOAT32"

    def __str__(self) -> str:
        return f"{self.algorithm} {self.datatype}" + (
            f" M {self.m} EFC {self.construction}" if self.algorithm == "HNSW" else ""
        )

    def creation(self, name: str) -> tuple[Any, ...]:
        """FT.CREATE of an index over the entries."""
        attributes: tuple[Any, ...] = ("TYPE", self.datatype, "DIM", DIM, "DISTANCE_METRIC", "COSINE")
        if self.algorithm == "HNSW":
            attributes += ("M", self.m, "EF_CONSTRUCTION", self.construction)
        fields = ("partition", "TAG", "CASESENSITIVE", "vector", "VECTOR", self.algorithm, len(attributes), *attributes)
        return ("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, keys.entry_prefix(FINGERPRINT), "SCHEMA", *fields)


@dataclass(frozen=True, slots=True)
class Policy:
    """How an index is asked.

    Attributes:
        hybrid: BATCHES, ADHOC_BF, or empty for the module's own choice.
        batch: BATCHES' size, 0 for the module's own.
        ef: HNSW's candidates while searching, 0 for the index' own.
    """

    hybrid: str = ""
    batch: int = 0
    ef: int = 0

    def __str__(self) -> str:
        parts = [
            self.hybrid or "own choice",
            f"batch {self.batch}" if self.batch else "",
            f"ef {self.ef}" if self.ef else "",
        ]
        return ", ".join(filter(None, parts))

    def clause(self, k: int) -> str:
        """KNN with this policy; the vector is `$vector`."""
        hints = [f"HYBRID_POLICY {self.hybrid}"] if self.hybrid else []
        hints += [f"BATCH_SIZE {self.batch}"] if self.batch else []
        hints += [f"EF_RUNTIME {self.ef}"] if self.ef and self.hybrid != "ADHOC_BF" else []
        return f"[KNN {k} @vector $vector {' '.join(hints)} AS distance]"


@dataclass(frozen=True, slots=True)
class Asked:
    """What some look-ups came to: ids in the order found, and milliseconds each."""

    ids: list[list[int]]
    took_ms: NDArray[np.float64]

    @property
    def p50_ms(self) -> float:
        """The median."""
        return float(statistics.median(self.took_ms))

    @property
    def p99_ms(self) -> float:
        """The slowest hundredth begins here."""
        return float(np.quantile(self.took_ms, 0.99))


async def asked_raw(client: Redis, name: str, within: str, asked: NDArray[Any], policy: Policy, *, k: int) -> Asked:
    """FT.SEARCH with nothing of ours around it, no fields but the distance."""

    async def one(vector: NDArray[Any]) -> list[int]:
        query = f"(@partition:{{{within}}})=>{policy.clause(k)}"
        reply = await client.execute_command(  # type: ignore[no-untyped-call]
            "FT.SEARCH",
            name,
            query,
            "PARAMS",
            2,
            "vector",
            vector.tobytes(),
            "RETURN",
            1,
            "distance",
            "LIMIT",
            0,
            k,
            "DIALECT",
            2,
        )
        found = sorted((float(fields[1]), _number(key)) for key, fields in zip(reply[1::2], reply[2::2], strict=True))
        return [number for _, number in found]

    return await timed(asked, one)


async def timed(asked: NDArray[Any], one: Callable[[NDArray[Any]], Awaitable[list[int]]]) -> Asked:
    """Ask one after the other on one connection."""
    ids, took = [], []
    for vector in asked:
        started = time.perf_counter()
        ids.append(await one(vector))
        took.append((time.perf_counter() - started) * 1000)
    return Asked(ids, np.array(took))


async def floor_ms(client: Redis, count: int = 300) -> float:
    """Median of a PING: what a round trip costs here and now."""
    took = []
    for _ in range(count):
        started = time.perf_counter()
        await client.ping()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def facts_of(client: Redis, name: str) -> dict[str, float]:
    """FT.INFO's numbers."""
    flat = await client.execute_command("FT.INFO", name)  # type: ignore[no-untyped-call]
    info = {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=False)}
    return {
        key: float(value) for key, value in info.items() if isinstance(value, (int, bytes, float)) and _is_number(value)
    }


def number_of(entry_id: str) -> int:
    """The number of a stored entry."""
    return int(entry_id.removeprefix("ent_"))


def _number(redis_key: bytes) -> int:
    return number_of(redis_key.decode().rsplit(":", 1)[1])


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
