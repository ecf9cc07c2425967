"""Gates over the content words: opposites, names, quantifiers, and-or, and whatever else has no partner on the other side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reasons import GateReason

# With more unmatched words than this on the two sides, words that clash may belong to different things.
_FEW = 4


def antonyms(pair: Pairing) -> Iterator[GateReason]:
    """Opposites. Clear where one word stands against its opposite; two such pairs, or one and a negation, may say the same again."""
    a, b = pair.a, pair.b
    only_a, only_b = pair.only_a, pair.only_b
    found = _clashes(only_a, only_b) if only_a and only_b else 0
    if found and (found + a.negations - b.negations) % 2 == 1 and pair.is_close(_FEW + 1):
        yield GateReason.ANTONYM
    elif found or _listed(only_a, b.counts) or _listed(only_b, a.counts):
        yield GateReason.ANTONYM_SOFT


def _clashes(ones: Sequence[str], others: Sequence[str]) -> int:
    """How many words of one side stand against an opposite on the other, a listed one or one by its prefix (lock, unlock)."""
    clashing = _listed(ones, others)
    clashing.update(x for x, y in _prefixed(ones, others))
    clashing.update(x for y, x in _prefixed(others, ones))
    return len(clashing)


def _listed(ones: Sequence[str], others: Collection[str]) -> set[str]:
    """Those of these words that have a listed opposite among the others."""
    opposites = lexicon().antonyms
    return {x for x in ones if x in opposites and not opposites[x].isdisjoint(others)}


_NEGATIVE_PREFIXES = ("un", "dis", "in", "im", "ir", "il", "non", "de", "anti", "mis")
# Words of so few letters are no stems: "ill" is no negative of "l".
_SHORT = 2


def _prefixed(ones: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Those of these words that are one of the others with a negative prefix, each with that one."""
    found = [x for x in ones if x.startswith(_NEGATIVE_PREFIXES)]
    return [
        (x, y)
        for x in found
        for y in others
        if len(y) > _SHORT and x.endswith(y) and x[: -len(y)] in _NEGATIVE_PREFIXES
    ]


def names(pair: Pairing) -> Iterator[GateReason]:
    """Names. Clear where a name stands in another's place; one that only one side has may be beside the point."""
    known = pair.a.names | pair.b.names
    one, other = known.intersection(pair.extra_a), known.intersection(pair.extra_b)
    if one and other and pair.is_close(_FEW) and not _is_short_for(pair, one, other):
        yield GateReason.ENTITY
    elif one or other:
        yield GateReason.ENTITY_SOFT


def _is_short_for(pair: Pairing, one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether all names on one side are another form of those on the other: India, Indian; NASA and what it stands for."""
    listed = lexicon().names

    def related(x: str, y: str) -> bool:
        if x in listed and y in listed:
            return False
        common = next((i for i, (c, d) in enumerate(zip(x, y, strict=False)) if c != d), min(len(x), len(y)))
        return common >= _PREFIX

    if all(any(related(x, y) for y in other) for x in one) or all(any(related(x, y) for x in one) for y in other):
        return True
    return _are_initials(one, pair.extra_b) or _are_initials(other, pair.extra_a)


# Letters that two forms of one name share at the front.
_PREFIX = 4


def _are_initials(names: frozenset[str], words: Sequence[str]) -> bool:
    initials = "".join(word[0] for word in words)
    return any(len(name) > 1 and name in initials for name in names)


def quantifiers(pair: Pairing) -> Iterator[GateReason]:
    """How many, which one in a row, and "and" or "or". Clear where one of them stands in another's place."""
    known = lexicon().quantifiers
    one, other = known.intersection(pair.extra_a), known.intersection(pair.extra_b)
    if len(one) == len(other) == 1 and pair.is_close(_FEW - 1) and _is_other_share(*one, *other):
        yield GateReason.QUANTIFIER
    elif one or other:
        yield GateReason.QUANTIFIER_SOFT
    a, b = pair.a.connectives, pair.b.connectives
    if a != b and a and b:
        yield GateReason.QUANTIFIER if pair.is_close(0) and len(a) == len(b) == 1 else GateReason.QUANTIFIER_SOFT


_EVERY = frozenset({"all", "every", "each", "entir", "whol", "both"})
_SHARES = _EVERY | {
    "most",
    "only",
    "alon",
    "alway",
    "often",
    "sometim",
    "rare",
    "few",
    "first",
    "last",
    "next",
    "second",
    "previou",
}


def _is_other_share(one: str, other: str) -> bool:
    return one in _SHARES and other in _SHARES and not {one, other} <= _EVERY


def wording(pair: Pairing) -> Iterator[GateReason]:
    """Any other word without a partner, unless it is harmless and one side alone has more words."""
    one, other = pair.extra_a, pair.extra_b
    if not (one or other):
        return
    lex = lexicon()
    known = pair.a.names | pair.b.names | lex.quantifiers
    rest = [word for word in (*one, *other) if word not in known]
    if rest and ((one and other) or any(word not in lex.harmless_extras for word in rest)):
        yield GateReason.WORDING
