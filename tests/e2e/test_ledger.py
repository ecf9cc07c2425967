"""The ledger tells the truth: spent and saved together are what the same traffic costs without the cache, to the last pico-dollar.

The provider is the simulated one, which counts its tokens; prices are those of LiteLLM's table, multiplied here by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from proxy.upstream.price_table import read_price_table
from proxy.upstream.simulation import simulate
from tests.deja_process import DejaProcess
from tests.fake_upstream import Exchange, FakeUpstream, error

SLOW_S = 0.3
MODEL, DEAR_MODEL = "gpt-4o-mini", "gpt-4o"
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
CENT = Decimal("0.01")


async def simulated(exchange: Exchange) -> None:
    """The simulated provider, deterministic; slow where asked "Slowly", out of order where asked to "Fail"."""
    body = exchange.request.body
    if b"Slowly" in body:
        await asyncio.sleep(SLOW_S)
    if b"Fail" in body:
        await error(500)(exchange)
        return
    made = simulate("POST", exchange.request.path.removeprefix("/v1"), body, call=1, now_s=time.time())
    await exchange.head(made.status, [(name.decode(), value.decode()) for name, value in made.headers])
    for piece in made.pieces:
        await exchange.write(piece)
    await exchange.end()


@pytest.fixture
async def callers() -> AsyncIterator[Callable[..., Caller]]:
    """Makes callers, each a tenant of its own; their connections are closed after the test."""
    made: list[Caller] = []

    def make(deja: DejaProcess, **headers: str) -> Caller:
        made.append(Caller(deja, **headers))
        return made[-1]

    yield make
    for caller in made:
        await caller.client.close()


class Caller:
    """One tenant, who notes what the provider told of each answer."""

    def __init__(self, deja: DejaProcess, **headers: str) -> None:
        self.key = f"sk-{uuid.uuid4()}"
        self.client = openai.AsyncOpenAI(
            base_url=deja.base_url, api_key=self.key, max_retries=0, timeout=20, default_headers=headers
        )
        self.root = deja.root
        self.cost = Decimal()
        self.table = read_price_table()

    async def ask(self, question: str, *, model: str = MODEL, stream: bool = False, **fields: Any) -> None:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        answer: Any = await self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}], stream=stream, **options, **fields
        )
        usage = [chunk.usage async for chunk in answer][-1] if stream else answer.usage
        price = {
            name: Decimal(str(self.table[model][name])) for name in ("input_cost_per_token", "output_cost_per_token")
        }
        self.cost += usage.prompt_tokens * price["input_cost_per_token"]
        self.cost += usage.completion_tokens * price["output_cost_per_token"]

    async def traffic(self) -> None:
        """Exact repeats, streamed and whole, tool calls, errors, followers of a call in flight."""
        for stream in (False, True, False):
            await self.ask("What is the tallest mountain in Wales?", stream=stream)
        for _ in range(2):
            await self.ask("What is a proxy, in one sentence?", model=DEAR_MODEL, stream=True)
            await self.ask("Call the tool for me, please", tools=TOOLS)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                await self.ask("Fail, please")
        same = "Slowly: how does single flight work?"
        await asyncio.gather(
            *(self.ask(same) for _ in range(6)), self.ask(same, stream=True), self.ask(same, stream=True)
        )

    def told(self, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(
            f"{self.root}/v1/usage", params=parameters, headers={"authorization": f"Bearer {self.key}"}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def money(told: dict[str, Any]) -> tuple[Decimal, Decimal]:
    return Decimal(told["spent_usd"]), Decimal(told["saved_usd"]["total"])


async def test_spent_and_saved_are_what_the_same_traffic_costs_without_the_cache(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    upstream.script(simulated)
    cached, plain = callers(deja), callers(deja, **{"X-Deja-Mode": "off"})
    await cached.traffic()
    await plain.traffic()
    with_cache, without = cached.told()["total"], plain.told()["total"]
    assert money(without) == (plain.cost, 0), "without the cache it is what the provider counted, at list prices"
    spent, saved = money(with_cache)
    assert spent + saved == plain.cost == cached.cost
    assert 0 < spent < saved
    assert without["requests"] == {"calls": 15, "failed_calls": 2, "exact": 0, "semantic": 0, "collapsed": 0}
    assert with_cache["requests"] == {"calls": 5, "failed_calls": 2, "exact": 4, "semantic": 0, "collapsed": 6}
    assert with_cache["net_saved_usd"] == with_cache["saved_usd"]["total"]
    assert with_cache["unpriced"] == {"calls": 0, "savings": 0, "own": 0}
    by_model = {row["model"]: money(row) for row in cached.told(group_by="model")["data"]}
    assert set(by_model) == {MODEL, DEAR_MODEL}
    assert sum((sum(each) for each in by_model.values()), Decimal()) == plain.cost


async def test_a_hit_by_meaning_saves_what_the_stored_answer_cost(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    upstream.script(simulated)
    cached, plain = callers(deja), callers(deja, **{"X-Deja-Mode": "off"})
    for caller in (cached, plain):
        await caller.ask("What is the boiling point of ethanol?")
        await caller.ask("What's the boiling point of ethanol?")
    told = cached.told()["total"]
    assert told["requests"]["semantic"] == 1
    assert told["saved_usd"]["semantic"] == told["spent_usd"]
    assert abs(sum(money(told)) - plain.cost) < CENT / 100, "an answer to the other words may have another length"


async def test_what_is_not_known_is_said_and_a_tenant_sees_its_own_alone(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    mine, other = callers(deja), callers(deja)
    upstream.script(simulated)
    for _ in range(2):
        await mine.client.chat.completions.create(
            model="model-of-the-house", messages=[{"role": "user", "content": "What do I cost?"}]
        )
    told = mine.told(group_by="day,namespace")
    assert told["total"]["unpriced"] == {"calls": 1, "savings": 1, "own": 0}
    assert (told["total"]["spent_usd"], told["total"]["saved_usd"]["total"]) == ("0", "0")
    assert [row["namespace"] for row in told["data"]] == [""]
    nothing = other.told()
    assert nothing["data"] == []
    assert nothing["total"]["requests"]["calls"] == 0


async def test_a_stream_without_usage_is_counted_and_marked_as_an_estimate(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    caller = callers(deja)
    upstream.script(simulated)
    for _ in range(2):
        stream = await caller.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "How long is a short answer?"}], stream=True
        )
        async for _ in stream:
            pass
    told = caller.told()["total"]
    assert told["estimated"] == {"calls": 1, "savings": 1}
    assert money(told)[0] == money(told)[1] > 0


@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"group_by": "price"}, "group_by"), ({"from": "yesterday"}, "from"), ({"from": "2020-01-01"}, "from")],
)
def test_a_wrong_parameter_is_named(deja: DejaProcess, parameters: dict[str, str], field: str) -> None:
    answer = httpx.get(f"{deja.base_url}/usage", params=parameters, headers={"authorization": "Bearer x"}, timeout=10)
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"]["param"] == field


async def test_embeddings_are_booked_input_by_input(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    upstream.script(simulated)
    caller, model = callers(deja), "text-embedding-3-small"
    for inputs in (["one text of five tokens", "another"], ["one text of five tokens", "new"]):
        await caller.client.embeddings.create(model=model, input=inputs)
    told = caller.told()["total"]
    price = Decimal(str(caller.table[model]["input_cost_per_token"]))
    assert told["requests"] == {"calls": 2, "failed_calls": 0, "exact": 1, "semantic": 0, "collapsed": 0}
    assert money(told) == (7 * price, 5 * price), "of the second batch only what was new was asked for"


def run_deja(deja: DejaProcess, *arguments: str) -> str:
    environment = {**os.environ, "DEJA_DATA_DIR": str(deja.data_dir)}
    command = [sys.executable, "-m", "proxy", "usage", "--url", deja.root, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


async def test_the_command_line_tells_a_tenant_its_own_and_an_admin_everybodys(
    deja: DejaProcess, upstream: FakeUpstream, callers: Callable[..., Caller]
) -> None:
    upstream.script(simulated)
    caller = callers(deja)
    await caller.ask("What does one question cost?")
    own = await asyncio.to_thread(run_deja, deja, "--api-key", caller.key, "--group-by", "model,namespace")
    assert [line.split()[:5] for line in own.splitlines()[3:]] == [
        ["gpt-4o-mini", "-", "1", "0", "0"],
        ["all", "1", "0", "0", line_tokens(own)],
    ]
    everybodys = await asyncio.to_thread(run_deja, deja, "--admin", "--group-by", "tenant")
    assert len(everybodys.splitlines()) > len(own.splitlines())
    async with httpx.AsyncClient(base_url=deja.root, headers={"authorization": f"Bearer {caller.key}"}) as client:
        assert (await client.get("/admin/usage")).status_code in (401, 403), "a data key administers nothing"


def line_tokens(shown: str) -> str:
    """The tokens in the last line."""
    return shown.splitlines()[-1].split()[4]
