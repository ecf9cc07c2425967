"""The gates asked in order: every objection to a pair of texts, the first of them, or the first that refuses by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from proxy.core.gates import alignment, asking, facts
from proxy.core.gates.direction import direction
from proxy.core.gates.pairing import Pairing, pair
from proxy.core.gates.reading import Reading, read
from proxy.core.gates.reasons import HARD, GateReason

Gate = Callable[[Pairing], Iterable[GateReason]]

GATES: tuple[Gate, ...] = (
    facts.numbers, facts.identifiers, facts.code, facts.language, asking.negation, asking.focus, asking.tense, asking.person,
    alignment.antonyms, alignment.names, alignment.quantifiers, direction, alignment.wording,
)  # fmt: skip
SURE_MERGE_GATES: tuple[Gate, ...] = (asking.own_facts, facts.added_numbers, alignment.added_names)
MERGE_GATES: tuple[Gate, ...] = (asking.own_facts, asking.own_things)


def refusal(
    stored: str | Reading,
    asked: str | Reading,
    *,
    also: Sequence[Gate] = (),
    without: Collection[GateReason] = (),
) -> GateReason | None:
    """The first reason why the answer to `stored` may not serve `asked`; None when no gate objects.

    Symmetric: which of the two was stored makes no difference, since each gate asks whether the wordings agree.

    Args:
        stored: the question whose answer is at hand, or its reading.
        asked: the question to answer, or its reading.
        also: gates to ask besides, such as those for merging conversations.
        without: reasons of the usual gates to leave out; a hit can only be added by it.
    """
    usual = (reason for reason in _objecting(stored, asked, GATES) if reason not in without)
    return next(usual, None) or next(_objecting(stored, asked, also), None)


def hard_refusal(stored: str | Reading, asked: str | Reading) -> GateReason | None:
    """The first reason that refuses whatever a model says (`HARD`); None when there is none. Symmetric."""
    return next((reason for reason in _objecting(stored, asked, GATES) if reason in HARD), None)


def objections(stored: str | Reading, asked: str | Reading) -> frozenset[GateReason]:
    """Every reason a gate has against it, hard and soft; empty exactly where `refusal` is None. Symmetric."""
    a = read(stored) if isinstance(stored, str) else stored
    b = read(asked) if isinstance(asked, str) else asked
    two, found = pair(a, b), set[GateReason]()
    for gate in GATES:
        found.update(gate(two))
    return frozenset(found)


def _objecting(stored: str | Reading, asked: str | Reading, gates: Sequence[Gate]) -> Iterator[GateReason]:
    a = read(stored) if isinstance(stored, str) else stored
    b = read(asked) if isinstance(asked, str) else asked
    two = pair(a, b)
    for gate in gates:
        yield from gate(two)
