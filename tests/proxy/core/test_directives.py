from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.directives import HEADERS, MAX_TAGS, MAX_TTL_S, parse_directives
from proxy.core.models import Directives, MemoryUse, Mode
from proxy.errors import RequestError

DEFAULT = Directives()


def of_headers(**headers: str) -> Directives:
    """Directives of `name="value"` headers, underscores for dashes."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return parse_directives(pairs, {}, default_mode=Mode.SEMANTIC)


def of_body(**body: Any) -> Directives:
    return parse_directives([], body, default_mode=Mode.SEMANTIC)


def refused(headers: list[tuple[bytes, bytes]], body: dict[str, Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_directives(headers, body, default_mode=Mode.SEMANTIC)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_cache_directive"
    return caught.value


def test_a_request_that_says_nothing_gets_the_default_mode() -> None:
    assert of_body() == DEFAULT
    assert parse_directives([(b"accept", b"*/*")], {}, default_mode=Mode.EXACT).mode is Mode.EXACT


# --- headers ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value", "field", "meaning"),
    [
        ("x_deja_mode", "off", "mode", Mode.OFF),
        ("x_deja_mode", " shadow ", "mode", Mode.SHADOW),
        ("x_deja_namespace", "team-a/prod", "namespace", "team-a/prod"),
        ("x_deja_namespace", "", "namespace", ""),
        ("x_deja_ttl", "60", "ttl_s", 60),
        ("x_deja_ttl", "999999999999", "ttl_s", MAX_TTL_S),
        ("x_deja_tags", "faq, docs,,faq ", "tags", ("faq", "docs")),
        ("x_deja_tags", "", "tags", ()),
        ("x_deja_session", "s:1", "session", "s:1"),
        ("x_deja_agent", "planner", "agent", "planner"),
        ("x_deja_confidence", "0.9", "confidence", 0.9),
        ("x_deja_confidence", "1", "confidence", 1.0),
        ("x_deja_memory", "both", "memory", MemoryUse.BOTH),
    ],
)
def test_each_header_sets_its_field(header: str, value: str, field: str, meaning: Any) -> None:
    assert getattr(of_headers(**{header: value}), field) == meaning


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_can_be_asked_for(mode: Mode) -> None:
    assert of_headers(x_deja_mode=mode.value).mode is mode
    assert of_body(deja={"mode": mode.value}).mode is mode


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        pytest.param(b"x-deja-mode", b"fast", "X-Deja-Mode", id="mode"),
        pytest.param(b"x-deja-mode", b"", "X-Deja-Mode", id="empty mode"),
        pytest.param(b"x-deja-namespace", b"a b", "X-Deja-Namespace", id="namespace with blank"),
        pytest.param(b"x-deja-namespace", b"{a}", "X-Deja-Namespace", id="namespace with brace"),
        pytest.param(b"x-deja-namespace", b"a" * 129, "X-Deja-Namespace", id="namespace too long"),
        pytest.param(b"x-deja-ttl", b"0", "X-Deja-TTL", id="ttl zero"),
        pytest.param(b"x-deja-ttl", b"-1", "X-Deja-TTL", id="ttl negative"),
        pytest.param(b"x-deja-ttl", b"1.5", "X-Deja-TTL", id="ttl a fraction"),
        pytest.param(b"x-deja-ttl", b"1h", "X-Deja-TTL", id="ttl with unit"),
        pytest.param(b"x-deja-ttl", b"9" * 19, "X-Deja-TTL", id="ttl absurd"),
        pytest.param(b"x-deja-tags", b"a b", "X-Deja-Tags", id="tag with blank"),
        pytest.param(
            b"x-deja-tags", ",".join(f"t{i}" for i in range(MAX_TAGS + 1)).encode(), "X-Deja-Tags", id="tags too many"
        ),
        pytest.param(b"x-deja-session", b"", "X-Deja-Session", id="empty session"),
        pytest.param(b"x-deja-session", b"a\x00b", "X-Deja-Session", id="session with NUL"),
        pytest.param(b"x-deja-session", b"\xff", "X-Deja-Session", id="session not UTF-8"),
        pytest.param(b"x-deja-agent", b"-a", "X-Deja-Agent", id="agent begins with dash"),
        pytest.param(b"x-deja-confidence", b"2", "X-Deja-Confidence", id="confidence above one"),
        pytest.param(b"x-deja-confidence", b"-0.1", "X-Deja-Confidence", id="confidence negative"),
        pytest.param(b"x-deja-confidence", b"nan", "X-Deja-Confidence", id="confidence nan"),
        pytest.param(b"x-deja-confidence", b"high", "X-Deja-Confidence", id="confidence a word"),
        pytest.param(b"x-deja-memory", b"yes", "X-Deja-Memory", id="memory"),
        pytest.param(b"x-deja-no-store", b"1", "X-Deja-No-Store", id="unknown header"),
        pytest.param(b"x-deja-", b"1", "X-Deja-", id="nameless header"),
        pytest.param(b"cache-control", b"max-age=soon", "Cache-Control: max-age", id="max-age a word"),
        pytest.param(b"cache-control", b"max-age", "Cache-Control: max-age", id="max-age empty"),
        pytest.param(b"cache-control", b"max-age=-1", "Cache-Control: max-age", id="max-age negative"),
    ],
)
def test_a_bad_or_unknown_header_is_refused_by_name(name: bytes, value: bytes, label: str) -> None:
    error = refused([(name, value)], {})
    assert error.param == label
    assert f"`{label}`" in error.message


def test_the_refusal_of_an_unknown_header_names_the_known_ones() -> None:
    message = refused([(b"x-deja-sesion", b"a")], {}).message
    assert all(name in message for name in HEADERS)


def test_a_refusal_does_not_quote_the_value() -> None:
    assert "sk-secret" not in refused([(b"x-deja-session", b"sk-secret !")], {}).message


# --- Cache-Control ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no-cache", Directives(no_cache=True)),
        ("no-store", Directives(no_store=True)),
        ("No-Store", Directives(no_store=True)),
        ("only-if-cached", Directives(only_if_cached=True)),
        ("max-age=60", Directives(max_age_s=60)),
        ("max-age=0", Directives(max_age_s=0)),
        ('max-age="60"', Directives(max_age_s=60)),
        ("Max-Age = 60", Directives(max_age_s=60)),
        ("max-age=99999999999", Directives(max_age_s=MAX_TTL_S)),
        ("no-cache, max-age=5 ,only-if-cached", Directives(no_cache=True, max_age_s=5, only_if_cached=True)),
        ("max-stale=60, min-fresh=5, no-transform, stale-while-revalidate, made-up=1,,", DEFAULT),
        ("max-stale=nonsense", DEFAULT),
        ('extension="a b", max-age=5', Directives(max_age_s=5)),
        ("", DEFAULT),
    ],
)
def test_cache_control_is_read_as_rfc_9111_says(value: str, expected: Directives) -> None:
    assert of_headers(cache_control=value) == expected


def test_two_cache_control_headers_are_one_list() -> None:
    pairs = [(b"cache-control", b"no-store"), (b"cache-control", b"max-age=5")]
    assert parse_directives(pairs, {}, default_mode=Mode.SEMANTIC) == Directives(no_store=True, max_age_s=5)


@given(st.binary(max_size=40).filter(lambda value: b"max-age" not in value.lower()))
def test_nothing_else_in_cache_control_breaks_the_call(value: bytes) -> None:
    said = parse_directives([(b"cache-control", value)], {}, default_mode=Mode.SEMANTIC)
    assert said.max_age_s is None


# --- body -------------------------------------------------------------------------------------------------------------------------


def test_the_body_can_say_all_that_headers_can_and_two_things_more() -> None:
    said = of_body(
        deja={
            "mode": "read-only",
            "namespace": "n",
            "ttl_s": 60.0,
            "tags": ["a", "b", "a"],
            "session": "s",
            "agent": "g",
            "confidence": 1,
            "query": " What is it? ",
            "context": "ticket 7",
        }
    )
    assert said == Directives(
        mode=Mode.READ_ONLY,
        namespace="n",
        ttl_s=60,
        tags=("a", "b"),
        session="s",
        agent="g",
        confidence=1.0,
        query="What is it?",
        context="ticket 7",
    )


def test_a_null_says_nothing() -> None:
    assert of_body(deja=None, cache=None) == DEFAULT
    assert of_body(deja={"mode": None, "tags": None, "session": None}, cache={"ttl": None}) == DEFAULT


@pytest.mark.parametrize(
    ("own", "param"),
    [
        pytest.param([], "deja", id="a list"),
        pytest.param("off", "deja", id="a text"),
        pytest.param({"ttl": 5}, "deja.ttl", id="unknown"),
        pytest.param({"mode": []}, "deja.mode", id="mode a list"),
        pytest.param({"mode": "OFF"}, "deja.mode", id="mode in capitals"),
        pytest.param({"namespace": 5}, "deja.namespace", id="namespace a number"),
        pytest.param({"ttl_s": True}, "deja.ttl_s", id="ttl a boolean"),
        pytest.param({"ttl_s": 1.5}, "deja.ttl_s", id="ttl a fraction"),
        pytest.param({"ttl_s": []}, "deja.ttl_s", id="ttl a list"),
        pytest.param({"tags": {"a": 1}}, "deja.tags", id="tags an object"),
        pytest.param({"tags": [1]}, "deja.tags", id="tag a number"),
        pytest.param({"session": ["s"]}, "deja.session", id="session a list"),
        pytest.param({"agent": {}}, "deja.agent", id="agent an object"),
        pytest.param({"confidence": True}, "deja.confidence", id="confidence a boolean"),
        pytest.param({"confidence": []}, "deja.confidence", id="confidence a list"),
        pytest.param({"query": " "}, "deja.query", id="query blank"),
        pytest.param({"query": 5}, "deja.query", id="query a number"),
        pytest.param({"query": "a" * 40_000}, "deja.query", id="query too long"),
        pytest.param({"context": ""}, "deja.context", id="context empty"),
    ],
)
def test_a_bad_or_unknown_field_is_refused_by_name(own: Any, param: str) -> None:
    assert refused([], {"deja": own}).param == param


# --- LiteLLM's dialect ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ({"no-cache": True}, Directives(no_cache=True)),
        ({"no-store": True}, Directives(no_store=True)),
        ({"no-cache": False, "no-store": False}, DEFAULT),
        ({"ttl": 300}, Directives(ttl_s=300)),
        ({"s-maxage": 600}, Directives(max_age_s=600)),
        ({"s-max-age": 0}, Directives(max_age_s=0)),
        ({"namespace": "n"}, Directives(namespace="n")),
        ({"use-cache": True}, DEFAULT),
        ({"use-cache": False}, Directives(mode=Mode.OFF)),
        ({}, DEFAULT),
    ],
)
def test_litellms_dialect_is_understood(dialect: dict[str, Any], expected: Directives) -> None:
    assert of_body(cache=dialect) == expected


@pytest.mark.parametrize(
    ("dialect", "param"),
    [
        pytest.param(True, "cache", id="a boolean"),
        pytest.param({"no_store": True}, "cache.no_store", id="misspelt"),
        pytest.param({"no-store": "true"}, "cache.no-store", id="no-store a text"),
        pytest.param({"ttl": 0}, "cache.ttl", id="ttl zero"),
        pytest.param({"s-maxage": -1}, "cache.s-maxage", id="age negative"),
        pytest.param({"namespace": "a b"}, "cache.namespace", id="namespace with blank"),
        pytest.param({"use-cache": 1}, "cache.use-cache", id="use-cache a number"),
    ],
)
def test_a_bad_word_of_the_dialect_is_refused_by_name(dialect: Any, param: str) -> None:
    assert refused([], {"cache": dialect}).param == param


# --- together ---------------------------------------------------------------------------------------------------------------------


def test_headers_win_over_our_field_and_our_field_over_the_dialect() -> None:
    headers = [(b"x-deja-ttl", b"1"), (b"x-deja-mode", b"exact")]
    body = {
        "deja": {"ttl_s": 2, "namespace": "two", "mode": "off"},
        "cache": {"ttl": 3, "namespace": "three", "s-maxage": 3},
    }
    said = parse_directives(headers, body, default_mode=Mode.SHADOW)
    assert said == Directives(mode=Mode.EXACT, ttl_s=1, namespace="two", max_age_s=3)


def test_a_wish_for_privacy_stands_whatever_else_is_said() -> None:
    said = parse_directives([(b"x-deja-mode", b"semantic")], {"cache": {"no-store": True}}, default_mode=Mode.SEMANTIC)
    assert said.no_store


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [
        (Mode.OFF, False, False),
        (Mode.EXACT, True, True),
        (Mode.SEMANTIC, True, True),
        (Mode.READ_ONLY, True, False),
        (Mode.WRITE_ONLY, False, True),
        (Mode.SHADOW, True, True),
    ],
)
def test_what_each_mode_lets_the_cache_do(mode: Mode, reads: bool, writes: bool) -> None:
    assert (mode.reads, mode.writes) == (reads, writes)
