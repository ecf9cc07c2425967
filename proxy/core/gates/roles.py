"""Frames about who does what: passive voice, predicates that stand first or last, causes, orders and fragments.

Each takes a sentence's words and their texts and returns the words in the family's common order, or None where its shape is not there.
"""

from __future__ import annotations

from proxy.core.gates.lexicon import is_participle, is_superlative, lexicon
from proxy.core.gates.shapes import ARTICLES, ASKING, AUX, BE, DO, MODALS, WHICH, Words, is_break
from proxy.core.gates.tokens import Kind, Token

# --- what stands before the question: "Without Y, how do I do X", "When I get up, why is it wet" ---

_FRONTS = frozenset({"when", "if", "while", "once", "because", "given", "without", "as"})
_SUBJECTS = frozenset(
    {"i", "you", "he", "she", "it", "we", "they", "my", "your", "his", "her", "their", "that", "this"}
)
_OPEN = frozenset({"how", "what", "why"})
_LAST = frozenset({"why", "how"})
_GOVERNING = frozenset({"of", "in", "on", "at", "for", "to", "from", "by", "with", "about", "through", "and", "or"})


def fronted(words: Words, texts: list[str]) -> Words | None:
    """ "Without Y, how do I do X", "When I get up, why is it wet", "It is wet when I get up, why": the question, then what it is about."""
    first, has_none_before = texts[0], ASKING.isdisjoint(texts[:2])
    if has_none_before and texts[-1] in _LAST and len(texts) > 2 and texts[-2] not in _GOVERNING:
        return [words[-1], *words[:-1]]  # "hip snaps when lifting leg, why"
    if has_none_before and texts[-2] == "how" and texts[-1] in _DEGREES and len(texts) > 3:
        end = -3 if texts[-3] in {"for", "by"} else -2
        return [*words[-2:], *words[:end]]  # "an egg should be boiled for how long"
    if first not in _FRONTS and first not in lexicon().prepositions:
        return None
    if first == "when" and texts[1] in AUX:
        return None
    places = [i for i in range(2, len(texts) - 1) if _opens_question(texts, i)]
    at = next((i for i in places if texts[i] in _OPEN), places[0] if places else 0)  # "For those who are new, how ..."
    return [*words[at:], *words[:at]] if at else None


def _opens_question(texts: list[str], at: int) -> bool:
    """Whether a question begins here, and no clause ("what he said", "of which")."""
    after = texts[at + 1]
    if texts[at - 1] in _GOVERNING or after in _SUBJECTS:
        return False
    return texts[at] in _OPEN or (texts[at] in ASKING and after in AUX)


# --- who did it: "Who was X written by", "By whom was X written" ---


def made_by(words: Words, texts: list[str]) -> Words | None:
    """ "Who was X written by", "By whom was X written": who wrote X."""
    if texts[0] == "who" and texts[-1] == "by" and texts[1] in BE:
        thing, verb = words[2:-2], words[-2]
    elif texts[:2] == ["by", "whom"] and len(texts) > 3 and texts[2] in BE:
        thing, verb = words[3:-1], words[-1]
    else:
        return None
    return [Token("who"), verb, *thing] if thing and is_participle(verb.text) else None


# --- who did it to whom: "Was X bitten by Y", "X that is made by Y" ---


def done_by(words: Words, texts: list[str]) -> Words | None:
    """ "Was X bitten by Y", "Why was X bitten by Y", "Which X was bitten by Y": Y bites X, in the order the active voice has."""
    by = texts.index("by")
    be = next((i for i in range(by - 2, -1, -1) if texts[i] in BE), -1)
    end = next((i for i in range(by + 1, len(texts)) if is_break(texts, i)), len(texts))
    if be < 0 or not is_participle(texts[by - 1]) or end == by + 1 or texts[by + 1].endswith("ing"):
        return None
    deed = [*words[by + 1 : end], words[by - 1]]
    if be == 0 or texts[0] in WHICH or (be == 1 and texts[0] in ASKING):
        return [*words[: be + 1], *deed, *words[be + 1 : by - 1], *words[end:]]
    return [*deed, *words[:be], *words[be + 1 : by - 1], *words[end:]]


# --- passive voice in questions of manner: "How is X made", "How long should X be boiled" ---


def passive(words: Words, texts: list[str]) -> Words | None:
    """ "How is X made", "How X is made", "How long should X be boiled": how to make X, how long to boil X."""
    if texts[1] in {"many", "much"}:
        return None  # "how many days are needed" has the order of "how many days do I need" already
    at = 2 if texts[1] in _DEGREES else 1
    end = next((i for i in range(at + 2, len(texts)) if is_participle(texts[i]) and is_break(texts, i + 1)), 0)
    if texts[0] != "how" or not end or "by" in texts:
        return None
    thing, names = words[at:end], texts[at:end]
    if names[-1] == "be" and names[0] in MODALS:
        thing = thing[1:-1]
    elif names[0] in BE:
        thing = thing[1:]
    elif names[-1] in BE:
        thing = thing[:-1]
    else:
        return None
    return [*words[:at], words[end], *thing, *words[end + 1 :]] if thing else None


_DEGREES = frozenset({"long", "often", "soon", "fast", "late", "early", "well", "deep"})

# --- "Are raw eggs safe to eat": is it safe to eat raw eggs ---

FITNESS = frozenset({
    "safe", "good", "bad", "healthy", "unhealthy", "legal", "illegal", "easy", "hard", "difficult", "possible", "impossible",
    "dangerous", "expensive", "cheap", "normal", "okay", "ok", "worth",
})  # fmt: skip


def fit_to(words: Words, texts: list[str]) -> Words | None:
    """ "Are raw eggs safe to eat": is it safe to eat raw eggs."""
    if texts[0] not in BE or texts[1] in {"it", "there"}:
        return None
    at = next((i for i in range(2, len(texts) - 2) if texts[i] in FITNESS and texts[i + 1] == "to"), 0)
    if not at or not is_break(texts, at + 3):
        return None
    return [words[0], *words[at : at + 3], *words[1:at], *words[at + 3 :]]


# --- "Which planet is the largest in X": what is the largest planet in X ---


def superlative(words: Words, texts: list[str]) -> Words | None:
    """ "Which planet is the largest in X": what is the largest planet in X."""
    if texts[0] not in WHICH or texts[1] in AUX:
        return None
    be = next((i for i in range(2, len(texts) - 1) if texts[i] in BE), 0)
    at = be + 1 + (be + 1 < len(texts) and texts[be + 1] == "the")
    if not be or at >= len(texts) or not is_superlative(texts[at]):
        return None
    end = at + (2 if texts[at] in {"most", "least"} else 1)
    rest = words[end + (end < len(texts) and texts[end] == "one") :]
    return [Token("what"), words[be], *words[at:end], *words[1:be], *rest]


# --- causes and looks ---


def cause(words: Words, texts: list[str]) -> Words | None:
    """ "Why does X happen": what causes X. "What causes X to turn red": why does X turn red."""
    if texts[0] == "why" and texts[-1] in {"happen", "happens", "occur", "occurs"} and texts[1] in DO:
        return [Token("what"), Token("cause"), *words[2:-1]]
    if texts[:2] == ["what", "cause"] and "to" in texts[3:] and not lexicon().prepositions.intersection(texts[2:3]):
        at = texts.index("to", 3)
        return [Token("why"), *words[2:at], *words[at + 1 :]]
    return None


def holds(words: Words, texts: list[str]) -> Words | None:
    """ "What symptoms does X cause", "What vitamins does X contain": the symptoms, the vitamins of X."""
    if texts[0] not in WHICH or DO.isdisjoint(texts[2:4]):
        return None
    is_plain = texts[-1] == "contain" or (texts[-1] == "cause" and not _CAUSED.isdisjoint(texts[1:3]))
    return words[:-1] if is_plain else None


_CAUSED = frozenset({"symptoms", "effects"})


def looks(words: Words, texts: list[str]) -> Words | None:
    """ "Why does the sky look blue": why is the sky blue."""
    if texts[0] != "why" or texts[1] not in DO:
        return None
    at = next((i for i in range(3, len(texts)) if texts[i] in {"look", "appear", "seem"}), 0)
    if not at or at != len(texts) - 2 or is_break(texts, at + 1):
        return None
    return [*words[:at], *words[at + 1 :]]


def going_to(words: Words, texts: list[str]) -> Words | None:
    """ "Is that going to take long": will that take long. Not "going to Rome"."""
    at = texts.index("going")
    if not 0 < at < len(texts) - 2 or texts[at + 1] != "to" or BE.isdisjoint(texts[:at]) or words[at + 2].is_name:
        return None
    return None if texts[at + 2] in lexicon().stopwords else [*words[:at], *words[at + 2 :]]


# --- what a place or a shop has: "Do you offer X", "Is there X" ---

OFFERS = frozenset({"offer", "have", "provide", "sell"})


def offers(words: Words, texts: list[str]) -> Words | None:
    """ "Do you offer X", "Do you have X": is there X."""
    if texts[:2] != ["do", "you"] or len(texts) < 4 or texts[2] not in OFFERS:
        return None
    return [Token("is"), Token("there"), *words[3:]]


def skills(words: Words, texts: list[str]) -> Words | None:
    """ "How do I improve my writing skills": how to improve my writing."""
    return words[:-1] if texts[0] == "how" and texts[-1] == "skills" and len(texts) > 3 else None


# --- orders and fragments ---

_GENERATE = frozenset({"write", "compose", "draft", "create", "generate"})
ORDERS = _GENERATE | {"name", "list", "state"}
PEOPLE = frozenset({
    "author", "inventor", "founder", "director", "ceo", "president", "creator", "composer", "painter", "discoverer", "mayor",
})  # fmt: skip


def order(words: Words, texts: list[str]) -> Words | None:
    """ "Name the X", "List three X", "Compose a haiku"."""
    if texts[0] in {"name", "list", "state"} and (texts[1] in ARTICLES or words[1].kind is Kind.NUMBER):
        return words[1:]
    if texts[0] in _GENERATE:
        rest = words[1:]
        return [Token("write"), *(rest[1:] if rest[0].text in {"me", "us"} else rest)]
    return None


def translation(words: Words, texts: list[str]) -> Words | None:
    """ "Translate X to Spanish": how to say X in Spanish."""
    if texts[0] != "translate" or len(texts) < 4 or texts[-2] not in {"to", "into", "in"} or "from" in texts:
        return None
    return [Token("how"), Token("say"), *words[1:-2], Token("in"), words[-1]]


def person(words: Words, texts: list[str]) -> Words | None:
    """ "Author of X", "the CEO of X", "What is the author of X": who."""
    start = 1 + (texts[1] in BE) if texts[0] == "what" else 0
    start += start < len(texts) and texts[start] == "the"
    if texts[start : start + 1] and texts[start] in PEOPLE and texts[start + 1 : start + 2] == ["of"]:
        return [Token("who"), *words[start:]]
    return None


def recipe(words: Words, texts: list[str]) -> Words | None:
    """ "Banana bread recipe": how to make banana bread."""
    if texts[-1] != "recipe" or not AUX.union(WHICH, {"how"}).isdisjoint(texts[:-1]):
        return None
    return [Token("how"), Token("make"), *words[:-1]]


def doing(words: Words, texts: list[str]) -> Words | None:
    """ "Sorting an array in Java": how to sort one."""
    if len(texts[0]) < 6 or not texts[0].endswith("ing") or texts[1] not in {"a", "an", "the", "my", "your"}:
        return None
    is_whole = AUX.union(ASKING).isdisjoint(texts)
    return [Token("how"), *words] if is_whole else None
