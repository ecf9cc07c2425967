"""What a key may be used for, and what each path asks of it. Paths that are in no table ask for a key all the same.

Whether a path is open must not depend on how it is written, so it is split as the router splits it: at each slash, nothing decoded
(the server has done that), empty parts kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from proxy.errors import RequestError


class KeyScope(StrEnum):
    """What a key may be used for."""

    CHAT = "chat"
    """Calls to models: every route of a provider, cached or passed through."""
    CACHE = "cache"
    """The cache itself: entries, explain, feedback, what-if, named caches."""
    SESSIONS = "sessions"
    """What was said: sessions, their recordings and replays, users."""
    AGENTS = "agents"
    """What agents share: state, tasks, events, signals."""
    MEMORY = "memory"
    """Working and long-term memory, summaries."""
    ADMIN = "admin"
    """Keys, sharing, the audit log. Data is in none of it, and this scope opens no data."""


DATA = frozenset(KeyScope) - {KeyScope.ADMIN}
"""All but administration."""

_OPEN = frozenset({"health", "ready", "metrics", "openapi.json", "dashboard"})
"""First parts of paths that ask for no key: they tell nothing of any tenant."""
_BY_NAME = {
    "cache": KeyScope.CACHE,
    "caches": KeyScope.CACHE,
    "sessions": KeyScope.SESSIONS,
    "users": KeyScope.SESSIONS,
    "agents": KeyScope.AGENTS,
    "queues": KeyScope.AGENTS,
    "events": KeyScope.AGENTS,
    "signals": KeyScope.AGENTS,
    "working-memory": KeyScope.MEMORY,
    "long-term-memory": KeyScope.MEMORY,
    "memory": KeyScope.MEMORY,
    "summary-views": KeyScope.MEMORY,
    "tasks": KeyScope.MEMORY,  # of summary views; those of queues lie below /v1/queues
}
"""What follows /v1/ -> scope; everything else there is a model provider's."""


def is_open(path: str) -> bool:
    """Whether a path asks for no key."""
    first, _, rest = path.removeprefix("/").partition("/")
    return first in _OPEN or (first == "v1" and rest == "health")


def wanted_by(path: str) -> KeyScope | None:
    """The scope that a path asks for; None where any data scope will do."""
    first, _, rest = path.removeprefix("/").partition("/")
    if first == "admin":
        return KeyScope.ADMIN
    if first != "v1":
        return None  # /mcp: its tools' requests are asked again
    name = rest.partition("/")[0]
    return None if name == "usage" else _BY_NAME.get(name, KeyScope.CHAT)


def allows(scopes: frozenset[KeyScope], wanted: KeyScope | None) -> bool:
    """Whether these scopes open what is wanted."""
    return not scopes.isdisjoint(DATA) if wanted is None else wanted in scopes


def checked_scopes(names: Iterable[str]) -> frozenset[KeyScope]:
    """Scopes by name.

    Raises:
        RequestError: an unknown one, none at all, or administration together with data.
    """
    try:
        scopes = frozenset(map(KeyScope, names))
    except ValueError:
        raise _bad(f"choose from {', '.join(KeyScope)}") from None
    if not scopes:
        raise _bad("give at least one; a key that may do nothing is of no use")
    if KeyScope.ADMIN in scopes and len(scopes) > 1:
        raise _bad("`admin` stands alone, so that the key an application holds can never administer")
    return scopes


def _bad(mend: str) -> RequestError:
    return RequestError(f"`scopes` cannot be used: {mend}.", param="scopes")
