"""POST /v1/chat/completions as a dialect: `core.canonical` and `core.chat_answers`, joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core import canonical, chat_answers, sse
from proxy.core.answers import Answer
from proxy.core.dialects.base import Replay
from proxy.core.dialects.openai_shapes import OpenAIShapes
from proxy.core.memory.injection import with_memories
from proxy.core.models import ChatRequest, Entry


class Chat(OpenAIShapes):
    """OpenAI's chat completions. Implements `Dialect`."""

    __slots__ = ()
    family = "chat"
    path = "/chat/completions"
    tells_memories = True

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> ChatRequest:
        """See `core.canonical`."""
        return canonical.canonical_chat(body, key_user=key_user)

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of all contents."""
        return sum(len(str(message.get("content") or "")) for message in body["messages"])

    def conversation(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The messages as sent."""
        messages: Sequence[Mapping[str, Any]] = body["messages"]
        return messages

    def with_memories(self, body: Mapping[str, Any], block: str) -> dict[str, Any]:
        """The block at the end of the last user message."""
        return {**body, "messages": with_memories(body["messages"], block)}

    def turns(self, request: ChatRequest, answer: Answer) -> list[dict[str, Any]]:
        """With the first choice's message."""
        said = {"role": "assistant", **answer.message}
        return canonical.canonical_messages([*request.prefix, request.last, said])

    def read_json(self, raw: bytes) -> Answer:
        """One `chat.completion`."""
        return chat_answers.read_json(raw)

    def read_stream(self, raw: bytes, *, prompt_chars: int) -> Answer:
        """Chunks and `[DONE]`."""
        return chat_answers.read_stream(raw, prompt_chars=prompt_chars)

    def ending(self) -> sse.Ending:
        """At `[DONE]`."""
        return sse.done_ending()

    def message_of(self, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first choice's."""
        return chat_answers.stored_message(stored)

    def render_json(self, entry: Entry, replay: Replay) -> bytes:
        """New id, fresh tool-call ids."""
        return chat_answers.render_json(
            entry.body,
            answer_id=replay.mint("chatcmpl-"),
            created=replay.created,
            mint=(lambda: replay.mint("call_")) if entry.has_tool_calls else None,
        )

    def render_stream(self, entry: Entry, replay: Replay) -> list[bytes]:
        """The same in chunks."""
        return chat_answers.render_stream(
            entry.body,
            answer_id=replay.mint("chatcmpl-"),
            created=replay.created,
            include_usage=replay.request.include_usage,
            mint=(lambda: replay.mint("call_")) if entry.has_tool_calls else None,
        )


CHAT = Chat()
