from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.prices import Cost, PriceList, Schedule, Tariff, given_prices, price_of, prices_of, usd
from proxy.core.usage import Usage
from proxy.errors import ConfigError

GPT = {
    "litellm_provider": "openai",
    "input_cost_per_token": 2.5e-06,
    "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-06,
    "input_cost_per_token_priority": 4.25e-06,
    "output_cost_per_token_priority": 1.7e-05,
    "input_cost_per_audio_token": 4e-05,
    "output_cost_per_audio_token": 8e-05,
}
CLAUDE = {
    "litellm_provider": "anthropic",
    "input_cost_per_token": 3e-06,
    "output_cost_per_token": 1.5e-05,
    "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_1hr": 6e-06,
    "cache_read_input_token_cost": 3e-07,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "output_cost_per_token_above_200k_tokens": 2.25e-05,
}
TABLE: dict[str, dict[str, Any]] = {
    "gpt-4o": GPT,
    "claude": CLAUDE,
    "gemini/pro": {"litellm_provider": "gemini", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
    "painter": {"litellm_provider": "openai", "output_cost_per_image": 0.04},
    "free": {"litellm_provider": "ollama", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "vectors": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08},
}


def cost(usage: Usage, model: str = "gpt-4o", **tariff: Any) -> Cost | None:
    return PriceList(TABLE).cost(usage, Tariff(model, **tariff))


def dollars(usage: Usage, model: str = "gpt-4o", **tariff: Any) -> str | None:
    found = cost(usage, model, **tariff)
    return None if found is None else usd(found.total)


@pytest.mark.parametrize(
    ("usage", "model", "costs"),
    [
        pytest.param(Usage(1000, 100), "gpt-4o", "0.0035", id="input and output"),
        pytest.param(Usage(1000, 100, cached_tokens=600), "gpt-4o", "0.00275", id="cached input is cheaper"),
        pytest.param(Usage(1000, 100, input_audio_tokens=10), "gpt-4o", "0.003875", id="sound is dearer"),
        pytest.param(Usage(1000, 100, output_audio_tokens=10), "gpt-4o", "0.0042", id="spoken answers too"),
        pytest.param(Usage(1000, 100, reasoning_tokens=60), "gpt-4o", "0.0035", id="reasoning costs as output"),
        pytest.param(Usage(1000, 100, tier="priority"), "gpt-4o", "0.00595", id="priority has its price"),
        pytest.param(Usage(1000, 100, tier="flex"), "gpt-4o", "0.0035", id="a tier without one has the list price"),
        pytest.param(
            Usage(1250, 7, cached_tokens=1000, written_tokens=200, written_1h_tokens=50),
            "claude",
            "0.0014175",
            id="writing to Anthropic's cache",
        ),
        pytest.param(Usage(200_000, 10), "claude", "0.60015", id="up to the bound"),
        pytest.param(Usage(200_001, 10), "claude", "1.200231", id="a long prompt costs more, all of it"),
        pytest.param(Usage(1000), "vectors", "0.00002", id="embeddings have no output"),
        pytest.param(Usage(1000, 1000), "free", "0", id="a price of nothing is a price"),
    ],
)
def test_list_prices_are_added_up_exactly(usage: Usage, model: str, costs: str) -> None:
    assert dollars(usage, model) == costs


def test_what_the_providers_own_cache_saved_is_told_beside_the_cost() -> None:
    assert cost(Usage(1000, 0, cached_tokens=600)) == Cost(1_750_000_000, 750_000_000)
    written = cost(Usage(1000, 0, written_tokens=1000), "claude")
    assert written is not None
    assert written.cache_saved == -750_000_000, "writing costs more than it saved, until it is read"


@pytest.mark.parametrize(
    ("model", "provider", "is_known"),
    [
        ("gpt-4o", "", True),
        ("gpt-4o", "openai", True),
        ("openai/gpt-4o", "openai", True),
        ("openai/gpt-4o", "", True),
        ("gpt-4o", "hosted_vllm", False),
        ("hosted_vllm/gpt-4o", "", False),
        ("anthropic/claude", "anthropic", True),
        ("pro", "gemini", True),
        ("gemini/pro", "gemini", True),
        ("painter", "openai", False),
        ("never-heard-of", "", False),
    ],
)
def test_a_price_is_that_of_the_provider_that_is_called(model: str, provider: str, is_known: bool) -> None:
    assert (dollars(Usage(1, 1), model, provider=provider) is not None) is is_known


def test_a_name_without_a_price_is_looked_for_as_the_provider_answered_it() -> None:
    assert dollars(Usage(1000, 100, model="gpt-4o"), "my-azure-deployment") == "0.0035"
    assert dollars(Usage(1000, 100, model="never-heard-of"), "my-azure-deployment") is None
    assert dollars(Usage(1000, 100), "my-azure-deployment", names=("gpt-4o",)) == "0.0035"


def test_configured_prices_go_before_the_table() -> None:
    own = given_prices({"input_cost_per_token": "1e-6", "output_cost_per_token": 2e-06}, "x")
    prices = PriceList(TABLE, {"gpt-4o": own, "house": own})
    for model in ("gpt-4o", "house"):
        assert prices.cost(Usage(1000, 100), Tariff(model)) == Cost(1_200_000_000, 0)
    partly = Tariff("gpt-4o", own=(("output_cost_per_token", Decimal("0.00002")),))
    assert PriceList(TABLE).cost(Usage(1000, 100), partly) == Cost(4_500_000_000, 0), "the rest is the table's"


def test_half_a_price_is_none() -> None:
    own = given_prices({"input_cost_per_token": 1e-06}, "x")
    assert PriceList(TABLE, {"house": own}).cost(Usage(1000, 100), Tariff("house")) is None, (
        "what comes out is not free"
    )
    assert PriceList(TABLE, {"gpt-4o": own}).cost(Usage(1000, 100), Tariff("gpt-4o")) == Cost(2_000_000_000, 0)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.decimals(0, 1, places=15))
def test_whole_numbers_give_what_decimals_give(asked: int, said: int, price: Decimal) -> None:
    schedule = Schedule({"input_cost_per_token": price, "output_cost_per_token": 3 * price})
    exact = (asked * price + said * 3 * price) * 10**12
    assert schedule.cost(Usage(asked, said)).total == int(exact.to_integral_value())


@pytest.mark.parametrize(
    ("given_by_user", "told"),
    [({"input_price": 1}, "x.input_price is no price"), ({"input_cost_per_token": "much"}, "USD per token")],
)
def test_a_wrong_price_stops_the_start(given_by_user: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        given_prices(given_by_user, "x")


@pytest.mark.parametrize("value", [None, True, "x", -1.0, float("nan"), float("inf"), [], {}])
def test_what_is_no_price_is_none(value: object) -> None:
    assert price_of(value) is None


def test_the_noise_of_binary_floats_is_taken_off() -> None:
    assert price_of(8.900000000000001e-07) == Decimal("8.9E-7")


COUNT = st.integers(0, 10**6)
USAGES = st.builds(Usage, COUNT, COUNT)


@given(USAGES, USAGES)
def test_costs_add_up(first: Usage, second: Usage) -> None:
    both = Usage(first.input_tokens + second.input_tokens, first.output_tokens + second.output_tokens)
    prices = Schedule(prices_of(GPT))
    assert prices.cost(both).total == prices.cost(first).total + prices.cost(second).total


@given(COUNT, COUNT, st.integers(0, 10**6))
def test_what_the_cache_saved_is_the_difference_to_the_call_without_it(fresh: int, cached: int, said: int) -> None:
    prices = Schedule(prices_of(GPT))
    with_cache = prices.cost(Usage(fresh + cached, said, cached_tokens=cached))
    assert with_cache.total + with_cache.cache_saved == prices.cost(Usage(fresh + cached, said)).total


@pytest.mark.parametrize(
    ("pico", "told"),
    [(0, "0"), (1, "0.000000000001"), (12_500_000, "0.0000125"), (-5 * 10**11, "-0.5"), (10**15, "1000")],
)
def test_money_is_told_without_exponent(pico: int, told: str) -> None:
    assert usd(pico) == told
