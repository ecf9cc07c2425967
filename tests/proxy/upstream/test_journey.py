"""Several deployments of one name against providers on real sockets: who is asked, who answers, what is never repeated."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from proxy.core.breakers import State
from proxy.errors import ConfigError, UpstreamError, UpstreamTimeoutError
from proxy.ports import UpstreamRequest, UpstreamResponse
from proxy.upstream import journey
from proxy.upstream.registry import UpstreamRegistry, build_registry
from proxy.upstream.router_settings import parse_routing
from tests.fake_upstream import FakeUpstream, chat, error, too_many_requests

NOWHERE = "http://127.0.0.1:1/v1"
CREDENTIAL = (b"authorization", b"Bearer sk-of-the-caller")


@pytest.fixture
def fakes() -> Iterator[Callable[..., FakeUpstream]]:
    made: list[FakeUpstream] = []

    def make(*behaviours: Any) -> FakeUpstream:
        fake = FakeUpstream()
        fake.__enter__()
        fake.script(*behaviours or (chat("fine"),))
        made.append(fake)
        return fake

    yield make
    for fake in made:
        fake.__exit__()


class Bench:
    """A registry, and what it told."""

    def __init__(
        self, registry: UpstreamRegistry, calls: Counter[tuple[str, str]], fallbacks: list[tuple[str, str]]
    ) -> None:
        self.registry = registry
        self.calls = calls
        self.fallbacks = fallbacks

    async def ask(self, model: str = "m", *, body: bytes | None = None) -> tuple[int, str | None, UpstreamResponse]:
        route = self.registry.resolve(model)
        sent = json.dumps({"model": model, "messages": []}).encode() if body is None else body
        request = UpstreamRequest("POST", "/chat/completions", b"", (CREDENTIAL,), sent, model)
        response = await route.upstream.send(route.rewrite(request))
        async for _ in response.chunks():
            pass
        await response.aclose()
        told = dict(response.headers).get(journey.SERVED_BY)
        return response.status, told.decode() if told else None, response


@pytest.fixture
async def build(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Bench]]:
    built: list[UpstreamRegistry] = []
    monkeypatch.setattr("proxy.core.attempts.BASE_WAIT_S", 0.01)

    def make(*entries: dict[str, Any], litellm: dict[str, Any] | None = None, **router: Any) -> Bench:
        calls: Counter[tuple[str, str]] = Counter()
        fallbacks: list[tuple[str, str]] = []
        registry = build_registry(
            None,
            list(entries),
            environ={},
            connect_timeout_s=2,
            read_timeout_s=1,
            max_connections=5,
            policy=parse_routing(router, litellm or {}),
            on_call=lambda name, how: calls.update([(name, how)]),
            on_fallback=lambda name, other: fallbacks.append((name, other)),
        )
        built.append(registry)
        return Bench(registry, calls, fallbacks)

    yield make
    for registry in built:
        await registry.aclose()


def entry(
    base: FakeUpstream | str, name: str = "m", model: str = "real", id_: str | None = None, **params: Any
) -> dict[str, Any]:
    address = base if isinstance(base, str) else base.base_url
    made: dict[str, Any] = {
        "model_name": name,
        "litellm_params": {"model": f"openai/{model}", "api_base": address, **params},
    }
    return {**made, "model_info": {"id": id_}} if id_ else made


Fakes = Callable[..., FakeUpstream]
Build = Callable[..., Bench]


async def test_load_is_shared_by_weight(fakes: Fakes, build: Build) -> None:
    one, two, never = fakes(), fakes(), fakes()
    bench = build(entry(one, weight=3), entry(two, weight=1), entry(never, order=2))
    for _ in range(60):
        await bench.ask()
    assert len(one.requests) > len(two.requests) > 0
    assert not never.requests, "a higher order is asked when the lower ones cannot answer"


async def test_the_least_busy_is_asked(fakes: Fakes, build: Build) -> None:
    one, two = fakes(), fakes()
    bench = build(entry(one), entry(two), routing_strategy="least-busy")
    route = bench.registry.resolve("m")
    request = UpstreamRequest("POST", "/chat/completions", b"", (), b"{}", "m")
    held = [await route.upstream.send(request) for _ in range(4)]
    assert (len(one.requests), len(two.requests)) == (2, 2)
    for response in held:
        await response.aclose()


@pytest.mark.parametrize(
    "failure", [error(500), error(503), too_many_requests(60), None], ids=["500", "503", "429", "away"]
)
async def test_another_deployment_answers_for_one_that_fails(failure: Any, fakes: Fakes, build: Build) -> None:
    good = fakes()
    bad = NOWHERE if failure is None else fakes(failure)
    bench = build(entry(bad, order=1, id_="east"), entry(good, order=2, id_="west"))
    status, by, response = await bench.ask()
    assert (status, by) == (200, "west")
    assert response.served_by is not None
    assert response.served_by.identity == bench.registry.resolve("m").identity, "equal deployments share their answers"


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_is_wrong_with_the_request_is_told_and_not_tried_elsewhere(
    status: int, fakes: Fakes, build: Build
) -> None:
    one, two = fakes(error(status)), fakes(error(status))
    bench = build(entry(one), entry(two), entry(fakes(), "spare"), fallbacks=[{"m": ["spare"]}])
    assert (await bench.ask())[0] == status
    assert len(one.requests) + len(two.requests) == 1


async def test_a_call_that_went_silent_is_not_repeated_but_a_fallback_may_answer(fakes: Fakes, build: Build) -> None:
    slow = fakes(chat("late", after_s=30))
    bench = build(entry(slow), num_retries=3)
    with pytest.raises(UpstreamTimeoutError):
        await bench.ask()
    assert len(slow.requests) == 1, "it may have been charged"
    with_fallback = build(entry(slow), entry(fakes(), "spare"), num_retries=3, fallbacks=[{"m": ["spare"]}])
    assert (await with_fallback.ask())[:2] == (200, "spare")


async def test_one_deployment_is_tried_again_after_a_wait(fakes: Fakes, build: Build) -> None:
    fake = fakes(error(500), too_many_requests(0), chat("fine"))
    bench = build(entry(fake), num_retries=2)
    assert (await bench.ask())[:2] == (200, None), "where there was no choice nobody is named"
    assert len(fake.requests) == 3


async def test_a_long_pause_that_a_provider_asks_for_is_passed_on(fakes: Fakes, build: Build) -> None:
    fake = fakes(too_many_requests(600))
    status, _, response = await build(entry(fake), num_retries=5).ask()
    assert (status, dict(response.headers)[b"retry-after"]) == (429, b"600")
    assert len(fake.requests) == 1


async def test_fallbacks_are_asked_in_order_and_never_get_the_callers_credential(fakes: Fakes, build: Build) -> None:
    first, spare = fakes(error(503)), fakes()
    bench = build(
        entry(first),
        entry(NOWHERE, "away"),
        entry(spare, "spare", "other"),
        fallbacks=[{"m": ["away", "spare"]}],
    )
    status, by, response = await bench.ask()
    assert (status, by, bench.fallbacks) == (200, "spare", [("m", "spare")])
    (seen,) = spare.requests
    assert (seen.json["model"], seen.header("authorization")) == ("other", None)
    assert first.requests[0].header("authorization") == "Bearer sk-of-the-caller"
    assert response.served_by is not None
    assert response.served_by.identity != bench.registry.resolve("m").identity, "its answers are not the first one's"
    assert response.served_by.tariff.model == "other"


async def test_where_everything_fails_the_first_failure_is_told(fakes: Fakes, build: Build) -> None:
    bench = build(entry(fakes(error(503))), entry(fakes(error(404)), "spare"), fallbacks=[{"m": ["spare"]}])
    assert (await bench.ask())[0] == 503
    away = build(entry(NOWHERE), entry(fakes(error(500)), "spare"), default_fallbacks=["spare"])
    with pytest.raises(UpstreamError, match="Cannot connect"):
        await away.ask()


async def test_a_provider_that_is_away_is_left_alone_and_tried_by_one_call_later(fakes: Fakes, build: Build) -> None:
    fake = fakes(error(503))
    bench = build(entry(fake), allowed_fails=1, cooldown_time=0)
    for _ in range(2):
        await bench.ask()
    (name,) = bench.registry.states()
    assert bench.registry.states() == {name: State.HALF_OPEN}
    fake.script(chat("back"))
    assert (await bench.ask())[0] == 200
    assert bench.registry.states() == {name: State.CLOSED}
    closed = build(entry(fakes(error(503))), allowed_fails=0, cooldown_time=60)
    await closed.ask()
    with pytest.raises(UpstreamError, match="asked again in"):
        await closed.ask()
    assert [how for _, how in closed.calls] == ["ill", "open"]


@pytest.mark.parametrize("failure", [error(500), too_many_requests(1), error(401)])
async def test_one_callers_failures_shut_nobody_else_out(failure: Any, fakes: Fakes, build: Build) -> None:
    bench = build(entry(fakes(failure)), allowed_fails=0)
    for _ in range(3):
        await bench.ask()
    assert set(bench.registry.states().values()) == {State.CLOSED}


def test_deployments_with_different_models_never_share_answers(build: Build) -> None:
    bench = build(entry(NOWHERE, model="a"), entry(NOWHERE, model="b"), entry("http://127.0.0.1:2/v1", model="b"))
    seen = {(route.identity, route.tariff.model) for route in (bench.registry.resolve("m") for _ in range(60))}
    assert seen == {(f"{NOWHERE}#a", "a"), (f"{NOWHERE}#b", "b")}


def test_a_second_deployment_keeps_the_cache_of_the_first(build: Build) -> None:
    alone = build(entry(NOWHERE)).registry.resolve("m").identity
    assert build(entry(NOWHERE), entry("http://127.0.0.1:2/v1")).registry.resolve("m").identity == alone


def test_a_fallback_that_nobody_serves_stops_the_start(build: Build) -> None:
    with pytest.raises(ConfigError, match="The fallback 'claude' is no model"):
        build(entry(NOWHERE), fallbacks=[{"m": ["claude"]}])


async def test_credentials_meant_for_one_are_for_whoever_asks_the_same_providers(build: Build) -> None:
    bench = build(
        entry(NOWHERE), entry("http://127.0.0.1:2/v1"), entry("http://127.0.0.1:3/v1", "other"), num_retries=1
    )
    assert bench.registry.resolve("m").upstream == bench.registry.resolve("m").upstream
    assert bench.registry.resolve("m").upstream != bench.registry.resolve("other").upstream


async def test_callers_are_told_no_address_where_an_entry_has_no_name_of_its_own(fakes: Fakes, build: Build) -> None:
    bench = build(entry(NOWHERE, order=1), entry(fakes(), order=2))
    assert (await bench.ask())[1] == "m #2"
