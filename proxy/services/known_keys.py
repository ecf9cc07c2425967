"""Which key is whose: looked up in Redis once, then held in this process until anything about keys changes.

Every process asks four times a second whether the version of access control is still the same; if not, each key it holds is looked up
anew before it is next believed. A poll and not a message: one that gets lost would leave a revoked key open for good. While Redis is
away, what this process knows goes on, and a key it does not know is answered with 503, never let in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from proxy.core.access.api_keys import KeyRecord, hash_of, is_minted
from proxy.core.access.callers import Caller
from proxy.core.access.sharing import Sharing
from proxy.errors import RequestError, StoreError
from proxy.ports import Guard

logger = logging.getLogger("deja.access")

POLL_S = 0.25
"""How late a revocation may be; costs Redis four GETs a second and process."""
MOST_KNOWN = 10_000
"""Keys held in a process, good and unknown ones; 1 KB each."""


class Records(Protocol):
    """Where keys are kept. Methods raise StoreError."""

    async def version(self) -> str:
        """What changes with every change."""

    async def find(self, hashed: str) -> tuple[str, bytes | None]:
        """The version, and the record of the key with this hash."""

    async def namespaces(self) -> tuple[str, dict[str, bytes]]:
        """The version, and what was decided for each namespace."""


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
    caller: Caller | None  # None: no such key


class KnownKeys:
    """Tells callers by the keys that Deja minted.

    Args:
        records: where keys are kept.
        guard: bounds what Redis may cost.
        secret: Deja's own.
        deadline_s: for one look-up.
    """

    def __init__(self, records: Records, guard: Guard, *, secret: bytes, deadline_s: float) -> None:
        self._records = records
        self._guard = guard
        self._secret = secret
        self._deadline_s = deadline_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._hashes: dict[bytes, str] = {}  # of keys that Deja made: hashing one takes longer than all else here
        self._version: str | None = None  # None: never asked
        self._levels: Mapping[str, Sharing] = {}
        self._levels_version: str | None = None

    @property
    def levels(self) -> Mapping[str, Sharing]:
        """Who shares entries, by namespace, as last seen; while that is unknown, nobody does."""
        return self._levels

    async def caller(self, credential: bytes, /) -> Caller | None:
        """Who presents this key, None if it was never minted or is good no more (its `expires_at` is for the caller to mind).

        Raises:
            RequestError: 503, Redis is away and this process has not seen the key.
        """
        # Found by its keyed hash, which a guesser cannot steer: how long a comparison takes tells nothing.
        hashed = self._hashes.get(credential) or hash_of(credential, self._secret)
        known = self._known.get(hashed)
        if known is not None and known.version == self._version:
            return known.caller
        if not is_minted(credential, self._secret):
            return None
        try:
            return await self._look_up(credential, hashed)
        except StoreError as error:
            if known is not None:
                return known.caller
            raise _away() from error

    async def refresh(self) -> None:
        """Ask whether anything changed. Raises StoreError."""
        async with self._guard.within(self._deadline_s):
            self._version = version = await self._records.version()
            if version != self._levels_version:
                self._levels_version, found = await self._records.namespaces()
                self._levels = _levels(found)

    async def run(self) -> None:
        """Go on asking."""
        while True:
            with contextlib.suppress(StoreError):  # the guard has said so; what is known goes on
                await self.refresh()
            await asyncio.sleep(POLL_S)

    async def _look_up(self, credential: bytes, hashed: str) -> Caller | None:
        async with self._guard.within(self._deadline_s):
            version, raw = await self._records.find(hashed)
        self._version = version
        if len(self._hashes) >= MOST_KNOWN:
            self._hashes.clear()
        self._hashes[credential] = hashed
        caller = None if raw is None else _record(raw).caller(hashed, self._secret)
        self._known[hashed] = _Known(version, caller)
        self._known.move_to_end(hashed)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return caller


def _record(raw: bytes) -> KeyRecord:
    return KeyRecord.from_json(orjson.loads(raw))


def _levels(found: Mapping[str, bytes]) -> dict[str, Sharing]:
    """Levels as they are kept; one that cannot be read shares nothing."""
    levels = {}
    for name, raw in found.items():
        try:
            levels[name] = Sharing(orjson.loads(raw)["sharing"])
        except (ValueError, KeyError, TypeError) as error:
            logger.warning(
                "what was decided for a namespace cannot be read and is left aside: %s", type(error).__name__
            )
    return levels


def _away() -> RequestError:
    return RequestError(
        "Redis gives no answer, and this key has not been seen here since Deja started; try again soon.",
        status=503,
        code="redis_unavailable",
        kind="store_error",
    )
