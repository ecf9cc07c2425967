"""A chat request in canonical form: which fields are keyed, which ignored, which text is matched by meaning.

Every request field is *keyed* (its value makes answers different) or *ignored* (it does not); a field nobody has heard of is
keyed. Only the last user turn is matched by meaning, everything before it exactly.

Messages before the last are compared in canonical form, because clients send a model's answer back in many spellings:
an assistant turn is its role, its text (parts joined, NFC, outer white space trimmed) and its tool calls; null and empty fields,
reasoning, annotations and `refusal: null` are dropped; tool-call ids are renamed by order of appearance. An assistant turn that is
itself the last message, to be continued by the model, is compared as sent: white space at its end changes what comes next.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core.models import ChatRequest
from proxy.errors import RequestError

IGNORED_FIELDS = frozenset(
    {
        "stream",  # one entry serves both modes
        "stream_options",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
    }
)
"""Fields that change how an answer is delivered, billed or filed, not what it says (design.md section 2)."""

OWN_FIELDS = frozenset({"deja", "cache"})
"""Fields that speak to Deja and never travel upstream (`cache` is LiteLLM's dialect of the same)."""

_INSTRUCTION_ROLES = frozenset({"system", "developer"})
_DROPPED_ASSISTANT_FIELDS = frozenset(
    {"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "annotations"}
)
_SEARCHES = ("web_search_options", "search_parameters", "plugins")
"""Fields with which OpenAI, xAI and OpenRouter look things up while they answer."""
_OWN_TOOLS = (None, "function", "custom")
"""Types of tools that the caller runs; others are the provider's. A tuple: what a caller calls a type may be of any type."""


def canonical_chat(body: Mapping[str, Any], *, key_user: bool = True) -> ChatRequest:
    """Bring a parsed request body into canonical form.

    Args:
        body: the JSON object; not changed.
        key_user: whether the `user` field keeps answers apart.

    Raises:
        RequestError: a field that must be understood to serve the request safely has the wrong shape.
    """
    model = model_of(body)
    messages = messages_of(body)
    lead = 0
    while lead < len(messages) - 1 and messages[lead]["role"] in _INSTRUCTION_ROLES:
        lead += 1
    conversation = canonical_messages(messages[lead:])
    ignored = IGNORED_FIELDS | OWN_FIELDS | {"messages"} | (frozenset() if key_user else {"user"})
    return ChatRequest(
        model=model,
        keyed={name: value for name, value in body.items() if name not in ignored},
        instructions=tuple(messages[:lead]),
        prefix=tuple(conversation[:-1]),
        last=dict(messages[-1]) if messages[-1]["role"] == "assistant" else conversation[-1],
        question=question_of(messages[-1]),
        is_stream=flag(body, "stream"),
        include_usage=include_usage(body),
        choices=choices(body),
        has_tools=bool(body.get("tools") or body.get("functions")),
        is_cacheable=_is_cacheable(body),
    )


def _is_cacheable(body: Mapping[str, Any]) -> bool:
    """Whether the answer depends on the request alone, not on what the provider looks up meanwhile."""
    if any(body.get(name) for name in _SEARCHES) or body.get("web_search_options") is not None:
        return False
    tools = body.get("tools")
    return not isinstance(tools, list) or all(
        not isinstance(tool, Mapping) or tool.get("type") in _OWN_TOOLS for tool in tools
    )


def canonical_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bring a conversation into the form in which it is compared; doing it twice changes nothing."""
    renamed: dict[str, str] = {}
    canonical: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "assistant":
            canonical.append(canonical_assistant(message, renamed))
        elif isinstance(call_id := message.get("tool_call_id"), str):
            canonical.append({**message, "tool_call_id": _renamed(call_id, renamed)})
        else:
            canonical.append(dict(message))
    return canonical


def canonical_assistant(message: Mapping[str, Any], renamed: dict[str, str] | None = None) -> dict[str, Any]:
    """Bring one assistant turn into canonical form.

    Args:
        message: the turn as a client or a provider wrote it.
        renamed: tool-call ids met so far and their canonical names; grows.
    """
    renamed = {} if renamed is None else renamed
    kept: dict[str, Any] = {}
    for name, value in message.items():
        if value is None or value == [] or value == "":
            continue
        if name in _DROPPED_ASSISTANT_FIELDS:
            continue
        if name == "content":
            text = plain_text(value)
            value = value if text is None else text
            if value == "":
                continue
        elif name == "tool_calls" and isinstance(value, list):
            value = [_renamed_call(call, renamed) for call in value]
        kept[name] = value
    return kept


def _renamed_call(call: Any, renamed: dict[str, str]) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("id"), str):
        return call
    return {key: value for key, value in {**call, "id": _renamed(call["id"], renamed)}.items() if key != "index"}


def _renamed(call_id: str, renamed: dict[str, str]) -> str:
    # Whoever names an id first names it for all, results without a call included: an id kept as sent could equal a new one.
    return renamed.setdefault(call_id, f"call_{len(renamed)}")


def plain_text(content: Any) -> str | None:
    """The text of a message's content, NFC and trimmed; None when it holds anything but text."""
    if isinstance(content, str):
        return unicodedata.normalize("NFC", content).strip()
    if not isinstance(content, list) or not content:
        return None
    texts: list[str] = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            return None
        if part.keys() - {"type", "text"}:
            return None
        texts.append(part["text"])
    return unicodedata.normalize("NFC", "\n".join(texts)).strip()


def question_of(message: Mapping[str, Any]) -> str | None:
    """The text matched by meaning, or None when the last message is not a user's plain text."""
    return (plain_text(message.get("content")) or None) if message["role"] == "user" else None


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a request; RequestError where they are none with a role each."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("messages", "send a non-empty list of messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise bad(f"messages[{index}]", "make it an object with `role` and `content`")
        if not isinstance(message.get("role"), str):
            raise bad(f"messages[{index}].role", 'make it a string such as "user"')
    return messages


def model_of(body: Mapping[str, Any]) -> str:
    """The model asked for; RequestError where it is none."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise bad("model", 'name the model as a string, such as "gpt-4o-mini"')
    return model


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false, false where it is absent; RequestError where it is anything else."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise bad(name, "make it true or false")


def include_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream is to end with a usage chunk; RequestError where the options are no object."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise bad("stream_options", 'make it an object such as {"include_usage": true}')
    return options.get("include_usage") is True


def choices(body: Mapping[str, Any]) -> int:
    """`n`, 1 where it is absent; RequestError where it is no number of choices."""
    value = body.get("n")
    if value is None:
        return 1
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise bad("n", "make it a whole number of at least 1")


def bad(param: str, mend: str) -> RequestError:
    """What to raise for a field that cannot be understood."""
    return RequestError(f"`{param}` cannot be used: {mend}.", param=param, code="invalid_value")
