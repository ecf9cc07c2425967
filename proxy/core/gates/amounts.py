"""Frames about how much: costs, sizes and spans of time however they are asked for, and what lies between two things.

Each takes a sentence's words and their texts and returns the words in the family's common order, or None where its shape is not there.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.core.gates.lexicon import lexicon
from proxy.core.gates.shapes import ARTICLES, AUX, BE, DO, MODALS, WHICH, Words, is_break
from proxy.core.gates.tokens import Token

# --- what two things have between them: difference and distance ---

DIFFER = frozenset({"differ", "differs", "different"})


def differ(words: Words, texts: list[str]) -> Words | None:
    """ "How do A and B differ", "How is A different from B"."""
    if texts[0] != "how" or texts[1] not in DO | BE:
        return None
    at = next((i for i in range(3, len(texts)) if texts[i] in DIFFER), 0)
    if not at:
        return None
    rest = words[at + 1 :]
    if rest and rest[0].text in {"from", "to", "than"}:
        rest = [Token("and"), *rest[1:]]
    elif "and" not in texts[2:at] or (rest and rest[0].text not in {"in", "for"}):
        return None
    return [Token("what"), Token("difference"), Token("between"), *words[2:at], *rest]


def distance(words: Words, texts: list[str]) -> Words | None:
    """ "How far is A from B" and "the distance between A and B", whichever is named first.

    Not "from A to B": whoever says both ends may mean the way, and a train back may take another.
    """
    if texts[:2] != ["what", "distance"]:
        return None
    rest = [word for word in words[2:] if word.text not in BE and word.text != "it"]
    names = [word.text for word in rest]
    if not {"from", "between"}.intersection(names) or DO.intersection(names) or {"from", "to"} <= set(names):
        return None
    if names[0] in {"from", "between", "of", "to"}:
        rest = rest[1:]
    elif "between" in names:
        return None
    joined = [Token("and") if word.text in {"from", "to"} else word for word in rest]
    return [*words[:2], Token("between"), *joined]


def between(words: Words, texts: list[str]) -> Words | None:
    """Put what stands between in one order: phrases joined by "and" up to the next preposition."""
    start = texts.index("between") + 1
    end = next((i for i in range(start, len(texts)) if is_break(texts, i)), len(texts))
    members: list[Words] = [[]]
    for word in words[start:end]:
        if word.text == "and":
            members.append([])
        elif word.text not in ARTICLES:
            members[-1].append(word)
    one, other = sorted(members, key=lambda member: [word.text for word in member]) if len(members) == 2 else ([], [])
    if not one or {word.text for word in one} & {word.text for word in other}:
        return None  # "a neutrino and an electron neutrino": the order may be all that tells them apart
    return [*words[:start], *one, Token("and"), *other, *words[end:]]


# --- measures: "How much does X cost", "the price of X", "X's height" ---

MEASURES = {
    "cost": "cost", "costs": "cost", "price": "cost", "prices": "cost", "fee": "cost", "fees": "cost",
    "weigh": "weight", "weight": "weight", "speed": "fast", "length": "long", "duration": "long",
    "height": "height", "depth": "depth", "width": "width", "size": "size", "age": "age",
    "temperature": "temperature", "population": "population",
}  # fmt: skip
# Those that are verbs too: "what does X cost".
_MEASURING = frozenset({"cost", "weigh"})
_SPANS = frozenset(
    {"shipping", "delivery", "processing", "cooking", "travel", "flight", "waiting", "preparation", "driving"}
)


def measure(words: Words, texts: list[str]) -> Words | None:
    """ "How much does X cost", "X's price", "the height of X": the measure is what is asked, not a word of the question."""
    if texts[:2] == ["how", "much"] and len(texts) > 3 and texts[2] in DO | MODALS:
        at = next((i for i in range(3, len(texts)) if texts[i] in _MEASURING), 0)
        return _asking(MEASURES[texts[at]], words[3:at] + words[at + 1 :]) if at and is_break(texts, at + 1) else None
    is_what = texts[0] in WHICH
    if texts[0] == "how" or (is_what and texts[1] not in AUX and texts[1] not in MEASURES):
        return None
    if not is_what and not AUX.union(WHICH).isdisjoint(texts):
        return None
    found = [i for i, text in enumerate(texts) if text in MEASURES]
    what = MEASURES[texts[found[0]]] if found else ""
    if len({MEASURES[texts[i]] for i in found}) != 1:
        return _span(words, texts, is_what=is_what)
    at = found[-1]
    is_verb = is_what and texts[at] in _MEASURING and not DO.union(MODALS).isdisjoint(texts[1:2])
    if at + 1 < len(texts) and texts[at + 1] not in _HEADED and texts[at + 1] not in AUX:
        return None
    if not is_verb and found[0] and not lexicon().prepositions.isdisjoint(texts[1 : found[0]]):
        return None
    first = 1 + (texts[1] in AUX) if is_what else 0
    return _asking(what, [word for i, word in enumerate(words) if i >= first and i not in found])


_HEADED = frozenset({"of", "for", "to", "in", "at", "from", "on", "per"})


def _span(words: Words, texts: list[str], *, is_what: bool) -> Words | None:
    """ "What is the shipping time": how long is shipping."""
    at = next((i for i in range(1, len(texts)) if texts[i] == "time" and texts[i - 1] in _SPANS), 0)
    if not is_what or not at or not is_break(texts, at + 1):
        return None
    return [Token("how"), Token("long"), *words[1:at], *words[at + 1 :]]


def _asking(what: str, rest: Iterable[Token]) -> Words:
    return [Token("how" if what in {"long", "fast"} else "what"), Token(what), *rest]


def takes(words: Words, texts: list[str]) -> Words | None:
    """ "How long does X take", "How long does it take to X": the verb says no more than "how long" does."""
    if texts[:2] != ["how", "long"] or len(texts) < 4 or texts[2] not in DO | {"will", "would"}:
        return None
    at = texts.index("take", 2)
    return [*words[:at], *words[at + 1 :]] if is_break(texts, at + 1) else None
