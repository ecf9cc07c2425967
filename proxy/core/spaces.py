"""Embedders that come and go: what each is, where entries may lie that one of them made, how far a migration is. Pure.

An entry's key names the embedder of its vector. Once that is replaced by another, the entry is embedded anew and moves to the other's keys.
Whatever names it by its key for long (a trace, a decision, a recording) is not rewritten: the entry is looked for under the names of
all embedders there have been, a handful.

    deja:v1:embedders       hash   tag of an embedder -> what it is (JSON)
    deja:v1:embedder-users  zset   "<tag> <process>" of the processes that embed with it, by when they last said so (unix seconds)
    deja:v1:migration       hash   how far the last migration is
    deja:v1:migration-turn  string which process moves entries now
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from proxy.core.keys import PREFIX, embedder_tag

EMBEDDERS = f"{PREFIX}embedders"
USERS = f"{PREFIX}embedder-users"
MIGRATION = f"{PREFIX}migration"
TURN = f"{PREFIX}migration-turn"
_INDEX = re.compile(rf"{PREFIX}index:([0-9a-f]+):")
_ENTRY = re.compile(rf"{PREFIX}entry:[0-9a-f]+:(\{{.+)")


@dataclass(frozen=True, slots=True)
class KnownEmbedder:
    """An embedder that some Deja on this Redis has used.

    Attributes:
        fingerprint: of its vector space.
        dim: length of its vectors.
        source: where a model on this machine is opened from; "" for a remote one, whose URL may hold a password.
        precision: of a local model's weights.
    """

    fingerprint: str
    dim: int
    source: str = ""
    precision: str = ""

    @property
    def tag(self) -> str:
        """Its name in keys."""
        return embedder_tag(self.fingerprint)

    def to_wire(self) -> bytes:
        """As Redis keeps it."""
        return orjson.dumps(asdict(self))


def known_from_wire(raw: bytes) -> KnownEmbedder:
    """Read what `to_wire` gave."""
    return KnownEmbedder(**orjson.loads(raw))


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that is still to move.

    Attributes:
        redis_key: where it lies.
        entry_id: its id.
        question: the text it answers; "" where only an exact repeat may have it, None where it cannot be opened.
        expires_at: unix seconds, as its lists have it.
    """

    redis_key: str
    entry_id: str
    question: str | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is.

    Attributes:
        before: fingerprint of the embedder that is replaced.
        now: of the one in its place.
        began_at: unix seconds.
        ended_at: unix seconds; None while entries are left.
        moved: entries that have moved.
        exact_only: of these, how many the new embedder cannot read whole: exact repeats alone find them from now on.
    """

    before: str
    now: str
    began_at: float
    ended_at: float | None = None
    moved: int = 0
    exact_only: int = 0

    def shown(self, *, left: int | None) -> dict[str, Any]:
        """As admins see it; `left` is how many entries still wait, None where that is not known."""
        return {
            "object": "cache.migration",
            "state": "ended" if self.ended_at is not None else "running",
            "from": self.before,
            "to": self.now,
            "moved": self.moved,
            "exact_only": self.exact_only,
            "left": 0 if self.ended_at is not None else left,
            "began_at": self.began_at,
            "ended_at": self.ended_at,
        }


def progress_of(fields: Mapping[str, str]) -> Progress | None:
    """Read a migration from its hash; None where there has been none."""
    if not fields.get("before"):
        return None
    ended_at = fields.get("ended_at")
    return Progress(
        before=fields["before"],
        now=fields["now"],
        began_at=float(fields["began_at"]),
        ended_at=None if ended_at is None else float(ended_at),
        moved=int(fields.get("moved", 0)),
        exact_only=int(fields.get("exact_only", 0)),
    )


def homes(redis_key: str, tags: Collection[str]) -> tuple[str, ...]:
    """Where an entry may lie that lay under a key once: there, and under the same name with each of some embedders' tags.

    Args:
        redis_key: of an entry; any other key has one home alone.
        tags: of the embedders there have been.
    """
    found = _ENTRY.fullmatch(redis_key)
    if found is None:
        return (redis_key,)
    return tuple(dict.fromkeys((redis_key, *(f"{PREFIX}entry:{tag}:{found[1]}" for tag in tags))))


def tag_of_index(name: str) -> str | None:
    """Tag of the embedder whose entries a RediSearch index holds; None for an index of something else."""
    found = _INDEX.match(name)
    return None if found is None else found[1]
