from __future__ import annotations

import numpy as np
import pytest

from proxy.errors import ConfigError
from proxy.tuning.scoring import LabelledPair
from proxy.tuning.through_proxy import Target, ask, compare, read_status, upstream_of


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('deja; hit; detail=exact; ttl=3540; key="ent_1"', "hit exact"),
        ("upstream; hit, deja; hit; detail=semantic", "hit semantic"),
        ("deja; fwd=miss; stored; detail=gate-number", "gate-number"),
        ("deja; fwd=bypass; detail=redis-unavailable", "redis-unavailable"),
        ("other; hit, deja; fwd=miss", ""),
    ],
)
def test_dejas_own_member_of_cache_status_is_read(value: str, told: str) -> None:
    assert read_status(value) == told


def test_an_answer_without_it_is_no_dejas() -> None:
    with pytest.raises(ConfigError, match="without Deja's Cache-Status"):
        read_status("other; hit")


def test_what_the_proxy_served_is_set_beside_what_was_worked_out() -> None:
    pairs = [LabelledPair("a", "b", label) for label in (True, True, True, False)]
    told = ["hit semantic", "gate-number", "redis-unavailable", "hit exact"]
    made = compare("set", pairs, told, np.array([True, True, False, False]))
    assert (made.proxy.found.count, made.proxy.found.of, made.proxy.accepted.count) == (1, 3, 1)
    assert (made.offline.found.count, made.offline.accepted.count) == (2, 0)
    assert (made.only_proxy, made.only_offline) == (1, 1)
    assert made.troubles == {"redis-unavailable": 1}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:1/v1/", "127.0.0.1:1", "nonsense://"])
async def test_a_proxy_that_is_not_there_is_told_plainly(url: str) -> None:
    target = Target(url, "m", None, 2)
    with pytest.raises(ConfigError, match="No Deja answers"):
        await upstream_of(target)
    with pytest.raises(ConfigError):
        await ask(target, [LabelledPair("a", "b", True)], lambda _done, _total: None)
