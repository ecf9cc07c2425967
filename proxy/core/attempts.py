"""What to do about a call that failed: whether the provider is to blame, whether to try again, where, and after how long. Pure.

Trying again is only for what is safe: nothing was sent, or the provider says that it did nothing (408, 429, 5xx). A call that went
silent or broke off may have been made and charged, so it is never repeated; where a fallback is configured the caller gets that one's
answer instead of an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum

from proxy.errors import UpstreamError

MAX_WAIT_S = 10.0
"""Longest wait for another try, whatever `Retry-After` says: a caller who waits longer is better told, and decides."""
BASE_WAIT_S = 0.5
"""The first wait is drawn between 0 and this, the next between 0 and twice this, …: full jitter, as OpenAI's own clients back off."""
RETRY_SHARE = 0.2
RETRY_RESERVE = 10.0
"""Retries are at most a fifth of the calls, and ten: in an outage they would double or triple the load on what is left."""
_BUSY = frozenset({429})
_ILL = frozenset({408, 409, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which OpenAI's clients try again (408, 409, 429, 5xx), Cloudflare's and Anthropic's own ones among them."""
_AWAY = frozenset({502, 503, 504, 520, 522, 524, 529})
"""Those of them that speak of the provider and not of one request: 500 is often a model's failure on this very prompt."""


class Trouble(StrEnum):
    """How a call failed."""

    BUSY = "busy"  # 429
    ILL = "ill"  # 408, 409, 5xx
    UNREACHED = "unreached"  # nothing was sent
    SILENT = "silent"  # sent, and no answer came

    @property
    def may_retry(self) -> bool:
        """Whether the same call may be made again, there or elsewhere."""
        return self is not Trouble.SILENT


def trouble_of_status(status: int) -> Trouble | None:
    """How a call failed by its status; None for one that was answered, if only to say that the request is wrong."""
    if status in _BUSY:
        return Trouble.BUSY
    return Trouble.ILL if status in _ILL else None


def trouble_of_error(error: UpstreamError) -> Trouble:
    """How a call failed that brought no status."""
    return Trouble.SILENT if error.was_sent else Trouble.UNREACHED


def is_away(status: int) -> bool:
    """Whether a status speaks against the provider as a whole, and so counts for its circuit breaker.

    Not 429: with the callers' own keys that is about one caller, who could otherwise shut out all others.
    """
    return status in _AWAY


def retry_after_s(told: str | None, *, now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks to wait: a number of them, or a date. None where it says nothing usable."""
    if not told:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - now_s
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def wait_s(attempt: int, *, draw: float, told_s: float | None, least_s: float) -> float | None:
    """How long to wait before trying the same provider again; None where that is longer than anybody should wait.

    Args:
        attempt: number of the retry, from 0.
        draw: uniform in [0, 1).
        told_s: what the provider asked for.
        least_s: LiteLLM's `retry_after`.
    """
    if told_s is not None and told_s > MAX_WAIT_S:
        return None
    jittered = draw * min(MAX_WAIT_S, BASE_WAIT_S * 2.0**attempt)
    return min(MAX_WAIT_S, max(jittered, least_s, told_s or 0.0))


@dataclass(slots=True)
class RetryBudget:
    """How many retries are left: calls earn them, retries spend them."""

    left: float = field(default=RETRY_RESERVE)

    def earn(self) -> None:
        """A call was made."""
        self.left = min(RETRY_RESERVE, self.left + RETRY_SHARE)

    def spend(self) -> bool:
        """Take one, if there is one."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
