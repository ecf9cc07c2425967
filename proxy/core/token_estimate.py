"""How many tokens a text or a message takes, about. Without a tokenizer: they differ between providers, and loading one takes seconds.

Tokenizers cut texts into words, numbers, marks and white space first, and then long or rare pieces further. So pieces of each kind are
counted, and each kind has a price: a least-squares fit to cl100k_base (GPT-4) over 4,000 passages of 20 to 3,000 characters. On 3,000
passages of other files, error of one passage, mean and worst:

    English 6 %, +25 %    German 6 %, -20 %     Russian 5 %, +26 %    Chinese 5 %, -21 %                 Python 8 %, +38 %
    French 7 %, +32 %     Italian 7 %, -17 %    Czech 5 %, -17 %      Japanese 5 %, -28 %                C 7 %, -21 %
    Spanish 8 %, +31 %    Dutch 16 %, -32 %     Polish 8 %, -26 %     Korean 5 %, +19 %                  JSON 14 %, -32 %
    Swedish 11 %, -32 %   Portuguese 10 %, +52 %                      Chinese, traditional 22 %, -36 %   JavaScript 12 %, +42 %

The errors of many passages cancel out: in total all lie within 10 % but for Dutch (-15 %), JSON (-13 %) and traditional Chinese (-11 %).
o200k_base (GPT-4o and later) takes fewer tokens outside English: the estimate lies 20 to 50 % above it in Russian, Ukrainian, Japanese,
Korean and Czech. Leave a tenth of a window free. Four characters to a token, a common rule, is 65 % too low in Korean.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

MESSAGE_TOKENS: Final = 4
"""Around each message, as OpenAI counts: its role, and the marks where it begins and ends."""
CALL_TOKENS: Final = 8
"""Around each tool call; OpenAI does not say, and prompts of theirs come out within two of it."""
IMAGE_TOKENS: Final = 765
"""OpenAI's price of a picture of 1024 x 1024 in high detail; how large one is stands in the picture."""
ATTACHMENT_TOKENS: Final = 1000
"""A sound or a file given as base64; what it costs cannot be told from its bytes."""

_WHOLE_CHARS = 16_384
"""Longer texts are judged by samples: a book must not hold up everybody else. Up to here it takes 4 ms."""
_SAMPLES = 8

_WORD, _OF_4, _OF_7, _OF_16 = 0.993, 0.179, 0.062, 2.6
"""A word, and what it costs more from so many letters on; of 16 is none, and each 16 cost."""
_FAR_OF_7, _FAR_OF_11 = 0.553, 1.713
"""The same outside English, which is cut into the longest pieces."""
_DIGITS, _MARKS, _LINE = 1.855, 0.564, 0.822
"""Up to three digits; a run of marks; a line's end with the indentation after it."""
_KEY, _KEY_CHARS = 9.0, 40
"""What base64 costs beside its letters, for each so many characters."""
_ENGLISH: Final = (" the ", " of ", " to ", " and ", " is ")
"""One word in ten is one of these in an English text; without them it is another language, or code."""

_OTHER_THAN_RUSSIAN: Final = "іїєґІЇЄҐўђјљњћџ"
_OTHER_CYRILLIC = 2.9
_TRADITIONAL: Final = "這個們來時說國為會學對過後點還開關見問題"
"""Frequent characters that simplified Chinese writes otherwise: one in twenty characters of a traditional text."""
_TRADITIONAL_HAN = 0.761

_PAGES: Final = (
    (0x00, 0x02, 1.5),  # Latin letters with marks
    (0x03, 0x03, 0.95),  # Greek
    (0x04, 0x04, 0.439),  # Cyrillic
    (0x05, 0x08, 0.95),  # Hebrew, Arabic
    (0x09, 0x0D, 1.4),  # scripts of India
    (0x0E, 0x0E, 0.95),  # Thai
    (0x0F, 0x1D, 2.1),  # Georgian, Ethiopic and others
    (0x1E, 0x1E, 1.5),  # Latin again: Vietnamese
    (0x1F, 0x1F, 1.5),  # Greek with marks
    (0x20, 0x20, 0.77),  # typographers' marks
    (0x21, 0x2F, 0.95),  # symbols
    (0x30, 0x30, 0.9),  # kana and marks of East Asia
    (0x31, 0x33, 2.1),
    (0x34, 0x9F, 0.977),  # Han
    (0xA0, 0xAB, 2.1),
    (0xAC, 0xD7, 1.15),  # Hangul
    (0xD8, 0xDF, 1.484),  # half of an emoji
    (0xE0, 0xF8, 2.1),
    (0xF9, 0xFA, 0.977),  # Han
    (0xFB, 0xFF, 0.77),  # marks in full width
)
"""First and last page of 256 code points in UTF-16, tokens a unit."""
_PRICES: Final = tuple(next(price for first, last, price in _PAGES if first <= page <= last) for page in range(256))
_HAN: Final = frozenset(range(0x34, 0xA0)) | {0xF9, 0xFA}


def _only(wanted: str) -> bytes:
    """A table for `bytes.translate` that leaves these characters and makes spaces of all others."""
    return bytes(byte if chr(byte) in wanted else 0x20 for byte in range(256))


_LETTERS = _only(string.ascii_letters)
_NUMERALS = _only(string.digits)
_PUNCTUATION = _only(string.punctuation)
_BASE64 = _only(string.ascii_letters + string.digits + "+")
_ABOVE_ASCII: Final = re.compile(r"[^\x00-\x7f]+")


def text_tokens(text: str) -> int:
    """Tokens of a text, about; 0 only for an empty one."""
    if len(text) <= _WHOLE_CHARS:
        return round(_estimate(text)) or int(bool(text))
    size = _WHOLE_CHARS // _SAMPLES
    stride = (len(text) - size) / (_SAMPLES - 1)
    samples = "".join(text[int(at * stride) : int(at * stride) + size] for at in range(_SAMPLES))
    return round(_estimate(samples) * len(text) / len(samples))


def _estimate(text: str) -> float:
    raw = text.encode("utf-8", "surrogatepass")
    words = [len(word) for word in raw.translate(_LETTERS).split()]
    of_7 = _from(words, 7)
    is_far = 1 - min(1.0, 10 * sum(map(text.count, _ENGLISH)) / max(1, len(words)))
    tokens = (
        _WORD * len(words)
        + _OF_4 * _from(words, 4)
        + _OF_7 * of_7
        + _OF_16 * sum(length // 16 for length in words if length >= 16)
    )
    tokens += is_far * (_FAR_OF_7 * of_7 + _FAR_OF_11 * _from(words, 11))
    tokens += _DIGITS * sum((len(run) + 2) // 3 for run in raw.translate(_NUMERALS).split())
    tokens += _MARKS * len(raw.translate(_PUNCTUATION).split()) + _LINE * raw.count(b"\n")
    tokens += _KEY * sum(len(run) // _KEY_CHARS for run in raw.translate(_BASE64).split() if not _is_hex(run))
    return tokens if text.isascii() else tokens + _above_ascii(text)


def _from(lengths: Sequence[int], least: int) -> int:
    return sum(map((least - 1).__lt__, lengths))


def _is_hex(run: bytes) -> bool:
    """Whether a run is short, or hexadecimal, which is priced by its digits already."""
    return len(run) < _KEY_CHARS or not run.strip(b"0123456789abcdefABCDEF")


def _above_ascii(text: str) -> float:
    rest = "".join(_ABOVE_ASCII.findall(text))
    pages = rest.encode("utf-16-be", "surrogatepass")[::2]
    tokens = sum(map(_PRICES.__getitem__, pages))
    if 0x04 in pages:
        tokens += _OTHER_CYRILLIC * sum(map(rest.count, _OTHER_THAN_RUSSIAN))
    han = sum(map(_HAN.__contains__, pages))
    if han:
        tokens += _TRADITIONAL_HAN * han * min(1.0, 20 * sum(map(rest.count, _TRADITIONAL)) / han)
    return tokens


def message_tokens(message: Mapping[str, Any]) -> int:
    """Tokens of a message in OpenAI's shape, about: its content, the tools it calls, and what stands around it."""
    tokens = MESSAGE_TOKENS + _content_tokens(message.get("content"))
    for name in ("name", "refusal"):
        if isinstance(message.get(name), str):
            tokens += text_tokens(message[name])
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        tokens += CALL_TOKENS + _call_tokens(call)
    if message.get("function_call") is not None:
        tokens += CALL_TOKENS + _call_tokens({"function": message["function_call"]})
    return tokens


def _content_tokens(content: Any) -> int:
    if isinstance(content, str):
        return text_tokens(content)
    return sum(_part_tokens(part) for part in content) if isinstance(content, list) else 0


def _part_tokens(part: Any) -> int:
    if not isinstance(part, dict):
        return _json_tokens(part)
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return text_tokens(part[name])
    kind = str(part.get("type", ""))
    if "image" in kind:
        return IMAGE_TOKENS
    return ATTACHMENT_TOKENS if "audio" in kind or "file" in kind else _json_tokens(part)


def _call_tokens(call: Any) -> int:
    function = (call.get("function") or call.get("custom")) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return _json_tokens(call)
    arguments = function.get("arguments", function.get("input"))
    told = arguments if isinstance(arguments, str) else "" if arguments is None else _json(arguments)
    return text_tokens(str(function.get("name", ""))) + text_tokens(told)


def _json_tokens(value: Any) -> int:
    return text_tokens(_json(value))


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
