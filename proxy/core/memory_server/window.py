"""How much of a conversation fits into a model's context window: counting, cutting, and when it is time for a summary.

Tokens are estimated (`core.token_estimate`), of the role and the text as the Agent Memory Server counts them. A long conversation is judged
by samples of all its text, and each message has its share by its bytes: counting costs 4 ms at most, however long it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from proxy.core.memory_server.working import Message
from proxy.core.token_estimate import text_tokens
from proxy.errors import RequestError

WHOLE_CHARS = 16_384
"""Conversations up to here are counted message by message; what is longer is sampled, as `core.token_estimate` samples a long text."""
SUMMARY_SHARE = 0.7
"""Of the window: beyond it, older messages are summarised. The Agent Memory Server's default."""
KEPT_SHARE = 0.4
"""Of the window: what the newest messages may fill after a summary. The same."""
DEFAULT_WINDOW = 16_000
"""Tokens taken for a window that nobody named: GPT-3.5's, the Agent Memory Server's default."""

_WINDOWS = {
    "gpt-3.5-turbo-16k": 16_384,
    "gpt-3.5": 4_096,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-4": 8_192,
    "gpt-5-mini": 400_000,
    "gpt-5-nano": 400_000,
    "gpt-5": 128_000,
    "o1-mini": 128_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4": 200_000,
    "claude": 200_000,
    "gemini": 1_048_576,
    "text-embedding": 8_191,
}
"""Tokens by what a model's name begins with, the longest beginning first; the Agent Memory Server's numbers where it has them."""


def window_of(model_name: str | None, context_window_max: int | None) -> int | None:
    """Tokens of the window a caller named, None where none was.

    Raises:
        RequestError: 422, the model's window is not known.
    """
    if context_window_max is not None and context_window_max > 0:
        return context_window_max
    if not model_name:
        return None
    plain = model_name.rpartition("/")[2].lower()
    known = [beginning for beginning in _WINDOWS if plain.startswith(beginning)]
    if not known:
        raise RequestError(
            f"The context window of `{model_name[:64]}` is not known; send `context_window_max` in tokens instead.",
            status=422,
            code="unknown_model",
            param="model_name",
        )
    return _WINDOWS[max(known, key=len)]


def tokens_of(messages: Sequence[Message]) -> int:
    """Estimated tokens of messages, their roles with them."""
    return math.ceil(sum(_tokens(messages)))


def use_of(messages: Sequence[Message], window: int | None) -> tuple[float | None, float | None]:
    """How full a window is.

    Returns:
        Percent of the window, and percent of what a summary begins at; both [0, 100], None where no window was named.
    """
    if window is None:
        return None, None
    used = tokens_of(messages)
    return _percent(used, window), _percent(used, int(window * SUMMARY_SHARE))


def fitting(messages: Sequence[Message], window: int | None) -> tuple[Message, ...]:
    """The newest messages that fit into a window, the last one in any case; all where none was named."""
    if window is None:
        return tuple(messages)
    count = max(_count_fitting(_tokens(messages), window), min(1, len(messages)))
    return tuple(messages[len(messages) - count :])


def parts_for_summary(
    messages: Sequence[Message], window: int | None
) -> tuple[tuple[Message, ...], tuple[Message, ...]] | None:
    """Split a conversation that has outgrown its window.

    Returns:
        The older messages, to be summarised, and the newest ones, to be kept; None where all may stay as it is.
    """
    size = DEFAULT_WINDOW if window is None else window
    tokens = _tokens(messages)
    if len(messages) < 2 or math.ceil(sum(tokens)) <= int(size * SUMMARY_SHARE):
        return None
    kept = max(1, _count_fitting(tokens, int(size * KEPT_SHARE)))
    return tuple(messages[:-kept]), tuple(messages[-kept:])


def _count_fitting(tokens: Sequence[float], window: int) -> int:
    left = float(window)
    for count, each in enumerate(reversed(tokens)):
        left -= each
        if left < 0:
            return count
    return len(tokens)


def _percent(used: int, of: int) -> float:
    if used == 0:
        return 0.0
    return 100.0 if of <= 0 else min(100.0, 100.0 * used / of)


def _tokens(messages: Sequence[Message]) -> list[float]:
    lines = [f"{message.role}: {message.content}" for message in messages]
    if sum(map(len, lines)) <= WHOLE_CHARS:
        return [float(text_tokens(line)) for line in lines]
    sizes = [len(line.encode("utf-8", "surrogatepass")) for line in lines]
    price = text_tokens("\n".join(lines)) / sum(sizes)
    return [size * price for size in sizes]
