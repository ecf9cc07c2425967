"""Gates over the content words: opposites, names, quantifiers, and-or, and whatever else has no partner on the other side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reading import Reading
from proxy.core.gates.reasons import GateReason
from proxy.core.gates.slips import is_slip

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
# Letters that a word needs for a prefix to be one: these five open many words that they do not negate (import, deliver, intake).
_STEMS = {"in": 5, "im": 5, "ir": 5, "il": 5, "de": 5}
_STEM = 3


def _prefixed(ones: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Those of these words that are one of the others with a negative prefix, each with that one."""
    found = [x for x in ones if x.startswith(_NEGATIVE_PREFIXES)]
    return [(x, y) for x in found for y in others if x.endswith(y) and _is_negative(x[: -len(y)], y)]


def _is_negative(prefix: str, word: str) -> bool:
    return prefix in _NEGATIVE_PREFIXES and len(word) >= _STEMS.get(prefix, _STEM)


def names(pair: Pairing) -> Iterator[GateReason]:
    """Names. Clear where a name stands in another's place; one that only one side has may be beside the point."""
    known = pair.a.names | pair.b.names
    one, other = known.intersection(pair.extra_a), known.intersection(pair.extra_b)
    if one and other and pair.is_close(_FEW) and not _is_short_for(pair, one, other):
        yield GateReason.ENTITY
    elif one or other:
        yield GateReason.ENTITY_SOFT


def added_names(pair: Pairing) -> Iterator[GateReason]:
    """A name that one side alone has, and nothing of the kind on the other: later turns of a conversation may build on it."""
    known = pair.a.names | pair.b.names
    if known.isdisjoint(pair.extra_a) != known.isdisjoint(pair.extra_b):
        yield GateReason.ENTITY_SOFT


def _is_short_for(pair: Pairing, one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether all names on one side are another form of those on the other: India, Indian; Dutch, Netherlands; NASA in full."""
    listed, kin = lexicon().names, lexicon().kin

    def related(x: str, y: str) -> bool:
        if x in kin and y in kin and not kin[x].isdisjoint(kin[y]):
            return True
        short, long = sorted((x, y), key=len)
        if len(short) < _PREFIX or not (x in listed and y in listed):
            return (short[:_PREFIX] == long[:_PREFIX] and len(short) >= _PREFIX) or is_slip(x, y)
        return long.startswith(short) and long[len(short) :] in _PEOPLES

    if all(any(related(x, y) for y in other) for x in one) or all(any(related(x, y) for x in one) for y in other):
        return True
    return _are_initials(one, pair.extra_b) or _are_initials(other, pair.extra_a)


# Letters that two forms of one name share at the front; two listed names must be a land and its people (Niger is not Nigeria).
_PREFIX = 4
_PEOPLES = frozenset({"n", "an", "ian", "ean", "ese", "ish", "i", "er"})


def _are_initials(names: frozenset[str], words: Sequence[str]) -> bool:
    initials = "".join(word[0] for word in words)
    return any(len(name) > 1 and name in initials for name in names)


def quantifiers(pair: Pairing) -> Iterator[GateReason]:
    """How many, which one in a row, and "and" or "or". Clear where one of them stands in another's place."""
    known = lexicon().quantifiers
    one, other = known.intersection(pair.extra_a), known.intersection(pair.extra_b)
    ordinals_a, ordinals_b = _ordinals(pair.a), _ordinals(pair.b)
    if ordinals_a != ordinals_b:
        one, other = one | (ordinals_a - ordinals_b), other | (ordinals_b - ordinals_a)
    if len(one) == len(other) == 1 and pair.is_close(_FEW - 1) and _is_other_share(*one, *other):
        yield GateReason.QUANTIFIER
    elif one or other:
        yield GateReason.QUANTIFIER_SOFT
    a, b = pair.a.connectives, pair.b.connectives
    if a != b and a and b:
        is_clear = len(a) == len(b) == 1 and known.issuperset((*pair.extra_a, *pair.extra_b))
        yield GateReason.QUANTIFIER if is_clear else GateReason.QUANTIFIER_SOFT


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
    """Whether two words of how many or which are at odds; two ordinals are the numbers' matter."""
    ordinals = one.endswith("th") + other.endswith("th")
    return ordinals < 2 and len({one, other} & _SHARES) == 2 - ordinals and not {one, other} <= _EVERY


def _ordinals(reading: Reading) -> frozenset[str]:
    return frozenset([n[0] for n in reading.numbers if n[0].endswith("th")])


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
