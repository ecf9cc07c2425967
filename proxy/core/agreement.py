"""Do two answers say the same? A coarse judge of audits, for when no model is asked: four features of the texts, weighed.

A stored answer that serves and the fresh answer to the same question lie close together, name the same numbers, take the same side of
a yes or no, and lie equally near to the question; a stored answer to *another* question fails in one of these. Which answers to
near but different questions it misses (checking to savings instead of savings to checking) its error rates tell: they were measured
on answers written by hand, apart from those its cut was chosen on, and `proxy.services.audits` measures the first anew on live traffic.

The similarities come from outside: this module is pure, and knows no model.
"""

from __future__ import annotations

import re

EMBEDDER = "all-minilm-l6-v2"
"""Fingerprints that begin like this have the similarities that the weights and the error rates are for."""

MEASURED_RIGHT, MEASURED_FALSE_ALARMS = 47, 2
MEASURED_WRONG, MEASURED_MISSES = 47, 17
"""Of right answers, how many it calls wrong, and of wrong ones, how many it calls right, on those two thirds of
tests/proxy/core/answers/triples.jsonl that nothing was chosen on; `test_agreement` measures them again. Misses are those of two looks (an
answer is wrong when two fresh ones agree with each other and not with it: one look misses 14). False alarms are those of one
look: two have fewer, and how many fewer the triples, with two right answers each, cannot tell."""

_CLOSE, _NUMBERS, _PULL, _OPPOSED = 8.0, 6.0, 4.0, -2.5  # a logistic fit to one third of the triples, rounded
_CUT = 7.5  # chosen on the same third: 2 % of right answers are called wrong there
_NO_NUMBERS = 0.5  # where one of two answers names none, they neither agree nor differ in them

_LIST_MARK = re.compile(r"(?m)^\s*\d{1,2}[.)]\s|(?<=[.:] )\d{1,2}\. ")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"[a-z']+")
_NUMBER_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    "eleven": "11", "twelve": "12", "fifteen": "15", "twenty": "20", "thirty": "30",
}  # fmt: skip
_FIRST = re.compile(r"[.!?;:\n]")
_YES = re.compile(r"\s*(?:yes|absolutely|definitely|certainly)\b")
_NO = re.compile(r"\s*no\b|.*\b(?:not|never|none|cannot|illegal|\w+n't)\b", re.DOTALL)


def agrees(stored: str, fresh: str, *, similarity: float, stored_nearness: float, fresh_nearness: float) -> bool:
    """Whether the stored answer says what the fresh one says.

    Args:
        stored: the text that was served.
        fresh: the text that the provider gives to the same question now.
        similarity: cosine of the two, in [-1, 1].
        stored_nearness: cosine of the stored answer and the question asked.
        fresh_nearness: cosine of the fresh answer and the question asked.
    """
    pull = stored_nearness - fresh_nearness
    opposed = _side(stored) * _side(fresh) < 0
    score = _CLOSE * similarity + _NUMBERS * _shared_numbers(stored, fresh) + _PULL * pull + _OPPOSED * opposed
    return score >= _CUT


def _shared_numbers(a: str, b: str) -> float:
    """Share of the numbers of the text with fewer of them that the other names too, in [0, 1]."""
    first, second = _numbers(a), _numbers(b)
    if not first or not second:
        return _NO_NUMBERS
    return len(first & second) / min(len(first), len(second))


def _numbers(text: str) -> set[str]:
    plain = _LIST_MARK.sub(" ", text)
    digits = {_normal(found) for found in _NUMBER.findall(plain)}
    return digits | {_NUMBER_WORDS[word] for word in _WORD.findall(plain.lower()) if word in _NUMBER_WORDS}


def _normal(number: str) -> str:
    whole, _, fraction = number.replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _side(text: str) -> int:
    """1 for a yes, -1 for a no, by the first clause; 0 where it is neither."""
    first = _FIRST.split(text.strip().lower(), maxsplit=1)[0]
    if _YES.match(first):
        return 1
    return -1 if _NO.match(first) else 0
