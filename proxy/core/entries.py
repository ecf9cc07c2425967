"""A tenant's stored answers as a list: which of them are wanted, where a page ends, and what has to be said before many are removed. Pure.

Conditions are exact, and all of them must hold; `text` is a part of the question, in whatever case. An invalidation is first counted;
the count comes with a token of exactly these conditions, without which nothing is removed: what is mistyped is seen before it costs
anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core.keys import digest

ENTRY_ID = re.compile(r"(?:ent|emb)_[0-9a-f]{32}")
SHOWN = ("entry_id", "family", "namespace", "model", "question", "tags", "created_at", "ttl_s", "fingerprint")
"""Fields of an entry that a list is made of."""
EMBEDDINGS = "embeddings"
"""The family whose entries are vectors."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; None is no condition.

    Attributes:
        namespace: "" is the one without a name.
        model: as the requests named it.
        family: of the route: `chat`, `embeddings`, …
        tags: labels an entry must have, all of them.
        text: a part of the question.
        is_semantic: whether other wordings may have the answer, too.
        created_before: unix seconds.
    """

    namespace: str | None = None
    model: str | None = None
    family: str | None = None
    tags: tuple[str, ...] = ()
    text: str | None = None
    is_semantic: bool | None = None
    created_before: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether there is no condition at all."""
        return self == Wanted()

    def token(self, tenant: str) -> str:
        """What a removal under these conditions has to present."""
        conditions = (
            *(self.namespace, self.model, self.family, sorted(self.tags)),
            *(self.text, self.is_semantic, self.created_before),
        )
        return digest("invalidation", tenant, conditions)


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry in a list.

    Attributes:
        redis_key: where it lies.
        entry_id: `ent_…`, of a vector `emb_…`.
        family: of the route that stored it.
        namespace: the caller's own partitioning.
        model: as the request named it.
        question: the text matched by meaning, "" where only an exact repeat may have it.
        tags: the caller's labels.
        created_at: unix seconds.
        ttl_s: seconds it is fresh.
        fingerprint: of the exact key that leads to it, "" for vectors, which are their own.
    """

    redis_key: str
    entry_id: str
    family: str
    namespace: str
    model: str
    question: str
    tags: tuple[str, ...]
    created_at: float
    ttl_s: int
    fingerprint: str

    @property
    def room(self) -> str:
        """What its Redis keys have as hash tag."""
        return self.redis_key.partition("{")[2].partition("}")[0]

    @property
    def is_vector(self) -> bool:
        """Whether it is an embedding and no answer."""
        return self.family == EMBEDDINGS

    @property
    def expires_at(self) -> float:
        """Unix seconds."""
        return self.created_at + self.ttl_s

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether all conditions hold."""
        return (
            wanted.namespace in (None, self.namespace)
            and wanted.model in (None, self.model)
            and wanted.family in (None, self.family)
            and set(wanted.tags) <= set(self.tags)
            and (wanted.text is None or wanted.text.casefold() in self.question.casefold())
            and wanted.is_semantic in (None, bool(self.question))
            and (wanted.created_before is None or self.created_at < wanted.created_before)
        )

    def shown(self) -> dict[str, Any]:
        """As callers see it."""
        return {
            "id": self.entry_id,
            "object": "cache.entry",
            "family": self.family,
            "namespace": self.namespace,
            "model": self.model,
            "question": self.question or None,
            "tier": "semantic" if self.question else "exact",
            "tags": list(self.tags),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
        }


def listed(redis_key: str, fields: Mapping[str, bytes | None]) -> Listed | None:
    """The entry of a hash, of which the `SHOWN` fields were read; None where it is gone."""
    if None in (fields.get("entry_id"), fields.get("created_at"), fields.get("ttl_s")):
        return None
    text = {name: (fields.get(name) or b"").decode() for name in SHOWN}
    return Listed(
        redis_key=redis_key,
        entry_id=text["entry_id"],
        family=text["family"],
        namespace=text["namespace"],
        model=text["model"],
        question=text["question"],
        tags=tuple(filter(None, text["tags"].split(","))),
        created_at=float(text["created_at"]),
        ttl_s=int(text["ttl_s"]),
        fingerprint=text["fingerprint"],
    )


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a walk is: those that expire last come first.

    Attributes:
        score: second at which the last one met expires, None at the beginning.
        skip: how many that expire in that same moment have been met.
    """

    score: float | None = None
    skip: int = 0

    def after(self, scores: list[float]) -> Cursor:
        """The same after some more, in their order; at least one."""
        last = scores[-1]
        met = scores.count(last)
        return Cursor(last, met + (self.skip if last == self.score else 0))

    def to_wire(self) -> str:
        """As callers are given it."""
        return f"{self.score!r}-{self.skip}"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a tenant's list.

    Attributes:
        begins: where.
        members: Redis key and score of all that it holds, those that are gone among them.
        found: those that are there.
        is_last: nothing follows.
    """

    begins: Cursor
    members: tuple[tuple[str, float], ...]
    found: tuple[Listed, ...]
    is_last: bool

    def following(self, *, removed: frozenset[str] = frozenset(), upto: str | None = None) -> Cursor | None:
        """Where the walk goes on; None at its end.

        Args:
            removed: Redis keys taken off the list since the page was read.
            upto: the Redis key after which to go on, in place of the page's end.
        """
        names = [redis_key for redis_key, _ in self.members]
        end = len(names) if upto is None else names.index(upto) + 1
        if self.is_last and end == len(names):
            return None
        left = [score for redis_key, score in self.members[:end] if redis_key not in removed]
        return self.begins.after(left) if left else self.begins


def cursor_from_wire(text: str | None) -> Cursor | None:
    """Read what `to_wire` gave; None for anything else."""
    if text is None:
        return Cursor()
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,20})?)-(\d{1,9})", text)
    return Cursor(float(found[1]), int(found[2])) if found else None
