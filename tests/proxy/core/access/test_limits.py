from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.access.callers import UNLIMITED, Allowance
from proxy.core.access.limits import Used, lease_of, told, why_spent

NOTHING = Used(dict.fromkeys(("minute", "day", "month"), 0), {"day": Decimal(0), "month": Decimal(0)})


@given(st.integers(1, 10**15))
def test_a_lease_is_a_small_part_of_a_minute_and_never_nothing(limit: int) -> None:
    assert 1 <= lease_of(limit) <= max(1, min(1000, limit / 20))


def test_nothing_is_spent_where_nothing_is_limited() -> None:
    assert (
        why_spent(UNLIMITED, Used({"minute": 9, "day": 9, "month": 9}, {"day": Decimal(9), "month": Decimal(9)}))
        is None
    )


@pytest.mark.parametrize(
    ("limit", "period"),
    [
        ("tokens_per_minute", "minute"),
        ("tokens_per_day", "day"),
        ("tokens_per_month", "month"),
        ("usd_per_day", "day"),
        ("usd_per_month", "month"),
    ],
)
def test_each_limit_is_told_by_its_name_once_it_is_reached(limit: str, period: str) -> None:
    most = Decimal(5) if "usd" in limit else 5
    allowance = Allowance(**{limit: most})  # type: ignore[arg-type]
    assert why_spent(allowance, NOTHING) is None
    used = Used(NOTHING.tokens | {period: 5}, NOTHING.usd | {period: Decimal(5)})  # type: ignore[operator]
    assert why_spent(allowance, used) == (limit, period)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, b"0ms"),
        (0.0201, b"21ms"),
        (1.0, b"1s"),
        (1.52, b"1.6s"),
        (59.96, b"1m0s"),
        (60.0, b"1m0s"),
        (125.0, b"2m5s"),
    ],
)
def test_spans_are_written_as_openai_writes_them(seconds: float, written: bytes) -> None:
    pairs = dict(told("requests", limit=10, remaining=2.7, reset_s=seconds))
    assert pairs == {
        b"x-ratelimit-limit-requests": b"10",
        b"x-ratelimit-remaining-requests": b"2",
        b"x-ratelimit-reset-requests": written,
    }
