"""Items of OpenAI's Responses API: in the form in which conversations are compared, and in chat's shape.

An input text is short for one user message. Messages are compared by role and parts, without the ids and states that the provider gives
them. What a model does in one turn comes as several items (reasoning, a message, tool calls); they are compared as *one* assistant
turn, as chat has it: its texts (joined, NFC, outer white space trimmed) and its tool calls with ids renamed by order, reasoning
and annotations dropped. Items that nobody here has heard of are compared as sent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.core.canonical import bad

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Type of a tool call -> the field with what the tool is given."""
_RESULTS = ("function_call_output", "custom_tool_call_output")
_GIVEN_BY_PROVIDER = frozenset({"id", "status"})
_DROPPED_PART_FIELDS = frozenset({"annotations", "logprobs"})


def items_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The input of a request as items; none where it names no input (a stored prompt says what is asked).

    Raises:
        RequestError: it is neither a text nor a list of objects.
    """
    given = body.get("input")
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise bad("input", "send a text or a list of items")
    for index, item in enumerate(given):
        if is_message(item) and not isinstance(item.get("role"), str):
            raise bad(f"input[{index}].role", 'make it a string such as "user"')
    return given


def is_message(item: Mapping[str, Any]) -> bool:
    """Whether an item is a message; its type may be left out."""
    return item.get("type") in (None, "message")


def _is_call(item: Mapping[str, Any]) -> bool:
    return isinstance(kind := item.get("type"), str) and kind in CALLS


def is_of_model(item: Mapping[str, Any]) -> bool:
    """Whether an item is part of what a model did in its turn, as far as it is compared as such."""
    return _is_call(item) or item.get("type") == "reasoning" or _is_said(item)


def _is_said(item: Mapping[str, Any]) -> bool:
    """Whether it is a message of the model that holds nothing but text."""
    return is_message(item) and item.get("role") == "assistant" and _text(item.get("content")) is not None


def parts_of(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message's content as parts."""
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "output_text" if item.get("role") == "assistant" else "input_text", "text": content}]
    return list(content) if isinstance(content, list) else []


def text_of_user(item: Mapping[str, Any]) -> str | None:
    """The text matched by meaning, or None where the item is no user's plain text."""
    if not is_message(item) or item.get("role") != "user":
        return None
    texts = []
    for part in parts_of(item):
        if not isinstance(part, Mapping) or part.keys() != {"type", "text"} or part["type"] != "input_text":
            return None
        texts.append(str(part["text"]))
    return unicodedata.normalize("NFC", "\n".join(texts)).strip() or None


def compared(items: Sequence[Mapping[str, Any]], *, calls_before: int = 0) -> list[dict[str, Any]]:
    """Bring items into the form in which they are compared.

    Args:
        items: of a request, or of an answer.
        calls_before: how many ids of tool calls the conversation before them holds.
    """
    renamed: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    turn: list[dict[str, Any]] | None = None
    for item in items:
        if is_of_model(item):
            if turn is None:
                turn = []
                found.append({"role": "assistant", "turn": turn})
            _add_to_turn(turn, item, renamed, calls_before)
            continue
        turn = None
        found.append(_other(item, renamed, calls_before))
    for each in found:
        if isinstance(each.get("turn"), list) and each.keys() == {"role", "turn"}:
            each["turn"] = [part for part in map(_trimmed, each["turn"]) if part.get("text") != ""]
    return found


def calls_in(conversation: Sequence[Mapping[str, Any]]) -> int:
    """How many ids of tool calls a compared conversation holds."""
    ids = set()
    for each in conversation:
        ids |= {call_id for part in each.get("turn") or () if isinstance(call_id := part.get("call_id"), str)}
        if each.get("type") in _RESULTS and isinstance(call_id := each.get("call_id"), str):
            ids.add(call_id)
    return len(ids)


def _add_to_turn(
    turn: list[dict[str, Any]], item: Mapping[str, Any], renamed: dict[str, str], calls_before: int
) -> None:
    kind = item.get("type")
    if kind == "reasoning":
        return
    if kind in CALLS:
        kept = {name: value for name, value in item.items() if name not in _GIVEN_BY_PROVIDER and value is not None}
        turn.append(_renamed(kept, renamed, calls_before))
        return
    text = _text(item.get("content")) or ""
    if turn and turn[-1].get("type") == "text":
        turn[-1] = {"type": "text", "text": turn[-1]["text"] + text}
    else:
        turn.append({"type": "text", "text": text})


def _trimmed(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") != "text":
        return part
    return {"type": "text", "text": unicodedata.normalize("NFC", part["text"]).strip()}


def _other(item: Mapping[str, Any], renamed: dict[str, str], calls_before: int) -> dict[str, Any]:
    if is_message(item):
        rest = {name: value for name, value in item.items() if name not in _GIVEN_BY_PROVIDER | {"type", "content"}}
        return {**rest, "content": [_plain_part(part) for part in parts_of(item)]}
    if item.get("type") in _RESULTS:
        kept = {name: value for name, value in item.items() if name not in _GIVEN_BY_PROVIDER}
        return _renamed(kept, renamed, calls_before)
    return dict(item)


def _plain_part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    return {name: value for name, value in part.items() if name not in _DROPPED_PART_FIELDS}


def _renamed(item: Mapping[str, Any], renamed: dict[str, str], calls_before: int) -> dict[str, Any]:
    call_id = item.get("call_id")
    if not isinstance(call_id, str):
        return dict(item)
    return {**item, "call_id": renamed.setdefault(call_id, f"call_{calls_before + len(renamed)}")}


def _text(content: Any) -> str | None:
    """The text of a model's message, None where it holds anything else (a refusal)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "output_text" or not isinstance(part.get("text"), str):
            return None
        texts.append(part["text"])
    return "".join(texts)


# --- in chat's shape -----------------------------------------------------------------------------------------------------------


def in_chat(items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Items as chat's messages; what a model does in one turn is one message, reasoning is left out."""
    turn: list[Mapping[str, Any]] = []
    for item in items:
        if is_of_model(item):
            turn.append(item)
            continue
        if turn:
            yield turn_in_chat(turn)
            turn = []
        if item.get("type") in _RESULTS:
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        elif is_message(item):
            text = text_of_user({**item, "role": "user"})
            yield {"role": item["role"], "content": parts_of(item) if text is None else text}
    if turn:
        yield turn_in_chat(turn)


def turn_in_chat(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a model did in one turn as chat's message: texts joined, refusals joined, tool calls."""
    parts = [part for item in items if is_message(item) for part in parts_of(item) if isinstance(part, Mapping)]
    text = "".join(str(part["text"]) for part in parts if part.get("type") == "output_text")
    refusal = "".join(str(part["refusal"]) for part in parts if part.get("type") == "refusal")
    calls = [_call_in_chat(item) for item in items if _is_call(item)]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if refusal:
        message["refusal"] = refusal
    return {**message, "tool_calls": calls} if calls else message


def _call_in_chat(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = "function" if item["type"] == "function_call" else "custom"
    given = CALLS[item["type"]]
    return {"id": item.get("call_id"), "type": kind, kind: {"name": item.get("name"), given: item.get(given)}}
