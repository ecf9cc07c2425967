"""What may be used in a minute, a day, a month: periods, leases, and what a caller is told of it.

Requests are counted per key, in a token bucket that refills evenly; tokens and money per tenant, whose keys spend from one purse, by clock
minute, UTC day and UTC month, once a provider has said what a call used. So a call may take a purse below zero, and the next one waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from proxy.core.access.callers import Allowance
from proxy.errors import RequestError

Pairs = tuple[tuple[bytes, bytes], ...]
WINDOW_S = 60
_LEASE_SHARE = 20
"""A process takes a twentieth of a minute's requests from Redis at a time, so at full speed it asks every three seconds; with P
processes a minute may see P/20 more than its limit, and never P/20 more for long."""
_MAX_LEASE = 1000


def lease_of(requests_per_minute: int) -> int:
    """How many requests a process takes from Redis at a time; one by one where there are few."""
    return min(_MAX_LEASE, max(1, requests_per_minute // _LEASE_SHARE))


@dataclass(frozen=True, slots=True)
class Periods:
    """The minute, the day and the month of a moment, as keys name them, and how long each of them still lasts."""

    minute: str
    day: str
    month: str
    left_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Used:
    """What a tenant has used in the running periods.

    Attributes:
        tokens: by `minute`, `day` and `month`.
        usd: by `day` and `month`.
    """

    tokens: Mapping[str, int]
    usd: Mapping[str, Decimal]


def why_spent(allowance: Allowance, used: Used) -> tuple[str, str] | None:
    """Which limit is used up, and its period; None while there is something left."""
    limits: tuple[tuple[str, str, float | Decimal | None, float | Decimal], ...] = (
        ("tokens_per_minute", "minute", allowance.tokens_per_minute, used.tokens["minute"]),
        ("tokens_per_day", "day", allowance.tokens_per_day, used.tokens["day"]),
        ("tokens_per_month", "month", allowance.tokens_per_month, used.tokens["month"]),
        ("usd_per_day", "day", allowance.usd_per_day, used.usd["day"]),
        ("usd_per_month", "month", allowance.usd_per_month, used.usd["month"]),
    )
    return next(((name, period) for name, period, most, so_far in limits if most is not None and so_far >= most), None)


def too_fast(requests_per_minute: int) -> RequestError:
    """The refusal of a request that came too soon."""
    return RequestError(
        f"This key may send {requests_per_minute} requests a minute; wait as long as Retry-After says.",
        status=429,
        code="rate_limit_exceeded",
        kind="requests",
    )


def spent(name: str) -> RequestError:
    """The refusal of a request whose purse is empty."""
    if name == "tokens_per_minute":
        return RequestError(
            "This key's tenant has used its tokens of this minute; wait as long as Retry-After says.",
            status=429,
            code="rate_limit_exceeded",
            kind="tokens",
        )
    return RequestError(
        f"The limit `{name}` of this key is used up; it begins anew after Retry-After seconds, or an admin raises it.",
        status=429,
        code="insufficient_quota",
        kind="insufficient_quota",
    )


def refusal_headers(wait_s: float, *, is_worth_retrying: bool) -> Pairs:
    """When to try again. SDKs of OpenAI and Anthropic try again by themselves, unless they are told that it is of no use."""
    pairs = ((b"retry-after", str(max(1, math.ceil(wait_s))).encode()),)
    return pairs if is_worth_retrying else (*pairs, (b"x-should-retry", b"false"))


def told(kind: str, *, limit: int, remaining: float, reset_s: float) -> Pairs:
    """OpenAI's `x-ratelimit-…` headers; `kind` is `requests` or `tokens`."""
    values = (("limit", str(limit)), ("remaining", str(max(0, math.floor(remaining)))), ("reset", _span(reset_s)))
    return tuple((f"x-ratelimit-{name}-{kind}".encode(), value.encode()) for name, value in values)


def _span(seconds: float) -> str:
    """As OpenAI writes a span of time: `6m0s`, `1.5s`, `20ms`."""
    if seconds < 1:
        return f"{max(0, math.ceil(seconds * 1000))}ms"
    minutes, rest = divmod(math.ceil(seconds * 10) / 10, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{round(rest, 1):g}s"
