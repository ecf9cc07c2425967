"""What was said and waits for memories to be drawn from it, in groups. Each method is one atomic step.

group    hash    about (whose it is, JSON), said:<digest of a message id> (a message, JSON), closed, drawn (memories, JSON);
                 messages and memories are sealed where keys are set
taken    zset    digests of the messages of a session that are or were in a group, by when (unix s)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core.keys import digest, session_key, session_tag, user_key, user_tag
from proxy.core.memory import keys
from proxy.core.memory.extraction import Group, Said, Source, Strategy
from proxy.core.memory.records import Memory, MemoryType
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

TAKEN_S = 7 * 86_400
"""How long a message is known to have been taken: clients that send again do so within minutes, queues within days."""
CLOSED_S = 3600
"""How long a finished group stays closed: longer than any process stands still between naming a group and adding to it."""
MAX_MESSAGES = 200
"""Of one group: what a model reads at once."""


class ExtractionStore:
    """Groups in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        seal: encrypts messages and what was drawn from them.
    """

    def __init__(self, client: Redis, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._said, self._drawn = SealedField(seal, "said"), SealedField(seal, "drawn")
        self._add = client.register_script(script("extraction_add"))
        self._close = client.register_script(script("extraction_close"))
        self._settle = client.register_script(script("extraction_settle"))

    async def add(self, source: Source, group: str, said: Sequence[Said]) -> int | None:
        """Add messages, each once in a session; how many were new, None if the group is closed or full."""
        arguments: list[Any] = [orjson.dumps(asdict(source)), TAKEN_S, MAX_MESSAGES]
        name = keys.extraction(source.tag, group)
        for each in said:
            arguments += (digest("said", each.message_id), self._said.put(orjson.dumps(asdict(each)), of=name))
        with translated():
            new = int(await self._add([name, keys.extraction_taken(source.tag)], arguments))
        return None if new < 0 else new

    async def close(self, tag: str, group: str) -> Group | None:
        """Close a group and read it; None if there is nothing to be done for it. What no key opens was not said."""
        at = keys.extraction(tag, group)
        with translated():
            flat: Any = await self._close([at], [CLOSED_S])
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if b"about" not in fields:
            return None
        messages = [self._said.get(value, of=at) for name, value in fields.items() if name.startswith(b"said:")]
        said = [Said(**orjson.loads(message)) for message in messages if message is not None]
        drawn = self._drawn.get(fields[b"drawn"], of=at) if b"drawn" in fields else None
        about = orjson.loads(fields[b"about"])
        return Group(
            source=Source(**about | {"strategy": Strategy(about["strategy"])}),
            said=tuple(sorted(said, key=lambda each: (each.at, each.message_id))),
            drawn=None if drawn is None else _memories(drawn),
        )

    async def erased(self, source: Source, said: Sequence[Said]) -> set[str]:
        """Ids of the messages that were taken before their session, or their user, was erased. One round trip."""
        user = user_tag(source.tenant, source.user or "")
        members = [digest("said", each.message_id) for each in said]
        session = session_key(session_tag(source.tenant, source.session or ""), "erased")
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.get(user_key(user, "erased"))
                pipe.hmget(session, ["all", user])
                pipe.zmscore(keys.extraction_taken(source.tag), members)
                of_user, of_session, taken = await pipe.execute()
        at_ms = max((int(moment) for moment in (of_user, *of_session) if moment), default=-1)
        return {each.message_id for each, at_s in zip(said, taken, strict=True) if (at_s or 0) * 1000 <= at_ms}

    async def settle(self, tag: str, group: str, drawn: Sequence[Memory]) -> tuple[Memory, ...] | None:
        """Write down what was drawn; the memories that count, which are those of whoever was first. None if the group is finished."""
        at = keys.extraction(tag, group)
        mine = orjson.dumps([asdict(each) for each in drawn])
        with translated():
            found: Any = await self._settle([at], [self._drawn.put(mine, of=at)])
        first = None if found is None else self._drawn.get(found, of=at)
        return None if first is None else _memories(first)

    async def finish(self, tag: str, group: str) -> None:
        """The memories are stored: let everything go but that the group is closed."""
        name = keys.extraction(tag, group)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.delete(name)
                pipe.hset(name, "closed", "1")
                pipe.expire(name, CLOSED_S)
                await pipe.execute()


def _memories(written: bytes) -> tuple[Memory, ...]:
    found = []
    for one in orjson.loads(written):
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in one.items()
        }
        values["memory_type"] = MemoryType(one["memory_type"])
        found.append(Memory(**values))
    return tuple(found)
