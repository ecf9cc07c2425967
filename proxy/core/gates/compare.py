"""The gates: each looks at one part of two readings and refuses, or says nothing. Cheapest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from proxy.core.gates.language import ENGLISH
from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.reading import Reading, read
from proxy.core.gates.reasons import GateReason

Gate = Callable[[Reading, Reading], GateReason | None]


def refusal(
    stored: str | Reading,
    asked: str | Reading,
    *,
    strictly: bool = False,
    without: Collection[GateReason] = (),
) -> GateReason | None:
    """The first reason why the answer to `stored` may not serve `asked`; None when no gate objects.

    Symmetric: which of the two was stored makes no difference, since each gate asks whether the wordings agree.

    Args:
        stored: the question whose answer is at hand, or its reading.
        asked: the question to answer, or its reading.
        strictly: also ask the gates for merging conversations.
        without: reasons to leave out, for measuring; a hit can only be added by it.
    """
    a = read(stored) if isinstance(stored, str) else stored
    b = read(asked) if isinstance(asked, str) else asked
    for gate in (*GATES, *MERGE_GATES) if strictly else GATES:
        reason = gate(a, b)
        if reason is not None and reason not in without:
            return reason
    return None


def _numbers(a: Reading, b: Reading) -> GateReason | None:
    if a.numbers == b.numbers:
        return None
    values_a, values_b = [n[0] for n in a.numbers], [n[0] for n in b.numbers]
    if values_a == values_b:
        # "4 children and 2 adults", "4 adults and 2 children": the things counted have changed places.
        afters_a, afters_b = [n[2] for n in a.numbers], [n[2] for n in b.numbers]
        return GateReason.NUMBER if afters_a != afters_b and sorted(afters_a) == sorted(afters_b) else None
    if sorted(values_a) != sorted(values_b):
        return GateReason.NUMBER
    # The same numbers in another order: each must keep a neighbour of its own, or they have changed places.
    befores, afters = Counter(n[1] for n in a.numbers), Counter(n[2] for n in a.numbers)
    for value, before, after in a.numbers:
        if not any(
            value == v and ((before == x and befores[x] == 1) or (after == y and afters[y] == 1))
            for v, x, y in b.numbers
        ):
            return GateReason.NUMBER
    return None


def _identifiers(a: Reading, b: Reading) -> GateReason | None:
    return None if a.identifiers == b.identifiers and a.symbols == b.symbols else GateReason.IDENTIFIER


def _code(a: Reading, b: Reading) -> GateReason | None:
    quoted_differ = a.quoted and b.quoted and sorted(a.quoted) != sorted(b.quoted)
    return GateReason.CODE if a.code != b.code or quoted_differ else None


def _language(a: Reading, b: Reading) -> GateReason | None:
    if a.language != b.language:
        return GateReason.LANGUAGE
    if a.language != ENGLISH and a.plain != b.plain:
        return GateReason.WORDING
    return None


def _negation(a: Reading, b: Reading) -> GateReason | None:
    return None if a.negations == b.negations else GateReason.NEGATION


def _focus(a: Reading, b: Reading) -> GateReason | None:
    if a.focus == b.focus or ((a.focus | b.focus) <= _DATES and not {"what year", "what day"} <= a.focus | b.focus):
        return None
    if not (a.focus and b.focus) and (a.focus | b.focus) <= {"what"}:
        return None
    return GateReason.FOCUS


_DATES = frozenset({"when", "what year", "what day"})
_DATES_APART = frozenset({"what year", "what day"})


def _tense(a: Reading, b: Reading) -> GateReason | None:
    if (a.is_perfect and b.is_modal) or (b.is_perfect and a.is_modal):
        return GateReason.TENSE  # "days I have used", "days I can use"
    if a.tense == b.tense or ("who" in a.focus and _MAKERS & (a.counts.keys() | b.counts.keys())):
        return None
    return GateReason.TENSE


# "Who wrote it?" and "Who is the author?" ask the same at any time. Keys of the lexicon.
_MAKERS = frozenset(
    {"author", "inventor", "invent", "discoverer", "painter", "founder", "compos", "composer", "creator", "writ"}
)


def _person(a: Reading, b: Reading) -> GateReason | None:
    if _turned_round(a.pronouns, b.pronouns, is_how="how" in a.focus):
        return GateReason.PERSON
    if a.persons == b.persons or "how" in a.focus:
        return None
    if a.persons & _OWNERS != b.persons & _OWNERS:
        return GateReason.PERSON
    one, other = a.persons & _SUBJECTS, b.persons & _SUBJECTS
    # "Where can I buy it?" and "Where can you buy it?" are one; "Can you swim?" and "Can I swim?" are two.
    is_open = a.focus & {"polar:must", "polar:should"} or (
        not any(word.startswith("polar") for word in a.focus) and _MODALS.intersection(a.plain)
    )
    return GateReason.PERSON if one and other and not (one & other) and not is_open else None


def _turned_round(a: Sequence[str], b: Sequence[str], *, is_how: bool) -> bool:
    """Whether "I ... you" stands against "you ... me"."""
    if not (a and b) or a[0] == b[0]:
        return False
    return {*a}.isdisjoint(b) or len({*a}) == len({*b}) or not is_how


_OWNERS = frozenset({"my", "your"})
_SUBJECTS = frozenset({"i", "you"})
_MODALS = frozenset({"can", "could", "should"})


def _words(a: Reading, b: Reading) -> GateReason | None:
    """Align the content words: what only one side has must be harmless, or be a known equivalent of what the other has."""
    if a.counts == b.counts:
        return None
    lex = lexicon()
    only_a, only_b = _only(a.counts, b.counts), _only(b.counts, a.counts)
    _join_compounds(only_a, only_b, a)
    _join_compounds(only_b, only_a, b)
    names = a.names | b.names
    if _opposites(only_a, b.counts) or _opposites(only_b, a.counts) or _prefixed_opposites(only_a, only_b):
        return GateReason.ANTONYM
    _strike_evaluative(only_a, only_b, a, b)
    only_a = [w for w in only_a if w in names or w not in lex.fillers]
    only_b = [w for w in only_b if w in names or w not in lex.fillers]
    if (
        len(only_a) == len(only_b) == 1
        and (only_a[0], only_b[0]) in lex.harmless_swaps
        and not names & {only_a[0], only_b[0]}
    ):
        return None
    rest = [*only_a, *only_b]
    if (only_a and only_b) or any(w in names or w not in lex.harmless_extras for w in rest):
        if names.intersection(rest):
            return GateReason.ENTITY
        return GateReason.QUANTIFIER if lex.quantifiers.intersection(rest) else GateReason.WORDING
    return None


def _only(a: Mapping[str, int], b: Mapping[str, int]) -> list[str]:
    return [word for word in a if word not in b]


def _opposites(ones: Sequence[str], others: Collection[str]) -> bool:
    antonyms = lexicon().antonyms
    return any((x, y) in antonyms for x in ones for y in others)


def _strike_evaluative(only_a: list[str], only_b: list[str], a: Reading, b: Reading) -> None:
    """Strike words of praise where they may be missing; see words/evaluative.txt."""
    praise = lexicon().evaluative
    in_a, in_b = praise.intersection(only_a), praise.intersection(only_b)
    if not (in_a or in_b):
        return
    if (
        "how" in a.focus
        or (in_a and in_b)
        or (in_a and ("some" in b.plain or praise & b.counts.keys()))
        or (in_b and ("some" in a.plain or praise & a.counts.keys()))
    ):
        only_a[:] = [w for w in only_a if w not in praise]
        only_b[:] = [w for w in only_b if w not in praise]


def _join_compounds(ones: list[str], others: list[str], a: Reading) -> None:
    """Strike "data", "base" out against "database": the same letters written as one word or two."""
    for word in list(others):
        for first, second in zip(a.words, a.words[1:], strict=False):
            if first + second == word and first in ones and second in ones:
                ones.remove(first)
                ones.remove(second)
                others.remove(word)
                break


_NEGATIVE_PREFIXES = ("un", "dis", "in", "im", "ir", "il", "non", "de", "anti", "mis")


def _prefixed_opposites(ones: Sequence[str], others: Sequence[str]) -> bool:
    """Whether a word stands against itself with a negative prefix: lock and unlock, legal and illegal."""
    return any(
        long in {prefix + short for prefix in _NEGATIVE_PREFIXES}
        for x in ones
        for y in others
        for short, long in [(x, y) if len(x) < len(y) else (y, x)]
        if len(short) > 2
    )


def _connectives(a: Reading, b: Reading) -> GateReason | None:
    """ "A or B" against "A and B"; a list written with commas or "vs" may stand for either."""
    if a.connectives == b.connectives or not (a.connectives and b.connectives):
        return None
    return GateReason.QUANTIFIER


def _direction(a: Reading, b: Reading) -> GateReason | None:
    """Who does what to whom: strict prepositions must agree, and words that moved must have taken their phrase along."""
    if a.strict != b.strict:
        return GateReason.DIRECTION
    shared = a.counts.keys() & b.counts.keys()
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


GATES: tuple[Gate, ...] = (
    _numbers, _identifiers, _code, _language, _negation, _focus, _tense, _person, _connectives, _words, _direction,
)  # fmt: skip


def _own_facts(a: Reading, b: Reading) -> GateReason | None:
    """What the writer says of himself or herself, or the number of sentences, must be the same to go on as one conversation."""
    return GateReason.PERSON if a.tells != b.tells or a.persons & _POSSESSIVE != b.persons & _POSSESSIVE else None


_POSSESSIVE = frozenset({"my"})

MERGE_GATES: tuple[Gate, ...] = (_own_facts,)
