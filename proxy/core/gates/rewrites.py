"""Phrases read as other phrases ("what is the best way to": how), longest first at each place, over a sentence's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from proxy.core.gates.lexicon import Phrase, lexicon, lines
from proxy.core.gates.numbers import fold_numbers
from proxy.core.gates.tokens import Kind, Token, tokenise

_Rules = Mapping[str, tuple[tuple[Phrase, tuple[Token, ...]], ...]]


@cache
def _rules() -> _Rules:
    """First word to its phrases, longest first."""
    lex = lexicon()
    by_first: dict[str, list[tuple[Phrase, tuple[Token, ...]]]] = {}
    for line in lines("rewrites"):
        left, _, right = (part.strip() for part in line.partition("=>"))
        phrase = tuple(token.text for token in fold_numbers(tokenise(left).words, lex.numbers, lex.stopwords))
        written = tuple(Token(word, Kind.NUMBER if word.isdigit() else Kind.WORD) for word in right.split())
        by_first.setdefault(phrase[0], []).append((phrase, written))
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
