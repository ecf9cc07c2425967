"""Sentences of different build read as one: after the phrases are rewritten, the words of a sentence are put in a common order.

Each frame knows one family ("Who was X written by" and "Who wrote X", "Which planet is the largest" and "What is the largest planet")
and only moves or drops words where the family's whole shape is there. It never looks at a second text; a sentence that fits no
frame stays as it is. The frames are in `roles` and `amounts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from proxy.core.gates import amounts, roles
from proxy.core.gates.shapes import ASKING, Words
from proxy.core.gates.tokens import Kind, Token

Frame = Callable[[Words, list[str]], Words | None]

_LEADS = frozenset({"please", "so", "and", "but", "ok", "okay", "hi", "hello", "hey", "kindly", "well"})
# Each frame with the words one of which it needs; in order, since one may write what the next reads.
_FRAMES: tuple[tuple[Frame, frozenset[str]], ...] = (
    (roles.fronted, ASKING),
    (roles.going_to, frozenset({"going"})),
    (roles.order, roles.ORDERS),
    (roles.made_by, frozenset({"by"})),
    (roles.done_by, frozenset({"by"})),
    (roles.superlative, frozenset({"which", "what"})),
    (roles.fit_to, roles.FITNESS),
    (roles.cause, frozenset({"happen", "happens", "occur", "occurs", "cause"})),
    (roles.holds, frozenset({"cause", "contain"})),
    (roles.translation, frozenset({"translate"})),
    (roles.offers, roles.OFFERS),
    (roles.skills, frozenset({"skills"})),
    (roles.looks, frozenset({"look", "appear", "seem"})),
    (roles.person, roles.PEOPLE),
    (roles.recipe, frozenset({"recipe"})),
    (amounts.differ, amounts.DIFFER),
    (amounts.distance, frozenset({"distance"})),
    (amounts.between, frozenset({"between"})),
    (amounts.measure, frozenset(amounts.MEASURES) | {"time"}),
    (amounts.takes, frozenset({"take"})),
    (roles.passive, frozenset({"how"})),
)


def framed(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with every sentence put into its frame."""
    out: list[Token] = []
    start = 0
    for i, token in enumerate(tokens):
        if token.kind is Kind.STOP:
            out += _sentence(list(tokens[start:i]))
            out.append(token)
            start = i + 1
    return out + _sentence(list(tokens[start:]))


@cache
def _bits() -> Mapping[str, int]:
    """For each word that a frame needs, the frames that need it, as bits of one number."""
    bits: dict[str, int] = {}
    for i, (_, triggers) in enumerate(_FRAMES):
        for word in triggers:
            bits[word] = bits.get(word, 0) | 1 << i
    return bits


def _called(texts: Sequence[str]) -> int:
    """The frames that may fit these words, as bits."""
    bits, found = _bits(), 0
    for text in texts:
        if text in bits:
            found |= bits[text]
    return found


def _sentence(words: Words) -> Words:
    lead = 0
    while lead < len(words) and words[lead].text in _LEADS:
        lead += 1
    words = words[lead:]
    if words and words[-1].text == "a":
        words[-1] = Token("a", is_name=True)  # "vitamin a"
    texts = [word.text for word in words]
    pending = _called(texts)
    while pending and len(words) > 1:
        at = (pending & -pending).bit_length()
        changed = _FRAMES[at - 1][0](words, texts)
        if changed is not None:
            words = changed
            texts = [word.text for word in words]
            pending = _called(texts)
        pending = pending >> at << at
    changed = roles.doing(words, texts) if len(words) > 1 else None
    return changed or words
