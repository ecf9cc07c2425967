"""Gates over the content words: opposites, names, quantifiers, and-or, and whatever else has no partner on the other side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reasons import GateReason

# With more unmatched words than this on the two sides, words that clash may belong to different things.
_FEW = 4


def antonyms(pair: Pairing) -> Iterator[GateReason]:
    """Opposites. Clear where one word stands against its opposite; two such pairs, or one and a negation, may say the same again."""
    a, b = pair.a, pair.b
    if not (pair.only_a or pair.only_b):
        return
    found = _opposed(pair.only_a, pair.only_b)
    if found and (found + a.negations - b.negations) % 2 == 1 and pair.is_close(_FEW + 1):
        yield GateReason.ANTONYM
    elif found or _opposed(pair.only_a, tuple(b.counts)) or _opposed(pair.only_b, tuple(a.counts)):
        yield GateReason.ANTONYM_SOFT


_NEGATIVE_PREFIXES = ("un", "dis", "in", "im", "ir", "il", "non", "de", "anti", "mis")


def _opposed(ones: Sequence[str], others: Sequence[str]) -> int:
    """How many of these words stand against an opposite: a listed one, or themselves with a negative prefix (lock, unlock)."""
    opposites = lexicon().antonyms
    return sum(1 for x in ones if any((x, y) in opposites or _is_prefixed(x, y) for y in others))


def _is_prefixed(one: str, other: str) -> bool:
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return len(short) > 2 and long.endswith(short) and long[: -len(short)] in _NEGATIVE_PREFIXES


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
