"""Redis names of access control; they share one slot, so that a change and its line in the audit log are one write.

deja:v1:access:{access}:keys         hash    key id -> record (JSON), with the hash of the key and never the key
deja:v1:access:{access}:hashes       hash    hash of a key -> key id; while a rotation lasts, of both
deja:v1:access:{access}:namespaces   hash    namespace -> what an admin decided for it (JSON)
deja:v1:access:{access}:version      string  another one after each change: what every process watches
deja:v1:access:{access}:audit        stream  what admins did
deja:v1:requests:{<spender>}           hash    token bucket of a key's requests: level, and when it was that
deja:v1:tokens:{<tenant>}:<period>     string  tokens of a minute, a day or a month
deja:v1:tokens-batch:{<tenant>}:<id>   string  these tokens have been added
"""

from __future__ import annotations

from proxy.core.keys import PREFIX

_ACCESS = f"{PREFIX}access:{{access}}:"
KEYS = f"{_ACCESS}keys"
HASHES = f"{_ACCESS}hashes"
NAMESPACES = f"{_ACCESS}namespaces"
VERSION = f"{_ACCESS}version"
AUDIT = f"{_ACCESS}audit"


def requests(spender: str) -> str:
    """Redis key of the token bucket of a key's requests."""
    return f"{PREFIX}requests:{{{spender}}}"


def tokens(tenant: str, period: str) -> str:
    """Redis key of the tokens of a period: `2026-11-23T00:49`, `2026-11-23` or `2026-11`."""
    return f"{PREFIX}tokens:{{{tenant}}}:{period}"


def tokens_batch(tenant: str, batch_id: str) -> str:
    """Redis key of the marker that a batch of tokens has been added."""
    return f"{PREFIX}tokens-batch:{{{tenant}}}:{batch_id}"
