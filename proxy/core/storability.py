"""The write side: may this answer be stored, and if not, why.

An error, a partial, truncated or filtered answer is never stored, nor a refusal (which another attempt may not repeat) or an empty
answer. RFC 9111 section 3 read for model providers; their own Cache-Control is not asked, since they send `no-cache` on everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.core.chat_answers import Answer
from proxy.core.models import NotStored

_STORABLE_FINISH = frozenset({"stop", "tool_calls"})
_REFUSAL = re.compile(
    r"\s*(?:i['’]?m (?:really |very )?sorry|sorry|i apologi[sz]e|unfortunately)?[,.]?\s*(?:but )?"
    r"(?:as an ai[^.]{0,40},\s*)?i(?:['’]m| am)?\s*(?:can['’]?t|cannot|can not|unable to|not able to|won['’]?t|will not)\s+"
    r"(?:assist|help|comply|provide|fulfil|support|engage|continue|do that|answer that|discuss)",
    re.IGNORECASE,
)
"""An opening that refuses. Providers put few refusals in the `refusal` field; the rest reads like this."""


def why_not_stored(answer: Answer) -> NotStored | None:
    """The first reason a complete, well-formed answer may not be stored; None when it may."""
    if any(reason not in _STORABLE_FINISH for reason in answer.finish_reasons):
        return NotStored.FINISH_REASON
    messages = (
        [choice["message"] for choice in answer.body["choices"]] if "choices" in answer.body else [answer.message or {}]
    )
    for message in messages:
        if reason := _why_not_message(message, has_tool_calls=answer.has_tool_calls):
            return reason
    return None


def _why_not_message(message: Mapping[str, Any], *, has_tool_calls: bool) -> NotStored | None:
    content = message.get("content")
    if message.get("refusal") or (isinstance(content, str) and _REFUSAL.match(content)):
        return NotStored.REFUSAL
    calls = message.get("tool_calls")
    if not content and not calls and not has_tool_calls:
        return NotStored.EMPTY
    return NotStored.MALFORMED if any(not _has_json_arguments(call) for call in calls or ()) else None


def _has_json_arguments(call: Any) -> bool:
    """A tool call whose arguments do not parse would fail at every replay (tensorzero checks the same)."""
    if not isinstance(call, Mapping):
        return False
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, Mapping):
        return True
    arguments = function.get("arguments") or "{}"
    try:
        orjson.loads(arguments)
    except (orjson.JSONDecodeError, TypeError):
        return False
    return True
