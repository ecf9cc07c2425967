"""The words of a text, as the keyword index holds them and as a question asks for them.

Both sides are cut by the same rule, into letters and digits alone, so that no text is ever read as a query's syntax. RediSearch adds
English stems by itself. Scripts without spaces between words are cut into pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

MAX_TERMS = 48
"""Distinct words of a question that are looked for: some two sentences; each costs a walk through its postings."""
_MAX_CHARS = 64  # of a word: what is longer is a key or a hash, and found by its beginning
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
_STOP_WORDS = frozenset(
    """a about am an and any are as at be been but by can could d did do does for from had has have he her him his how i if in into is
    it its just ll m may me might mine my no not of on one or our ours please re s shall she should so some such t tell than that the
    their them then there these they this those to too us ve was we were what when where which while who whom whose why will with
    would you your yours""".split()  # noqa: SIM905  a list of ninety quoted words is no easier to read
)


def indexed(text: str) -> str:
    """The words of a memory, with spaces between them."""
    return " ".join(_words(text))


def asked(text: str) -> tuple[str, ...]:
    """The distinct words a question is looked for by: without those that every sentence has, unless it has no others."""
    words = tuple(dict.fromkeys(_words(text)))
    telling = tuple(word for word in words if word not in _STOP_WORDS)
    return (telling or words)[:MAX_TERMS]


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        at = 0
        for run in _UNSPACED.finditer(word):
            if run.start() > at:
                yield word[at : run.start()][:_MAX_CHARS]
            yield from _pairs(run.group())
            at = run.end()
        if at < len(word):
            yield word[at:][:_MAX_CHARS]


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for left, right in pairwise(run):
        yield left + right
