from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.upstream.router_settings import RoutingPolicy, parse_routing


def test_litellms_own_sections_are_read_and_the_routers_wins() -> None:
    policy = parse_routing(
        {
            "routing_strategy": "least-busy",
            "num_retries": 2,
            "retry_after": 1,
            "timeout": 30,
            "stream_timeout": "60",
            "allowed_fails": 1,
            "cooldown_time": 20,
            "fallbacks": [{"gpt-4o": ["claude", "local"]}, {"fast": ["gpt-4o"]}],
            "redis_host": "localhost",
        },
        {"num_retries": 7, "request_timeout": 600, "default_fallbacks": ["local"], "drop_params": True},
    )
    assert policy == RoutingPolicy(
        strategy="least-busy",
        num_retries=2,
        retry_after_s=1.0,
        timeout_s=30.0,
        stream_timeout_s=60.0,
        allowed_fails=1,
        cooldown_s=20.0,
        fallbacks={"gpt-4o": ("claude", "local"), "fast": ("gpt-4o",)},
        default_fallbacks=("local",),
        unused=("litellm_settings.drop_params", "router_settings.redis_host"),
    )
    assert policy.fallbacks_of("gpt-4o") == ("claude", "local")
    assert policy.fallbacks_of("other") == ("local",)
    assert policy.fallbacks_of("local") == (), "not itself"


def test_what_is_not_said_has_its_default() -> None:
    assert parse_routing({}, {}) == RoutingPolicy()
    assert parse_routing({}, {"request_timeout": 9}).timeout_s == 9.0


@pytest.mark.parametrize(("deployments", "retries"), [(1, 0), (2, 1), (5, 2)])
def test_unless_said_otherwise_each_further_deployment_is_a_try(deployments: int, retries: int) -> None:
    assert RoutingPolicy().retries_for(deployments) == retries
    assert RoutingPolicy(num_retries=4).retries_for(deployments) == 4


@pytest.mark.parametrize(
    ("router", "told"),
    [
        ({"routing_strategy": "cost-based-routing"}, "router_settings.routing_strategy has to be one of"),
        ({"num_retries": 99}, "router_settings.num_retries has to be a number from 0 to 10"),
        ({"timeout": "soon"}, "router_settings.timeout has to be a number"),
        ({"cooldown_time": True}, "router_settings.cooldown_time"),
        ({"disable_cooldowns": "yes"}, "router_settings.disable_cooldowns"),
        ({"fallbacks": "claude"}, "router_settings.fallbacks has to be a list"),
        ({"fallbacks": [{"a": "b"}]}, r"router_settings.fallbacks.a has to be a list of model names"),
        ({"default_fallbacks": [5]}, "router_settings.default_fallbacks"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(router: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_routing(router, {})
