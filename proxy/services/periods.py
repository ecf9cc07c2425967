"""The minute, the day and the month of a moment, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxy.core.access.limits import Periods


def periods_of(at: float) -> Periods:
    """The periods of a moment, in UTC.

    Args:
        at: unix seconds.
    """
    now = datetime.fromtimestamp(at, UTC)
    minute = now.replace(second=0, microsecond=0)
    day = minute.replace(hour=0, minute=0)
    month = day.replace(day=1)
    ends = {
        "minute": minute + timedelta(minutes=1),
        "day": day + timedelta(days=1),
        "month": (month + timedelta(days=32)).replace(day=1),
    }
    left_s = {name: (end - now).total_seconds() for name, end in ends.items()}
    return Periods(f"{minute:%Y-%m-%dT%H:%M}", f"{day:%Y-%m-%d}", f"{month:%Y-%m}", left_s)
