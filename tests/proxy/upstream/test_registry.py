from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import yaml

from proxy.core.prices import Tariff
from proxy.errors import ConfigError, RequestError
from proxy.ports import Upstream, UpstreamRequest
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream
from proxy.upstream.registry import Route, UpstreamRegistry, build_registry
from proxy.upstream.simulated import simulated_upstream
from proxy.upstream.watched import Watched
from tests.fake_upstream import FakeUpstream

Build = Callable[..., UpstreamRegistry]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Build a registry from `model_list` YAML or values; closed after the test."""
    built: list[UpstreamRegistry] = []

    def make(model_list: object = (), *, default: Upstream | None = None) -> UpstreamRegistry:
        parsed = yaml.safe_load(model_list)["model_list"] if isinstance(model_list, str) else model_list
        registry = build_registry(
            default,
            parsed,
            environ={"KEY": "sk-1"},
            connect_timeout_s=2,
            read_timeout_s=5,
            max_connections=5,
        )
        built.append(registry)
        return registry

    yield make
    for registry in built:
        await registry.aclose()


def entry(name: str, model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def called(route: Route) -> Upstream:
    """What is behind a route's circuit breaker."""
    assert isinstance(route.upstream, Watched)
    return route.upstream.upstream


def test_everything_not_listed_goes_to_the_default_under_its_own_name(build: Build) -> None:
    default = simulated_upstream()
    registry = build([entry("listed", "openai/m")], default=default)
    route = registry.resolve("other")
    assert (called(route), route.model, route.identity) == (default, "other", "simulated://")
    assert registry.resolve(None).upstream is route.upstream


@pytest.mark.parametrize("model", ["other", None])
def test_without_a_default_what_is_not_listed_is_refused(model: str | None, build: Build) -> None:
    with pytest.raises(RequestError) as caught:
        build([entry("listed", "openai/m")]).resolve(model)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_litellms_own_yaml_is_read(build: Build) -> None:
    registry = build("""
      model_list:
        - model_name: fast
          litellm_params:
            model: openai/gpt-4o-mini
            api_key: os.environ/KEY
          model_info: {mode: chat}
        - model_name: clever
          litellm_params:
            model: anthropic/claude-sonnet-4
            api_key: os.environ/KEY
        - model_name: local/*
          litellm_params:
            model: hosted_vllm/*
            api_base: http://127.0.0.1:8000/v1
    """)
    fast, clever, local = (registry.resolve(name) for name in ("fast", "clever", "local/llama"))
    assert isinstance(called(fast), OpenAIUpstream)
    assert fast.model == "gpt-4o-mini"
    assert isinstance(called(clever), LiteLLMUpstream)
    assert clever.model == "anthropic/claude-sonnet-4"
    assert (local.upstream.identity, local.model) == ("http://127.0.0.1:8000/v1", "llama")
    assert registry.models() == ("fast", "clever")


def test_a_name_with_several_entries_is_listed_once(build: Build) -> None:
    registry = build([entry("x", "openai/a"), entry("x", "openai/b")])
    assert registry.resolve("x").tariff.model in ("a", "b")
    assert registry.models() == ("x",)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("exact/model", "the-exact-one"),
        ("exact/other", "prefix-other"),
        ("a/b/c", "c-of-b"),
        ("anything", "anything"),
        ("star*", "star*"),
    ],
)
def test_the_most_literal_name_wins_and_stars_repeat_what_they_stood_for(asked: str, sent: str, build: Build) -> None:
    registry = build(
        [
            entry("*", "openai/*"),
            entry("exact/*", "openai/prefix-*"),
            entry("a/*/c", "openai/c-of-*"),
            entry("exact/model", "openai/the-exact-one"),
        ]
    )
    assert registry.resolve(asked).model == sent


def test_one_address_with_one_key_is_one_pool(build: Build) -> None:
    registry = build([entry("a", "openai/a"), entry("b", "openai/b"), entry("c", "openai/c", api_key="other")])
    a, b, c = (registry.resolve(name).upstream for name in "abc")
    assert a is b
    assert a is not c


def test_identities_differ_by_address_version_headers_and_model(build: Build) -> None:
    azure = {"api_base": "https://a.example", "api_key": "sk-2"}
    registry = build(
        [
            entry("0", "openai/m"),
            entry("1", "openai/n"),
            entry("2", "openai/m", api_base="http://gpu:8000/v1"),
            entry("3", "openai/m", organization="org-1"),
            entry("4", "azure/m", api_version="1", **azure),
            entry("5", "azure/m", api_version="2", **azure),
        ]
    )
    identities = {registry.resolve(str(number)).identity for number in range(6)}
    assert len(identities) == 6
    assert not any("sk-" in identity for identity in identities)


def test_a_wrong_address_is_named_by_its_entry(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"model_list\[1\]\.litellm_params: The upstream base URL"):
        build([entry("a", "openai/a"), entry("b", "openai/b", api_base="gpu:8000")])


def request(body: bytes, model: str | None) -> UpstreamRequest:
    return UpstreamRequest("POST", "/chat/completions", b"", (), body, model=model)


def test_an_alias_is_replaced_in_the_body_and_nothing_else_is(build: Build) -> None:
    route = build([entry("alias", "openai/real")]).resolve("alias")
    rewritten = route.rewrite(request(b'{"model": "alias", "messages": [], "odd": {"a": 1.5}}', "alias"))
    assert isinstance(rewritten.body, bytes)
    assert json.loads(rewritten.body) == {"model": "real", "messages": [], "odd": {"a": 1.5}}
    assert rewritten.model == "real"


@pytest.mark.parametrize(
    ("body", "model"),
    [(b'{ "model":"same" }', "same"), (b"not json", "alias"), (b"[]", "alias"), (b"--multipart", None)],
)
def test_a_body_that_needs_no_new_name_stays_byte_for_byte(body: bytes, model: str | None, build: Build) -> None:
    registry = build([entry("alias", "openai/real"), entry("same", "openai/same")], default=simulated_upstream())
    sent = request(body, model)
    assert registry.resolve(model).rewrite(sent) is sent


async def test_a_listed_model_really_arrives_under_its_real_name_with_its_own_key(
    build: Build, fake_upstream: FakeUpstream
) -> None:
    registry = build([entry("alias", "openai/real", api_base=fake_upstream.base_url, api_key="os.environ/KEY")])
    route = registry.resolve("alias")
    response = await route.upstream.send(route.rewrite(request(b'{"model":"alias"}', "alias")))
    await response.aclose()
    (seen,) = fake_upstream.requests
    assert (seen.json["model"], seen.header("authorization")) == ("real", "Bearer sk-1")


@pytest.mark.parametrize(
    ("model", "params", "info", "tariff"),
    [
        ("openai/gpt-4o", {}, {}, Tariff("gpt-4o", "openai")),
        ("openai/gpt-4o", {"api_base": "http://gateway/v1"}, {}, Tariff("gpt-4o", "")),
        ("anthropic/claude", {}, {}, Tariff("anthropic/claude", "anthropic")),
        (
            "azure/dep",
            {"api_base": "http://a"},
            {"base_model": "azure/gpt-4o"},
            Tariff("azure/dep", "azure", ("azure/gpt-4o",)),
        ),
        (
            "hosted_vllm/llama",
            {"api_base": "http://gpu/v1", "input_cost_per_token": "1e-7"},
            {"output_cost_per_token": 2e-07},
            Tariff(
                "llama",
                "hosted_vllm",
                own=(("input_cost_per_token", Decimal("1E-7")), ("output_cost_per_token", Decimal("2E-7"))),
            ),
        ),
    ],
)
def test_each_entry_says_under_which_prices_it_is_called(
    model: str, params: dict[str, Any], info: dict[str, Any], tariff: Tariff, build: Build
) -> None:
    registry = build([{**entry("x", model, **params), "model_info": info}])
    assert registry.resolve("x").tariff == tariff


def test_a_pattern_is_priced_by_what_its_star_stood_for(build: Build) -> None:
    assert build([entry("local/*", "openai/*")]).resolve("local/gpt-4o").tariff.model == "gpt-4o"
    assert build([], default=simulated_upstream()).resolve("gpt-4o").tariff == Tariff("gpt-4o")


def test_a_wrong_price_is_named_by_its_entry(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"model_list\[0\]\.litellm_params\.input_cost_per_token has to be USD"):
        build([entry("x", "openai/m", input_cost_per_token="cheap")])
