"""Redis names of access control; they share one slot, so that a change and its line in the audit log are one write.

deja:v1:access:{access}:keys         hash    key id -> record (JSON), with the hash of the key and never the key
deja:v1:access:{access}:hashes       hash    hash of a key -> key id; while a rotation lasts, of both
deja:v1:access:{access}:namespaces   hash    namespace -> what an admin decided for it (JSON)
deja:v1:access:{access}:version      string  another one after each change: what every process watches
deja:v1:access:{access}:audit        stream  what admins did
deja:v1:rate:{<scope>}:<kind>        hash    a token bucket: level, and when it was that
deja:v1:spent:{<scope>}:<period>     hash    tokens and nano-USD of a day or a month
deja:v1:spent-batch:{<scope>}:<id>   string  this batch of spending has been added
"""

from __future__ import annotations

from proxy.core.keys import PREFIX

_ACCESS = f"{PREFIX}access:{{access}}:"
KEYS = f"{_ACCESS}keys"
HASHES = f"{_ACCESS}hashes"
NAMESPACES = f"{_ACCESS}namespaces"
VERSION = f"{_ACCESS}version"
AUDIT = f"{_ACCESS}audit"


def rate(scope: str, kind: str) -> str:
    """Redis key of a token bucket: of `requests` or `tokens`."""
    return f"{PREFIX}rate:{{{scope}}}:{kind}"


def spent(scope: str, period: str) -> str:
    """Redis key of what was spent in a period: `2026-11-23` or `2026-11`."""
    return f"{PREFIX}spent:{{{scope}}}:{period}"


def spent_batch(scope: str, batch_id: str) -> str:
    """Redis key of the marker that a batch of spending has been added."""
    return f"{PREFIX}spent-batch:{{{scope}}}:{batch_id}"
