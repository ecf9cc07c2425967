"""Which language or script a text is in, as far as its letters and little words show."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from proxy.core.gates.lexicon import lexicon

ENGLISH = "en"

# Little words of other languages that English keyword strings hold too ("gdp per capita", "no weight gain"): one of them says nothing.
_BORROWED = frozenset({
    "per", "no", "me", "do", "la", "e", "o", "a", "co", "op", "son", "es", "de", "van", "den", "die", "man", "was", "mi", "is", "in",
    "os", "das", "um", "com", "sur", "mes", "met", "il", "lo", "se", "en", "het", "est", "an", "at", "i", "to", "dan", "di", "par", "var",
    "det", "kan", "min", "med", "ma", "bin", "mit", "als", "sa", "un", "una", "le", "el", "y", "w", "z",
    "as", "na", "come", "las", "los", "del", "apa", "du", "mon", "ce", "des", "et", "jak", "auf", "cu", "ve", "con", "por",
    "para", "von", "im", "da", "della", "nel", "dem", "comment", "mia",
})  # fmt: skip
# So many different ones do say something.
_BORROWED_ALONE = 2


def language_of(text: str, words: Sequence[str]) -> str:
    """A language code, or a script's name in lower case ("cyrillic", "cjk"); "en" when nothing says otherwise.

    Any letter outside the Latin script decides: such a text is compared word for word, which is stricter.
    """
    if not text.isascii():
        for char in text:
            if not char.isascii() and char.isalpha():
                script = unicodedata.name(char, "").partition(" ")[0].lower()
                if script not in {"latin", "modifier", "micro", "feminine", "masculine"}:
                    return script
    lex = lexicon()
    if text.isascii() and lex.foreign.isdisjoint(words) and not lex.english.isdisjoint(words):
        return ENGLISH
    codes = lex.languages_of
    found = [word for word in words if word in codes]
    if text.isascii() and len({*found} - _BORROWED) == 0 and len({*found}) < _BORROWED_ALONE:
        return ENGLISH
    counts = Counter(code for word in found for code in codes[word])
    english = counts[ENGLISH]
    best = max(counts, key=lambda code: (counts[code], code == ENGLISH), default=ENGLISH)
    # Where English has little words too, another language needs two more: names and borrowings are not a change of language.
    return best if counts[best] > english + (1 if english else 0) else ENGLISH
