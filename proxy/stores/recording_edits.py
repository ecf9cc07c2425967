"""Recordings forked and thinned out: each edit all or nothing, and in no one's way.

A fork is a session of its own: it begins with copies of its parent's first steps, and of the turns and events up to there, under the
same ids. What is erased takes along what went on from it, and every part that only this needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import WatchError

from proxy.core import keys
from proxy.stores.client import translated
from proxy.stores.recordings import opened, sealed_part
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

_TRIES = 5
"""Of an edit that another write comes between; a session is written to a few times a second."""
_INHERITED = ("user", "ttl_s", "window_tokens")
"""What a session was told about itself, and its forks go by, too."""

Steps = Sequence[tuple[bytes, dict[Any, Any]]]
Wanted = Callable[[Mapping[bytes, bytes]], bool]


class RecordingEdits:
    """Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a session is kept unless it says otherwise.
        seal: opens parts, to see what builds on what; they are copied as they are.
    """

    def __init__(self, client: Redis, *, ttl_s: int, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._part = sealed_part(seal)

    async def fork(self, tenant: str, session: str, *, at: int, name: str, now_s: float) -> bool:
        """Begin a session with the first steps of another. Three round trips.

        Args:
            tenant: whose.
            session: to be forked.
            at: number of the last step that the fork begins with; it is there.
            name: of the new session.
            now_s: unix time in seconds.

        Returns:
            Whether it was made; False if there is a session of that name.
        """
        source, target = keys.session_tag(tenant, session), keys.session_tag(tenant, name)
        guarded = (keys.session_keys(target)[2], keys.recording_keys(target)[2])
        about = {"created_at": f"{now_s:.3f}", "last_active_at": f"{now_s:.3f}", "tenant": tenant, "session": name}
        with translated():
            steps, held, turns, events, told = await self._first(source, at)
            async with self._client.pipeline(transaction=True) as pipe:
                await pipe.watch(*guarded)
                if await pipe.exists(*guarded):
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                used = {name: held[name] for name in parts_of(steps, _opened(self._part, held))}
                _write_steps(pipe, target, steps, used, at=at, parent=session)
                _write_turns(pipe, target, turns, {**about, **told, "parent": session, "forked_at": at})
                for entry_id, fields in events:
                    pipe.xadd(keys.session_keys(target)[1], fields, id=entry_id)
                ttl_s = int(told.get("ttl_s", self._ttl_s))
                for key in (
                    *keys.session_keys(target),
                    *keys.recording_keys(target),
                    keys.session_key(target, "users"),
                ):
                    pipe.expire(key, ttl_s)
                try:
                    await pipe.execute()
                except WatchError:
                    return False
        return True

    async def _first(self, source: str, at: int) -> tuple[Steps, Mapping[bytes, bytes], Steps, Steps, dict[str, str]]:
        """Steps up to a number, all parts, turns and events up to there, and what the session was told about itself."""
        turns, events, meta = keys.session_keys(source)
        steps, parts, _ = keys.recording_keys(source)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xrange(steps, max=f"{at}-0")
            pipe.hgetall(parts)
            pipe.xrange(turns)
            pipe.xrange(events)
            pipe.hmget(meta, list(_INHERITED))
            first, held, said, happened, values = await pipe.execute()
        kept = {fields[b"request_id"] for _, fields in first}
        told = {name: value.decode() for name, value in zip(_INHERITED, values, strict=True) if value is not None}
        return first, held, _up_to(said, kept), _up_to(happened, kept), told

    async def erase_requests(self, tenant: str, session: str, request_ids: Sequence[str]) -> int:
        """Remove the steps of some requests, those that went on from them, and every part that only these needed.

        A recording that does not hold still for it goes as a whole: what is erased is erased.

        Returns:
            How many steps went. Three round trips.
        """
        if not request_ids:
            return 0
        wanted = {request_id.encode() for request_id in request_ids}
        return await self._erase(tenant, session, lambda fields: fields[b"request_id"] in wanted)

    async def erase_user(self, tenant: str, session: str, user: str) -> int:
        """The same of all requests of a user, those a fork took over from its parent among them."""
        return await self._erase(tenant, session, lambda fields: fields.get(b"user") == user.encode())

    async def _erase(self, tenant: str, session: str, is_wanted: Wanted) -> int:
        names = keys.recording_keys(keys.session_tag(tenant, session))
        with translated():
            for _ in range(_TRIES):
                async with self._client.pipeline(transaction=True) as pipe:
                    try:
                        return await _thin_out(pipe, names, is_wanted, self._part)
                    except WatchError:
                        continue
            gone = int(await self._client.xlen(names[0]))
            await self._client.unlink(*names)
        return gone


async def _thin_out(pipe: Any, names: tuple[str, str, str], is_wanted: Wanted, part: SealedField) -> int:
    steps, parts, recording = names
    await pipe.watch(steps, parts)
    found: Steps = await pipe.xrange(steps)
    held: Mapping[bytes, bytes] = await pipe.hgetall(parts)
    read = _opened(part, held)
    gone, kept = split(found, read, is_wanted)
    if not gone:
        return 0
    used = parts_of(kept, read).keys() | {fields[b"request_id"] for _, fields in kept}
    unused = [name for name in held if name not in used]
    pipe.multi()
    pipe.xdel(steps, *[entry_id for entry_id, _ in gone])
    if unused:
        pipe.hdel(parts, *unused)
    pipe.hincrby(recording, "bytes", -sum(len(name) + len(held[name]) for name in unused))
    await pipe.execute()
    return len(gone)


def _opened(part: SealedField, held: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    read = opened(part, ((name.decode(), value) for name, value in held.items()))
    return {name.encode(): value for name, value in read.items()}


def _write_steps(pipe: Any, target: str, steps: Steps, used: dict[bytes, bytes], *, at: int, parent: str) -> None:
    stream, parts, recording = keys.recording_keys(target)
    size = sum(len(name) + len(value) for name, value in used.items())
    for entry_id, fields in steps:
        pipe.xadd(stream, fields, id=entry_id)
        size += sum(len(name) + len(value) for name, value in fields.items())
        used[fields[b"request_id"]] = entry_id.partition(b"-")[0]
    pipe.hset(parts, mapping=used)
    pipe.hset(recording, mapping={"steps": at, "bytes": size, "parent": parent, "forked_at": at})


def _write_turns(pipe: Any, target: str, turns: Steps, about: Mapping[str, Any]) -> None:
    stream, _, meta = keys.session_keys(target)
    users = {fields[b"user"] for _, fields in turns if fields.get(b"user")}
    for entry_id, fields in turns:
        pipe.xadd(stream, fields, id=entry_id)  # the same ids: what is added later comes after
    counts = {
        "turns": len(turns),
        "tokens": sum(int(fields.get(b"tokens", 0)) for _, fields in turns),
        "bytes": sum(len(fields[b"message"]) for _, fields in turns),
    }
    pipe.hset(meta, mapping={**about, **counts})
    if users:
        pipe.sadd(keys.session_key(target, "users"), *users)


def split(steps: Steps, held: Mapping[bytes, bytes], is_wanted: Wanted) -> tuple[Steps, Steps]:
    """Steps to go, and steps to stay: to go are the wanted ones, and those whose conversation leads through one of them."""
    heads = {fields[b"head"] for _, fields in steps if is_wanted(fields)}
    gone: list[Any] = []
    kept: list[Any] = []
    for step in steps:
        is_gone = is_wanted(step[1]) or not heads.isdisjoint(_line(step[1][b"head"], held))
        (gone if is_gone else kept).append(step)
    return gone, kept


def parts_of(steps: Steps, held: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The parts that these steps are made of, as far as they are there."""
    used: dict[bytes, bytes] = {}
    for _, fields in steps:
        for name in (fields[b"fields"], fields[b"answer"]):
            if name in held:
                used[name] = held[name]
        for name in _line(fields[b"head"], held):
            if name in used:
                break  # and all before it
            used[name] = held[name]
    return used


def _line(head: bytes, held: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The names of a conversation's messages, last one first, as far as they are there."""
    name = head
    while name in held:
        yield name
        before = orjson.loads(held[name])["after"]
        name = before.encode() if before is not None else b""


def _up_to(entries: Steps, request_ids: set[bytes]) -> Steps:
    """Entries up to the last that belongs to one of these requests."""
    last = max((at for at, (_, fields) in enumerate(entries) if fields.get(b"request_id") in request_ids), default=-1)
    return entries[: last + 1]
