"""Redis URLs: read them into a value, and show them without their secrets. Pure; nothing is contacted here.

redis://[[user:]password@]host[:port][/0]                       TCP
rediss://…?ssl_ca_certs=PATH&ssl_certfile=PATH&ssl_keyfile=PATH TLS, verified
unix://[[user:]password@]/path/to.sock                          Unix socket
redis+sentinel://[[user:]password@]host:port,host:port/service  the master that Sentinel names; rediss+sentinel with TLS
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from proxy.errors import ConfigError

SETTING = "DEJA_REDIS__URL"
REDIS_PORT, SENTINEL_PORT = 6379, 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
SECRET_OPTIONS = ("sentinel_password", "password")
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a Redis is and how to greet it.

    Attributes:
        hosts: (host, port) pairs: one for TCP, the sentinels for Sentinel, none for a Unix socket.
        path: the Unix socket, else None.
        service: Sentinel's name of the master, else None.
        tls: whether the connection to Redis (and to the sentinels) is TLS.
        username: ACL user, None for the default one.
        password: its password.
        options: TLS and Sentinel options by name, checked.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


def parse(url: str) -> Target:
    """Read a URL.

    Raises:
        ConfigError: it cannot be used; the sentence says why and never repeats the URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:  # unbalanced brackets
        raise ConfigError(f"{SETTING} cannot be read as a URL: an IPv6 address goes in square brackets.") from error
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"{SETTING} must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}.")
    credentials, _, where = parts.netloc.rpartition("@")
    username, password = _credentials(credentials)
    tls = parts.scheme.startswith("rediss")
    sentinel = parts.scheme.endswith("+sentinel")
    options = _options(parts, tls=tls, sentinel=sentinel)
    if parts.scheme == "unix":
        if where or not parts.path.startswith("/"):
            raise ConfigError(f"{SETTING} must hold an absolute path after unix://, as in unix:///run/redis.sock.")
        return Target(path=unquote(parts.path), username=username, password=password, options=options)
    service, _, database = parts.path.strip("/").partition("/") if sentinel else ("", "", parts.path.strip("/"))
    if sentinel and not service:
        raise ConfigError(f"{SETTING} must end in the name of Sentinel's service, as in …:26379/mymaster.")
    _only_database_zero(database)
    port = SENTINEL_PORT if sentinel else REDIS_PORT
    return Target(
        hosts=_hosts(where, port, many=sentinel),
        service=unquote(service) or None,
        tls=tls,
        username=username,
        password=password,
        options=options,
    )


def redact(url: str) -> str:
    """Return the URL with user and passwords hidden, fit for logs and messages; works on malformed URLs too."""
    scheme, colons, rest = url.partition("://")
    if not colons:
        return HIDDEN if "@" in url else url
    where, mark, query = rest.partition("?")
    if "@" in query:  # perhaps a raw ? in the password: then nothing is certain
        return f"{scheme}://{HIDDEN}"
    if "@" in where and not where.startswith("/"):  # an @ in a socket's path hides nothing
        where = f"{HIDDEN}@{where.rpartition('@')[2]}"  # the last one: a raw @ or / may stand in the password
    shown = [
        pair if pair.partition("=")[0] not in SECRET_OPTIONS else f"{pair.partition('=')[0]}={HIDDEN}"
        for pair in query.split("&")
    ]
    return f"{scheme}://{where}{mark}{'&'.join(shown)}"


def _credentials(text: str) -> tuple[str | None, str | None]:
    user, colon, password = text.partition(":")
    if text and not colon:
        raise ConfigError(f"{SETTING} holds credentials without a colon: write user:password@ or :password@.")
    return unquote(user) or None, unquote(password) or None


def _hosts(where: str, default_port: int, *, many: bool) -> tuple[tuple[str, int], ...]:
    names = where.split(",")
    if len(names) > 1 and not many:
        raise ConfigError(f"{SETTING} names several hosts: that needs redis+sentinel:// and the service's name.")
    return tuple(_host(name, default_port) for name in names)


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::(\d{1,5}))?", text)
    port = int(match[3] or default_port) if match else 0
    if match is None or not 0 < port < 65536:
        raise ConfigError(f"{SETTING} must hold host or host:port, an IPv6 address in square brackets.")
    return match[1] or match[2], port


def _only_database_zero(database: str) -> None:
    if database not in ("", "0"):
        raise ConfigError(f"{SETTING} asks for another database than 0: Redis can search in database 0 only.")


def _options(parts: SplitResult, *, tls: bool, sentinel: bool) -> Mapping[str, str]:
    allowed = (TLS_OPTIONS if tls else ()) + (SENTINEL_OPTIONS if sentinel else ())
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    _only_database_zero(options.pop("db", ""))
    for name, value in options.items():
        if name not in allowed:
            raise ConfigError(f"{SETTING} holds an option {name!r} that means nothing here; {_known(allowed)}.")
        choices = {"ssl_cert_reqs": ("required", "none"), "ssl_check_hostname": ("true", "false")}.get(name)
        if choices and value not in choices:
            raise ConfigError(f"{SETTING}: {name} must be {' or '.join(choices)}.")
    return MappingProxyType(options)


def _known(allowed: tuple[str, ...]) -> str:
    return f"known are {', '.join(allowed)}" if allowed else "this kind of URL takes none"
