"""Redis names of long-term memory.

    deja:v1:memory:{<tenant>}:<memory>          hash  a memory; the index reads its fields
    deja:v1:memory-ids:{<tenant>}               zset  ids of a tenant's memories, all with score 0: walked in their order
    deja:v1:memory-names:{<tenant>}:<kind>      hash  user, session or namespace -> how many memories are theirs
    deja:v1:memory-texts:{<tenant>}             hash  digest of text and scope -> id of the memory that says it
    deja:v1:extraction:{<source>}:<group>       hash  messages that wait for memories to be drawn from them
    deja:v1:extraction-taken:{<source>}         zset  messages of a session that are or were in a group, by when (unix s)
    deja:v1:memory-index:<embedder>             -     the RediSearch index over all memories, for one embedder

The braces are Redis Cluster's hash tag: a tenant's memories share a slot, so that one script keeps a memory and the lists together. None of
these keys has a TTL, since Redis evicts only keys that do; but what was taken goes after a week, and a group an hour after it is done.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum

from proxy.core.keys import PREFIX, digest, embedder_tag
from proxy.core.memory.records import Memory, MemoryType

MEMORY_PREFIX = f"{PREFIX}memory:{{"
"""What the keys of all memories begin with; the index takes in what does."""
HOLDS = "1"
"""The TAG of memories that no other has replaced."""


class Kind(StrEnum):
    """Whose names are counted."""

    USER = "user"
    SESSION = "session"
    NAMESPACE = "namespace"


def memory(tenant: str, memory_id: str) -> str:
    """A memory."""
    return f"{MEMORY_PREFIX}{tenant}}}:{memory_id}"


def ids(tenant: str) -> str:
    """Ids of a tenant's memories."""
    return f"{PREFIX}memory-ids:{{{tenant}}}"


def names(tenant: str, kind: Kind) -> str:
    """Whose memories a tenant has, and how many."""
    return f"{PREFIX}memory-names:{{{tenant}}}:{kind.value}"


def texts(tenant: str) -> str:
    """Which memory says a text."""
    return f"{PREFIX}memory-texts:{{{tenant}}}"


def extraction(tag: str, group: str) -> str:
    """Messages of one source that memories are drawn from together."""
    return f"{PREFIX}extraction:{{{tag}}}:{group}"


def extraction_taken(tag: str) -> str:
    """Messages of one source that are or were in a group."""
    return f"{PREFIX}extraction-taken:{{{tag}}}"


def index_name(fingerprint: str) -> str:
    """The index for one embedder."""
    return f"{PREFIX}memory-index:{embedder_tag(fingerprint)}"


def vector_field(fingerprint: str) -> str:
    """Field of a memory's vector, of one embedder: vectors of two may lie side by side while memories move to another."""
    return f"vector_{embedder_tag(fingerprint)}"


def tag(tenant: str, kind: str, value: str) -> str:
    """A word as the index compares it: 32 lower-case hex digits, since RediSearch folds case and reads punctuation.

    The tenant is part of it: a word of another tenant is another word.
    """
    return digest("memory-tag", tenant, kind, value)


def label_tag(tenant: str, kind: str, value: str) -> str:
    """The same of a topic or an entity, where upper and lower case are one."""
    return tag(tenant, kind, value.casefold())


def scope_tag(tenant: str, memory: Memory) -> str:
    """What two memories share that can say the same: tenant, user, namespace and type, with none for one of them."""
    return owner_tag(tenant, memory.user, memory.namespace, memory.memory_type)


def owner_tag(tenant: str, user: str | None, namespace: str | None, memory_type: MemoryType) -> str:
    """The same of whoever's memories of a type."""
    return digest("memory-scope", tenant, user, namespace, memory_type.value)


def text_digest(memory: Memory) -> str:
    """What two memories share that say the very same of the same: text, user, namespace and type.

    A fact is a user's and not a session's, so that one told in two sessions is one memory. Something that was said is its session's,
    and an event is what it is together with its time.
    """
    session = memory.session if memory.memory_type is MemoryType.MESSAGE else None
    event_at = memory.event_at if memory.memory_type is MemoryType.EPISODIC else None
    return digest(
        "memory-text", plain(memory.text), memory.user, memory.namespace, session, memory.memory_type.value, event_at
    )


def plain(text: str) -> str:
    """A text without what never matters: white space, Unicode's ways of writing one character, and a full stop at the end."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).rstrip(". ")
