"""Gates over what must be equal as it stands: numbers and units, identifiers, code and quotations, language.

A fact that each side has and the other lacks is a conflict and refuses, and so does one that is all that one side adds; any other that
only one side mentions is a soft objection: the other may have left it out as beside the point. Texts in a language without rules must
agree in everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from proxy.core.gates.language import ENGLISH
from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reading import Number
from proxy.core.gates.reasons import GateReason

# With more unmatched words than this a unit or name on each side may belong to different things.
_FEW = 4


def numbers(pair: Pairing) -> Iterator[GateReason]:
    """Values, the units they stand in, and what each of them counts."""
    a, b = pair.a.numbers, pair.b.numbers
    if a != b:
        left_a, left_b = _left(a, b), _left(b, a)
        is_added = pair.is_close(0) and bool({*left_a, *left_b} - _ONE)
        if _conflict(left_a, left_b) or _other_unit(a, b) or is_added:
            yield GateReason.NUMBER
        elif left_a or left_b:
            yield GateReason.NUMBER_SOFT
        elif _changed_places(a, b):
            yield GateReason.NUMBER
        elif [n[0] for n in a] != [n[0] for n in b] and not _keep_a_neighbour(a, b):
            yield GateReason.NUMBER_SOFT
    units = lexicon().units.keys()
    if (
        pair.is_close(_FEW)
        and not units.isdisjoint(pair.extra_a)
        and any(_are_other_units(x, y) for x in pair.extra_a for y in pair.extra_b)
    ):
        yield GateReason.NUMBER


def added_numbers(pair: Pairing) -> Iterator[GateReason]:
    """A number that one side alone has, beside what the two ask: later turns of a conversation may build on it."""
    a, b = pair.a.numbers, pair.b.numbers
    if len({*_left(a, b)} - _FIRST) != len({*_left(b, a)} - _FIRST):
        yield GateReason.NUMBER_SOFT


# "one" in words is often no number, see `numbers`.
_ONE = {"1"}
_FIRST = _ONE | {"1th"}  # "the first signs" are the early ones


def _left(a: Sequence[Number], b: Sequence[Number]) -> list[str]:
    """The values of `a` that `b` lacks."""
    return list((Counter(n[0] for n in a) - Counter(n[0] for n in b)).elements())


def _conflict(left_a: Sequence[str], left_b: Sequence[str]) -> bool:
    """Whether a value stands against another of its kind; "5 July" and "July 5th" are one, "the first" and "2" are two matters."""
    if not (left_a and left_b):
        return False
    ordinals_a, ordinals_b = {v for v in left_a if v.endswith("th")}, {v for v in left_b if v.endswith("th")}
    plain_a, plain_b = {*left_a} - ordinals_a, {*left_b} - ordinals_b
    alike = {v for v in plain_a if v + "th" in ordinals_b} | {v for v in plain_b if v + "th" in ordinals_a}
    one, other = {v.removesuffix("th") for v in ordinals_a} - alike, {v.removesuffix("th") for v in ordinals_b} - alike
    return bool((plain_a - alike and plain_b - alike) or (one and other))


def _other_unit(a: Sequence[Number], b: Sequence[Number]) -> bool:
    """Whether one value stands in two units ("5 kg", "5 pounds") or before another variant's name ("14", "14 Pro")."""
    variants = lexicon().variants
    after_a, after_b = {n[0]: n[2] for n in a}, {n[0]: n[2] for n in b}
    for value in after_a.keys() & after_b.keys():
        one, other = after_a[value], after_b[value]
        if one != other and (_are_other_units(one, other) or one in variants or other in variants):
            return True
    return False


def _are_other_units(one: str, other: str) -> bool:
    units = lexicon().units
    return one in units and other in units and units[one].isdisjoint(units[other])


def _changed_places(a: Sequence[Number], b: Sequence[Number]) -> bool:
    """ "4 children and 2 adults", "4 adults and 2 children": the things counted have changed places."""
    one, other = {(n[0], n[2]) for n in a}, {(n[0], n[2]) for n in b}
    return one != other and sorted(n[2] for n in a) == sorted(n[2] for n in b) and len({n[2] for n in a}) > 1


def _keep_a_neighbour(a: Sequence[Number], b: Sequence[Number]) -> bool:
    """Whether each value, met in another order, keeps a neighbour of its own; else they may have changed places."""
    befores, afters = Counter(n[1] for n in a), Counter(n[2] for n in a)
    return all(
        any(value == v and ((before == x and befores[x] == 1) or (after == y and afters[y] == 1)) for v, x, y in b)
        for value, before, after in a
    )


def identifiers(pair: Pairing) -> Iterator[GateReason]:
    """Addresses, order numbers, names of code; operators and emoji."""
    a, b = pair.a, pair.b
    if a.identifiers != b.identifiers:
        yield GateReason.IDENTIFIER if _clash(pair, a.identifiers, b.identifiers) else GateReason.IDENTIFIER_SOFT
    if a.symbols != b.symbols:
        is_changed = _differ_both_ways(a.symbols, b.symbols) or sorted(a.symbols) == sorted(b.symbols)
        yield GateReason.IDENTIFIER if is_changed else GateReason.IDENTIFIER_SOFT


def code(pair: Pairing) -> Iterator[GateReason]:
    """Code and quotations, as written."""
    a, b = pair.a, pair.b
    if a.code != b.code:
        yield GateReason.CODE if (a.code and b.code) or pair.is_close(0) else GateReason.CODE_SOFT
    if a.quoted != b.quoted and a.quoted and b.quoted and sorted(a.quoted) != sorted(b.quoted):
        yield GateReason.CODE if _differ_both_ways(a.quoted, b.quoted) else GateReason.CODE_SOFT


def _clash(pair: Pairing, a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether each side has one that the other lacks, or it is all that one side adds."""
    return _differ_both_ways(a, b) or pair.is_close(0)


def _differ_both_ways(a: Sequence[str], b: Sequence[str]) -> bool:
    return bool({*a} - {*b} and {*b} - {*a})


def language(pair: Pairing) -> Iterator[GateReason]:
    """Two languages, or one whose words have no rules here: then everything must agree as it stands."""
    a, b = pair.a, pair.b
    if a.language != b.language or (
        a.language != ENGLISH
        and (a.plain, a.identifiers, a.symbols, a.code, a.quoted)
        != (b.plain, b.identifiers, b.symbols, b.code, b.quoted)
    ):
        yield GateReason.LANGUAGE
