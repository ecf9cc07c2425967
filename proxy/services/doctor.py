"""`deja doctor`, the part that looks: each check says what is so and, where it is not well, how to mend it.

Checks are data; the command line prints them. A part of Deja is examined by one async function that returns its
checks, so a further part is a further function. Here: Redis. Commands arrive by a port, so this knows neither redis-py
nor HTTP.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from proxy.core.keys import PREFIX
from proxy.errors import StoreError, StoreFullError, StoreLoadingError, StoreUnavailableError

OLDEST_REDIS = (7, 2)  # RediSearch 2.8, the oldest we run the tests' queries on, refuses servers before it
CLOCK_SKEW_S = 2.0  # TTLs and leases are in seconds; more than this and `Age` misleads
MEMORY_FULL_SHARE = 0.9
PROBE_TTL_S = 10  # should the doctor die between writing and deleting


class Status(Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"  # Deja works, but not as well or as safely as it could
    FAIL = "fail"  # something Deja needs is not there, or data is in danger


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at, a few words, stable.
        status: how it came out.
        what: what is so, one sentence.
        mend: what to do about it, one sentence; empty when all is well.
    """

    name: str
    status: Status
    what: str
    mend: str = ""


class Commands(Protocol):
    """Redis, one command at a time."""

    async def execute_command(self, *arguments: str) -> Any:
        """Send a command; texts in the reply may be bytes or str. Raises StoreError."""


def worst(checks: Sequence[Check]) -> Status:
    """Return the gravest status among the checks; OK when there are none."""
    found = {check.status for check in checks}
    return next((status for status in (Status.FAIL, Status.WARN) if status in found), Status.OK)


async def examine_redis(redis: Commands, shown_url: str, *, key_prefix: str = PREFIX) -> list[Check]:
    """Look at a Redis as Deja would use it. Writes one short-lived key and deletes it.

    Args:
        redis: commands on it.
        shown_url: its URL without secrets, for the sentences.
        key_prefix: prefix of Deja's own keys, under which the test key is written.

    Returns:
        The checks in the order of looking; only the first one when Redis cannot be reached.
    """
    reachable = await _reachable(redis, shown_url)
    if reachable.status is Status.FAIL:
        return [reachable]
    checks = [reachable]
    server = await _info(redis, "server")
    if server is None:
        mend = f"Give this user its rights: {rights(key_prefix)}."
        checks.append(Check("redis version", Status.WARN, "This user may not run INFO: nothing is known.", mend))
    else:
        checks.append(version(server))
    checks += await _modules(redis, key_prefix)
    persistence, memory = await _info(redis, "persistence"), await _info(redis, "memory")
    if persistence is not None:
        checks.append(durability(persistence, await _setting(redis, "appendfsync")))
    if memory is not None:
        checks += [eviction(memory), memory_cap(memory)]
    checks += [await _write_access(redis, key_prefix), await _search_access(redis, key_prefix), await _clock(redis)]
    return checks


# ── judgements: facts in, check out ───────────────────────────────────────────────────────────────────────────────


def version(server: Mapping[str, str]) -> Check:
    """Judge the server's version from INFO server."""
    name = "redis version"
    if "valkey_version" in server:  # Valkey reports the Redis version it is compatible with, and its own
        return Check(name, Status.OK, f"Valkey {server['valkey_version']}.")
    text = server.get("redis_version", "unknown")
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    if numbers >= OLDEST_REDIS:
        return Check(name, Status.OK, f"Redis {text}.")
    mend = "Use Redis 8, Redis Stack 7.2 or newer, or Valkey with search (docker run -p 6379:6379 redis:8)."
    return Check(name, Status.FAIL, f"Redis {text} is older than {'.'.join(map(str, OLDEST_REDIS))}.", mend)


def modules(loaded: Mapping[str, int], *, can_search: bool, has_json: bool) -> list[Check]:
    """Judge what the server can do beyond core Redis.

    Args:
        loaded: module version by lower-case name; empty if the list may not be read.
        can_search: whether the server knows the search commands.
        has_json: whether it knows the JSON commands.
    """
    number = next((number for name, number in loaded.items() if "search" in name), None)
    shown = "" if number is None else f", version {module_version(number)}"
    if can_search:
        search = Check("search module", Status.OK, f"Vector search is there{shown}.")
    else:
        mend = "Use Redis 8, Redis Stack, or load the search module (redisearch.so, valkey-search)."
        search = Check("search module", Status.FAIL, "This Redis has no search: no semantic hits.", mend)
    if has_json:
        return [search, Check("json module", Status.OK, "JSON is there.")]
    mend = "Use Redis 8 or Redis Stack, or load rejson.so; the cache itself does without."
    return [search, Check("json module", Status.WARN, "This Redis has no JSON.", mend)]


def module_version(number: int) -> str:
    """Write a module's version as people do: 21005 is 2.10.5."""
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def durability(persistence: Mapping[str, str], appendfsync: str | None) -> Check:
    """Judge what survives a crash, from INFO persistence and the `appendfsync` setting (None if it may not be read)."""
    name = "persistence"
    if persistence.get("aof_enabled") != "1":
        mend = "Set appendonly yes (CONFIG SET appendonly yes, then CONFIG REWRITE)."
        what = "No append-only file: accepted tasks, events and memories are lost with the server."
        return Check(name, Status.WARN, what, mend)
    if persistence.get("aof_last_write_status", "ok") != "ok":
        mend = "Free disk space where Redis keeps its files; Redis refuses writes until then."
        return Check(name, Status.FAIL, "The last write to the append-only file failed.", mend)
    if appendfsync == "no":
        mend = "Set appendfsync everysec."
        return Check(name, Status.WARN, "The append-only file is synced when the system likes.", mend)
    how = "" if appendfsync is None else f", synced {'every second' if appendfsync == 'everysec' else appendfsync}"
    return Check(name, Status.OK, f"Append-only file{how}.")


def eviction(memory: Mapping[str, str]) -> Check:
    """Judge the eviction policy, from INFO memory."""
    name, policy = "eviction policy", memory.get("maxmemory_policy", "unknown")
    if policy.startswith("allkeys-"):
        what = f"{policy} evicts any key when memory is full, tasks, states and memories without a TTL among them."
        return Check(name, Status.FAIL, what, "Set maxmemory-policy volatile-lfu: only keys with a TTL go then.")
    if policy == "noeviction" and memory.get("maxmemory", "0") != "0":
        mend = "Set maxmemory-policy volatile-lfu to let old answers make room."
        return Check(name, Status.OK, "noeviction: nothing is lost, but a full Redis stores no new answers.", mend)
    return Check(name, Status.OK, f"{policy}: keys without a TTL are never evicted.")


def memory_cap(memory: Mapping[str, str]) -> Check:
    """Judge `maxmemory`, from INFO memory."""
    name = "memory cap"
    cap, used = int(memory.get("maxmemory", "0")), int(memory.get("used_memory", "0"))
    if cap == 0:
        mend = "Set maxmemory, say to three quarters of the machine's memory."
        return Check(name, Status.WARN, "No maxmemory: Redis grows until the system ends it.", mend)
    share = f"{used / 2**20:.0f} of {cap / 2**20:.0f} MiB used"
    if used > MEMORY_FULL_SHARE * cap:
        return Check(name, Status.WARN, f"Nearly full: {share}.", "Raise maxmemory or lower the cache's cap.")
    return Check(name, Status.OK, f"{share}.")


def clock(redis_s: float, asked_s: float, answered_s: float) -> Check:
    """Judge how far Redis' clock is from ours, knowing only that it was read between asking and answering."""
    skew_s = max(asked_s - redis_s, redis_s - answered_s, 0.0)
    if skew_s <= CLOCK_SKEW_S:
        return Check("clock", Status.OK, "Redis' clock agrees with this machine's.")
    what = f"Redis' clock is {skew_s:.0f} s off this machine's: ages and leases will be wrong."
    return Check("clock", Status.WARN, what, "Run time synchronisation (NTP) on both machines.")


def rights(key_prefix: str) -> str:
    """Return the command that gives an ACL user what Deja needs and no more: its own keys and channels, what changes, and INFO."""
    return f"ACL SETUSER <user> ~{key_prefix}* &{key_prefix}* &__redis__:invalidate +@all -@dangerous +info"


# ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _reachable(redis: Commands, shown_url: str) -> Check:
    name = "redis"
    try:
        await redis.execute_command("PING")
    except StoreLoadingError:
        return Check(name, Status.FAIL, f"{shown_url} is still loading its data.", "Wait and ask again.")
    except StoreUnavailableError as error:
        mend = "Start it, or mend DEJA_REDIS__URL (unset it for the embedded Redis)."
        return Check(name, Status.FAIL, f"{shown_url}: {error}", mend)
    except StoreError as error:
        return Check(name, Status.FAIL, f"{shown_url}: {error}", "Check the user and its rights in DEJA_REDIS__URL.")
    return Check(name, Status.OK, f"{shown_url} answers.")


async def _info(redis: Commands, section: str) -> dict[str, str] | None:
    """Return one section of INFO, None if this user may not ask."""
    try:
        reply = await redis.execute_command("INFO", section)
    except StoreError:
        return None
    if isinstance(reply, Mapping):
        return {_text(name): _text(value) for name, value in reply.items()}
    lines = (line.partition(":") for line in _text(reply).splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


async def _setting(redis: Commands, name: str) -> str | None:
    """Return a setting, None where CONFIG is denied, as managed services do."""
    try:
        reply = await redis.execute_command("CONFIG", "GET", name)
    except StoreError:
        return None
    if isinstance(reply, Mapping):
        return next((_text(value) for value in reply.values()), None)
    return _text(reply[1]) if reply else None


async def _modules(redis: Commands, key_prefix: str) -> list[Check]:
    loaded: dict[str, int] = {}
    with contextlib.suppress(StoreError):  # an administrators' command
        loaded = {name.lower(): number for name, number in map(_module, await redis.execute_command("MODULE", "LIST"))}
    can_search = await _knows(redis, "FT._LIST")
    has_json = await _knows(redis, "JSON.TYPE", f"{key_prefix}doctor")
    return modules(loaded, can_search=can_search, has_json=has_json)


async def _knows(redis: Commands, *command: str) -> bool:
    """Tell whether the server knows a command; one that it knows but denies this user counts."""
    try:
        await redis.execute_command(*command)
    except StoreError as error:
        return "unknown command" not in str(error).lower()
    return True


def _module(reply: Any) -> tuple[str, int]:
    """Read one entry of MODULE LIST, a map or a flat list of names and values."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=False)
    fields = {_text(name): value for name, value in pairs}
    return _text(fields["name"]), int(fields["ver"])


async def _write_access(redis: Commands, key_prefix: str) -> Check:
    name, key = "write access", f"{key_prefix}doctor:{secrets.token_hex(8)}"
    try:
        await redis.execute_command("SET", key, "1", "EX", str(PROBE_TTL_S))
        await redis.execute_command("EXPIRE", key, str(PROBE_TTL_S))
        await redis.execute_command("DEL", key)
    except StoreFullError as error:
        return Check(name, Status.FAIL, str(error), "Raise maxmemory, or delete what is not needed.")
    except StoreError as error:
        mend = f"Give this user its rights, and use a primary: {rights(key_prefix)}."
        return Check(name, Status.FAIL, f"Deja cannot write: {error}", mend)
    return Check(name, Status.OK, f"Keys under {key_prefix} can be written, expired and deleted.")


async def _search_access(redis: Commands, key_prefix: str) -> Check:
    name = "search access"
    try:
        indexes = await redis.execute_command("FT._LIST")
    except StoreError as error:
        mend = f"Give this user its rights: {rights(key_prefix)}."
        return Check(name, Status.FAIL, f"Indexes cannot be listed: {error}", mend)
    return Check(name, Status.OK, f"Indexes can be listed; there are {len(indexes)}.")


async def _clock(redis: Commands) -> Check:
    asked_s = time.time()
    try:
        reply = await redis.execute_command("TIME")
    except StoreError:
        return Check("clock", Status.WARN, "This user may not run TIME.", "Allow it: ACL SETUSER <user> +time.")
    seconds, micros = reply
    return clock(int(seconds) + int(micros) / 1e6, asked_s, time.time())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
