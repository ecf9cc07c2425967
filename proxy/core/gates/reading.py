"""A text as the gates compare it: parsed once, then compared with many others.

Theory: a question is its *content words* (stemmed, synonyms folded), each with the preposition that marks its part, plus what it
asks for (focus), when (tense), of whom (person), how often it says no, and the parts that must be equal as they stand (numbers,
identifiers, symbols, code). Two readings that agree in all of these ask the same; every gate looks at one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from proxy.core.gates import focus
from proxy.core.gates.frames import framed
from proxy.core.gates.language import language_of
from proxy.core.gates.lexicon import Lexicon, is_adverb, lexicon
from proxy.core.gates.numbers import fold_numbers
from proxy.core.gates.rewrites import rewrite
from proxy.core.gates.tokens import Kind, Token, tokenise

# Readings kept by `read`: some 2 to 3 KB each, so 3 MB; one costs 60 µs to make again, a fiftieth of what a look by meaning does.
_REMEMBERED = 1024


Number = tuple[str, str, str]
"""A value and the words before and after it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the gates know of one text. All words are keys of the lexicon, not for showing.

    Args:
        plain: the text's words in lower case, in order; equal `plain` and equal fixed parts mean the same text.
        language: a code from words/languages.txt; "en" when nothing says otherwise; a script's name outside Latin letters.
        numbers: values in order of writing, ordinals ending in "th"; each with the words before and after it.
        identifiers: addresses, order numbers, names of code, sorted.
        symbols: operators and emoji in order of writing.
        code: fenced and back-ticked pieces, as written.
        quoted: quotations, lower-cased.
        negations: how many words turn the sense over.
        denials: how many of them deny a thing, and do not tell what the writer cannot do or does not know.
        focus: what the question asks for, see `focus`.
        tense: "past", "future" or "present".
        persons: whose it is: subset of {"my", "your", "i", "you"}.
        genders: "he" and "she" in order, by pronouns and possessives.
        pronouns: "i" and "you" in order, as they stand after rewriting.
        is_perfect: says "have", and no modal verb.
        is_modal: says "can", "should" and the like, and no "have".
        connectives: subset of {"and", "or"}.
        strict: strict prepositions and particles, sorted.
        words: content words in order.
        marks: for each of `words` the preposition it stands under ("" for none); a run shares its mark.
        counts: how often each content word occurs.
        names: those of `words` written or known as names.
        adverbs: those of a question's `words` that are adverbs, and so may stand anywhere.
        wants_one: opens with "give me a ..." or "I need a ...": an order to make one.
        tells: whether the writer says something of himself or herself ("I'm writing to my wife").
    """

    plain: tuple[str, ...]
    language: str
    numbers: tuple[Number, ...]
    identifiers: tuple[str, ...]
    symbols: tuple[str, ...]
    code: tuple[str, ...]
    quoted: tuple[str, ...]
    negations: int
    denials: int
    focus: focus.Focus
    tense: str
    persons: frozenset[str]
    genders: tuple[str, ...]
    pronouns: tuple[str, ...]
    is_perfect: bool
    is_modal: bool
    connectives: frozenset[str]
    strict: tuple[str, ...]
    words: tuple[str, ...]
    marks: tuple[str, ...]
    counts: Mapping[str, int]
    names: frozenset[str]
    adverbs: frozenset[str]
    wants_one: bool
    tells: bool


@lru_cache(maxsize=_REMEMBERED)
def read(text: str, whose: str = "") -> Reading:  # noqa: ARG001  a part of what is remembered under
    """Parse a text for the gates; the same text is parsed once for each tenant (`whose`), so that time does not tell what others asked."""
    lex = lexicon()
    parts = tokenise(text)
    plain = tuple([token.text for token in parts.words if token.kind is not Kind.STOP])
    tokens = framed(rewrite(fold_numbers(parts.words, lex.numbers, lex.stopwords)))
    words, marks, names = _content(tokens, lex)
    texts = [token.text for token in tokens]
    asked_for = focus.focus_of(tokens)
    adverbs = [text for text in texts if text[-2:] == "ly" and (text == "simply" or (asked_for and is_adverb(text)))]
    has_have, has_modal = not focus.PERFECT.isdisjoint(plain), not focus.MODAL.isdisjoint(plain)
    return Reading(
        plain=plain,
        language=language_of(text, plain),
        numbers=_numbers(tokens, lex),
        identifiers=tuple(sorted(parts.identifiers)),
        symbols=parts.symbols,
        code=parts.code,
        quoted=parts.quoted,
        negations=len([text for text in texts if text in lex.negations]),
        denials=focus.denials_in(plain, lex.negations),
        focus=asked_for,
        tense=focus.tense_of(plain, lex.pasts),
        persons=focus.persons_of(plain),
        genders=focus.genders_of(plain),
        pronouns=tuple([focus.PRONOUNS[text] for text in texts if text in focus.PRONOUNS]),
        is_perfect=has_have and not has_modal,
        is_modal=has_modal and not has_have,
        connectives=_CONNECTIVES.intersection(plain),
        strict=tuple(sorted([text for text in texts if text in lex.strict])),
        words=words,
        marks=marks,
        counts=_counted(words),
        names=names,
        adverbs=frozenset([lex.concept(text) for text in adverbs]),
        wants_one=focus.wants_one(plain),
        tells=focus.tells_of_self(plain),
    )


_CONNECTIVES = frozenset({"and", "or"})


def _counted(words: Sequence[str]) -> Mapping[str, int]:
    """How often each word occurs; for a handful of words faster than a Counter."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _numbers(tokens: Sequence[Token], lex: Lexicon) -> tuple[Number, ...]:
    out = []
    for i, token in enumerate(tokens):
        if token.kind is Kind.NUMBER:
            before = tokens[i - 1].text if i else ""
            after = tokens[i + 1].text if i + 1 < len(tokens) else ""
            out.append((token.text, lex.concept(before), lex.concept(after)))
    return tuple(out)


def _content(tokens: Sequence[Token], lex: Lexicon) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]:
    """The content words with their marks, and which of them are names."""
    found: list[_Word] = []
    mark = before = article = ""  # article: what stands right before the last content word
    is_adjacent = False  # the word before is a content word
    is_run = False  # the last content word may be followed by another under the same mark
    is_done = False  # "do" stands before in this sentence, so that "like" is a verb
    joins = False  # "and" or "or" stands between the last content word and here
    parts, word, number = _parts(), Kind.WORD, Kind.NUMBER
    for token in tokens:
        text = token.text
        part = parts.get(text, "content")
        if text in _DOING:
            is_done = True
        if part == "preposition" and not (text == "like" and is_done and before not in _LOOKING):
            mark, is_run, joins = text, False, False
        elif token.kind is not word:
            is_number = token.kind is number
            is_done = is_done and is_number
            mark, is_run, joins = mark if is_number else "", is_number, False
        elif part == "join":
            is_run, joins = False, True
        elif part == "asking" or (part == "measure" and before == "what"):
            mark, is_run, joins = "", False, False
        elif part == "little" and not token.is_name and not (text in _COURTESIES and before in _SAYING):
            mark = "" if is_run else mark
        else:
            key = lex.concept(text)
            follows = is_run and bool(found)
            if (
                follows
                and is_adjacent
                and (before in lex.filler_nouns or (article in {"a", "an"} and found[-1].key in lex.fillers))
            ):
                # A filler that says which one is meant is none: "information technology", "a show dog".
                found[-1] = found[-1]._replace(key=found[-1].key + "+")
            article, is_adjacent = before, True
            found.append(
                _Word(key, "of" if token.is_possessive else mark, token.is_name or key in lex.names, joins, follows)
            )
            is_run, joins = True, False
            before = text
            continue
        before, is_adjacent = text, False
    if any(word.joins for word in found):
        found = _order_lists(found)
    return tuple([w.key for w in found]), tuple([w.mark for w in found]), frozenset([w.key for w in found if w.is_name])


_DOING = frozenset({"do", "does", "did"})
_LOOKING = frozenset(
    {
        "look",
        "looks",
        "feel",
        "feels",
        "sound",
        "sounds",
        "seem",
        "taste",
        "smell",
        "things",
        "something",
        "stuff",
        "people",
    }
)


@cache
def _parts() -> Mapping[str, str]:
    """What a listed word may be besides content; one on several lists is what is written last.

    "little", "measure" (asked for after "what", content elsewhere), "asking" (question words and negations, which have gates of their
    own), "join" or "preposition".
    """
    lex = lexicon()
    parts = dict.fromkeys(lex.stopwords, "little")
    parts |= dict.fromkeys(focus.WHAT_MEASURES, "measure")
    parts |= dict.fromkeys(focus.DROPPED | lex.negations, "asking")
    parts |= dict.fromkeys(("and", "or"), "join")
    return parts | dict.fromkeys(lex.prepositions, "preposition")


# Said to somebody they ask for nothing; said of they do: "How do I say hello in French?"
_COURTESIES = frozenset({"hello", "hi", "hey", "please", "thanks", "thank", "dear", "ok", "okay", "yes"})
_SAYING = frozenset({
    "say", "saying", "says", "translate", "word", "phrase", "spell", "pronounce", "write", "does", "mean", "between", "and",
})  # fmt: skip


class _Word(NamedTuple):
    key: str
    mark: str
    is_name: bool
    joins: bool  # "and" or "or" right before it
    follows: bool  # another content word right before it


def _order_lists(words: Sequence[_Word]) -> list[_Word]:
    """Put the members of "b and a" in one order, where the list ends its phrase (so that no member belongs to what follows)."""
    out = list(words)
    i = 0
    while i + 1 < len(out):
        end = i + 1
        while end < len(out) and out[end].joins and out[end].mark == out[i].mark:
            end += 1
        if end > i + 1 and (end == len(out) or not out[end].follows):
            out[i:end] = sorted(out[i:end], key=lambda word: word.key)
        i = end
    return out
