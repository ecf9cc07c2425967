"""What admins do: keys made, changed, rotated and revoked, sharing decided; each noted in the audit log by the write that does it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import orjson

from proxy.core.access import audit_log
from proxy.core.access.api_keys import CHANCE_BYTES, KeyRecord, compose, hash_of, hint_of, tenant_of_name
from proxy.core.access.audit_log import Admin
from proxy.core.access.callers import Allowance
from proxy.core.access.scopes import KeyScope
from proxy.core.access.sharing import Sharing
from proxy.core.overview import TenantName
from proxy.errors import RequestError
from proxy.ports import Guard, Keeping, StreamEntry

_TRIES = 5
"""Writes of one record that cross each other: admins are few."""


class AdminStore(Protocol):
    """Where access control lies. Methods raise StoreError."""

    async def read(self, key_id: str) -> bytes | None:
        """One record."""

    async def all(self) -> list[bytes]:
        """Every record."""

    async def put(
        self,
        key_id: str,
        record: bytes | None,
        *,
        replaces: bytes | None,
        added: Sequence[str] = (),
        removed: Sequence[str] = (),
        version: str,
        line: Mapping[str, str],
    ) -> bool | None:
        """Write or remove a record; False where another was quicker, None where there are too many."""

    async def namespaces(self) -> tuple[str, dict[str, bytes]]:
        """The version, and what was decided for each namespace."""

    async def put_namespace(
        self, name: str, decided: bytes | None, *, replaces: bytes | None, version: str, line: Mapping[str, str]
    ) -> bool | None:
        """Write or remove what is decided for a namespace; reply as of `put`."""

    async def note(self, line: Mapping[str, str]) -> None:
        """Append a line to the audit log."""

    async def audit(self, *, before: str | None, count: int) -> list[StreamEntry]:
        """Lines of the audit log, newest first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key that is to be made.

    Attributes:
        name: for people.
        tenant: whose data it reads and writes; None makes a tenant of its own.
        team: whose entries it shares where a namespace is a team's.
        scopes: what it may be used for.
        allowance: what it may use.
        expires_at: unix seconds, None for never.
    """

    name: str
    tenant: str | None
    team: str | None
    scopes: frozenset[KeyScope]
    allowance: Allowance
    expires_at: float | None


class ApiKeys:
    """Administration. Methods may raise StoreError, and RequestError 503 where a change is not known to be kept.

    Args:
        store: where access control lies.
        guard: bounds what Redis may cost.
        kept: an answer says only what will last.
        secret: Deja's own.
        deadline_s: for one step.
        now: unix time in seconds.
    """

    def __init__(
        self,
        store: AdminStore,
        guard: Guard,
        kept: Keeping,
        *,
        secret: bytes,
        deadline_s: float,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._guard = guard
        self._kept = kept
        self._secret = secret
        self._deadline_s = deadline_s
        self.now = now

    async def create(self, by: Admin, wanted: Wanted) -> tuple[str, KeyRecord]:
        """Make a key: itself, which is told this once, and what is kept of it. RequestError 409 where there are too many."""
        key_id = f"key_{secrets.token_hex(8)}"
        key, hashed = self._minted()
        record = KeyRecord(
            key_id=key_id,
            name=wanted.name,
            tenant=wanted.tenant or key_id,
            hash=hashed,
            hint=hint_of(key),
            created_at=self.now(),
            team=wanted.team,
            scopes=wanted.scopes,
            allowance=wanted.allowance,
            expires_at=wanted.expires_at,
        )
        line = audit_log.line(by, "keys.create", key_id, _told(record))
        await self._put(key_id, record, replaces=None, added=[hashed], line=line)
        return key, record

    async def all(self) -> list[KeyRecord]:
        """All keys, the newest first."""
        async with self._guard.within(self._deadline_s):
            found = await self._store.all()
        records = [KeyRecord.from_json(orjson.loads(raw)) for raw in found]
        return sorted(records, key=lambda record: (-record.created_at, record.key_id))

    async def tenant_names(self) -> dict[str, TenantName]:
        """Tenant -> what it is called, of those that keys were made for."""
        found: dict[str, TenantName] = {}
        for record in await self.all():
            tenant = tenant_of_name(record.tenant, self._secret)
            found[tenant] = TenantName(record.tenant, (*found.get(tenant, TenantName()).keys, record.name))
        return found

    async def read(self, key_id: str) -> KeyRecord:
        """One key. RequestError 404 if it is not there."""
        return (await self._read(key_id))[1]

    async def change(self, by: Admin, key_id: str, changes: Mapping[str, Any]) -> KeyRecord:
        """Give a key another name, team, scopes, limits or end; RequestError 404 if it is not there.

        Args:
            by: who does it.
            key_id: of the key.
            changes: fields of `KeyRecord` with their new values.
        """
        for _ in range(_TRIES):
            raw, record = await self._read(key_id)
            changed = replace(record, **changes)
            line = audit_log.line(by, "keys.change", key_id, _told(changed, set(changes)))
            if await self._put(key_id, changed, replaces=raw, line=line):
                return changed
        raise _contended()

    async def rotate(self, by: Admin, key_id: str, *, grace_s: float) -> tuple[str, KeyRecord]:
        """Put a new key in a key's place; the old one stays good for `grace_s`, and both are the same tenant. RequestError 404."""
        for _ in range(_TRIES):
            raw, record = await self._read(key_id)
            key, hashed = self._minted()
            changed = record.rotated(key, hashed, previous_until=self.now() + grace_s)
            line = audit_log.line(by, "keys.rotate", key_id, {"grace_s": grace_s})
            removed = [record.previous_hash] if record.previous_hash else []
            if await self._put(key_id, changed, replaces=raw, added=[hashed], removed=removed, line=line):
                return key, changed
        raise _contended()

    async def revoke(self, by: Admin, key_id: str) -> None:
        """Take a key away, and what an unfinished rotation left of it. RequestError 404 if it is not there."""
        for _ in range(_TRIES):
            raw, record = await self._read(key_id)
            removed = [hashed for hashed in (record.hash, record.previous_hash) if hashed]
            line = audit_log.line(by, "keys.revoke", key_id, {"name": record.name, "tenant": record.tenant})
            if await self._put(key_id, None, replaces=raw, removed=removed, line=line):
                return
        raise _contended()

    async def sharing(self) -> dict[str, Sharing]:
        """What was decided, by namespace."""
        async with self._guard.within(self._deadline_s):
            _, found = await self._store.namespaces()
        return {name: Sharing(orjson.loads(raw)["sharing"]) for name, raw in sorted(found.items())}

    async def share(self, by: Admin, namespace: str, level: Sharing) -> None:
        """Decide who shares a namespace's entries."""
        decided = (
            None if level is Sharing.KEY else orjson.dumps({"sharing": level})
        )  # the default is not worth a record
        line = audit_log.line(by, "namespaces.share", namespace, {"sharing": level})
        for _ in range(_TRIES):
            async with self._guard.within(self._deadline_s):
                _, found = await self._store.namespaces()
            async with self._kept.keeping(), self._guard.within(self._deadline_s):
                done = await self._store.put_namespace(
                    namespace, decided, replaces=found.get(namespace), version=_version(), line=line
                )
            if done is None:
                raise _full("namespaces with a decision", "too_many_namespaces")
            if done:
                return
        raise _contended()

    async def note(self, by: Admin, action: str, target: str, details: Mapping[str, Any] | None = None) -> None:
        """Note an action of an admin that something else carried out, before it is carried out."""
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            await self._store.note(audit_log.line(by, action, target, details))

    async def audit(self, *, before: str | None, limit: int) -> list[dict[str, Any]]:
        """The audit log, newest first: lines before an id."""
        async with self._guard.within(self._deadline_s):
            found = await self._store.audit(before=before, count=limit)
        return [audit_log.shown(entry.entry_id, entry.fields) for entry in found]

    def _minted(self) -> tuple[str, str]:
        key = compose(secrets.token_bytes(CHANCE_BYTES), self._secret)
        return key, hash_of(key.encode(), self._secret)

    async def _read(self, key_id: str) -> tuple[bytes, KeyRecord]:
        async with self._guard.within(self._deadline_s):
            raw = await self._store.read(key_id)
        if raw is None:
            raise RequestError(
                "No key has this id; `deja keys list` tells the ids there are.", status=404, code="key_not_found"
            )
        return raw, KeyRecord.from_json(orjson.loads(raw))

    async def _put(
        self,
        key_id: str,
        record: KeyRecord | None,
        *,
        replaces: bytes | None,
        added: Sequence[str] = (),
        removed: Sequence[str] = (),
        line: Mapping[str, str],
    ) -> bool:
        written = None if record is None else orjson.dumps(record.as_json())
        async with self._kept.keeping(), self._guard.within(self._deadline_s):
            done = await self._store.put(
                key_id, written, replaces=replaces, added=added, removed=removed, version=_version(), line=line
            )
        if done is None:
            raise _full("keys", "too_many_keys")
        return done


def _told(record: KeyRecord, names: set[str] | None = None) -> dict[str, Any]:
    """What the log tells of a record: all that people decide of it, or those fields alone."""
    shown = record.shown()
    given = {field.name for field in fields(record)} if names is None else names
    wanted = {"limits" if name == "allowance" else name for name in given}
    told = ("name", "tenant", "team", "scopes", "limits", "expires_at")
    return {name: shown[name] for name in told if name in wanted}


def _version() -> str:
    return secrets.token_hex(8)


def _full(what: str, code: str) -> RequestError:
    return RequestError(f"There are as many {what} as there may be; remove one first.", status=409, code=code)


def _contended() -> RequestError:
    return RequestError("Others keep changing this at the same time; try again.", status=409, code="write_contention")
