"""Do two memories say the same? The gates that guard the cache, what a fact needs beside them, and how sure the verifier has to be.

Merging loses what the two differ in, so everything here errs towards keeping both. The verifier was trained on questions, where one
answer may serve "lives" and "lived"; a memory must not. So the words that say when, whether and how often a thing holds have to agree, and
where each of the two has a word that the other lacks, the verifier has to be surer than where neither has. Numbers: decision 0013.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from proxy.core.gates import GateReason, Reading, objections, read
from proxy.core.memory import keys
from proxy.core.memory.records import Memory, MemoryType

CANDIDATES = 6
"""Nearest memories of the same user that are looked at."""
MAX_DISTANCE = 0.45
"""Cosine distance beyond which two memories are not compared."""
SURE_LOGIT, OTHER_WORDS_LOGIT, SWAPPED_LOGIT = 1.5, 3.5, 4.5
"""What the less sure of the verifier's two orders has to reach; the second where each text has words that the other lacks, the third where
that is one word each, a thing in place of another as like as not, or where parts of the sentence may have changed places."""
DAY_S = 86_400.0
_TOLERATED = frozenset({
    GateReason.WORDING, GateReason.DIRECTION_SOFT, GateReason.QUANTIFIER_SOFT,
})  # fmt: skip
"""Objections to how it is said, which the verifier may outweigh. All others, hard or soft, keep two memories apart."""
_MARKERS = tuple(
    frozenset(group.split())
    for group in (
        "was were had did used been ago former formerly previously once",
        "will shall going soon tomorrow upcoming",
        "still already anymore longer yet",
        "sometimes often usually rarely seldom always mostly occasionally daily weekly monthly yearly",
        "only just exclusively except without",
        "never",
        "some few many most several all fluently slightly somewhat extremely",
        "near around outside inside before after until since during between",
        "am pm morning evening night afternoon noon midnight",
        "and or",
        "learn learns learning study studies studying lessons",
        "brother sister sibling mother father son daughter cousin uncle aunt nephew niece grandmother grandfather wife husband partner"
        " girlfriend boyfriend fiance friend boss manager colleague neighbour neighbor roommate teacher doctor",
    )
)
"""Words that say when, whether, how often, how far and of whom something holds: of each group both texts must have the same ones."""
_WISHES = frozenset(
    """want wants wanted wish wishes hope hopes hoping plan plans planning planned intend intends consider considers considering would
    might may could should try tries trying thinking dream dreams aim aims""".split()  # noqa: SIM905  as a list they would be harder to read
)
"""What is only wanted: both texts must have one of these, or none."""
_ALIKE = (
    "like enjoy fond love", "live reside home", "call name", "own have has", "work employ employed job", "study learn lesson",
    "speak speaker", "visit travel go", "commute travel go get", "interested interest interesting", "prefer rather", "dislike hate",
    "suffer affect diagnosed has", "begin start", "purchase buy", "graduate degree", "scared afraid", "trouble difficulty",
    "rise wake get", "train training", "brief short",
)  # fmt: skip
"""Words that say the same of a person; beside the synonyms that the gates know."""


def may_compare(one: Memory, other: Memory) -> bool:
    """Whether two memories can say the same of the same at all: whose they are, what they are, and when."""
    if (one.user, one.namespace, one.memory_type) != (other.user, other.namespace, other.memory_type):
        return False
    if one.memory_type is MemoryType.MESSAGE or one.invalid_at is not None or other.invalid_at is not None:
        return False
    if one.event_at is None or other.event_at is None:
        return one.event_at is other.event_at
    return abs(one.event_at - other.event_at) < DAY_S


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts differ in nothing that matters."""
    return keys.plain(one) == keys.plain(other)


def needed_logit(one: str, other: str) -> float | None:
    """What the verifier has to say of two texts that are to be merged; None where nothing it says would do. Symmetric."""
    a, b = read(one), read(other)
    found = objections(a, b)
    if not found <= _TOLERATED or not _hold_alike(one.lower(), other.lower()):
        return None
    left_a, left_b = _left(a, b), _left(b, a)
    left = left_a.total() + left_b.total()
    is_turned = GateReason.DIRECTION_SOFT in found and not left
    if is_turned or left_a.total() == left_b.total() == 1 or _names_in_order(a, b) != _names_in_order(b, a):
        return SWAPPED_LOGIT
    return OTHER_WORDS_LOGIT if left_a and left_b else SURE_LOGIT


def _names_in_order(one: Reading, other: Reading) -> list[str]:
    """The names of both texts as they follow each other in one: who reports to whom hangs on it."""
    both = (one.names | other.names) & set(one.words) & set(other.words)
    return [word for word in one.words if word in both]


def _hold_alike(one: str, other: str) -> bool:
    a, b = Counter(_WORD.findall(one)), Counter(_WORD.findall(other))
    if any(a.keys() & group != b.keys() & group for group in _MARKERS):
        return False
    if bool(a.keys() & _WISHES) != bool(b.keys() & _WISHES):
        return False
    return not (_told_in_past(one, b) or _told_in_past(other, a))


_WORD = re.compile(r"[a-z]+")
_PAST = re.compile(r"(?<!\bis )(?<!\bare )(?<!\bbe )(?<!'s )(?<!\bhas )(?<!\bhave )\b([a-z]{3,})ed\b")
"""A verb in the past, and not the participle of "is called" or "has moved"."""


def _told_in_past(one: str, other: Counter[str]) -> bool:
    """Whether a verb stands in the past in one text and in the present in the other: "lived" and "lives"."""
    return any(
        stem + "ed" not in other and not other.keys().isdisjoint((stem, stem + "s", stem + "e", stem + "es"))
        for stem in _PAST.findall(one)
    )


def _left(one: Reading, other: Reading) -> Counter[str]:
    """The content words of one text that the other has no match for."""
    fold = _folds()
    return Counter(fold.get(word, word) for word in one.words) - Counter(fold.get(word, word) for word in other.words)


@cache
def _folds() -> dict[str, str]:
    """Content word, as a reading has it -> the one that stands for all like it."""
    return {word: group.split()[0] for group in _ALIKE for text in group.split() for word in read(text).words}
