"""Named caches: what an application stores and looks up by itself, and which keys and TAGs that leaves. Pure.

An entry bears one TAG and one set of exact keys for each subset of its attributes. So a search that names some attributes finds the
entries that have all of them, whatever else those have, by one TAG in the vector query or one GET; and nothing that lacks one of
them, or lies in another cache or tenant, can ever be a candidate. Five attributes at most, as LangCache has it: 32 subsets.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import orjson

from proxy.core import keys
from proxy.core.models import Entry, HitKind

MAX_ATTRIBUTES = 5
"""LangCache's own limit; with it an entry bears at most 32 TAGs and 65 exact keys, and mostly one or three."""
_ID_PREFIX = "ent_"


@dataclass(frozen=True, slots=True)
class Content:
    """What an entry of a named cache holds.

    Attributes:
        prompt: as the application wrote it.
        response: what it wants back.
        attributes: what it wants to search and delete by; at most `MAX_ATTRIBUTES`.
    """

    prompt: str
    response: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """What an application looks for.

    Attributes:
        prompt: the text.
        strategies: in the order of priority; at least one, none twice.
        attributes: an entry must have all of these, and may have more.
        threshold: least cosine similarity in [0, 1]; it can only be stricter than the judge.
        max_results: at most so many.
        is_repeat_only: the text is a whole conversation, which is compared exactly whatever the strategies say.
    """

    prompt: str
    strategies: tuple[HitKind, ...] = (HitKind.SEMANTIC,)
    attributes: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.0
    max_results: int = 1
    is_repeat_only: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """One entry that serves.

    Attributes:
        entry: the entry.
        content: what it holds.
        similarity: cosine in [0, 1]; 1 for the same text.
        strategy: which of the wanted ones found it.
    """

    entry: Entry
    content: Content
    similarity: float
    strategy: HitKind


def canonical(text: str) -> str:
    """The text that is compared and embedded: NFC, outer white space trimmed, as with a user's turn."""
    return unicodedata.normalize("NFC", text).strip()


def folded(text: str) -> str:
    """The same without the difference between upper and lower case."""
    return canonical(canonical(text).casefold())


def conversation(context: tuple[str, ...], prompt: str) -> str:
    """A prompt that says what it is about: the turns before it, and then itself."""
    return "\n".join((*context, prompt))


def subsets(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    """Every subset of some attributes, {} first and all of them last."""
    pairs = sorted(attributes.items())
    return [dict(chosen) for size in range(len(pairs) + 1) for chosen in combinations(pairs, size)]


def tags(room: str, attributes: Mapping[str, str]) -> str:
    """The entry's TAG field: one TAG for each search that may find it, with commas between them."""
    return ",".join(keys.attributes_tag(room, subset) for subset in subsets(attributes))


def repeat_print(room: str, prompt: str, attributes: Mapping[str, str]) -> str:
    """Fingerprint of a search for exactly this text with exactly these attributes named."""
    return keys.digest("cached-text", room, canonical(prompt), attributes)


def folded_print(room: str, prompt: str, attributes: Mapping[str, str]) -> str:
    """The same without case."""
    return keys.digest("cached-folded", room, folded(prompt), attributes)


def id_print(room: str, entry_id: str) -> str:
    """Fingerprint of an entry's id; which embedder made the entry's Redis key, the id does not tell."""
    return keys.digest("cached-id", room, entry_id)


def prints(room: str, entry_id: str, content: Content) -> tuple[str, ...]:
    """The fingerprints of all exact keys that lead to an entry; the first is of its text and all its attributes."""
    wanted = subsets(content.attributes)[::-1]
    return (
        *(repeat_print(room, content.prompt, subset) for subset in wanted),
        *(folded_print(room, content.prompt, subset) for subset in wanted),
        id_print(room, entry_id),
    )


def to_body(content: Content) -> bytes:
    """The content as an entry's body."""
    return orjson.dumps(
        {"prompt": content.prompt, "response": content.response, "attributes": dict(content.attributes)}
    )


def from_body(body: bytes) -> Content:
    """The content of an entry's body."""
    return Content(**orjson.loads(body))


def public_id(entry_id: str) -> str:
    """An entry's id as LangCache writes it: 32 hex digits."""
    return entry_id.removeprefix(_ID_PREFIX)


def entry_id_of(public: str) -> str:
    """The entry id behind a public one."""
    return f"{_ID_PREFIX}{public}"
