"""A circuit breaker around one provider: after failures in a row calls are refused at once, until a probe succeeds. Pure; time comes in.

    closed ──so many failures in a row, none older than a minute──▶ open ──cooldown over──▶ half-open: one call is let through
       ▲                                                             ▲                          │
       └───────────────────────── it succeeded ──────────────────────┼──────────────────────────┤
                                                                     └──────── it failed ───────┘

What counts as a failure is said in `core.attempts`: that the provider is away, never that a request was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

WINDOW_S = 60.0
"""Failures further apart are not in a row: LiteLLM counts `allowed_fails` by the minute, too."""


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """The rule and where it stands.

    Attributes:
        failures_to_open: failures in a row that open it.
        cooldown_s: seconds until a probe is let through.
        failures: in a row so far.
        failed_at: when the last one was, in seconds.
        open_until: no call before; None while closed.
        is_probing: the one call of the half-open state is under way.
    """

    failures_to_open: int
    cooldown_s: float
    failures: int = 0
    failed_at: float = 0.0
    open_until: float | None = None
    is_probing: bool = False

    def state(self, now_s: float) -> State:
        """What it does with calls now."""
        if self.open_until is None:
            return State.CLOSED
        return State.HALF_OPEN if self.is_probing or now_s >= self.open_until else State.OPEN

    def allows(self, now_s: float) -> bool:
        """Whether a call may begin; one that does is told by `began`."""
        return self.open_until is None or (now_s >= self.open_until and not self.is_probing)

    def began(self) -> Breaker:
        """A call that was allowed begins."""
        return self if self.open_until is None else replace(self, is_probing=True)

    def succeeded(self) -> Breaker:
        """A call brought an answer, whatever the answer."""
        if not self.failures and self.open_until is None:
            return self
        return replace(self, failures=0, open_until=None, is_probing=False)

    def failed(self, now_s: float, *, was_probe: bool, cooldown_s: float | None = None) -> Breaker:
        """A call failed.

        Args:
            now_s: when.
            was_probe: the breaker was not closed when it began. One that began before it opened says nothing new.
            cooldown_s: that the provider asked for; a longer one than the rule's counts, and opens at once.
        """
        if self.open_until is not None and not was_probe:
            return self
        failures = self.failures + 1 if now_s - self.failed_at <= WINDOW_S else 1
        wait_s = max(self.cooldown_s, cooldown_s or 0.0)
        is_open = was_probe or cooldown_s is not None or failures >= self.failures_to_open
        return replace(
            self, failures=failures, failed_at=now_s, open_until=now_s + wait_s if is_open else None, is_probing=False
        )

    def abandoned(self) -> Breaker:
        """The probe ended without saying anything: its caller left."""
        return replace(self, is_probing=False)
