"""Pieces of JSON schema that tools share."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ANY: Schema = {}


def text(description: str, **more: Any) -> Schema:
    """A string."""
    return {"type": "string", "description": description, **more}


def name(description: str) -> Schema:
    """A name: something short that is not empty."""
    return text(description, minLength=1, maxLength=256)


def integer(description: str, low: int, high: int, default: int | None = None) -> Schema:
    """A whole number within bounds."""
    found: Schema = {"type": "integer", "description": description, "minimum": low, "maximum": high}
    return found if default is None else found | {"default": default}


def number(description: str, low: float, high: float) -> Schema:
    """A number within bounds."""
    return {"type": "number", "description": description, "minimum": low, "maximum": high}


def flag(description: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": description}


def choice(description: str, *values: str) -> Schema:
    """One of some words."""
    return {"type": "string", "description": description, "enum": list(values)}


def anything(description: str) -> Schema:
    """Any JSON value."""
    return {"description": description}


def record(description: str) -> Schema:
    """An object with fields of the caller's."""
    return {"type": "object", "description": description}


def texts(description: str, most: int = 100) -> Schema:
    """A list of strings."""
    return {"type": "array", "items": {"type": "string"}, "maxItems": most, "description": description}


def many(description: str, items: Schema, most: int) -> Schema:
    """A list of something, not empty."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most, "description": description}


def matching(description: str) -> Schema:
    """A filter: a word, a list of words of which one must fit, or a filter as the memory server's."""
    return {
        "description": f'{description} A value, a list of which any may match, or {{"eq"|"ne"|"any"|"all"|"startswith": …}}.',
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "object"}],
    }


def period(description: str) -> Schema:
    """A filter on a time."""
    return {
        "type": "object",
        "description": f'{description} ISO 8601: {{"gt"|"gte"|"lt"|"lte": "2026-01-31T00:00:00Z"}} or {{"between": [from, to]}}.',
    }
