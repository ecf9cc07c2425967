"""What passes between the service of long-term memory and its store."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.core.memory.records import Memory


@dataclass(frozen=True, slots=True)
class Kept:
    """A memory as it lies in Redis.

    Attributes:
        memory: it.
        revision: rises with each change; what writes it must know.
        digest: of its text and scope, see `keys.text_digest`.
        embedder: fingerprint of the embedder whose vector it has, "" for none.
    """

    memory: Memory
    revision: int
    digest: str
    embedder: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """What a write came to. Neither written nor same nor gone: someone else changed it meanwhile.

    Attributes:
        is_written: it is there.
        same: id of another memory that says the same, for which nothing was written.
        is_gone: the memory to be replaced is not there; nothing was written.
    """

    is_written: bool
    same: str | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Vector:
    """A text's place in the space of one embedder.

    Attributes:
        embedder: its fingerprint.
        values: float32 little-endian bytes, L2-normalised.
    """

    embedder: str
    values: bytes
