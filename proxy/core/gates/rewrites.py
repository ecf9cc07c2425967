"""Phrases read as other phrases ("what is the best way to": how), longest first at each place, over a sentence's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from proxy.core.gates.lexicon import Phrase, lexicon, lines
from proxy.core.gates.numbers import fold_numbers
from proxy.core.gates.tokens import Kind, Token, tokenise


@cache
def _rules() -> Mapping[Phrase, tuple[Token, ...]]:
    lex = lexicon()
    rules: dict[Phrase, tuple[Token, ...]] = {}
    for line in lines("rewrites"):
        left, _, right = (part.strip() for part in line.partition("=>"))
        phrase = tuple(token.text for token in fold_numbers(tokenise(left).words, lex.numbers, lex.stopwords))
        rules[phrase] = tuple(Token(word, Kind.NUMBER if word.isdigit() else Kind.WORD) for word in right.split())
    return MappingProxyType(rules)


@cache
def _lengths() -> Mapping[str, tuple[int, ...]]:
    """First word to the lengths of its phrases, longest first."""
    lengths: dict[str, set[int]] = {}
    for phrase in _rules():
        lengths.setdefault(phrase[0], set()).add(len(phrase))
    return MappingProxyType({first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()})


def rewrite(tokens: Sequence[Token]) -> list[Token]:
    """Apply every rule once, left to right; what a rule wrote is not rewritten again."""
    rules, lengths = _rules(), _lengths()
    out: list[Token] = []
    texts = [token.text for token in tokens]
    i = 0
    while i < len(tokens):
        for length in lengths.get(texts[i], ()):
            replacement = rules.get(tuple(texts[i : i + length]))
            if replacement is not None:
                out += replacement
                i += length
                break
        else:
            out.append(tokens[i])
            i += 1
    return out
