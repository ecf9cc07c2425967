"""POST /v1/messages as a dialect: Anthropic's API.

`system` stands before the conversation; a text is short for one text block, there and in messages, so the two are one. `cache_control`
says how the provider is to cache a prefix, not what to answer: it travels, and is in no key. An assistant turn is compared as its texts
(joined, NFC, outer white space trimmed) and its tool calls, ids renamed by order; thinking and citations are dropped, since clients may
send them back or not. One that is itself the last message, to be continued by the model, is compared as sent.

Tools that the provider runs (web search, code execution, MCP servers) make an answer depend on more than the request: not cacheable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from proxy.core import canonical, sse
from proxy.core.answers import Answer
from proxy.core.canonical import bad
from proxy.core.dialects import message_answers
from proxy.core.dialects.base import Fault, Replay
from proxy.core.models import ChatRequest, Entry
from proxy.core.sessions import is_user

_IGNORED = canonical.OWN_FIELDS | {"model", "messages", "system", "tools", "stream", "service_tier", "cache_control"}
"""Fields that are not keyed as they are; those of them that matter are keyed in another form."""
_CLIENT_TOOL = re.compile(r"custom\Z|(?:bash|text_editor|computer|memory)_\d{8}\Z")
"""Types of tools that the caller runs; those that nobody here has heard of may be the provider's."""
_THINKING = ("thinking", "redacted_thinking")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""HTTP status -> error type, from Anthropic's API reference; what is not there is `invalid_request_error` below 500, else `api_error`."""


class Messages:
    """Anthropic's messages. Implements `Dialect`."""

    __slots__ = ()
    family = "messages"
    path = "/messages"
    tells_memories = True

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> ChatRequest:
        """Every field not in `_IGNORED` is keyed as it is, tools without their `cache_control`."""
        messages = canonical.messages_of(body)
        plain = [{**message, "content": _blocks(message, index)} for index, message in enumerate(messages)]
        conversation = canonical_messages(plain)
        last = plain[-1]
        keyed = {name: value for name, value in body.items() if name not in _IGNORED}
        if not key_user:
            keyed.pop("metadata", None)
        tools = _tools(body)
        if tools:
            keyed["tools"] = [_without_cache_control(tool) for tool in tools]
        return ChatRequest(
            model=canonical.model_of(body),
            keyed={"model": body["model"], **keyed},
            instructions=tuple(_system(body)),
            prefix=tuple(conversation[:-1]),
            last=last if last["role"] == "assistant" else conversation[-1],
            question=canonical.question_of(last),
            is_stream=canonical.flag(body, "stream"),
            include_usage=True,
            choices=1,
            has_tools=bool(tools),
            is_cacheable=_is_cacheable(body, tools),
        )

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of system and contents, about."""
        return len(str(body.get("system") or "")) + sum(
            len(str(each.get("content") or "")) for each in body["messages"]
        )

    def user_of(self, body: Mapping[str, Any]) -> str | None:
        """`metadata.user_id`."""
        metadata = body.get("metadata")
        user = metadata.get("user_id") if isinstance(metadata, Mapping) else None
        return str(user) if is_user(user) else None

    def whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Without `stream`."""
        return {name: value for name, value in body.items() if name != "stream"}

    def conversation(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """System, turns and tool results as chat's messages."""
        system = "\n\n".join(str(block.get("text", "")) for block in _system(body))
        lead = [{"role": "system", "content": system}] if system else []
        told = [one for index, message in enumerate(body["messages"]) for one in _in_chat(message, index)]
        return [*lead, *told]

    def with_memories(self, body: Mapping[str, Any], block: str) -> dict[str, Any]:
        """The block at the end of the last user message that holds words, not the results of tools alone."""
        changed = list(body["messages"])
        for at in range(len(changed) - 1, -1, -1):
            content = _blocks(changed[at], at)
            if changed[at]["role"] == "user" and any(part.get("type") == "text" for part in content):
                sent = changed[at]["content"]
                parts = [{"type": "text", "text": sent}] if isinstance(sent, str) else sent
                changed[at] = {**changed[at], "content": [*parts, {"type": "text", "text": block}]}
                break
        return {**body, "messages": changed}

    def turns(self, request: ChatRequest, answer: Answer) -> list[dict[str, Any]]:
        """With the answer's blocks; of an answer kept as a stream its text alone."""
        blocks = answer.body.get("content") or [{"type": "text", "text": answer.message.get("content") or ""}]
        return canonical_messages([*request.prefix, request.last, {"role": "assistant", "content": blocks}])

    def read_json(self, raw: bytes) -> Answer:
        """One `message`."""
        return message_answers.read_json(raw)

    def read_stream(self, raw: bytes, *, prompt_chars: int) -> Answer:
        """Events up to `message_stop`."""
        return message_answers.read_stream(raw, prompt_chars=prompt_chars)

    def ending(self) -> sse.Ending:
        """At `message_stop`."""
        return sse.named_ending(b"message_stop")

    def message_of(self, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        """Texts and tool calls."""
        return message_answers.stored_message(stored)

    def render_json(self, entry: Entry, replay: Replay) -> bytes:
        """New id, fresh tool-use ids."""
        return message_answers.render_json(entry.body, mint=replay.mint, has_tool_calls=entry.has_tool_calls)

    def render_stream(self, entry: Entry, replay: Replay) -> list[bytes]:
        """The same in events."""
        return message_answers.render_stream(entry.body, mint=replay.mint)

    def error_body(self, fault: Fault) -> bytes:
        """`{"type": "error", "error": {type, message}}`, with our stable word as `code`."""
        return orjson.dumps(_error(fault))

    def error_event(self, fault: Fault) -> bytes:
        """The same as the event `error`, which Anthropic's SDKs raise."""
        return sse.named_event("error", orjson.dumps(_error(fault)))


def _error(fault: Fault) -> dict[str, Any]:
    kind = _KINDS.get(fault.status, "invalid_request_error" if fault.status < 500 else "api_error")
    told = {"type": kind, "message": fault.message, "code": fault.code}
    return {"type": "error", "error": told if fault.param is None else {**told, "param": fault.param}}


# --- canonical form ----------------------------------------------------------------------------------------------------------


def canonical_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bring messages, their contents lists of blocks, into the form in which they are compared; doing it twice changes nothing."""
    renamed: dict[str, str] = {}
    return [{**message, "content": _compared(message, renamed)} for message in messages]


def _compared(message: Mapping[str, Any], renamed: dict[str, str]) -> list[dict[str, Any]]:
    if message["role"] != "assistant":
        return [_renamed(block, "tool_use_id", renamed) for block in message["content"]]
    kept: list[dict[str, Any]] = []
    for block in message["content"]:
        kind = block.get("type")
        if kind in _THINKING:
            continue
        if kind == "text":
            if kept and kept[-1].get("type") == "text":
                kept[-1]["text"] += block["text"]
            else:
                kept.append({"type": "text", "text": block["text"]})
        else:
            filled = {name: value for name, value in block.items() if value is not None}
            kept.append(_renamed(filled, "id", renamed) if kind == "tool_use" else filled)
    for block in kept:
        if block.get("type") == "text":
            block["text"] = unicodedata.normalize("NFC", block["text"]).strip()
    return [block for block in kept if block.get("text") != ""]


def _renamed(block: Mapping[str, Any], name: str, renamed: dict[str, str]) -> dict[str, Any]:
    call_id = block.get(name)
    if not isinstance(call_id, str):
        return dict(block)
    return {**block, name: renamed.setdefault(call_id, f"call_{len(renamed)}")}


def _blocks(message: Mapping[str, Any], index: int) -> list[dict[str, Any]]:
    """A message's content as blocks, without `cache_control`; those of text hold one."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, Mapping) for block in content):
        raise bad(f"messages[{index}].content", "make it a text or a list of blocks")
    for at, block in enumerate(content):
        if block.get("type") == "text" and not isinstance(block.get("text"), str):
            raise bad(f"messages[{index}].content[{at}].text", "make it a string, as a block of text has one")
    return [_without_cache_control(block) for block in content]


def _without_cache_control(block: Any) -> Any:
    """A block, or a tool, without `cache_control`; the blocks within a tool's result, too, but not what a tool is given."""
    if not isinstance(block, Mapping):
        return block
    kept = {name: value for name, value in block.items() if name != "cache_control"}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_without_cache_control(inner) for inner in kept["content"]]
    return kept


def _system(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    system = body.get("system")
    if not system:
        return []
    if isinstance(system, str):
        return [{"type": "text", "text": system}]
    if not isinstance(system, list) or not all(isinstance(block, Mapping) for block in system):
        raise bad("system", "make it a text or a list of text blocks")
    return [_without_cache_control(block) for block in system]


def _tools(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise bad("tools", "make it a list of tools")
    return tools


def _is_cacheable(body: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> bool:
    if body.get("mcp_servers") or body.get("container"):
        return False
    return all(tool.get("type") is None or _CLIENT_TOOL.match(str(tool["type"])) for tool in tools)


# --- in chat's shape -----------------------------------------------------------------------------------------------------------


def _in_chat(message: Mapping[str, Any], index: int) -> Iterator[dict[str, Any]]:
    blocks = _blocks(message, index)
    if message["role"] == "assistant":
        yield message_answers.in_chat(blocks)
        return
    rest: list[dict[str, Any]] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": block.get("content")}
        else:
            rest.append(block)
    if rest or not blocks:
        text = canonical.plain_text(rest)
        yield {"role": message["role"], "content": rest if text is None else text}


MESSAGES = Messages()
