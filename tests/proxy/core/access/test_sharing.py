from __future__ import annotations

import pytest

from proxy.core.access.callers import Caller
from proxy.core.access.sharing import Sharing, space_of

MINE = Caller("t1", "key_1", team="red")
COLLEAGUE = Caller("t2", "key_2", team="red")
ELSEWHERE = Caller("t3", "key_3", team="blue")
ALONE = Caller("t4", "key_4")
STRANGER = Caller("t5")
LEVELS = {"ours": Sharing.TEAM, "all": Sharing.GLOBAL}


def space(caller: Caller, namespace: str) -> str:
    return space_of(caller, namespace, LEVELS)[0]


def test_unless_an_admin_decided_otherwise_each_tenant_keeps_its_own() -> None:
    for caller in (MINE, COLLEAGUE, STRANGER):
        assert space_of(caller, "faq", LEVELS) == (caller.tenant, Sharing.KEY)
        assert space_of(caller, "ours", {}) == (caller.tenant, Sharing.KEY)


def test_a_teams_namespace_holds_what_its_keys_stored_and_nobody_elses() -> None:
    assert space(MINE, "ours") == space(COLLEAGUE, "ours")
    assert len({space(caller, "ours") for caller in (MINE, ELSEWHERE, ALONE, STRANGER)}) == 4
    assert space_of(ALONE, "ours", LEVELS) == ("t4", Sharing.KEY)


def test_a_global_namespace_is_every_known_keys_and_no_strangers() -> None:
    assert len({space(caller, "all") for caller in (MINE, COLLEAGUE, ELSEWHERE, ALONE)}) == 1
    assert space_of(STRANGER, "all", LEVELS) == ("t5", Sharing.KEY)


@pytest.mark.parametrize("caller", [MINE, ELSEWHERE, ALONE])
def test_no_shared_space_is_called_as_a_tenant_is(caller: Caller) -> None:
    """A tenant is an HMAC under Deja's secret: nobody can have one that equals a digest without it."""
    spaces = {space(MINE, "ours"), space(ELSEWHERE, "ours"), space(MINE, "all")}
    assert len(spaces) == 3
    assert caller.tenant not in spaces
