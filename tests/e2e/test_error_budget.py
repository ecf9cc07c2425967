"""A provider whose answers change under the cache: hits turn wrong, the level rises above all there is, and comes back.

In one process with real Redis, the real embedder and a provider over HTTP; only the judge of questions is a stand-in that is always
as sure, so that what moves is the level.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from proxy.api.cached_route import CachedRoute
from proxy.app import Application
from proxy.core import evidence
from proxy.core.confidence import Calibration, logistic
from proxy.core.decision import Judged, Scope, Verdict
from proxy.core.dialects.chat import CHAT
from proxy.core.models import Candidate, Reason
from proxy.ports import Judge
from proxy.services import audits, live_levels
from proxy.settings import Settings
from tests.fake_upstream import FakeUpstream, chat
from tests.redis_server import artifacts_dir, private_redis

CALIBRATION = Calibration(
    scale="for this test",
    bias=0.0,
    weights=(1.0, 0.0, 1.0, 0.0, 0.0),
    objections={},
    knots=tuple((float(x), logistic(x)) for x in range(-12, 13)),
    levels=((0.01, 0.995),),
)
SURE = 0.997
RIGHT = "Boil the egg for seven minutes, then cool it under cold water."
OTHER = "The capital of France is Paris, a city of two million people on the river Seine."
ASKED, STORED = "How long do I have to boil an egg?", "How long should I boil an egg?"


class AlwaysSure:
    """Takes the nearest candidate for the same question, as surely every time."""

    def __init__(self, levels: Any) -> None:
        self._levels = levels

    def level(self, scope: Scope) -> float:
        level: float = self._levels.level(scope)
        return level

    async def judge(
        self,
        asked: str,
        candidates: Sequence[Candidate],
        *,
        scope: Scope,
        floor: float | None = None,
        is_follow_up: bool = False,
    ) -> Verdict:
        level = max(self.level(scope), floor or 0.0)
        judged = (Judged(0, candidates[0].similarity, confidence=SURE),)
        if level <= SURE:
            return Verdict(0, None, SURE, level, judged)
        return Verdict(None, Reason.BELOW_CONFIDENCE, SURE, level, judged)

    async def merge_confidence(self, stored: str, asked: str, judged: Judged, *, scope: Scope) -> float | None:
        return None


class Bench:
    """A running application, and a caller who asks it."""

    def __init__(self, deja: Application, provider: FakeUpstream, client: httpx.AsyncClient) -> None:
        self.deja = deja
        self.provider = provider
        self.client = client

    async def ask(self, question: str = ASKED, *, mode: str = "read-only", namespace: str = "shop") -> httpx.Response:
        answer = await self.client.post(
            "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": question}]},
            headers={"X-Deja-Mode": mode, "X-Deja-Namespace": namespace, "Authorization": "Bearer sk-1"},
        )
        assert answer.status_code == 200
        return answer

    async def settle(self) -> None:
        """Wait for audits under way, and review."""
        while any(task.get_name() == "audit" for task in self.deja.background._tasks):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        assert self.deja.caching.error_budget._levels is not None
        await self.deja.caching.error_budget._levels.review()

    async def measure_the_judge(self) -> None:
        """Repeat a question until controls have measured the judge, so that what it says moves levels."""
        for _ in range(evidence.ENOUGH_CONTROLS):
            await self.ask(STORED)
            await self.settle()

    async def ask_until_closed(self, *, at_most: int) -> None:
        """Ask until nothing is served by meaning any more."""
        for _ in range(at_most):
            await self.ask()
            await self.settle()
            if self.level > SURE:
                return
        raise AssertionError(f"after {at_most} questions the level is {self.level}")

    @property
    def level(self) -> float:
        return self.deja.caching.error_budget.level(self.scope)

    async def state(self) -> str:
        report = await self.deja.caching.error_budget.report(self.scope)
        return report.standing.cause.value

    @property
    def scope(self) -> Scope:
        return Scope(self.deja.identity.tenant({"headers": [(b"authorization", b"Bearer sk-1")]}), "shop")

    def count(self, name: str, **labels: str) -> float:
        return self.deja.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: FakeUpstream) -> AsyncIterator[Bench]:
    monkeypatch.setattr(audits, "SHADOWS_PER_MINUTE", 100_000)
    monkeypatch.setattr(live_levels, "QUIET_HITS", 0)
    monkeypatch.setattr(evidence, "ENOUGH_CONTROLS", 20)
    monkeypatch.setattr(live_levels, "REVIEW_S", 3600.0)  # the test reviews by itself
    settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "artifacts_dir": artifacts_dir(),
            "secret": SecretStr("s"),
            "upstream": {"base_url": upstream.base_url},
            "redis": {"deadline_ms": 5000},
            "embedder": {"deadline_ms": 30_000},
            "audit": {"share": 1.0, "max_per_hour": 100_000},
        }
    )
    with private_redis() as url:
        deja = Application(settings, redis_url=url, environ={})
        await deja.open()
        deja.caching.error_budget.begin(CALIBRATION)
        judge: Judge = AlwaysSure(deja.caching.error_budget)
        route = deja.caching.routes[CHAT.path]
        assert isinstance(route, CachedRoute)
        route.completions._judge = judge
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=route), base_url="http://deja") as client:
            upstream.script(chat(RIGHT))
            made = Bench(deja, upstream, client)
            await made.ask(STORED, mode="semantic")
            await made.settle()
            yield made
        await deja.aclose()


def is_hit(answer: httpx.Response) -> bool:
    return "hit; detail=semantic" in answer.headers["cache-status"]


@pytest.mark.timeout(180)
async def test_a_cache_whose_hits_turn_wrong_closes_and_opens_again_when_they_are_right(bench: Bench) -> None:
    await bench.measure_the_judge()
    # As calibrated: hits are served, audits agree.
    for _ in range(20):
        assert is_hit(await bench.ask())
        await bench.settle()
    assert await bench.state() == "calibrated"
    assert bench.count("deja_audits_total", kind="hit", verdict="right") == 20

    # The provider has come to answer otherwise: what is stored is wrong now.
    bench.provider.script(chat(OTHER))
    await bench.ask_until_closed(at_most=100)
    assert 1 <= bench.count("deja_audits_total", kind="hit", verdict="wrong") <= 40, "so many were served wrong"
    assert await bench.state() in ("evidence", "drift", "exact-only")
    answer = await bench.ask()
    assert not is_hit(answer)
    assert answer.json()["choices"][0]["message"]["content"] == OTHER

    # Closed, it goes on being audited by what is forwarded anyway: no extra calls while they agree.
    bench.provider.script(chat(RIGHT))
    await bench.settle()
    calls = bench.count("deja_audit_calls_total", purpose="answer")
    for _ in range(400):
        answers = await asyncio.gather(*(bench.ask() for _ in range(audits.MOST_AT_ONCE)))
        if any(is_hit(answer) for answer in answers):
            break
        assert bench.count("deja_audit_calls_total", purpose="answer") == calls
        await bench.settle()
    else:
        raise AssertionError(f"it stays {await bench.state()}")


async def test_an_audit_sends_what_the_caller_sent_and_changes_no_entry(bench: Bench) -> None:
    first = await bench.ask()
    await bench.settle()
    asked, again = bench.provider.requests[0], bench.provider.requests[-1]
    assert len(bench.provider.requests) == 2
    assert again.json["messages"] == [{"role": "user", "content": ASKED}]
    assert dict(again.headers)["authorization"] == dict(asked.headers)["authorization"] == "Bearer sk-1"
    second = await bench.ask()
    assert second.headers["cache-status"].partition("key=")[2] == first.headers["cache-status"].partition("key=")[2]
    assert not is_hit(await bench.ask(ASKED + " Please be quick.", namespace="elsewhere"))


async def test_shadow_mode_measures_without_another_call(bench: Bench) -> None:
    for _ in range(10):
        await bench.ask(mode="shadow")
        await bench.settle()
        await bench.deja.client.delete(*[key async for key in bench.deja.client.scan_iter("deja:v1:exact:*")])
    assert bench.count("deja_audits_total", kind="shadow", verdict="right") == 10
    assert bench.count("deja_audit_calls_total", purpose="answer") == 0
    report = await bench.deja.caching.error_budget.report(bench.scope)
    assert report.tally.audited == 10


async def test_evidence_outlives_the_process_and_is_shared(bench: Bench) -> None:
    await bench.measure_the_judge()
    bench.provider.script(chat(OTHER))
    await bench.ask_until_closed(at_most=100)
    again = Application(bench.deja.settings, redis_url=bench.deja._redis_url, environ={})
    await again.open()
    try:
        again.caching.error_budget.begin(CALIBRATION)
        again.caching.error_budget.level(bench.scope)
        assert again.caching.error_budget._levels is not None
        await again.caching.error_budget._levels.review()
        assert again.caching.error_budget.level(bench.scope) == bench.level > SURE
    finally:
        await again.aclose()


async def test_exact_repeats_measure_the_judge(bench: Bench) -> None:
    for _ in range(5):
        await bench.ask(STORED)
        await bench.settle()
    assert bench.count("deja_audits_total", kind="control", verdict="right") == 5
    levels = bench.deja.caching.error_budget._levels
    assert levels is not None
    assert (levels._controls.judged, levels._controls.false_alarms) == (5, 0)
