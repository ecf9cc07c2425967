"""Phrases read as other phrases ("what is the best way to": how), longest first at each place, over a sentence's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product

from proxy.core.gates.lexicon import Phrase, lexicon, lines
from proxy.core.gates.numbers import fold_numbers
from proxy.core.gates.tokens import Kind, Token, tokenise

_CHOICE = re.compile(r"\{([^}]*)\}")


def spelled_out(phrase: str) -> Iterator[str]:
    """Every phrase that a pattern with choices stands for: "{can|could} you {please|}" is four."""
    parts = _CHOICE.split(phrase)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return (" ".join("".join(chosen).split()) for chosen in product(*choices))


@cache
def _rules() -> Mapping[Phrase, tuple[Token, ...]]:
    """Left side to right side. Of two lines with the same left side the later one counts."""
    lex = lexicon()
    rules: dict[Phrase, tuple[Token, ...]] = {}
    for line in lines("rewrites"):
        left, _, right = (part.strip() for part in line.partition("=>"))
        written = tuple(Token(word, Kind.NUMBER if word.isdigit() else Kind.WORD) for word in right.split())
        for spelled in spelled_out(left):
            tokens = fold_numbers(tokenise(spelled).words, lex.numbers, lex.stopwords)
            rules[tuple(token.text for token in tokens)] = written
    return rules


@cache
def _lengths() -> Mapping[str, tuple[int, ...]]:
    """First word to the lengths of its phrases, longest first."""
    lengths: dict[str, set[int]] = {}
    for phrase in _rules():
        lengths.setdefault(phrase[0], set()).add(len(phrase))
    return {first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()}


def rewrite(tokens: Sequence[Token]) -> list[Token]:
    """Apply every rule once, left to right; what a rule wrote is not rewritten again."""
    rules, lengths = _rules(), _lengths()
    out: list[Token] = []
    texts = [token.text for token in tokens]
    i = 0
    while i < len(texts):
        first = texts[i]
        if first not in lengths:
            out.append(tokens[i])
            i += 1
            continue
        for length in lengths[first]:
            replacement = rules.get(tuple(texts[i : i + length]))
            if replacement is not None:
                out += replacement
                i += length
                break
        else:
            out.append(tokens[i])
            i += 1
    return out
