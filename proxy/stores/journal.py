"""The journal and the timelines of sessions: streams of events, and how the journal is trimmed.

    journal   XADD the event's fields                no TTL; trimmed by `trim`, never by an append
    events    XADD the same, in its session          capped, the session's TTL

Any client can follow them: `XRANGE deja:v1:journal - +`. Delivery is at least once: after an outage a batch may be written twice, and
`event_id` tells. What a consumer group of the journal has not acknowledged is spared until the journal is at its hard cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.records import Record
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.responses import script


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trimming did.

    Attributes:
        removed: events.
        lost: of these, events that some consumer group may not have acknowledged.
        slowest: the group furthest behind, "" where nothing was lost.
        left: events in the journal now.
    """

    removed: int
    lost: int
    slowest: str
    left: int


class JournalStore:
    """Events in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a session's timeline is kept after its last event.
        max_session_events: kept per session.
        max_events: kept in the journal.
        hard_max_events: kept in the journal while consumer groups have not acknowledged them.
    """

    def __init__(
        self, client: Redis, *, ttl_s: int, max_session_events: int, max_events: int, hard_max_events: int
    ) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._max_session_events = max_session_events
        self._max_events = max_events
        self._hard_max_events = hard_max_events
        self._append = client.register_script(script("append_journal"))
        self._trim = client.register_script(script("trim_journal"))

    async def append(self, records: Sequence[Record]) -> None:
        """Write the events of a batch in one round trip, two with sessions. Not atomic: a failure may leave part of it written."""
        flat = [[part for pair in event.items() for part in pair] for record in records for event in record.events]
        if not flat:
            return
        named = [(record, record.session) for record in records if record.session is not None]
        with translated():
            if named:  # first: whoever asked reads his own session next, not the journal
                async with self._client.pipeline(transaction=False) as pipe:
                    for record, session in named:
                        self._append_to_session(pipe, record, session)
                    await pipe.execute()
            await self._append(keys=[keys.JOURNAL], args=[orjson.dumps(flat)])

    def _append_to_session(self, pipe: Any, record: Record, session: str) -> None:
        tag = keys.session_tag(record.tenant, session)
        _, key, _ = keys.session_keys(tag)
        for event in record.events:
            pipe.xadd(key, event, maxlen=self._max_session_events, approximate=True)
        for touched in (key, *keys.recording_keys(tag)):
            pipe.expire(touched, self._ttl_s)

    async def trim(self) -> Trimmed:
        """Remove the oldest events above the cap. One round trip, atomic; half a microsecond an event."""
        with translated():
            removed, lost, slowest, left = await self._trim(
                keys=[keys.JOURNAL], args=[self._max_events, max(self._hard_max_events, self._max_events)]
            )
        return Trimmed(removed, lost, slowest.decode(), left)

    async def timeline(self, tenant: str, session: str, *, after: str, limit: int) -> list[StreamEntry] | None:
        """The first events of a session after an id; None if this tenant has no such session. One round trip."""
        tag = keys.session_tag(tenant, session)
        _, events, meta = keys.session_keys(tag)
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.exists(meta, events)
                pipe.xrange(events, min=f"({after}", count=limit)
                is_there, found = await pipe.execute()
        if not is_there:
            return None
        return [StreamEntry(entry_id.decode(), _texts(fields)) for entry_id, fields in found]


def _texts(fields: Any) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
