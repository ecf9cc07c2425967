"""The write side: may this answer be stored, and if not, why.

An error, a partial, truncated or filtered answer is never stored, nor a refusal (which another attempt may not repeat) or an empty
answer. RFC 9111 section 3 read for model providers; their own Cache-Control is not asked, since they send `no-cache` on everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.core.answers import Answer
from proxy.core.models import NotStored

_STORABLE_FINISH = frozenset({"stop", "tool_calls"})
_OPENING_CHARS = 240
"""How much of an answer says whether it refuses; bounds what the pattern can cost."""
_CANNOT = (
    r"i(?:'m| am)? (?:just |simply |really |currently )?"
    r"(?:(?:can't|cannot|can not|won't|will not|unable to|not able to)(?: be able to)?)\b"
)
_APOLOGY = (
    r"(?:(?:i'm|i am) (?:\w+ )?sorry|sorry|i apologi[sz]e|(?:my )?apologies|unfortunately|regrettably|(?:i'm|i am) afraid)"
    r"[,.!:;]? ?(?:but |however,? |that )?"
)
_EMPHASIS = r" (?:imagine|begin|believe|wait|thank|stress|emphasi[sz]e|overstate|say enough|help but|help \w+ing)\b"
_REFUSED = (
    r" (?:assist|help|comply|provide|fulfill?|support|engage|continue|do (?:that|this)|answer|respond|discuss|talk about|"
    r"create|generate|write|produce|share|offer|participate)\b"
)
_REFUSAL = re.compile(
    rf"{_APOLOGY}{_CANNOT}(?!{_EMPHASIS})"
    rf"|(?:as an ai[^.!?]{{0,60}}, )?{_CANNOT}(?!{_EMPHASIS}){_REFUSED}"
    r"|i (?:must|have to|will have to|need to) (?:\w+ly )?decline(?: (?:to|this|that|your)\b|[.,!]|$)"
)
"""An opening that refuses, in lower case. Providers put few refusals in the `refusal` field; the rest reads like this: an apology and
"I can't", or "I can't" and one of the things assistants refuse to do. "I can't recommend it enough" is an answer like any other."""


def why_not_stored(answer: Answer) -> NotStored | None:
    """The first reason a complete, well-formed answer may not be stored; None when it may."""
    if not all(isinstance(reason, str) and reason in _STORABLE_FINISH for reason in answer.finish_reasons):
        return NotStored.FINISH_REASON
    for message in answer.messages:
        if reason := _why_not_message(message, has_tool_calls=answer.has_tool_calls):
            return reason
    return None


def _why_not_message(message: Mapping[str, Any], *, has_tool_calls: bool) -> NotStored | None:
    content = message.get("content")
    if isinstance(content, str):
        content = content.strip()
    if message.get("refusal") or (isinstance(content, str) and _refuses(content)):
        return NotStored.REFUSAL
    calls = message.get("tool_calls")
    if not content and not calls and not has_tool_calls:
        return NotStored.EMPTY
    return NotStored.MALFORMED if any(not _has_json_arguments(call) for call in calls or ()) else None


def _refuses(text: str) -> bool:
    """Whether a trimmed text opens with a refusal."""
    opening = " ".join(text[:_OPENING_CHARS].lower().replace("’", "'").split())
    return _REFUSAL.match(opening) is not None


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
