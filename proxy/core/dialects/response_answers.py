"""Answers of OpenAI's Responses API: a stream read, a response replayed as JSON.

A stored body is the `response` object without what each replay has anew (id, times) and without what it repeats of request fields that are
in no key (`metadata`, `store`, …): a replay repeats those of the request that it answers. A stream ends with the whole response and
is read from there; one with an event or an item that is not known here is kept as its own events (`{"events": [...]}`).

Reasoning belongs to the very turn in which the provider gave it, and is tied by ids to the items after it: an answer with reasoning
replays on an exact match alone, with the provider's item ids as they came. All others have their ids minted anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.answers import Answer, Malformed, count_tokens, guarded, json_object
from proxy.core.dialects.base import Mint
from proxy.core.dialects.response_items import CALLS, turn_in_chat
from proxy.core.models import NotStored, WireMode

ECHOED = ("metadata", "store", "prompt_cache_key", "safety_identifier", "user", "previous_response_id")
"""Request fields that a response repeats, and that requests with one fingerprint may differ in."""
_IDENTITY = frozenset({"id", "created_at", "completed_at", *ECHOED})
FINAL = ("response.completed", "response.incomplete", "response.failed")
_ITEMS = frozenset({"message", "reasoning", *CALLS})
_PARTS = frozenset({"output_text", "refusal"})
_EVENTS = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_text.annotation.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.delta",
        "response.reasoning_text.done",
        *FINAL,
    }
)
_ID_PREFIXES = {"message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_"}


def read_json(raw: bytes) -> Answer:
    """Take a non-streamed answer apart.

    Raises:
        Malformed: not a response.
    """
    return guarded(lambda: _taken_apart(json_object(raw)))


def _taken_apart(body: dict[str, Any]) -> Answer:
    if body.get("object") != "response" or not isinstance(body.get("output"), list):
        raise Malformed(NotStored.MALFORMED)
    wire = WireMode.BOTH if all(map(_is_known, body["output"])) else WireMode.JSON
    usage = body.get("usage")
    return _answer(_stored(body), body, wire, usage if isinstance(usage, Mapping) else None)


def _answer(
    stored: dict[str, Any],
    response: Mapping[str, Any],
    wire: WireMode,
    usage: Mapping[str, Any] | None,
    *,
    is_estimated: bool = False,
) -> Answer:
    output = response["output"]
    said = turn_in_chat(output)
    return Answer(
        body=stored,
        wire=wire,
        messages=(said,),
        finish_reasons=(_finish(response, has_calls="tool_calls" in said),),
        has_tool_calls="tool_calls" in said,
        usage=usage,
        usage_estimated=is_estimated,
        is_exact_only=any(item["type"] == "reasoning" or not _is_known(item) for item in output),
        answer_id=str(response.get("id") or ""),
    )


def _finish(response: Mapping[str, Any], *, has_calls: bool) -> str | None:
    """Why it ended, in chat's words; another status than `completed` is kept as it is, and never stored."""
    status = response.get("status")
    if status != "completed" or response.get("error"):
        details = response.get("incomplete_details") or {}
        return "length" if details.get("reason") == "max_output_tokens" else str(status)
    return "tool_calls" if has_calls else "stop"


def _stored(response: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in _IDENTITY}


def _is_known(item: Mapping[str, Any]) -> bool:
    if item["type"] not in _ITEMS:
        return False
    return item["type"] != "message" or all(part["type"] in _PARTS for part in item["content"])


def read_stream(raw: bytes, *, prompt_chars: int) -> Answer:
    """Read a whole stream of events.

    Args:
        raw: all bytes of the stream.
        prompt_chars: length of the prompt, for a usage estimate where the stream carries none.

    Raises:
        Malformed: it did not reach its end, or holds something that is no event of a response (an error, say).
    """
    datas = sse.events(raw + b"\n\n")
    if datas and datas[-1].strip() == sse.DONE:  # what some compatible servers add
        datas.pop()
    events = [json_object(data) for data in datas]
    if any(event.get("type") == "error" or event.get("error") for event in events):
        raise Malformed(NotStored.MALFORMED)
    if not events or events[-1].get("type") not in FINAL:
        raise Malformed(NotStored.PARTIAL)
    return guarded(lambda: _from_events(events, prompt_chars))


def _from_events(events: list[dict[str, Any]], prompt_chars: int) -> Answer:
    response = dict(events[-1]["response"])
    if not isinstance(response.get("output"), list):
        raise Malformed(NotStored.MALFORMED)
    usage = response.get("usage")
    is_estimated = not isinstance(usage, Mapping)
    if is_estimated:
        usage = response["usage"] = _estimated(prompt_chars, response["output"])
    is_known = all(event.get("type") in _EVENTS for event in events) and all(map(_is_known, response["output"]))
    stored = _stored(response) if is_known else {"events": [_stored_event(event) for event in events]}
    wire = WireMode.BOTH if is_known else WireMode.STREAM
    return _answer(stored, response, wire, usage, is_estimated=is_estimated)


def _stored_event(event: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in event.items() if name != "obfuscation"}
    return {**kept, "response": _stored(kept["response"])} if "response" in kept else kept


def _estimated(prompt_chars: int, output: list[dict[str, Any]]) -> dict[str, Any]:
    said = turn_in_chat(output)
    prompt, completion = max(1, count_tokens(prompt_chars)), count_tokens(len(said["content"] or ""))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }


def stored_message(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """A stored body as chat's message."""
    return turn_in_chat(whole(stored)["output"])


def identity(sent: Mapping[str, Any], *, answer_id: str, created: int) -> dict[str, Any]:
    """What a replay has of its own: id, times, and what a response repeats of its request."""
    unsaid: dict[str, Any] = {**dict.fromkeys(ECHOED), "metadata": {}, "store": True}
    echoed = {name: sent[name] for name in ECHOED if sent.get(name) is not None}
    return {"id": answer_id, "created_at": created, "completed_at": created, **unsaid, **echoed}


def minting(answer_id: str) -> Mint:
    """Makes ids of the parts of one replay, the same each time: they belong to its id, which is random."""
    seed, count = answer_id.rpartition("_")[2].removeprefix("deja"), itertools.count()
    return lambda prefix: f"{prefix}{seed}{next(count):02x}"


def whole(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response of a stored body, whether it is kept as events or not."""
    response: Mapping[str, Any] = stored["events"][-1]["response"] if "events" in stored else stored
    return response


def replayed(stored: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A stored body as a response again.

    Args:
        stored: a body that is not events.
        own: as `identity` gives it; items get ids from its `id`, where they are not kept.
    """
    return {**own, **stored, "output": _with_own_ids(stored["output"], minting(own["id"]))}


def _with_own_ids(output: list[dict[str, Any]], mint: Mint) -> list[dict[str, Any]]:
    """Items with ids of their own; with reasoning among them, or anything unknown, they are kept as they came."""
    if any(item["type"] not in _ID_PREFIXES for item in output):
        return output
    return [_with_own_id(item, mint) for item in output]


def _with_own_id(item: dict[str, Any], mint: Mint) -> dict[str, Any]:
    own = {**item, "id": mint(_ID_PREFIXES[item["type"]])}
    return {**own, "call_id": mint("call_")} if item["type"] in CALLS else own


def render_json(body: bytes, own: Mapping[str, Any]) -> bytes:
    """Replay a stored body as one JSON response; arguments as those of `replayed`."""
    return orjson.dumps(replayed(orjson.loads(body), own))
