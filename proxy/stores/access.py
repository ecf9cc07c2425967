"""Keys, what admins decided for namespaces, and the audit log of both: `core.access.keys` names the structures.

A change, its line in the log and the new version are one Lua script: nothing is done that is not logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from proxy.core.access import keys
from proxy.ports import StreamEntry
from proxy.stores.client import translated
from proxy.stores.responses import script

MAX_KEYS = 10_000
"""A key is half a KB; past so many an operator wants an identity provider in front."""
MAX_NAMESPACES = 1_000
"""Every process holds all of them."""
AUDIT_LINES = 10_000
"""A line is 300 bytes: 3 MB. An attacker cannot push lines out, for only what an admin did is one."""


class AccessStore:
    """Access control in Redis. Every method may raise the `StoreError`s of `stores.client.translated`; each is one round trip."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._put = client.register_script(script("access_put"))
        self._find = client.register_script(script("access_find"))

    async def version(self) -> str:
        """What changes with every change; "" while there was none."""
        with translated():
            found: Any = await self._client.get(keys.VERSION)
        return _text(found)

    async def find(self, hashed: str) -> tuple[str, bytes | None]:
        """The version, and the record (JSON) of the key with this hash, None if there is none."""
        with translated():
            version, record = await self._find(keys=[keys.KEYS, keys.HASHES, keys.VERSION], args=[hashed])
        return _text(version), record

    async def read(self, key_id: str) -> bytes | None:
        """One record (JSON), None if it is not there."""
        with translated():
            found: Any = await self._client.hget(keys.KEYS, key_id)
        return None if found is None else bytes(found)

    async def all(self) -> list[bytes]:
        """Every record (JSON), in no order."""
        with translated():
            found: Any = await self._client.hvals(keys.KEYS)
        return list(found)

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
        """Write or remove a key's record, and note it.

        Args:
            key_id: of the key.
            record: JSON, None to remove it.
            replaces: as it was read, None where there must be none.
            added: hashes that lead to it from now on.
            removed: hashes that no longer do.
            version: like no other before.
            line: of the audit log.

        Returns:
            Whether it was written; not where another was quicker. None where there are `MAX_KEYS` already.
        """
        hashes = [len(added), *added, len(removed), *removed]
        return await self._write(keys.KEYS, key_id, record, replaces, version, MAX_KEYS, hashes, line)

    async def namespaces(self) -> tuple[str, dict[str, bytes]]:
        """The version, and what was decided for each namespace (JSON)."""
        with translated():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.get(keys.VERSION)
                pipe.hgetall(keys.NAMESPACES)
                version, found = await pipe.execute()
        return _text(version), {name.decode(): value for name, value in found.items()}

    async def put_namespace(
        self, name: str, decided: bytes | None, *, replaces: bytes | None, version: str, line: Mapping[str, str]
    ) -> bool | None:
        """Write or remove what is decided for a namespace, and note it; arguments and reply as of `put`."""
        return await self._write(
            keys.NAMESPACES, name, decided, replaces, version, MAX_NAMESPACES, [0, 0], line
        )  # fmt: skip

    async def note(self, line: Mapping[str, str]) -> None:
        """Append a line to the audit log."""
        with translated():
            await self._client.xadd(keys.AUDIT, dict(line), maxlen=AUDIT_LINES, approximate=True)  # type: ignore[arg-type]

    async def audit(self, *, before: str | None, count: int) -> list[StreamEntry]:
        """Lines of the audit log, newest first, those before an id."""
        with translated():
            newest = "+" if before is None else f"({before}"
            found: Any = await self._client.xrevrange(keys.AUDIT, max=newest, count=count)
        return [
            StreamEntry(_text(entry_id), {_text(name): _text(value) for name, value in fields.items()})
            for entry_id, fields in found
        ]

    async def _write(
        self,
        where: str,
        name: str,
        record: bytes | None,
        replaces: bytes | None,
        version: str,
        most: int,
        hashes: Sequence[Any],
        line: Mapping[str, str],
    ) -> bool | None:
        logged = [part for pair in line.items() for part in pair]
        arguments = [name, record or b"", replaces or b"", version, most, AUDIT_LINES, *hashes, *logged]
        with translated():
            done = await self._put(keys=[where, keys.HASHES, keys.VERSION, keys.AUDIT], args=arguments)
        return None if done == -1 else bool(done)


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode()
