"""POST /v1/responses as a dialect: OpenAI's Responses API.

`instructions` and leading system messages stand before the conversation; the input's items are it. `previous_response_id` is keyed as it
is: the provider knows what was said before, and nobody else does. One that Deja gave out was resolved before (`core.follow_ups`).

Not cacheable is what depends on more than the request: tools other than the caller's own functions, conversations that the provider
keeps, answers made in the background, stored prompts without a version. With `store` the provider keeps the response under its id, so no
two requests share one call (`is_shareable`); a replay is kept by Deja instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core import canonical, sse
from proxy.core.answers import Answer
from proxy.core.canonical import bad
from proxy.core.dialects import response_answers, response_events, response_items
from proxy.core.dialects.base import Replay
from proxy.core.dialects.openai_shapes import OpenAIShapes
from proxy.core.models import ChatRequest, Entry

_IGNORED = (
    canonical.IGNORED_FIELDS
    | canonical.OWN_FIELDS
    | {"input", "instructions", "background", "prompt_cache_retention", "prompt_cache_options"}
)
_OWN_TOOLS = ("function", "custom")  # a tuple: what a caller calls a type may be of any type
"""Types of tools that the caller runs and that leave nothing with the provider."""
_INSTRUCTION_ROLES = ("system", "developer")
_REPEATED = ("metadata", "prompt_cache_key", "safety_identifier")


class Responses(OpenAIShapes):
    """OpenAI's responses. Implements `Dialect`."""

    __slots__ = ()
    family = "responses"
    path = "/responses"
    tells_memories = True

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> ChatRequest:
        """Every field not in `_IGNORED` is keyed as it is."""
        items = response_items.items_of(body)
        lead = 0
        while lead < len(items) - 1 and items[lead].get("role") in _INSTRUCTION_ROLES:
            lead += 1
        said = {"role": "instructions", "content": body.get("instructions")}
        conversation = response_items.compared(items[lead:])
        is_continued = bool(items) and response_items.is_of_model(items[-1])
        last = (
            {"role": "assistant", "content": items[-1:]} if is_continued else (conversation or [{"role": "none"}])[-1]
        )
        ignored = _IGNORED if key_user else _IGNORED | {"user"}
        return ChatRequest(
            model=_model(body),
            keyed={name: value for name, value in body.items() if name not in ignored},
            instructions=(said, *response_items.compared(items[:lead])),
            prefix=tuple(conversation if is_continued else conversation[:-1]),
            last=last,
            question=response_items.text_of_user(items[-1]) if items else None,
            is_stream=canonical.flag(body, "stream"),
            include_usage=True,
            choices=1,
            has_tools=bool(body.get("tools")),
            is_cacheable=_is_cacheable(body),
            is_shareable=body.get("store") is False and not any(body.get(name) for name in _REPEATED),
        )

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of instructions and input, about."""
        return len(str(body.get("instructions") or "")) + len(str(body.get("input") or ""))

    def conversation(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Instructions and items as chat's messages."""
        instructions = body.get("instructions")
        lead = [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []
        told = list(response_items.in_chat(response_items.items_of(body)))
        return [*lead, *told] or [{"role": "user", "content": ""}]

    def with_memories(self, body: Mapping[str, Any], block: str) -> dict[str, Any]:
        """The block at the end of the last user message."""
        items = list(response_items.items_of(body))
        for at in range(len(items) - 1, -1, -1):
            if response_items.is_message(items[at]) and items[at].get("role") == "user":
                parts = [*response_items.parts_of(items[at]), {"type": "input_text", "text": block}]
                items[at] = {**items[at], "content": parts}
                break
        return {**body, "input": items}

    def turns(self, request: ChatRequest, answer: Answer) -> list[dict[str, Any]]:
        """With the answer's items as one turn; of an answer kept as a stream its text alone."""
        before = [*request.prefix, request.last]
        output = answer.body.get("output") or [{"role": "assistant", "content": answer.message.get("content") or ""}]
        ours = response_items.compared(output, calls_before=response_items.calls_in(before))
        return [*before, ours[-1] if ours else {"role": "assistant", "turn": []}]

    def read_json(self, raw: bytes) -> Answer:
        """One `response`."""
        return response_answers.read_json(raw)

    def read_stream(self, raw: bytes, *, prompt_chars: int) -> Answer:
        """Events up to the one that holds the whole response."""
        return response_answers.read_stream(raw, prompt_chars=prompt_chars)

    def ending(self) -> sse.Ending:
        """At `response.completed`, or at what takes its place."""
        return sse.named_ending(*(name.encode() for name in response_answers.FINAL))

    def message_of(self, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        """Texts and tool calls."""
        return response_answers.stored_message(stored)

    def render_json(self, entry: Entry, replay: Replay) -> bytes:
        """Ids and times of its own, and what it repeats of its own request."""
        return response_answers.render_json(entry.body, _own(replay))

    def render_stream(self, entry: Entry, replay: Replay) -> list[bytes]:
        """The same in events."""
        return response_events.render_stream(entry.body, _own(replay))


def _own(replay: Replay) -> dict[str, Any]:
    answer_id = replay.answer_id or replay.mint("resp_")
    return response_answers.identity(replay.sent, answer_id=answer_id, created=replay.created)


def _model(body: Mapping[str, Any]) -> str:
    """The model asked for, "" where a stored prompt names it."""
    return "" if body.get("model") is None and body.get("prompt") else canonical.model_of(body)


def _is_cacheable(body: Mapping[str, Any]) -> bool:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise bad("tools", "make it a list of tools")
    if body.get("background") or body.get("conversation") is not None:
        return False
    prompt = body.get("prompt")
    if prompt is not None and not (isinstance(prompt, Mapping) and prompt.get("version")):
        return False
    return all(tool.get("type") in _OWN_TOOLS for tool in tools)


RESPONSES = Responses()
