"""Who is asking, once that is known, and what may be spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from proxy.core.access.scopes import DATA, KeyScope, allows
from proxy.errors import RequestError


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key may use; None is no limit.

    Attributes:
        requests_per_minute: of every kind, hits among them.
        tokens_per_minute: that providers counted.
        tokens_per_day: the same, by UTC day.
        tokens_per_month: the same, by UTC month.
        usd_per_day: at list prices.
        usd_per_month: the same.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self == UNLIMITED

    @property
    def is_metered(self) -> bool:
        """Whether tokens or money are limited."""
        purse = (
            self.tokens_per_minute,
            self.tokens_per_day,
            self.tokens_per_month,
            self.usd_per_day,
            self.usd_per_month,
        )
        return purse != (None, None, None, None, None)

    def as_json(self) -> dict[str, Any]:
        """The limits there are; money as text, so that no cent is rounded."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: str(value) if isinstance(value, Decimal) else value for name, value in given.items()}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Allowance:
        """What `as_json` wrote; names it does not know are left aside."""
        known = {field.name for field in fields(cls)} & set(written)
        given: dict[str, Any] = {name: Decimal(written[name]) if "usd" in name else written[name] for name in known}
        return cls(**given)


UNLIMITED = Allowance()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    Attributes:
        tenant: whose data are read and written.
        key_id: of the key that was presented, None where Deja knows none of the caller's credentials.
        scopes: what it may be used for.
        team: whose entries it shares where a namespace is a team's, None for nobody's.
        allowance: what it may use.
        expires_at: unix seconds from which on it is refused, None for never.
    """

    tenant: str
    key_id: str | None = None
    scopes: frozenset[KeyScope] = DATA
    team: str | None = None
    allowance: Allowance = UNLIMITED
    expires_at: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether it presented a key of Deja, which no provider must see."""
        return self.key_id is not None

    @property
    def spender(self) -> str:
        """What its use is counted under: the key, else the tenant."""
        return self.key_id or self.tenant


def check(caller: Caller, wanted: KeyScope | None, *, now_s: float) -> None:
    """See whether a caller may go where it wants to.

    Raises:
        RequestError: 401, its key has expired; 403, it is for something else.
    """
    if caller.expires_at is not None and caller.expires_at <= now_s:
        raise RequestError(
            "This key has expired; ask for another, or rotate it in time.",
            status=401,
            code="key_expired",
            kind="authentication_error",
        )
    if wanted is KeyScope.ADMIN and KeyScope.ADMIN not in caller.scopes:
        raise RequestError(
            "Administration needs a key of its own: one of DEJA_AUTH__ADMIN_KEYS, one made with the scope `admin`, or on the same "
            "machine the one in the file `admin-key` of the data directory, which `deja keys` finds by itself.",
            status=403,
            code="admin_only",
            kind="permission_error",
        )
    if not allows(caller.scopes, wanted):
        needed = "a scope for data" if wanted is None else f"the scope `{wanted}`"
        raise RequestError(
            f"This key may not be used here: it needs {needed}, which only an admin can give it.",
            status=403,
            code="insufficient_scope",
            kind="permission_error",
        )
