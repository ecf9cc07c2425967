"""How a process knows what is decided: asked without waiting, followed by polling, kept while Redis is away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from proxy.core.decision import Scope
from proxy.core.models import Directives, Mode
from proxy.core.policies import Policy
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services import policies as module
from proxy.services.policies import Policies
from tests.keeping import KeptAtOnce

EXACT = Policy(mode=Mode.EXACT, max_wrong_hit_rate=0.02)
FAQ = Directives(namespace="faq")


class Store:
    """Policies in a dictionary, shared by processes."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Policy] = {}
        self.changes = 0
        self.reads = 0
        self.is_away = False

    async def version(self) -> str:
        if self.is_away:
            raise StoreUnavailableError("away")
        return str(self.changes)

    async def all(self) -> tuple[str, dict[tuple[str, str], Policy]]:
        self.reads += 1
        return str(self.changes), dict(self.kept)

    async def put(self, tenant: str, namespace: str, policy: Policy) -> bool:
        self.changes += 1
        self.kept[tenant, namespace] = policy
        return True

    async def remove(self, tenant: str, namespace: str) -> bool:
        self.changes += 1
        return self.kept.pop((tenant, namespace), None) is not None


class Unguarded:
    @contextlib.asynccontextmanager
    async def within(self, deadline_s: float) -> AsyncIterator[None]:
        yield


def process(store: Store) -> Policies:
    return Policies(store, Unguarded(), KeptAtOnce())


def mode_of(policies: Policies, asked: Directives = FAQ, tenant: str = "0a") -> Mode:
    return policies.applied(tenant, asked, family="chat", model="m").mode


async def test_what_is_decided_holds_here_at_once_and_elsewhere_after_the_next_look() -> None:
    store = Store()
    here, elsewhere = process(store), process(store)
    await here.put("0a", "faq", EXACT)
    assert (mode_of(here), mode_of(elsewhere)) == (Mode.EXACT, Mode.SEMANTIC)
    assert here.max_wrong_hit_rate(Scope("0a", "faq")) == 0.02
    await elsewhere.refresh()
    assert mode_of(elsewhere) is Mode.EXACT
    await here.remove("0a", "faq")
    assert mode_of(here) is Mode.SEMANTIC


async def test_it_holds_for_one_namespace_of_one_tenant() -> None:
    policies = process(Store())
    await policies.put("0a", "faq", EXACT)
    assert mode_of(policies, Directives()) is Mode.SEMANTIC
    assert mode_of(policies, tenant="0b") is Mode.SEMANTIC
    assert policies.max_wrong_hit_rate(Scope("0a", "")) is None
    assert await policies.of_tenant("0b") == {}
    with pytest.raises(RequestError, match="no policy"):
        await policies.remove("0b", "faq")


async def test_nothing_is_read_while_nothing_changes_and_what_is_known_outlives_redis() -> None:
    store = Store()
    policies = process(store)
    await policies.put("0a", "faq", EXACT)
    reads = store.reads
    await policies.refresh()
    assert store.reads == reads
    store.is_away = True
    with pytest.raises(StoreUnavailableError):
        await policies.refresh()
    assert mode_of(policies) is Mode.EXACT


async def test_a_tenant_decides_for_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OF_TENANT", 1)
    policies = process(Store())
    await policies.put("0a", "faq", EXACT)
    await policies.put("0a", "faq", Policy(ttl_s=5))
    await policies.put("0b", "faq", EXACT)
    with pytest.raises(RequestError) as refused:
        await policies.put("0a", "other", EXACT)
    assert refused.value.code == "too_many_policies"
