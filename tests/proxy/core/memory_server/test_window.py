"""How much of a conversation fits, and when it is time for a summary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.memory_server.window import (
    DEFAULT_WINDOW,
    fitting,
    parts_for_summary,
    tokens_of,
    use_of,
    window_of,
)
from proxy.core.memory_server.working import Message
from proxy.errors import RequestError


def said(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(f"m{number}", "user", text, float(number)) for number, text in enumerate(texts))


CONVERSATIONS = st.lists(st.text(max_size=200), max_size=20).map(lambda texts: said(*texts))
WINDOWS = st.integers(1, 2000)


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4", 8_192),
        ("gpt-4-32k", 32_768),
        ("gpt-4o-mini", 128_000),
        ("gpt-3.5-turbo-16k", 16_384),
        ("claude-3-5-haiku-latest", 200_000),
        ("o1", 200_000),
        ("o1-mini", 128_000),
        ("openai/gpt-5-mini", 400_000),
        ("text-embedding-3-small", 8_191),
    ],
)
def test_a_models_window_is_that_of_the_longest_name_it_begins_with(model: str, window: int) -> None:
    assert window_of(model, None) == window


def test_tokens_that_are_named_go_before_the_models() -> None:
    assert window_of("gpt-4", 500) == 500
    assert window_of("nobody-knows-this-one", 500) == 500
    assert window_of("gpt-4", 0) == 8_192
    assert window_of(None, None) is None


def test_a_model_nobody_knows_is_refused_with_what_to_send_instead() -> None:
    with pytest.raises(RequestError, match="context_window_max") as caught:
        window_of("my-model", None)
    assert caught.value.status == 422


def test_a_long_conversation_is_sampled_and_comes_to_much_the_same() -> None:
    said_once = said(*("We walked along the river, and told stories of the sea." for _ in range(100)))
    assert tokens_of(said_once) == 100 * tokens_of(said_once[:1])
    assert tokens_of(said_once * 100) == pytest.approx(100 * tokens_of(said_once), rel=0.1)
    assert len(fitting(said_once * 100, 1000)) == pytest.approx(1000 / tokens_of(said_once[:1]), rel=0.1)


def test_use_is_told_where_a_window_was_named() -> None:
    hundred = said(" ".join(["tea"] * 99))
    assert tokens_of(hundred) == 100
    assert use_of(hundred, None) == (None, None)
    assert use_of((), 1000) == (0.0, 0.0)
    assert use_of(hundred, 1000) == (10.0, pytest.approx(100 / 7))
    assert use_of(hundred, 50) == (100.0, 100.0)


@given(CONVERSATIONS, WINDOWS)
def test_what_fits_is_the_newest_as_much_as_fits_and_never_nothing(messages: tuple[Message, ...], window: int) -> None:
    kept = fitting(messages, window)
    assert kept == messages[len(messages) - len(kept) :]
    assert len(kept) >= min(1, len(messages))
    assert tokens_of(kept) <= window or len(kept) == 1
    if len(kept) < len(messages):
        assert tokens_of(messages[-len(kept) - 1 :]) > window


def test_everything_fits_where_no_window_was_named() -> None:
    messages = said(*("x" * 100_000 for _ in range(5)))
    assert fitting(messages, None) == messages


@given(CONVERSATIONS, WINDOWS)
def test_a_summary_parts_the_conversation_and_loses_nothing(messages: tuple[Message, ...], window: int) -> None:
    parts = parts_for_summary(messages, window)
    is_due = tokens_of(messages) > int(window * 0.7) and len(messages) > 1
    assert (parts is not None) == is_due
    if parts is not None:
        older, kept = parts
        assert older + kept == messages
        assert older
        assert kept
        assert tokens_of(kept) <= window * 0.4 or len(kept) == 1


def test_a_window_that_nobody_named_is_taken_to_be_small() -> None:
    short, long = said(*("tea " * 1000 for _ in range(11))), said(*("tea " * 1000 for _ in range(12)))
    assert tokens_of(short) < 0.7 * DEFAULT_WINDOW < tokens_of(long)
    assert parts_for_summary(short, None) is None
    assert parts_for_summary(long, None) is not None
