"""The ledger: what calls cost, what hits spared, what Deja itself paid for; per tenant, day, model and namespace.

Noting is an addition in memory. Once a second what came together is priced, where it is not yet, and added to Redis in one script per
tenant. The batch has an id, and is sent again under the same id until Redis says that it has it: a retry never counts twice. What a killed
process noted since its last batch, a second at most, is lost, and so is the cost of the calls it was waiting for.

For budgets the sum of each tenant is mirrored here: what Redis said at the last batch, by whatever process, and what was noted since.
Implements `proxy.ports.Spending`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

from proxy.core import ledger
from proxy.core.ledger import ALL, NAME_CHARS, OTHER, SHARED, Cell, Counts, Purpose, Saving
from proxy.core.prices import PriceList, Tariff, in_usd
from proxy.core.usage import Usage, from_wire
from proxy.errors import StoreError, StoreFullError, StoreUnavailableError
from proxy.ports import Guard, Period

logger = logging.getLogger("deja.ledger")

FLUSH_S = 1.0
"""How long counts wait at most: what a killed process loses. A script a second and tenant costs Redis next to nothing."""
WRITE_S = 2.0
"""For one batch; nobody waits for it."""
READ_S = 5.0
"""For the days of one tenant: 400 of them, a megabyte each at most."""
PRICED_AT_ONCE = 200
"""Savings that are priced before others have their turn: some 2 ms."""
MAX_CELLS = 50_000
"""Cells that wait while Redis is away, some 30 MB; what else comes is only in the sums over all tenants."""
ASKED_S = 10.0
"""A tenant whose budget was looked at in the last so many seconds is kept up to date with what other processes spend."""
MAX_ASKED = 10_000
"""Of them; the tenants of requests that are being answered, which other limits bound below this."""
MAX_TENANTS = 1000
"""Listed one by one, the latest first."""


class Spent(Protocol):
    """What a tenant has spent, by Redis, in pico-USD."""

    @property
    def day(self) -> int:
        """In the day."""

    @property
    def month(self) -> int:
        """In the month."""


class LedgerKeeper(Protocol):
    """Where counts are kept. Methods raise `StoreError` and its branches only; see `stores.ledger`."""

    async def add(
        self, batch_id: str, counts: Mapping[tuple[str, str], Mapping[Cell, Counts]], *, now_s: float
    ) -> Sequence[Spent]:
        """Add counts of (tenant, day) once; what each of the tenants has spent."""

    async def read(self, tenant: str, days: Iterable[str]) -> dict[Cell, Counts]:
        """The counts of a tenant's days."""

    async def tenants(self, *, since_s: float, count: int) -> list[str]:
        """Tenants with counts since then."""

    async def spent(self, tenants: Sequence[str], *, day: str, month: str) -> Sequence[Spent]:
        """What tenants have spent."""


@dataclass(frozen=True, slots=True)
class Account:
    """On whose account something is noted.

    Attributes:
        tenant: who asked.
        namespace: theirs.
        tariff: what is called, or would have been.
    """

    tenant: str
    namespace: str
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class _Batch:
    """Counts on their way; `spent` are those of budgets, by tenant."""

    batch_id: str
    counts: dict[tuple[str, str], dict[Cell, Counts]]
    spent: Counter[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What Redis said of a tenant, for this day."""

    today: str
    day: int
    month: int


class Ledger:
    """Notes, adds up, tells.

    Args:
        store: where counts are kept.
        guard: bounds what Redis may cost.
        prices: of models.
        on_cost: told of each amount with a name for it, in USD; and of what is `unpriced`, as 0.
        now: unix time in seconds.

    Attributes:
        dropped: counts that are missing in their tenant's ledger, for want of room.
    """

    def __init__(
        self,
        store: LedgerKeeper,
        guard: Guard,
        prices: PriceList,
        *,
        on_cost: Callable[[str, Decimal], None],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._guard = guard
        self._prices = prices
        self._on_cost = on_cost
        self._now = now
        self._savings: Counter[tuple[Account, Saving, bytes, bool, object]] = Counter()
        self._on_tokens: Callable[[str, int], None] = lambda _, __: None
        self._on_counts: Callable[[str, Counts], None] = lambda _, __: None
        self._cells: dict[Cell, Counter[str]] = {}
        self._batch: _Batch | None = None
        self._known: dict[str, _Known] = {}
        self._noted: Counter[str] = Counter()  # pico-USD by tenant that no batch holds yet
        self._asked: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.dropped = 0

    # --- noting ----------------------------------------------------------------------------------------------------------------

    def watch_tokens(self, on_tokens: Callable[[str, int], None]) -> None:
        """Tell of each call its tenant and the tokens it used, too."""
        self._on_tokens = on_tokens

    def watch_counts(self, on_counts: Callable[[str, Counts], None]) -> None:
        """Tell of all that is booked, too, and for which tenant."""
        self._on_counts = on_counts

    def saved(self, account: Account, kind: Saving, usage: bytes, *, is_estimated: bool, tier: object = None) -> None:
        """A request was answered without a call of its own. An addition; read and priced later.

        Args:
            account: what the call would have been.
            kind: what spared it.
            usage: of the answer, as `Usage.to_wire` wrote it; b"" where it is not known.
            is_estimated: that usage is a count of our own.
            tier: the `service_tier` the request named, if any.
        """
        self._savings[account, kind, usage, is_estimated, tier] += 1

    def called(self, account: Account, usage: Usage | None, *, is_estimated: bool = False) -> None:
        """A provider answered; None where its usage could not be read."""
        cost = None if usage is None else self._prices.cost(usage, account.tariff)
        self._add(account, ledger.call_counts(usage, cost, is_estimated=is_estimated))
        self._on_cost("spent", in_usd(0 if cost is None else cost.total))
        if usage is not None:
            self._on_tokens(account.tenant, usage.input_tokens + usage.output_tokens)
        if cost is None:
            self._on_cost("unpriced", Decimal())

    def failed(self, account: Account, *, is_begun: bool = False) -> None:
        """A provider refused, or could not be reached; or had begun its answer, which may have been charged."""
        self._add(account, ledger.broken_counts() if is_begun else ledger.failed_counts())

    def paid(self, account: Account, purpose: Purpose, usage: Usage | None) -> None:
        """Deja made a call of its own on a tenant's account, or on that of `core.ledger.SHARED`."""
        cost = None if usage is None else self._prices.cost(usage, account.tariff)
        self._add(account, ledger.own_counts(purpose, usage, cost))
        self._on_cost(str(purpose), in_usd(0 if cost is None else cost.total))

    # --- budgets ---------------------------------------------------------------------------------------------------------------

    def spent_usd(self, scope: str, period: Period) -> Decimal:
        """What a tenant has spent in the running day or month (UTC), as far as is known here; asking keeps it known."""
        known = self._known.get(scope)
        if scope not in self._asked:
            self._wake.set()
            if len(self._asked) >= MAX_ASKED:
                self._asked.clear()
        self._asked[scope] = time.monotonic()
        pico = self._noted[scope] + (self._batch.spent[scope] if self._batch is not None else 0)
        if known is not None:
            today = self._today()
            if period == "day":
                pico += known.day if known.today == today else 0
            elif known.today[:7] == today[:7]:
                pico += known.month
        return in_usd(pico)

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._wake.wait()
            self._wake.clear()
            await self.flush()
            await self._look()

    async def drain(self, *, deadline_s: float) -> None:
        """On the way out: write what waits, within the deadline."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while await self.flush() and (self._batch or self._cells or self._savings):
                    pass
        if self._batch or self._cells or self._savings:
            logger.warning("ledger: Redis is away or too slow at shutdown; what was noted last is not in the ledger.")

    async def flush(self) -> bool:
        """Add what was noted before to Redis; False where that did not succeed, and is to be tried again."""
        async with self._flushing:
            await self._price_savings()
            if self._batch is None:
                self._take_batch()
            batch = self._batch
            if batch is None:
                return True
            try:
                async with self._guard.within(WRITE_S):
                    spent = await self._store.add(batch.batch_id, batch.counts, now_s=self._now())
            except (StoreUnavailableError, StoreFullError):
                return False
            except StoreError as error:  # Redis refuses these very commands: trying again would block all that follows
                logger.error("ledger: a batch is left out, %s", error)
                self.dropped += len(batch.counts)
                self._batch = None
                return False
            self._batch = None
            for (tenant, day), told in zip(batch.counts, spent, strict=True):
                self._know(tenant, day, told)
            return True

    async def _price_savings(self) -> None:
        priced = 0
        while self._savings:  # one by one: what a cancelled flush has not come to is still there for `drain`
            (account, kind, raw, is_estimated, tier), count = self._savings.popitem()
            usage = from_wire(raw)
            usage = None if usage is None else usage.in_tier(tier)
            cost = None if usage is None else self._prices.cost(usage, account.tariff)
            counts = ledger.saving_counts(kind, usage, cost, is_estimated=is_estimated)
            self._add(account, {line: each * count for line, each in counts.items()})
            if cost is not None:
                self._on_cost(f"saved_{kind}", in_usd(cost.total * count))
            priced += 1
            if priced % PRICED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _add(self, account: Account, counts: Counts) -> None:
        self._on_counts(account.tenant, counts)
        cell = Cell(account.tenant, self._today(), account.tariff.model[:NAME_CHARS], account.namespace[:NAME_CHARS])
        if self._count(cell, counts):
            self._noted[account.tenant] += ledger.spent_of(counts)
        else:
            self.dropped += 1
        # Namespaces are a tenant's own: the sums over all tenants do without.
        overall = replace(cell, tenant=ALL, namespace="")
        if not self._count(overall, counts):
            self._cells.setdefault(replace(overall, model=OTHER), Counter()).update(counts)

    def _count(self, cell: Cell, counts: Counts) -> bool:
        """Add to a cell, if there is room for it."""
        if cell not in self._cells and len(self._cells) >= MAX_CELLS:
            return False
        self._cells.setdefault(cell, Counter()).update(counts)
        return True

    def _take_batch(self) -> None:
        if not self._cells:
            return
        cells, self._cells = self._cells, {}
        counts: defaultdict[tuple[str, str], dict[Cell, Counts]] = defaultdict(dict)
        for cell, lines in cells.items():
            counts[cell.tenant, cell.day][cell] = dict(lines)
        self._batch = _Batch(secrets.token_hex(12), dict(counts), self._noted)
        self._noted = Counter()

    async def _look(self) -> None:
        """Read what others have spent of the tenants whose budgets were just looked at."""
        after = time.monotonic() - ASKED_S
        self._asked = {tenant: at for tenant, at in self._asked.items() if at > after}
        self._known = {tenant: known for tenant, known in self._known.items() if tenant in self._asked}
        if not self._asked:
            return
        tenants, today = list(self._asked), self._today()
        try:
            async with self._guard.within(WRITE_S):
                found = await self._store.spent(tenants, day=today, month=today[:7])
        except StoreError:
            return  # what is known stays
        for tenant, told in zip(tenants, found, strict=True):
            self._know(tenant, today, told)

    def _know(self, tenant: str, day: str, told: Spent) -> None:
        known = self._known.get(tenant)
        if known is None or known.today <= day:
            self._known[tenant] = _Known(day, told.day, told.month)

    def _today(self) -> str:
        return _day(self._now())

    # --- telling ---------------------------------------------------------------------------------------------------------------

    async def read(self, tenant: str, first: date, last: date) -> dict[Cell, Counts]:
        """The counts of a tenant, or of `ALL`, from one day to another, both included; raises StoreError."""
        await self.flush()
        days = ((first + timedelta(days=after)).isoformat() for after in range((last - first).days + 1))
        async with self._guard.within(READ_S):
            return await self._store.read(tenant, days)

    async def latest(self, *, since_s: float, count: int) -> list[str]:
        """Tenants with counts since a unix time, the latest first; raises StoreError."""
        await self.flush()
        async with self._guard.within(READ_S):
            found = await self._store.tenants(since_s=since_s, count=count + 2)
        return [tenant for tenant in found if tenant not in (ALL, SHARED)][:count]

    async def read_tenants(self, first: date, last: date) -> dict[Cell, Counts]:
        """The counts of every tenant by itself, of the `MAX_TENANTS` latest; raises StoreError."""
        since_s = datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()
        found: dict[Cell, Counts] = {}
        async with self._guard.within(READ_S):
            tenants = await self._store.tenants(since_s=since_s, count=MAX_TENANTS)
        for tenant in tenants:
            if tenant != ALL:
                found |= await self.read(tenant, first, last)
        return found


def shared(tariff: Tariff) -> Account:
    """The account of what belongs to no tenant alone."""
    return Account(SHARED, "", tariff)


def _day(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).date().isoformat()
