"""Sessions: what was said in them. What happened in them is written by `stores.journal`, and read here, too.

    turns    XADD {role, message (JSON), request_id, agent, at}        capped, TTL refreshed by each turn
    meta     HSET created_at, last_active_at, tenant, session           the same TTL

Delivery is at least once: after an outage a batch may be written twice, and `request_id` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.records import Record, Session
from proxy.stores.client import translated


class SessionStore:
    """Sessions in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a session is kept after its last turn.
        max_turns: turns kept per session.
    """

    def __init__(self, client: Redis, *, ttl_s: int, max_turns: int) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._max_turns = max_turns

    async def append(self, records: Sequence[Record]) -> None:
        """Write a batch in one round trip. Not atomic: a failure may leave part of it written."""
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for record in records:
                    if record.session is not None:
                        self._append_to_session(pipe, record, record.session)
                await pipe.execute()

    def _append_to_session(self, pipe: Any, record: Record, session: str) -> None:
        turns, _, meta = keys.session_keys(keys.session_tag(record.tenant, session))
        for role, message in record.turns:
            turn: Any = {
                "role": role,
                "message": message,
                "request_id": record.request_id,
                "agent": record.agent or "",
                "at": f"{record.at:.3f}",
            }
            pipe.xadd(turns, turn, maxlen=self._max_turns, approximate=True)
        pipe.hsetnx(meta, "created_at", f"{record.at:.3f}")
        pipe.hset(meta, mapping={"last_active_at": f"{record.at:.3f}", "tenant": record.tenant, "session": session})
        for key in (turns, meta):
            pipe.expire(key, self._ttl_s)

    async def read(self, tenant: str, session: str, *, limit: int) -> Session | None:
        """Read a tenant's session, the last `limit` turns and events of it; None if there is none. One round trip."""
        turns, events, meta = keys.session_keys(keys.session_tag(tenant, session))
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hgetall(meta)
                pipe.ttl(meta)
                pipe.xrevrange(turns, count=limit)
                pipe.xrevrange(events, count=limit)
                about, ttl_s, said, happened = await pipe.execute()
        if not about:
            return None
        return Session(
            created_at=float(about[b"created_at"]),
            last_active_at=float(about[b"last_active_at"]),
            ttl_s=max(0, int(ttl_s)),
            turns=tuple(_once(_turn(turn_id, fields) for turn_id, fields in reversed(said))),
            events=tuple(_event(event_id, fields) for event_id, fields in reversed(happened)),
        )


def _turn(turn_id: bytes, fields: dict[bytes, bytes]) -> dict[str, Any]:
    return {
        "id": turn_id.decode(),
        "role": fields[b"role"].decode(),
        "message": orjson.loads(fields[b"message"]),
        "request_id": fields[b"request_id"].decode(),
        "agent": fields[b"agent"].decode() or None,
        "at": float(fields[b"at"]),
    }


def _once(turns: Any) -> list[dict[str, Any]]:
    """Drop turns a retried batch wrote twice."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for turn in turns:
        mark = (turn["request_id"], turn["role"])
        if mark not in seen:
            seen.add(mark)
            kept.append(turn)
    return kept


def _event(event_id: bytes, fields: dict[bytes, bytes]) -> dict[str, str]:
    return {"id": event_id.decode()} | {
        name.decode(): value.decode() for name, value in fields.items() if name != b"tenant"
    }
