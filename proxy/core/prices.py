"""What calls cost: token counts times list prices, exactly. Pure; the price table itself is read in `upstream.price_table`.

Prices are decimals of USD per token as LiteLLM's table names them (`input_cost_per_token`, `cache_read_input_token_cost`, …), and
costs are whole pico-USD (10^-12 USD): the cheapest price in the table is some thousand of them a token, and sums of integers are exact
in any order, in Python and in Redis. A signed 64-bit counter holds 9.2 million USD.

A model without a known price has no cost, which is not a cost of 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from proxy.core.usage import Usage
from proxy.errors import ConfigError

PICO = Decimal(10) ** 12
"""Pico-USD in a USD."""

PRICE_FIELDS = frozenset(
    {
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
        "input_cost_per_audio_token",
        "input_cost_per_image_token",
        "output_cost_per_audio_token",
        "output_cost_per_reasoning_token",
    }
)
"""Prices that may be given in a configuration. The table has the same with `_above_200k_tokens`, `_flex` and the like behind."""
_CACHE_HIT = "input_cost_per_token_cache_hit"
"""What the table calls the price of cached input for a few providers."""
_ABOVE = re.compile(r"_above_(\d+)(k?)_tokens")
_KNOWN = re.compile(
    rf"(?:{'|'.join(sorted([*PRICE_FIELDS, _CACHE_HIT], key=len, reverse=True))})(?:_above_\d+k?_tokens)?(?:_[a-z]+)?"
)
_DIGITS = 12
"""Of a price that are believed: the table holds binary floats, 8.900000000000001E-7 among them."""
_MODELS = 1024
"""Names whose prices are kept resolved: callers can make names up."""

Prices = Mapping[str, Decimal]
"""Price field -> USD per token."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """What is called, as far as prices go.

    Attributes:
        model: the name that costs are told under: what is sent to the provider, with LiteLLM's prefix where it has one.
        provider: LiteLLM's name of it; "" where nobody said, and any provider's list price of that name will do.
        names: further names to look for, before `model`: a `base_model` given for it.
        own: prices given in the configuration, as sorted pairs; they replace the table's.
    """

    model: str
    provider: str = ""
    names: tuple[str, ...] = ()
    own: tuple[tuple[str, Decimal], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """Whole pico-USD.

    Attributes:
        total: of the call.
        cache_saved: how much more it had been without the provider's own prompt cache; negative where writing to that cost more
            than reading from it saved.
    """

    total: int
    cache_saved: int


class PriceList:
    """Prices by model.

    Args:
        table: model -> its prices in any form that `price_of` takes, and `litellm_provider`.
        own: prices given in the configuration by model name; they go before the table's.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Any]], own: Mapping[str, Prices] | None = None) -> None:
        self._table = table
        self._own = own or {}
        self._found = lru_cache(maxsize=_MODELS)(self._find)

    def cost(self, usage: Usage, tariff: Tariff) -> Cost | None:
        """What the tokens cost at list price; None where no price is known."""
        prices = self._found(tariff, usage.model)
        return None if prices is None else cost_of(usage, prices)

    def _find(self, tariff: Tariff, answered: str) -> Prices | None:
        """The prices of what was called, or else of what the provider says has answered."""
        own = dict(tariff.own)
        if _is_whole(own):
            return own
        for name in (*tariff.names, tariff.model, answered):
            if (given := self._own.get(name)) is not None:
                return {**given, **own}
        for name in (*tariff.names, tariff.model, answered):
            if (listed := self._listed(name, tariff.provider)) is not None:
                return {**listed, **own}
        return None

    def _listed(self, name: str, provider: str) -> Prices | None:
        prefix, slash, bare = name.partition("/")
        spellings = [name, f"{provider}/{name}"] if provider else [name]
        if slash:
            spellings.append(bare)
        wanted = provider or (prefix if slash else "")
        for spelling in spellings:
            entry = self._table.get(spelling)
            if entry is not None and ((spelling == name and slash) or _is_from(entry, wanted)):
                prices = prices_of(entry)
                return prices if _is_whole(prices) else None
        return None


def _is_from(entry: Mapping[str, Any], provider: str) -> bool:
    """Whether an entry is of a provider: `bedrock` has `bedrock_converse`, `openai` has `text-completion-openai`."""
    listed = str(entry.get("litellm_provider", ""))
    return not provider or listed.startswith(provider) or listed.endswith(f"-{provider}")


def _is_whole(prices: Prices) -> bool:
    return "input_cost_per_token" in prices and "output_cost_per_token" in prices


def prices_of(entry: Mapping[str, Any]) -> dict[str, Decimal]:
    """The prices per token of an entry of the table; others (per image, per second) are left aside."""
    found = {name: price_of(value) for name, value in entry.items() if _KNOWN.fullmatch(name)}
    prices = {name: price for name, price in found.items() if price is not None}
    if entry.get("mode") == "embedding":
        prices.setdefault("output_cost_per_token", Decimal())
    if _CACHE_HIT in prices:
        prices.setdefault("cache_read_input_token_cost", prices.pop(_CACHE_HIT))
    return prices


def price_of(value: object) -> Decimal | None:
    """A price as JSON or YAML gave it; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    if not price.is_finite() or price < 0:
        return None
    return price if price.is_zero() else price.quantize(Decimal(1).scaleb(price.adjusted() - _DIGITS + 1)).normalize()


def given_prices(given: Mapping[str, Any], where: str) -> dict[str, Decimal]:
    """Prices of a configuration.

    Args:
        given: field -> USD per token.
        where: begins the sentence of an error, such as `ledger.prices.my-model`.

    Raises:
        ConfigError: an unknown field, or a value that is no price.
    """
    prices = {}
    for name, value in given.items():
        if name not in PRICE_FIELDS:
            raise ConfigError(f"{where}.{name} is no price; there are {', '.join(sorted(PRICE_FIELDS))}.")
        price = price_of(value)
        if price is None:
            raise ConfigError(f"{where}.{name} has to be USD per token, 0 or more, such as 0.0000025.")
        prices[str(name)] = price
    return prices


def cost_of(usage: Usage, prices: Prices) -> Cost:
    """Tokens times prices. A kind of token without a price of its own has that of its whole: cached input that of input, and so on."""
    rate = _Rates(prices, tier=usage.tier, input_tokens=usage.input_tokens)
    plain_input, plain_output = rate("input_cost_per_token"), rate("output_cost_per_token")
    written = rate("cache_creation_input_token_cost", plain_input)
    apart_input = (
        (usage.cached_tokens, rate("cache_read_input_token_cost", plain_input)),
        (usage.written_tokens - usage.written_1h_tokens, written),
        (usage.written_1h_tokens, rate("cache_creation_input_token_cost_above_1hr", written)),
        (usage.input_audio_tokens, rate("input_cost_per_audio_token", plain_input)),
        (usage.input_image_tokens, rate("input_cost_per_image_token", plain_input)),
    )
    apart_output = (
        (usage.output_audio_tokens, rate("output_cost_per_audio_token", plain_output)),
        (usage.reasoning_tokens, rate("output_cost_per_reasoning_token", plain_output)),
    )
    plain = usage.input_tokens * plain_input + usage.output_tokens * plain_output
    total = plain + sum((tokens * (price - plain_input) for tokens, price in apart_input), Decimal())
    total += sum((tokens * (price - plain_output) for tokens, price in apart_output), Decimal())
    cache_saved = sum((tokens * (plain_input - price) for tokens, price in apart_input[:3]), Decimal())
    return Cost(_whole(total), _whole(cache_saved))


class _Rates:
    """The prices that hold for one call: of its tier, and of its length where long prompts cost more."""

    def __init__(self, prices: Prices, *, tier: str, input_tokens: int) -> None:
        self._prices = prices
        self._tier = {"batch": "_batches", "fast": "_priority"}.get(tier, f"_{tier}" if tier else "")
        bounds = {suffix.group(): _bound(suffix) for name in prices if (suffix := _ABOVE.search(name))}
        passed = [suffix for suffix, bound in bounds.items() if input_tokens > bound]
        self._above = sorted(passed, key=bounds.__getitem__, reverse=True)

    def __call__(self, name: str, default: Decimal | None = None) -> Decimal:
        for spelling in (
            f"{name}{above}{tier}" for above in (*self._above, "") for tier in dict.fromkeys((self._tier, ""))
        ):
            if (price := self._prices.get(spelling)) is not None:
                return price
        return Decimal() if default is None else default


def _bound(suffix: re.Match[str]) -> int:
    return int(suffix[1]) * (1000 if suffix[2] else 1)


def _whole(usd: Decimal) -> int:
    return int((usd * PICO).to_integral_value(ROUND_HALF_EVEN))


def usd(pico_usd: int) -> str:
    """Pico-USD as a decimal number of USD without an exponent, such as "0.0000125"; a string, since JSON's numbers are floats."""
    return f"{(Decimal(pico_usd) / PICO).normalize():f}"


def in_usd(pico_usd: int) -> Decimal:
    """Pico-USD as USD."""
    return Decimal(pico_usd) / PICO
