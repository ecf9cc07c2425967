"""Sessions: what was said in them, and what is known of them. What happened in them is written by `stores.journal`, and read here, too.

    turns    XADD {role, message (JSON), tokens, request_id, agent, user, at}   capped by number and bytes; messages may be sealed
    meta     HSET created_at, last_active_at, tenant, session, turns, tokens, bytes; user, ttl_s, window_tokens, trimmed where there are any
    data     HSET version, data (JSON, may be sealed), updated_at
    writes   HSET request id, or key:<idempotency key> -> when, and what came of it
    users    SADD everyone who spoke
    erased   HSET all, or a user's digest -> when that was erased (unix ms); kept for a day

All of a session has one time to live, refreshed by each use; each write is one script, and atomic. A session is put on its tenant's lists
(`stores.session_index`) before it is written to, so that none is there unlisted. Recorded requests come by `stores.session_records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.asyncio import Redis

from proxy.core import keys
from proxy.core.sessions import About, Appended, Message, Session, Wiped
from proxy.stores.client import translated
from proxy.stores.responses import script
from proxy.stores.sealing import NO_SEAL, NoSeal, Seal, SealedField
from proxy.stores.session_index import ALL, SessionIndex, facets

_NAMES = ("turns", "events", "meta", "data", "writes", "users", "steps", "parts", "recording", "requests", "erased")
"""The keys of a session, in the order of session_prelude.lua."""
_LISTED = (
    "created_at",
    "last_active_at",
    "session",
    "ttl_s",
    "user",
    "turns",
    "tokens",
    "trimmed",
    "window_tokens",
    "parent",
)
LATE_MS = 60_000
"""A session that is listed and not there is taken off the list after this: before, it may just be being written."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may take.

    Attributes:
        ttl_s: seconds it is kept after its last use, unless it says otherwise.
        max_turns: messages kept; older ones go first.
        max_bytes: of messages kept; older ones go first.
    """

    ttl_s: int
    max_turns: int
    max_bytes: int


class SessionStore:
    """Sessions in Redis. Every method may raise the `StoreError`s of `stores.client.translated`.

    Args:
        client: binary replies.
        index: lists them.
        limits: what one may take.
        seal: encrypts messages and data; what it adds to them counts as theirs.
    """

    def __init__(self, client: Redis, index: SessionIndex, *, limits: Limits, seal: Seal | NoSeal = NO_SEAL) -> None:
        self._client = client
        self._index = index
        self._limits = limits
        self._message = sealed_message(seal)
        self._contents = SealedField(seal, "data")
        prelude = script("session_prelude")
        self._append, self._set, self._data, self._read, self._erase = (
            client.register_script(prelude + script(name))
            for name in ("session_append", "session_set", "session_data", "session_read", "session_erase")
        )

    # --- writing ---------------------------------------------------------------------------------------------------------------

    async def append(
        self,
        tenant: str,
        session: str,
        messages: Sequence[Message],
        *,
        key: str,
        digest: str,
        user: str | None,
        agent: str | None,
    ) -> Appended | None:
        """Append messages in order, all or none; the session is made if it is not there. Two round trips.

        Args:
            tenant: whose.
            session: which.
            messages: at least one, at most as many as are kept.
            key: idempotency key, "" for none.
            digest: of the messages: what a repetition under the key must have.
            user: who says it, None if that is not known.
            agent: likewise.

        Returns:
            None if other messages were appended under the same key.
        """
        limits = self._limits
        said = [part for one in messages for part in (one.role, self._message.put(one.wire, of=tenant), one.tokens)]
        with translated():
            await self._index.add(tenant, session, user=user, agent=agent)
            state, *rest = await self._append(
                keys=session_keys(tenant, session),
                args=[
                    *self._named(tenant, session),
                    limits.max_turns,
                    limits.max_bytes,
                    key,
                    digest,
                    user or "",
                    agent or "",
                    *said,
                ],
            )
        if state == b"conflict":
            return None
        ids, turns, tokens, window = rest
        return Appended(
            tuple(ids.decode().split()), state == b"repeated", int(turns), int(tokens), int(window) if window else None
        )

    async def set(self, tenant: str, session: str, fields: Mapping[str, str]) -> bool:
        """Create a session, or change what is said of it; whether it is new. Two round trips.

        Args:
            tenant: whose.
            session: which.
            fields: `user`, `ttl_s`, `window_tokens`, as text; "" takes one away.
        """
        ttl = fields.get("ttl_s")
        with translated():
            await self._index.add(
                tenant,
                session,
                user=fields.get("user") or None,
                own_ttl_s=int(ttl) if ttl else None,
                has_default_ttl=ttl == "",
            )
            pairs = [part for pair in fields.items() for part in pair]
            return bool(
                await self._set(keys=session_keys(tenant, session), args=[*self._named(tenant, session), *pairs])
            )

    async def write_data(
        self, tenant: str, session: str, data: bytes, *, version: int
    ) -> int | tuple[int, bytes | None]:
        """Write structured data over those of this version, 0 for none there; the session is made if it is not there.

        Returns:
            The new version; or, where the data are of another one, (that version, those data). Two round trips.
        """
        tag = keys.session_tag(tenant, session)
        sealed = self._contents.put(data, of=tag)
        with translated():
            await self._index.add(tenant, session)
            reply = await self._data(
                keys=session_keys(tenant, session), args=[*self._named(tenant, session), version, sealed]
            )
        is_written, found = bool(reply[0]), int(reply[1])
        there = reply[2] if len(reply) > 2 else None
        return found if is_written else (found, None if there is None else self._contents.get(there, of=tag))

    # --- reading ---------------------------------------------------------------------------------------------------------------

    async def read(
        self, tenant: str, session: str, *, turns: int, events: int = 0, after: str | None = None
    ) -> Session | None:
        """Read a session, which counts as using it; None if there is none. Two round trips.

        Args:
            tenant: whose.
            session: which.
            turns: how many, at most.
            events: how many of the last ones.
            after: id of the turn to go on from; None for the last turns.
        """
        with translated():
            reply = await self._read(
                keys=session_keys(tenant, session), args=[*self._named(tenant, session), turns, events, after or ""]
            )
            if reply is None:
                return None
            flat, ttl_s, now_ms, version, data, said, happened = reply
            await self._index.refresh(tenant, session, until_ms=int(now_ms) + int(ttl_s) * 1000)
        meta = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
        ordered = said if after is not None else reversed(said)
        return Session(
            about=_about(meta, ttl_s=int(ttl_s), data_version=int(version or 0)),
            data=None if data is None else self._contents.get(data, of=keys.session_tag(tenant, session)),
            turns=tuple(self._turns(tenant, ordered)),
            events=tuple(_event(event_id, _texts(fields)) for event_id, fields in reversed(happened)),
        )

    def _turns(self, tenant: str, ordered: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Turns that can be read: what no key opens is left out."""
        for turn_id, flat in ordered:
            fields = _texts(flat)
            message = self._message.get(fields["message"], of=tenant)
            if message is not None:
                yield _turn(turn_id, fields, message)

    async def page(
        self, tenant: str, *, user: str | None, agent: str | None, limit: int, after: tuple[str, str]
    ) -> tuple[list[About], tuple[str, str] | None]:
        """A page of a tenant's sessions, the one written to last first, and where the next one begins; looking is no use.

        Args:
            tenant: whose.
            user: only this user's.
            agent: only those this agent took part in.
            limit: how many, at most.
            after: as `SessionIndex.page` takes it.
        """
        listed = facets(tenant, user=user, agent=agent) or [ALL]
        found: list[About] = []
        position: tuple[str, str] | None = after
        while position is not None and len(found) < limit:
            wanted = limit - len(found)
            names = await self._index.page(tenant, listed, limit=wanted, after=position)
            there = await self._abouts(tenant, [name for name, _ in names])
            found += [about for about in there if about is not None]
            await self._forget(tenant, [name for (name, _), about in zip(names, there, strict=True) if about is None])
            position = (names[-1][1], names[-1][0]) if len(names) == wanted else None
        return found, position

    async def _abouts(self, tenant: str, sessions: Sequence[str]) -> list[About | None]:
        if not sessions:
            return []
        with translated():
            async with self._client.pipeline(transaction=False) as pipe:
                for session in sessions:
                    tag = keys.session_tag(tenant, session)
                    pipe.hmget(keys.session_key(tag, "meta"), list(_LISTED))
                    pipe.hget(keys.session_key(tag, "data"), "version")
                replies = await pipe.execute()
        return [
            _listed(values, version, ttl_s=self._limits.ttl_s)
            for values, version in zip(replies[::2], replies[1::2], strict=True)
        ]

    async def _forget(self, tenant: str, gone: Sequence[str]) -> None:
        if gone:
            with translated():
                seconds, _ = await self._client.time()
                await self._index.remove(tenant, gone, before_ms=seconds * 1000 - LATE_MS)

    # --- erasing ---------------------------------------------------------------------------------------------------------------

    async def erase(self, tenant: str, session: str) -> Wiped:
        """Remove all of a session; what its requests that began before still want to write is refused. One round trip."""
        return await self._wipe(tenant, session, "session")

    async def erase_user(self, tenant: str, session: str, user: str, request_ids: Sequence[str]) -> Wiped:
        """Remove all of a session that knows no other user; of another one this user's turns and what these requests left in it."""
        return await self._wipe(tenant, session, "user", user, keys.user_tag(tenant, user), *request_ids)

    async def erase_requests(self, tenant: str, session: str, request_ids: Sequence[str]) -> Wiped:
        """Remove what some requests left in a session."""
        return await self._wipe(tenant, session, "requests", "", "", *request_ids)

    async def _wipe(self, tenant: str, session: str, *what: str) -> Wiped:
        with translated():
            users, whole, *counts = await self._erase(
                keys=session_keys(tenant, session),
                args=[*self._named(tenant, session), *what, *[""] * (3 - len(what))],
            )
        turns, events, data, sessions, steps, at_ms = map(int, counts)
        said_by = tuple(user.decode() for user in users)
        return Wiped(bool(whole), turns, events, data, sessions, steps, at_ms, said_by)

    def _named(self, tenant: str, session: str) -> tuple[str, str, int]:
        return tenant, session, self._limits.ttl_s


def session_keys(tenant: str, session: str) -> list[str]:
    """All keys of a session, as the session_*.lua scripts take them."""
    tag = keys.session_tag(tenant, session)
    return [keys.session_key(tag, name) for name in _NAMES]


def _about(meta: Mapping[str, str], *, ttl_s: int, data_version: int) -> About:
    window = meta.get("window_tokens")
    return About(
        session=meta["session"],
        created_at=float(meta["created_at"]),
        last_active_at=float(meta["last_active_at"]),
        ttl_s=ttl_s,
        user=meta.get("user"),
        turns=int(meta.get("turns", 0)),
        tokens=int(meta.get("tokens", 0)),
        trimmed=int(meta.get("trimmed", 0)),
        window_tokens=int(window) if window else None,
        data_version=data_version,
        parent=meta.get("parent"),
    )


def _listed(values: Sequence[bytes | None], version: bytes | None, *, ttl_s: int) -> About | None:
    if values[0] is None or values[2] is None:
        return None
    meta = {name: value.decode() for name, value in zip(_LISTED, values, strict=True) if value is not None}
    return _about(meta, ttl_s=int(meta.get("ttl_s", ttl_s)), data_version=int(version or 0))


def _texts(flat: Any) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def sealed_message(seal: Seal | NoSeal) -> SealedField:
    """A turn's message, bound to its tenant: so a fork takes it along as it is."""
    return SealedField(seal, "message")


def _turn(turn_id: bytes, fields: Mapping[str, bytes], message: bytes) -> dict[str, Any]:
    return {
        "id": turn_id.decode(),
        "role": fields["role"].decode(),
        "message": orjson.loads(message),
        "tokens": int(fields.get("tokens", 0)),
        "agent": fields["agent"].decode() or None,
        "user": fields.get("user", b"").decode() or None,
        "request_id": fields["request_id"].decode() or None,
        "at": float(fields["at"]),
    }


def _event(event_id: bytes, fields: Mapping[str, bytes]) -> dict[str, str]:
    told = {name: value.decode("utf-8", "replace") for name, value in fields.items() if name != "tenant"}
    return {"id": event_id.decode()} | told
