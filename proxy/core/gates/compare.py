"""The gates: each looks at one part of two readings and refuses, or says nothing. Cheapest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from proxy.core.gates.direction import direction
from proxy.core.gates.language import ENGLISH
from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.reading import Reading, read
from proxy.core.gates.reasons import HARD, GateReason
from proxy.core.gates.slips import is_slip

Gate = Callable[[Reading, Reading], Iterable[GateReason] | GateReason | None]


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
    gates = (*GATES, *MERGE_GATES) if strictly else GATES
    return next((reason for reason in _objecting(stored, asked, gates) if reason not in without), None)


def hard_refusal(stored: str | Reading, asked: str | Reading) -> GateReason | None:
    """The first reason that refuses whatever a model says (`HARD`); None when there is none. Symmetric."""
    return next((reason for reason in _objecting(stored, asked, GATES) if reason in HARD), None)


def objections(stored: str | Reading, asked: str | Reading) -> frozenset[GateReason]:
    """Every reason a gate has against it, hard and soft; empty exactly where `refusal` is None. Symmetric."""
    return frozenset(_objecting(stored, asked, GATES))


def _objecting(stored: str | Reading, asked: str | Reading, gates: Sequence[Gate]) -> Iterator[GateReason]:
    a = read(stored) if isinstance(stored, str) else stored
    b = read(asked) if isinstance(asked, str) else asked
    for gate in gates:
        found = gate(a, b)
        if isinstance(found, GateReason):
            yield found
        elif found is not None:
            yield from found


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
    if not (a.focus and b.focus) and ((a.focus | b.focus) <= {"what"} or _is_order_in_code(a, b)):
        return None
    return GateReason.FOCUS


def _is_order_in_code(a: Reading, b: Reading) -> bool:
    """ "Reverse a list in Python" and "How do I reverse a list in Python": in a programming language both get the code."""
    if a.focus | b.focus != {"how"} or a.words != b.words or a.words[:1] == (_WRITE,):
        return False
    platforms = lexicon().platforms
    return any(
        word in platforms and mark in {"in", "using", "with"} for word, mark in zip(a.words, a.marks, strict=True)
    )


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


def _words(a: Reading, b: Reading) -> Iterable[GateReason]:
    """Align the content words: what only one side has must be harmless, or be a known equivalent of what the other has."""
    if a.counts == b.counts:
        return
    lex = lexicon()
    only_a, only_b = _only(a.counts, b.counts), _only(b.counts, a.counts)
    _join_compounds(only_a, only_b, a)
    _join_compounds(only_b, only_a, b)
    names = a.names | b.names
    if _opposites(only_a, b.counts) or _opposites(only_b, a.counts) or _prefixed_opposites(only_a, only_b):
        yield GateReason.ANTONYM
    _strike_evaluative(only_a, only_b, a, b)
    is_written = _WRITE in a.counts and _WRITE in b.counts
    fillers = lex.fillers - lex.writings if is_written else lex.fillers
    only_a = [w for w in only_a if w in names or not (w in fillers or (w == _WRITE and b.wants_one))]
    only_b = [w for w in only_b if w in names or not (w in fillers or (w == _WRITE and a.wants_one))]
    if (
        len(only_a) == len(only_b) == 1
        and ((only_a[0], only_b[0]) in lex.harmless_swaps or is_slip(only_a[0], only_b[0]))
        and not names & {only_a[0], only_b[0]}
    ):
        return
    rest = {*only_a, *only_b}
    if (only_a and only_b) or any(w in names or w not in lex.harmless_extras for w in rest):
        if names & rest:
            yield GateReason.ENTITY
        if lex.quantifiers & rest:
            yield GateReason.QUANTIFIER
        if rest - names - lex.quantifiers:
            yield GateReason.WORDING


# What every order to compose a text is read as, see `roles.order`.
_WRITE = "writ"


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


GATES: tuple[Gate, ...] = (
    _numbers, _identifiers, _code, _language, _negation, _focus, _tense, _person, _connectives, _words, direction,
)  # fmt: skip


def _own_facts(a: Reading, b: Reading) -> GateReason | None:
    """What the writer says of himself or herself, or the number of sentences, must be the same to go on as one conversation."""
    return GateReason.PERSON if a.tells != b.tells or a.persons & _POSSESSIVE != b.persons & _POSSESSIVE else None


_POSSESSIVE = frozenset({"my"})

MERGE_GATES: tuple[Gate, ...] = (_own_facts,)
