"""The Redis client: opened by URL, bounded in time and connections, its errors translated to ours.

Choices that hold for every connection:
- RESP2. FT.SEARCH answers in a flat list that redisvl and LangGraph's saver have parsed for years, on Stack, Redis 8
  and Valkey alike; RESP3 would add a handshake per connection and maps of another shape for no gain here.
- No retries. redis-py's default (several, with jittered back-off up to seconds) turns an outage into a stall and can
  repeat a write that did arrive. A connection the server closed while idle is noticed when it is taken from the pool.
- Binary replies: vectors and answers are bytes.
- Commands are packed by hiredis, which redis-py leaves to Python on its asynchronous side: of a command's 120 us, 30 to 60.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004  redis-py's own, which is not the built-in
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004  the same
    TryAgainError,
)

from proxy.errors import IndexMissingError, StoreError, StoreFullError, StoreLoadingError, StoreUnavailableError
from proxy.stores import urls
from proxy.stores.urls import Target, redact

__all__ = ["Commands", "open_client", "redact", "translate", "translated"]

MAX_CONNECTIONS = 64  # past this, requests wait for one within their deadline; Redis has one thread all the same
CONNECT_TIMEOUT_S = 2.0  # where no deadline is given: another continent and a lost packet
SHOWN_ERROR_CHARACTERS = 160

# FT.SEARCH and FT.INFO of RediSearch 2.10 say the first two; Valkey's module says "Index with name 'x' not found".
INDEX_MISSING = re.compile(r"no such index|unknown index name|index.* not found", re.IGNORECASE)


def open_client(url: str, *, deadline_ms: float | None, max_connections: int = MAX_CONNECTIONS) -> Redis:
    """Return a client for `url`; nothing is contacted before the first command. Close it with `aclose`.

    Args:
        url: as `proxy.stores.urls` describes.
        deadline_ms: milliseconds to wait for a free connection, to connect, and for each reply; each by itself
            (`breaker.Guard` bounds the whole). None: no bound but on connecting, for blocking reads, subscriptions,
            and clients used inside a Guard alone, where redis-py's timer per reply costs 30-50 us for nothing.
        max_connections: connections open at once.

    Raises:
        ConfigError: the URL cannot be used.
    """
    target = urls.parse(url)
    deadline_s = None if deadline_ms is None else deadline_ms / 1000
    common = _connection_options(target, deadline_s)
    if target.service is not None:
        return Redis.from_pool(_sentinel_pool(target, common, max_connections))
    connection_class, where = _endpoint(target)
    return Redis.from_pool(
        BlockingConnectionPool(
            max_connections=max_connections,
            timeout=deadline_s,
            connection_class=connection_class,
            **where,
            **common,
        )
    )


class _Packed:
    """To be inherited by a connection before redis-py's own class."""

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """One command as it travels."""
        name = arguments[0]
        if isinstance(name, str) and " " in name:  # as redis-py: the server wants the words of "CLIENT ID" one by one
            arguments = (*name.split(), *arguments[1:])
        try:
            return [hiredis.pack_command(arguments)]
        except TypeError:
            own: list[bytes] = super().pack_command(*arguments)  # type: ignore[misc]  # which says what is wrong
            return own

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Several, in one piece."""
        return [b"".join([piece for command in commands for piece in self.pack_command(*command)])]


class _Connection(_Packed, Connection): ...


class _TLSConnection(_Packed, SSLConnection): ...


class _SocketConnection(_Packed, UnixDomainSocketConnection): ...


class Commands:
    """Any command by name, with our errors: what code that must not know redis-py is given."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def execute_command(self, *arguments: str) -> Any:
        """Send one command; replies as redis-py gives them, texts as bytes.

        Raises:
            StoreError: or one of its branches.
        """
        with translated():
            return await self._client.execute_command(*arguments)  # type: ignore[no-untyped-call]


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py, redisvl or the socket raises into our `StoreError`s, the cause kept; the rest passes."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


def translate(error: BaseException) -> StoreError | None:
    """Return our error for a foreign one, None if it has nothing to do with Redis.

    Follows the chain of causes, because redisvl wraps redis-py's errors in its own.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, (RedisError, OSError)):
        found = found.__cause__
    if type(found) is ConnectionError and isinstance(found.__cause__, RedisError):
        found = found.__cause__  # redis-py's wrapping of whatever the server said to the greeting
    return None if found is None else _ours(found)


def _ours(error: BaseException) -> StoreError:
    text = _shown(error)
    match error:
        case BusyLoadingError():
            return StoreLoadingError("Redis is loading its data from disk; it will answer by itself.")
        case AuthenticationError() | AuthorizationError():
            return StoreUnavailableError(f"Redis refused the credentials in {urls.SETTING}: {text}")
        case ConnectionError() | TimeoutError() | OSError():
            return StoreUnavailableError(f"Redis gave no answer: {text or type(error).__name__}")
        case ReadOnlyError() | ClusterDownError() | TryAgainError():
            return StoreUnavailableError(f"Redis takes no writes right now: {text}")
        case OutOfMemoryError():
            return _full()
        case ResponseError():
            return _response_error(text)
    return StoreError(f"Redis client: {text}")


def _response_error(text: str) -> StoreError:
    lowered = text.lower()
    if INDEX_MISSING.search(text):
        return IndexMissingError("The vector index is not there.")
    if "oom command not allowed" in lowered:  # inside a script, the word OOM is not at the start
        return _full()
    if lowered.startswith(("loading", "busy ", "masterdown")) or "busy running a script" in lowered:
        return StoreUnavailableError(f"Redis is busy: {text}")
    return StoreError(f"Redis refused a command: {text}")


def _full() -> StoreFullError:
    return StoreFullError("Redis is out of memory: raise its maxmemory, or lower the cache's cap.")


def _shown(error: BaseException) -> str:
    """Return the error's text without a command's arguments, which may be a caller's data."""
    text = str(error).split("with args beginning with")[0].split(", args")[0]
    return " ".join(text.split())[:SHOWN_ERROR_CHARACTERS]


def _connection_options(target: Target, deadline_s: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": target.username,
        "password": target.password,
        "socket_timeout": deadline_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S if deadline_s is None else deadline_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        # CLIENT SETINFO and SETNAME (client_name) would cost round trips per connection, and the latter fails the
        # connection of an ACL user who may not run it.
        "driver_info": None,
        "decode_responses": False,
    }
    if target.tls:
        tls: dict[str, Any] = {name: value for name, value in target.options.items() if name.startswith("ssl_")}
        if "ssl_check_hostname" in tls:
            tls["ssl_check_hostname"] = tls["ssl_check_hostname"] == "true"
        if tls.get("ssl_cert_reqs") == "none":
            tls["ssl_check_hostname"] = False  # the ssl module refuses the one without the other
        options |= tls
    return options


def _endpoint(target: Target) -> tuple[type[Any], dict[str, Any]]:
    if target.path is not None:
        return _SocketConnection, {"path": target.path}
    host, port = target.hosts[0]
    return (_TLSConnection if target.tls else _Connection), {"host": host, "port": port}


class _SentinelPool(SentinelConnectionPool):
    """A pool that closes its sentinels' connections with its own."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _sentinel_pool(target: Target, common: dict[str, Any], max_connections: int) -> SentinelConnectionPool:
    """Build a pool that asks the sentinels where the master is before each new connection."""
    to_sentinels = {name: value for name, value in common.items() if name not in ("username", "password")}
    to_sentinels |= {
        "username": target.options.get("sentinel_username"),
        "password": target.options.get("sentinel_password"),
        "ssl": target.tls,
    }
    manager = Sentinel(list(target.hosts), sentinel_kwargs=to_sentinels)  # type: ignore[no-untyped-call]
    return _SentinelPool(  # type: ignore[no-untyped-call]
        target.service, manager, ssl=target.tls, max_connections=max_connections, **common
    )
