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
from typing import Any, NamedTuple

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
_TIER_SUFFIXES = {"batch": "_batches", "fast": "_priority"}
"""Tiers whose prices have another name in the table than `_` and theirs."""
_UNITS_IN_PICO = 10**12
_UNITS = Decimal(10) ** 24
"""Prices are multiplied as whole numbers of 10^-24 USD, which is exact, and faster than decimals."""
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
        schedule = self._found(tariff, usage.model)
        return None if schedule is None else schedule.cost(usage)

    def _find(self, tariff: Tariff, answered: str) -> Schedule | None:
        """The prices of what was called, or else of what the provider says has answered."""
        names = (*tariff.names, tariff.model, answered)
        given = next((self._own[name] for name in names if name in self._own), {})
        prices = {**given, **dict(tariff.own)}
        if not _is_whole(prices):
            listed = (self._listed(name, tariff.provider) for name in names)
            prices = {**next((found for found in listed if found is not None), {}), **prices}
        return Schedule(prices) if _is_whole(prices) else None

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


class _Rates(NamedTuple):
    """What each kind of token costs in one call, in units of 10^-24 USD."""

    input: int
    output: int
    cached: int
    written: int
    written_1h: int
    input_audio: int
    input_image: int
    output_audio: int
    reasoning: int


class Schedule:
    """The prices of one model, by tier and length of the prompt.

    A kind of token without a price of its own has that of its whole: cached input that of input, and so on.

    Args:
        prices: with both input and output.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        found = {suffix.group(): _bound(suffix) for name in prices if (suffix := _ABOVE.search(name))}
        self._bounds = sorted(((bound, suffix) for suffix, bound in found.items()), reverse=True)
        self._rates: dict[tuple[str, int], _Rates] = {}

    def cost(self, usage: Usage) -> Cost:
        """Tokens times prices."""
        passed = sum(usage.input_tokens > bound for bound, _ in self._bounds)
        rates = self._rates.get((usage.tier, passed))
        if rates is None:
            rates = self._rates[usage.tier, passed] = self._rates_of(usage.tier, passed)
        written = usage.written_tokens - usage.written_1h_tokens
        cache_saved = (
            usage.cached_tokens * (rates.input - rates.cached)
            + written * (rates.input - rates.written)
            + usage.written_1h_tokens * (rates.input - rates.written_1h)
        )
        total = (
            usage.input_tokens * rates.input
            + usage.output_tokens * rates.output
            - cache_saved
            + usage.input_audio_tokens * (rates.input_audio - rates.input)
            + usage.input_image_tokens * (rates.input_image - rates.input)
            + usage.output_audio_tokens * (rates.output_audio - rates.output)
            + usage.reasoning_tokens * (rates.reasoning - rates.output)
        )
        return Cost(_pico(total), _pico(cache_saved))

    def _rates_of(self, tier: str, passed: int) -> _Rates:
        """The prices of a tier, above the `passed` lowest of the bounds; the list price where the tier has none."""
        tiers = dict.fromkeys((_TIER_SUFFIXES.get(tier, f"_{tier}" if tier else ""), ""))
        above = [*(suffix for _, suffix in self._bounds[len(self._bounds) - passed :]), ""]

        def rate(name: str, default: int = 0) -> int:
            spellings = (f"{name}{suffix}{tier}" for suffix in above for tier in tiers)
            price = next((self._prices[each] for each in spellings if each in self._prices), None)
            return default if price is None else int((price * _UNITS).to_integral_value(ROUND_HALF_EVEN))

        plain_input, plain_output = rate("input_cost_per_token"), rate("output_cost_per_token")
        written = rate("cache_creation_input_token_cost", plain_input)
        return _Rates(
            input=plain_input,
            output=plain_output,
            cached=rate("cache_read_input_token_cost", plain_input),
            written=written,
            written_1h=rate("cache_creation_input_token_cost_above_1hr", written),
            input_audio=rate("input_cost_per_audio_token", plain_input),
            input_image=rate("input_cost_per_image_token", plain_input),
            output_audio=rate("output_cost_per_audio_token", plain_output),
            reasoning=rate("output_cost_per_reasoning_token", plain_output),
        )


def _bound(suffix: re.Match[str]) -> int:
    return int(suffix[1]) * (1000 if suffix[2] else 1)


def _pico(units: int) -> int:
    """Whole pico-USD, half of one to the even side."""
    whole, rest = divmod(units, _UNITS_IN_PICO)
    twice = 2 * rest
    return whole + (twice > _UNITS_IN_PICO or (twice == _UNITS_IN_PICO and whole % 2 == 1))


def usd(pico_usd: int) -> str:
    """Pico-USD as a decimal number of USD without an exponent, such as "0.0000125"; a string, since JSON's numbers are floats."""
    return f"{(Decimal(pico_usd) / PICO).normalize():f}"


def in_usd(pico_usd: int) -> Decimal:
    """Pico-USD as USD."""
    return Decimal(pico_usd) / PICO
