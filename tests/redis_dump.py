"""All that lies in a Redis, as bytes to look for words in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis


async def names_in(client: Redis) -> set[bytes]:
    """The names of all keys."""
    return {name async for name in client.scan_iter(count=1000)}


async def dump_of(client: Redis, names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Key -> its name and all that is in it; a kind of key that this does not know fails the test."""
    return {name: b"\n".join((name, *_flat(await _contents(client, name)))) for name in names}


async def _contents(client: Redis, name: bytes) -> Any:
    match await client.type(name):
        case b"string":
            return await client.get(name)
        case b"hash":
            return await client.hgetall(name)
        case b"set":
            return await client.smembers(name)
        case b"zset":
            return await client.zrange(name, 0, -1)
        case b"list":
            return await client.lrange(name, 0, -1)
        case b"stream":
            return await client.xrange(name)
        case b"none":
            return b""  # its time was over in between
        case kind:
            raise AssertionError(f"{name!r} is a {kind!r}")


def _flat(value: Any) -> list[bytes]:
    match value:
        case bytes():
            return [value]
        case dict():
            return [part for pair in value.items() for each in pair for part in _flat(each)]
        case None:
            return []
        case _:
            return [part for each in value for part in _flat(each)]
