"""POST /v1/completions as a dialect: the legacy API, in which a model goes on with a text.

What comes next depends on the very letters of the prompt, white space at its end among them, so only a prompt that is nothing but one
question is matched by meaning: one string, one line, a question mark at its end, and no field that ties the answer to the prompt's wording
(`echo` repeats it, `suffix` continues it, `logprobs` counts its letters). White space around it is compared exactly.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core import canonical, sse
from proxy.core.answers import Answer
from proxy.core.dialects import text_answers
from proxy.core.dialects.base import Replay
from proxy.core.dialects.openai_shapes import OpenAIShapes
from proxy.core.models import ChatRequest, Entry

_TIED_TO_WORDING = ("echo", "suffix", "logprobs", "best_of")


class Completions(OpenAIShapes):
    """OpenAI's legacy completions. Implements `Dialect`."""

    __slots__ = ()
    family = "completions"
    path = "/completions"
    tells_memories = False  # a text has no place for them that its continuation would not notice

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> ChatRequest:
        """The prompt is the last turn, and there is nothing before it."""
        prompt = body.get("prompt")
        if not isinstance(prompt, str | list) or prompt == []:
            raise canonical.bad("prompt", "send a text, or a list of texts or tokens")
        ignored = canonical.IGNORED_FIELDS | canonical.OWN_FIELDS | {"prompt"} | (set() if key_user else {"user"})
        question = _question(body)
        return ChatRequest(
            model=canonical.model_of(body),
            keyed={name: value for name, value in body.items() if name not in ignored},
            instructions=(),
            prefix=(),
            last={"role": "user", "content": prompt} if question is None else _around(str(prompt)),
            question=question,
            is_stream=canonical.flag(body, "stream"),
            include_usage=canonical.include_usage(body),
            choices=canonical.choices(body),
            has_tools=False,
        )

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of the prompt, about."""
        return len(str(body["prompt"]))

    def conversation(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The prompt as a user's message; of tokens nothing can be told."""
        prompt = body["prompt"]
        texts = [prompt] if isinstance(prompt, str) else [text for text in prompt if isinstance(text, str)]
        return [{"role": "user", "content": text} for text in texts or [""]]

    def with_memories(self, body: Mapping[str, Any], block: str) -> dict[str, Any]:
        """Never asked for: `tells_memories`."""
        raise NotImplementedError

    def turns(self, request: ChatRequest, answer: Answer) -> list[dict[str, Any]]:
        """Nothing goes on from here; the text is what it is."""
        return [request.last, answer.message]

    def read_json(self, raw: bytes) -> Answer:
        """One `text_completion`."""
        return text_answers.read_json(raw)

    def read_stream(self, raw: bytes, *, prompt_chars: int) -> Answer:
        """Chunks and `[DONE]`."""
        return text_answers.read_stream(raw, prompt_chars=prompt_chars)

    def ending(self) -> sse.Ending:
        """At `[DONE]`."""
        return sse.done_ending()

    def message_of(self, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first choice's text."""
        return text_answers.stored_message(stored)

    def render_json(self, entry: Entry, replay: Replay) -> bytes:
        """New id."""
        return text_answers.render_json(entry.body, answer_id=replay.mint("cmpl-"), created=replay.created)

    def render_stream(self, entry: Entry, replay: Replay) -> list[bytes]:
        """The same in chunks."""
        return text_answers.render_stream(
            entry.body,
            answer_id=replay.mint("cmpl-"),
            created=replay.created,
            include_usage=replay.request.include_usage,
        )


def _question(body: Mapping[str, Any]) -> str | None:
    """The text matched by meaning, None where the prompt is not one question and nothing else."""
    prompt = body["prompt"]
    is_tied = any(value is not None and value is not False for value in map(body.get, _TIED_TO_WORDING))
    if not isinstance(prompt, str) or is_tied:
        return None
    text = unicodedata.normalize("NFC", prompt).strip()
    return text if text.endswith("?") and len(text.splitlines()) == 1 else None


def _around(prompt: str) -> dict[str, Any]:
    """A question as a turn, with the white space around it as fields of their own, which are compared exactly."""
    text = prompt.strip()
    before, _, after = prompt.partition(text)
    return {"role": "user", "content": text, "before": before, "after": after}


COMPLETIONS = Completions()
