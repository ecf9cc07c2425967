"""Gates over how a thing is asked: negation, what is asked for, tense, and whose matter it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxy.core.gates.focus import PRONOUNS
from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reading import Reading
from proxy.core.gates.reasons import GateReason

# Two wordings with no more unmatched words than this say the same but for the part in question.
_ALMOST_THE_SAME = 1
# With more, what is asked for may stand in other words, too ("who do I tell", "where do I report"). Of pairs kept aside whose question
# words clash, a verifier was sure (logit 4.5) of 27 same and no different ones up to this, beyond it of 40 and 3, of 1,010 different ones.
_MUCH_THE_SAME = 3


def negation(pair: Pairing) -> Iterator[GateReason]:
    """How often a text says no. Clear where the texts agree in nearly all else, or deny and state one and the same word."""
    a, b = pair.a, pair.b
    if a.negations == b.negations:
        return
    is_odd = (a.negations - b.negations) % 2 == (a.denials - b.denials) % 2 == 1
    is_clear = is_odd and a.focus == b.focus and pair.is_close(_ALMOST_THE_SAME)
    yield GateReason.NEGATION if is_clear else GateReason.NEGATION_SOFT


def focus(pair: Pairing) -> Iterator[GateReason]:
    """What is asked for. Clear where each side asks for one thing, never asked for in the other's words, and little else differs."""
    a, b = pair.a.focus, pair.b.focus
    if a == b or ((a | b) <= _DATES and not (a | b) >= _DATES_APART):
        return
    if not (a and b) and ((a | b) <= {"what"} or _is_order_in_code(pair.a, pair.b)):
        return
    yield GateReason.FOCUS if pair.is_close(_MUCH_THE_SAME) and _clash(a, b) else GateReason.FOCUS_SOFT


_AMOUNTS = frozenset({"how many", "how much", "how long", "how often"})
# What cannot be worded as what; counted on labelled pairs (decision 0008). "where" and "how", "when" and "how long", "where does it come
# from" and "why" can.
_CLASHES = {
    "why": frozenset({"how", "when", "who"}) | _AMOUNTS,
    "who": frozenset({"why", "how", "when", "where", "what cost"}) | _AMOUNTS,
    "where": frozenset({"who", "when", "what cost"}) | _AMOUNTS,
    "when": frozenset({"why", "who", "where", "what cost", "how much"}),
    "how": frozenset({"why", "who", "what cost"}) | _AMOUNTS,
}


def _clash(a: frozenset[str], b: frozenset[str]) -> bool:
    if len(a) != 1 or len(b) != 1:
        return False
    (one,), (other,) = a, b
    return other in _CLASHES.get(one, ()) or one in _CLASHES.get(other, ())


def _is_order_in_code(a: Reading, b: Reading) -> bool:
    """ "Reverse a list in Python" and "How do I reverse a list in Python": in a programming language both get the code."""
    if a.focus | b.focus != {"how"} or a.words != b.words or a.words[:1] == ("writ",):
        return False
    platforms = lexicon().platforms
    return any(
        word in platforms and mark in {"in", "using", "with"} for word, mark in zip(a.words, a.marks, strict=True)
    )


_DATES = frozenset({"when", "what year", "what day"})
_DATES_APART = frozenset({"what year", "what day"})


def tense(pair: Pairing) -> Iterator[GateReason]:
    """Past, present or future; "have" against "can"."""
    a, b = pair.a, pair.b
    if (a.is_perfect and b.is_modal) or (b.is_perfect and a.is_modal):
        yield GateReason.TENSE  # "days I have used", "days I can use"
    elif a.tense != b.tense and not ("who" in a.focus | b.focus and _MAKERS & (a.counts.keys() | b.counts.keys())):
        yield GateReason.TENSE


# "Who wrote it?" and "Who is the author?" ask the same at any time. Keys of the lexicon.
_MAKERS = frozenset(
    {"author", "inventor", "invent", "discoverer", "painter", "founder", "compos", "composer", "creator", "writ"}
)


def person(pair: Pairing) -> Iterator[GateReason]:
    """Whose matter it is. Clear between him and her, and where "I ... you" stands against "you ... me" in the same words."""
    a, b = pair.a, pair.b
    if a.genders != b.genders and _other_gender(a.genders, b.genders):
        yield GateReason.PERSON
    is_turned = _turned_round(a.pronouns, b.pronouns, is_how="how" in a.focus | b.focus)
    is_swapped = len(a.persons & _SUBJECTS) == len(b.persons & _SUBJECTS) == 2 and _is_reversed(a.plain, b.plain)
    if a.counts == b.counts and (is_swapped or _other_owner(a, b)):
        yield GateReason.PERSON
    elif is_turned or _other_person(a, b):
        yield GateReason.PERSON_SOFT


def _other_gender(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether he stands where she stood: "his book", "her book"; "he rejects her", "she rejects him"."""
    return bool(a and b) and ({*a}.isdisjoint(b) or (len(a) == len(b) and sorted(a) == sorted(b)))


def _other_owner(a: Reading, b: Reading) -> bool:
    """ "my name", "your name"; not "How do I lose my fear", "How do you lose your fear", which speak of anyone."""
    one, other = a.persons & _OWNERS, b.persons & _OWNERS
    return bool(one and other and one.isdisjoint(other)) and not (
        a.pronouns or b.pronouns or {"how"} & (a.focus | b.focus)
    )


def _other_person(a: Reading, b: Reading) -> bool:
    if a.persons == b.persons or "how" in a.focus | b.focus:
        return False
    if (differ := (a.persons ^ b.persons) & _OWNERS) and (differ != {"my"} or "your" in a.plain or "your" in b.plain):
        return True  # "my tap" and "a tap" are left to `own_things`
    one, other = a.persons & _SUBJECTS, b.persons & _SUBJECTS
    # "Where can I buy it?" and "Where can you buy it?" are one; "Can you swim?" and "Can I swim?" are two.
    return bool(one and other and not (one & other) and not (_is_open(a) or _is_open(b)))


def _is_open(reading: Reading) -> bool:
    """Whether it asks of anyone: what must, should or (but for yes or no) can be done."""
    is_polar = any(word.startswith("polar") for word in reading.focus)
    is_duty = bool(reading.focus & {"polar:must", "polar:should"})
    return is_duty or (not is_polar and not _MODALS.isdisjoint(reading.plain))


def _is_reversed(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether one text says "I ... you" and no more of either, and the other "you ... me"."""
    one, other = ([PRONOUNS[word] for word in words if word in PRONOUNS] for words in (a, b))
    return len(one) == len(other) == 2 and one == other[::-1] != other


def _turned_round(a: Sequence[str], b: Sequence[str], *, is_how: bool) -> bool:
    """Whether "I ... you" stands against "you ... me"."""
    if not (a and b) or a[0] == b[0]:
        return False
    return {*a}.isdisjoint(b) or len({*a}) == len({*b}) or not is_how


_OWNERS = frozenset({"my", "your"})
_SUBJECTS = frozenset({"i", "you"})
_MODALS = frozenset({"can", "could", "should"})


def own_facts(pair: Pairing) -> Iterator[GateReason]:
    """What the writer says of himself or herself must be the same to go on as one conversation."""
    if pair.a.tells != pair.b.tells:
        yield GateReason.PERSON_SOFT


def own_things(pair: Pairing) -> Iterator[GateReason]:
    """And so must whose thing it is, unless it is quite sure that the two ask the same: "my tap", "a tap"."""
    if ("my" in pair.a.persons) != ("my" in pair.b.persons):
        yield GateReason.PERSON_SOFT
