"""The words of a text, as the keyword index holds them and as a question asks for them.

Both sides are cut by the same rule, into letters and digits alone, so that no text is ever read as a query's syntax. English words lose
their endings here and not in RediSearch, whose stems do not count in the scores of the queries we need (`stores.memory_index`). Scripts
without spaces between words are cut into pairs of characters.
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
    their them then there these they this those to too us user users ve was we were what when where which while who whom whose why will with
    would you your yours""".split()  # noqa: SIM905  a list of ninety quoted words is no easier to read
)
"""English ones, and "user": memories that extractors write are of the user, nearly all, and with 100,000 of them the word cost 30 ms."""


def indexed(text: str) -> str:
    """The words of a memory, with spaces between them."""
    return " ".join(map(_stem, _words(text)))


def asked(text: str) -> tuple[str, ...]:
    """The distinct words a question is looked for by: without those that every sentence has, unless it has no others."""
    words = tuple(dict.fromkeys(_words(text)))
    telling = tuple(word for word in words if word not in _STOP_WORDS)
    return tuple(dict.fromkeys(map(_stem, telling or words)))[:MAX_TERMS]


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


def _stem(word: str) -> str:
    """An English word without the endings of plural, person, -ing and -ed; every other word as it is."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and word[-2] not in "sui":
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _VOWEL.search(stem):
            word = stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsz" else stem
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


_VOWEL = re.compile("[aeiouy]")


def _pairs(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for left, right in pairwise(run):
        yield left + right
