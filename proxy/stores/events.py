"""Streams of events: append, read, trim; nothing here knows what an event means. Consumer groups are in `event_groups`.

    events          XADD {attributes of the event}             no TTL; trimmed by age and length
    events-policy   HSET max_events, max_age_s, …              what is kept, where the owner said so
                    HSET missed:<group>, claim:<group>         what a group lost to the hard cap; where it looks on for what was left
    event-streams   SADD a tenant's streams                    event-tenants   SADD tenants that have any

A batch is one script: all of it is appended or nothing. Trimming is another, because it may fail by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from proxy.core.coordination import keys
from proxy.core.coordination.events import Fields, Retention, StreamInfo, Trimmed, no_stream, too_many_streams
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.responses import script

_RETENTION = ("max_events", "max_age_s", "max_unread_events")
_FOREVER = 1 << 52
"""More events, and more seconds, than there will be; Lua counts exactly up to twice that."""


class EventStore:
    """Streams of events in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        retention: what is kept where a stream's own policy does not say.
        max_streams: streams a tenant may have.
    """

    def __init__(self, client: Redis, *, retention: Retention, max_streams: int) -> None:
        self._client = client
        self._retention = retention
        self._max_streams = max_streams
        self._append = client.register_script(script("events_append"))
        self._trim = client.register_script(script("events_trim"))

    async def append(self, tenant: str, stream: str, events: Sequence[Fields]) -> tuple[list[str], bool]:
        """Append events, all or none, in one round trip.

        Returns:
            Their ids in order, and whether there is something to trim now.

        Raises:
            RequestError: 409, the tenant has too many streams.
        """
        # As one argument: redis-py takes some 20 µs to send the dozen of an event, Redis 3 µs to parse them out of this.
        batch = orjson.dumps([[part for pair in event.items() for part in pair] for event in events])
        kept = self._retention
        arguments = [stream, self._max_streams, kept.max_events, kept.max_age_s, batch]
        names = _names(tenant, stream)
        with translated():
            try:
                try:
                    reply = await self._send_append(tenant, names, arguments)
                except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                    await self._client.script_load(self._append.script)
                    reply = await self._send_append(tenant, names, arguments)
            except ResponseError as error:
                if "TOOMANYSTREAMS" in str(error):
                    raise too_many_streams() from None  # a cause of Redis would make it one of the store
                raise
        return [event_id.decode() for event_id in reply[1:]], reply[0] == 1

    async def _send_append(self, tenant: str, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.sadd(keys.EVENT_TENANTS, tenant)  # first: whoever sweeps finds every stream there is
            pipe.evalsha(self._append.sha, len(names), *names, *arguments)
            return (await pipe.execute())[1]

    async def page(
        self, tenant: str, stream: str, *, after: str | None, before: str | None, count: int, is_ascending: bool
    ) -> list[StreamEntry]:
        """Entries between two ids, both left out; None for no bound. Oldest first, or newest first."""
        low = "-" if after is None else f"({after}"
        high = "+" if before is None else f"({before}"
        key = keys.events(tenant, stream)
        with translated():
            if is_ascending:
                found: Any = await self._client.xrange(key, min=low, max=high, count=count)
            else:
                found = await self._client.xrevrange(key, max=high, min=low, count=count)
        return [StreamEntry(entry_id.decode(), _text(fields)) for entry_id, fields in found]

    async def trim(self, tenant: str, stream: str) -> tuple[Trimmed, bool]:
        """Remove what the stream's policy does not keep, a bounded part of it at a time; also, whether there may be more."""
        kept = self._retention
        return await self._run_trim(
            tenant, stream, "policy", kept.max_events, kept.max_age_s, kept.max_unread_events, "0-0"
        )

    async def trim_now(
        self, tenant: str, stream: str, *, max_events: int | None, max_age_s: float | None, before: str | None
    ) -> Trimmed:
        """Remove exactly what a caller need not have any more; what a consumer group has not acknowledged stays."""
        done, _ = await self._run_trim(
            tenant,
            stream,
            "exact",
            _FOREVER if max_events is None else max_events,
            _FOREVER if max_age_s is None else max_age_s,
            _FOREVER,
            before or "0-0",
        )
        return done

    async def _run_trim(self, tenant: str, stream: str, *arguments: Any) -> tuple[Trimmed, bool]:
        with translated():
            reply: Any = await self._trim(keys=_names(tenant, stream), args=[stream, *arguments])
        removed, missed, left, held_by, is_more = reply
        return Trimmed(removed, missed, left, held_by.decode() if held_by else None), is_more == 1

    async def configure(self, tenant: str, stream: str, wanted: dict[str, int | None]) -> None:
        """Say what a stream keeps.

        Args:
            tenant: whose.
            stream: it need not be there yet.
            wanted: fields of `Retention`; None gives one back to the default.

        Raises:
            RequestError: 409, the tenant has too many streams.
        """
        streams, policy = keys.event_streams(tenant), keys.events_policy(tenant, stream)
        with translated():
            is_known = await self._client.sismember(streams, stream)
            if not is_known and await self._client.scard(streams) >= self._max_streams:
                raise too_many_streams()
            async with self._client.pipeline(transaction=True) as pipe:
                for name, value in wanted.items():
                    if value is None:
                        pipe.hdel(policy, name)
                    else:
                        pipe.hset(policy, name, str(value))
                pipe.sadd(streams, stream)
                await pipe.execute()
            await self._client.sadd(keys.EVENT_TENANTS, tenant)

    async def stream(self, tenant: str, stream: str) -> StreamInfo:
        """What is known of a stream.

        Raises:
            RequestError: 404, there is none of that name.
        """
        key = keys.events(tenant, stream)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.sismember(keys.event_streams(tenant), stream)
                pipe.hmget(keys.events_policy(tenant, stream), list(_RETENTION))
                pipe.exists(key)
                is_known, policy, is_there = await pipe.execute()
            if not is_known:
                raise no_stream(stream)
            about: Any = await self._client.xinfo_stream(key) if is_there else {}
        first = about.get("first-entry")
        last = about.get("last-generated-id", b"0-0").decode()
        default = self._retention
        kept = [
            getattr(default, name) if own is None else int(own) for name, own in zip(_RETENTION, policy, strict=True)
        ]
        return StreamInfo(
            name=stream,
            events=int(about.get("length", 0)),
            first_id=first[0].decode() if first else None,
            last_id=None if last == "0-0" else last,
            groups=int(about.get("groups", 0)),
            retention=Retention(kept[0], kept[1], max(kept[0], kept[2])),
        )

    async def streams(self, tenant: str) -> list[str]:
        """Names of a tenant's streams, in order."""
        with translated():
            found: Any = await self._client.smembers(keys.event_streams(tenant))
        return sorted(name.decode() for name in found)

    async def delete(self, tenant: str, stream: str) -> bool:
        """Remove a stream with its events, groups and policy; False if there was none."""
        names = _names(tenant, stream)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.srem(names[1], stream)
                pipe.unlink(names[0], names[2])
                was_known, _ = await pipe.execute()
        return bool(was_known)

    async def tenants(self) -> list[str]:
        """Tenants that have streams."""
        with translated():
            found: Any = await self._client.smembers(keys.EVENT_TENANTS)
        return sorted(tenant.decode() for tenant in found)

    async def forget_tenant(self, tenant: str) -> None:
        """Take a tenant without streams off the list; one that appends again is put there again."""
        with translated():
            await self._client.srem(keys.EVENT_TENANTS, tenant)
            if await self._client.exists(keys.event_streams(tenant)):  # it appended in between
                await self._client.sadd(keys.EVENT_TENANTS, tenant)


def _names(tenant: str, stream: str) -> list[str]:
    """The keys in the order of the scripts."""
    return [keys.events(tenant, stream), keys.event_streams(tenant), keys.events_policy(tenant, stream)]


def _text(fields: Any) -> dict[str, str]:
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}
