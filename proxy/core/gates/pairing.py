"""Two readings side by side: which content words each has that the other lacks. Worked out once, looked at by every gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.reading import Reading
from proxy.core.gates.slips import is_slip

# What every order to compose a text is read as, see `roles.order`.
_WRITE = "writ"


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two readings and what sets their words apart. All words are keys of the lexicon.

    Args:
        a: the stored question.
        b: the asked question.
        only_a: content words of `a` that `b` lacks, in order; words written as one or two ("data base") are partners.
        only_b: the same the other way round.
        extra_a: those of `only_a` that are no fillers, praise or harmless swap: what still needs a reason.
        extra_b: the same the other way round.
    """

    a: Reading
    b: Reading
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    extra_a: tuple[str, ...]
    extra_b: tuple[str, ...]

    def is_close(self, words: int) -> bool:
        """Whether at most so many content words on the two sides together have no partner."""
        return len(self.extra_a) + len(self.extra_b) <= words


def pair(a: Reading, b: Reading) -> Pairing:
    """Put two readings side by side."""
    if a.counts == b.counts:
        return Pairing(a, b, (), (), (), ())
    only_a, only_b = _only(a.counts, b.counts), _only(b.counts, a.counts)
    if only_a and only_b:
        _join_compounds(only_a, only_b, a)
        _join_compounds(only_b, only_a, b)
    extra_a, extra_b = _extras(only_a, only_b, a, b)
    return Pairing(a, b, tuple(only_a), tuple(only_b), tuple(extra_a), tuple(extra_b))


def _only(a: Mapping[str, int], b: Mapping[str, int]) -> list[str]:
    return [word for word in a if word not in b]


def _join_compounds(ones: list[str], others: list[str], a: Reading) -> None:
    """Strike "data", "base" out against "database": the same letters written as one word or two."""
    for word in list(others):
        for first, second in zip(a.words, a.words[1:], strict=False):
            if first + second == word and first in ones and second in ones:
                for part in {first, second}:  # one word where it is said twice: "R. R.", "RR"
                    ones.remove(part)
                others.remove(word)
                break


def _extras(only_a: list[str], only_b: list[str], a: Reading, b: Reading) -> tuple[list[str], list[str]]:
    """What is left on either side without fillers, praise and one harmless swap."""
    lex = lexicon()
    names = a.names | b.names
    only_a, only_b = _without_praise(only_a, only_b, a, b)
    fillers = lex.fillers
    if _WRITE in a.counts and _WRITE in b.counts:
        fillers = fillers - lex.writings
    only_a = [w for w in only_a if w in names or not (w in fillers or (w == _WRITE and b.wants_one))]
    only_b = [w for w in only_b if w in names or not (w in fillers or (w == _WRITE and a.wants_one))]
    if (
        len(only_a) == len(only_b) == 1
        and ((only_a[0], only_b[0]) in lex.harmless_swaps or is_slip(only_a[0], only_b[0]))
        and not names & {only_a[0], only_b[0]}
    ):
        return [], []
    return only_a, only_b


def _without_praise(only_a: list[str], only_b: list[str], a: Reading, b: Reading) -> tuple[list[str], list[str]]:
    """Strike words of praise where they may be missing; see words/evaluative.txt."""
    praise = lexicon().evaluative
    if praise.isdisjoint(only_a) and praise.isdisjoint(only_b):
        return only_a, only_b
    in_a, in_b = praise.intersection(only_a), praise.intersection(only_b)
    if (
        "how" in a.focus | b.focus
        or (in_a and in_b)
        or (in_a and ("some" in b.plain or praise & b.counts.keys()))
        or (in_b and ("some" in a.plain or praise & a.counts.keys()))
    ):
        return [w for w in only_a if w not in praise], [w for w in only_b if w not in praise]
    return only_a, only_b
