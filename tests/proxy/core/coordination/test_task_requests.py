"""What callers ask of a queue, in the form that is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.coordination.task_requests import Submission, json_value, submission
from proxy.errors import RequestError


def made(**given: Any) -> Submission:
    return submission(given, queue="q", minted_id="task_1", payload_bytes=100)


def refusal(param: str = "", **given: Any) -> tuple[int, str, str | None]:
    with pytest.raises(RequestError) as caught:
        submission(given, queue="q", minted_id="task_1", payload_bytes=100, param=param)
    return caught.value.status, caught.value.code, caught.value.param


def test_a_task_without_anything_is_a_task() -> None:
    assert made() == Submission("task_1", b"null", 5, "", "", None, None, None, made().digest, None, None)


def test_moments_are_counted_by_redis_or_given() -> None:
    assert made(delay_s=1.5).start == "+1500"
    assert made(not_before=1795363192.1721).start == "1795363192172"
    assert made(deadline_s=0.25).deadline == "+250"
    assert made(deadline_at=1795363192).deadline == "1795363192000"


def test_what_excludes_each_other_is_refused() -> None:
    assert refusal("tasks.2.", delay_s=1, not_before=2) == (400, "invalid_value", "tasks.2.delay_s")
    assert refusal(deadline_s=1, deadline_at=2) == (400, "invalid_value", "deadline_s")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"payload": "x" * 99}, (413, "payload_too_large", "payload")),
        ({"id": "a/b"}, (400, "invalid_name", "id")),
        ({"parent": "a/b/c"}, (400, "invalid_name", "parent")),
        ({"session": "a b"}, (400, "invalid_name", "session")),
        ({"agent": ""}, (400, "invalid_name", "agent")),
        ({"idempotency_key": ""}, (400, "invalid_value", "idempotency_key")),
        ({"idempotency_key": "k" * 256}, (400, "invalid_value", "idempotency_key")),
        ({"idempotency_key": "a\nb"}, (400, "invalid_value", "idempotency_key")),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], expected: tuple[int, str, str]) -> None:
    assert refusal(**given) == expected


def test_what_is_nested_too_deeply_is_refused() -> None:
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    with pytest.raises(RequestError) as caught:
        json_value(nested, "payload", 10_000)
    assert caught.value.code == "nesting_too_deep"


def test_the_digest_knows_what_was_asked_for_and_not_under_which_key() -> None:
    assert made(payload={"a": 1, "b": 2}).digest == made(payload={"b": 2, "a": 1}, idempotency_key="k").digest
    different = [made(), made(payload=1), made(priority=3), made(delay_s=1), made(parent="p"), made(id="x")]
    assert len({each.digest for each in different}) == len(different)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5))
def test_any_payload_is_kept_as_it_is(payload: Any) -> None:
    import orjson

    assert (
        orjson.loads(submission({"payload": payload}, queue="q", minted_id="t", payload_bytes=10**6).payload) == payload
    )
