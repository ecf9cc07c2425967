"""Consumer groups of streams of events: made, read, acknowledged, told of. The streams themselves are in `events`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from proxy.core.coordination import keys
from proxy.core.coordination.events import (
    Consumer,
    Delivery,
    GroupInfo,
    GroupRead,
    no_group,
    too_many_groups,
    too_many_streams,
)
from proxy.core.stream_ids import order
from proxy.stores.client import translated
from proxy.stores.responses import script

MAX_GROUPS = 64
"""Of one stream: each is looked at when it is trimmed."""


class EventGroupStore:
    """Consumer groups in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        max_streams: streams a tenant may have; a group makes its stream.
    """

    def __init__(self, client: Redis, *, max_streams: int) -> None:
        self._client = client
        self._max_streams = max_streams
        self._create = client.register_script(script("events_group"))
        self._read = client.register_script(script("events_read"))

    async def create(self, tenant: str, stream: str, group: str, *, start: str) -> bool:
        """Make a group, and its stream if need be; False if the group was there, which stays as it is.

        Args:
            tenant: whose.
            stream: of events.
            group: its name.
            start: id after which it begins, `$` for what is appended from now on.

        Raises:
            RequestError: 409, there are too many streams or groups.
        """
        with translated(), _refused(group, stream):
            await self._client.sadd(keys.EVENT_TENANTS, tenant)
            made: Any = await self._create(
                keys=[keys.events(tenant, stream), keys.event_streams(tenant)],
                args=[stream, self._max_streams, MAX_GROUPS, group, start],
            )
        return bool(made == 1)

    async def read(
        self, tenant: str, stream: str, group: str, consumer: str, *, count: int, is_recovering: bool, min_idle_ms: int
    ) -> GroupRead:
        """Give a consumer its next events; at once, with or without any.

        Raises:
            RequestError: 404, there is no such group.
        """
        with translated(), _refused(group, stream):
            reply: Any = await self._read(
                keys=[keys.events(tenant, stream), keys.events_policy(tenant, stream)],
                args=[group, consumer, count, int(is_recovering), min_idle_ms],
            )
        given, position, missed = reply
        events = [Delivery(entry_id.decode(), _text(flat), deliveries) for entry_id, flat, deliveries in given]
        return GroupRead(events, position.decode(), missed)

    async def acknowledge(self, tenant: str, stream: str, group: str, event_ids: Sequence[str]) -> int:
        """Take events off what is pending; how many there were.

        Raises:
            RequestError: 404, there is no such group.
        """
        key = keys.events(tenant, stream)
        with translated(), _refused(group, stream):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xpending(key, group)  # fails where XACK would count nothing
                pipe.xack(key, group, *event_ids)
                acknowledged = (await pipe.execute())[1]
        return int(acknowledged)

    async def groups(self, tenant: str, stream: str) -> list[GroupInfo]:
        """A stream's groups by name; none for a stream that is not there."""
        key = keys.events(tenant, stream)
        with translated():
            if not await self._client.exists(key):
                return []
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xinfo_groups(key)
                pipe.xinfo_stream(key)
                pipe.hgetall(keys.events_policy(tenant, stream))
                found, about, policy = await pipe.execute()
            async with self._client.pipeline(transaction=False) as pipe:
                for group in found:
                    pipe.xinfo_consumers(key, group["name"])
                members = await pipe.execute(raise_on_error=False)  # a group may have gone in between
        groups = [
            _group(group, about, policy, consumers)
            for group, consumers in zip(found, members, strict=True)
            if not isinstance(consumers, Exception)
        ]
        return sorted(groups, key=lambda group: group.name)

    async def delete(self, tenant: str, stream: str, group: str) -> bool:
        """Remove a group with what it has pending; False if there was none."""
        key = keys.events(tenant, stream)
        with translated():
            if not await self._client.exists(key):
                return False
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xgroup_destroy(key, group)
                pipe.hdel(keys.events_policy(tenant, stream), f"missed:{group}", f"claim:{group}")
                was_there, _ = await pipe.execute()
        return bool(was_there)


@contextmanager
def _refused(group: str, stream: str) -> Iterator[None]:
    """Turn what Redis refuses into what the caller did."""
    try:
        yield
    except ResponseError as error:
        text = str(error)
        if "NOGROUP" in text:
            raise no_group(group, stream) from None  # a cause of Redis would make it one of the store
        if text.startswith("TOOMANYSTREAMS"):
            raise too_many_streams() from None  # a cause of Redis would make it one of the store
        if text.startswith("TOOMANYGROUPS"):
            raise too_many_groups(MAX_GROUPS) from None  # a cause of Redis would make it one of the store
        raise


def _group(group: Any, about: Any, policy: dict[bytes, bytes], consumers: Any) -> GroupInfo:
    name = group["name"].decode()
    position = group["last-delivered-id"].decode()
    return GroupInfo(
        name=name,
        position=position,
        pending=int(group["pending"]),
        lag=_lag(group, about, position),
        missed_total=int(policy.get(f"missed:{name}".encode(), 0)),
        consumers=tuple(
            Consumer(each["name"].decode(), int(each["pending"]), each["idle"] / 1000) for each in consumers
        ),
    )


def _lag(group: Any, about: Any, position: str) -> int | None:
    """Events not given yet. Redis counts those too that were trimmed, and does not know where a group began in the middle."""
    first = about["first-entry"]
    if first is None or order(position) >= order(about["last-generated-id"].decode()):
        return 0
    if order(position) < order(first[0].decode()):
        return int(about["length"])
    lag = group.get("lag")
    return None if lag is None else min(int(lag), int(about["length"]))


def _text(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [part.decode("utf-8", "replace") for part in flat]
    return {name: value for index, (name, value) in enumerate(pairwise(texts)) if index % 2 == 0}
