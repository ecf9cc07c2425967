"""Recordings of sessions: what was asked and answered, each part of it once (`core.recording` says what parts are).

    steps       XADD <number>-0 {request_id, at, agent, model, …, head, fields, answer}
    parts       HSET name -> JSON, sealed where keys are set; and request id -> number of its step
    recording   HSET bytes, steps, skipped; of a fork parent, forked_at (`stores.recording_edits`)

One round trip a batch, whatever the number of steps, where this process wrote what they build on; else one before it, to ask which parts
are there, and one after it for the few whose parts went away. A step is written once, however often it is sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from proxy.core import keys
from proxy.core.recording import Parts, Recorded, Recording, Step, put_together, taken_apart
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField

_BASE_GONE = -1
_LATEST = 10_000
"""Conversations whose last recorded message is remembered, some 200 bytes each: as many agents may be under way at once in a process."""


class RecordingStore:
    """Recordings in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        ttl_s: seconds a recording is kept after its last step.
        max_bytes: that one recording may take; later requests are counted, and not recorded.
        now: unix time in seconds, as in the steps.
        seal: encrypts the parts; what it adds to them counts as theirs.
    """

    def __init__(
        self, client: Redis, *, ttl_s: int, max_bytes: int, now: Callable[[], float], seal: Seal | NoSeal = NO_SEAL
    ) -> None:
        self._client = client
        self._now = now
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._part = sealed_part(seal)
        self._known = client.register_script(script("known_part"))
        self._record = client.register_script(script("record_step"))
        self._latest: OrderedDict[tuple[str, str, str], None] = (
            OrderedDict()
        )  # (tenant, session, part) that were written

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def append(self, steps: Sequence[Step]) -> None:
        """Write a batch, each step atomically; those whose session or user was erased after they began are left out."""
        apart: list[tuple[Step, Parts]] = []
        for step in steps:
            apart.append((step, taken_apart(step)))
            await asyncio.sleep(0)  # a long prompt takes a fraction of a millisecond: requests come first
        with translated():
            # Moments of one clock are compared, Redis' own; what lies between its reply and now makes a request seem earlier, never later.
            seconds, microseconds = await self._client.time()
            behind_s = seconds + microseconds / 1e6 - self._now()
            apart = await self._not_erased(apart, behind_s)
            try:
                await self._write(apart, behind_s)
            except NoScriptError:  # a fresh Redis, or one whose scripts were flushed
                for one in (self._known, self._record):
                    await self._client.script_load(one.script)
                await self._write(apart, behind_s)

    async def _not_erased(self, apart: list[tuple[Step, Parts]], behind_s: float) -> list[tuple[Step, Parts]]:
        """Without steps whose user was erased everywhere; the script sees to those of a session."""
        users = sorted({keys.user_tag(step.tenant, step.user) for step, _ in apart if step.user is not None})
        if not users:
            return apart
        found: Any = await self._client.mget([keys.user_key(user, "erased") for user in users])
        erased = {user: int(moment) for user, moment in zip(users, found, strict=True) if moment is not None}
        return [
            (step, parts)
            for step, parts in apart
            if step.user is None or _began_ms(step, behind_s) > erased.get(keys.user_tag(step.tenant, step.user), -1)
        ]

    async def _write(self, apart: Sequence[tuple[Step, Parts]], behind_s: float) -> None:
        known = [self._remembered(step, parts) for step, parts in apart]
        strangers = [at for at, place in enumerate(known) if not place]
        asked = await self._send(self._known.sha, (self._asked(*apart[at]) for at in strangers))
        for at, place in zip(strangers, asked, strict=True):
            known[at] = place
        written = await self._send(
            self._record.sha, (self._told(*one, behind_s, known=at) for one, at in zip(apart, known, strict=True))
        )
        again = [one for one, number in zip(apart, written, strict=True) if number == _BASE_GONE]
        await self._send(self._record.sha, (self._told(*one, behind_s, known=0) for one in again))

    def _remembered(self, step: Step, parts: Parts) -> int:
        """The place, from the end, of the last message that this process wrote or is about to; 0 for none."""
        found = 0
        for place, (name, _) in enumerate(reversed(parts.messages), start=1):
            written = (step.tenant, step.session, name)
            if written in self._latest:
                del self._latest[written]
                found = place
                break
        self._latest[step.tenant, step.session, parts.messages[-1][0]] = None
        if len(self._latest) > _LATEST:
            self._latest.popitem(last=False)
        return found

    async def _send(self, sha: str, calls: Iterable[Sequence[Any]]) -> list[int]:
        calls = list(calls)
        if not calls:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(sha, *call)
            replies: list[int] = await pipe.execute()
        return replies

    @staticmethod
    def _asked(step: Step, parts: Parts) -> list[Any]:
        _, at, _ = _keys(step.tenant, step.session)
        return [1, at, *(name for name, _ in reversed(parts.messages))]

    def _told(self, step: Step, parts: Parts, behind_s: float, *, known: int) -> list[Any]:
        """The call that records a step; `known` is the place of the last message that is there, counted from the end."""
        first = len(parts.messages) - known + 1 if known else 0
        base = parts.messages[first - 1][0] if known else ""
        fields = {"request_id": step.request_id, **step.told, **parts.named}
        tag = keys.session_tag(step.tenant, step.session)
        beside = [keys.session_key(tag, name) for name in ("erased", "meta")]
        call: list[Any] = [5, *_keys(step.tenant, step.session), *beside]
        call += (self._max_bytes, self._ttl_s, step.request_id, base, _began_ms(step, behind_s))
        call += ("all" if step.user is None else keys.user_tag(step.tenant, step.user), 2 * len(fields))
        for pair in fields.items():
            call += pair
        for name, part in (*parts.messages[first:], *parts.others):
            call += (name, self._part.put(part, of=name))
        return call

    # --- reading ---------------------------------------------------------------------------------------------------------------

    async def read(self, tenant: str, session: str, *, after: int, limit: int, with_requests: bool) -> Recording | None:
        """A page of a session's recording; None if nothing is recorded of it. Two round trips.

        Args:
            tenant: whose.
            session: which.
            after: number of the last step the caller has.
            limit: steps, at most.
            with_requests: whether the requests are put together; that takes reading all messages of the session.
        """
        steps, parts, recording = _keys(tenant, session)
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hgetall(recording)
                pipe.xrange(steps, min=f"({after}-0", count=limit)
                about, page = await pipe.execute()
            if not about:
                return None
            found = [(_number(entry_id), _texts(fields)) for entry_id, fields in page]
            held = await self._parts(parts, [told for _, told in found], with_requests)
        return Recording(
            steps=tuple(_recorded(number, told, held, with_requests) for number, told in found),
            total=int(about.get(b"steps", 0)),
            bytes=int(about.get(b"bytes", 0)),
            skipped=int(about.get(b"skipped", 0)),
            parent=about[b"parent"].decode() if b"parent" in about else None,
            forked_at=int(about.get(b"forked_at", 0)),
        )

    async def _parts(self, key: str, steps: Sequence[Mapping[str, str]], everything: bool) -> dict[str, bytes]:
        if everything:
            whole: Any = await self._client.hgetall(key)
            return opened(self._part, ((name.decode(), value) for name, value in whole.items()))
        names = [told["answer"] for told in steps if told["answer"]]
        if not names:
            return {}
        values: Any = await self._client.hmget(key, names)
        there = ((name, value) for name, value in zip(names, values, strict=True) if value is not None)
        return opened(self._part, there)

    # --- erasing ---------------------------------------------------------------------------------------------------------------

    async def erase(self, tenant: str, session: str) -> int:
        """Remove a session's recording; returns how many of its keys there were."""
        with translated():
            return int(await self._client.unlink(*_keys(tenant, session)))


def sealed_part(seal: Seal | NoSeal) -> SealedField:
    """A part, bound to its name, which is a digest of it: so a fork takes it along as it is."""
    return SealedField(seal, "part")


def opened(field: SealedField, parts: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The parts that can be read, by name."""
    read = ((name, field.get(value, of=name)) for name, value in parts)
    return {name: value for name, value in read if value is not None}


def _keys(tenant: str, session: str) -> tuple[str, str, str]:
    return keys.recording_keys(keys.session_tag(tenant, session))


def _began_ms(step: Step, behind_s: float) -> int:
    """When a request began, by Redis' clock."""
    return int((step.began_at + behind_s) * 1000)


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}


def _recorded(number: int, told: dict[str, str], held: Mapping[str, bytes], with_requests: bool) -> Recorded:
    answer = held.get(told["answer"]) if told["answer"] else None
    step = Recorded(number, told, None, None if answer is None else orjson.loads(answer))
    return replace(step, request=put_together(told, held)) if with_requests else step
