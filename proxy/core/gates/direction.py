"""Who does what to whom: whether words that two questions share stand in the same roles, by order and by preposition.

Clear is a swap: a word under the opposite preposition ("to Paris", "from Paris"), or two phrases that have changed places in an otherwise
equal order ("cats chase dogs", "dogs chase cats"). Any other change of order or preposition is a soft objection, but in a long text of the
same words, where what was exchanged cannot be told from what was only put elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reading import Reading
from proxy.core.gates.reasons import GateReason
from proxy.core.gates.shapes import ARTICLES, AUX

# With more unmatched words than this a change of order may be another way to say it.
_FEW = 3
# Shared words, and their share of all words, from which another order refuses. Of what a verifier was sure of (confidence 0.95) it takes 17
# of 20 exchanges of PAWS-X and 8 of some 1,600 rewordings of Quora's; with seven words it would take 15 of these.
_LONG, _ALIKE = 8, 0.75

Placed = Sequence[tuple[str, str]]
"""Words with the prepositions they stand under, in order."""


def direction(pair: Pairing) -> Iterator[GateReason]:
    """Prepositions must agree, and words that moved must have taken their phrase along."""
    a, b = pair.a, pair.b
    if a.words == b.words and a.marks == b.marks and a.strict == b.strict:
        return
    shared = a.counts.keys() & b.counts.keys()
    if a.adverbs or b.adverbs:
        shared -= (a.adverbs | b.adverbs) - lexicon().quantifiers
    one, other = _first_of_each(a, shared), _first_of_each(b, shared)
    if pair.is_close(_FEW) and (_opposed(pair, one, other) or (_has_places(a, b) and _swapped(one, other))):
        yield GateReason.DIRECTION
    elif a.strict != b.strict or not _agree(one, other):
        yield GateReason.DIRECTION_SOFT
        if len(shared) >= max(_LONG, _ALIKE * len(a.counts.keys() | b.counts.keys())):
            yield GateReason.ORDER


def _agree(one: Placed, other: Placed) -> bool:
    free = lexicon().free
    if [w for w, _ in one] == [w for w, _ in other]:
        return _roles(one, free) == _roles(other, free) or not _crossed(one, other)
    return _moved_whole(one, other, free)


def _first_of_each(reading: Reading, shared: Collection[str]) -> list[tuple[str, str]]:
    """The shared words with their marks, in order; of a repeated word the first."""
    if len(reading.counts) == len(reading.words):
        return [placed for placed in zip(reading.words, reading.marks, strict=True) if placed[0] in shared]
    first: dict[str, str] = {}
    for word, mark in zip(reading.words, reading.marks, strict=True):
        if word in shared:
            first.setdefault(word, mark)
    return list(first.items())


def _roles(words: Placed, free: Collection[str]) -> Counter[tuple[str, str]]:
    return Counter((w, m) for w, m in words if m and m not in free)


# --- clear: opposite prepositions, changed places ---

_OPPOSED = frozenset(
    frozenset(two)
    for two in (
        ("from", "to"), ("from", "into"), ("from", "towards"), ("before", "after"), ("above", "below"), ("over", "under"),
        ("above", "under"), ("over", "below"),
        ("inside", "outside"), ("on", "off"), ("up", "down"), ("into", "out"), ("in", "out"), ("for", "against"),
    )
)  # fmt: skip


def _opposed(pair: Pairing, one: Placed, other: Placed) -> bool:
    """Whether a word stands under opposite prepositions, or one text says "before" where the other says "after"."""
    strict_a, strict_b = pair.a.strict, pair.b.strict
    if ("off" in strict_a) != ("off" in strict_b) and _turned_off(pair):
        return True
    if strict_a != strict_b and len(strict_a) == len(strict_b):
        left_a, left_b = Counter(strict_a) - Counter(strict_b), Counter(strict_b) - Counter(strict_a)
        if any({x, y} in _OPPOSED for x in left_a for y in left_b):
            return True
    marks = dict(other)
    return any(x != marks[word] and {x, marks[word]} in _OPPOSED for word, x in one)


def _has_places(a: Reading, b: Reading) -> bool:
    """Whether places tell who does what here: not among equals, and not between a sentence and words typed into a search box."""
    if "or" in a.connectives or "or" in b.connectives or _is_sentence(a) != _is_sentence(b):
        return False
    return lexicon().mutual.isdisjoint(a.counts.keys() | b.counts.keys())


def _is_sentence(reading: Reading) -> bool:
    return len(reading.plain) > _SEARCH or not _SENTENCES.isdisjoint(reading.plain)


# Words that are typed into a search box at most: "Mills acquired Foods in 2003 for 40 million" is a sentence without an auxiliary.
_SEARCH = 7
_SENTENCES = (AUX | ARTICLES | {"i", "my", "you", "your", "me", "am"}) - {"some"}


def _turned_off(pair: Pairing) -> bool:
    """Whether one text says "on" where the other says "off", wherever the particle stands."""
    a, b = pair.a.plain, pair.b.plain
    return ("on" in a and "on" not in b) if "off" in pair.b.strict else ("on" in b and "on" not in a)


def _swapped(one: Placed, other: Placed) -> bool:
    """Whether two phrases have changed places and all else stands where it stood, prepositions too."""
    marks = dict(other)
    moved = {word: (x, marks[word]) for word, x in one if marks[word] != x}
    if any(x and y and (y, x) in moved.values() for x, y in moved.values()):
        return True
    words_a, words_b = [w for w, _ in one], [w for w, _ in other]
    if words_a == words_b:
        return False
    start = next(i for i, (x, y) in enumerate(zip(words_a, words_b, strict=True)) if x != y)
    end = next(i for i, (x, y) in enumerate(zip(words_a[::-1], words_b[::-1], strict=True)) if x != y)
    stop = len(words_a) - end
    return [m for _, m in one] == [m for _, m in other] and _exchanged(
        one[start:stop], words_a[start:stop], words_b[start:stop]
    )


def _exchanged(placed: Placed, a: list[str], b: list[str]) -> bool:
    """Whether `a` is X M Y and `b` is Y M X; X and Y side by side must stand under different prepositions."""
    for x in range(1, len(a)):
        if a[:x] != b[-x:]:
            continue
        for y in range(1, len(a) - x + 1):
            if a[-y:] == b[:y] and a[x : len(a) - y] == b[y : len(b) - x]:
                return x + y < len(a) or placed[0][1] != placed[-1][1]
    return False


# --- soft: any other change ---


def _crossed(one: Placed, other: Placed) -> bool:
    """The same words in the same order, one of them under another strict preposition or "to" after a motion."""
    strict = lexicon().strict
    before = ""
    for (word, x), (_, y) in zip(one, other, strict=True):
        if x != y and (x in strict or y in strict or (before in _MOTIONS and "to" in {x, y})):
            return True
        before = word
    return False


# After these, "to" is where it goes ("change to a gold account"), not an infinitive. Keys of the lexicon.
_MOTIONS = frozenset({
    "chang", "switch", "go", "move", "convert", "upgrad", "downgrad", "travel", "fly", "transfer",
    "send", "return", "migrat", "listen", "talk", "speak", "translat",
})  # fmt: skip


def _moved_whole(one: Placed, other: Placed, free: Collection[str]) -> bool:
    """Whether two orders differ only in free phrases put elsewhere ("In Python, how ...", "France's capital")."""
    marks_a, marks_b = dict(one), dict(other)
    floats_a = {w for w, m in one if m in free}
    floats_b = {w for w, m in other if m in free}
    only_a, only_b = floats_a - floats_b, floats_b - floats_a
    if only_a and only_b:
        return False
    both = floats_a & floats_b
    if len(both) > 1 and any(marks_a[w] != marks_b[w] for w in both):
        return False
    floats = floats_a | floats_b
    if any((marks_a[w] not in free and marks_a[w]) or (marks_b[w] not in free and marks_b[w]) for w in floats):
        return False
    return [pair for pair in one if pair[0] not in floats] == [pair for pair in other if pair[0] not in floats] and [
        w for w, _ in one if w in both
    ] == [w for w, _ in other if w in both]
