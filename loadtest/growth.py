"""How look-ups, memory, inserts and restarts grow with the cache: `python -m loadtest.growth DIR [--most 1000000] [--keep]`.

It fills an embedded Redis of its own with made-up questions (`growth_vectors`) as Deja stores them, one layout after the other. At each
size it measures our own look-up and bare queries of other policies, recall@3 against looking at every vector, bytes, seconds. What is in
DIR/growth.json already is not measured again, and a fill goes on where it stopped: a million takes half an hour and 7 GB. The end is told
in DIR/growth.md and .png, and the Redis data in DIR goes, unless `--keep`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from loadtest import growth_report
from loadtest.growth_report import Built, Filled, Looked, Restarted, Results
from loadtest.growth_store import (
    FINGERPRINT,
    NESTED,
    TURN,
    Asked,
    Graph,
    Policy,
    asked_raw,
    facts_of,
    fill,
    floor_ms,
    number_of,
    partition,
    timed,
)
from loadtest.growth_vectors import BLOCK, DIM, Space, TrueNeighbours, recall, topic_of
from proxy.errors import StoreError
from proxy.stores.client import open_client
from proxy.stores.embedded import EmbeddedRedis
from proxy.stores.vectors import VectorIndex

ARTIFACTS = Path(".deja/artifacts")
MEMORY_BYTES = 9 << 30
SIZES = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
SMALL_SIZES = (3_000, 30_000, 300_000)
TOPICS = (8, 15)
"""The busiest eighth but one of all questions, and the rarest: partitions that hold one topic alone, asked about any."""
GRAPHS_AT = 100_000
GRAPHS = (*(Graph(m=m, construction=built) for m in (16, 32) for built in (64, 128, 200)), Graph("FLAT"))
POLICIES = (
    Policy(),
    Policy("ADHOC_BF"),
    Policy("BATCHES"),
    Policy("BATCHES", batch=64),
    *(Policy(ef=ef) for ef in (32, 64, 128, 256)),
)
BRUTE_FORCE_BELOW = 300_000
"""Entries in a partition up to which comparing all is tried: 30 ms each from there."""
PAUSE_S = 2.0
"""Between looks at what Redis does in the background."""
QUESTIONS = 300
K = 3


class Growth:
    """One run: what is known, and where it is kept."""

    def __init__(self, folder: Path, *, most: int) -> None:
        self.folder = folder
        self.results = Results.read(folder / "growth.json", machine=_machine())
        self._sizes = [size for size in SIZES if size <= most]
        self._small = [size for size in SMALL_SIZES if size // TURN <= most]
        self._space = Space()
        self._asked = self._space.asked(QUESTIONS)

    async def run(self) -> None:
        """Measure what is missing."""
        async with self._server("one") as (server, client, index):
            for size in self._sizes:
                await self._grow(client, index, "one", size)
                await self._look_everywhere(client, index, size)
                if size == GRAPHS_AT:
                    for graph in GRAPHS:
                        await self._try_graph(client, graph, size, "one")
            await self._restart(server, client, index, self._sizes[-1])
        async with self._server("small") as (_, client, index):
            for size in self._small:
                await self._grow(client, index, "small", size)
                await self._look_in_turns(client, index, size)
        if GRAPHS_AT in self._sizes:
            async with self._server("half") as (_, client, _index):
                await self._try_graph(client, Graph(datatype="FLOAT16"), GRAPHS_AT, "half")

    @asynccontextmanager
    async def _server(self, layout: str) -> AsyncIterator[tuple[EmbeddedRedis, Redis, VectorIndex]]:
        server = EmbeddedRedis(self.folder / layout, ARTIFACTS, max_memory_bytes=MEMORY_BYTES)
        server.start()
        client = open_client(server.url, deadline_ms=None)
        index = VectorIndex(client, fingerprint=FINGERPRINT, dim=DIM)
        try:
            if layout != "half":
                await _whole(index)
            yield server, client, index
        finally:
            await client.aclose()
            server.stop()

    async def _grow(self, client: Redis, index: VectorIndex, layout: str, size: int) -> None:
        """Fill up to that size; each 10,000 of a larger one are told."""
        have = int((await facts_of(client, index.name))["num_docs"])
        seconds = 0.0
        for start in range(have, size, BLOCK):
            seconds += await fill(client, self._space, start, min(start + BLOCK, size), is_small=layout == "small")
            say(f"{layout}: {min(start + BLOCK, size):,} of {size:,}")
        if not self.results.has(Filled, layout=layout, entries=size) and seconds:
            used = int((await client.info("memory"))["used_memory"])
            self._keep(Filled(layout, size, seconds / (size - have) * 1000, used / size))
        await _whole(index)

    async def _look_everywhere(self, client: Redis, index: VectorIndex, size: int) -> None:
        names = [
            "all",
            *(f"first {nested}" for nested in NESTED if nested < size),
            *(f"topic {topic}" for topic in TOPICS),
        ]
        missing = [name for name in names if not self.results.has(Looked, entries=size, partition=name)]
        if not missing:
            return
        truth, held = self._truth(size, missing)
        for name in missing:
            floor = await floor_ms(client)
            asked = await self._ours(index, [partition(name)] * QUESTIONS)
            self._looked("one", size, name, held[name], "Deja", asked, truth[name], floor)
            for policy in POLICIES:
                if policy.hybrid != "ADHOC_BF" or held[name] <= BRUTE_FORCE_BELOW:
                    asked = await asked_raw(client, index.name, partition(name), self._asked, policy, k=K + 3)
                    self._looked("one", size, name, held[name], str(policy), asked, truth[name], floor)
            say(f"one: looked up in {name} of {size:,}")

    async def _look_in_turns(self, client: Redis, index: VectorIndex, size: int) -> None:
        """Each question in another partition; the truth is whatever is in it."""
        if self.results.has(Looked, layout="small", entries=size):
            return
        turns = np.random.default_rng(4).integers(0, size // TURN, QUESTIONS)
        truth = TrueNeighbours(self._asked[:1], K)
        truth.ids = np.arange(TURN) + turns[:, None] * TURN
        asked = await self._ours(index, [partition(f"turn {turn}") for turn in turns])
        self._looked("small", size, f"{size // TURN:,} of {TURN}", TURN, "Deja", asked, truth, await floor_ms(client))

    async def _try_graph(self, client: Redis, graph: Graph, size: int, layout: str) -> None:
        """Another index over the same entries, built in one go, asked, and dropped."""
        if self.results.has(Built, graph=str(graph)):
            return
        is_half = layout == "half"
        if is_half:
            await fill(client, self._space, 0, size, is_small=False, is_half=True)
        await asyncio.sleep(PAUSE_S)  # what the last one took is freed in the background
        before, started = int((await client.info("memory"))["used_memory"]), time.perf_counter()
        await client.execute_command(*graph.creation("tried"))  # type: ignore[no-untyped-call]
        while not _is_whole(await facts_of(client, "tried")):  # noqa: ASYNC110 - Redis tells nobody when it is done
            await asyncio.sleep(0.2)
        seconds = time.perf_counter() - started
        bytes_each = (int((await client.info("memory"))["used_memory"]) - before) / size
        truth, _ = self._truth(size, ["all"])
        looks = {}
        for ef in (0,) if graph.algorithm == "FLAT" else (10, 32, 64, 128, 256):
            asked_vectors = self._asked.astype(np.float16) if is_half else self._asked
            policy = Policy("BATCHES", ef=ef) if ef else Policy()
            asked = await asked_raw(client, "tried", partition("all"), asked_vectors, policy, k=K + 3)
            looks[str(ef)] = [asked.p50_ms, recall(asked.ids, truth["all"].ids, K)]
        self._keep(Built(str(graph), size, seconds / size * 1000, bytes_each, await floor_ms(client), looks))
        await client.execute_command("FT.DROPINDEX", "tried")  # type: ignore[no-untyped-call]
        say(f"{graph} over {size:,}")

    async def _restart(self, server: EmbeddedRedis, client: Redis, index: VectorIndex, size: int) -> None:
        """Kill Redis; how soon it answers, how soon the index is whole, and how long a command waits meanwhile."""
        if self.results.has(Restarted, entries=size):
            return
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        started, waits, answers_s = time.perf_counter(), [], 0.0
        last_look = started
        while True:
            sent = time.perf_counter()
            try:
                await client.get("nothing")
            except Exception:
                await asyncio.sleep(0.05)
                continue
            waits.append((time.perf_counter() - sent) * 1000)
            answers_s = answers_s or time.perf_counter() - started
            await asyncio.sleep(0.005)
            if time.perf_counter() - last_look > PAUSE_S:
                last_look = time.perf_counter()
                if await index.is_complete():
                    break
        whole_s = time.perf_counter() - started
        p50, p99, most = (float(value) for value in np.quantile(waits, (0.5, 0.99, 1.0)))
        self._keep(Restarted(size, answers_s, whole_s, p50, p99, most))
        say(f"restarted with {size:,}")

    async def _ours(self, index: VectorIndex, partitions: Sequence[str]) -> Asked:
        await index.is_complete()  # as upkeep does, so that it knows the index' size
        within: Iterator[str] = iter(partitions)

        async def one(vector: NDArray[np.float32]) -> list[int]:
            return [number_of(found.entry_id) for found in await index.nearest(next(within), vector, k=K)]

        for name in set(partitions) if len(set(partitions)) == 1 else ():
            await index.nearest(name, self._asked[0], k=K)  # the first one finds out how large the partition is
        return await timed(self._asked, one)

    def _truth(self, size: int, names: Sequence[str]) -> tuple[dict[str, TrueNeighbours], dict[str, int]]:
        truth, held = {name: TrueNeighbours(self._asked, K) for name in names}, dict.fromkeys(names, 0)
        for number in range(-(-size // BLOCK)):
            vectors, places = self._space.block(number)
            ids = np.arange(number * BLOCK, (number + 1) * BLOCK)
            for name in names:
                is_in = _is_in(name, ids, topic_of(places)) & (ids < size)
                held[name] += int(is_in.sum())
                if is_in.any():
                    truth[name].add(number * BLOCK, vectors, is_in)
        return truth, held

    def _looked(
        self, layout: str, size: int, name: str, held: int, what: str, asked: Asked, truth: TrueNeighbours, floor: float
    ) -> None:
        share = recall(asked.ids, truth.ids, K)
        near = recall(asked.ids, np.where(truth.cosines >= NEAR, truth.ids, -1), K) if len(truth.cosines) > 1 else share
        self._keep(Looked(layout, size, name, held, what, asked.p50_ms, asked.p99_ms, share, near, floor))

    def _keep(self, row: Any) -> None:
        self.results.rows.append(row)
        growth_report.keep(self.results, self.folder)


NEAR = 0.6
"""A stored question farther than this is never served, whatever the verifier says (`core.decision`)."""


def _is_in(name: str, ids: NDArray[np.int64], topics: NDArray[np.uint64]) -> NDArray[np.bool_]:
    kind, _, number = name.partition(" ")
    if kind == "topic":
        return np.equal(topics, np.uint64(number))
    return np.less(ids, int(number) if kind == "first" else np.iinfo(np.int64).max)


async def _whole(index: VectorIndex) -> None:
    while True:
        try:
            if not await index.ensure() and await index.is_complete():
                return
        except StoreError as error:
            say(f"waiting: {error}")
        await asyncio.sleep(PAUSE_S / 4)


def _is_whole(facts: dict[str, float]) -> bool:
    return facts.get("percent_indexed", 0) >= 1 and facts.get("indexing", 0) == 0


def say(what: str) -> None:
    """Tell how far it is, on one line."""
    sys.stderr.write(f"\r\x1b[K{what}")
    sys.stderr.flush()


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="entries in the largest index")
    parser.add_argument("--keep", action="store_true", help="keep the Redis data, to go on with more")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    growth = Growth(chosen.folder, most=chosen.most)
    asyncio.run(growth.run())
    growth_report.write(growth.results, chosen.folder)
    if not chosen.keep:
        for layout in ("one", "small", "half"):
            shutil.rmtree(chosen.folder / layout, ignore_errors=True)
    print((chosen.folder / "growth.md").read_text())


if __name__ == "__main__":
    main()
