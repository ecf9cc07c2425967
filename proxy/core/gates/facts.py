"""Gates over what must be equal as it stands: numbers and units, identifiers, code and quotations, language.

A fact that each side has and the other lacks is a conflict and refuses, and so does one that is all that one side adds; any other that
only one side mentions is a soft objection: the other may have left it out as beside the point. Texts in a language without rules must
agree in everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from proxy.core.gates.language import ENGLISH
from proxy.core.gates.lexicon import Unit, lexicon
from proxy.core.gates.pairing import Pairing
from proxy.core.gates.reading import Number, Reading
from proxy.core.gates.reasons import GateReason

# With more unmatched words than this a unit or name on each side may belong to different things.
_FEW = 4


def numbers(pair: Pairing) -> Iterator[GateReason]:
    """Values, the units they stand in, and what each of them counts."""
    a, b = pair.a.numbers, pair.b.numbers
    if a != b:
        left_a, left_b = _unequal(_left(a, b), _left(b, a))
        is_added = pair.is_close(0) and any(n[0] not in _ONE for n in (*left_a, *left_b))
        if _conflict(left_a, left_b) or _other_unit(pair) or is_added:
            yield GateReason.NUMBER
        elif left_a or left_b:
            yield GateReason.NUMBER_SOFT
        elif _changed_places(a, b):
            yield GateReason.NUMBER
        elif [n[0] for n in a] != [n[0] for n in b] and not _keep_a_neighbour(a, b):
            yield GateReason.NUMBER_SOFT
    if pair.is_close(_FEW) and _asks_for_other_unit(pair):
        yield GateReason.NUMBER


def added_numbers(pair: Pairing) -> Iterator[GateReason]:
    """A number that one side alone has, beside what the two ask: later turns of a conversation may build on it."""
    a, b = pair.a.numbers, pair.b.numbers
    left_a, left_b = ({n[0] for n in left} - _FIRST for left in _unequal(_left(a, b), _left(b, a)))
    if len(left_a) != len(left_b):
        yield GateReason.NUMBER_SOFT


# "one" in words is often no number, see `numbers`.
_ONE = {"1"}
_FIRST = _ONE | {"1th"}  # "the first signs" are the early ones


def _left(a: Sequence[Number], b: Sequence[Number]) -> list[Number]:
    """The values of `a` that `b` lacks; of a repeated one the last."""
    more = Counter(n[0] for n in a) - Counter(n[0] for n in b)
    left = []
    for number in reversed(a):
        if more[number[0]] > 0:
            more[number[0]] -= 1
            left.append(number)
    return left[::-1]


def _unequal(left_a: Sequence[Number], left_b: Sequence[Number]) -> tuple[list[Number], list[Number]]:
    """What is left of both when values that come to the same have gone: "7 days" and "1 week", "the games of 92" and "1992"."""
    rest_a, rest_b = [], list(left_b)
    for number in left_a:
        equal = next((other for other in rest_b if _are_equal(number, other)), None)
        if equal is None:
            rest_a.append(number)
        else:
            rest_b.remove(equal)
    return rest_a, rest_b


def _are_equal(one: Number, other: Number) -> bool:
    """Whether two values are one amount in two units, or one year with and without its century."""
    x, y = sorted((one[0], other[0]), key=len)
    if len(y) == 4 and y[:2] in _CENTURIES and x == y[2:] and x.isdigit():
        return True
    units = lexicon().units
    return any(
        u.base == v.base and u.size and v.size and u.size * Decimal(one[0]) == v.size * Decimal(other[0])
        for u in units.get(one[2], ())
        for v in units.get(other[2], ())
        if _is_value(one[0]) and _is_value(other[0])
    )


def _is_value(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


_CENTURIES = frozenset({"19", "20"})


def _conflict(left_a: Sequence[Number], left_b: Sequence[Number]) -> bool:
    """Whether a value stands against another of its kind; "5 July" and "July 5th" are one, "the first" and "2" are two matters."""
    if not (left_a and left_b):
        return False
    values_a, values_b = _standing(left_a, left_b), _standing(left_b, left_a)
    ordinals_a, ordinals_b = {v for v in values_a if v.endswith("th")}, {v for v in values_b if v.endswith("th")}
    plain_a, plain_b = values_a - ordinals_a, values_b - ordinals_b
    alike = {v for v in plain_a if v + "th" in ordinals_b} | {v for v in plain_b if v + "th" in ordinals_a}
    one, other = {v.removesuffix("th") for v in ordinals_a} - alike, {v.removesuffix("th") for v in ordinals_b} - alike
    return bool((plain_a - alike and plain_b - alike) or (one and other))


def _standing(left: Sequence[Number], others: Sequence[Number]) -> set[str]:
    """The values that stand against the others: a mere "one" does so only beside the same word ("one bedroom", "two bedrooms")."""
    befores, afters = {n[1] for n in others} - {""}, {n[2] for n in others} - {""}
    return {n[0] for n in left if n[0] not in _ONE or n[1] in befores or n[2] in afters}


def _other_unit(pair: Pairing) -> bool:
    """Whether one value stands in two units ("5 kg", "5 pounds") or before a variant's name that the other lacks ("14", "14 Pro")."""
    variants = lexicon().variants
    after_a, after_b = {n[0]: n[2] for n in pair.a.numbers}, {n[0]: n[2] for n in pair.b.numbers}
    for value in after_a.keys() & after_b.keys():
        one, other = after_a[value], after_b[value]
        if one == other:
            continue
        if _are_other_units(one, other):
            return True
        if (one in variants and one not in pair.b.counts) or (other in variants and other not in pair.a.counts):
            return True
    return False


def _are_other_units(one: str, other: str) -> bool:
    """Whether two words name units of one dimension that are not the same in any of their senses."""
    units = lexicon().units
    ones, others = units.get(one, frozenset()), units.get(other, frozenset())
    return ones.isdisjoint(others) and not {u.dimension for u in ones}.isdisjoint({u.dimension for u in others})


def _asks_for_other_unit(pair: Pairing) -> bool:
    """Whether each side has a unit of no number of its own that the other lacks: "feet in a mile", "meters in a mile"."""
    units = lexicon().units
    if units.keys().isdisjoint(pair.extra_a) or units.keys().isdisjoint(pair.extra_b):
        return False
    only_a, only_b = _bare_units(pair.a, pair.extra_a, pair.b), _bare_units(pair.b, pair.extra_b, pair.a)
    return any(_are_other_units(x, y) for x in only_a for y in only_b)


def _bare_units(reading: Reading, extra: Sequence[str], other: Reading) -> list[str]:
    units = lexicon().units
    measured = {n[2] for n in reading.numbers} | reading.names
    theirs: frozenset[Unit] = frozenset().union(*(units[word] for word in other.counts if word in units))
    return [w for w in extra if w in units and w not in measured and units[w].isdisjoint(theirs)]


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
