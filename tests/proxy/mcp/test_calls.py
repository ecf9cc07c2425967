"""From a tool's arguments to a request: names stay names, whatever a model writes into them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.mcp.calls import Call, Tool, one_part, path
from proxy.mcp.calls import given as given_ones


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("agents",), "/v1/agents"),
        (("agents", "team/a"), "/v1/agents/team/a"),
        (("sessions", "a b?c#d&e=%"), "/v1/sessions/a%20b%3Fc%23d%26e%3D%25"),
        (("agents", "me@x:1"), "/v1/agents/me@x:1"),
        (("agents", "Zoë"), "/v1/agents/Zo%C3%AB"),
    ],
)
def test_a_name_is_written_into_a_path(parts: tuple[str, ...], expected: str) -> None:
    assert path(*parts) == expected


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "../admin", "a/./b"])
def test_a_name_that_would_be_another_path_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        path("agents", name)
    assert caught.value.code == "invalid_name"


@given(st.text(min_size=1, max_size=20))
def test_a_path_is_refused_or_holds_the_whole_name(name: str) -> None:
    try:
        found = path("agents", name)
    except (RequestError, UnicodeEncodeError):  # the latter: a lone surrogate, which JSON in UTF-8 cannot hold
        return
    parts = urlsplit(found)
    assert (parts.query, parts.fragment, parts.netloc) == ("", "", "")
    assert unquote(parts.path) == f"/v1/agents/{name}"


def test_a_name_of_one_part_holds_no_slash() -> None:
    assert one_part("q", "queue") == "q"
    with pytest.raises(RequestError) as caught:
        one_part("q/tasks", "queue")
    assert caught.value.param == "queue"


def test_parameters_are_words_lists_are_many_and_none_is_left_out() -> None:
    call = Call("GET", "/v1/x", {"alive": True, "limit": 5, "type": ["a", "b"], "cursor": None, "share": 0.5})
    assert call.parameters == [("alive", "true"), ("limit", "5"), ("type", "a"), ("type", "b"), ("share", "0.5")]


def test_null_counts_as_not_given_and_false_as_given() -> None:
    assert given_ones({"a": None, "b": False, "c": 0, "d": "x"}, "a", "b", "c", "e") == {"b": False, "c": 0}


def test_a_tool_takes_no_other_arguments_than_its_own() -> None:
    schema = Tool("t", "", {"a": {"type": "string"}}, ("a",), None).schema
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["a"]
