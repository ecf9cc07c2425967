"""What a route said, as a model is told it: bounded, and an error as a sentence that says how to mend it."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.mcp.calls import Answer

MAX_CHARS = 60_000
"""Of one answer's JSON, about 15,000 tokens; clients cut at 25,000."""
MAX_TEXT_CHARS = 4_000
"""Of one text in an answer that is too long."""
PLACES = ("next_cursor", "next_after", "next_before", "next_offset", "has_more")
"""Where a list goes on: in a list that was cut they would skip what was left out."""


def failure(answer: Answer) -> str | None:
    """What went wrong, None if nothing did."""
    if answer.status < 400:
        return None
    told = answer.value if isinstance(answer.value, dict) else {}
    if isinstance(error := told.get("error"), dict):
        return f"{error.get('message')} ({error.get('code')})"
    match told.get("detail"):
        case str() as detail:
            return detail
        case [dict() as first, *_]:
            return f"`{'.'.join(str(part) for part in first.get('loc', ()))}` cannot be used: {first.get('msg')}."
        case _:
            return f"Deja answered with status {answer.status}."


def shown(value: Any, *, is_whole: bool) -> dict[str, Any]:
    """The answer as an object, no longer than it may be; what was left out is said."""
    told = value if isinstance(value, dict) else {"result": value}
    if is_whole or _chars(told) <= MAX_CHARS:
        return told
    told = dict(told)
    longest = max((key for key in told if isinstance(told[key], list)), key=lambda key: _chars(told[key]), default=None)
    if longest is not None:
        all_of_it = told[longest]
        while len(told[longest]) > 1 and _chars(told) > MAX_CHARS:
            told[longest] = told[longest][: len(told[longest]) // 2]
        if len(told[longest]) < len(all_of_it):
            told = {key: each for key, each in told.items() if key not in PLACES}
            told["cut"] = (
                f"{len(told[longest])} of {len(all_of_it)} in `{longest}` are shown: ask again with a smaller limit."
            )
    if _chars(told) > MAX_CHARS:
        told = _shortened(told) | {"cut": f"Texts of more than {MAX_TEXT_CHARS} characters are shortened here."}
    if _chars(told) > MAX_CHARS:
        return {"cut": f"The answer has more than {MAX_CHARS} characters: ask for less, or read it over HTTP."}
    return told


def _shortened(value: Any) -> Any:
    match value:
        case dict():
            return {key: _shortened(each) for key, each in value.items()}
        case list():
            return [_shortened(each) for each in value]
        case str() if len(value) > MAX_TEXT_CHARS:
            return f"{value[:MAX_TEXT_CHARS]}… [{len(value) - MAX_TEXT_CHARS} more characters]"
        case _:
            return value


def _chars(value: Any) -> int:
    return len(orjson.dumps(value))
