"""What the fleet's benchmark does to Deja, a phase each: state, events, tasks. Signals are in `fleet_signals`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson

from loadtest.bench import percentile
from loadtest.fleet_host import KEY, Host
from loadtest.fleet_wire import Answer, Call, Pool, Sample, Wire, expected, open_loop, request
from proxy.core.coordination.agent_writes import Write
from proxy.core.coordination.agents import Bounds
from proxy.settings.agents import AgentSettings
from proxy.stores.agents import AgentStore
from proxy.stores.client import open_client

RATE = 500
"""Operations a second: the goals'."""
FLOOR_RATE = 50
"""Calls a second, among them, that do next to nothing: what the machine itself costs just then."""
WARM_UP_S = 1.0
"""Before what counts, at the same rate: connections are opened and scripts loaded then."""
AGENTS = 100
CONNECTIONS = 32
EVENT_CONNECTIONS = 4
TEXT = "The customer asks for an invoice of March, in the name of the company, as PDF, and wants it by noon. " * 2
"""Some 200 characters, the size of what an agent notes or hands on."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        state_s: seconds of state operations, at the Redis client and over HTTP each.
        events: appended per size of batch.
        subscribers: that listen, of each kind.
        signals: sent to each of them.
        tasks: done per number of workers.
        wakeups: tasks that somebody waits for.
        workers: how many work at once, one after the other.
    """

    state_s: float
    events: int
    subscribers: int
    signals: int
    tasks: int
    wakeups: int
    workers: tuple[int, ...]


WHOLE = Sizes(state_s=10, events=20_000, subscribers=1000, signals=40, tasks=1000, wakeups=60, workers=(1, 2, 4, 8))
SHORT = Sizes(state_s=3, events=6000, subscribers=1000, signals=12, tasks=200, wakeups=15, workers=(1, 4))


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing.

    Attributes:
        what: its name, unique in its phase.
        count: of calls.
        per_s: of what it counts (operations, events, tasks) a second; None where the schedule gave the rate.
        p50_ms: from the intended moment until the answer, half of the calls; so with the others.
        p95_ms: of 95 in 100.
        p99_ms: of 99 in 100.
        server_p50_ms: of that, until the server had written its answer; None where it cannot be told.
        server_p99_ms: of 99 in 100.
    """

    what: str
    count: int
    per_s: float | None
    p50_ms: float
    p95_ms: float
    p99_ms: float
    server_p50_ms: float | None
    server_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a phase found.

    Attributes:
        rows: measured.
        late_p99_ms: how late the generator sent, of 99 in 100 calls; 0 where it sends when it can.
    """

    rows: list[Row]
    late_p99_ms: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a phase is given.

    Attributes:
        host: Deja.
        sizes: how much.
        draw: what is drawn comes from here.
        on_done: told of each thing done.
        number: of the run, for names that nobody used before.
    """

    host: Host
    sizes: Sizes
    draw: random.Random
    on_done: Callable[[], None]
    number: int


def rows_of(samples: Iterable[Sample], *, per_s: dict[str, float] | None = None) -> list[Row]:
    """A row for each kind."""
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind, []).append(sample)
    return [_row(kind, found, (per_s or {}).get(kind)) for kind, found in kinds.items()]


def _row(kind: str, samples: Sequence[Sample], per_s: float | None) -> Row:
    took = [sample.took_ms for sample in samples]
    server = [sample.server_ms for sample in samples if sample.server_ms is not None]
    shown = [round(percentile(took, percent), 3) for percent in (50, 95, 99)]
    inner = [round(percentile(server, percent), 3) if server else None for percent in (50, 99)]
    return Row(kind, len(samples), None if per_s is None else round(per_s, 1), shown[0], shown[1], shown[2], *inner)


def _found(samples: Sequence[Sample]) -> Found:
    order = ("bare PING", "bare HTTP 200", "read", "write")
    rows = sorted(rows_of(samples), key=lambda row: order.index(row.what))
    return Found(rows, round(percentile([sample.late_ms for sample in samples], 99), 3))


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def state_at_redis(run: Run) -> Found:
    """Reads and writes of agents' states by the store that Deja uses, in this process: no HTTP."""
    settings = AgentSettings()
    bounds = Bounds(
        agents=settings.max_agents,
        fields=settings.max_fields,
        value_bytes=settings.value_bytes,
        state_bytes=settings.state_bytes,
        history=settings.history,
        feed=settings.feed,
        history_bytes=settings.history_bytes,
        deleted_ttl_s=settings.deleted_ttl_s,
    )
    client = open_client(run.host.redis_url, deadline_ms=None)
    store = AgentStore(client, bounds=bounds, now=time.time)
    tenant = f"fleet{run.number}"
    names = [f"agent-{number}" for number in range(AGENTS)]
    for name in names:
        await store.write(tenant, name, Write(is_whole=True, set={"status": "working", "note": TEXT}))

    async def ping() -> None:
        await client.ping()

    async def read(name: str) -> None:
        assert await store.read(tenant, name) is not None

    async def write(name: str, step: int) -> None:
        written = await store.write(tenant, name, Write(is_whole=False, set={"step": str(step), "status": "working"}))
        assert written.outcome == "ok"

    calls = _mixed(
        run,
        ("bare PING", ping),
        lambda name: lambda: read(name),
        lambda name, step: lambda: write(name, step),
        names,
    )
    samples = await open_loop(calls, run.on_done, skipped_s=WARM_UP_S)
    await client.aclose()
    return _found(samples)


async def state_over_http(run: Run) -> Found:
    """The same through Deja: `GET` and `PATCH /v1/agents/{id}`."""
    pool = Pool(run.host.port, CONNECTIONS)
    key = f"{KEY}-{run.number}"
    names = [f"agent-{number}" for number in range(AGENTS)]
    state = orjson.dumps({"status": "working", "note": TEXT, "checkpoint": {"step": 0}})
    for name in names:
        await pool.ask(request("PUT", f"/v1/agents/{name}", key=key, body=state), 200, 201)
    health = request("GET", "/health", key=key)

    def write(name: str, step: int) -> Callable[[], Awaitable[Answer]]:
        raw = request("PATCH", f"/v1/agents/{name}", key=key, body=orjson.dumps({"step": step, "status": "working"}))
        return lambda: pool.ask(raw, 200)

    def read(name: str) -> Callable[[], Awaitable[Answer]]:
        raw = request("GET", f"/v1/agents/{name}", key=key)
        return lambda: pool.ask(raw, 200)

    calls = _mixed(run, ("bare HTTP 200", lambda: pool.ask(health, 200)), read, write, names)
    samples = await open_loop(calls, run.on_done, skipped_s=WARM_UP_S)
    pool.close()
    return _found(samples)


def _mixed(
    run: Run,
    floor: tuple[str, Callable[[], Awaitable[Answer | None]]],
    read: Callable[[str], Callable[[], Awaitable[Answer | None]]],
    write: Callable[[str, int], Callable[[], Awaitable[Answer | None]]],
    names: Sequence[str],
) -> list[Call]:
    """As many reads as writes, at even distances, drawn; the floor's calls between them."""
    seconds = WARM_UP_S + run.sizes.state_s
    count = int(seconds * RATE)
    kinds = ["read", "write"] * (count // 2)
    run.draw.shuffle(kinds)
    calls = []
    for step, kind in enumerate(kinds):
        name = run.draw.choice(names)
        calls.append(Call(step / RATE, kind, read(name) if kind == "read" else write(name, step)))
    floors = range(int(seconds * FLOOR_RATE))
    calls += [Call((step + 0.5) / FLOOR_RATE + 0.5 / RATE, *floor) for step in floors]
    return sorted(calls, key=lambda call: call.at_s)


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def events(run: Run) -> Found:
    """`POST /v1/events` by a few connections, each sending its next batch when the last was answered."""
    samples: list[Sample] = []
    per_s: dict[str, float] = {}
    for size in (1, 100, 1000):
        batches = max(EVENT_CONNECTIONS, run.sizes.events // (10 if size == 1 else 1) // size)
        event = {"type": "step.done", "source": "/agents/a1", "data": {"step": 1, "text": TEXT}}
        path = f"/v1/events?stream=fleet-{run.number}-{size}"
        raw = request("POST", path, key=KEY, body=orjson.dumps([event] * size))
        kind = f"append, {size} a batch" if size > 1 else "append, one"
        done, seconds = await _in_turns(run, [raw] * batches, EVENT_CONNECTIONS, kind, 201)
        samples += done
        per_s[kind] = batches * size / seconds
    return Found(rows_of(samples, per_s=per_s), 0.0)


async def _in_turns(
    run: Run, requests: Sequence[bytes], connections: int, kind: str, *statuses: int
) -> tuple[list[Sample], float]:
    """Send them as fast as some connections can; also, how many seconds it took."""
    waiting = iter(requests)
    samples: list[Sample] = []

    async def send_on(wire: Wire) -> None:
        for raw in waiting:
            samples.append(_sample(kind, expected(await wire.ask(raw), *statuses)))
            run.on_done()
        wire.close()

    began = time.monotonic()
    await asyncio.gather(*(send_on(Wire(run.host.port)) for _ in range(connections)))
    return samples, time.monotonic() - began


def _sample(kind: str, answer: Answer) -> Sample:
    took, server = (answer.read_at - answer.sent_at) * 1000, (answer.left_at - answer.sent_at) * 1000
    return Sample(kind, took, server, 0.0)


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def tasks(run: Run) -> Found:
    """Submitting one by one and in batches, working with more and more workers, and how soon one who waits is woken."""
    task = {"payload": {"kind": "research", "text": TEXT}}
    rows: list[Row] = []
    for size, connections in ((1, 1), (1, 8), (100, 1)):
        kind = f"submit, {'one' if size == 1 else size}, {connections} connection{'s' * (connections > 1)}"
        body = orjson.dumps(task if size == 1 else {"tasks": [task] * size})
        raw = request("POST", f"/v1/queues/in-{run.number}/tasks", key=KEY, body=body)
        count = max(connections, run.sizes.tasks // size)
        samples, seconds = await _in_turns(run, [raw] * count, connections, kind, 201)
        rows += rows_of(samples, per_s={kind: count * size / seconds})
    for at_once in (1, 20):
        for workers in run.sizes.workers:
            rows += await _worked(run, workers, at_once)
    return Found([*rows, *rows_of(await _woken(run))], 0.0)


async def _worked(run: Run, workers: int, at_once: int) -> list[Row]:
    """Fill a queue, then let workers claim and complete until it is empty; each has one connection and no work to do."""
    base = f"/v1/queues/work-{run.number}-{workers}-{at_once}/tasks"
    batch = orjson.dumps({"tasks": [{"payload": {"text": TEXT}}] * min(200, run.sizes.tasks)})
    filler = Wire(run.host.port)
    count = 0
    while count < run.sizes.tasks:
        expected(await filler.ask(request("POST", base, key=KEY, body=batch)), 201)
        count += min(200, run.sizes.tasks)
    filler.close()
    who = f"{workers} worker{'s' * (workers > 1)}, {at_once} a claim"
    samples: list[Sample] = []

    async def work(number: int) -> None:
        wire = Wire(run.host.port)
        claim = request("POST", f"{base}/claim", key=KEY, body=orjson.dumps({"worker": f"w{number}", "count": at_once}))
        while claimed := _claimed(answer := expected(await wire.ask(claim), 200)):
            samples.append(_sample(f"claim, {who}", answer))
            for task_id, lease in claimed:
                raw = request("POST", f"{base}/{task_id}/complete", key=KEY, body=orjson.dumps({"lease": lease}))
                samples.append(_sample(f"complete, {who}", expected(await wire.ask(raw), 200)))
                run.on_done()
        wire.close()

    began = time.monotonic()
    await asyncio.gather(*(work(number) for number in range(workers)))
    seconds = time.monotonic() - began
    done = sum(sample.kind.startswith("complete") for sample in samples)
    assert done == count, f"{done} of {count} tasks were completed"
    return rows_of(samples, per_s={f"complete, {who}": done / seconds, f"claim, {who}": done / seconds})


def _claimed(answer: Answer) -> list[tuple[str, str]]:
    return [(task["id"], task["lease"]) for task in orjson.loads(answer.body)["data"]]


async def _woken(run: Run) -> list[Sample]:
    """From sending a task until a worker who waits for it has it."""
    base = f"/v1/queues/wait-{run.number}/tasks"
    worker, sender = Wire(run.host.port), Wire(run.host.port)
    claim = request("POST", f"{base}/claim", key=KEY, body=orjson.dumps({"worker": "w", "wait_s": 20}))
    submit = request("POST", base, key=KEY, body=orjson.dumps({"payload": {"text": TEXT}}))
    expected(await sender.ask(request("PUT", base.removesuffix("/tasks"), key=KEY, body=b"{}")), 200, 201)
    samples = []

    async def send_soon() -> Answer:
        await asyncio.sleep(run.draw.uniform(0.01, 0.06))
        return expected(await sender.ask(submit), 201)

    for _ in range(run.sizes.wakeups):
        got, sent = await asyncio.gather(worker.ask(claim), send_soon())
        expected(got, 200)
        assert len(_claimed(got)) == 1
        took, server = got.read_at - sent.sent_at, got.left_at - sent.sent_at
        samples.append(Sample("a task reaches who waits for it", took * 1000, server * 1000, 0.0))
        run.on_done()
    worker.close()
    sender.close()
    return samples


def steps(sizes: Sizes) -> dict[str, int]:
    """Things done in each phase here, for the progress bar."""
    seconds = WARM_UP_S + sizes.state_s
    state = int(seconds * RATE) // 2 * 2 + int(seconds * FLOOR_RATE)
    batches = sum(max(EVENT_CONNECTIONS, sizes.events // (10 if size == 1 else 1) // size) for size in (1, 100, 1000))
    submitted = max(1, sizes.tasks) + max(8, sizes.tasks) + max(1, sizes.tasks // 100)
    filled = -(-sizes.tasks // min(200, sizes.tasks)) * min(200, sizes.tasks)
    worked = submitted + 2 * len(sizes.workers) * filled + sizes.wakeups
    return {"state at the Redis client": state, "state over HTTP": state, "events": batches, "tasks": worked}
