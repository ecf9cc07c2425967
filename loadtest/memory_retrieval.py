"""How well and how fast long-term memory finds, and what it merges: `python -m loadtest.memory_retrieval PART`.

It runs the real service with the real models on a private Redis. Parts: `recall` (wants `--data`), `duplicates`, `speed` (100,000
memories of 1,000 users, and probes of other users and tenants; with `--url` and `--redis` through the HTTP API of a running Deja). Made-up
facts come from `loadtest.memory_facts`; conversations from the files that `--data` holds, of which nothing is copied here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import http.client
import json
import random
import shutil
import statistics
import tempfile
import time
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from embeddings import prepare
from embeddings.base import Embedder
from embeddings.batching import BatchingEmbedder, BatchingVerifier
from embeddings.verifier import Verifier, shipped_folder
from loadtest.memory_facts import Fact, fact, facts_of_a_user, kinds, stream
from proxy.core.memory import keys
from proxy.core.memory.records import Conditions, Match, Memory, MemoryType, Search, SearchMode, Stored
from proxy.core.memory.storage import Vector
from proxy.services.background import Background
from proxy.services.embedding import NO_FINGERPRINT, BoundedEmbedder
from proxy.services.kept import Kept
from proxy.services.memories import Memories
from proxy.services.memory_judging import SameJudge
from proxy.services.memory_upkeep import MemoryUpkeep
from proxy.stores.append_file import AppendFile
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from proxy.stores.embedded import EmbeddedRedis
from proxy.stores.memories import MemoryStore
from proxy.stores.memory_index import MemoryIndex

ARTIFACTS = Path(".deja/artifacts")
AT = 1_750_000_000.0
BATCH = 500
USERS, MEMORIES_OF_A_USER = 1_000, 100


@dataclass(frozen=True, slots=True)
class Rig:
    """The service and its parts."""

    memories: Memories
    store: MemoryStore
    model: Embedder
    client: Redis


@contextlib.asynccontextmanager
async def opened(redis_url: str | None = None) -> AsyncIterator[Rig]:
    """The service on a Redis of its own, or on the one that is named."""
    folder = Path(tempfile.mkdtemp(prefix="deja-load-"))
    server = None if redis_url else EmbeddedRedis(folder, ARTIFACTS, max_memory_bytes=4 << 30)
    if server is not None:
        server.start()
    client = open_client(redis_url or (server.url if server else ""), deadline_ms=None)
    guard, store, background = Guard(client.ping), MemoryStore(client), Background()
    kept = Kept(AppendFile(client, client), guard, background, deadline_s=10, patience_s=10)
    model = prepare.open_embedder("package", ARTIFACTS, "int8", threads=1, model="", api_key=None)
    embedder, judge = BoundedEmbedder(deadline_s=10, is_alone=lambda: True), SameJudge(deadline_s=10)
    upkeep = MemoryUpkeep(
        store, guard, embedder, MemoryIndex(client, store, fingerprint=NO_FINGERPRINT, dim=0), now=time.time
    )
    embedder.use(BatchingEmbedder(model))
    judge.use(verifier := BatchingVerifier(Verifier(shipped_folder())))
    upkeep.use(MemoryIndex(client, store, fingerprint=model.fingerprint, dim=model.dim))
    running = asyncio.get_running_loop().create_task(upkeep.run())
    try:
        while not upkeep.is_complete:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        yield Rig(
            Memories(store, upkeep, guard, embedder, judge, kept, deadline_s=10, now=time.time), store, model, client
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await background.aclose()
        for part in (embedder, verifier, guard, client):
            await part.aclose()
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def memory(memory_id: str, text: str, user: str, at: float = AT) -> Memory:
    """A semantic memory."""
    return Memory(
        memory_id=memory_id, text=text, memory_type=MemoryType.SEMANTIC, user=user, session=None, namespace=None, topics=(), entities=(),
        created_at=at, updated_at=at, accessed_at=at,
    )  # fmt: skip


async def stored(rig: Rig, tenant: str, memories: Sequence[Memory], *, is_deduplicated: bool = False) -> Counter[str]:
    """Store, in batches; how many of each outcome."""
    outcomes: Counter[str] = Counter()
    for start in range(0, len(memories), BATCH):
        done = await rig.memories.store(tenant, memories[start : start + BATCH], is_deduplicated=is_deduplicated)
        outcomes.update(each.what.value for each in done)
    return outcomes


# --- recall ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Questions:
    """A set of memories, and questions with the id of the memory that answers each."""

    name: str
    memories: Sequence[Memory]
    asked: Sequence[tuple[str, str, str]]  # user, question, id


def follow_ups(data: Path) -> Questions:
    """Answers of two-turn conversations are the memories, all of one user; the questions they answered are asked."""
    memories, asked = [], []
    for number, row in enumerate(_rows(data / "follow_ups.jsonl.gz")):
        for part in ("first", "follow_up"):
            memories.append(memory(f"{part}-{number}", row[f"{part}_answer"][:8000], "u"))
            asked.append(("u", row[part], f"{part}-{number}"))
    return Questions("answers of conversations", memories, asked)


def turns(data: Path) -> Questions:
    """What was asked in each turn, rewritten to stand alone, is the memory; the turn as it was said is asked."""
    memories, asked = [], []
    for number, row in enumerate(_rows(data / "cast_conversations.jsonl.gz")):
        for place, turn in enumerate(row["turns"]):
            memories.append(memory(f"{number}-{place}", turn["standalone"], "u"))
            if turn["raw"].strip() != turn["standalone"].strip():
                asked.append(("u", turn["raw"], f"{number}-{place}"))
    return Questions("turns of conversations", memories, asked)


def made_up(users: int = 60, facts: int = 40) -> Questions:
    """Facts of many users, many of them one value apart; asked of the user, in words that no wording of the fact has."""
    rng, memories, asked = random.Random(11), [], []
    for number in range(users):
        user = f"user-{number}"
        seen: set[int] = set()
        for place, each in enumerate(facts_of_a_user(facts, rng)):
            memories.append(memory(f"{user}-{place}", each.worded(rng.randrange(each.wordings)), user))
            if each.kind not in seen:
                asked.append((user, kinds()[each.kind].question.format(**dict(each.values)), f"{user}-{place}"))
            seen.add(each.kind)
    return Questions("made-up facts", memories, asked)


async def recall(rig: Rig, data: Path | None) -> None:
    """Report recall at 5 and at 1 of each set and mode."""
    sets = [made_up()] if data is None else [follow_ups(data), turns(data), made_up()]
    for number, questions in enumerate(sets):
        tenant = f"recall{number}"
        await stored(rig, tenant, questions.memories)
        print(f"{questions.name}: {len(questions.asked)} questions, {len(questions.memories)} memories")
        for mode in SearchMode:
            ranks = [await _rank(rig, tenant, mode, *each) for each in questions.asked]
            at = {k: sum(rank < k for rank in ranks) / len(ranks) for k in (1, 5)}
            print(f"  {mode.value:9} recall@5 {at[5]:.3f}  recall@1 {at[1]:.3f}")


async def _rank(rig: Rig, tenant: str, mode: SearchMode, user: str, question: str, memory_id: str) -> int:
    wanted = Search(question, mode, Conditions(user=Match(one_of=(user,))), limit=5)
    found = (await rig.memories.search(tenant, wanted)).found
    return next((place for place, one in enumerate(found) if one.memory.memory_id == memory_id), 5)


# --- duplicates -----------------------------------------------------------------------------------------------------------------


async def duplicates(rig: Rig, users: int, facts: int) -> None:
    """Store facts of which 30 % are said twice; report what was merged, rightly and wrongly."""
    says: dict[str, Fact] = {}
    memories = []
    for number, (user, text, each) in enumerate(stream(users, facts, 0.3, seed=7)):
        says[f"m{number}"] = each
        memories.append(memory(f"m{number}", text, user, AT + number))
    started = time.perf_counter()
    right = wrong = 0
    held: set[tuple[str, Fact]] = set()
    repeats = 0
    for start in range(0, len(memories), BATCH):
        batch = memories[start : start + BATCH]
        for given, outcome in zip(batch, await rig.memories.store("dup", batch), strict=True):
            key = (given.user or "", says[given.memory_id])
            repeats += key in held
            held.add(key)
            if outcome.what is Stored.MERGED:
                is_right = says[outcome.memory.memory_id] == says[given.memory_id]
                right, wrong = right + is_right, wrong + (not is_right)
                if not is_right:
                    print(f"    wrong: {given.text!r} into {outcome.memory.text!r}")
    took_s = time.perf_counter() - started
    print(f"{len(memories)} memories of {users} users, {repeats} of them said again; {len(memories) / took_s:.0f}/s")
    print(
        f"  merged rightly {right} ({right / repeats:.1%} of those), wrongly {wrong} of {len(memories) - repeats} distinct ones"
    )
    again = await rig.memories.compact("dup")
    print(f"  a compaction afterwards looked at {again.scanned} and merged {again.merged} more")


# --- speed and walls --------------------------------------------------------------------------------------------------------------


async def load(rig: Rig, tenant: str, users: int, each: int) -> None:
    """Write memories past the service: a few thousand texts are embedded, and each use of one gets a vector near it."""
    rng, noise = random.Random(5), np.random.default_rng(5)
    texts = [fact(number % len(kinds()), rng).worded(number % 4) for number in range(3_000)]
    vectors = np.stack(
        [row.vector for start in range(0, len(texts), 64) for row in rig.model.embed(texts[start : start + 64])]
    )
    started = time.perf_counter()
    for user in range(users):
        chosen = rng.choices(range(len(texts)), k=each)
        await asyncio.gather(
            *(
                rig.store.put(
                    tenant, memory(f"{user}-{place}", texts[number], f"user-{user}", AT + place), expected=0,
                    vector=Vector(rig.model.fingerprint, _near(vectors[number], noise)), now=AT,
                )
                for place, number in enumerate(chosen)
            )
        )  # fmt: skip
    print(f"{users * each} memories of {users} users written in {time.perf_counter() - started:.0f} s")


def _near(vector: NDArray[np.float32], noise: np.random.Generator) -> bytes:
    moved = vector + noise.normal(0, 0.01, vector.shape).astype(np.float32)
    return bytes((moved / np.linalg.norm(moved)).astype(np.float32).tobytes())


def _percentiles(took_ms: Sequence[float]) -> str:
    cuts = statistics.quantiles(took_ms, n=100)
    return f"p50 {cuts[49]:5.1f} ms  p99 {cuts[98]:5.1f} ms  max {max(took_ms):5.1f} ms"


Ask = Callable[[str, str, SearchMode], Awaitable[list[str | None]]]


async def speed(ask: Ask, users: int, searches: int) -> None:
    """Report percentiles of searches among one user's memories, each with a question never asked before; and watch whose they are."""
    rng, foreign = random.Random(9), 0
    for mode in SearchMode:
        took_ms = []
        for number in range(searches):
            user = f"user-{rng.randrange(users)}"
            question = f"{fact(number % len(kinds()), rng).worded(number % 4)}, or what did I say on day {number}?"
            started = time.perf_counter()
            owners = await ask(user, question, mode)
            took_ms.append((time.perf_counter() - started) * 1000)
            foreign += any(owner != user for owner in owners)
        print(f"  {mode.value:9} {_percentiles(took_ms)}")
    print(f"  searches that found another user's memory: {foreign} of {searches * len(SearchMode)}")


def through_service(rig: Rig, tenant: str) -> Ask:
    """Searches in this process."""

    async def ask(user: str, question: str, mode: SearchMode) -> list[str | None]:
        wanted = Search(question, mode, Conditions(user=Match(one_of=(user,))), limit=10)
        return [one.memory.user for one in (await rig.memories.search(tenant, wanted)).found]

    return ask


class OverHttp:
    """Searches of a running Deja, over one kept connection."""

    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request; its answer as JSON."""
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise SystemExit(f"POST {path} answered {answer.status}: {found}")
        return found

    def floor(self, count: int) -> str:
        """Percentiles of a request that does nothing, at the same time on the same machine."""
        took_ms = []
        for _ in range(count):
            started = time.perf_counter()
            self._connection.request("GET", "/health", headers=self._headers)
            self._connection.getresponse().read()
            took_ms.append((time.perf_counter() - started) * 1000)
        return _percentiles(took_ms)

    async def ask(self, user: str, question: str, mode: SearchMode) -> list[str | None]:
        """One search; whose memories were found."""
        body = {"text": question, "search_mode": mode.value, "user_id": {"eq": user}, "limit": 10}
        found = self.post("/v1/long-term-memory/search", body)
        return [each["user_id"] for each in found["memories"]]


async def walls(rig: Rig, tenant: str, users: int, probes: int) -> None:
    """Ask with the words of others' memories; report what was found that is another user's or another tenant's."""
    rng, foreign = random.Random(13), 0
    for number in range(probes):
        user, mode = f"user-{rng.randrange(users)}", list(SearchMode)[number % 3]
        question = fact(number % len(kinds()), rng).worded(number % 4)
        if number % 2:
            found = (await rig.memories.search("other", Search(question, mode))).found
            foreign += any(not one.memory.memory_id.startswith("other-") for one in found)
        else:
            wanted = Search(question, mode, Conditions(user=Match(one_of=(user,))))
            found = (await rig.memories.search(tenant, wanted)).found
            foreign += any(one.memory.user != user for one in found)
    print(f"  {probes} probes found another user's or tenant's memory {foreign} times")


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


async def run(options: argparse.Namespace) -> None:
    """Run the part that was asked for."""
    async with opened(options.redis) as rig:
        match options.part:
            case "recall":
                await recall(rig, options.data)
            case "duplicates":
                await duplicates(rig, options.users or 100, 100)
            case "speed":
                users = options.users or USERS
                tenant, ask = "speed", through_service(rig, "speed")
                if options.url:
                    over = OverHttp(options.url, options.key)
                    tenant = await _tenant_of(rig, over)
                if not options.loaded:
                    await load(rig, tenant, users, MEMORIES_OF_A_USER)
                if options.url:  # the connection has been idle for too long
                    over = OverHttp(options.url, options.key)
                    ask = over.ask
                    print(f"  floor     {over.floor(options.searches)}")
                await speed(ask, users, options.searches)
                if options.url:
                    print(f"  floor     {over.floor(options.searches)}")
                others = [memory(f"other-{number}", f"Note number {number}", "user-1") for number in range(50)]
                await stored(rig, "other", others)
                await walls(rig, tenant, users, options.probes)


async def _tenant_of(rig: Rig, over: OverHttp) -> str:
    """The tenant that Deja makes of the key: whose memory it is that was just stored."""
    over.post("/v1/long-term-memory/", {"memories": [{"id": "load-probe", "text": "A probe."}]})
    async for key in rig.client.scan_iter(keys.memory("*", "load-probe"), count=10_000):
        tenant: str = key.decode().split("{")[1].split("}")[0]
        return tenant
    raise SystemExit("The memory that was stored through --url is not in --redis.")


def main() -> None:
    """Parse, then run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("recall", "duplicates", "speed"))
    parser.add_argument("--data", type=Path, help="folder with follow_ups.jsonl.gz and cast_conversations.jsonl.gz")
    parser.add_argument("--users", type=int, help="how many users, instead of the usual number")
    parser.add_argument("--searches", type=int, default=500, help="searches of each mode")
    parser.add_argument("--probes", type=int, default=10_000, help="searches for what is another's")
    parser.add_argument("--url", help="of a running Deja, to search through HTTP")
    parser.add_argument("--redis", help="its Redis")
    parser.add_argument("--loaded", action="store_true", help="the memories are there from an earlier run")
    parser.add_argument("--key", default="memory-load", help="API key to search with")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
