"""Who does what to whom: whether words that two questions share stand in the same roles, by order and by preposition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.reading import Reading
from proxy.core.gates.reasons import GateReason


def direction(a: Reading, b: Reading) -> GateReason | None:
    """Who does what to whom: strict prepositions must agree, and words that moved must have taken their phrase along."""
    if a.strict != b.strict:
        return GateReason.DIRECTION
    shared = a.counts.keys() & b.counts.keys()
    if a.adverbs or b.adverbs:
        shared -= (a.adverbs | b.adverbs) - lexicon().quantifiers
    one, other = _first_of_each(a, shared), _first_of_each(b, shared)
    free = lexicon().free
    if [w for w, _ in one] == [w for w, _ in other]:
        return GateReason.DIRECTION if _roles(one, free) != _roles(other, free) and _crossed(one, other) else None
    return None if _moved_whole(one, other, free) else GateReason.DIRECTION


def _first_of_each(reading: Reading, shared: Collection[str]) -> list[tuple[str, str]]:
    """The shared words with their marks, in order; of a repeated word the first."""
    first: dict[str, str] = {}
    for word, mark in zip(reading.words, reading.marks, strict=True):
        if word in shared:
            first.setdefault(word, mark)
    return list(first.items())


def _roles(words: Sequence[tuple[str, str]], free: Collection[str]) -> Counter[tuple[str, str]]:
    return Counter((w, m) for w, m in words if m and m not in free)


def _crossed(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> bool:
    """The same words in the same order, one of them under opposite marks: "to Paris", "from Paris"."""
    opposed = lexicon().strict
    before = ""
    for (word, x), (_, y) in zip(one, other, strict=True):
        if x != y and (x in opposed or y in opposed or (before in _MOTIONS and "to" in {x, y})):
            return True
        before = word
    return False


# After these, "to" is where it goes ("change to a gold account"), not an infinitive. Keys of the lexicon.
_MOTIONS = frozenset({
    "chang", "switch", "go", "move", "convert", "upgrad", "downgrad", "travel", "fly", "transfer",
    "send", "return", "migrat", "listen", "talk", "speak", "translat",
})  # fmt: skip


def _moved_whole(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]], free: Collection[str]) -> bool:
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
