from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.usage import Usage, from_wire, usage_of

COUNTS = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        pytest.param({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(9, 4), id="chat"),
        pytest.param({"prompt_tokens": 9, "total_tokens": 9}, Usage(9), id="embeddings"),
        pytest.param(
            {
                "prompt_tokens": 2000,
                "completion_tokens": 300,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 100},
                "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 20},
            },
            Usage(2000, 300, cached_tokens=1024, input_audio_tokens=100, reasoning_tokens=128, output_audio_tokens=20),
            id="OpenAI's details are parts of the whole",
        ),
        pytest.param(
            {
                "input_tokens": 50,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
                "output_tokens": 7,
            },
            Usage(1250, 7, cached_tokens=1000, written_tokens=200, written_1h_tokens=50),
            id="Anthropic's stand beside its input",
        ),
        pytest.param(
            {
                "prompt_tokens": 1250,
                "completion_tokens": 7,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 200,
                "prompt_tokens_details": {"cached_tokens": 1000, "cache_creation_tokens": 200},
            },
            Usage(1250, 7, cached_tokens=1000, written_tokens=200),
            id="LiteLLM counts Anthropic's in",
        ),
        pytest.param(
            {
                "input_tokens": 75,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens": 1186,
                "output_tokens_details": {"reasoning_tokens": 1024},
                "total_tokens": 1261,
            },
            Usage(75, 1186, cached_tokens=64, reasoning_tokens=1024),
            id="OpenAI's responses count theirs in",
        ),
        pytest.param(
            {
                "input_tokens": 1250,
                "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 200},
                "output_tokens": 7,
            },
            Usage(1250, 7, cached_tokens=1000, written_tokens=200),
            id="LiteLLM's responses count Anthropic's in, too",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, reasoning_tokens=100),
            id="xAI counts reasoning beside its output",
        ),
        pytest.param(
            {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64},
            Usage(100, 5, cached_tokens=64),
            id="DeepSeek's name",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 6},
            },
            Usage(10, 1, cached_tokens=8, input_audio_tokens=2),
            id="sound that was cached counts once",
        ),
        pytest.param(
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(3, 1), id="null details"
        ),
    ],
)
def test_every_wire_format_comes_to_the_same_counts(told: dict[str, Any], usage: Usage) -> None:
    assert usage_of(told, body={}) == usage


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"total_tokens": 5},
        {"prompt_tokens": "9", "completion_tokens": 4},
        {"prompt_tokens": -9, "completion_tokens": 4},
        {"prompt_tokens": 1 << 50, "completion_tokens": 4},
        {"prompt_tokens": True, "completion_tokens": 4},
        {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}},
    ],
    ids=str,
)
def test_counts_that_cannot_be_are_no_usage(told: dict[str, Any] | None) -> None:
    assert usage_of(told, body={"model": "m"}) is None


def test_tier_and_model_are_the_answers_own() -> None:
    told = {"prompt_tokens": 1, "completion_tokens": 1}
    found = usage_of(told, body={"model": "gpt-4o-2024-08-06", "service_tier": "flex"})
    assert found == Usage(1, 1, tier="flex", model="gpt-4o-2024-08-06")
    kept_as_stream = {"chunks": [{"model": "m", "service_tier": "default"}, {}]}
    assert usage_of(told, body=kept_as_stream) == Usage(1, 1, model="m"), "the default tier has the list price"


@pytest.mark.parametrize(
    ("stored", "asked", "priced_as"),
    [("", None, ""), ("flex", None, "flex"), ("", "flex", "flex"), ("flex", "default", ""), ("flex", "auto", "flex")],
)
def test_a_hit_is_priced_in_the_tier_that_its_own_request_names(stored: str, asked: str | None, priced_as: str) -> None:
    assert Usage(1, 1, tier=stored).in_tier(asked).tier == priced_as


@given(st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.text(), st.text()))
def test_what_is_stored_is_read_back(usage: Usage) -> None:
    assert from_wire(usage.to_wire()) == usage


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"[1,2]", b'["a",1,0,0,0,0,0,0,0,"",""]', b"null"])
def test_what_another_version_stored_is_no_usage(raw: bytes) -> None:
    assert from_wire(raw) is None
