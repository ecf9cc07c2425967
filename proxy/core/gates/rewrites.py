"""Phrases read as other phrases ("what is the best way to": how), longest first at each place, over a sentence's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from proxy.core.gates.lexicon import Phrase, lines
from proxy.core.gates.tokens import Kind, Token, tokenise

_Rules = Mapping[str, tuple[tuple[Phrase, tuple[Token, ...]], ...]]


@cache
def _rules() -> _Rules:
    """First word to its phrases, longest first."""
    by_first: dict[str, list[tuple[Phrase, tuple[Token, ...]]]] = {}
    for line in lines("rewrites"):
        left, _, right = (part.strip() for part in line.partition("=>"))
        phrase = tuple(token.text for token in tokenise(left).words)
        by_first.setdefault(phrase[0], []).append((phrase, tuple(Token(word) for word in right.split())))
    return MappingProxyType(
        {first: tuple(sorted(rules, key=lambda rule: -len(rule[0]))) for first, rules in by_first.items()}
    )


def rewrite(tokens: Sequence[Token]) -> list[Token]:
    """Apply every rule once, left to right; what a rule wrote is not rewritten again."""
    rules = _rules()
    out: list[Token] = []
    texts = [token.text for token in tokens]
    i = 0
    while i < len(tokens):
        for phrase, replacement in rules.get(texts[i], ()):
            end = i + len(phrase)
            if tuple(texts[i:end]) == phrase and not any(token.kind is Kind.STOP for token in tokens[i:end]):
                out += replacement
                i = end
                break
        else:
            out.append(tokens[i])
            i += 1
    return out
