"""Asking through the real SDK, and reading what the headers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openai

MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Told:
    """What came back: the answer's text, Cache-Status, and all headers."""

    text: str
    status: str
    headers: Any

    @property
    def hit(self) -> str | None:
        """`exact`, `semantic`, or None."""
        if "; hit" not in self.status:
            return None
        return next(part.removeprefix("detail=") for part in self.status.split("; ") if part.startswith("detail="))


def ask(
    client: openai.OpenAI,
    question: str | list[dict[str, Any]],
    *,
    stream: bool = False,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Told:
    """Ask one question, or send a whole conversation."""
    messages: Any = [{"role": "user", "content": question}] if isinstance(question, str) else question
    fields.setdefault("model", MODEL)
    raw = client.chat.completions.with_raw_response.create(
        messages=messages, stream=stream, extra_headers=headers, **fields
    )
    parsed: Any = raw.parse()
    if stream:
        with parsed:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in parsed if chunk.choices)
    else:
        text = parsed.choices[0].message.content or ""
    return Told(text, raw.headers["cache-status"], raw.headers)


def turns(*texts: str, system: str | None = None) -> list[dict[str, Any]]:
    """A conversation: user, assistant, user, …, behind an optional system message."""
    lead = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    return lead + [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
