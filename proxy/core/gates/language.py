"""Which language or script a text is in, as far as its letters and little words show."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from proxy.core.gates.lexicon import lexicon

ENGLISH = "en"


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
    codes = lexicon().languages_of
    counts = Counter(code for word in words for code in codes.get(word, ()))
    english = counts[ENGLISH]
    best = max(counts, key=lambda code: (counts[code], code == ENGLISH), default=ENGLISH)
    # Where English has little words too, another language needs two more: names and borrowings are not a change of language.
    return best if counts[best] > english + (1 if english else 0) else ENGLISH
