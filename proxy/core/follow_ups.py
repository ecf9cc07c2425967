"""Conversations that go on from a replayed response: what is kept of it, and how a follow-up becomes whole again.

With OpenAI's Responses API a caller may name the response it goes on from (`previous_response_id`), and the provider knows what was
said. It knows nothing of a replay, whose id is Deja's own; and the response that was replayed is another caller's, who may delete it.
So Deja keeps what the replay's caller said and was told, under the replay's id, and a follow-up goes to the provider with all of it in its
input, as from a caller who keeps conversations himself. Only ids that the provider gave to this very caller ever go there. Providers
reached through LiteLLM give none: their responses get such an id as they come, and are kept in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.dialects.response_items import CALLS, is_message, items_of, turn_in_chat
from proxy.core.keys import PREFIX, digest

ID_PREFIX = "resp_deja"
"""Ids that begin so are ours; OpenAI's go on in hex."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a replay.

    Attributes:
        previous: the provider's response that its request went on from, None for none.
        items: its request's input and its own output, as input of what follows.
        response: as it was served.
    """

    previous: str | None
    items: Sequence[Mapping[str, Any]]
    response: Mapping[str, Any]


def is_ours(response_id: object) -> bool:
    """Whether Deja gave out this id."""
    return isinstance(response_id, str) and response_id.startswith(ID_PREFIX)


def room_of(tenant: str, response_id: str) -> str:
    """Where a replay is kept: it has a slot of its own."""
    return digest("replayed", tenant, response_id)


def replayed_key(room: str) -> str:
    """Redis key of what is kept of a replay."""
    return f"{PREFIX}replayed:{{{room}}}"


def kept_of(asked: Mapping[str, Any], response: Mapping[str, Any]) -> Kept:
    """What to keep.

    Args:
        asked: the request as it would have gone to the provider, whole.
        response: its replay.
    """
    items = [*items_of(asked), *_as_input(response["output"])]
    return Kept(asked.get("previous_response_id"), items, response)


def continued(body: Mapping[str, Any], kept: Kept) -> dict[str, Any]:
    """A follow-up as it goes to the provider: what was said before in its input, and the provider's own id before that."""
    whole = {**body, "input": [*kept.items, *items_of(body)]}
    if kept.previous is None:
        del whole["previous_response_id"]
    else:
        whole["previous_response_id"] = kept.previous
    return whole


def _as_input(output: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A replay's items as a caller would send them who keeps no ids: reasoning only where all of it is in the item."""
    items: list[dict[str, Any]] = []
    for item in output:
        if item["type"] in CALLS:
            items.append({name: value for name, value in item.items() if name not in ("id", "status")})
        elif is_message(item):
            said = turn_in_chat([item])
            items.append({"role": "assistant", "content": said["content"] or said.get("refusal") or ""})
        elif item["type"] == "reasoning" and item.get("encrypted_content"):
            items.append(dict(item))
    return items


def to_wire(kept: Kept) -> bytes:
    """As JSON."""
    return orjson.dumps({"previous": kept.previous, "items": kept.items, "response": kept.response})


def from_wire(value: bytes) -> Kept:
    """Read what `to_wire` gave."""
    return Kept(**orjson.loads(value))
