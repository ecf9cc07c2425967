"""The word lists as Python values, and the stemmer that keys them. Loaded once, on first use; everything here is read-only.

The lists are plain text under `proxy/core/words`; each file's first lines say what it holds and how it was made.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType

Phrase = tuple[str, ...]

_VOWELS = frozenset("aeiouy")
# Verbs that British spelling doubles against the one-syllable rule: "cancelled", "travelling".
_DOUBLED_L = frozenset(
    {"cancell", "travell", "modell", "labell", "controll", "excell", "levell", "signall", "enroll", "fulfill"}
)


def lines(name: str) -> list[str]:
    """The lines of one word list, without comments and blanks."""
    text = (files("proxy.core") / "words" / f"{name}.txt").read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def words(name: str) -> frozenset[str]:
    """A word list as a set."""
    return frozenset(word for line in lines(name) for word in line.split())


@cache
def _irregular() -> Mapping[str, str]:
    forms = {line.split()[0]: line.split()[1] for line in lines("irregular")}
    for word in words("final_e"):
        if not word.endswith("ee"):
            forms[word[:-1] + "ing"] = word
        forms[word + "d"] = word
        forms[word + "s"] = word
    return MappingProxyType(forms)


@cache
def _kept() -> frozenset[str]:
    return words("keep") | words("final_e")


_NO_ADVERBS = frozenset({
    "family", "monthly", "assembly", "anomaly", "butterfly", "dragonfly", "elderly", "likely", "unlikely", "weekly", "quarterly",
    "yearly", "supply", "multiply", "friendly", "unfriendly", "orderly", "italy", "reply", "comply", "daily", "hardly", "barely",
    "lonely", "lovely", "costly", "simply", "early",
})  # fmt: skip
_FROM_IC = frozenset(
    {"automatically", "domestically", "specifically", "electronically", "systematically", "genetically"}
)


def is_adverb(word: str) -> bool:
    """Whether a word is made of an adjective by -ly: such a word may stand anywhere in its sentence."""
    return word == "simply" or (len(word) > 6 and word.endswith("ly") and word not in _NO_ADVERBS)


@cache
def _listed_adverbs() -> frozenset[str]:
    """Adverbs that a list knows as such: "actually" may be missing where "actual" may not."""
    lists = ("fillers", "harmless_extras", "quantifiers", "synonyms", "evaluative", "harmless_swaps", "negations")
    return frozenset(word for name in lists for word in words(name) if word.endswith("ly"))


def _adjective(adverb: str) -> str:
    if adverb in _FROM_IC:
        return adverb[:-4]
    if adverb.endswith(("ably", "ibly")):
        return adverb[:-1] + "e"
    return adverb[:-3] + "y" if adverb.endswith("ily") else adverb[:-2]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Fold the inflected forms of one English word together (sorts, sorted, sorting: sort); a key, not always a word.

    Args:
        word: lower case, no apostrophe. Accents of Latin letters leave no trace; words with other letters come back unchanged.
    """
    if not word.isascii():
        bare = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
        word = bare if bare.isascii() else word
    word = _irregular().get(word, word)
    if len(word) > 7 and word.endswith("ly") and is_adverb(word) and word not in _listed_adverbs():
        word = _adjective(word)
    if len(word) < 4 or word in _kept() or not (word.isascii() and word.isalpha()):
        return word
    if word.endswith(("ied", "ies")):
        return word[:-3] + "i"
    if word.endswith("s") and word[-2] not in "su" and not word.endswith("is"):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) > 2 and _VOWELS & set(base):
            if base[-1] == base[-2] and (base[-1] not in "lsfzeo" or base in _DOUBLED_L):
                base = base[:-1]
            word = _irregular().get(word, base)
            break
    if word in _kept():
        return word
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    if word.endswith("y") and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    return word


def is_participle(word: str) -> bool:
    """Whether a word may be a verb's past form: "painted", "written"."""
    return (word.endswith("ed") and len(word) > 4) or (word in _irregular() and not word.endswith(("s", "ing")))


_NO_SUPERLATIVES = frozenset({
    "forest", "interest", "request", "guest", "honest", "modest", "harvest", "contest", "protest", "invest", "digest", "chest",
    "manifest", "suggest", "arrest", "conquest", "quest", "crest", "priest", "podcast",
})  # fmt: skip
_SUPERLATIVES = frozenset({"most", "least", "best", "worst"})


def is_superlative(word: str) -> bool:
    """Whether a word is one of the highest degree: "largest", "best", "most"."""
    return word in _SUPERLATIVES or (word.endswith("est") and len(word) > 5 and word not in _NO_SUPERLATIVES)


@dataclass(frozen=True, slots=True)
class Unit:
    """A line of words/units.txt.

    Args:
        name: the first of its names.
        dimension: what it measures.
        size: in `base`; 0 where that is not told.
        base: of the units whose sizes can be compared; "" for none.
    """

    name: str
    dimension: str
    size: Decimal
    base: str


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Every list the gates look words up in; words are stemmed where the reading stems them."""

    stopwords: frozenset[str]
    fillers: frozenset[str]
    filler_nouns: frozenset[str]  # as they are written
    writings: frozenset[str]  # the same as keys
    evaluative: frozenset[str]
    names: frozenset[str]
    platforms: frozenset[str]
    negations: frozenset[str]
    quantifiers: frozenset[str]
    units: Mapping[str, frozenset[Unit]]
    mutual: frozenset[str]
    kin: Mapping[str, frozenset[int]]
    variants: frozenset[str]
    free: frozenset[str]
    soft: frozenset[str]
    strict: frozenset[str]
    prepositions: frozenset[str]
    pasts: frozenset[str]
    numbers: Mapping[str, str]
    concepts: Mapping[str, str]
    antonyms: Mapping[str, frozenset[str]]  # word to its opposites
    languages_of: Mapping[str, tuple[str, ...]]
    english: frozenset[str]  # little words that no other language here has
    foreign: frozenset[str]  # little words that English has not
    harmless_extras: frozenset[str]
    harmless_swaps: frozenset[tuple[str, str]]

    def concept(self, word: str) -> str:
        """The class a word belongs to: its stem, or the first word of its line of synonyms."""
        key = stem(word)
        return self.concepts.get(key, key)


def _table(name: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in lines(name))


def _classes(name: str) -> Mapping[str, frozenset[str]]:
    """Lines of `class: words`."""
    parts = [line.partition(":") for line in lines(name)]
    return MappingProxyType({key: frozenset(members.split()) for key, _, members in parts})


def _languages_of() -> Mapping[str, tuple[str, ...]]:
    """Little word to the languages it belongs to."""
    codes: dict[str, tuple[str, ...]] = {}
    for code, members in _classes("languages").items():
        for word in members:
            codes[word] = (*codes.get(word, ()), code)
    return MappingProxyType(codes)


def _pairs(name: str, concepts: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Both orders of the first two words of each line."""
    found = set()
    for line in lines(name):
        a, b = (concepts.get(stem(word), stem(word)) for word in line.split()[:2])
        if a != b:
            found |= {(a, b), (b, a)}
    return frozenset(found)


def _opposites(concepts: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one, other in _pairs("antonyms", concepts):
        found.setdefault(one, set()).add(other)
    return {word: frozenset(others) for word, others in found.items()}


def _units(concepts: Mapping[str, str]) -> Mapping[str, frozenset[Unit]]:
    """Name of a unit to the lines it stands on: "m" is a meter, a minute and, after an age, a man."""
    found: dict[str, set[Unit]] = {}
    for line in lines("units"):
        head, _, names = line.partition(":")
        dimension, _, written = head.partition(" ")
        digits = written.rstrip(_LETTERS)
        unit = Unit(names.split()[0], dimension, Decimal(digits or 0), written[len(digits) :])
        for word in names.split():
            found.setdefault(concepts.get(stem(word), stem(word)), set()).add(unit)
    return {word: frozenset(at) for word, at in found.items()}


def _kin(concepts: Mapping[str, str]) -> Mapping[str, frozenset[int]]:
    """Name to the lines of words/kin.txt that it stands on."""
    found: dict[str, set[int]] = {}
    for i, line in enumerate(lines("kin")):
        for word in line.split():
            found.setdefault(concepts.get(stem(word), stem(word)), set()).add(i)
    return {word: frozenset(at) for word, at in found.items()}


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def lexicon() -> Lexicon:
    """Read every list; the first call costs some milliseconds, later ones nothing."""
    concepts: dict[str, str] = {}
    for line in lines("synonyms"):
        first, *rest = (stem(word) for word in line.split())
        concepts |= dict.fromkeys((first, *rest), first)
    classes = _classes("prepositions")
    little = _languages_of()

    def stemmed(name: str) -> frozenset[str]:
        return frozenset(concepts.get(stem(word), stem(word)) for word in words(name))

    return Lexicon(
        stopwords=words("stopwords"),
        fillers=stemmed("fillers"),
        filler_nouns=words("filler_nouns"),
        writings=stemmed("filler_nouns"),
        evaluative=stemmed("evaluative"),
        names=stemmed("names"),
        platforms=stemmed("platforms"),
        negations=words("negations"),
        quantifiers=stemmed("quantifiers"),
        units=_units(concepts),
        mutual=stemmed("mutual"),
        kin=_kin(concepts),
        variants=stemmed("variants"),
        free=classes["free"],
        soft=classes["soft"],
        strict=classes["strict"],
        prepositions=frozenset().union(*classes.values()),
        pasts=frozenset(line.split()[0] for line in lines("irregular") if line.endswith("*")),
        numbers=_table("number_words"),
        concepts=concepts,
        antonyms=_opposites(concepts),
        languages_of=little,
        english=frozenset(word for word, codes in little.items() if codes == ("en",)),
        foreign=frozenset(word for word, codes in little.items() if "en" not in codes),
        harmless_extras=stemmed("harmless_extras"),
        harmless_swaps=_pairs("harmless_swaps", concepts),
    )
