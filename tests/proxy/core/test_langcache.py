"""LangCache's request bodies: what is understood, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.core import langcache
from proxy.core.models import HitKind
from proxy.core.named_caches import Content, Search
from proxy.errors import RequestError

SEARCH = langcache.read_search
CONVERSATION = langcache.read_conversation
DELETE = langcache.read_delete


def put(body: Any) -> langcache.SetWish:
    return langcache.read_set(body, response_bytes=100)


def test_a_bare_search_has_langcaches_defaults() -> None:
    assert SEARCH({"prompt": "q"}) == Search("q", (HitKind.SEMANTIC,), {}, 0.0, 1, is_repeat_only=False)


def test_everything_a_search_may_say_is_understood() -> None:
    body = {
        "prompt": "q",
        "similarityThreshold": 0.9,
        "searchStrategies": ["exact", "semantic", "exact"],
        "attributes": {"a": "1"},
        "maxResults": 3,
    }
    assert SEARCH(body) == Search("q", (HitKind.EXACT, HitKind.SEMANTIC), {"a": "1"}, 0.9, 3)


def test_nulls_say_nothing() -> None:
    body = {
        "prompt": "q",
        "similarityThreshold": None,
        "searchStrategies": None,
        "attributes": None,
        "maxResults": None,
    }
    assert SEARCH(body) == SEARCH({"prompt": "q", "searchStrategies": []}) == SEARCH({"prompt": "q"})


def test_more_results_than_are_ever_returned_may_be_asked_for() -> None:
    assert SEARCH({"prompt": "q", "maxResults": 1000}).max_results == langcache.MAX_RESULTS


def test_what_is_to_be_stored_is_understood() -> None:
    wish = put({"prompt": " q", "response": "r", "attributes": {"a": "1"}, "ttlMillis": 1500})
    assert wish == langcache.SetWish(Content(" q", "r", {"a": "1"}), 1500)
    assert put({"prompt": "q", "response": ""}) == langcache.SetWish(Content("q", "", {}), None)


def test_a_conversation_is_looked_for_whole_and_exactly() -> None:
    assert CONVERSATION({"prompt": "q", "context": ["a", "b"]}) == Search("a\nb\nq", is_repeat_only=True)
    assert CONVERSATION({"prompt": "q", "context": []}) == CONVERSATION({"prompt": "q"}) == Search("q")


def test_a_deletion_names_its_attributes() -> None:
    assert DELETE({"attributes": {"a": "1"}}) == {"a": "1"}
    assert DELETE({"attributes": {}}) == {}


@pytest.mark.parametrize(
    ("read", "body", "field"),
    [
        (SEARCH, [], "body"),
        (SEARCH, None, "body"),
        (SEARCH, {}, "prompt"),
        (SEARCH, {"prompt": 1}, "prompt"),
        (SEARCH, {"prompt": "\n "}, "prompt"),
        (SEARCH, {"prompt": "x" * 32_769}, "prompt"),
        (SEARCH, {"prompt": "q", "similarity_threshold": 0.9}, "similarity_threshold"),
        (SEARCH, {"prompt": "q", "context": ["a"]}, "context"),
        (SEARCH, {"prompt": "q", "similarityThreshold": -0.1}, "similarityThreshold"),
        (SEARCH, {"prompt": "q", "similarityThreshold": float("nan")}, "similarityThreshold"),
        (SEARCH, {"prompt": "q", "similarityThreshold": True}, "similarityThreshold"),
        (SEARCH, {"prompt": "q", "similarityThreshold": "0.9"}, "similarityThreshold"),
        (SEARCH, {"prompt": "q", "searchStrategies": "exact"}, "searchStrategies"),
        (SEARCH, {"prompt": "q", "searchStrategies": ["exact", 1]}, "searchStrategies"),
        (SEARCH, {"prompt": "q", "maxResults": 1.0}, "maxResults"),
        (SEARCH, {"prompt": "q", "maxResults": True}, "maxResults"),
        (SEARCH, {"prompt": "q", "attributes": []}, "attributes"),
        (SEARCH, {"prompt": "q", "attributes": {"": "1"}}, "attributes"),
        (SEARCH, {"prompt": "q", "attributes": {"ü": "1"}}, "attributes"),
        (SEARCH, {"prompt": "q", "attributes": {"x" * 33: "1"}}, "attributes"),
        (SEARCH, {"prompt": "q", "attributes": {"a": 1}}, "attributes.a"),
        (SEARCH, {"prompt": "q", "attributes": {"a": None}}, "attributes.a"),
        (SEARCH, {"prompt": "q", "attributes": {"a": "x" * 501}}, "attributes.a"),
        (SEARCH, {"prompt": "q", "attributes": dict.fromkeys("abcdef", "1")}, "attributes"),
        (CONVERSATION, {"prompt": "q", "context": "a"}, "context"),
        (CONVERSATION, {"prompt": "q", "context": [1]}, "context"),
        (CONVERSATION, {"prompt": "q", "context": [""] * 1001}, "context"),
        (CONVERSATION, {"prompt": "q", "context": ["x" * 32_768]}, "context"),
        (put, {"prompt": "q"}, "response"),
        (put, {"prompt": "q", "response": {}}, "response"),
        (put, {"prompt": "q", "response": "r", "ttlMillis": 0}, "ttlMillis"),
        (put, {"prompt": "q", "response": "r", "ttlMillis": 1.5}, "ttlMillis"),
        (put, {"prompt": "q", "response": "r", "ttlMillis": 31_556_952_001}, "ttlMillis"),
        (DELETE, {}, "attributes"),
        (DELETE, {"attributes": None}, "attributes"),
        (DELETE, {"attributes": {}, "all": True}, "all"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(read: Any, body: Any, field: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(body)
    assert (refused.value.status, refused.value.param) == (400, field)
    assert f"`{field}`" in refused.value.message


def test_a_response_is_bounded_in_bytes() -> None:
    assert put({"prompt": "q", "response": "x" * 100})
    with pytest.raises(RequestError) as refused:
        put({"prompt": "q", "response": "ü" * 51})
    assert refused.value.status == 413


@pytest.mark.parametrize("name", ["a", "7", "Shop_1.eu:prod@x-y", "x" * 128])
def test_a_cache_may_be_called_so(name: str) -> None:
    assert langcache.cache_id(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a b", "ü", "a/b", "x" * 129, "a\n"])
def test_a_cache_cannot_be_called_so(name: str) -> None:
    with pytest.raises(RequestError):
        langcache.cache_id(name)


def test_an_entry_id_is_32_hex_digits() -> None:
    assert langcache.is_entry_id("0123456789abcdef" * 2)
    assert not any(map(langcache.is_entry_id, ["", "0" * 31, "0" * 33, "A" * 32, "ent_" + "0" * 32, "0" * 32 + "\n"]))
