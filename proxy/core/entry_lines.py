"""Entries as lines of a file: everything of an entry, sealed, so that only what Deja wrote for a tenant comes back to that tenant. Pure.

    {"key": …, "fields": {name: text}, "binary": {name: base64}, "seal": HMAC-SHA256}

An entry's key is a hash of tenant, provider, model and conversation, and nothing else tells where it belongs. So a line is taken only
with the seal of this Deja (`DEJA_SECRET`) over the tenant and all of the line: nobody can write into another's room, or alter an answer.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.entries import Listed, listed


@dataclass(frozen=True, slots=True)
class Line:
    """An entry read from a line.

    Attributes:
        entry: what it is.
        fields: all its fields, as Redis takes them.
    """

    entry: Listed
    fields: Mapping[str, bytes]


def write_line(redis_key: str, fields: Mapping[str, bytes], *, tenant: str, secret: bytes) -> bytes:
    """An entry as a line, its end among it."""
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for name, value in sorted(fields.items()):
        text = None if name == "vector" else _text(value)  # bytes that happen to read like a text are none
        if text is None:
            binary[name] = base64.b64encode(value).decode("ascii")
        else:
            texts[name] = text
    line = {"key": redis_key, "fields": texts, "binary": binary}
    return orjson.dumps({**line, "seal": _seal(line, tenant, secret)}, option=orjson.OPT_APPEND_NEWLINE)


def read_line(raw: bytes, *, tenant: str, secret: bytes) -> Line | None:
    """The entry of a line; None where Deja did not write it, for this tenant, as it is."""
    try:
        line = orjson.loads(raw)
        seal = line.pop("seal")
        if not hmac.compare_digest(_seal(line, tenant, secret), seal):
            return None
        fields = {name: text.encode() for name, text in line["fields"].items()}
        fields |= {name: base64.b64decode(text) for name, text in line["binary"].items()}
        found = listed(line["key"], fields)
    except (orjson.JSONDecodeError, binascii.Error, AttributeError, KeyError, TypeError, ValueError):
        return None
    return None if found is None else Line(found, fields)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _seal(line: Mapping[str, Any], tenant: str, secret: bytes) -> str:
    told = orjson.dumps([tenant, line], option=orjson.OPT_SORT_KEYS)
    return hmac.digest(secret, b"entry-line\0" + told, "sha256").hex()
