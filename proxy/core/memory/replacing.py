"""When a fact ends an older one without being told so: the same single-valued attribute of the same subject, with another value.

Only a few plain shapes are read, whole sentences of a subject, an attribute and a short value without conditions: "User's favourite
colour is green", "User lives in Berlin", "Anna is 34 years old". Everything else may hold beside what was there ("User likes tea"), and
ends an older fact only where the caller names it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.core.memory import keys
from proxy.core.memory.records import Memory, MemoryType

_SUBJECT = r"(?P<subject>(?:the )?user|[a-z][\w-]*(?: [a-z][\w-]*)?)"
_VALUE = r"(?P<value>[\w'-]+(?:[ ,]+[\w'-]+){0,4})"
_SINGLE = (
    "name|nickname|age|birthday|birth date|date of birth|email|email address|phone number|address|home address|home town|hometown|"
    "nationality|time zone|timezone|job|job title|occupation|employer|native language|mother tongue|marital status|shoe size|blood type"
)
_SHAPES = tuple(
    re.compile(shape + r"\Z")
    for shape in (
        rf"{_SUBJECT}'s (?P<attribute>(?:favou?rite|preferred|current) \w+(?: \w+)?|{_SINGLE}) is (?:now )?{_VALUE}",
        rf"{_SUBJECT} (?:now |currently )?(?P<attribute>lives) (?:now |currently )?in {_VALUE}",
        rf"{_SUBJECT} is (?:now )?(?P<value>\d{{1,3}}) (?P<attribute>years old)",
    )
)
_QUALIFIED = re.compile(
    r"\b(?:and|or|but|not|when|while|if|unless|for|in|on|at|with|except|also|during|sometimes|usually|often|until|since|because|as)\b"
)
"""A value with one of these holds under a condition, or is not the only one."""


class Attribute(NamedTuple):
    """What a sentence says: whose attribute has which value, all in lower case."""

    subject: str
    attribute: str
    value: str


def attribute_of(text: str) -> Attribute | None:
    """The attribute that a text tells, None for any other text."""
    sentence = keys.plain(text).replace("\u2019", "'").lower()
    for shape in _SHAPES:
        if (found := shape.match(sentence)) is not None and not _QUALIFIED.search(found["value"]):
            attribute = found["attribute"].replace("favourite", "favorite").replace("colour", "color")
            return Attribute(found["subject"].removeprefix("the "), attribute, found["value"])
    return None


def takes_place_of(newer: Memory, older: Memory) -> bool:
    """Whether a fact ends an older one that may be compared with it."""
    if newer.memory_type is not MemoryType.SEMANTIC or newer.valid_from < older.valid_from:
        return False
    new, old = attribute_of(newer.text), attribute_of(older.text)
    if new is None or old is None or new[:2] != old[:2]:
        return False
    # "Berlin" and "Berlin, Germany" are one place told twice, and neither is wrong.
    return not set(_words(new.value)) & set(_words(old.value))


def _words(value: str) -> list[str]:
    return re.findall(r"[\w'-]+", value)
