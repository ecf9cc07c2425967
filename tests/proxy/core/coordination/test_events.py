"""Events: what may be appended, how it lies in Redis, and that nothing of it is lost on the way out again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.coordination.events import (
    CLOUDEVENT,
    CLOUDEVENTS_BATCH,
    MAX_BATCH,
    Defaults,
    Filters,
    batch_of,
    event_of,
    fields_of,
)
from proxy.errors import RequestError

DEFAULTS = Defaults(agent=None, session=None, mint_id=lambda: "evt_minted", max_bytes=10_000)


def fields(event: Any, defaults: Defaults = DEFAULTS) -> dict[str, str]:
    return fields_of(event, "events[0]", defaults)


# ── batches ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "content_type", "count"),
    [
        pytest.param({"type": "a"}, "application/json", 1, id="one"),
        pytest.param([{"type": "a"}, {"type": "b"}], "application/json", 2, id="array"),
        pytest.param({"events": [{"type": "a"}]}, "application/json", 1, id="named array"),
        pytest.param({"type": "a", "events": "7"}, "application/json", 1, id="an event with an attribute of that name"),
        pytest.param({"type": "a"}, CLOUDEVENT, 1, id="a cloud event"),
        pytest.param([{"type": "a"}], CLOUDEVENTS_BATCH, 1, id="a batch of them"),
    ],
)
def test_a_body_holds_one_event_or_several(body: Any, content_type: str, count: int) -> None:
    assert len(batch_of(body, content_type)) == count


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        pytest.param([{"type": "a"}], CLOUDEVENT, "invalid_event", id="several as one"),
        pytest.param({"type": "a"}, CLOUDEVENTS_BATCH, "invalid_event", id="one as several"),
        pytest.param("a", "application/json", "invalid_event", id="a text"),
        pytest.param({"events": "a"}, "application/json", "invalid_event", id="no array"),
        pytest.param([], "application/json", "batch_too_large", id="none"),
        pytest.param([{"type": "a"}] * (MAX_BATCH + 1), "application/json", "batch_too_large", id="too many"),
    ],
)
def test_a_body_that_is_neither_is_refused(body: Any, content_type: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        batch_of(body, content_type)
    assert caught.value.code == code
    assert "Nothing was appended." in caught.value.message


# ── one event ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_needs_only_a_type() -> None:
    assert fields({"type": "a.b"}) == {"specversion": "1.0", "id": "evt_minted", "source": "/", "type": "a.b"}


def test_headers_give_what_an_event_does_not_say_and_nothing_more() -> None:
    defaults = Defaults(agent="planner", session="s1", mint_id=lambda: "evt", max_bytes=10_000)
    said = fields({"type": "a", "agent": "writer"}, defaults)
    assert (said["agent"], said["session"], said["source"]) == ("writer", "s1", "/agents/writer")
    assert fields({"type": "a"}, defaults)["source"] == "/agents/planner"
    assert fields({"type": "a", "source": "/mine"}, defaults)["source"] == "/mine"


def test_extension_attributes_are_kept_as_text() -> None:
    said = fields({"type": "a", "traceparent": "00-x", "attempt": 3, "urgent": True, "none": None})
    assert (said["traceparent"], said["attempt"], said["urgent"]) == ("00-x", "3", "true")
    assert "none" not in said


@pytest.mark.parametrize(
    ("event", "param"),
    [
        pytest.param([], "events[0]", id="no object"),
        pytest.param({}, "events[0].type", id="no type"),
        pytest.param({"type": ""}, "events[0].type", id="an empty type"),
        pytest.param({"type": 7}, "events[0].type", id="a type that is no text"),
        pytest.param({"type": "a\nb"}, "events[0].type", id="a line break"),
        pytest.param({"type": "a" * 1025}, "events[0].type", id="a long type"),
        pytest.param({"type": "a", "specversion": "0.3"}, "events[0].specversion", id="an old specversion"),
        pytest.param({"type": "a", "time": "yesterday"}, "events[0].time", id="no time"),
        pytest.param({"type": "a", "id": ""}, "events[0].id", id="an empty id"),
        pytest.param({"type": "a", "agent": "no name"}, "events[0].agent", id="a bad agent"),
        pytest.param({"type": "a", "session": {}}, "events[0].session", id="a bad session"),
        pytest.param({"type": "a", "Upper": "x"}, "events[0].Upper", id="an attribute in capitals"),
        pytest.param({"type": "a", "event_id": "1-1"}, "events[0].event_id", id="what Deja says itself"),
        pytest.param({"type": "a", "nested": {"x": 1}}, "events[0].nested", id="a nested attribute"),
        pytest.param({"type": "a", "big": 2**31}, "events[0].big", id="a large number"),
        pytest.param({"type": "a", "half": 0.5}, "events[0].half", id="a fraction"),
        pytest.param({"type": "a", "data_base64": "no!"}, "events[0].data_base64", id="no base64"),
        pytest.param({"type": "a", "data": 1, "data_base64": "aGk="}, "events[0].data_base64", id="data twice"),
        pytest.param({"type": "a"} | {f"x{n}": "" for n in range(33)}, "events[0]", id="many attributes"),
    ],
)
def test_what_is_no_event_is_refused_by_name(event: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        fields(event)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_an_event_that_is_too_large_is_refused_with_its_size() -> None:
    assert fields({"type": "a", "data": "x" * 9_000})["data"] == '"' + "x" * 9_000 + '"'
    with pytest.raises(RequestError) as caught:
        fields({"type": "a", "data": "é" * 5_000})
    assert (caught.value.status, caught.value.code) == (413, "event_too_large")


def test_data_nested_deeper_than_can_be_written_is_refused() -> None:
    deep = orjson.loads("[" * 500 + "]" * 500)
    with pytest.raises(RequestError) as caught:
        fields({"type": "a", "data": deep})
    assert caught.value.code == "nesting_too_deep"


# ── and back ──────────────────────────────────────────────────────────────────────────────────────────────────────

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
line = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


@given(data=json_values, subject=line, extension=line)
def test_an_event_comes_back_as_it_was_sent(data: Any, subject: str, extension: str) -> None:
    sent = {
        "specversion": "1.0",
        "id": "1",
        "source": "/x",
        "type": "t",
        "subject": subject,
        "tag": extension,
        "data": data,
    }
    stored = fields(sent)
    assert all(isinstance(value, str) for value in stored.values())
    shown = event_of("1795363192172-3", stored)
    assert shown == sent | {"event_id": "1795363192172-3", "appended_at": 1795363192.172}


def test_null_data_is_data_and_missing_data_is_not() -> None:
    assert event_of("1-1", fields({"type": "a", "data": None}))["data"] is None
    assert "data" not in event_of("1-1", fields({"type": "a"}))


def test_what_another_client_wrote_is_shown_as_it_is() -> None:
    assert event_of("1-1", {"type": "a", "data": "plain words", "Any-Field": "x"}) == {
        "event_id": "1-1",
        "appended_at": 0.001,
        "type": "a",
        "data": "plain words",
        "Any-Field": "x",
    }


# ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        pytest.param(Filters(), True, id="none"),
        pytest.param(Filters(types=("x", "order.paid")), True, id="one of the types"),
        pytest.param(Filters(types=("order.*",)), True, id="the beginning of a type"),
        pytest.param(Filters(types=("order",)), False, id="a beginning without a star"),
        pytest.param(Filters(types=("*",), agents=("a",)), True, id="any type, this agent"),
        pytest.param(Filters(agents=("b",)), False, id="another agent"),
        pytest.param(Filters(agents=("a",), sessions=("s",)), False, id="no session"),
    ],
)
def test_filters_let_through_what_was_asked_for(filters: Filters, passes: bool) -> None:
    assert filters.passes({"type": "order.paid", "agent": "a"}) == passes
    assert bool(filters) == (filters != Filters())
