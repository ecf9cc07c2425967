"""What a request left outside of its session, so that it can be found and erased: its own id, and the cache entry that holds its answer."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Trace:
    """One request's leavings.

    Attributes:
        request_id: names its decision, its events and its step of a recording.
        session: in which it was made, "" for none.
        entry_id: of the cache entry it stored, "" for none.
        entry_key: Redis key of that entry.
        exact_key: Redis key of the pointer to it.
        condemned_key: Redis key of what may not be led through in its room.
    """

    request_id: str
    session: str = ""
    entry_id: str = ""
    entry_key: str = ""
    exact_key: str = ""
    condemned_key: str = ""


def to_wire(trace: Trace) -> bytes:
    """A trace as a member of a sorted set; always the same bytes for the same trace."""
    values = astuple(trace)
    return orjson.dumps(values if trace.entry_id else values[:2])


def from_wire(member: bytes) -> Trace:
    """Read what `to_wire` gave."""
    return Trace(*orjson.loads(member))
