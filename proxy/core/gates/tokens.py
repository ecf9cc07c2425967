"""A text as tokens: words, numbers, identifiers, symbols, code and quotations. Knows characters, not meaning.

Identifiers (addresses, URLs, paths, order numbers, dotted and snake_case names) are kept whole and in their own case where it
carries meaning; words are lower-cased, with contractions opened ("isn't": is not) and possessives marked.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "`", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": " - "}
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_QUOTED = re.compile(r'"([^"]+)"')

_TOKEN = re.compile(
    r"""
    (?P<plain>(?<!\S)[A-Za-z]+(?:'[A-Za-z]+)*(?=[,.!?;:]?(?:\s|\Z)))  # most of any text, and so the first thing to try
  | (?P<url>(?:https?://|www\.)\S+[^\s.,;:!?)\]}'"])
  | (?P<email>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)
  | (?P<path>(?:~|\.{1,2})?(?:/[\w.@-]*\w){2,}/?|~/[\w.@/-]+|[A-Za-z]:\\[\w.\\-]+|(?<![\w)])/[\w-]+(?:/[\w.-]+)*)
  | (?P<stamp>\d+(?:[-/:.]\d+){2,}\w*|\d+(?:[-/:]\d+)+)
  | (?P<number>(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?!\w|\.\d)|(?<![\w])\.\d+(?!\w))
  | (?P<amount>(?<![\w])\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th|k|bn|mn|am|pm|kg|g|mg|lbs?|km|cm|mm|m|ft|gb|mb|kb|tb|hz|ghz|mhz|mph|kmh|ml|l|
        s|ms|min|mins|h|hrs?|hours?|days?|weeks?|months?|years?|yrs?|yo|usd|eur|gbp|rs|inr|p|px|x|d|cc|w|v|mah|c|f)\b)
  | (?P<sharp>(?<![\w])(?:[cC]\+\+|[cCfF]\#)(?!\w)|(?<![\w])\.(?:net|NET|Net)\b)
  | (?P<mixed>[^\W_]*(?:\d[^\W\d_]|[^\W\d_]\d)[^\W_]*(?:[-_.][^\W_]+)*)
  | (?P<dotted>(?:[A-Za-z]\.){2,}|[^\W_]+(?:_[^\W_]+)+|_+[^\W_]\w*|[^\W\d_]{2,}(?:\.[^\W\d_]{2,})+|\#\w+|@\w+)
  | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)*'?)
  | (?P<symbol>[^\s\w])
    """,
    re.VERBOSE,
)
# Most questions are words and stops alone; for those a word or a stop is all there can be, at a third of the time.
_PLAIN = re.compile(r"[A-Za-z ',!?;:]*(?:\.(?=\s|$)[A-Za-z ',!?;:]*)*")
_PLAIN_TOKEN = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?|[.!?;:]")
_STOPS = ".!?;:\n"
# "the '92 games"; two digits below this are of this century.
_YEAR = re.compile(r"(?<!\w)'(\d\d)(?![\w'])")
_THIS_CENTURY = "40"
# A savings plan's name, no amount: "401k", "401(k)".
_PLANS = re.compile(r"\b(401|403) ?\(?([kb])\b\)?", re.IGNORECASE)
# "H-1B" is "H1B", "2025/26" is "2025-26".
_JOINED = re.compile(r"\b([A-Za-z])-(\d+[A-Za-z]?)\b(?!-)")
_SEASON = re.compile(r"\b((?:19|20)\d\d)/(\d\d)\b(?!/)")
_PER_HOUR = re.compile(r"\b(km|mi)/h\b", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d[\d,]*(?:\.\d+)?)([a-z]+)", re.IGNORECASE)
_LETTERS_DIGITS = re.compile(r"([a-z]{1,})(\d+(?:\.\d+)*)", re.IGNORECASE)
# `$` and its like are words; the rest of these change a question when they change ("2+2", "a<b").
_CURRENCY = {
    "$": "dollar",
    "€": "euro",
    "£": "pound",
    "¥": "yen",
    "₹": "rupee",
    "₽": "rouble",
    "₩": "won",
    "₺": "lira",
    "฿": "baht",
    "₿": "bitcoin",
}
_OPERATORS = frozenset("+*=<>^|~#@\\")
_IS_CONTRACTED = frozenset(
    {"what", "who", "where", "when", "how", "why", "that", "it", "there", "here", "he", "she", "which", "let"}
)
# No sentence ends after these, and what follows is a name.
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "prof", "st", "mt"})
_NO_NAMES = frozenset({"I", "The", "An"})
_NO_PLURALS = frozenset({"https", "dns", "aws", "css", "ios", "sms", "gps", "cms", "saas", "paas"})
_ENDINGS = {"m": "am", "re": "are", "ll": "will", "ve": "have", "d": "would"}


class Kind(Enum):
    """What a token is."""

    WORD = 0
    NUMBER = 1
    STOP = 2  # a sentence ends here


@dataclass(frozen=True, slots=True)
class Token:
    """One word or number.

    Args:
        text: lower case; digits without thousands separators for a number.
        kind: word, number or the end of a sentence.
        is_name: written with a capital where a common word would have none.
        is_possessive: it owned the next word ("France's").
    """

    text: str
    kind: Kind = Kind.WORD
    is_name: bool = False
    is_possessive: bool = False


# The same words come again in every question, and making a token costs more than finding one.
_token = lru_cache(maxsize=16_384)(Token)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text taken apart; the parts that must be equal as they stand are set aside from the words."""

    words: tuple[Token, ...]
    identifiers: tuple[str, ...]
    symbols: tuple[str, ...]
    code: tuple[str, ...]
    quoted: tuple[str, ...]


def tokenise(text: str) -> Tokens:
    """Take a text apart. Outer white space, letter case of words and final punctuation leave no trace."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_QUOTES)
    text = text.strip()
    code = tuple(match.strip("`").strip() for match in _CODE.findall(text)) if "`" in text else ()
    if code:
        text = _CODE.sub(" ", text)
    quoted = (
        tuple(" ".join(part.lower().split()).rstrip(" .,;:!?") for part in _QUOTED.findall(text)) if '"' in text else ()
    )
    if "401" in text or "403" in text:
        text = _PLANS.sub(r"\1 \2", text)
    if "-" in text or "/" in text:
        text = _JOINED.sub(r"\1\2", _SEASON.sub(r"\1-\2", text))
    if "/h" in text:
        text = _PER_HOUR.sub(r"\1h", text)
    if "'" in text:
        text = _YEAR.sub(lambda match: ("20" if match[1] < _THIS_CENTURY else "19") + match[1], text)
    words: list[Token] = []
    if _PLAIN.fullmatch(text):
        _add_plain(words, text)
        return Tokens(tuple(words), (), (), code, quoted)
    has_case = _has_case(text)
    identifiers: list[str] = []
    symbols: list[str] = []
    starts = True
    for match in _TOKEN.finditer(text):
        kind, raw = match.lastgroup, match.group()
        if kind in {"plain", "word"}:
            _add_word(words, raw, is_name=has_case and not starts and _looks_like_name(raw))
            starts = False
        elif kind == "symbol":
            if raw in _STOPS:
                if raw == "." and words and words[-1].text in _TITLES:
                    continue
                starts = True
                words.append(_token(raw, Kind.STOP))
            else:
                _add_symbol(words, symbols, raw, text, match.start())
        else:
            starts = False
            _add_other(words, identifiers, str(kind), raw, has_case=has_case)
    return Tokens(tuple(words), tuple(identifiers), tuple(symbols), code, quoted)


def _add_plain(words: list[Token], text: str) -> None:
    """The same for a text of plain words and stops: most of them lower case, and so neither names nor shortened."""
    has_case, starts = _has_case(text), True
    for raw in _PLAIN_TOKEN.findall(text):
        if raw in _STOPS:
            if raw == "." and words and words[-1].text in _TITLES:
                continue
            words.append(_token(raw, Kind.STOP))
            starts = True
            continue
        if "'" not in raw and raw.islower():
            words.append(_token(raw))
        else:
            _add_word(words, raw, is_name=has_case and not starts and _looks_like_name(raw))
        starts = False


def _looks_like_name(raw: str) -> bool:
    return not raw.islower() and raw not in _NO_NAMES and raw[:2] != "I'"


def _has_case(text: str) -> bool:
    """Whether capitals tell names apart here: not in a text written all in one case, nor in a headline."""
    words = [word for word in text.split() if word[0].isalpha()]
    capitals = len([word for word in words if word[0].isupper()])
    if capitals * 5 <= len(words) * 3 or capitals <= 2:
        return not text.isupper()
    return capitals == 3 and words[0][0].isupper() and len(words) == 4 and not text.isupper()  # "Who is Marie Curie?"


def _add_word(words: list[Token], raw: str, *, is_name: bool) -> None:
    word = raw.lower()
    if raw[-1] == "s" and len(raw) > 2 and raw[:-1].isupper() and word not in _NO_PLURALS:
        word = word[:-1]  # "APIs"
    if "'" not in word:
        words.append(_token("usa" if word == "us" and raw == "US" and is_name else word, Kind.WORD, is_name))
        return
    base, _, ending = word.rpartition("'")
    if ending == "t" and base.endswith("n"):
        stem = {"can": "can", "won": "will", "shan": "shall", "ain": "is"}.get(base, base[:-1])
        words += [_token(stem), _token("not")]
    elif ending in _ENDINGS:
        words += [_token(base), _token(_ENDINGS[ending])]
    elif ending == "s" and base in _IS_CONTRACTED:
        words += [_token(base), _token("is")]
    elif ending in {"s", ""}:
        words.append(Token(base, is_name=is_name, is_possessive=True))
    else:
        words.append(Token(word.replace("'", ""), is_name=is_name))


def _add_symbol(words: list[Token], symbols: list[str], raw: str, text: str, at: int) -> None:
    if raw in _CURRENCY:
        words.append(Token(_CURRENCY[raw]))
    elif raw == "%":
        words.append(Token("percent"))
    elif raw == "&":
        words.append(Token("and"))
    elif (
        raw in _OPERATORS
        or (not raw.isascii() and unicodedata.category(raw) in {"So", "Sm", "Sk"})
        or (raw in "-/" and _between_operands(text, at))
    ):
        symbols.append(raw)


def _between_operands(text: str, at: int) -> bool:
    """Whether a dash or slash is arithmetic: a digit or a bracket right before it and right after it, blanks aside."""
    before, after = text[:at].rstrip()[-1:], text[at + 1 :].lstrip()[:1]
    return (before.isdigit() or before == ")") and (after.isdigit() or after == "(")


def _add_other(words: list[Token], identifiers: list[str], kind: str, raw: str, *, has_case: bool) -> None:
    if kind == "number":
        words.append(Token(plain_number(raw), Kind.NUMBER))
    elif kind == "amount" and (parts := _AMOUNT.fullmatch(raw)):
        unit = parts[2].lower()
        number = plain_number(parts[1])
        if unit in {"st", "nd", "rd", "th"}:
            words.append(Token(number + "th", Kind.NUMBER))
        else:
            words += [
                Token(number, Kind.NUMBER),
                Token({"k": "thousand", "bn": "billion", "mn": "million"}.get(unit, unit)),
            ]
    elif kind == "mixed" and (parts := _LETTERS_DIGITS.fullmatch(raw)):
        if parts[1].lower() not in {"v", "version"}:
            words.append(Token(parts[1].lower(), is_name=has_case and parts[1][0].isupper()))
        words.append(Token(parts[2], Kind.NUMBER))
    elif kind == "dotted" and raw.endswith(".") and raw.count(".") > 1:
        words.append(
            Token({"u.s.": "usa", "u.s.a.": "usa", "u.k.": "uk"}.get(raw.lower(), raw.replace(".", "").lower()))
        )
    elif kind in {"url", "path"}:
        identifiers.append(raw.rstrip("/"))
    elif kind == "sharp":
        words.append(Token(raw.lower(), is_name=True))
    else:
        identifiers.append(raw.lower())


def plain_number(raw: str) -> str:
    """A number as digits: thousands separators dropped, the fraction as written (3.10 is not 3.1 when it is a version)."""
    sign = "-" if raw.startswith("-") else ""
    whole, dot, fraction = raw.lstrip("-").replace(",", "").partition(".")
    return sign + (whole.lstrip("0") or "0") + dot + fraction
