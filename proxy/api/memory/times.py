"""Moments as the Agent Memory Server writes them, ISO 8601 in UTC, and as Deja counts them, unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

FUTURE_S = 300.0
"""How far ahead of Deja's clock a message may have been said; the server's tolerance."""


def seconds(moment: datetime) -> float:
    """Unix seconds; a moment without a zone is in UTC, as the server takes it."""
    try:
        found = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        iso(found)  # or it could be stored, and never be told
    except (OverflowError, ValueError):
        raise ValueError("the time is out of range") from None
    return found


Moment = Annotated[datetime, AfterValidator(seconds)]
"""A field that takes ISO 8601 or unix seconds, and holds unix seconds (float)."""


def iso(at: float) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    """The same of what may be unknown."""
    return None if at is None else iso(at)
