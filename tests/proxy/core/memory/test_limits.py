"""What a memory may be, and what is said of one that may not."""

from __future__ import annotations

import pytest

from proxy.core.memory import limits
from proxy.core.memory.records import Search
from proxy.errors import RequestError
from tests.proxy.core.memory.builders import memory


@pytest.mark.parametrize(
    ("changes", "field", "status"),
    [
        ({"text": "  "}, "text", 400),
        ({"text": "x" * 20_000}, "text", 413),
        ({"text": "\ud800"}, "text", 400),
        ({"memory_id": ""}, "id", 400),
        ({"user": "x" * 300}, "user", 400),
        ({"namespace": ""}, "namespace", 400),
        ({"topics": ("t",) * 65}, "topics", 400),
        ({"entities": ("",)}, "entities", 400),
        ({"event_at": float("nan")}, "event_at", 400),
        ({"created_at": float("inf")}, "created_at", 400),
        ({"replaces": "m1"}, "replaces", 400),
    ],
    ids=str,
)
def test_a_memory_that_cannot_be_stored_is_refused_by_field(
    changes: dict[str, object], field: str, status: int
) -> None:
    with pytest.raises(RequestError) as caught:
        limits.checked(memory(**changes))
    assert (caught.value.param, caught.value.status) == (field, status)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Search("x", limit=0), "limit"),
        (Search("x", limit=1001), "limit"),
        (Search("x", offset=-1), "offset"),
        (Search("x", semantic_share=1.5), "semantic_share"),
        (Search("x" * 70_000), "text"),
        (Search("x", as_of=float("nan")), "as_of"),
    ],
    ids=["limit-0", "limit-1001", "offset", "share", "text", "as-of"],
)
def test_a_search_that_cannot_be_made_is_refused_by_field(wanted: Search, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        limits.checked_search(wanted)
    assert caught.value.param == field
