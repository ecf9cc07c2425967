"""What callers may call their agents and write into them, and how a state is shown."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core.coordination.agents import (
    LINE_BYTES,
    Bounds,
    Seat,
    checked_body,
    checked_id,
    shown,
    state_of,
    stored_fields,
    summary,
    transition,
)
from proxy.errors import RequestError

BOUNDS = Bounds(
    agents=10,
    fields=8,
    value_bytes=20_000,
    state_bytes=50_000,
    history=100,
    feed=100,
    history_bytes=99_999,
    deleted_ttl_s=60,
)


@pytest.mark.parametrize("name", ["a", "team/planner", "team:planner@2", "watch/tower", "history-1", "A" * 128])
def test_names_that_routes_can_carry_are_taken(name: str) -> None:
    assert checked_id(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a{b}",
        "ä",
        "A" * 129,
        "/a",
        "a/",
        "a//b",
        "a/./b",
        "a/../b",
        "watch",
        "a/watch",
        "a/history",
        "b/heartbeat",
    ],
)
def test_names_that_could_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        checked_id(name)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_name", "agent_id")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ([], "body", "invalid_request"),
        ("working", "body", "invalid_request"),
        (None, "body", "invalid_request"),
        ({"version": 3}, "version", "reserved_field"),
        ({"alive": None}, "alive", "reserved_field"),
        ({"alive_until": 1}, "alive_until", "reserved_field"),
        ({"last_updated": 1}, "last_updated", "reserved_field"),
        ({"id": "x"}, "id", "reserved_field"),
        ({"object": "x"}, "object", "reserved_field"),
        ({"two words": 1}, "body", "invalid_name"),
        ({"": 1}, "body", "invalid_name"),
        ({"status": "at work"}, "status", "invalid_value"),
        ({"status": 5}, "status", "invalid_value"),
        ({"current_task": {"id": 1}}, "current_task", "invalid_value"),
        ({"assigned_by": True}, "assigned_by", "invalid_value"),
    ],
)
def test_what_cannot_be_written_is_named(body: Any, param: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        checked_body(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_what_is_null_is_not_stored() -> None:
    fields = checked_body({"status": "5", "current_task": None, "checkpoint": {"a": None}, "n": 1})
    assert stored_fields(fields, BOUNDS) == {"status": '"5"', "checkpoint": '{"a":null}', "n": "1"}


@pytest.mark.parametrize(
    ("name", "limit"), [("checkpoint", BOUNDS.value_bytes), ("current_task", LINE_BYTES), ("assigned_by", LINE_BYTES)]
)
def test_a_field_may_be_as_large_as_it_may(name: str, limit: int) -> None:
    largest = "ü" * (limit // 2)
    assert stored_fields({name: largest}, BOUNDS) == {name: largest}
    with pytest.raises(RequestError, match=rf"`{name}` takes {limit + 1} bytes, more than {limit}") as caught:
        stored_fields({name: largest + "x"}, BOUNDS)
    assert (caught.value.status, caught.value.code) == (413, "state_too_large")


STORED = {
    "version": "7",
    "last_updated": "1795363192.172",
    "status": "working",
    "zeal": "5",
    "checkpoint": '{"a":1}',
    "age": "x",
}


def test_a_state_shows_the_known_fields_first_and_null_for_what_is_not_set() -> None:
    state = state_of("a", STORED, alive_until_ms=None, now_ms=0)
    assert list(shown(state).items()) == [
        ("id", "a"),
        ("object", "agent"),
        ("version", 7),
        ("last_updated", 1795363192.172),
        ("alive", None),
        ("alive_until", None),
        ("status", "working"),
        ("current_task", None),
        ("assigned_by", None),
        ("checkpoint", {"a": 1}),
        ("age", "x"),
        ("zeal", 5),
    ]
    assert not {"checkpoint", "age", "zeal"} & summary(state).keys()


@pytest.mark.parametrize(
    ("alive", "until", "in_list_ms", "shown_as"),
    [
        (None, None, None, (None, None, False)),
        ("true", None, 2000.0, (True, 2.0, False)),
        ("true", None, 1000.0, (False, 1.0, True)),
        ("false", "0.5", None, (False, 0.5, False)),
    ],
    ids=["never said so", "alive", "ran out just now", "dead"],
)
def test_an_agent_is_alive_until_its_heartbeat_runs_out(
    alive: str | None, until: str | None, in_list_ms: float | None, shown_as: tuple[bool | None, float | None, bool]
) -> None:
    stored = STORED | {name: value for name, value in (("alive", alive), ("alive_until", until)) if value is not None}
    state = state_of("a", stored, alive_until_ms=in_list_ms, now_ms=1000)
    assert (state.alive, state.alive_until, state.has_lapsed) == shown_as


def test_a_transition_tells_new_values_and_what_went() -> None:
    entry = {
        "type": "agent.updated",
        "agent": "a",
        "version": "8",
        "at": "1.5",
        "set:n": "5",
        "set:unset:x": "y",
        "unset:mood": "",
    }
    assert transition("1-0", entry) == {
        "id": "1-0",
        "object": "agent.transition",
        "type": "agent.updated",
        "agent": "a",
        "version": 8,
        "at": 1.5,
        "changed": {"n": 5, "unset:x": "y", "mood": None},
    }


def test_a_cursor_leads_back_to_its_place() -> None:
    seat = Seat(1795363192172, "team/a:b")
    assert Seat.of_cursor(seat.cursor) == seat
    assert Seat(1, "z") < Seat(2, "a") < Seat(2, "b")


@pytest.mark.parametrize("cursor", ["", "a", "1", "1 ", "1 a b", "x a", "1795363192172", "9" * 20 + " a"])
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(RequestError, match="next_cursor"):
        Seat.of_cursor(cursor)
