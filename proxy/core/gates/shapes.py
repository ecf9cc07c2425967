"""What frames are made of: a sentence's words, and the little words that show its build."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.tokens import Token

Words = list[Token]

BE = frozenset({"is", "are", "was", "were", "am"})
DO = frozenset({"do", "does", "did"})
MODALS = frozenset({"can", "could", "should", "would", "must", "may", "might", "will"})
AUX = BE | DO | MODALS
ARTICLES = frozenset({"a", "an", "the", "some"})
WHICH = frozenset({"what", "which"})
ASKING = frozenset({"how", "what", "why", "when", "where", "who", "which"})

_CLAUSES = frozenset({"without", "when", "if", "while", "because", "once"})


def is_break(texts: Sequence[str], at: int) -> bool:
    """Whether a phrase ends before this place: at the sentence's end, with a preposition or with a clause."""
    return at >= len(texts) or texts[at] in _CLAUSES or texts[at] in lexicon().prepositions
