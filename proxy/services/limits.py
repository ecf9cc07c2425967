"""What keys may use: looked at before anything else is done, without a round trip.

Requests: this process takes a lease of them out of the key's bucket in Redis, and a new one in the background before it is used up; only
a key's first request, and those at its limit, wait for Redis. Tokens and money: known once a call is over, counted in memory, added up with
other processes' once a second. A hit counts as a request and uses neither tokens nor money.

While Redis is away nothing is limited, and `on_unchecked` is told: an outage of the limiter must not be one of the models.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxy.core.access import limits
from proxy.core.access.callers import Caller
from proxy.core.access.limits import Pairs, Periods, Used, lease_of
from proxy.core.access.scopes import KeyScope
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard, Spending
from proxy.services.background import Background
from proxy.services.periods import periods_of

FLUSH_S = 1.0
"""How late tokens of other processes are known here, and what a killed process leaves uncounted."""
WATCHED_S = 900.0
"""A tenant that nobody asked for in so long is not read any more; a call that was let in may last ten minutes."""
MOST_BUCKETS = 10_000
"""Keys with requests in the last minutes, of one process; 500 bytes each."""


class Use(Protocol):
    """Where use is counted. Methods raise StoreError."""

    async def take(self, spender: str, *, limit: int, wanted: int) -> tuple[int, float, float]:
        """Take requests out of a bucket: how many there were, what is left, seconds until there is another."""

    async def add_tokens(self, tenant: str, tokens: int, *, periods: Periods, batch_id: str) -> Sequence[int]:
        """Add tokens once, and read those of minute, day and month."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on.

    Attributes:
        error: why not, None if it may.
        headers: to tell with the answer, whatever it is.
    """

    error: RequestError | None
    headers: Pairs


@dataclass(slots=True)
class _Bucket:
    """A key's requests in this process: what was leased and not yet used, and what Redis said last."""

    limit: int
    left: int = 0
    level: float = 0.0
    empty_until: float = 0.0
    waiting: int = 0
    refill: asyncio.Task[StoreError | None] | None = None


@dataclass(slots=True)
class _Purse:
    """A tenant's tokens in this process."""

    asked_at: float = 0.0
    periods: Periods | None = None
    known: dict[str, int] = field(default_factory=dict)
    sending: tuple[str, int, Periods] | None = None  # a batch that Redis has not confirmed


class Limits:
    """Admits requests.

    Args:
        use: where it is counted.
        guard: bounds what Redis may cost.
        background: where leases are renewed.
        spending: what tenants have spent.
        default_requests_per_minute: of keys that say nothing of it; None is no limit.
        deadline_s: of one lease.
        on_unchecked: told when something could not be counted.
        now: unix time in seconds.
    """

    def __init__(
        self,
        use: Use,
        guard: Guard,
        background: Background,
        *,
        spending: Spending,
        default_requests_per_minute: int | None,
        deadline_s: float,
        on_unchecked: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._use = use
        self._guard = guard
        self._background = background
        self._spending = spending
        self._default = default_requests_per_minute
        self._deadline_s = deadline_s
        self._on_unchecked = on_unchecked
        self._now = now
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._purses: dict[str, _Purse] = {}
        self._charged: Counter[str] = Counter()  # tokens by tenant that no batch holds yet
        self._wake = asyncio.Event()

    async def admit(self, caller: Caller, wanted: KeyScope | None) -> Verdict | None:
        """Whether a request may go on; None where nothing is limited."""
        most = caller.allowance.requests_per_minute or self._default
        if most is None and caller.allowance.is_unlimited:
            return None
        headers: Pairs = ()
        if most is not None:
            counted = await self._count(caller.spender, most)
            if counted.error is not None:
                return counted
            headers = counted.headers
        if wanted is KeyScope.CHAT and caller.allowance.is_metered:
            return self._look_into_purse(caller, headers)
        return Verdict(None, headers)

    def charge(self, tenant: str, tokens: int) -> None:
        """A call of a tenant has used so many tokens; of interest where a key of it is limited."""
        if tenant in self._purses:
            self._charged[tenant] += tokens

    async def run(self) -> None:
        """Add up with other processes until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Add what was charged to what all processes know, and read what tenants that were asked for have used."""
        now_s = self._now()
        charged, self._charged = self._charged, Counter()
        for tenant, tokens in charged.items():
            purse = self._purses.setdefault(tenant, _Purse())
            if purse.sending is None:
                purse.sending = (secrets.token_hex(8), tokens, periods_of(now_s))
            else:
                self._charged[tenant] += tokens  # after the batch that waits
        for tenant, purse in list(self._purses.items()):
            if purse.sending is None and now_s - purse.asked_at > WATCHED_S:
                del self._purses[tenant]
            elif not await self._settle(tenant, purse):
                return

    # --- requests --------------------------------------------------------------------------------------------------------------

    async def _count(self, spender: str, limit: int) -> Verdict:
        """Use one request of a key."""
        bucket = self._bucket(spender, limit)
        while bucket.left == 0:
            wait_s = bucket.empty_until - self._now()
            if wait_s > 0:
                refused = limits.refusal_headers(wait_s, is_worth_retrying=True)
                return Verdict(limits.too_fast(limit), (*refused, *self._told(bucket)))
            bucket.waiting += 1
            try:
                failed = await asyncio.shield(self._refill(spender, bucket))
            finally:
                bucket.waiting -= 1
            if failed is not None:
                self._on_unchecked()
                return Verdict(None, ())
        bucket.left -= 1
        if bucket.left < lease_of(limit) // 4 and bucket.empty_until <= self._now():
            self._refill(spender, bucket)
        return Verdict(None, self._told(bucket))

    def _bucket(self, spender: str, limit: int) -> _Bucket:
        bucket = self._buckets.get(spender)
        if bucket is None or bucket.limit != limit:
            bucket = self._buckets[spender] = _Bucket(limit)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return bucket

    def _refill(self, spender: str, bucket: _Bucket) -> asyncio.Task[StoreError | None]:
        if bucket.refill is None or bucket.refill.done():
            bucket.refill = self._background.spawn(self._lease(spender, bucket), name="limits-lease")
        return bucket.refill

    async def _lease(self, spender: str, bucket: _Bucket) -> StoreError | None:
        """Take requests out of the bucket in Redis; an error as a value, for nobody may be waiting for it."""
        wanted = lease_of(bucket.limit) + max(0, bucket.waiting - 1)
        try:
            async with self._guard.within(self._deadline_s):
                taken, bucket.level, wait_s = await self._use.take(spender, limit=bucket.limit, wanted=wanted)
        except StoreError as error:
            return error
        bucket.left += taken
        bucket.empty_until = self._now() + wait_s
        return None

    @staticmethod
    def _told(bucket: _Bucket) -> Pairs:
        remaining = bucket.level + bucket.left
        reset_s = (bucket.limit - remaining) * limits.WINDOW_S / bucket.limit
        return limits.told("requests", limit=bucket.limit, remaining=remaining, reset_s=reset_s)

    # --- tokens and money ------------------------------------------------------------------------------------------------------

    def _look_into_purse(self, caller: Caller, headers: Pairs) -> Verdict:
        allowance, now_s = caller.allowance, self._now()
        periods = periods_of(now_s)
        used = self._used(caller.tenant, periods, now_s)
        if (most := allowance.tokens_per_minute) is not None:
            left = most - used.tokens["minute"]
            headers += limits.told("tokens", limit=most, remaining=left, reset_s=periods.left_s["minute"])
        found = limits.why_spent(allowance, used)
        if found is None:
            return Verdict(None, headers)
        name, period = found
        wait = limits.refusal_headers(periods.left_s[period], is_worth_retrying=period == "minute")
        return Verdict(limits.spent(name), (*wait, *headers))

    def _used(self, tenant: str, periods: Periods, now_s: float) -> Used:
        purse = self._purses.get(tenant)
        if purse is None:
            purse = self._purses[tenant] = _Purse()
            self._wake.set()
        purse.asked_at = now_s
        recent = self._charged[tenant] + (purse.sending[1] if purse.sending else 0)
        then = purse.periods
        tokens = {
            name: recent + (purse.known.get(name, 0) if then and getattr(then, name) == getattr(periods, name) else 0)
            for name in ("minute", "day", "month")
        }
        usd = {"day": self._spending.spent_usd(tenant, "day"), "month": self._spending.spent_usd(tenant, "month")}
        return Used(tokens, usd)

    async def _settle(self, tenant: str, purse: _Purse) -> bool:
        """Send a purse's batch, if it has one, and read; False where Redis did not take it."""
        batch_id, tokens, periods = purse.sending or ("", 0, periods_of(self._now()))
        try:
            async with self._guard.within(self._deadline_s):
                sums = await self._use.add_tokens(tenant, tokens, periods=periods, batch_id=batch_id)
        except StoreError:
            self._on_unchecked()
            return False
        purse.sending = None
        purse.periods, purse.known = periods, dict(zip(("minute", "day", "month"), sums, strict=True))
        return True
