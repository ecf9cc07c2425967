"""The ledger, what entries earn, and the prices behind both, composed; part of the composition root."""

from __future__ import annotations

import time
from decimal import Decimal

from redis.asyncio import Redis

from proxy.core.prices import PriceList, Tariff, given_prices
from proxy.errors import RequestError
from proxy.ports import Guard, Upstreams
from proxy.services.ledger import Ledger
from proxy.services.worth import CallPrices, Earnings
from proxy.settings import Settings
from proxy.stores import capacity
from proxy.stores.capacity import Capacity
from proxy.stores.ledger import LedgerStore
from proxy.telemetry import Metrics
from proxy.upstream.price_table import read_price_table


def open_prices(settings: Settings) -> PriceList:
    """LiteLLM's price table, and before it the prices that the settings give.

    Raises:
        ConfigError: one of these is no price.
    """
    own = {model: given_prices(given, f"prices.{model}") for model, given in settings.prices.items()}
    return PriceList(read_price_table(), own)


def open_ledger(settings: Settings, prices: PriceList, *, client: Redis, guard: Guard, metrics: Metrics) -> Ledger:
    """The ledger, counted in metrics as well."""

    def show(line: str, usd: Decimal) -> None:
        if line == "unpriced":
            metrics.calls_unpriced.inc()
        else:
            metrics.cost_usd.labels(line).inc(float(usd))

    ledger = Ledger(
        LedgerStore(client, keep_days=settings.ledger.keep_days), guard, prices, on_cost=show, now=time.time
    )
    metrics.ledger_dropped.set_function(lambda: ledger.dropped)
    return ledger


def open_earnings(settings: Settings, prices: PriceList, upstreams: Upstreams, *, client: Redis) -> Earnings:
    """What hits earn, and the cache's cap, which goes by that."""

    def tariff_of(model: str) -> Tariff:
        try:
            return upstreams.resolve(model).tariff
        except RequestError:  # it was served once
            return Tariff(model)

    costs = CallPrices(prices, tariff_of)
    cap = Capacity(client, max_bytes=settings.cache.max_bytes, cost_of=costs.of_entry)
    return Earnings(capacity.Earnings(client), cap, costs)
